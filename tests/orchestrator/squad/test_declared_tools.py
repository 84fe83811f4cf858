"""Tools that a squad file declares: told before a run, loaded when it starts, kept apart from what is allowed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from agents.errors import ToolFault
from agents.paths import parts_of
from orchestrator import GateAnswered, GateOpened, PlanError, RunChanged, Squad
from orchestrator.errors import ToolUnusable
from orchestrator.journal.memory import MemoryJournal
from orchestrator.options import RunOptions
from orchestrator.out_folder import configuration_of
from orchestrator.rerun.replay import replay
from orchestrator.run.approvals import answer_question, questions_of
from orchestrator.runtime import open_run, resume_run
from orchestrator.trust import CodeNotTrusted, CodeUse, TrustFile
from providers.messages import FinishReason, Response, ToolCall, ToolResult, Usage, assistant
from tests.orchestrator.mcp_runs import bare
from tests.orchestrator.squads import Answers, run
from tests.orchestrator.squads import squad as squad_of

pytestmark = pytest.mark.anyio

SQUAD = """\
name: rates
tools:
  convert: {tool}
agents:
  ann: {{persona: analyst, tools: [convert]}}
tasks:
  price: {{agent: ann, description: "Price 10 EUR in USD."}}
outputs: {{price: "${{{{ tasks.price.output }}}}"}}
"""
CODE = '''\
def convert(amount: float, currency: str) -> float:
    """Convert euros."""
    return amount * {"USD": 1.1}[currency]
'''


def squad(folder: Path, tool: str = '{python: "mytools.py:convert"}', code: str | None = CODE) -> Path:
    if code is not None:
        (folder / "mytools.py").write_text(code)
    file = folder / "squad.yaml"
    file.write_text(SQUAD.format(tool=tool))
    return file


@contextmanager
def served(body: bytes) -> Iterator[str]:
    """Serve a body at any address of this machine's."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def calling(name: str, **arguments: object) -> Answers:
    """A manager that calls a tool, then says what it returned."""

    def answer(agent, request):
        last = request.messages[-1].parts[-1]
        if isinstance(last, ToolResult):
            return f"{'failed: ' * last.is_error}{bare(last)}"
        said = assistant(ToolCall("c", name, json.dumps(arguments)))
        return Response(said, FinishReason.TOOL_CALLS, Usage(10, output=5), "fake", "fake", 10)

    return Answers(answer)


async def test_a_function_beside_the_squad_is_a_tool_and_its_run_is_replayed_without_the_file(tmp_path):
    file, journal = squad(tmp_path), MemoryJournal()
    result, _ = await run(
        Squad.from_file(file), calling("convert", amount=10, currency="USD"), journal=journal, run_id="a"
    )
    assert result.outputs == {"price": "11.0"}
    (tmp_path / "mytools.py").unlink()
    file.unlink()
    assert (await replay(journal, "a")).is_equal


async def test_leave_for_a_call_is_none_for_other_code_of_the_same_shape(tmp_path):
    tool = '{python: "mytools.py:convert", approval: ask}'
    journal, manager = MemoryJournal(), calling("convert", amount=10, currency="USD")
    shared = {"journal": journal, "manager": manager}
    result, _ = await run(Squad.from_file(squad(tmp_path, tool)), manager, journal=journal, run_id="a")
    assert result.status == "waiting"
    await answer_question(journal, "a", None, "approve", for_run=True)
    changed = Squad.from_file(squad(tmp_path, tool, CODE.replace("1.1", "1000.0")))
    for _ in range(2):  # nor is it in a later process
        async with resume_run(changed, "a", edited=True, **shared) as went_on:
            async for _ in went_on:
                pass
        assert went_on.result.status == "waiting"
    assert {gate.name for gate in (await questions_of(journal, "a")).open} == {"price/try-1/turn-1/tool-1"}
    await answer_question(journal, "a", None, "approve")
    async with resume_run(changed, "a", **shared) as went_on:
        async for _ in went_on:
            pass
    assert went_on.result.outputs == {"price": "10000.0"}


