"""`ask TEXT`: one question, one answer."""

from __future__ import annotations

import sys
import time
from typing import Any

import anyio
import click

from agents.output import answer_tokens, is_cut
from orchestrator.cli import app
from orchestrator.cli.app import Settings, argument, load_command, settings_of
from orchestrator.cli.consent import consent
from orchestrator.cli.exits import Exit
from orchestrator.cli.files import environment, load_policy
from orchestrator.cli.local import with_local_server
from orchestrator.cli.persona_files import load_persona
from orchestrator.cli.signals import Interruption
from orchestrator.cli.ui.arguments import as_meant, as_text
from orchestrator.cli.ui.console import Console, print_json
from orchestrator.cli.ui.cuts import finish_words
from orchestrator.cli.ui.figures import duration, tokens, usd
from orchestrator.cli.ui.notices import STUB_NOTICE, telling
from orchestrator.cli.ui.progress import alert_line
from orchestrator.cli.ui.screens import LogScreen, wants_log
from orchestrator.cli.ui.spoken import StreamPrinter
from orchestrator.errors import NoProvider
from orchestrator.events import Event, to_json
from orchestrator.trust import trust_file
from providers.catalog.asked_for import asked_for, mistake_in
from providers.catalog.model import Catalog, of_all_accounts
from providers.catalog.trust import Consent
from providers.client.manager import ProviderManager, open_manager
from providers.documents.problems import nearest
from providers.documents.unicode import printable
from providers.emit import Emit
from providers.errors import WrongAddress
from providers.events import AttemptEnded, BudgetAlert
from providers.messages import Needs, Request, Response, Restarted, Resumed, TextDelta, system, user

REMEDY_OF_ASK = {"length": "ask for less at once", "content_filter": "ask in other words, or another provider"}


