"""The page that begins a run: a form made from the squad's inputs. What is wrong is told beside the field."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote

from orchestrator.errors import OrchestratorError
from orchestrator.journal.protocols import RunBusy, RunExists
from orchestrator.run_opening import new_run_id
from orchestrator.server.pages.forms import SentFile
from orchestrator.server.pages.page import PageMissing, PageRequest
from orchestrator.squad.given import text_of
from orchestrator.squad.given_values import RawInput
from orchestrator.squad.inputs import coerce_inputs
from orchestrator.squad.load import Squad
from orchestrator.squad.spec import InputSpec
from providers.documents.problems import Problem, ProblemsFound

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
LONG = 60
"""Characters of a default from which on its field has several lines."""
HINTS = {
    "integer": "a whole number",
    "number": "a number",
    "list": "[a, b] as JSON or YAML, or a, b",
    "object": "{a: 1} as JSON or YAML",
    "file": "a file, or the text itself",
    "image": "a PNG, JPEG, GIF or WebP",
}
WANTED = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "list": "a list",
    "object": "an object",
}
"""What an input takes, as its form says it where something else was typed."""
FILES = ("file", "image")
NO_FILES: Mapping[str, SentFile] = MappingProxyType({})


class InputField(NamedTuple):
    """One field of the form. `rows` 0: one line. `options` are all values that it takes; empty: any."""

    name: str
    kind: str
    description: str
    value: str
    default: str
    is_needed: bool
    rows: int
    options: Sequence[str]
    hint: str
    error: str

    @property
    def is_file(self) -> bool:
        """Whether a file may be chosen for it."""
        return self.kind in FILES


async def new_run_values(asked: PageRequest) -> Mapping[str, Any]:
    """Return the form for the squad that is asked for, or the squads to choose from."""
    squads = asked.state.squads
    name = asked.form.get("squad") or asked.query.get("squad", "")
    name = name or (next(iter(squads)) if len(squads) == 1 else "")
    if name and name not in squads:
        raise PageMissing(f"This server offers no squad {name[:80]}: give its file to `orchestrator serve`.")
    squad = squads.get(name)
    return {
        "squads": [(one.name, one.spec.description) for one in squads.values()],
        "squad": squad.name if squad else "",
        "description": squad.spec.description if squad else "",
        "fields": [] if squad is None else fields_of(squad, asked, {}),
        "own_cap": squad.spec.budget.max_cost if squad and squad.spec.budget else None,
        "run_id": "" if squad is None else new_run_id(squad.name, asked.state.clock()),
        "max_cost": asked.form.get("max_cost_usd", ""),
        "cost_error": "",
        "told": "",
    }


def fields_of(squad: Squad, asked: PageRequest, errors: Mapping[str, str]) -> list[InputField]:
    """Return the fields of a squad's inputs with what was typed, and what is wrong with it."""
    return [
        _field(name, declared, asked.form.get(f"in.{name}"), asked.files.get(f"file.{name}"), errors.get(name, ""))
        for name, declared in squad.spec.inputs.items()
    ]