async def test_reading_a_squad_runs_none_of_its_code(tmp_path):
    made = tmp_path / "made"
    read = Squad.from_file(squad(tmp_path, code=f"open({str(made)!r}, 'w')\ndef convert(): ..."))
    assert [one.name for one in read.outline().agents["ann"].tools] == ["convert"]
    with pytest.raises(ToolFault, match="when a run starts"):
        read.declared[0].tool.function()
    assert not made.exists()


@pytest.mark.few(10)
@pytest.mark.parametrize(
    ("tool", "code", "says"),
    [
        ('{python: "mytools.py:convrt"}', CODE, "did you mean 'convert'?"),
        ('{python: "nothing.py:convert"}', None, "cannot read 'nothing.py': No such file"),
        ('{python: "../mytools.py:convert"}', CODE, "goes up by"),
        ('{python: "/etc/passwd.py"}', None, "it is absolute"),
        ('{python: "link.py"}', CODE, "symbolic link"),
        ("{python: mytools.py}", "def convert(:", "mytools.py:1: it is not Python"),
        ("{python: mytools}", CODE, "is not a Python file"),
        ("{description: x}", None, "exactly one of python"),
        ("{pyton: x.py}", None, "did you mean 'python'"),
        ("{python: mytools.py, timeout: 0}", CODE, "more than 0"),
        ("{python: mytools.py, env: [X]}", CODE, "'env' has no meaning with 'python'"),
        ("{command: []}", CODE, "'command' is empty"),
        ('{command: ["{x}"]}', CODE, "the program itself"),
        ('{command: [sh, -c, "echo {x}"]}', CODE, "reads its arguments as a program"),
        ("{command: [echo], args: {x: {type: string}}}", CODE, "'x' has no place"),
        ('{command: [echo, "{x}"], args: {x: {pattern: "(" }}}', CODE, "not a pattern"),
        ("{command: [echo], cwd: ..}", CODE, "goes up"),
        ("{command: [echo], cwd: nowhere}", CODE, "no folder 'nowhere'"),
        ("{programs: [bash]}", CODE, "bash runs whatever it is told"),
        ('{http: "https://{x}/y"}', CODE, "no address with a fixed host"),
        ("{http: https://a.com, method: FETCH}", CODE, "FETCH"),
        ('{web: ["http://a.com"]}', CODE, "is not a host"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_before_a_run(tmp_path, tool, code, says):
    (tmp_path / "link.py").symlink_to("/etc/hostname")
    with pytest.raises(PlanError) as refused:
        Squad.from_file(squad(tmp_path, tool, code))
    assert says in str(refused.value)
    assert {problem.line for problem in refused.value.problems} == {3}


async def test_a_name_that_no_model_could_call_is_refused():
    squad = {"name": "s", "tools": {"a b": {"python": "x.py"}}, "agents": {}, "tasks": {}}
    with pytest.raises(PlanError, match="no model can call a tool 'a b'"):
        Squad.from_mapping(squad)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import nowhere_to_be_found\ndef convert(): ...", "mytools.py:1: ModuleNotFoundError"),
        ("convert = 3", "'convert' is int, not a function"),
        ("def convert(x: 'Nothing'): ...", "cannot be described"),
    ],
)
async def test_what_cannot_be_loaded_ends_the_run_before_anything_is_spent(tmp_path, code, says):
    manager = calling("convert")
    with pytest.raises(ToolUnusable, match=says):
        await run(Squad.from_file(squad(tmp_path, code=code)), manager)
    assert not manager.asked


async def test_what_the_entry_says_of_a_tool_holds_over_what_its_file_says(tmp_path):
    code = "from agents import tool\n@tool(risk='risky', timeout_s=3, name='other')\ndef convert(): 'Old.'\n"
    entry = '{python: "mytools.py:convert", description: New., approval: ask, idempotent: true, max_chars: 200}'
    loaded = await Squad.from_file(squad(tmp_path, entry, code)).loaded(lambda use: True, {})
    tool = loaded.tools[0]
    assert (tool.name, tool.description, tool.approval, tool.idempotent) == ("convert", "New.", "ask", True)
    assert (tool.risk, tool.timeout_s, tool.max_chars) == ("risky", 3, 200)
    assert (tool.spec.name, tool.spec.description) == ("convert", "New.")


@pytest.mark.parametrize("entry", ['{python: "mytools.py:convert"}', '{python: "mytools.py:convert", approval: never}'])
async def test_a_tool_that_its_file_has_ask_is_asked_for_unless_the_entry_says_otherwise(tmp_path, entry):
    code = "from agents import tool\n@tool(approval='ask', risk='risky')\ndef convert(): 'Old.'\n"
    made = Squad.from_file(squad(tmp_path, entry, code))
    wanted = "never" if "never" in entry else "ask"
    for plan in (made.outline(), (await made.loaded(lambda use: True, {})).outline()):
        assert {(one.approval, one.risk) for one in plan.agents["ann"].tools} == {(wanted, "risky")}


async def test_the_programs_own_tool_of_the_name_wins_and_nothing_is_loaded(tmp_path):
    def convert(amount: float) -> str:
        """Mine."""
        return "mine"

    read = Squad.from_file(squad(tmp_path, code="1/0\ndef convert(): ..."), tools=[convert])
    result, _ = await run(read, calling("convert", amount=1))
    assert result.outputs == {"price": "mine"}


async def test_code_runs_only_where_it_is_allowed_and_a_changed_file_is_asked_for_anew(tmp_path):
    file, store = squad(tmp_path), TrustFile(tmp_path / "trust.json")
    read = Squad.from_file(file)
    with pytest.raises(CodeNotTrusted, match=r"Python in mytools\.py, named by"):
        await read.loaded(store.allows, {})
    store.allow(read.code_uses())
    assert (await read.loaded(store.allows, {})).tools
    (use,) = read.code_uses()
    assert isinstance(use, CodeUse)
    assert use.folder == str(tmp_path.resolve())
    (tmp_path / "mytools.py").write_text(CODE + "\n")
    with pytest.raises(CodeNotTrusted):
        await Squad.from_file(file).loaded(store.allows, {})


async def test_a_command_is_a_tool_that_asks_and_that_a_script_beside_the_squad_belongs_to(tmp_path):
    (tmp_path / "show.py").write_text("import os, sys; print(sys.argv[1:], os.environ.get('MINE'), os.getcwd())")
    (tmp_path / "sub").mkdir()
    argv = f'[{sys.executable}, show.py, "{{to}}"]'
    entry = f"{{command: {argv}, args: {{to: {{enum: [USD]}}}}, env: [MINE], approval: never}}"
    read = Squad.from_file(squad(tmp_path, entry))
    assert (read.declared[0].tool.risk, read.declared[0].tool.untrusted) == ("risky", True)
    result, _ = await run(read, calling("convert", to="USD"), environ={"MINE": "1"})
    assert result.outputs == {"price": f"['USD'] 1 {tmp_path.resolve()}"}
    before = read.code_uses()
    (tmp_path / "show.py").write_text("print(2)")
    assert Squad.from_file(tmp_path / "squad.yaml").code_uses() != before
    asking = Squad.from_file(squad(tmp_path, "{command: [echo]}")).declared[0].tool
    assert (asking.approval, asking.idempotent) == ("ask", False)


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("entry", "path"),
    [
        ("command: [python3, run.py], cwd: sub", "sub/run.py"),
        ("command: [python3, link.py]", "sub/run.py"),
        ("command: [python3, sub/run.py]", "sub/run.py"),
        ("command: [pytest, --rootdir=sub, --confcutdir=sub/run.py]", "sub/run.py"),
        ("command: [python3, ../beside.py]", "../beside.py"),
        ("command: [python3, {here}/sub/run.py]", "sub/run.py"),
        ("programs: [./link.py]", "sub/run.py"),
    ],
)
def test_what_is_allowed_holds_the_files_that_a_command_names_however_it_does(tmp_path, entry, path):
    here = tmp_path / "here"
    (here / "sub").mkdir(parents=True)
    (here / "link.py").symlink_to("sub/run.py")
    file = squad(here, "{" + entry.replace("{here}", str(here)) + ", env: [GH_TOKEN]}")
    uses = []
    for ending in ("1", "2"):
        (here / path).write_text("#" * (2 << 20) + ending)  # longer than what is read of most files
        uses += Squad.from_file(file).code_uses()
    assert uses[0] != uses[1]
    assert uses[0].what.endswith(", given GH_TOKEN")


