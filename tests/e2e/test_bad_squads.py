"""What must not be run: each thing ends soon, in little memory, with its exit code, its message and nothing spoilt."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import Ended, files_below, orchestrator, without_traceback
from tests.e2e.files import write_squad

HEAD = "version: 1\nname: trial\noffline: always\nagents:\n  ann: {persona: analyst}\n"
WRITES = {"agent": "ann", "description": "x", "output_file": "docs/a.md"}
FINE = {"agent": "ann", "description": "y", "output_file": "b.md"}


def run(folder: Path, tasks: dict[str, Any], *options: str, **more: Any) -> Ended:
    """Run these tasks on the stub. `child` holds what limits the process."""
    child = more.pop("child", {})
    write_squad(folder / "squad.yaml", tasks, **{"offline": "always", **more})
    ended = orchestrator("run", "squad.yaml", *options, cwd=folder, **child)
    assert without_traceback(ended), ended.err
    return ended


# ---- files that are no squads


def aliases() -> str:
    """Return the billion laughs: nine to the power of thirty, in a page."""
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    return "\n".join(["a0: &a0 [x]", *levels])


NO_SQUADS = {
    "not UTF-8": (b"name: caf\xe9\n", ":1:10: error[not-utf8]: byte 0xe9 is not UTF-8"),
    "UTF-16": ("name: x".encode("utf-16"), ":1:1: error[not-utf8]: the file is UTF-16 or UTF-32"),
    "empty": (b"", ":1:1: error[empty-file]: the file is empty"),
    "comments only": (b"# nothing\n", ":1:1: error[empty-file]: the file is empty"),
    "NUL": (b"name: a\x00b\n", ":1:8: error[control-character]: the character U+0000 is not allowed in a file"),
    "100,000 brackets": (b"[" * 100_000, ":1:51: error[too-large]: the file has more than 50 levels"),
    "100,000 mappings": (b"{a: " * 100_000, ":1:201: error[too-large]: the file has more than 50 levels"),
    "alias bomb": (aliases(), "error[too-large]: the file has more than 20000 values"),
    "alias of itself": (b"tasks: &a {a: *a}\n", "error[recursive-alias]: *a is inside its own value"),
    "2 MB of comment": (b"# " + b"x" * 2_000_000, ":1:1: error[too-large]: the file has more than 1048576 bytes"),
    "2 MB of tasks": (b"tasks:\n" + b"  t: {agent: a}\n" * 131_072, "error[too-large]: the file has more than 1048576"),
    "20,001 values": (b"- x\n" * 20_001, "error[too-large]: the file has more than 20000 values"),
    "duplicate key": (b"name: a\nversion: 1\nname: b\n", ":3:1: error[duplicate-key]: 'name' appears again"),
    "tag": (
        b"name: !!python/object/apply:os.system ['touch pwned']\n",
        ":1:7: error[tag]: the tag tag:yaml.org,2002:python/object/apply:os.system is refused",
    ),
    "a list": (b"- a\n", ":1:1: error[wrong-type]: a squad is a mapping"),
    "two documents": (b"name: a\n---\nname: b\n", ":2:1: error[several-documents]"),
    "unknown everything": (b"foo: 1\nbar: [baz]\n", ":1:1: error[missing-field]: a squad needs 'name'"),
    "cycle": (
        HEAD + "tasks:\n  a: {agent: ann, needs: [b], description: x}\n  b: {agent: ann, needs: [a], description: x}\n",
        ":7:27: error[cycle]: these tasks wait for each other: a -> b -> a",
    ),
    "unbounded repeat": (
        HEAD + "tasks:\n  a: {agent: ann, description: x, repeat: {until: '${{ false }}'}}\n",
        "error[unbounded]",
    ),
    "unbounded conversation": (
        HEAD
        + "conversations:\n  c: {pattern: party, participants: [ann], terminate: {text: DONE}}\n"
        + "tasks:\n  a: {conversation: c, description: x}\n",
        "error[unbounded]",
    ),
}


@pytest.mark.parametrize("what", NO_SQUADS)
@pytest.mark.few(7)
def test_a_file_that_is_no_squad_is_refused_in_its_place(tmp_path: Path, what: str):
    content, message = NO_SQUADS[what]
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "squad.yaml").write_bytes(data)
    ended = orchestrator("run", "squad.yaml", cwd=tmp_path)
    assert ended.code == 1, ended.err
    assert message in ended.first, ended.err
    assert "nothing was spent" in ended.err
    assert without_traceback(ended)
    assert len(ended.stderr) < 10_000
    assert files_below(tmp_path) == {"squad.yaml": data}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.yaml", "there is no squad file missing.yaml"),
        ("missing/squad.yaml", "there is no squad file missing/squad.yaml"),
        (".", ". is a folder, not a squad's file"),
    ],
)
@pytest.mark.parametrize("command", ["run", "config"])
def test_a_missing_file_and_a_folder_are_usage_errors(tmp_path: Path, command: str, name: str, message: str):
    ended = orchestrator(command, name, cwd=tmp_path)
    assert (ended.code, ended.first) == (2, f"error: {message}")
    assert list(tmp_path.iterdir()) == []


def test_the_hint_for_a_folder_names_files_that_are_in_it(tmp_path: Path):
    (tmp_path / "team").mkdir()
    assert "`orchestrator init` writes one" in orchestrator("run", "team", cwd=tmp_path).err
    (tmp_path / "team" / "sprint.yaml").touch()
    assert "name a file of it: team/sprint.yaml" in orchestrator("run", "team", cwd=tmp_path).err


def test_a_routing_file_that_is_none_is_refused_in_its_place(tmp_path: Path):
    (tmp_path / "agent_routing.yaml").write_bytes(b"tiers: {worker: [nobody/x]}\nversion: \xff\n")
    ended = run(tmp_path, {"a": "x"})
    assert (ended.code, ended.first) == (1, "agent_routing.yaml:2:10: error[not-utf8]: byte 0xff is not UTF-8")
    (tmp_path / "agent_routing.yaml").write_bytes(b"tiers: {worker: [nobody/x]}\n")
    ended = run(tmp_path, {"a": "x"})
    assert ended.code == 1
    assert "agent_routing.yaml:1:18: error[unknown-provider]: no provider is called 'nobody'" in ended.first


# ---- hostile templates

HOSTILE = {
    "${{ 'A' * 10**9 }}": "makes more than 4,000,000 characters",
    "${{ ''.__class__ }}": "'__class__' is private",
    "${{ ''.__class__.__mro__[1].__subclasses__() }}": "'__subclasses__' is not a method",
    "${{ inputs.x['__class__'] }}": "__class__",
    "${{ 10 ** (10 ** 10) }}": "4,096 bits",
    "${{ range(10**9) | list }}": "only methods can be called",
    "${{ inputs.x | replace('a', 'a' * 100000) }}": "makes more than 4,000,000 characters",
    "${{ inputs.x | list | map('replace', 'a', inputs.x) | list }}": "arguments do not fit",
    "${{ '%1000000000d' % 1 }}": "'%' does not work",
    "${{ '{0:>1000000000}'.format(1) }}": "'format' is not a method",
    "${{ lipsum(1000000) }}": "only methods can be called",
    "${{ " + "(" * 5000 + "1" + ")" * 5000 + " }}": "brackets are nested more than 48 deep",
    "${% for a in x %}${% endfor %}${{ config }}": "config",
}


@pytest.mark.parametrize("template", HOSTILE, ids=lambda template: template[:40])
@pytest.mark.few(5)
def test_a_hostile_template_fails_its_task_or_the_file_and_nothing_else(tmp_path: Path, template: str):
    tasks = {"a": {"agent": "ann", "description": f"{template} ${{{{ inputs.x }}}}"}, "b": FINE}
    ended = run(tmp_path, tasks, "--out", "out", inputs={"x": {"type": "string", "default": "a" * 5000}})
    assert ended.code == 1, ended.err
    assert HOSTILE[template] in ended.err
    if "nothing was spent" not in ended.err:
        assert (tmp_path / "out/b.md").stat().st_size > 0, "the other task is none the worse"


# ---- where artifacts go

OUTSIDE = {
    "../../x.md": "error[unsafe-path]: the path leaves the run's folder",
    "docs/../../x.md": "error[unsafe-path]: the path leaves the run's folder",
    "/tmp/orchestrator-pwned.md": "error[unsafe-path]: the path is absolute",
    "~/x.md": "error[unsafe-path]: the path is absolute",
    "C:/x.md": "error[unsafe-path]: the path is absolute",
    "a\\..\\..\\x.md": "error[unsafe-path]: the path has a backslash",
}


@pytest.mark.parametrize("path", OUTSIDE)
def test_an_output_file_outside_is_refused_before_the_run(tmp_path: Path, path: str):
    ended = run(tmp_path, {"a": {**WRITES, "output_file": path}})
    assert ended.code == 1
    assert OUTSIDE[path] in ended.first
    assert list(files_below(tmp_path)) == ["squad.yaml"]
    assert not Path("/tmp/orchestrator-pwned.md").exists()


def test_an_output_file_that_an_input_leads_outside_stops_the_run(tmp_path: Path):
    tasks = {"a": {**WRITES, "output_file": "${{ inputs.x }}"}, "b": FINE}
    ended = run(tmp_path, tasks, "-i", "x=../x.md", "--out", "out", inputs={"x": {"type": "string"}})
    assert ended.code == 1
    assert "error[unsafe-path]: the path leaves the run's folder" in ended.err
    assert [f for f in files_below(tmp_path) if f.endswith(".md")] == []


@pytest.mark.parametrize("link", ["docs", "docs/a.md"])
def test_a_link_that_leads_out_is_not_followed(tmp_path: Path, link: str):
    (tmp_path / "outside").mkdir()
    place = tmp_path / "out" / link
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / "outside" / ("" if link == "docs" else "pwned.md"))
    ended = run(tmp_path, {"a": WRITES, "b": FINE}, "--out", "out")
    assert ended.code == 1
    assert f"the path 'docs/a.md' leaves its folder: {place.name} is a symbolic link" in ended.err
    assert list((tmp_path / "outside").iterdir()) == []
    assert (tmp_path / "out/b.md").exists()


@pytest.mark.parametrize(
    ("out", "reason"),
    [
        ("taken", "it is not a folder"),
        ("taken/below", "Not a directory"),
        ("/proc/nothing", "No such file or directory"),
    ],
)
def test_a_folder_that_cannot_be_written_is_told_before_anything_is_spent(tmp_path: Path, out: str, reason: str):
    (tmp_path / "taken").write_text("a file")
    ended = run(tmp_path, {"a": WRITES}, "--out", out)
    assert (ended.code, ended.first) == (2, f"error: {out} cannot be written: {reason}")
    assert "started" not in ended.err


@pytest.mark.parametrize("state", ["taken", "/proc/nothing"])
def test_without_a_state_folder_the_run_goes_on_and_says_what_is_missing(tmp_path: Path, state: str):
    (tmp_path / "taken").write_text("a file")
    ended = run(tmp_path, {"a": WRITES}, "--state", state, "--out", "out")
    assert ended.code == 0
    assert "warning: the run is not recorded" in ended.err
    assert (tmp_path / "out/docs/a.md").exists()


# ---- a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one page."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no leave to mount a tmpfs: {mounted.stderr.decode(errors='replace').strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


TALK = {"pattern": "round_robin", "participants": ["ann", "bob"], "terminate": {"max_turns": 20}}
TALKS = {
    "agents": {"ann": {"persona": "analyst"}, "bob": {"persona": "sm"}},
    "conversations": {"talk": TALK},
}
FILLS = {"b": FINE, "long": {"conversation": "talk", "description": "x", "needs": ["b"], "output_file": "long.md"}}


def test_a_full_disk_pauses_the_run_and_keeps_what_was_finished(tmp_path: Path, small_disk: Path):
    ended = run(tmp_path, FILLS, "--out", str(small_disk), **TALKS)
    assert ended.code == 6, ended.err
    assert f"waiting: long: {small_disk}/long.md cannot be written: No space left on device" in ended.err
    assert list(files_below(small_disk)) == ["b.md"], "neither half a file nor a temporary one"
    assert (small_disk / "b.md").stat().st_size > 0


@pytest.mark.long
def test_a_limit_on_the_size_of_files_is_a_full_disk_too(tmp_path: Path):
    ended = run(tmp_path, FILLS, "--out", "out", **TALKS, child={"file_size": 4096})
    assert ended.code == 6, ended.err
    assert "waiting: long: out/long.md cannot be written: File too large" in ended.err
    assert list(files_below(tmp_path / "out")) == ["b.md"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_full_disk_behind_stdout_is_said(tmp_path: Path, options: tuple[str, ...]):
    with Path("/dev/full").open("wb") as full:
        ended = run(tmp_path, {"a": WRITES}, "--out", "out", *options, child={"stdout": full})
    assert ended.code == 1
    assert "error: stdout cannot be written: No space left on device" in ended.err.splitlines()


@pytest.mark.long
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_stderr_stops_nothing(tmp_path: Path):
    write_squad(tmp_path / "squad.yaml", {"a": WRITES}, offline="always")
    with Path("/dev/full").open("wb") as full:
        ended = orchestrator("run", "squad.yaml", "--out", "out", cwd=tmp_path, stderr=full)
    assert ended.code == 0
    assert (tmp_path / "out/docs/a.md").read_bytes().rstrip() == ended.stdout.rstrip()


# ---- what is given beside the file

USAGE = {
    ("-i", "nothing"): (2, "error: -i nothing: an input is written key=value"),
    ("-i", "nope=1"): (1, "error[unknown-input]: the squad takes no input 'nope'"),
    ("--inputs", "missing.json"): (2, "error: --inputs missing.json: there is no such file"),
    ("--inputs", "."): (2, "error: --inputs .: [Errno 21] Is a directory"),
    ("--inputs", "broken.json"): (2, "error: --inputs broken.json: Expecting property name"),
    ("--inputs", "list.json"): (2, "error: --inputs list.json: this is a JSON list, not an object"),
    ("--inputs", "latin1.json"): (2, "error: --inputs latin1.json: 'utf-8' codec can't decode"),
    ("--inputs", "deep.json"): (2, "error: --inputs deep.json: it is nested too deeply"),
    ("--timeout", "soon"): (2, "'soon' is not a duration: write 500ms, 5s, 10m, 2h, 3d or a number of seconds"),
    ("--timeout", "-5s"): (2, "'-5s' is not a duration"),
    ("--timeout", "nan"): (2, "'nan' is not a duration"),
    ("--timeout", "0"): (2, "it must be longer than 0 s"),
    ("--max-cost", "-1"): (2, "-1.0 is not in the range x>=0"),
    ("--max-cost", "nan"): (2, "nan is not an amount in USD"),
    ("--max-cost", "inf"): (2, "inf is not an amount in USD"),
    ("--max-cost", "much"): (2, "'much' is not a valid"),
    ("--run-id", "../x"): (2, "error: --run-id '../x'"),
    ("--approve", "maybe"): (2, "'maybe' is not one of"),
    ("--routing", "missing.yaml"): (2, "error: there is no routing file missing.yaml"),
    ("--db", "sqlite:x"): (2, "error: --db"),
    ("--nope",): (2, "No such option"),
}


@pytest.mark.parametrize("options", USAGE, ids=" ".join)
def test_what_cannot_be_used_is_said_and_nothing_begins(tmp_path: Path, options: tuple[str, ...]):
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "latin1.json").write_bytes(b'{"x": "\xe9"}')
    (tmp_path / "deep.json").write_text("[" * 100_000)
    ended = run(tmp_path, {"a": "x"}, *options)
    code, message = USAGE[options]
    assert ended.code == code, ended.err
    assert message in ended.err
    assert "started" not in ended.err
    assert not (tmp_path / "out").exists()


def test_without_any_provider_the_exit_code_is_that_of_missing_keys(tmp_path: Path):
    ended = run(tmp_path, {"a": WRITES}, offline="never")
    assert (ended.code, ended.first) == (4, "error: no provider is configured. Any one of these is enough:")
    assert "  openai: no key: set OPENAI_API_KEY" in ended.err
    assert list(files_below(tmp_path)) == ["squad.yaml"]


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("GROQ_API_KEY", "sk-schlüssel-geheim", "holds control characters or other letters than ASCII"),
        ("LOCAL_BASE_URL", "file:///etc/passwd", "must begin with http:// or https://"),
        ("LOCAL_BASE_URL", "http://me:geheim@host/v1", "keys go into the environment, never into a URL"),
    ],
)
def test_a_variable_that_cannot_be_is_named_and_its_value_is_not(tmp_path: Path, variable: str, value: str, why: str):
    ended = run(tmp_path, {"a": "x"}, offline="never", child={"env": {variable: value}})
    assert ended.code == 4
    assert ended.first.startswith(f"environment.{variable}: error[bad-variable]: ")
    assert why in ended.first
    assert "geheim" not in ended.err
