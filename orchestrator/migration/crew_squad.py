"""A CrewAI project as a squad. Pure.

Source: CrewAI 1.15, `crew.py`: tasks are done one after another; a task without `context` reads the outputs of all
before it; those with `async_execution` run beside each other, and the next one without waits for them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.migration.crew_classes import schema_of
from orchestrator.migration.crew_entries import (
    agent_fields,
    agent_ids,
    refuse_unwritten_agent,
    task_fields,
    task_ids,
)
from orchestrator.migration.crew_fields import (
    AGENT_COUNSEL,
    CREW_COUNSEL,
    HOOK_COUNSEL,
    OF_FILES,
    TASK_COUNSEL,
    TOOLS,
    WRITES,
    Counsel,
    identifier,
    model_of,
    tool_counsel,
)
from orchestrator.migration.crew_project import CrewProject
from orchestrator.migration.crew_python import CodeName, PythonCode
from orchestrator.migration.crew_texts import CrewTexts, plain_text
from orchestrator.migration.crew_values import file_in_run, number_within, once_each, shown
from orchestrator.migration.notes import MigrationNotes
from providers.documents.problems import nearest
from providers.documents.unicode import clean_json

MANAGER, JUDGE, TALK = "manager", "guard", "crew"
_ROLE_CHARS, _TEXT_CHARS = 190, 20_000
"""What a title and any other text of a persona may come to here."""
_MOST_SECONDS, _MOST_TOKENS = 86_400, 1_000_000
SquadFields = dict[str, Any]


@dataclass(slots=True)
class CrewSquad:
    """Builds the document of a squad, with its comments. `models` are those of the catalog."""

    project: CrewProject
    notes: MigrationNotes
    models: Collection[str]
    serving_any: Collection[str] = ()
    comments: dict[tuple[str, ...], list[str]] = field(default_factory=lambda: defaultdict(list))
    agents: dict[str, SquadFields] = field(default_factory=dict)
    _agent_ids: dict[str, str] = field(default_factory=dict)
    _task_ids: dict[str, str] = field(default_factory=dict)
    _delegating: list[str] = field(default_factory=list)
    _timeouts: dict[str, int] = field(default_factory=dict)
    _files: set[str] = field(default_factory=set)
    _judge: str = JUDGE
    texts: CrewTexts = field(init=False)

    def __post_init__(self) -> None:
        self.texts = CrewTexts(self.notes)

    def document(self) -> SquadFields:
        """Return the squad. Raise `SpecError` where a task names what is not there."""
        crew = dict(self.project.code.crew)
        is_led = crew.pop("process", "sequential") == "hierarchical"
        self._agent_ids, self._task_ids = agent_ids(self.project, self.notes), task_ids(self.project, self.notes)
        self._judge = identifier(JUDGE, self._agent_ids.values(), JUDGE)
        for key, own in self._agent_ids.items():
            self.agents[own] = self._agent(key, own)
        manager = self._manager(crew) if is_led else None
        self._delegate(manager)
        tasks = self._tasks(manager)
        made: SquadFields = {"version": 1, "name": identifier(self.project.name, (), "crew"), "offline": "auto"}
        if self.texts.inputs:
            made["inputs"] = {own: self._input(name) for name, own in self.texts.inputs.items()}
        if crew.pop("memory", False):
            made["memory"] = True
            self.notes.add("changed", "crew.memory", "is memory: true: what agents remember is kept over runs")
        crew.pop("name", None), crew.pop("agents", None), crew.pop("tasks", None)
        self._code_around()
        self._counsel("crew", crew, CREW_COUNSEL, ())
        if used := self._files:
            made["workspace"] = {"path": ".", "write": True} if used & WRITES else "."
            how = "the tools for files work on the squad's folder: see workspace"
            self.notes.add("changed", "workspace", how + ("; a person allows each write" if used & WRITES else ""))
        made["agents"] = self.agents
        if manager is not None:
            others = [name for name in self.agents if name not in (manager, self._judge)]
            made["conversations"] = {TALK: {"pattern": "hierarchical", "manager": manager, "participants": others}}
        made["tasks"] = tasks
        last = [own for own in self._task_ids.values() if own in tasks][-1]
        made["outputs"] = {"result": f"${{{{ tasks.{last}.output }}}}"}
        cleaned: SquadFields = clean_json(made)  # JSON and Python can spell characters that no file holds
        return cleaned

    # -- agents

    def _agent(self, key: str, own: str) -> SquadFields:
        place, given = f"agents.{key}", agent_fields(self.project, key)
        made: SquadFields = {}
        for theirs, usual in (("role", "title"), ("goal", "goal"), ("backstory", "identity")):
            if (text := self._written(place, theirs, given)) is not None:
                ours, text = self._said(place, theirs, usual, self.texts.text(place, text))
                made[ours] = f"{made[ours]}\n\n{text}" if ours in made else text
            elif theirs == "role":
                made["title"] = key.replace("_", " ")
                self.notes.add("changed", place, "has no role: its name is used", "write title and role")
        self.notes.add("carried", place, "role, goal and backstory are title, goal and identity")
        self._model(f"{place}.llm", own, given.pop("llm", None), made)
        tools = self._tools(place, ("agents", own), given.pop("tools", None))
        if given.pop("inject_date", False) is True:
            tools.append("now")
            self.notes.add("changed", f"{place}.inject_date", "is the tool now, which tells the date")
        if tools:
            made["tools"] = list(dict.fromkeys(tools))
        if (turns := number_within(given.pop("max_iter", None), 1, 1000)) is not None and isinstance(turns, int):
            made["max_turns"] = turns
            self.notes.add("carried", f"{place}.max_iter", f"is max_turns: {turns}")
        if (
            seconds := number_within(given.pop("max_execution_time", None), 0, _MOST_SECONDS)
        ) is not None and seconds > 0:
            self._timeouts[own] = max(int(seconds), 1)
            self.notes.add("changed", f"{place}.max_execution_time", "is the timeout of the tasks that it does")
        self._sampling(given, made)
        if given.pop("allow_delegation", False) is True:
            self._delegating.append(own)
        self._guardrails(place, given, made)
        if given.pop("memory", False):
            made["memory"] = True
            self.notes.add("changed", f"{place}.memory", "is memory: true: kept over runs")
        self._counsel(place, given, AGENT_COUNSEL, ("agents", own))
        return made

    def _written(self, place: str, name: str, given: SquadFields) -> str | None:
        """Take a field that is a text, and tell of one that is none: code, say, or a list."""
        value = given.pop(name, None)
        text = plain_text(value)
        is_code = isinstance(value, PythonCode | CodeName)
        if text is None and value is not None and (is_code or not isinstance(value, str)):
            what = "is code" if is_code else "is no text"
            self.notes.add("missing", f"{place}.{name}", f"{shown(value)}: {what}", "write it as text")
        return text

    def _said(self, place: str, theirs: str, usual: str, text: str) -> tuple[str, str]:
        """Return the field that a text becomes, and the text in it."""
        if len(text) > _TEXT_CHARS:
            self.notes.add("changed", f"{place}.{theirs}", "is long: it became instructions")
            return "instructions", text
        if theirs != "role":
            return usual, text
        text = " ".join(text.split())
        return ("title" if len(text) <= _ROLE_CHARS else "role"), text

    def _model(self, place: str, own: str, llm: Any, made: SquadFields) -> None:
        """Set the model of an agent, as far as the catalog knows it. `place` is where `llm` stood."""
        if isinstance(llm, str) and llm in self.project.code.made:
            llm = self.project.code.made[llm]
        more = llm if isinstance(llm, dict) else {"model": llm}
        name = more.get("model")
        if llm is None:
            return
        model = model_of(name, self.models, self.serving_any) if isinstance(name, str) else None
        if model is not None:
            made["model"] = model
            self.notes.add("carried", place, f"is model: {model}, which is asked alone")
        else:
            named = name if isinstance(name, str) else shown(llm)
            todo = "model: PROVIDER/MODEL (orchestrator providers ls), or tier: worker"
            self.notes.add("missing", place, f"{named} is not a model of the catalog", todo)
            self.comments["agents", own].append(f"llm: {named} -> {todo}")
        self._sampling({name: more.get(name) for name in ("temperature", "max_tokens")}, made)

    @staticmethod
    def _sampling(given: SquadFields, made: SquadFields) -> None:
        """Take what says how a model writes; what a model said goes before what its agent says."""
        if (heat := number_within(given.pop("temperature", None), 0, 2)) is not None:
            made.setdefault("temperature", heat)
        tokens = number_within(given.pop("max_tokens", None), 1, _MOST_TOKENS)
        if isinstance(tokens, int):
            made["max_output_tokens"] = tokens

    def _tools(self, place: str, path: tuple[str, ...], names: Any) -> list[Any]:
        """Return the tools that are built in here; the others are told."""
        listed = names if isinstance(names, list) else [] if names is None else [names]
        found: list[Any] = []
        for name in listed:
            made = self.project.code.made.get(name, name) if isinstance(name, str) else name
            called = made if isinstance(made, str) else shown(made)
            if (own := TOOLS.get(called.removeprefix("crewai_tools."))) is not None:
                found.append(own)
                self.notes.add("changed", f"{place}.tools", f"{called} is {own}")
            else:
                todo = tool_counsel(called)
                self.notes.add("missing", f"{place}.tools", called, todo)
                self.comments[path].append(f"tools: {called} -> {todo}")
        self._files |= {name for name in found if name in OF_FILES}
        return found

    def _code_around(self) -> None:
        """Tell of code that has no counterpart: what is called before and after, and agents of no crew."""
        code = self.project.code
        for method, when in code.hooks.items():
            self.notes.add("missing", f"crew.{when}", f"{method}: is code of the program", HOOK_COUNSEL[when])
        for name, part in code.others.items():
            if part.key not in self._agent_ids:
                self.notes.add("missing", f"agents.{name}", "is in no crew, and left out")

    def _output_schema(self, place: str, given: SquadFields, fields: SquadFields) -> None:
        """Take the class of a task's output, where all of it is known."""
        for name in ("output_pydantic", "output_json", "response_model"):
            called = given.get(name)
            text = called.text if isinstance(called, PythonCode) else called
            schema = schema_of(text.rpartition(".")[2], self.project.classes) if isinstance(text, str) else None
            if schema is not None and "output_schema" not in fields:
                del given[name]
                fields["output_schema"] = schema
                self.notes.add(
                    "changed", f"{place}.{name}", f"the class {text} is output_schema, without its checks in code"
                )

    def _guardrails(self, place: str, given: SquadFields, made: SquadFields) -> None:
        """Rules in words are judged by an agent; those that are code are told."""
        listed = given.pop("guardrails", None)
        rules = [given.pop("guardrail", None), *(listed if isinstance(listed, list) else [listed])]
        checks = []
        for rule in rules:
            text = plain_text(rule)
            if text is not None and re.search(r"\s", text):
                checks.append({"agent": self._judge, "rubric": self.texts.text(place, text), "on_fail": "retry"})
                self.notes.add("changed", f"{place}.guardrail", f"is judged by the agent {self._judge}")
            elif rule is not None:
                todo = "guardrails: regex, schema or a rubric"
                self.notes.add("missing", f"{place}.guardrail", f"{shown(rule)} is code", todo)
        if checks:
            made["guardrails"] = {"output": checks}
            self.agents.setdefault(self._judge, {"persona": "judge"})

    def _delegate(self, manager: str | None) -> None:
        """Give those who may delegate the others as tools. Two of them cannot be each other's."""
        for own in self._delegating:
            if own == manager:
                continue  # it delegates in the conversation that it leads
            place = f"agents.{own}.allow_delegation"
            others = [name for name in self.agents if name not in (*self._delegating, self._judge, manager)]
            if others:
                tools = self.agents[own].setdefault("tools", [])
                tools += [{"agent": name} for name in others]
                self.notes.add("changed", place, f"its tools are the agents {', '.join(others)}")
            else:
                todo = "a conversation: {pattern: handoff, participants: [...]}"
                self.notes.add(
                    "missing", place, "agents that delegate to each other cannot be each other's tools", todo
                )

    def _manager(self, crew: SquadFields) -> str:
        """Return the agent that leads, and note what follows from it."""
        named, code = crew.pop("manager_agent", None), self.project.code
        part = {**code.others, **code.agents}.get(named) if isinstance(named, str) else None
        told = "the manager delegates and concludes; it leads each task"
        self.notes.add("changed", "crew.process", f"hierarchical is the conversation {TALK}: {told}")
        if part is not None and part.key not in self._agent_ids:
            refuse_unwritten_agent(self.project, part)
            self._agent_ids[part.key] = own = identifier(part.key, self.agents, MANAGER)
            self.agents[own] = self._agent(part.key, own)
        if part is not None and len(self._agent_ids) > 1:
            crew.pop("manager_llm", None)
            return self._agent_ids[part.key]
        if named is not None and part is None:
            todo = f"write the role, goal and backstory of {shown(named)} into the agent {MANAGER}"
            self.notes.add("missing", "crew.manager_agent", f"{shown(named)} is not an agent of the YAML", todo)
        own = identifier(MANAGER, self.agents, MANAGER)
        made: SquadFields = {
            "title": "Crew Manager",
            "goal": "Have the task done by those who can do it best, and answer for the result.",
            "identity": "Says exactly what is wanted of each, checks what comes back, and puts it together.",
        }
        self._model("crew.manager_llm", own, crew.pop("manager_llm", None), made)
        self.agents[own] = made
        return own

    # -- tasks

    def _tasks(self, manager: str | None) -> SquadFields:
        made: SquadFields = {}
        done, waiting = list[str](), list[str]()
        ends: dict[str, str] = {}
        """By task, what those after it wait for: itself, or the person's answer to it."""
        last: str | None = None
        keys = list(self._task_ids)
        if not keys:
            raise self.project.tasks.error((), "empty-file", "the file has no tasks")
        for key in keys:
            own, place = self._task_ids[key], f"tasks.{key}"
            given = task_fields(self.project, key)
            fields = self._task(key, own, given, manager)
            is_beside = given.pop("async_execution", False) is True
            needs = ([last] if last else []) if is_beside else (waiting or ([last] if last else []))
            usual = [needs[0]] if is_beside and needs else [] if is_beside else list(done)
            context = self._context(key, given.pop("context", None), usual, done)
            needs = list(dict.fromkeys([*needs, *(one for one in context if is_beside and one not in needs)]))
            if needs:
                fields["needs"] = [ends[one] for one in needs]
            if context != fields.get("needs", []):
                fields["context"] = context
            ends[own] = own
            made[own] = fields
            if given.pop("human_input", False) is True:
                ends[own] = self._review(place, own, made)
            done.append(own)
            if is_beside:
                waiting.append(own)
                self.notes.add("carried", f"{place}.async_execution", "runs beside the others, as its needs say")
            else:
                waiting, last = [], own
            self._counsel(place, given, TASK_COUNSEL, ("tasks", own))
        once_each(made, self.notes)
        self.notes.add("carried", "tasks", "run in their order; each reads what its context says, else all before it")
        return made

    def _task(self, key: str, own: str, given: SquadFields, manager: str | None) -> SquadFields:
        place = f"tasks.{key}"
        given.pop("name", None)
        agent = self._doer(key, given.pop("agent", None), manager)
        fields: SquadFields = {"agent": agent} if manager is None else {"conversation": TALK}
        text = self._written(place, "description", given)
        if text is None:
            text = key.replace("_", " ")
            self.notes.add("changed", place, "has no description: its name is used", "write a description")
        fields["description"] = self.texts.text(place, text)
        if manager is not None and agent not in (None, manager):
            fields["description"] += f"\n\nThis is work for {agent}."
        if (expected := self._written(place, "expected_output", given)) is not None:
            fields["expected_output"] = self.texts.text(place, expected)
        if given.pop("markdown", False) is True:
            fields["expected_output"] = f"{fields.get('expected_output', '')}\n\nWrite it in Markdown.".strip()
            self.notes.add("carried", f"{place}.markdown", "is asked for in expected_output")
        self._output_schema(place, given, fields)
        if (file := self._written(place, "output_file", given)) is not None:
            kept = file_in_run(place, file, self.notes)
            fields |= {} if kept is None else {"output_file": self.texts.text(place, kept)}
        tools = self._tools(place, ("tasks", own), given.pop("tools", None))
        if tools and manager is None:
            fields["tools"] = tools
        elif tools:
            self.notes.add("missing", f"{place}.tools", "a task that the manager leads has none", "give them to agents")
        if manager is None and agent in self._timeouts:
            fields["timeout"] = f"{self._timeouts[str(agent)]}s"
        if manager is None:
            self._guardrails(place, given, fields)
        return fields

    def _doer(self, key: str, named: Any, manager: str | None) -> str | None:
        """Return the agent of a task, by its name here. Raise `SpecError` where there is none."""
        file, code = self.project.tasks, self.project.code.agents
        if isinstance(named, bool | int | float):
            named = str(named)  # as the names of agents are read
        if isinstance(named, str):
            known = code[named].key if named in code else named
            if known in self._agent_ids:
                return self._agent_ids[known]
            hint = nearest(named, [*self._agent_ids, *code])
            raise file.error((key, "agent"), "unknown-agent", f"no agent is called '{named}'", hint)
        if named is not None:
            raise file.error((key, "agent"), "wrong-type", f"'agent' is the name of one, not {shown(named)}")
        if manager is not None:
            return None
        if len(self._agent_ids) == 1:
            return next(iter(self._agent_ids.values()))
        hint = f"add agent: one of {', '.join(self._agent_ids)}" if self._agent_ids else "agents.yaml has no agents"
        raise file.error((key,), "missing-field", f"the task '{key}' has no agent", hint)

    def _context(self, key: str, written: Any, usual: list[str], done: Sequence[str]) -> list[str]:
        """Return the tasks whose outputs a task reads. Raise `SpecError` for one that is not done before."""
        if written is None:
            return usual
        names = written if isinstance(written, list) else [written]
        found, code = list[str](), self.project.code.tasks
        for name in names:
            known = code[name].key if isinstance(name, str) and name in code else name
            own = self._task_ids.get(known) if isinstance(known, str) else None
            if own is None:
                message, hint = f"no task is called '{shown(name)}'", nearest(str(name), self._task_ids)
                raise self.project.tasks.error((key, "context"), "unknown-task", message, hint)
            if own not in done:
                message = f"'{name}' is done after '{key}', so its output is not there yet"
                raise self.project.tasks.error((key, "context"), "not-an-ancestor", message, "put it before this task")
            found.append(own)
        return list(dict.fromkeys(found))

    def _review(self, place: str, own: str, made: SquadFields) -> str:
        """Add the question that a person answers about a task; return its name."""
        review = identifier(f"{own}_review", {*made, *self._task_ids.values()}, "review")
        made[review] = {
            "needs": [own],
            "approval": {
                "prompt": f"Is the result of {own} good?",
                "show": [own],
                "choices": ["approve", "revise", "reject"],
            },
            "on_revise": {"rerun": [own], "max_attempts": 3},
        }
        todo = "a run waits there for an answer: `run --approve auto` gives it"
        self.notes.add("changed", f"{place}.human_input", f"is the approval {review}", todo)
        return review

    # -- what is left

    def _input(self, name: str) -> SquadFields:
        value = self.project.given.get(name)
        if value is None:
            return {"type": "string"}
        return {"type": "string", "default": value if isinstance(value, str) else str(value)}

    def _counsel(self, place: str, left: SquadFields, known: Mapping[str, Counsel], path: tuple[str, ...]) -> None:
        """Tell of each field that is not carried over; one that says nothing is left out without a word."""
        for name, value in left.items():
            if value in (None, False) or value == [] or value == {}:
                continue
            counsel = known.get(name, Counsel("is not known", "see what it does"))
            self.notes.add("missing", f"{place}.{name}", f"{shown(value)}: {counsel.text}", counsel.todo)
            if path and counsel.todo:
                self.comments[path].append(f"{name}: {shown(value)} -> {counsel.todo}")
