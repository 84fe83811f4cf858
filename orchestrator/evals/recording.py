"""What a real run was answered, as a file that stands beside the tests: one run's journal as JSON.

Texts are written once, under their SHA-256, so that a changed one shows as one changed line.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio.to_thread

from agents.run_context import StepKey
from orchestrator.evals.errors import CaseUnusable
from orchestrator.events import Event, RunStarted
from orchestrator.journal.codec import Unreadable, pack, unpack
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.protocols import Journal, RunManifest, StepRecord
from orchestrator.squad.sources import without_places
from orchestrator.units import Unit

FORMAT = 1


class RecordingUnusable(CaseUnusable):
    """A recording cannot be read, written or used."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded run, in a journal of its own."""

    run: str
    journal: Journal
    judged: Mapping[str, Any]
    """What the judge said, by what it was asked."""
    surroundings: Mapping[str, Any] = field(default_factory=dict)
    """Scripted tools and faults that were at work."""
    agreement: float | None = None
    """The share of people's labels that the judge agreed with, where it was asked about them."""
    files: Mapping[str, str | None] = field(default_factory=dict)
    """Files of which the record of the run does not tell, with their texts; None: one that is no text."""


async def read_recording(file: Path) -> Recording:
    """Return the run that a file holds. Raise `RecordingUnusable`."""
    try:
        document = json.loads(await anyio.to_thread.run_sync(file.read_text, "utf-8"))
        if document["recording"] != FORMAT:
            raise RecordingUnusable(f"{file} is of another release: it says recording {document['recording']}", _AGAIN)
        bodies = dict(_body(key, text) for key, text in document["texts"].items())
        manifest: RunManifest = _unpacked(document["manifest"], bodies)
        steps = [_step(one, bodies) for one in document["steps"]]
        events = [_event(document["run"], one, bodies) for one in document["events"]]
        if not events:
            raise ValueError("it holds no event")
        agreement = document.get("agreement")
        agreement = None if agreement is None else float(agreement)
        judged, surroundings, files = (
            dict(document.get(name, {}).items()) for name in ("judged", "surroundings", "files")
        )
    except OSError as error:
        raise RecordingUnusable(f"{file} cannot be read: {error.strerror or error}", _AGAIN) from error
    except (
        ValueError,
        KeyError,
        IndexError,
        RecursionError,
        TypeError,
        AttributeError,
        Unreadable,
        binascii.Error,
    ) as error:
        raise RecordingUnusable(f"{file} is not a recording that this release can read: {error}", _AGAIN) from error
    journal = MemoryJournal()
    await journal.create(document["run"], manifest, events, steps)
    return Recording(document["run"], journal, judged, surroundings, agreement, files)


_AGAIN = "record the case again: orchestrator test FILE --record --case NAME"


async def write_recording(
    journal: Journal,
    run: str,
    file: Path,
    *,
    secrets: Collection[str] = (),
    judged: Mapping[str, Any] | None = None,
    surroundings: Mapping[str, Any] | None = None,
    agreement: float | None = None,
    files: Mapping[str, str | None] | None = None,
) -> bool:
    """Write a run to a file, whole or not at all, and return whether that changed it.

    Raise `RecordingUnusable` where one of `secrets` (which may say what each is called) would stand in it, or the file
    cannot be written.
    """
    bodies: dict[bytes, bytes] = {}
    made_of = await journal.manifest(run)
    manifest = replace(made_of, file=Path(made_of.file).name, home=(), options={}, created_at=0.0)
    manifest = replace(manifest, sources=without_places(manifest.sources))
    document = {
        "recording": FORMAT,
        "run": run,
        "manifest": _packed(manifest, bodies),
        "steps": [_step_json(step, bodies) for step in await journal.steps(run) if step.done],
        "events": [_event_json(event, bodies) for event in await journal.events(run)],
        "judged": dict(sorted((judged or {}).items())),
        "surroundings": dict(surroundings or {}),
        **({} if agreement is None else {"agreement": agreement}),
        **({"files": dict(sorted(files.items()))} if files else {}),
        "texts": {},
    }
    document["texts"] = {key.hex(): _text(body) for key, body in sorted(bodies.items())}
    text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    for secret in secrets:
        if any(written in text for written in _spellings(secret)):
            raise RecordingUnusable(
                f"{file.name} would hold the value of a key: it is not written",
                f"have the squad not print {secrets[secret] if isinstance(secrets, Mapping) else 'its keys'}",
            )
    return _put(file, text)


def _spellings(secret: str) -> set[str]:
    """Return how a key may stand in a recording: as it is, and within JSON, which a text may hold as well."""
    spelled = {secret} - {""}
    for _ in range(3):
        spelled |= {json.dumps(one, ensure_ascii=plain)[1:-1] for one in spelled for plain in (True, False)}
    return spelled


def _put(file: Path, text: str) -> bool:
    try:
        if file.exists() and file.read_text("utf-8") == text:
            return False
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f".{file.name}-{os.getpid()}")
        new.write_text(text, "utf-8", newline="\n")
        new.replace(file)
    except OSError as error:
        raise RecordingUnusable(f"{file} cannot be written: {error.strerror or error}") from error
    return True


def _packed(value: Any, bodies: dict[bytes, bytes]) -> Any:
    packed = pack(value)
    bodies.update(packed.bodies)
    return json.loads(packed.data.decode("utf-8", "surrogatepass"))


def _unpacked(tree: Any, bodies: Mapping[bytes, bytes]) -> Any:
    return unpack(json.dumps(tree).encode(), bodies.__getitem__)


def _text(body: bytes) -> Any:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode("ascii")}


def _body(key: str, text: Any) -> tuple[bytes, bytes]:
    """Return a text under its SHA-256. Raise `ValueError` for one that was edited: nobody answered so."""
    body = _bytes(text)
    if hashlib.sha256(body).hexdigest() != key:
        raise ValueError(f"the text {key[:12]} was edited, and is not what was answered")
    return bytes.fromhex(key), body


def _bytes(text: Any) -> bytes:
    return text.encode("utf-8") if isinstance(text, str) else base64.b64decode(text["base64"], validate=True)


def _step_json(step: StepRecord, bodies: dict[bytes, bytes]) -> dict[str, Any]:
    return {
        "unit": list(step.unit),
        "key": [list(step.key.step), step.key.turn, step.key.call],
        "asked": step.request_hash.hex(),
        "result": _packed(step.result, bodies),
    }


def _step(written: Mapping[str, Any], bodies: Mapping[bytes, bytes]) -> StepRecord:
    place, turn, call = written["key"]
    result = _unpacked(written["result"], bodies)
    key = StepKey(tuple(place), turn, call)
    return StepRecord(Unit(*written["unit"]), key, bytes.fromhex(written["asked"]), True, result, False)


def _event_json(event: Event, bodies: dict[bytes, bytes]) -> dict[str, Any]:
    data = replace(event.data, out=None) if isinstance(event.data, RunStarted) else event.data
    unit = None if event.unit is None else list(event.unit)
    place = {"unit": unit, "step": list(event.step), "turn": event.turn, "seq": event.seq, "at": round(event.at, 3)}
    return {**place, "data": _packed(data, bodies)}


def _event(run: str, written: Mapping[str, Any], bodies: Mapping[bytes, bytes]) -> Event:
    unit = None if written["unit"] is None else Unit(*written["unit"])
    data = _unpacked(written["data"], bodies)
    return Event(run, unit, tuple(written["step"]), written["turn"], written["seq"], written["at"], data)