def _field(name: str, declared: InputSpec, typed: str | None, sent: SentFile | None, error: str) -> InputField:
    default = "" if declared.default is None else _text(declared.default)
    options = [_text(value) for value in declared.enum or ()]
    if declared.type == "boolean" and not options:
        options = ["true", "false"]
    is_file = declared.type in FILES
    rows = {"list": 3, "object": 5, "file": 6}.get(declared.type, 0)
    if declared.type == "string" and not options:
        is_short = declared.default is not None and len(default) <= LONG and "\n" not in default
        rows = 0 if is_short else min(max(3, default.count("\n") + 2), 12)
    value = typed if typed is not None else "" if is_file else default
    hint = HINTS.get(declared.type, "")
    if is_file and default:
        hint = f"{hint}; left empty: the file {default}"
    text = text_of(RawInput(sent.name, sent.data)) if sent is not None and declared.type == "file" else None
    if isinstance(text, str):
        value = text
    elif sent is not None:  # a browser keeps no file that was chosen
        hint = f"{hint}; choose {sent.name} again"
    return InputField(
        name,
        declared.type,
        declared.description,
        value,
        default,
        declared.default is None,
        rows,
        options,
        hint,
        error,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def given_inputs(
    squad: Squad, form: Mapping[str, str], files: Mapping[str, SentFile] = NO_FILES
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what a form gives a squad, and what is wrong with it by the input's name.

    A field that is left empty takes the default. Of a text without a default the empty one is told as missing.
    """
    pairs: list[tuple[str, Any]] = []
    errors: dict[str, str] = {}
    for name, declared in squad.spec.inputs.items():
        typed = form.get(f"in.{name}", "").replace("\r\n", "\n")
        is_text = declared.type == "string" and declared.default is not None and declared.enum is None
        if (sent := files.get(f"file.{name}")) is not None and declared.type in FILES:
            pairs.append((name, RawInput(sent.name, sent.data)))
        elif typed.strip() or (is_text and f"in.{name}" in form and declared.default != ""):
            pairs.append((name, typed))
        elif declared.default is None:
            what = {"image": "choose a file", "file": "choose a file, or write its text"}
            errors[name] = f"It is needed: {what.get(declared.type, 'write something')}."
    values = coerce_inputs(squad.spec.inputs, pairs)
    missing = dict.fromkeys(errors, "")
    try:
        squad.plan({**values, **missing})
    except ProblemsFound as found:
        for problem in found.problems:
            path = problem.path
            if problem.severity != "error":
                continue
            if len(path) > 1 and path[0] == "inputs":
                errors.setdefault(str(path[1]), _wrong(squad.spec.inputs, str(path[1]), problem))
            else:
                errors.setdefault("", problem.message)
    return values, errors


def _wrong(inputs: Mapping[str, InputSpec], name: str, problem: Problem) -> str:
    """Return what is wrong with an input, as its form says it."""
    told, kind = problem.message.removeprefix(f"input '{name}'").removeprefix(": ").strip(), inputs[name].type
    hint = problem.hint
    if kind in WANTED:
        told, hint = told.replace(f"is of type {kind}", f"takes {WANTED[kind]}", 1), hint.replace("give ", "like ", 1)
    told = f"It {told}" if told.startswith(("is ", "does ", "takes ")) else told
    return f"{told}{f' ({hint})' if hint else ''}"


async def new_run_act(asked: PageRequest) -> str | Mapping[str, Any]:
    """Begin the run that a form describes, once: the same form sent twice begins one run."""
    state, form = asked.state, asked.form
    if (squad := state.squads.get(form.get("squad", ""))) is None:
        raise PageMissing("This server offers no such squad: give its file to `orchestrator serve`.")
    run = form.get("run_id", "")
    values, errors = given_inputs(squad, form, asked.files)
    cap, cost_error = _cap(form.get("max_cost_usd", ""))
    told = errors.pop("", "")
    if RUN_ID.fullmatch(run) is None:
        told = told or "The form was not whole: send it again."
    shown = {"told": state.mask(told), "cost_error": cost_error, "fields": fields_of(squad, asked, errors)}
    if told or errors or cost_error:
        return shown
    if state.host.is_full:
        return {**shown, "told": "As many runs are at work here as may be at once: send it again once one has ended."}
    try:
        await state.host.start(squad, values, run_id=run, max_cost_usd=cap)
    except (RunExists, RunBusy):
        if not await _is_same(asked, run, squad, values):
            why = f"This form began the run {run} before, with other inputs. Send it again to begin another run."
            return {**shown, "told": why}
    except (OrchestratorError, ProblemsFound) as error:
        hint = getattr(error, "hint", "")
        return {**shown, "told": state.mask(f"{error}{f' ({hint})' if hint else ''}")}
    return f"/runs/{quote(run, safe='')}"


def _cap(typed: str) -> tuple[float | None, str]:
    text = typed.strip().removeprefix("$")
    if not text:
        return None, ""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    return (value, "") if 0 < value < 1e9 else (None, "It is an amount in USD above 0, like 2.50.")


async def _is_same(asked: PageRequest, run: str, squad: Squad, values: Mapping[str, Any]) -> bool:
    """Return whether a run is the one that this form began."""
    try:
        manifest = await asked.state.journal.manifest(run)
    except OrchestratorError:
        return True  # the other one of two at once is just beginning it
    planned = squad.plan(values).inputs
    return manifest.squad == squad.name and all(manifest.inputs.get(name) == value for name, value in planned.items())
