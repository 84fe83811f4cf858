"""`chat [SQUAD]`: talk to an agent, over days."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import click

from orchestrator.chat_opening import chat_squad
from orchestrator.cli import app
from orchestrator.cli.app import Settings, argument, settings_of
from orchestrator.cli.consent import consent, consent_to_code, either
from orchestrator.cli.exits import Exit, NothingSelected
from orchestrator.cli.files import environment, load_policy, routing_file
from orchestrator.cli.inputs import given_inputs
from orchestrator.cli.journals import db_option, journal_url, open_records, record_for_run
from orchestrator.cli.local import with_local_server
from orchestrator.cli.observed import observed
from orchestrator.cli.persona_files import load_persona, persona_names
from orchestrator.cli.squad_files import load_squad, recorded_squad
from orchestrator.cli.talk import Leaving, Talk
from orchestrator.cli.ui.arguments import RunIdOption, UsdOption
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.figures import usd
from orchestrator.cli.ui.gates import ApproveChoice, answering, approve_option
from orchestrator.cli.ui.message_lines import PipedLines, typed
from orchestrator.cli.ui.next_step import command_line
from orchestrator.cli.ui.notices import STUB_NOTICE, telling
from orchestrator.cli.ui.run_list import cost_of, when
from orchestrator.errors import AnothersChat, NotAChat, RunNotFound
from orchestrator.events import ChatPartner, UserSaid
from orchestrator.journal.protocols import Journal, RunManifest
from orchestrator.run.standing import state_in
from orchestrator.run_opening import new_run_id, stub_would_answer
from orchestrator.session import Session
from orchestrator.squad.load import Squad
from orchestrator.trust import trust_file
from providers.catalog.asked_for import asked_for, mistake_in
from providers.catalog.trust import Consent
from providers.documents.problems import nearest
from providers.documents.unicode import printable


@dataclass(frozen=True, slots=True)
class ChatAsked:
    """What the command was given."""

    file: str | None
    agent: str | None
    name: str | None
    model: str | None
    tier: str | None
    pairs: tuple[str, ...]
    offline: bool
    max_cost: float | None
    approve: ApproveChoice
    out: str | None
    stream: bool | None
    as_json: bool
    db: str | None


@app.command("chat")
@argument("file", metavar="[SQUAD]", required=False, help="A squad file. Without one: a persona, or a plain assistant.")
@click.option("--agent", metavar="AGENT", help="Talk to this agent of SQUAD; without one, to this persona.")
@click.option("--session", "name", type=RunIdOption(), metavar="NAME", help="Continue this chat, or start it.")
@click.option("--list", "lists", is_flag=True, help="List the recorded chats.")
@click.option("--model", metavar="PROVIDER/MODEL", help="This model and no other.")
@click.option("--tier", metavar="TIER", help="The class of models, without SQUAD: boss, worker, creative, fallback.")
@click.option("-i", "--input", "pairs", multiple=True, metavar="KEY=VALUE", help="An input of SQUAD; may be repeated.")
@click.option("--offline", is_flag=True, help="Ask no model: the built-in stub answers.")
@click.option("--max-cost", type=UsdOption(), metavar="USD", help="Stop answering once the chat has cost this much.")
@approve_option
@click.option("--out", metavar="DIR", help="Where the agents' files are (out/NAME).")
@click.option("--stream/--no-stream", "stream", default=None, help="Print answers as they come (on a terminal).")
@click.option("--json", "as_json", is_flag=True, help="Write each exchange to stdout as a line of JSON.")
@db_option
@click.pass_context
def chat_command(context: click.Context, /, lists: bool, **given: object) -> int:
    """Talk to an agent of SQUAD, to a persona, or to a plain assistant. It remembers, also on another day.

    Each line of the input is a message; /help lists what else can be typed. Answers go to stdout, all else to stderr.
    """
    asked, settings = ChatAsked(**given), settings_of(context)  # type: ignore[arg-type]  # click gives options by name
    journal_url(settings, asked.db)
    if lists:
        return anyio.run(_list, settings, asked.db)
    if asked.tier is not None and asked.file is not None:
        raise click.UsageError("--tier is for a chat without SQUAD, whose agents have tiers of their own")
    return anyio.run(_chat, settings, asked)


async def _list(settings: Settings, db: str | None) -> int:
    rows = [("SESSION", "WITH", "SAID", "STATE", "COST", "BEGAN")]
    async with open_records(settings, db) as records:
        journal = records.journal
        for line in await journal.runs(None):
            if not (await journal.manifest(line.run)).options.get("chat"):
                continue
            said = [event.data for event in await journal.events(line.run) if event.type == "user.said"]
            state = await state_in(journal, line.run, line.status)
            who = said[-1].agent if said else ""
            shown = "at work" if state == "running" else "open" if state in ("waiting", "unfinished") else state
            rows.append((line.run, who, str(len(said)), shown, usd(cost_of(line)), when(line.created_at)))
    if len(rows) == 1:
        raise NothingSelected("there is no chat here", "`orchestrator chat` begins one")
    click.echo(printable(columns([tuple(map(printable, row)) for row in rows])))
    return Exit.DONE


async def _chat(settings: Settings, asked: ChatAsked) -> int:
    console = Console(settings)
    async with record_for_run(settings, asked.db, console.warn) as journal:
        await _refuse_anothers(settings, asked, journal)
        while True:
            left = await _one_session(settings, asked, console, journal)
            if left.following is None:
                return left.code
            if left.following == "new":
                asked = replace(asked, name=None)
            else:
                asked = replace(asked, file=None, agent=left.following.partition(" ")[2], name=left.name)


async def _one_session(settings: Settings, asked: ChatAsked, console: Console, journal: Journal | None) -> Leaving:
    manifest = await _recorded(journal, asked.name)
    squad = await anyio.to_thread.run_sync(_squad, settings, asked, manifest)
    if asked.model is not None:
        if mistake := mistake_in(asked.model, squad.catalog):
            raise click.UsageError(f"--model: {mistake}")
        squad = replace(squad, catalog=asked_for(squad.catalog, asked.model))
    environ, plan = environment(settings), squad.outline()
    stub = bool(manifest.options.get("stub")) if manifest is not None else asked.offline
    trust: Consent = either(consent_to_code(settings, squad.code_uses(), console), trust_file().allows)
    if not stub:
        pinned = [asked.model, *(agent.model for agent in plan.agents.values())]
        environ = await with_local_server(squad.policy, squad.catalog, environ, console.say, pinned)
        if not stub_would_answer(squad, plan, environ, None):
            trust = either(trust, consent(settings, squad.catalog, environ, console))
    name = asked.name or new_run_id(plan.name, time.time())
    at_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    of_squad = asked.file is not None or _is_squad(manifest)
    talk = Talk(
        console,
        typed if at_terminal else PipedLines().read,
        environ,
        knows_model=lambda model: _unknown(model, squad),
        personas=() if of_squad else persona_names(),
        at_terminal=at_terminal,
        as_json=asked.as_json,
        stream=sys.stdout.isatty() if asked.stream is None else asked.stream,
        verbose=settings.verbose,
    )
    with observed(environ, console.warn) as by:
        session = talk.session = Session(
            squad,
            id=name,
            journal=journal,
            agent=asked.agent if of_squad else None,
            model=asked.model,
            inputs=given_inputs(asked.pairs).of(squad) or None,
            out=asked.out or (Path("out") / name if manifest is None else None),
            environ=environ,
            offline=True if stub else None,
            max_cost_usd=asked.max_cost,
            ask=answering(asked.approve, at_terminal=at_terminal, aside=talk.aside, environ=environ),
            state=settings.state_folder,
            notify=telling(console.warn, console.write),
            trust=trust,
            on_event=talk.saw,
            **by,
        )
        async with session:
            _greet(session, console, manifest is not None)
            left = await talk.hold()
            if session.exchanges and journal is not None:
                console.say(f"go on with it: {command_line(settings, 'chat', '--session', name, db=asked.db)}")
            return left._replace(name=name)


def _greet(session: Session, console: Console, goes_on: bool) -> None:
    if session.is_stub:
        console.say(STUB_NOTICE)
    said = len(session.history)
    before = f"; {said} exchange{'' if said == 1 else 's'} so far" if goes_on else ""
    console.say(printable(f"{session.id}: {session.agent} answers{before}; /help says what can be done"))


async def _recorded(journal: Journal | None, name: str | None) -> RunManifest | None:
    """Return what is recorded of a chat, None of a new one."""
    if journal is None or name is None:
        return None
    try:
        manifest = await journal.manifest(name)
    except RunNotFound:
        return None
    if not manifest.options.get("chat"):
        raise NotAChat(name)
    return manifest


async def _refuse_anothers(settings: Settings, asked: ChatAsked, journal: Journal | None) -> None:
    """Raise `AnothersChat` where the chat that is named is on record with another squad, or another persona."""
    manifest = await _recorded(journal, asked.name)
    if journal is None or manifest is None or asked.name is None:
        return
    others = f"the squad {manifest.squad}" if _is_squad(manifest) else ""
    if asked.file is not None:
        squad = (await anyio.to_thread.run_sync(load_squad, asked.file, settings)).spec.name
        if squad != manifest.squad:
            raise AnothersChat(asked.name, others or "a persona", f"the squad {squad}")
    elif asked.agent is not None and not others:
        events = await journal.events(asked.name)
        partners = [event.data.agent for event in events if isinstance(event.data, UserSaid | ChatPartner)]
        if partners and asked.agent not in partners:
            raise AnothersChat(asked.name, partners[-1], asked.agent)


def _is_squad(manifest: RunManifest | None) -> bool:
    """Return whether a recorded chat is with a squad's agents, rather than with a persona of the library."""
    return manifest is not None and manifest.squad != "chat"


def _squad(settings: Settings, asked: ChatAsked, manifest: RunManifest | None) -> Squad:
    """Return the squad whose agents are talked to."""
    if asked.file is not None:
        return load_squad(asked.file, settings)
    if manifest is not None and (asked.agent is None or _is_squad(manifest)):
        return recorded_squad(manifest, settings)
    if asked.agent is not None:
        load_persona(asked.agent)  # says which there are
    tiers = load_policy(settings)[0].tiers
    if asked.tier is not None and asked.tier not in tiers:
        hint = nearest(asked.tier, tiers)
        raise click.UsageError(f"--tier: no tier is called {asked.tier!r}{hint and f' ({hint})'}")
    return chat_squad(asked.agent, tier=asked.tier, routing=routing_file(settings))


def _unknown(model: str, squad: Squad) -> str:
    """Return what is wrong with a model's name, "" where it can be asked."""
    if mistake := mistake_in(model, squad.catalog):
        return mistake
    if squad.catalog.find(model) is None:
        like = nearest(model, list(squad.catalog.names()))
        return f"the catalog does not know {model}{like and f' ({like})'}: begin the chat with --model {model}"
    return ""
