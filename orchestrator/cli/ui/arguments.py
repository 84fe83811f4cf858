"""What the command line was given, made into values: inputs, durations, money, days, texts."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import click

from orchestrator.cli.exits import Unusable
from providers.documents.quantities import parse_duration

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class DurationOption(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """Seconds, as people write them: `90s`, `10m`, `2h`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return seconds or self.fail("it must be longer than 0 s", param, ctx)


class UsdOption(click.FloatRange):
    """An amount of money from 0. Infinity and NaN are numbers to Python, and no amounts."""

    name = "usd"

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        amount: float = super().convert(value, param, ctx)
        return amount if math.isfinite(amount) else self.fail(f"{value} is not an amount in USD", param, ctx)


class TimeZoneOption(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """An IANA time zone."""

    name = "zone"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tzinfo:
        if value == "UTC":
            return UTC
        try:
            return ZoneInfo(value)
        except (ValueError, KeyError, OSError):
            self.fail(f"{value!r} is not a time zone: write one like Europe/Berlin", param, ctx)


FIRST_YEAR = 1971
"""Before it nothing was recorded; earlier instants are none that every system can tell."""


class Since(NamedTuple):
    """From when on: `seconds` ago, at an instant, or where a day began that is that day in whatever zone."""

    text: str
    seconds: float | None = None
    at: datetime | None = None

    @property
    def told(self) -> str:
        """What follows `since` in a sentence."""
        return self.text if self.seconds is None else f"{self.text} ago"

    def instant(self, now: float, zone: tzinfo) -> float:
        """Return it as epoch seconds UTC. An instant without an offset is one of `zone`."""
        if self.seconds is not None:
            return now - self.seconds
        if self.at is not None:
            return (self.at if self.at.tzinfo else self.at.replace(tzinfo=zone)).timestamp()
        back = timedelta(days=1 if self.text == "yesterday" else 0)
        day = datetime.fromtimestamp(now, zone).date() - back
        return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()


class SinceOption(click.ParamType):  # type: ignore[type-arg]  # as above
    """`7d` (that long ago), `2026-11-21`, `2026-11-21T06:00`, `today` or `yesterday`."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Since:
        wrong = f"{value!r} is not a time: write 7d (that long ago), a day as 2026-11-21, or today"
        return _since(str(value).strip()) or self.fail(wrong, param, ctx)


def _since(text: str) -> Since | None:
    if text in ("today", "yesterday"):
        return Since(text)
    with suppress(ValueError):
        return Since(text, seconds=parse_duration(text))
    with suppress(ValueError):
        at = datetime.fromisoformat(text)
        return Since(text, at=at) if at.year >= FIRST_YEAR else None
    return None


class RunIdOption(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """A run's id: safe as a file's name on every system."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002  # click's
        if not RUN_ID.fullmatch(value):
            option = "--run-id" if param is None else param.opts[0]
            raise Unusable(f"{option} {value!r}: letters, digits, '.', '_' and '-' only, at most 100")
        return str(value)


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
    except FileNotFoundError:
        hint = f"`-i {file}` gives one input" if "=" in file else ""
        raise Unusable(f"--inputs {file}: there is no such file", hint) from None
    except (OSError, ValueError) as error:
        raise Unusable(f"--inputs {file}: {error}") from error
    if not isinstance(document, dict):
        raise Unusable(f"--inputs {file}: this is a JSON {type(document).__name__}, not an object")
    return document


server_option = click.option("--server", metavar="URL", help="Ask a running server (`orchestrator serve`) instead.")
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace files in the folder that this run did not write."
)
