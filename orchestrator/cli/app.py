"""The commands by name, and the options that all of them take. A command's module is imported when it is invoked."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from orchestrator._version import __version__
from orchestrator.cli.examples import EXAMPLES
from orchestrator.cli.loading import interrupts_held
from orchestrator.cli.other_names import COMMANDS as COMMANDS_ELSEWHERE
from orchestrator.cli.other_names import OPTIONS as OPTIONS_ELSEWHERE

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.observe.logs import LogLevel

COMMANDS: Mapping[str, tuple[str, str]] = {
    "run": ("run", "Run a squad file."),
    "ask": ("ask", "Ask one question, of a persona or of a model alone."),
    "chat": ("chat", "Talk to an agent; the chat goes on over days."),
    "validate": ("validate", "Find every mistake in squads, routing files, scenarios."),
    "graph": ("graph", "Draw the order of a squad's tasks."),
    "config": ("config", "Show a squad file with every default filled in."),
    "schema": ("schema", "Print the JSON Schema of squads, personas, tests, for editors."),
    "explain": ("explain", "Show which models a task's turns were sent to, and why."),
    "test": ("test", "Run the cases of a squad's test file, from recordings or live."),
    "simulate": ("simulate", "Simulate a scenario, or runs of a squad. Spends nothing."),
    "runs": ("runs", "List recorded runs; show, resume, watch or cancel one."),
    "spending": ("spending", "Show what runs have cost: by provider, agent, day ..."),
    "approvals": ("approvals", "List the tasks that await approval; approve or deny one."),
    "memory": ("memory", "Search what agents remember; list, add or forget records."),
    "personas": ("personas", "List the personas; show, write or render one."),
    "tools": ("tools", "List the tools of a squad; show one, call one."),
    "mcp": ("mcp", "Offer squads as tools of an MCP server."),
    "serve": ("serve", "Start the server: pages, JSON API, OpenAI-compatible gateway."),
    "worker": ("worker", "Do the work of a cluster's runs, in this process."),
    "cluster": ("cluster", "Show the state of a cluster: its workers, its queues."),
    "login-link": ("login_link", "Print a link that logs a browser in at a server."),
    "gateway-keys": ("gateway_keys", "Make, list and revoke keys of the gateway's clients."),
    "providers": ("providers", "List the providers, test those that have a key."),
    "trust": ("trust", "Allow the code of this folder, and where it sends keys."),
    "doctor": ("doctor", "Check this installation and its surroundings."),
    "init": ("init", "Write a small squad to start from."),
    "docs": ("docs", "Print a page of the documentation, or find one."),
    "import": ("import_squad", "Make a squad of a project of another framework."),
    "completion": ("completion", "Print a shell's completion script."),
}
"""Command -> (module in `commands/`, the line that `--help` shows). The function is called `<module>_command`."""

STANDALONE = frozenset({"doctor", "completion"})
"""Commands that work where the rest of the installation is broken: they import none of it."""
GIVEN = "orchestrator.cli.settings"


class Settings(NamedTuple):
    """The common options. None: the option was not given."""

    state: str = ".orchestrator"
    routing: str | None = None
    color: bool | None = None
    quiet: bool = False
    verbose: bool = False
    log_format: str | None = None
    log_level: LogLevel | None = None
    trust: bool = False

    @property
    def state_folder(self) -> Path:
        from pathlib import Path

        return Path(self.state)


def settings_of(context: click.Context) -> Settings:
    """Return the common options as they were given, before the command or after it; the last one counts."""
    return Settings(**context.meta.get(GIVEN, {}))


def _remember(context: click.Context, option: click.Parameter, value: Any) -> None:
    if value is not None:
        context.meta.setdefault(GIVEN, {})[option.name] = value


def common_options(*, environment: bool = False) -> list[click.Option]:
    """Return the options that every command takes. The environment is read for the outermost command only."""

    def option(*names: str, envvar: str | None = None, **more: Any) -> click.Option:
        variable = envvar if environment else None
        return click.Option(names, expose_value=False, callback=_remember, default=None, envvar=variable, **more)

    return [
        option("--state", envvar="ORCHESTRATOR_STATE", metavar="DIR", help="Where state is kept (.orchestrator)."),
        option("--routing", envvar="ORCHESTRATOR_ROUTING", metavar="FILE", help="Routing file (agent_routing.yaml)."),
        option("--color/--no-color", help="Colours on stderr, or none (on a terminal without NO_COLOR)."),
        option("--quiet", "-q", is_flag=True, help="Print results and failures only."),
        option("--verbose", "-v", is_flag=True, help="Log every event; show the traceback of an internal error."),
        option(
            "--log-format",
            type=click.Choice(["console", "json"]),
            help="Log events instead of progress.",
        ),
        option(
            "--log-level",
            type=click.Choice(["debug", "info", "warning", "error"]),
            help="Log events of this level or above (debug).",
        ),
        option(
            "--trust",
            envvar="ORCHESTRATOR_TRUST",
            is_flag=True,
            help="Allow the code of this folder and the addresses it sends keys to, as `trust` does.",
        ),
    ]


class DescribedArgument(click.Argument):
    """An argument that says what it is, as options do: not every release of click has that."""

    def __init__(self, *args: Any, says: str, **more: Any) -> None:
        super().__init__(*args, **more)
        self.says = says


def argument(name: str, *, help: str, **more: Any) -> Callable[[Any], Any]:  # noqa: A002  # as options have it
    """Return a decorator that adds an argument to a command."""
    return click.argument(name, cls=DescribedArgument, says=help, **more)


class CommonOptions:
    """Mixed into a command: it takes the common options, and lists them apart from its own."""

    params: list[click.Parameter]
    commons: list[click.Option]

    def add_common_options(self, *, environment: bool = False) -> None:
        self.commons = common_options(environment=environment)
        self.params = [*self.params, *self.commons]

    def format_arguments(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write nothing: newer releases of click have arguments apart from the options, in words of their own."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        own = [p for p in self.get_params(context) if p not in self.commons]  # type: ignore[attr-defined]  # click's
        arguments = [p for p in own if isinstance(p, DescribedArgument)]
        if arguments:
            with formatter.section("Arguments"):
                formatter.write_dl([(p.make_metavar(context), p.says) for p in arguments])
        options = [p for p in own if isinstance(p, click.Option)]
        for title, params in (("Options", options), ("Common options", self.commons)):
            records = [record for p in params if (record := p.get_help_record(context)) is not None]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
        if isinstance(self, click.Group):
            self.format_commands(context, formatter)

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples of the command, one a line as it is typed."""
        if lines := EXAMPLES.get(context.command_path.removeprefix("orchestrator").strip()):
            with formatter.section("Examples"):
                for line in lines:
                    formatter.write(f"{'':>{formatter.current_indent}}orchestrator {line}\n")


