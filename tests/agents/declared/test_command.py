"""Commands as tools: real processes, whose arguments stay arguments and whose output, time and children end."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from agents.declared.arguments import Argument, Arguments
from agents.declared.command import CommandSpec, command_tool
from agents.declared.processes import run_process
from providers.messages import ToolCall, ToolResult
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
SHOW = "import sys, os, json; json.dump([sys.argv[1:], dict(os.environ), os.getcwd(), sys.stdin.read()], sys.stdout)"
PYTHON = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}


def spec(folder: Path, *argv: str, args: tuple[Argument, ...] = (), **more: object) -> CommandSpec:
    return CommandSpec((sys.executable, *argv), folder, Arguments.made_of(args), **more)  # type: ignore[arg-type]


async def call(given: CommandSpec, environ: dict[str, str] = PYTHON, **arguments: object) -> ToolResult:
    return await command_tool("it", "It.", given, environ).call(ToolCall("c", "it", json.dumps(arguments)))


async def test_arguments_are_whole_texts_and_go_to_no_shell(tmp_path):
    args = (Argument("a"), Argument("n", "number"), Argument("b", "boolean", default=False), Argument("l", "list"))
    told = await call(
        spec(tmp_path, "-c", SHOW, "{a}", "x={n}{b}", "{l}", "{{a}}", args=args),
        a="$(id); `id` | 'x' \"y\"\n{n}",
        n=2.0,
        l=["é", "", "&& x"],
    )
    argv, environ, folder, stdin = json.loads(told.content)
    assert argv == ["$(id); `id` | 'x' \"y\"\n{n}", "x=2false", "é", "", "&& x", "{$(id); `id` | 'x' \"y\"\n{n}}"]
    assert set(environ) - {"LC_CTYPE"} == {"PATH"}
    assert (folder, stdin) == (str(tmp_path.resolve()), "")


@pytest.mark.parametrize(
    ("argument", "value", "says"),
    [
        (Argument("a"), "--output=/etc/passwd", "may not begin with -"),
        (Argument("a", "list"), ["x", "-x"], "may not begin with -"),
        (Argument("a", pattern="[a-z]+"), "ab\n", "does not match"),
        (Argument("a", pattern="[a-z]+"), "ab;c", "does not match"),
        (Argument("a", pattern="(a+)+b"), "a" * 5000, "wrong arguments"),
        (Argument("a", "integer", maximum=3), 4, "4 is greater"),
        (Argument("a", enum=("x", "y")), "z", "is not one of"),
        (Argument("a", max_length=3), "abcd", "too long"),
        (Argument("a", "integer"), "4x", "it should be of the type"),
        (Argument("a"), {"x": 1}, "it should be of the type"),
        (Argument("b"), "x", "it is missing"),
    ],
)
async def test_an_argument_that_may_not_be_used_runs_nothing(tmp_path, argument, value, says):
    made = tmp_path / "made"
    told = await call(spec(tmp_path, "-c", f"open({str(made)!r}, 'w')", "{a}", args=(argument,)), a=value)
    assert told.is_error
    assert says in told.content
    assert not made.exists()


async def test_a_dash_is_allowed_where_it_is_said_and_behind_a_fixed_beginning(tmp_path):
    code = "import sys; print(sys.argv[1:])"
    args = (Argument("a", may_begin_with_dash=True), Argument("b"))
    told = await call(spec(tmp_path, "-c", code, "{a}", "--name={b}", args=args), a="-x", b="-y")
    assert told.content == "['-x', '--name=-y']"


async def test_a_flood_is_stopped_and_not_kept(tmp_path):
    code = "import os\nwhile True: os.write(1, b'x' * 65536)"
    told = await call(replace(spec(tmp_path, "-c", code), max_bytes=1000))
    assert told.content.startswith("[stopped: it wrote more than 1,000 bytes]\nxxx")
    assert told.content.count("x") == 1000


async def test_an_exit_code_stderr_and_bytes_that_are_no_text_are_told(tmp_path):
    code = "import sys; sys.stdout.buffer.write(b'\\xffa\\x1b[31m\\n'); sys.stderr.write('why'); sys.exit(3)"
    told = await call(spec(tmp_path, "-c", code))
    assert told.content == "[exit code 3]\n�a[31m\n[stderr]\nwhy"
    assert (await call(spec(tmp_path, "-c", ""))).content == "(no output)"


async def test_what_hangs_is_stopped_with_all_that_it_started_and_what_it_wrote_is_told(tmp_path):
    code = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'])\n"
        "print(p.pid, flush=True)\ntime.sleep(1000)"
    )
    for limit_s in (1, 10, PATIENCE_S):  # a busy machine needs longer until it has written its line
        told = await call(replace(spec(tmp_path, "-c", code), timeout_s=limit_s))
        head, *pid = told.content.splitlines()
        assert head == f"[stopped: it had not ended within {limit_s:g} s]"
        if pid:
            break
    await gone(int(pid[0]))


async def test_a_cancelled_call_leaves_nothing_behind(tmp_path):
    pids = tmp_path / "pid"
    code = f"import os, time; open({str(pids)!r}, 'w').write(str(os.getpid()) + '.'); time.sleep(1000)"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call, spec(tmp_path, "-c", code))
        with anyio.fail_after(PATIENCE_S):
            await written(pids)
        tasks.cancel_scope.cancel()
    await gone(int(pids.read_text()[:-1]))


async def test_what_a_command_leaves_in_the_background_holds_nobody_up(tmp_path):
    rest = "[sys.executable, '-c', 'import time; time.sleep(1000)']"
    code = f"import subprocess, sys; print(subprocess.Popen({rest}).pid)"
    told = await call(spec(tmp_path, "-c", code))
    await gone(int(told.content))


async def test_a_program_that_is_not_there_is_told(tmp_path):
    given = CommandSpec(("no-such-program",), tmp_path)
    assert "no such program" in (await call(given)).content
    assert "No such file" in (await call(CommandSpec(("./x.sh",), tmp_path))).content


async def test_only_named_variables_are_given(tmp_path):
    environ = {**PYTHON, "OPENAI_API_KEY": "sk-secret", "MINE": "1", "HOME": "/h"}
    argv = await run_process([sys.executable, "-c", SHOW], tmp_path, environ, timeout_s=PATIENCE_S, max_bytes=100_000)
    assert b"sk-secret" in argv.out
    told = await call(spec(tmp_path, "-c", SHOW, env=("MINE", "NOT_THERE")), environ)
    assert set(json.loads(told.content)[1]) - {"LC_CTYPE"} == {"PATH", "MINE", "HOME"}


def test_a_nul_is_no_text_of_a_command():
    with pytest.raises(ValueError, match="NUL"):
        Arguments.made_of([Argument("a")]).texts({"a": "x\0y"})


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("{program}", "x"), "the program itself"),
        (("sh", "-c", "echo {a}"), "reads its arguments as a program"),
        (("/bin/BASH", "-c", "echo", "{a}"), "reads its arguments as a program"),
        (("echo", "x{l}"), "stands alone"),
    ],
)
def test_a_command_that_an_argument_could_choose_is_refused(tmp_path, argv, says):
    args = (Argument("program"), Argument("a"), Argument("l", "list"))
    assert says in CommandSpec(argv, tmp_path, Arguments.made_of(args)).fault()
    assert not CommandSpec(("echo", "{a}", "{l}"), tmp_path, Arguments.made_of(args), cwd="x").fault()


async def written(file: Path) -> None:
    """Wait until another process has written a line."""
    while not file.exists() or not file.read_text().endswith("."):  # noqa: ASYNC110  # nothing here tells
        await anyio.sleep(0.01)


async def gone(pid: int) -> None:
    """Wait until no process has this id, or only one that its parent has not looked at yet."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").exists() and " Z " in Path(f"/proc/{pid}/stat").read_text():
                return
        except ProcessLookupError:
            return
        await anyio.sleep(0.02)
    raise AssertionError(f"{pid} is still there")


