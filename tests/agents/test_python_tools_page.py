"""Every block of docs/guides/python-tools.md runs, in order, on a scripted model."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Squad
from providers.messages import ToolCall
from providers.stub.scripted import say, tool_call

pytestmark = pytest.mark.anyio
PAGE = (Path(__file__).parents[2] / "docs/guides/python-tools.md").read_text("utf-8")
SCRIPTS: dict[str, list[Any]] = {
    "shop": [say(tool_call("reserve", article="pen")), "Here it is."],
    "report": ['{"title": "Fine", "scores": [1, 2, 3, 4]}', '{"title": "Fine", "scores": [3]}'],
    "guarded": [
        say(ToolCall("1", "reserve", '{"article": "pen"}'), ToolCall("2", "reserve", '{"article": "gold"}')),
        "Only the pen.",
    ],
    "desk": [
        say(tool_call("researcher", task="10 pounds in euros")),
        say(tool_call("convert", amount=10)),
        "12 euros",
        "Ten pounds are 12 euros.",
    ],
}


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)):
        exec(compile(block, f"docs/guides/python-tools.md, block {number + 1}", "exec"), names)  # our own page
    return names


@pytest.mark.parametrize("name", SCRIPTS)
async def test_what_the_page_does_comes_to_what_it_says(
    page: dict[str, Any], scripted: Callable[..., Any], name: str
) -> None:
    bench = scripted(*SCRIPTS[name])
    await page[name](bench.manager)
    assert bench.script.used_up


def test_every_function_of_the_page_is_run(page: dict[str, Any]) -> None:
    assert {name for name in page if re.search(rf"async def {name}\(manager", PAGE)} == SCRIPTS.keys()


def test_its_squad_can_be_planned() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    plan = Squad.from_text(text).plan({})
    shown = {one.name: (one.agent, one.description) for one in plan.agents["writer"].tools}
    assert shown == {
        "researcher": ("researcher", "Give a task to researcher: Look things up."),
        "check": ("checker", "Checks figures."),
    }
