"""What the command line was given, made into values: files, inputs, durations."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.app import Settings
from orchestrator.cli.exits import Unusable
from orchestrator.cli.loading import interrupts_held

if TYPE_CHECKING:
    from orchestrator.environment import Environment
    from orchestrator.squad.load import Squad
    from personas import Persona
    from providers.catalog.model import Catalog
    from providers.policy.model import Policy
    from providers.simulation import Scenario


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """Seconds, as people write them: `90s`, `10m`, `2h`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from providers.documents.quantities import parse_duration

        try:
            seconds = parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return seconds or self.fail("no time at all lets nothing begin", param, ctx)


class Usd(click.FloatRange):
    """An amount of money from 0. Infinity and NaN are numbers to Python, and no amounts."""

    name = "usd"

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        amount: float = super().convert(value, param, ctx)
        return amount if math.isfinite(amount) else self.fail(f"{value} is no amount in USD", param, ctx)


@interrupts_held()
def load_squad(file: str, settings: Settings) -> Squad:
    """Return the squad of `file`. Raise `Unusable` where there is none, `SpecError` with all its mistakes."""
    if not Path(file).is_file():
        raise Unusable(f"there is no squad file {file}", "`orchestrator init` writes one")
    from orchestrator.squad.file_kind import NAMES, kind_of_file
    from orchestrator.squad.load import Squad
    from providers.documents.problems import ProblemsFound

    try:
        return Squad.from_file(file, routing=settings.routing_file())
    except ProblemsFound:
        # A file of another kind is full of mistakes as a squad; asked only here, so that a sound file is read once.
        if (kind := kind_of_file(file)) != "squad":
            raise Unusable(
                f"{file} is {NAMES[kind]}, not a squad", f"`orchestrator validate {file}` checks it"
            ) from None
        raise


def environment(settings: Settings) -> Environment:
    """Return the variables that say whom to ask: the process's, and below them those of the `.env` that holds here.

    It stands beside the routing file, else in the working folder. Raise `SpecError` with each line that is none.
    """
    from orchestrator.environment import environment_of

    routing = settings.routing_file()
    return environment_of(None if routing is None else routing.parent)


@interrupts_held()
def load_policy(settings: Settings) -> tuple[Policy, Catalog]:
    """Return the policy and the catalog that hold here. Raise `SpecError` with all mistakes of the routing file."""
    from orchestrator.squad.load import load_routing

    return load_routing(settings.routing_file())


@interrupts_held()
def policy_over(file: str, catalog: Catalog) -> tuple[Policy, Catalog]:
    """Return what a routing file says over `catalog`. Raise `SpecError` with all its mistakes."""
    from orchestrator.squad.load import load_routing

    return load_routing(file, catalog)


def load_scenario_file(file: str) -> Scenario:
    """Return the scenario of a YAML file. Raise `SpecError` with all its mistakes, each in its place."""
    from providers.documents.problems import SpecError
    from providers.documents.yaml import problems_at, read_mapping
    from providers.errors import CatalogError
    from providers.simulation.scenario_file import parse_scenario

    root = read_mapping(file)
    try:
        return parse_scenario(root.plain(), Path(file).stem)
    except CatalogError as error:
        raise SpecError(problems_at(root, error.problems, "scenario")) from None


@interrupts_held()
def load_persona(name: str) -> Persona:
    """Return a persona of the library. Raise `Unusable` where there is none of this name."""
    from personas import Personas, packaged

    library = Personas(packaged())
    if name not in library.names():
        raise Unusable(f"there is no persona {name!r}", f"known: {', '.join(library.names())}")
    return library.get(name)


def split_inputs(pairs: Sequence[str], option: str = "-i", what: str = "an input") -> list[tuple[str, str]]:
    """Return the `key=value` texts that `option` was given as pairs; `what` is what one of them is called."""
    found = []
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise Unusable(f"{option} {pair}: {what} is written key=value")
        found.append((key, as_meant(value)))
    return found


def as_meant(argument: str) -> str:
    """Return an argument's text. In a locale without UTF-8 (LANG=C) Python hands on the bytes it could not read."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return os.fsencode(argument).decode("utf-8", "replace")
    return argument


def as_text(data: bytes, encoding: str) -> str:
    """Return what a pipe or a file holds: UTF-8, with or without a mark, else text in the console's `encoding`."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode(encoding, "replace")


def json_object(file: str) -> dict[str, Any]:
    """Return the object in a JSON file."""
    try:
        document = json.loads(Path(file).read_text("utf-8-sig"))
    except RecursionError:
        raise Unusable(f"--inputs {file}: it is nested too deeply") from None
    except (OSError, ValueError) as error:
        raise Unusable(f"--inputs {file}: {error}") from error
    if not isinstance(document, dict):
        raise Unusable(f"--inputs {file}: this is a JSON {type(document).__name__}, not an object")
    return document