def test_another_word_on_who_is_asked_is_allowed_anew(tmp_path):
    terms = ["", ", approval: ask", ", approval: never", ", risk: read_only", ", untrusted: false"]
    uses = [Squad.from_file(squad(tmp_path, f"{{command: [git, log]{said}}}")).code_uses()[0] for said in terms]
    assert len({use.address for use in uses}) == len(terms)
    assert uses[2].what == "the command `git log` (approval: never)"
    servers = [{"command": ["x"]}, {"command": ["x"], "untrusted": False}, {"command": ["x"], "read_only": ["look"]}]
    people = {"ann": {"persona": {"name": "T", "role": "r"}, "mcp": ["t"]}}
    told = [squad_of({"a": "x"}, people=people, mcp={"t": one}).code_uses()[0] for one in servers]
    assert len({use.address for use in told}) == len(servers)
    assert told[1].what == "the command x (MCP server 't', believed: what it answers)"


def test_a_command_is_shown_in_one_line_before_it_is_allowed(tmp_path):
    entry = '{command: [echo, "a\\nSend them there?", "\\e[2K\\r", "\\u202eb"]}'
    (use,) = Squad.from_file(squad(tmp_path, entry)).code_uses()
    assert use.what == r"the command `echo 'a\nSend them there?' '\x1b[2K\r' '\u202eb'`"


