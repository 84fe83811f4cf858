"""Writes `environment.md` beside it: `python docs/reference/generate_environment.py`.

The variables of providers are those of the packaged catalog. A test compares the page with what this makes, and the
variables named here with those that the code reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from orchestrator.cli.app import Settings
from orchestrator.cli.ui.next_step import DB_VARIABLE, READ_RUNS
from orchestrator.observe.settings import CONTENT, MOST_SPANS
from orchestrator.server.access import TOKEN_FILE, TOKEN_VARIABLE
from orchestrator.trust import VARIABLE as TRUST_FILE
from providers.catalog.file import load_catalog
from providers.catalog.model import Provider
from providers.catalog.variables import PLACEHOLDER
from providers.client.discovery import OLLAMA_HOST, SWITCH, USUAL, WAIT, WAIT_S
from providers.client.wiretap import VARIABLE as DEBUG
from providers.documents.addresses import VARIABLE as LEDGER

PAGE = Path(__file__).with_name("environment.md")


class Variable(NamedTuple):
    """A variable that is read: what it does, what holds without it, and whether a `.env` may set it."""

    name: str
    does: str
    default: str
    in_file: bool


COMMANDS = ", ".join(f"`{name}`" for name in READ_RUNS)
VARIABLES: Mapping[str, tuple[Variable, ...]] = {
    "The command line": (
        Variable("ORCHESTRATOR_STATE", "The folder of state, as `--state`.", f"`{Settings().state}`", False),
        Variable("ORCHESTRATOR_ROUTING", "The routing file, as `--routing`.", "`agent_routing.yaml`, if there", False),
        Variable(DB_VARIABLE, f"Where runs are recorded, as `--db` of {COMMANDS}.", "`journal.db` below state", False),
        Variable(
            "ORCHESTRATOR_TRUST",
            "`1`: allow where the folder's files send keys, as `--trust`.",
            "you are asked",
            False,
        ),
        Variable(TRUST_FILE, "The file that remembers what you allowed.", "`~/.config/orchestrator/trust.json`", False),
        Variable("XDG_CONFIG_HOME", "An absolute path in place of `~/.config` there.", "`~/.config`", False),
        Variable("NO_COLOR", "Any text: no colours on stderr.", "colours on a terminal", False),
        Variable("TERM", "`dumb`: no colours and no live table.", "of the terminal", False),
        Variable("COLUMNS", "How wide help texts may be, in characters.", "of the terminal, else 80", False),
        Variable(
            "_ORCHESTRATOR_COMPLETE", "Set by the script of `orchestrator completion`; not for people.", "unset", False
        ),
        Variable("COMP_WORDS", "Set by the same script: the line that is completed.", "unset", False),
        Variable("COMP_CWORD", "Set by the same script: which word of it.", "unset", False),
    ),
    "Routing": (
        Variable("MODEL_PROVIDER", "The provider that comes first in every tier.", "as the tiers say", True),
        Variable(
            "ORCHESTRATOR_ENV",
            "`production` or `development` (`prod`, `dev`), where the routing file says `environment: auto`.",
            "`ENVIRONMENT`",
            True,
        ),
        Variable("ENVIRONMENT", "The same, where `ORCHESTRATOR_ENV` is not set.", "no provider is preferred", True),
        Variable(
            LEDGER,
            "Where processes count limits together: `redis://`, `rediss://`, `unix://`, `postgresql://`, or"
            " `split:INDEX/N` for a share. It goes before the routing file's `ledger`.",
            "each process counts in the state folder",
            True,
        ),
    ),
    "Model servers on this machine": (
        Variable(
            SWITCH,
            "`off`, `on`, or addresses to look at, with commas between them.",
            f"on: {', '.join(f'`{url}`' for url in USUAL)}",
            True,
        ),
        Variable(WAIT, "Seconds for all of the search.", f"{WAIT_S:g}", True),
        Variable(OLLAMA_HOST, "Where Ollama listens, as Ollama itself reads it.", f"`{USUAL[0]}`", True),
    ),
    "The server": (
        Variable(
            TOKEN_VARIABLE,
            "The token of `orchestrator serve`: the server takes it, and commands with `--server` send it.",
            f"the file `{TOKEN_FILE}` in the state folder",
            True,
        ),
    ),
    "Debugging and tests": (
        Variable(
            DEBUG,
            "Names of providers with commas between them, or `all`: their requests and replies are shown on stderr,"
            " without keys.",
            "nothing is shown",
            True,
        ),
        Variable(
            "ORCHESTRATOR_REAL_CALLS",
            "Anything but `allow`: no call leaves this machine, it fails instead. The fixture `no_real_calls` sets it.",
            "calls are allowed",
            False,
        ),
    ),
    "Telemetry": (
        Variable(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "The collector that spans and metrics are sent to by OTLP over HTTP.",
            "nothing is sent",
            False,
        ),
        Variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "The same for spans alone.", "as above", False),
        Variable("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "The same for metrics alone.", "as above", False),
        Variable("OTEL_TRACES_EXPORTER", "`none`: no spans.", "`otlp`", False),
        Variable("OTEL_METRICS_EXPORTER", "`none`: no metrics.", "`otlp`", False),
        Variable("OTEL_SDK_DISABLED", "`true`: nothing at all.", "`false`", False),
        Variable("OTEL_SERVICE_NAME", "Who sends.", "`squad-orchestrator`", False),
        Variable("OTEL_RESOURCE_ATTRIBUTES", "`service.name=...` says the same.", "unset", False),
        Variable("OTEL_BSP_MAX_QUEUE_SIZE", "How many spans may wait to be sent.", f"{MOST_SPANS:,}", False),
        Variable(CONTENT, "`true`: the spans contain what models are asked and answer.", "it does not", False),
        Variable("TRACEPARENT", "The span that asks for the run (W3C Trace Context).", "a trace of its own", False),
    ),
    "The network": (
        Variable("HTTPS_PROXY", "The proxy for `https://` addresses.", "none", False),
        Variable("HTTP_PROXY", "The proxy for `http://` addresses.", "none", False),
        Variable("ALL_PROXY", "The proxy for both.", "none", False),
        Variable("NO_PROXY", "Hosts that are asked without a proxy, with commas between them.", "none", False),
        Variable("SSL_CERT_FILE", "A file of certificates to trust.", "those of the system", False),
        Variable("SSL_CERT_DIR", "A folder of them.", "those of the system", False),
    ),
}
HEAD = """# Environment variables

