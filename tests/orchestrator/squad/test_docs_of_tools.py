"""Each example of docs/guides/tools.md as it stands there: every squad is sound, and the first one's tool is called."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator import Squad
from orchestrator.squad.routing_tools import tools_of_routing
from providers.documents.yaml import mapping_in
from tests.orchestrator.squad.test_declared_tools import calling
from tests.orchestrator.squads import run

PAGE = (Path(__file__).parents[3] / "docs" / "guides" / "tools.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SQUADS = [text for text in EXAMPLES if "\ntasks:" in text]
PETSTORE = """\
openapi: 3.1.0
servers: [{url: https://pets.example.com}]
paths:
  /pets: {post: {operationId: addPet}}
  /pets/{id}: {get: {operationId: getPet, parameters: [{in: path, name: id, schema: {type: integer}}]}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    code = re.search(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert code is not None
    (tmp_path / "tools").mkdir()
    for file in ("mytools.py", "tools/money.py"):
        (tmp_path / file).write_text(code[1])
    for file in ("helpers.py", "tools/helpers.py"):
        (tmp_path / file).write_text("def rate(currency): return {'USD': 1.1}[currency]\n")
    (tmp_path / "petstore.yaml").write_text(PETSTORE)
    return tmp_path


@pytest.mark.parametrize("text", SQUADS, ids=[text.split()[1] for text in SQUADS])
def test_each_squad_of_the_page_is_sound(folder, text):
    (folder / "squad.yaml").write_text(text)
    assert Squad.from_file(folder / "squad.yaml").warnings == ()


def test_the_page_has_an_example_of_each_kind(folder):
    kinds = {"python", "command", "http", "web", "openapi", "workspace"}
    assert {kind for kind in kinds if any(f"{kind}:" in text for text in SQUADS)} == kinds
    (routing,) = (text for text in EXAMPLES if text not in SQUADS)
    root = mapping_in(routing, str(folder / "agent_routing.yaml"), [])
    sources, problems = tools_of_routing(root, str(folder / "agent_routing.yaml"))
    assert ([one.name for one in sources], problems) == (["convert"], [])


@pytest.mark.anyio
async def test_the_first_example_answers(folder):
    (folder / "squad.yaml").write_text(SQUADS[0])
    result, _ = await run(Squad.from_file(folder / "squad.yaml"), calling("convert", amount=10, currency="USD"))
    assert result.outputs == {"price": "11.0"}