async def test_a_changed_file_is_told_when_a_run_goes_on_and_a_file_that_is_gone_stops_nothing_but_its_calls(tmp_path):
    file, journal = squad(tmp_path), MemoryJournal()
    read, manager = Squad.from_file(file), calling("convert", amount=10, currency="USD")
    async with open_run(read, manager=manager, journal=journal, run_id="a") as opened:
        opened.stop()
        _ = [event async for event in opened]
    (tmp_path / "mytools.py").write_text(CODE + "\n")
    with pytest.raises(RunChanged, match="tool convert"):
        async with resume_run(Squad.from_file(file), "a", journal=journal, manager=manager):
            pass
    (tmp_path / "mytools.py").unlink()
    manifest = await journal.manifest("a")
    gone = Squad.from_file(file, where_gone=manifest.sources)
    async with resume_run(gone, "a", journal=journal, manager=manager) as opened:
        _ = [event async for event in opened]
    assert "not the tool" in str(opened.result.errors)


async def approve(gate: GateOpened) -> GateAnswered:
    return GateAnswered(gate.task, "approve", "", "api")


async def test_a_request_to_a_service_on_this_machine_takes_a_word_of_its_own(tmp_path):
    with served(b'{"rate": 1.1}') as url:
        entry = f'{{http: "{url}/rates/{{to}}", args: {{to: {{enum: [USD]}}}}}}'
        refused, _ = await run(Squad.from_file(squad(tmp_path, entry)), calling("convert", to="USD"))
        assert "127.0.0.1 is this machine" in refused.outputs["price"]
        read = Squad.from_file(squad(tmp_path, entry.replace("args:", "allow_private: true, args:")))
        result, _ = await run(read, calling("convert", to="USD"))
    assert result.outputs == {"price": '{"rate": 1.1}'}
    assert "GET requests to http://127.0.0.1" in str(read.code_uses()[0])