@app.command("ask")
@argument("text", metavar="TEXT|-", help="The question; - reads it from standard input.")
@click.option("--agent", "persona", metavar="PERSONA", help="Answer as this persona: a name or a file.")
@click.option("--auto", is_flag=True, help="Choose the persona, or a squad of this folder, by the question.")
@click.option("--tier", metavar="TIER", help="The class of models: boss, worker, creative, fallback.")
@click.option("--model", metavar="PROVIDER/MODEL", help="This model and no other.")
@click.option("--system", "instructions", metavar="TEXT", help="Instructions to the model, after the persona's.")
@click.option("--stream", is_flag=True, help="Print the answer as it comes.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
@click.option("--offline", is_flag=True, help="Ask no model: the built-in stub answers.")
@click.pass_context
def ask_command(
    context: click.Context,
    text: str,
    persona: str | None,
    auto: bool,
    tier: str | None,
    model: str | None,
    instructions: str | None,
    stream: bool,
    as_json: bool,
    offline: bool,
) -> int:
    """Ask one question and print the answer. `-` reads it from stdin."""
    question = as_text(sys.stdin.buffer.read(), sys.stdin.encoding) if text == "-" else as_meant(text)
    if not question.strip():
        raise click.UsageError("the question is empty")
    if stream and as_json:
        raise click.UsageError("--stream prints text as it comes, --json one document at the end: give one of them")
    if auto and persona is not None:
        raise click.UsageError("--auto chooses the persona that --agent names: give one of them")
    if auto:
        squad, persona = _auto(question, settings_of(context), offline=offline)
        if squad is not None:
            given = {"file": squad[0], "pairs": (squad[1],), "offline": offline, "as_json": as_json, "stream": stream}
            return int(context.invoke(load_command("run"), **given))
    request = request_for(question, persona, tier, model, instructions and as_meant(instructions))
    settings = settings_of(context)
    anyio.run(_ask, request, settings, tier, stream, as_json, offline)
    return Exit.DONE


def _auto(question: str, settings: Settings, *, offline: bool) -> tuple[tuple[str, str] | None, str | None]:
    """Return the squad that a question is for, with its input, or the persona."""
    from orchestrator.cli.auto import choose, input_of

    chosen = choose(question, settings, offline=offline)
    return (chosen.squad and (chosen.squad.file, input_of(chosen.squad, question))), chosen.persona


def request_for(
    question: str, persona: str | None, tier: str | None, model: str | None, instructions: str | None
) -> Request:
    """Return the request. A persona is its instructions and its tier: it has no tools here."""

    parts = [] if instructions is None else [instructions]
    if persona is not None:
        found = load_persona(persona)
        parts.insert(0, found.instructions())
        tier = tier or found.tier
    opening = (system("\n\n".join(parts)),) if parts else ()
    # A tier that was asked for outranks what the policy says of the persona; a persona's own tier does not.
    return Request((*opening, user(question)), needs=Needs(persona=persona, tier=tier, model=model))


async def _ask(
    request: Request, settings: Settings, tier: str | None, stream: bool, as_json: bool, offline: bool
) -> None:

    console = Console(settings)
    policy, catalog = load_policy(settings)
    environ, pinned = environment(settings), request.needs.model
    trust: Consent = trust_file().allows
    if tier is not None and tier not in policy.tiers:
        hint = nearest(tier, policy.tiers)
        raise click.UsageError(f"--tier: no tier is called {tier!r}{hint and f' ({hint})'}")
    if pinned is not None and (mistake := mistake_in(pinned, catalog)):
        raise click.UsageError(f"--model: {mistake}")
    if offline:
        catalog = catalog.serving_pinned([pinned])
        console.say(STUB_NOTICE)
    else:
        environ = await with_local_server(policy, catalog, environ, console.say, [pinned])
        _warn_of_unknown(pinned, catalog, console)
        catalog = asked_for(catalog, pinned)
        if not catalog.candidates(environ):
            raise NoProvider(catalog.unconfigured(environ))
        trust = consent(settings, catalog, environ, console)
    wrong: list[str] = []
    emit = _listener(settings, console, wrong)
    async with anyio.create_task_group() as tasks:
        interruption = Interruption(tasks.cancel_scope, lambda: False)
        await tasks.start(interruption.watch)
        state = settings.state_folder
        tell = telling(console.warn, console.write)
        async with open_manager(
            policy, catalog, environ, offline=offline, state=state, notify=tell, trust=trust
        ) as manager:
            answer = _stream(manager, request, emit, console) if stream else manager.complete(request, emit=emit)
            response = await answer
        tasks.cancel_scope.cancel()
    interruption.check()
    for line in wrong:  # else the failure says it
        console.warn(line)
    if as_json:
        print_json(document_of(response))
    elif not stream:
        click.echo(printable(response.text))
    if cut := finish_words(response.finish.value, answer_tokens(response)):
        console.warn(f"truncated: {cut}: {REMEDY_OF_ASK[response.finish.value]}")
    _print_figures(console, response)


def _warn_of_unknown(name: str | None, catalog: Catalog, console: Console) -> None:
    """Tell where the model that is asked for has no row: it may be new, or its name misspelt."""
    row = catalog.providers.get((name or "").partition("/")[0])
    if name is None or row is None or row.any_model or not name.partition("/")[2]:
        return
    if catalog.find(of_all_accounts(name)) is None:
        like = nearest(of_all_accounts(name), map(row.full_name, row.models))
        hint = f" ({like})" if like.startswith("did you mean") else ""
        console.warn(f"the catalog does not know {name}{hint}: it is asked as one of {row.name}'s least able models")


def _listener(settings: Settings, console: Console, wrong: list[str]) -> Emit:
    """Return what hears of routes and attempts: the log, where one is wanted. Budget alerts are always shown.

    `wrong` collects the lines on addresses that are wrong: somebody must hear of them, whoever answers in the end.
    """
    log = LogScreen(settings, console) if wants_log(settings) else None

    def emit(payload: Any) -> None:
        if isinstance(payload, AttemptEnded) and payload.error == WrongAddress.__name__:
            wrong.append(f"{payload.provider}/{payload.model}: {payload.detail}")
        if log is None and not isinstance(payload, BudgetAlert):
            return
        document = to_json(Event("", None, (), 0, 0, time.time(), payload))
        if log is not None:
            log.saw(document, None)
        if isinstance(payload, BudgetAlert):
            console.warn(alert_line(document))

    return emit


async def _stream(manager: ProviderManager, request: Request, emit: Emit, console: Console) -> Response:
    """Print the text as it comes, cleaned as a whole: an escape sequence may be split between two deltas."""

    printer = StreamPrinter()
    async with manager.stream(request, emit=emit) as deltas:
        async for delta in deltas:
            if isinstance(delta, TextDelta):
                printer.add(delta.text)
            elif isinstance(delta, Restarted):
                printer.end()
                console.say(f"the stream broke; the answer starts again: {delta.reason}")
            elif isinstance(delta, Resumed):
                console.say(f"the stream broke; the answer continues: {delta.reason}")
        printer.end()
        response = deltas.response
    assert response is not None, "a stream that was read to its end has one"
    return response


def document_of(response: Response) -> dict[str, Any]:
    """Return the document of `ask --json`."""
    usage = response.usage
    return {
        "schema_version": 1,
        "text": response.text,
        "provider": response.provider,
        "model": response.model,
        "finish_reason": response.finish.value,
        "truncated": is_cut(response),
        "tool_calls": [{"id": c.id, "name": c.name, "arguments": c.arguments} for c in response.tool_calls],
        "usage": {
            "input_tokens": usage.input + usage.cache_read + usage.cache_write,
            "output_tokens": usage.output + usage.reasoning,
            "cached_tokens": usage.cache_read,
            "reasoning_tokens": usage.reasoning,
        },
        "cost_usd": None if response.cost is None else response.cost / 1e6,
        "attempts": [
            {
                "provider": attempt.provider,
                "model": attempt.model,
                "outcome": attempt.outcome,
                "status": attempt.status,
                "error": attempt.error,
                "ms": round(attempt.ms, 1),
            }
            for attempt in response.attempts
        ],
        "latency_ms": round(response.latency_ms, 1),
    }


def _print_figures(console: Console, response: Response) -> None:
    cost = usd(None if response.cost is None else response.cost / 1e6)
    figures = (
        f"{response.provider}/{response.model}",
        tokens(response.usage.total),
        cost,
        duration(response.latency_ms / 1000),
    )
    console.say("  ".join(filter(None, figures)))