class Command(CommonOptions, click.Command):
    """A command with the common options. What it returns is the exit code, None for 0."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_common_options()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            needed, advice = OPTIONS_ELSEWHERE.get(error.option_name, ("", ""))
            if any(needed in option.opts for option in self.params):
                raise click.UsageError(f"There is no option {error.option_name!r}: {advice}", ctx) from None
            raise
        except click.UsageError as error:
            given = re.fullmatch(r"Got unexpected extra argument \((\w+=.*)\)", error.message, re.DOTALL)
            if given and any("--input" in option.opts for option in self.params):
                raise click.UsageError(f"An input needs -i before it: -i {shlex.quote(given[1])}", ctx) from None
            raise


class Group(CommonOptions, click.Group):
    """A command of commands."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_common_options()


def load_command(module: str) -> click.Command:
    """Import a command's module and return the command. The one place where our own code is imported on use, so that
    `--help` and `--version` load none of it, and a command none of what others need."""
    if module not in STANDALONE:
        from orchestrator.cli.our_packages import require_our_agents

        require_our_agents()
    name = f"{module.rpartition('.')[2]}_command"
    command = getattr(import_module(f"orchestrator.cli.commands.{module}"), name)
    assert isinstance(command, click.Command)
    return command


class LazyGroup(CommonOptions, click.Group):
    """Commands by name, as in `COMMANDS`. Listing them imports none of their modules."""

    def __init__(
        self, *args: Any, parts: Mapping[str, tuple[str, str]], environment: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.parts = parts
        self.add_common_options(environment=environment)

    def list_commands(self, context: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(self.parts)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.parts:
            from providers.documents.likeness import closest  # only a mistake needs it

            close = f"run {name}" if name.endswith((".yaml", ".yml")) else closest(name, self.parts)
            hint = f" Did you mean {close!r}?" if close else ""
            if context.parent is None and name in COMMANDS_ELSEWHERE:
                hint = f" Write `orchestrator {COMMANDS_ELSEWHERE[name]}`."
            what = f"option {name}" if name.startswith("-") else f"command {name!r}"
            context.fail(f"There is no {what}.{hint}")
        with interrupts_held():
            return load_command(self.parts[name][0])

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # as above
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.parts.items()])


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"orchestrator {__version__}")
        context.exit()


@click.command(
    cls=LazyGroup, parts=COMMANDS, environment=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
def orchestrator() -> None:
    """Run squads of agents that YAML files define, over many model providers.

    Start with `orchestrator init`, then `orchestrator run squad.yaml`.
    """


def command(name: str, **more: Any) -> Callable[[Callable[..., int | None]], Command]:
    """Return a decorator that makes a `Command` whose help line is the listing's."""
    return click.command(name, cls=Command, **more)
