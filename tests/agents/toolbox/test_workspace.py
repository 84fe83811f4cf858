"""The tools for the files of a folder that a squad names: what they read, find, change, and never touch."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import anyio
import pytest

from agents.paths import Protected, parts_of
from agents.run_folder import RunFolder
from agents.toolbox import builtin
from agents.toolbox.texts import search_tools
from agents.toolbox.workspace import Workspace
from providers.messages import ToolCall, ToolResult

pytestmark = pytest.mark.anyio


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "a.py").write_text("one = 1\ntwo = 2\n")
    (folder / "README.md").write_text("# Hello\n")
    (folder / ".env").write_text("KEY=sk-secret\n")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("sk-secret\n")
    (folder / "node_modules").mkdir()
    (folder / "node_modules" / "x.js").write_text("one\n")
    (tmp_path / "outside.txt").write_text("one sk-secret\n")
    return folder


async def ask(of: Workspace | Path, name: str, **arguments: object) -> ToolResult:
    registry = builtin(of) if isinstance(of, Path) else builtin(None, of)
    return await registry[name].call(ToolCall("c", name, json.dumps(arguments)))


async def test_files_are_read_whole_or_by_lines_and_listed_without_what_holds_keys(root):
    here = Workspace(root)
    assert (await ask(here, "read_file", path="src/a.py")).content == "one = 1\ntwo = 2\n"
    assert (await ask(here, "read_file", path="src/a.py", first_line=2, lines=5)).content == "two = 2\n"
    assert (await ask(here, "read_file", path="src/a.py", first_line=9)).content == "[src/a.py has 2 lines]"
    assert (await ask(here, "list_files")).content == "README.md\nnode_modules/\nsrc/"
    assert (await ask(here, "list_files", recursive=True)).content == "README.md\nsrc/a.py"


@pytest.mark.few(12)
@pytest.mark.parametrize(
    "path",
    ["../outside.txt", "/etc/passwd", "link.txt", "linked/outside.txt", "src/../../outside.txt", ""],
)
@pytest.mark.parametrize("name", ["read_file", "search_files", "edit_file", "write_file", "read_csv", "read_json"])
async def test_no_path_leaves_the_folder(root, path, name):
    (root / "link.txt").symlink_to(root.parent / "outside.txt")
    (root / "linked").symlink_to(root.parent)
    more = {"edit_file": {"old": "one", "new": "x"}, "write_file": {"content": "x"}, "search_files": {"pattern": "o"}}
    told = await ask(Workspace(root, can_write=True), name, path=path, **more.get(name, {}))
    assert told.is_error or (name == "search_files" and not path)  # that is the folder itself
    assert "sk-secret" not in told.content
    assert (root.parent / "outside.txt").read_text() == "one sk-secret\n"


@pytest.mark.parametrize(
    "path", [".env", ".ENV", ".env.local", ".git/config", ".GIT/config", ".gı\u0307t/config", "．env", "src/../.env"]
)
async def test_keys_are_not_read_however_they_are_spelled(root, path):
    told = await ask(Workspace(root), "read_file", path=path)
    assert told.is_error
    assert "sk-secret" not in told.content


@pytest.mark.parametrize("path", ["id_rsa", "ca.pem", ".netrc", ".ssh/config", ".orchestrator/runs.db", ".npmrc"])
async def test_other_places_of_keys_are_not_read(root, path):
    (root / path).parent.mkdir(exist_ok=True)
    (root / path).write_text("sk-secret")
    assert "no model reads" in (await ask(Workspace(root), "read_file", path=path)).content
    assert "sk-secret" not in (await ask(Workspace(root), "search_files", pattern="sk-")).content


async def test_lines_are_found_with_their_places_and_nothing_outside_is(root):
    (root / "binary").write_bytes(b"one\xff\xfe")
    (root / "long.txt").write_text("x" * 1000 + "one\n")
    (root / "link.txt").symlink_to(root.parent / "outside.txt")
    told = await ask(Workspace(root), "search_files", pattern="one|HELLO", ignore_case=True)
    lines = told.content.splitlines()
    assert lines[0] == "README.md:1: # Hello"
    assert lines[1].startswith("long.txt:1: xxx")
    assert len(lines[1]) < 400
    assert lines[2:] == ["src/a.py:1: one = 1"]
    assert (await ask(Workspace(root), "search_files", pattern="x", files_like="*.md")).content.startswith("(no line")
    assert "no regular expression" in (await ask(Workspace(root), "search_files", pattern="(")).content


async def test_a_search_is_bounded_whatever_its_pattern(root):
    (root / "evil.txt").write_text("a" * 5000 + "\n" + "ok\n")
    search = search_tools(Workspace(root), search_s=0.2)[0]
    told = await search.call(ToolCall("c", "search_files", '{"pattern": "^(a+)+$b|(a|aa)+$c|(.*)*x(.*)*y"}'))
    assert "narrow the pattern" in told.content
    (root / "many.txt").write_text("same\n" * 1000)
    told = await ask(Workspace(root), "search_files", pattern="same", path=".", files_like="many.txt")
    assert told.content.splitlines()[-1] == "[more than 200 lines match: narrow the pattern]"


async def test_a_text_is_replaced_where_it_stands_once(root):
    here = Workspace(root, can_write=True)
    assert (await ask(here, "edit_file", path="src/a.py", old="two = 2", new="two = 'zwei'")).content.endswith(
        "replaced the text in line 2 of src/a.py"
    )
    assert (root / "src/a.py").read_text() == "one = 1\ntwo = 'zwei'\n"
    wrong = {"=": "stands 2 times", "three": "stands 0 times", "": "old is empty", "ONE": "lower case"}
    for old, says in wrong.items():
        told = await ask(here, "edit_file", path="src/a.py", old=old, new="x")
        assert told.is_error
        assert says in told.content


async def test_edits_of_one_file_at_once_lose_none(root):
    (root / "list.txt").write_text("".join(f"<{i}>\n" for i in range(8)))
    tools = builtin(None, Workspace(root, can_write=True))

    async def edit(i: int) -> None:
        arguments = json.dumps({"path": "list.txt", "old": f"<{i}>", "new": f"[{i}]"})
        assert not (await tools["edit_file"].call(ToolCall("c", "edit_file", arguments))).is_error

    async with anyio.create_task_group() as tasks:
        for i in range(8):
            tasks.start_soon(edit, i)
    assert (root / "list.txt").read_text() == "".join(f"[{i}]\n" for i in range(8))


async def test_nothing_is_written_unless_it_is_said_nor_what_configures_a_run(root):
    told = await ask(Workspace(root), "write_file", path="x.txt", content="x")
    assert "read-only" in told.content
    protected = Protected({parts_of(str((root / "squad.yaml").resolve())): "the squad"})
    here = Workspace(root, True, protected)
    for path in (".env", ".git/hooks/x", "agent_routing.yaml", "squad.yaml", "SQUAD.YAML", "id_rsa"):
        assert (await ask(here, "write_file", path=path, content="x")).is_error, path
    assert (await ask(here, "write_file", path="new/x.txt", content="x")).content == "wrote 1 bytes to new/x.txt"
    assert [path.name for path in (root / ".git").iterdir()] == ["config"]


async def test_without_a_workspace_the_tools_work_on_the_runs_folder_and_tell_what_they_write(root):
    told: list[tuple[str, str, int]] = []
    folder = RunFolder(root, overwrite=True, tell=lambda *file: told.append(file))
    call = ToolCall("c", "edit_file", json.dumps({"path": "README.md", "old": "Hello", "new": "Bye"}))
    assert not (await builtin(folder)["edit_file"].call(call)).is_error
    assert [(path, size) for path, _, size in told] == [("README.md", 6)]
    assert (
        "keeps no files" in (await builtin(None)["search_files"].call(ToolCall("c", "x", '{"pattern": "x"}'))).content
    )


async def test_a_table_is_read_in_parts(root):
    (root / "t.csv").write_text('\ufeffname;amount\n"a;b";1\nc;2;3\nd\n', "utf-8")
    whole = json.loads((await ask(Workspace(root), "read_csv", path="t.csv")).content)
    rows = [{"name": "a;b", "amount": "1"}, {"name": "c", "amount": "2"}, {"name": "d", "amount": ""}]
    assert whole == {"columns": ["name", "amount"], "rows": rows, "rows_in_all": 3}
    part = await ask(Workspace(root), "read_csv", path="t.csv", first_row=2, rows=1, columns=["amount"])
    assert json.loads(part.content)["rows"] == [{"amount": "2"}]
    assert "no column 'x'" in (await ask(Workspace(root), "read_csv", path="t.csv", columns=["x"])).content
    (root / "empty.csv").write_text("")
    assert json.loads((await ask(Workspace(root), "read_csv", path="empty.csv")).content)["rows"] == []
    (root / "wide.csv").write_text("a\n" + "x" * 200_000)
    assert (await ask(Workspace(root), "read_csv", path="wide.csv")).is_error


async def test_a_json_file_is_read_whole_or_at_a_pointer(root):
    (root / "d.json").write_text('{"a/b": [{"c": "é"}], "n": NaN}')
    here = Workspace(root)
    assert (await ask(here, "read_json", path="d.json", pointer="/a~1b/0/c")).content == "é"
    assert "nothing at '/a~1b/1'" in (await ask(here, "read_json", path="d.json", pointer="/a~1b/1")).content
    (root / "deep.json").write_text("[" * 100_000)
    assert (await ask(here, "read_json", path="deep.json")).is_error


async def test_the_time_is_told_with_its_zone(root):
    told = (await ask(Workspace(root), "now", timezone="Europe/Berlin")).content
    assert datetime.fromisoformat(told.split()[0]).utcoffset() is not None
    assert (await ask(Workspace(root), "now")).content.split()[0].endswith("+00:00")
    for name in ("Nowhere/Town", "../../etc/passwd", "/etc/passwd", ""):
        assert "no time zone" in (await ask(Workspace(root), "now", timezone=name)).content


KEY = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEpAIBAAKCAQEAx0v1" * 4


@pytest.mark.few(4)
@pytest.mark.parametrize(
    "path",
    ["server.key", "prod.env", ".kube/config", "id_dsa", "Credentials.JSON", "secrets.yaml", ".dockercfg", "notes.txt"],
)
async def test_what_holds_keys_by_its_name_or_its_text_is_not_read(root, path):
    (root / path).parent.mkdir(exist_ok=True)
    (root / path).write_text(KEY)
    here = Workspace(root)
    told = [await ask(here, "read_file", path=path), await ask(root, "read_file", path=path)]
    assert [one.is_error for one in told] == [True, path != "notes.txt"]
    assert "MIIE" not in (await ask(here, "search_files", pattern="MIIE")).content


async def test_the_names_below_what_no_model_reads_are_not_told_and_code_may_name_the_head_of_a_key(root):
    for name, more in (("list_files", {}), ("search_files", {"pattern": "o"}), ("list_files", {"recursive": True})):
        assert (await ask(Workspace(root), name, path=".git", **more)).is_error
    (root / "src" / "a.py").write_text('HEAD = "-----BEGIN PRIVATE KEY-----"\n')
    assert not (await ask(Workspace(root), "read_file", path="src/a.py")).is_error
    (root / "a.json").write_text('{"a": 1}')
    assert "begins with /" in (await ask(Workspace(root), "read_json", path="a.json", pointer="a")).content