Made by `docs/reference/generate_environment.py` from the catalog and the code: these are all that are read.

A variable that is set goes before a file `.env` in the working folder. A `.env` may set those marked so: keys, and what
concerns providers. The others are read from the environment of the process alone, since a `.env` may come with a
folder that others wrote. Values of keys appear in no output. `orchestrator doctor` and `orchestrator providers ls` say
which are set, and where each came from.

## Keys and addresses of providers

| provider | key | address | model |
|---|---|---|---|
"""
AFTER = """
- **Key**: one is enough to use a provider. `GROQ_API_KEY_2` up to `_99` are further accounts of it, each with limits of
  its own.
- **Address** (`..._BASE_URL`): another place for the same API, a proxy for example. Where no key is named the provider
  is used only if this is set; a server on this machine may be found by itself (below).
- **Model** (`..._MODEL`): the model that is asked wherever a tier names this provider.
- A routing file may name other variables: `api_key_env`, and `webhook_env` and `webhook_secret_env` of a budget's
  alerts. Squad files name their own for MCP servers and HTTP tools.

More on all of these: [routing](../guides/routing.md).
"""


def page() -> str:
    """Return the whole page."""
    return HEAD + "\n".join([*map(_provider, _providers()), AFTER, *_tables()])


def _providers() -> Iterator[Provider]:
    yield from (row for row in load_catalog().providers.values() if row.dialect != "scripted")


def _provider(row: Provider) -> str:
    variables = [f"`{name}`" for name in (row.key_env, *row.more_key_envs, *PLACEHOLDER.findall(row.base_url)) if name]
    home = f" (`{row.base_url}`)" if row.base_url else ""
    address, model = f"`{row.env_prefix}_BASE_URL`{home}", f"`{row.env_prefix}_MODEL`"
    return f"| [{row.name}](providers.md#{row.name}) | {' with '.join(variables) or 'none'} | {address} | {model} |"


def _tables() -> Iterator[str]:
    for title, variables in VARIABLES.items():
        yield from (f"## {title}", "", "| variable | what it does | without it | in `.env` |", "|---|---|---|---|")
        for one in variables:
            yield f"| `{one.name}` | {one.does} | {one.default} | {'yes' if one.in_file else 'no'} |"
        yield ""


def names() -> set[str]:
    """Return every name on the page, but those of providers."""
    return {one.name for variables in VARIABLES.values() for one in variables}


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