async def test_what_an_optional_argument_stands_in_is_left_out_with_it(tmp_path):
    args = (Argument("a", optional=True), Argument("b", optional=True), Argument("l", "list", default=[]))
    given = spec(tmp_path, "-c", "import sys; print(sys.argv[1:])", "--since={a}", "{b}", "{l}", "x{a}{b}", args=args)
    assert (await call(given)).content == "[]"
    assert (await call(given, a="1", b="2")).content == "['--since=1', '2', 'x12']"
    assert (await call(given, a="")).content == "['--since=']"


@pytest.mark.parametrize(
    "argv", [("env", "bash", "-c", "{a}"), ("timeout", "5", "sh", "-c", "ls {a}"), ("CMD.EXE", "{a}")]
)
def test_a_shell_is_told_whatever_starts_it(tmp_path, argv):
    assert "reads its arguments as a program" in CommandSpec(argv, tmp_path).fault()
    assert CommandSpec(("grep", "bash", "{a}"), tmp_path).fault() == ""


async def test_code_that_changed_since_it_was_allowed_is_not_run(tmp_path):
    script = tmp_path / "run.py"
    script.write_text("print(1)")
    given = spec(tmp_path, "run.py", pinned={str(script): hashlib.sha256(b"print(1)").hexdigest()})
    assert (await call(given)).content == "1"
    script.write_text("print(2)")
    told = await call(given)
    assert (told.is_error, "was changed since it was allowed" in told.content) == (True, True)


async def test_a_secret_that_a_command_was_given_is_not_told_and_other_variables_are(tmp_path):
    code = "import os; print(os.environ['GH_TOKEN'], os.environ['MODE'], os.environ['DB'])"
    environ = {**PYTHON, "GH_TOKEN": "a+b/CANARY", "MODE": "production", "DB": "postgres://ann:pa55word@host/x"}
    told = await call(spec(tmp_path, "-c", code, env=("GH_TOKEN", "MODE", "DB")), environ)
    assert told.content == "*** production ***"