PETS = """\
openapi: 3.0.3
servers: [{url: URL}]
paths:
  /pets/{id}:
    get: {operationId: get_pet, parameters: [{in: path, name: id, required: true, schema: {type: integer}}]}
    delete: {operationId: delete_pet, parameters: [{in: path, name: id, required: true, schema: {type: integer}}]}
"""


async def test_operations_of_a_document_are_tools_and_need_no_document_in_a_replay(tmp_path):
    journal = MemoryJournal()
    text = SQUAD.replace("convert: {tool}", "pets: {{openapi: pets.yaml, allow_private: true}}")
    file = tmp_path / "squad.yaml"
    file.write_text(text.replace("tools: [convert]", "tools: [get_pet, delete_pet]").format())
    with served(b'{"name": "Rex"}') as url:
        (tmp_path / "pets.yaml").write_text(PETS.replace("URL", url))
        read = Squad.from_file(file)
        assert {one.name: one.tool.risk for one in read.declared} == {"get_pet": "read_only", "delete_pet": "risky"}
        result, _ = await run(read, calling("get_pet", id=7), journal=journal, run_id="a")
    assert result.outputs == {"price": '{"name": "Rex"}'}
    (tmp_path / "pets.yaml").unlink()
    assert (await replay(journal, "a")).is_equal
    gone = Squad.from_file(file, where_gone=(await journal.manifest("a")).sources)
    assert [one.name for one in gone.outline().agents["ann"].tools] == ["get_pet", "delete_pet"]


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("{openapi: pets.yaml, include: [get_pt]}", "did you mean 'get_pet'?"),
        ("{openapi: nowhere.yaml}", "No such file"),
        ("{openapi: ../pets.yaml}", "goes up"),
        ("{openapi: bad.yaml}", "no `openapi: 3.0`"),
        ("{openapi: worse.yaml}", "worse.yaml"),
        ("{openapi: bad.json}", "bad.json"),
        ("{openapi: deep.json}", "nested too deeply"),
        ("{openapi: many.json}", "has 21 operations: say which are tools"),
        ("{openapi: pets.yaml, base_url: ftp://x}", "no address with a fixed host"),
    ],
)
def test_a_document_that_makes_no_tools_is_told(tmp_path, entry, says):
    (tmp_path / "pets.yaml").write_text(PETS.replace("URL", "https://a.com"))
    (tmp_path / "bad.yaml").write_text("a: 1\n")
    (tmp_path / "worse.yaml").write_text("a: [\n")
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    paths = {f"/p{number}": {"get": {}} for number in range(21)}
    many = {"openapi": "3.1.0", "servers": [{"url": "https://a.com"}], "paths": paths}
    (tmp_path / "many.json").write_text(json.dumps(many))
    with pytest.raises(PlanError) as refused:
        Squad.from_file(squad(tmp_path, entry))
    assert says in str(refused.value)


async def test_programs_take_arguments_of_the_model(tmp_path):
    entry = f"{{programs: [{sys.executable}], approval: never}}"
    call = calling("convert", program=sys.executable, arguments=["-c", "print(1 + 1)"])
    result, _ = await run(Squad.from_file(squad(tmp_path, entry)), call)
    assert result.outputs == {"price": "2"}
    result, _ = await run(Squad.from_file(squad(tmp_path, entry)), calling("convert", program="sh"))
    assert "is not one of" in result.outputs["price"]


FOLDER = """\
name: notes
workspace: {workspace}
agents:
  ann: {{persona: analyst, tools: [read_file, edit_file, search_files, now]}}
tasks:
  read: {{agent: ann, description: "Read."}}
outputs: {{read: "${{{{ tasks.read.output }}}}"}}
"""


