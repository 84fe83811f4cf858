"""Who a free-text request is for: a persona of the library, or a squad of the working folder."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import anyio

from agents.intent import Intent, IntentChoice, intent_of
from orchestrator.cli.app import Settings
from orchestrator.cli.consent import consent
from orchestrator.cli.file_kind import kind_of
from orchestrator.cli.files import configured
from orchestrator.cli.loading import interrupts_held
from orchestrator.cli.squad_files import squad_of_file
from orchestrator.cli.ui.console import Console
from orchestrator.squad.load import Squad
from personas import Personas, packaged
from personas.keywords import KEYWORDS
from providers.client.manager import open_manager
from providers.documents.problems import ProblemsFound
from providers.documents.unicode import printable
from providers.documents.yaml import parse_file

DEFAULT = "researcher"
"""Answers what is for nobody in particular."""
MOST_SQUADS = 50


class AskedSquad(NamedTuple):
    """A squad that takes a request as its one text."""

    file: str
    input: str


@interrupts_held()
def choices_here(console: Console, settings: Settings) -> tuple[list[IntentChoice], Mapping[str, AskedSquad]]:
    """Return what a request may be for here, and the squads among it by name. One with mistakes is told, not taken."""
    library = Personas(packaged())
    known = [library.get(name) for name in library.names()]
    choices = [IntentChoice(one.name, one.title, KEYWORDS.get(one.name, ""), one.role) for one in known]
    squads: dict[str, AskedSquad] = {}
    for file in sorted(Path().glob("*.y*ml"))[:MOST_SQUADS]:
        squad = _squad(file, settings, console)
        if squad is None or (given := _text_input(squad)) is None:
            continue
        name = f"squad {squad.name}"
        squads[name] = AskedSquad(str(file), given)
        choices.append(IntentChoice(name, squad.name.replace("-", " ").replace("_", " "), squad.spec.description))
    return choices, squads


async def chosen_for(
    request: str, choices: list[IntentChoice], settings: Settings, console: Console, *, offline: bool
) -> Intent:
    """Return who a request is for. Only where its words do not say, and a provider has a key, a model is asked."""
    policy, catalog, environ = configured(settings)
    if offline or not catalog.candidates(environ):
        return await intent_of(request, choices, default=DEFAULT)
    words = await intent_of(request, choices, default=DEFAULT)
    if words.by == "words":
        return words
    trust = consent(settings, catalog, environ, console)
    async with open_manager(policy, catalog, environ, state=settings.state_folder, trust=trust) as manager:
        return await intent_of(request, choices, default=DEFAULT, manager=manager)


class Chosen(NamedTuple):
    """Who answers: a persona, or a squad with what it is given."""

    persona: str | None
    squad: AskedSquad | None


def choose(request: str, settings: Settings, *, offline: bool) -> Chosen:
    """Choose who a request is for, and tell it on stderr."""
    console = Console(settings)
    choices, squads = choices_here(console, settings)
    intent = anyio.run(partial(chosen_for, request, choices, settings, console, offline=offline))
    console.say(printable(f"auto: {intent.choice} ({intent.by}: {intent.why})"))
    squad = squads.get(intent.choice)
    return Chosen(intent.choice if squad is None else None, squad)


def input_of(squad: AskedSquad, request: str) -> str:
    """Return a request as `-i` takes it: a text, never the name of a file."""
    return f"{squad.input}={'@' if request.startswith('@') else ''}{request}"


def _squad(file: Path, settings: Settings, console: Console) -> Squad | None:
    try:
        parsed = parse_file(str(file))
        return squad_of_file(parsed, settings) if kind_of(parsed.keys, parsed.file) == "squad" else None
    except (ProblemsFound, OSError):
        console.say(printable(f"auto: {file} has mistakes and is left out; `orchestrator validate {file}` shows them"))
        return None


def _text_input(squad: Squad) -> str | None:
    """Return the input that takes a request: the one text that must be given, or the only text there is."""
    inputs = squad.spec.inputs
    needed = [name for name, one in inputs.items() if one.default is None]
    texts = [name for name, one in inputs.items() if one.type == "string" and one.enum is None]
    if needed:
        return needed[0] if needed == [name for name in needed if name in texts] and len(needed) == 1 else None
    return texts[0] if len(texts) == 1 else None
