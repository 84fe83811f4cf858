"""A test file that is ready to run: its squad, its schemas, and where its recordings stand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.tools import Tool
from orchestrator.evals.scripted_tools import scripted_tool
from orchestrator.evals.spec import SuiteCase, SuiteSpec, suite_of
from orchestrator.evals.spec_names import checked_against, remote_tool, slug_of, tools_of
from orchestrator.squad.given_files import read_named
from orchestrator.squad.load import Squad
from providers.catalog.trust import Consent
from providers.documents.findings import Findings
from providers.documents.json_schema import validator_of
from providers.documents.nodes import Node
from providers.documents.problems import Path as Place
from providers.documents.problems import Problem, ProblemsFound, SpecError, in_order
from providers.documents.yaml import ParsedFile

LoadSquad = Callable[[str, tuple[Tool, ...]], Squad]
"""Loads a squad's file, with these tools instead of its own of their names."""


@dataclass(frozen=True, slots=True)
class Suite:
    """A checked test file."""

    file: Path
    spec: SuiteSpec
    squad: Squad
    schemas: Mapping[str, Any]
    load: LoadSquad
    node: Node

    def line_of(self, path: Place) -> int:
        """Return the line at which a path of the test file stands, or what is nearest above it."""
        while path and self.node.at(path) is None:
            path = path[:-1]
        return self.node.mark_of(path, key=True)[0]

    def line_of_check(self, case: SuiteCase, path: Place) -> int:
        """Return the line of an expectation of one of its cases."""
        index = next(number for number, one in enumerate(self.spec.cases) if one is case)
        return self.line_of(("cases", index, "expect", *path))

    @property
    def squad_file(self) -> str:
        return str(self.file.parent / self.spec.squad)

    def recording(self, case: SuiteCase) -> Path:
        """Return the file that a case's recording stands in."""
        return self.file.parent / self.spec.recording / f"{slug_of(case.name)}.json"

    @property
    def baseline(self) -> Path | None:
        return None if self.spec.baseline is None else self.file.parent / self.spec.baseline.file

    def writes_in_place(self, case: SuiteCase) -> bool:
        """Return whether agents write into the squad's own folder, not into a copy of it."""
        said = None if case.with_ is None else case.with_.workspace
        return (said or self.spec.defaults.workspace) == "in_place"

    async def squad_of(
        self, case: SuiteCase, trust: Consent, environ: Mapping[str, str], folder: Path | None = None
    ) -> Squad:
        """Return the squad of a case: its scripted tools do no work, and a model is told of them what it always is.

        `folder` is that of the squad's file where it is a copy. Raise `CodeNotTrusted` and `ToolUnusable`, as a run
        does.
        """
        scripted = (case.with_.tools if case.with_ is not None else None) or {}
        if not scripted and folder is None:
            return self.squad
        known = tools_of((await self.squad.loaded(trust, environ)).outline()) if scripted else {}
        own = {name: one for name, one in scripted.items() if remote_tool(name, self.squad.mcp) is None}
        made = [scripted_tool(known[name], one) for name, one in own.items()]
        file = Path(self.squad_file)
        return self.load(str(file if folder is None else folder / file.name), tuple(made))

    def inputs(self, case: SuiteCase) -> Mapping[str, Any]:
        """Return the inputs of a case. A file and an image are named from the folder of the test file: `@notes.md`."""
        return read_named(self.squad.spec.inputs, case.inputs or {}, self.file.parent)


def load_suite(parsed: ParsedFile, load: LoadSquad) -> Suite:
    """Return a test file ready to run. Raise `SpecError` with every mistake in it, or those of its squad."""
    spec, node, found = suite_of(parsed)
    file = Path(parsed.file)
    if any(problem.path == ("squad",) or problem.path[:1] == () for problem in found if problem.severity == "error"):
        raise SpecError(in_order(found))
    squad_file = file.parent / spec.squad
    if not squad_file.is_file():
        findings = Findings.after(node, found)
        findings.error(
            ("squad",),
            "unreadable-file",
            f"there is no file {squad_file}",
            "write its path from the folder of this file",
        )
        raise SpecError(in_order(findings.found))
    squad = load(str(squad_file), ())
    findings = Findings.after(node, checked_against(spec, node, found, squad.outline(), squad.catalog.providers))
    schemas = _schemas(node, file.parent, findings)
    _check_inputs(spec, squad, file.parent, findings)
    if findings.errors:
        raise SpecError(in_order(findings.found))
    return Suite(file, spec, squad, schemas, load, node)


def problems_of_suite(parsed: ParsedFile, load: LoadSquad) -> tuple[Problem, ...]:
    """Return what is wrong with a test file and its squad."""
    try:
        load_suite(parsed, load)
    except ProblemsFound as error:
        return tuple(error.problems)
    return ()


def _check_inputs(spec: SuiteSpec, squad: Squad, folder: Path, findings: Findings) -> None:
    for index, case in enumerate(spec.cases):
        if findings.is_unsure(("cases", index), "inputs"):
            continue
        try:
            squad.plan(read_named(squad.spec.inputs, case.inputs or {}, folder))
        except ProblemsFound as error:
            told = "; ".join(problem.message for problem in error.problems if problem.severity == "error")
            field = ("inputs",) if case.inputs is not None else ()
            findings.error(("cases", index, *field), "invalid-input", f"the squad cannot run with these inputs: {told}")


def _schemas(node: Node, beside: Path, findings: Findings) -> dict[str, Any]:
    """Return the schemas of the files that expectations name."""
    found: dict[str, Any] = {}
    for path, name in _schema_names(node.plain(), ()):
        try:
            found[name] = json.loads((beside / name).read_text("utf-8"))
            validator_of(found[name])
        except (OSError, ValueError) as error:
            findings.error(path, "bad-schema", f"{name} cannot be used as a JSON Schema: {error}")
        except Exception as error:  # jsonschema's own, which is imported where it is used
            if type(error).__name__ != "SchemaError":
                raise
            findings.error(path, "bad-schema", f"{name} is not a JSON Schema: {error}")
    return found


def _schema_names(value: Any, at: tuple[Any, ...]) -> list[tuple[tuple[Any, ...], str]]:
    if isinstance(value, dict):
        own = [((*at, "schema"), value["schema"])] if isinstance(value.get("schema"), str) else []
        return own + [one for key, item in value.items() if key != "equals" for one in _schema_names(item, (*at, key))]
    if isinstance(value, list):
        return [one for index, item in enumerate(value) for one in _schema_names(item, (*at, index))]
    return []