async def test_a_workspace_is_read_replayed_and_written_only_where_it_is_said(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("Hello\n")
    file, journal = tmp_path / "squad.yaml", MemoryJournal()
    file.write_text(FOLDER.format(workspace="docs"))
    result, _ = await run(Squad.from_file(file), calling("read_file", path="a.md"), journal=journal, run_id="a")
    assert result.outputs == {"read": "Hello\n"}
    edit = calling("edit_file", path="a.md", old="Hello", new="Bye")
    result, _ = await run(Squad.from_file(file), edit, ask=approve)
    assert "the workspace is read-only" in result.outputs["read"]
    file.write_text(FOLDER.format(workspace="{path: docs, write: true}"))
    result, _ = await run(Squad.from_file(file), edit, ask=approve, out=tmp_path / "out")
    assert (tmp_path / "docs" / "a.md").read_text() == "Bye\n"
    (tmp_path / "docs" / "a.md").unlink()
    (tmp_path / "docs").rmdir()
    assert (await replay(journal, "a")).is_equal


async def test_what_configures_a_run_is_not_written_in_a_workspace_either(tmp_path):
    file = tmp_path / "squad.yaml"
    file.write_text(FOLDER.format(workspace="{write: true}"))
    edit = calling("edit_file", path="squad.yaml", old="notes", new="evil")
    result, _ = await run(Squad.from_file(file), edit, ask=approve)
    assert "which only people write" in result.outputs["read"]


def test_the_code_of_tools_and_servers_is_written_by_people_alone(tmp_path):
    for name, text in {
        "money.py": "from rates import R\ndef convert(): ...",
        "rates.py": "R = 1",
        "new.py": "",
    }.items():
        (tmp_path / "code").mkdir(exist_ok=True)
        (tmp_path / "code" / name).write_text(text)
    for name in ("run.sh", "serve.py", "notes.txt"):
        (tmp_path / "code" / name).write_text("x")
    file = tmp_path / "squad.yaml"
    file.write_text(
        "name: a\nworkspace: {write: true}\nmcp: {s: {command: [python, code/serve.py]}}\n"
        'tools: {convert: {python: "code/money.py"}, sh: {command: [sh, code/run.sh, code/notes.txt]}}\n'
        "agents: {ann: {role: Works., tools: [convert, sh, write_file]}}\n"
        "tasks: {a: {agent: ann, description: Do it.}}\n"
    )
    protected, root = configuration_of(Squad.from_file(file), RunOptions()), parts_of(str(tmp_path.resolve()))
    names = {path.name for path in (tmp_path / "code").iterdir()}
    kept = {name for name in names if protected.fault(root, f"code/{name.upper()}")}
    assert kept == {"money.py", "rates.py", "run.sh", "serve.py"}


@pytest.mark.parametrize("name", ["http_get", "run_command"])
def test_a_tool_that_is_off_says_how_it_is_declared(tmp_path, name):
    file = squad(tmp_path)
    file.write_text(file.read_text().replace("tools: [convert]", f"tools: [{name}]"))
    with pytest.raises(PlanError, match=rf"{name} is switched off until[^$]*tools: \{{{name}: "):
        Squad.from_file(file)
    squad(tmp_path, "{python: mytools.py}")
    declared = {"http_get": "web: [docs.python.org]", "run_command": "programs: [git]"}[name]
    text = SQUAD.format(tool="{python: mytools.py}").replace("tools: [convert]", f"tools: [{name}]")
    file.write_text(text.replace("  convert:", f"  {name}: {{{declared}}}\n  convert:"))
    assert [one.name for one in Squad.from_file(file).outline().agents["ann"].tools] == [name]


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("workspace", "says"),
    [
        ("..", "is not below"),
        ("/tmp", "is not below"),
        ("link", "is not below"),
        ("nowhere", "there is no folder 'nowhere'"),
        ("squad.yaml", "there is no folder"),
        ("{paht: x}", "did you mean 'path'"),
        ("[x]", "wrong-type"),
    ],
)
def test_a_workspace_that_cannot_be_one_is_told(tmp_path, workspace, says):
    (tmp_path / "link").symlink_to("/tmp")
    file = tmp_path / "squad.yaml"
    file.write_text(FOLDER.format(workspace=workspace))
    with pytest.raises(PlanError) as refused:
        Squad.from_file(file)
    assert says in str(refused.value)
