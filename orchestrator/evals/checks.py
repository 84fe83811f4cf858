"""Whether a run is as expected: each expectation is one check, with what was found instead. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import regex

from orchestrator.evals.expect import (
    AnyOrder,
    ConversationExpect,
    Exactly,
    Expect,
    FileExpect,
    RunExpect,
    TaskExpect,
    ToolExpect,
    ValueExpect,
    texts_of,
)
from orchestrator.evals.facts import ConversationFact, RunFacts, TaskFact, ToolFact
from orchestrator.evals.ranges import Range
from orchestrator.evals.spec_names import called_as
from orchestrator.squad.elements import as_text
from providers.documents.json_schema import SchemaTooCostly, validator_of
from providers.documents.problems import Path
from providers.documents.secrets import MASK, hidden

SHOWN = 160
"""Characters of a text that a message quotes."""
PATTERN_S = 1.0
"""How long one pattern may look at one text."""


class Check(NamedTuple):
    """One expectation: where it stands in its case, whether it holds, and what was expected and found."""

    path: Path
    ok: bool
    message: str


def checks_of(expect: Expect, facts: RunFacts, schemas: Mapping[str, Any]) -> list[Check]:
    """Return every check of a case but those of its judge. `schemas` are the JSON Schemas of files that it names."""
    checker = _Checker(schemas)
    return [
        *checker.run(expect.run or RunExpect(), facts),
        *checker.outputs(expect.outputs or {}, facts),
        *(c for name, task in (expect.tasks or {}).items() for c in checker.task(name, task, facts)),
        *_turns(expect, facts),
        *(c for index, tool in enumerate(expect.tools or ()) for c in _tool(index, tool, facts.tools)),
        *(c for name, talk in (expect.conversations or {}).items() for c in _talks(name, talk, facts.conversations)),
        *(c for path, file in (expect.files or {}).items() for c in checker.file(path, file, facts.files)),
        *(_secrets(facts) if expect.secrets else ()),
    ]


class _Checker:
    def __init__(self, schemas: Mapping[str, Any]) -> None:
        self._schemas = schemas

    def run(self, expect: RunExpect, facts: RunFacts) -> Iterator[Check]:
        wanted = expect.status or "done"
        why = "; ".join(f"{name}: {task.error}" for name, task in facts.tasks.items() if task.status == "failed")
        found = f"the run ended as {facts.status}, not {wanted}" + (f" ({_short(why)})" if why else "")
        yield Check(("run", "status"), facts.status == wanted, found)
        if expect.cost is not None and facts.cost is None:
            yield Check(("run", "cost"), False, f"the cost is not known, and {expect.cost} USD was expected")
        for name, value in (
            ("cost", facts.cost),
            ("tokens", facts.tokens),
            ("turns", facts.turns),
            ("time", facts.seconds),
            ("failovers", facts.failovers),
            ("guardrails", facts.guardrails),
            ("questions", facts.questions),
        ):
            wanted_range: Range | None = getattr(expect, name)
            if wanted_range is not None and value is not None:
                yield _in_range(("run", name), name, value, wanted_range)

    def outputs(self, expect: Mapping[str, ValueExpect], facts: RunFacts) -> Iterator[Check]:
        for name, value in expect.items():
            at: Path = ("outputs", name)
            yield Check(at, name in facts.outputs, f"the run has no output {name}")
            if name in facts.outputs:
                yield from self.value(at, f"output {name}", value, facts.outputs[name])

    def task(self, name: str, expect: TaskExpect, facts: RunFacts) -> Iterator[Check]:
        at: Path = ("tasks", name)
        task = facts.tasks.get(name, TaskFact("not_started"))
        wanted = expect.status or "ok"
        why = f": {_short(task.error)}" if task.error else ""
        yield Check((*at, "status"), task.status == wanted, f"{name} is {task.status}, not {wanted}{why}")
        if expect.error is not None:
            yield from self.value((*at, "error"), f"the error of {name}", expect.error, task.error)
        if expect.attempts is not None:
            yield _in_range((*at, "attempts"), f"the attempts of {name}", task.attempts, expect.attempts)
        if task.output is None and task.status != "ok":
            return
        if expect.output is not None:
            yield from self.value((*at, "output"), f"the output of {name}", expect.output, task.output)
        if expect.items is not None:
            number = len(task.items) if task.items is not None else len(task.output) if _is_list(task.output) else 0
            yield _in_range((*at, "items"), f"the elements of {name}", number, expect.items)
        if expect.each is not None:
            of_list = {str(i): one for i, one in enumerate(task.output)} if _is_list(task.output) else {}
            for key, one in (of_list if task.items is None else task.items).items():
                yield from self.value((*at, "each"), f"{name}[{key}]", expect.each, one)

    def file(self, pattern: str, expect: FileExpect, files: Mapping[str, str | None]) -> Iterator[Check]:
        at: Path = ("files", pattern)
        found = [path for path in files if fits(pattern, path)]
        if not expect.exists:
            yield Check((*at, "exists"), not found, f"there is a file that was not to be: {', '.join(found)}")
            return
        there = ", ".join(files) or "none"
        yield Check((*at, "exists"), bool(found), f"no file {pattern} was written; there are: {there}")
        checked = expect.model_fields_set - {"exists"}
        for path in found:
            text = files[path]
            if text is None and checked:
                yield Check(at, False, f"what is in {path} is not in the record: a tool wrote it")
            elif text is not None:
                yield from self.value(at, path, expect, text)

    def value(self, at: Path, what: str, expect: ValueExpect, value: Any) -> Iterator[Check]:
        """Yield the checks of one value. `what` names it in messages."""
        text = "" if value is None else as_text(value)
        for wanted in texts_of(expect.contains):
            yield Check((*at, "contains"), wanted in text, f"{what} does not contain {wanted!r}: {_short(text)}")
        for wanted in texts_of(expect.lacks):
            yield Check((*at, "lacks"), wanted not in text, f"{what} contains {wanted!r}: {_around(text, wanted)}")
        if expect.matches is not None:
            yield _pattern((*at, "matches"), what, expect.matches, text, found=True)
        if expect.never_matches is not None:
            yield _pattern((*at, "never_matches"), what, expect.never_matches, text, found=False)
        if "equals" in expect.model_fields_set:
            yield Check(
                (*at, "equals"),
                _same(value, expect.equals),
                f"{what} is {_short(_json(value))}, not {_short(_json(expect.equals))}",
            )
        yield from _sizes(at, what, expect, value, text)
        if expect.json_schema is not None:
            yield self._schema((*at, "schema"), what, expect.json_schema, value)
        for path, inner in (expect.at or {}).items():
            is_there, found = _at(value, path)
            yield Check((*at, "at", path), is_there, f"{what} has nothing at {path}: {_short(_json(value))}")
            if is_there:
                yield from self.value((*at, "at", path), f"{what} at {path}", inner, found)
        if expect.each is not None:
            yield Check((*at, "each"), _is_list(value), f"{what} is not a list: {_short(_json(value))}")
            for index, one in enumerate(value if _is_list(value) else ()):
                yield from self.value((*at, "each"), f"{what}[{index}]", expect.each, one)

    def _schema(self, at: Path, what: str, wanted: str | Mapping[str, Any], value: Any) -> Check:
        schema = self._schemas[wanted] if isinstance(wanted, str) else wanted
        try:
            value = json.loads(value) if isinstance(value, str) and schema.get("type") != "string" else value
            broken = validator_of(schema).first_error(value)
        except SchemaTooCostly as error:
            return Check(at, False, f"the schema cannot be used: {error}")
        except ValueError as error:
            return Check(at, False, f"{what} is not JSON: {error}")
        told = "" if broken is None else f"{what} at {broken.json_path}: {broken.message[:300]}"
        return Check(at, broken is None, told)


def _sizes(at: Path, what: str, expect: ValueExpect, value: Any, text: str) -> Iterator[Check]:
    if expect.words is not None:
        yield _in_range((*at, "words"), f"the words of {what}", len(text.split()), expect.words)
    if expect.chars is not None:
        yield _in_range((*at, "chars"), f"the characters of {what}", len(text), expect.chars)
    if expect.items is not None:
        if isinstance(value, list | dict):
            yield _in_range((*at, "items"), f"the elements of {what}", len(value), expect.items)
        else:
            yield Check((*at, "items"), False, f"{what} is not a list: {_short(text)}")
    if expect.number is not None:
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield _in_range((*at, "number"), what, value, expect.number)
        else:
            yield Check((*at, "number"), False, f"{what} is not a number: {_short(text)}")


def _in_range(at: Path, what: str, value: float, wanted: Range) -> Check:
    return Check(at, wanted.holds(value), f"{what}: {value:g}, not {wanted}")


def _pattern(at: Path, what: str, pattern: str, text: str, *, found: bool) -> Check:
    try:
        match = regex.search(pattern, text, timeout=PATTERN_S)
    except TimeoutError:
        return Check(at, False, f"{pattern!r} took more than {PATTERN_S:g} s on {what}: write a simpler pattern")
    if found:
        return Check(at, match is not None, f"{what} does not match {pattern!r}: {_short(text)}")
    said = "" if match is None else match.group()
    return Check(at, match is None, f"{what} matches {pattern!r}: {_short(said)}")


def _turns(expect: Expect, facts: RunFacts) -> Iterator[Check]:
    """Yield whether the agents took their turns in this order."""
    spoke = [name for index, name in enumerate(facts.spoke) if index == 0 or facts.spoke[index - 1] != name]
    said = ", ".join(spoke) or "no one"
    if isinstance(expect.turns, Exactly):
        wanted = ", ".join(expect.turns.exactly)
        yield Check(("turns", "exactly"), spoke == expect.turns.exactly, f"turns were taken by {said}, not by {wanted}")
        return
    place = 0
    for index, turn in enumerate(expect.turns or ()):
        missing = list(turn.any_order) if isinstance(turn, AnyOrder) else [turn]
        while missing and place < len(spoke):
            if spoke[place] in missing:
                missing.remove(spoke[place])
            place += 1
        told = f"{' and '.join(missing)} took no turn after those before; turns were taken by {said}"
        yield Check(("turns", index), not missing, told)
        if missing:
            return


def _tool(index: int, expect: ToolExpect, calls: Sequence[ToolFact]) -> Iterator[Check]:
    at: Path = ("tools", index)
    own = [(number, call) for number, call in enumerate(calls) if expect.agent in (None, call.agent)]
    whose = "" if expect.agent is None else f" by {expect.agent}"
    for name in texts_of(expect.never):
        called = [call for _, call in own if fits(called_as(name), call.tool)]
        first = f": {_short(_json(called[0].arguments))}" if called else ""
        yield Check((*at, "never"), not called, f"{name} was called{whose} {len(called)} times{first}")
    if expect.tool is None:
        return
    fit = [(number, call) for number, call in own if _counts(expect, call)]
    seen = "; ".join(f"{call.tool}({_short(_json(call.arguments))})" for _, call in own[:5]) or "none"
    wanted = expect.times or Range(1, float("inf"), "1..")
    told = f"calls of {expect.tool}{whose} that count: {len(fit)}, not {wanted}; the calls were: {seen}"
    yield Check((*at, "times"), wanted.holds(len(fit)), told)
    if expect.before is not None and fit:
        later = next((number for number, call in enumerate(calls) if call.tool == called_as(expect.before)), None)
        yield Check(
            (*at, "before"), later is None or fit[0][0] < later, f"{expect.before} was called before {expect.tool}"
        )


def _counts(expect: ToolExpect, call: ToolFact) -> bool:
    is_meant = expect.tool is not None and call.tool == called_as(expect.tool) and expect.ok in (None, call.ok)
    return is_meant and _arguments_fit(expect.args or {}, call.arguments)


def _arguments_fit(wanted: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    for name, value in wanted.items():
        if name not in given:
            return False
        if isinstance(value, str) and isinstance(given[name], str):
            if not fits(value, given[name]):
                return False
        elif not _same(value, given[name]):
            return False
    return True


def fits(pattern: str, text: str) -> bool:
    """Return whether a text fits a pattern as file names have them: `*` within a folder, `**` over folders too."""
    if pattern == text:
        return True
    if not any(character in pattern for character in "*?["):
        return False
    if "**" in pattern:
        return any(
            fnmatchcase(text, pattern.replace("**/", any_folder).replace("**", "*")) for any_folder in ("*/", "")
        )
    return text.count("/") == pattern.count("/") and fnmatchcase(text, pattern)


def _talks(name: str, expect: ConversationExpect, held: Sequence[ConversationFact]) -> Iterator[Check]:
    at: Path = ("conversations", name)
    own = [one for one in held if one.name == name]
    yield Check(at, bool(own), f"the conversation {name} was not held")
    for one in own:
        if expect.turns is not None:
            yield _in_range((*at, "turns"), f"the turns of {name}", len(one.speakers), expect.turns)
        if expect.speakers is not None:
            spoke = ", ".join(dict.fromkeys(one.speakers))
            yield Check((*at, "speakers"), set(one.speakers) == set(expect.speakers), f"in {name} spoke: {spoke}")
        if expect.order is not None:
            spoke = ", ".join(one.speakers)
            is_so = list(one.speakers[: len(expect.order)]) == expect.order
            yield Check((*at, "order"), is_so, f"in {name} spoke, in this order: {spoke}")
        if expect.repeats is not None:
            repeated = len(one.texts) - len(set(one.texts))
            yield _in_range((*at, "repeats"), f"utterances of {name} that repeat one", repeated, expect.repeats)
        if expect.ended_by is not None:
            yield Check((*at, "ended_by"), one.ended_by == expect.ended_by, f"{name} ended by {one.ended_by}")


def _secrets(facts: RunFacts) -> Iterator[Check]:
    """Yield whether anything that the run made looks like a key."""
    texts = {
        **{f"output {name}": as_text(value) for name, value in facts.outputs.items() if value is not None},
        **{f"the output of {name}": task.text for name, task in facts.tasks.items()},
        **{f"the file {path}": text or "" for path, text in facts.files.items()},
        **{f"call {i} of {call.tool}": _json(call.arguments) for i, call in enumerate(facts.tools, 1)},
    }
    leaks = [where for where, text in texts.items() if hidden(text, guess=False).count(MASK) > text.count(MASK)]
    yield Check(("secrets",), not leaks, f"what looks like a key is in {', '.join(leaks)}")


def _at(value: Any, path: str) -> tuple[bool, Any]:
    """Return whether there is something at a dotted path, and what."""
    for part in path.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif _is_list(value) and part.lstrip("-").isdigit() and -len(value) <= int(part) < len(value):
            value = value[int(part)]
        else:
            return False, None
    return True, value


def _same(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal: True is not 1."""
    return _json(one) == _json(other) or (
        all(isinstance(each, int | float) and not isinstance(each, bool) for each in (one, other)) and one == other
    )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= SHOWN else f"{flat[:SHOWN]}..."


def _around(text: str, found: str) -> str:
    at = text.find(found)
    return _short(text[max(0, at - 40) : at + len(found) + 40])
