"""CrewAI projects as squads: what is carried over, what is told, and that each result is a squad."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.__main__ import main
from orchestrator.migration.crew_classes import classes_in, schema_of
from orchestrator.migration.crew_fields import RESERVED, identifier, model_of
from orchestrator.migration.crew_project import NoCrew, read_project
from orchestrator.migration.crew_python import CodeName, CrewPart, PythonCode, crew_code, default_inputs, parsed
from orchestrator.migration.crew_squad import CrewSquad
from orchestrator.migration.crew_texts import CrewTexts
from orchestrator.migration.notes import MigrationNotes
from orchestrator.migration.squad_text import squad_text
from orchestrator.squad.load import Squad
from orchestrator.squad.plan import AgentWork
from orchestrator.squad.rendering import input_text
from providers.catalog.file import load_catalog
from providers.documents.problems import SpecError
from providers.documents.yaml import mapping_in

AGENTS = """\
ann: {role: Writer, goal: Write., backstory: Long in the trade.}
bob: {role: Editor, goal: Edit., backstory: Strict.}
"""
CREW = """
from somewhere import Agent, Crew, Process, Task, LLM, CrewBase, agent, crew, llm, task, tool
raise SystemExit("this was run")

@CrewBase
class Shop:
    @llm
    def fast(self): return LLM(model="openai/gpt-6-luna", temperature=0.3)
    @tool
    def web(self): return SerperDevTool(n=3)
    @agent
    def writer(self) -> Agent:
        return Agent(
            config=self.agents_config["ann"], tools=[self.web(), FileReadTool()], llm="fast", step_callback=lambda x: x
        )
    @agent
    def editor(self) -> Agent:
        return Agent(config=self.agents_config["bob"])
    @task
    def second(self) -> Task:
        return Task(config=self.tasks_config["b"], agent=self.editor(), context=[self.first()])
    @task
    def first(self) -> Task:
        return Task(config=self.tasks_config["a"], agent=self.writer())
    @crew
    def crew(self) -> Crew:
        return Crew(agents=self.agents, tasks=[self.first(), self.second()], process=Process.PROCESS, memory=True)
"""


def project(folder: Path, tasks: str, agents: str = AGENTS, crew: str = "", main_py: str = "") -> Path:
    (folder / "config").mkdir(exist_ok=True, parents=True)
    (folder / "config" / "agents.yaml").write_text(agents, "utf-8")
    (folder / "config" / "tasks.yaml").write_text(textwrap.dedent(tasks), "utf-8")
    for name, text in (("crew.py", crew), ("main.py", main_py)):
        if text:
            (folder / name).write_text(text, "utf-8")
    return folder


def made(folder: Path, *arguments: str, **more: str) -> tuple[dict, MigrationNotes, Squad]:
    return of_folder(project(folder, *arguments, **more))


def of_folder(folder: Path) -> tuple[dict, MigrationNotes, Squad]:
    notes, catalog = MigrationNotes(), load_catalog()
    crew = CrewSquad(read_project(folder, notes), notes, frozenset(catalog.names()), ("ollama",))
    document = crew.document()
    text = squad_text(document, {**crew.comments, (): list(notes.lines())})
    assert mapping_in(text, "squad.yaml").plain() == json.loads(json.dumps(document))
    assert yaml.safe_load(text) == json.loads(json.dumps(document))
    squad = Squad.from_text(text, str(folder / "squad.yaml"))
    assert [p for p in squad.warnings if p.code == "other-braces"] == []
    return document, notes, squad


def places(notes: MigrationNotes, fate: str) -> set[str]:
    return {note.place for note in notes.found if note.fate == fate}


def test_tasks_run_in_their_order_with_the_outputs_before_them(tmp_path) -> None:
    document, _, squad = made(
        tmp_path,
        """
        one: {description: One., agent: ann}
        two: {description: Two., agent: bob}
        three: {description: Three., agent: ann}
        four: {description: Four., agent: ann, context: [one]}
        five: {description: Five., agent: ann, context: []}
        """,
    )
    plan = squad.plan({})
    assert {name: list(task.context) for name, task in plan.tasks.items()} == {
        "one": [], "two": ["one"], "three": ["one", "two"], "four": ["one"], "five": []
    }  # fmt: skip
    assert [document["tasks"][name].get("needs") for name in ("one", "two", "three", "four", "five")] == [
        None, ["one"], ["two"], ["three"], ["four"]
    ]  # fmt: skip
    assert document["outputs"] == {"result": "${{ tasks.five.output }}"}


def test_tasks_at_the_same_time_are_waited_for_by_the_next(tmp_path) -> None:
    document, _, _ = made(
        tmp_path,
        """
        plan: {description: P., agent: ann}
        left: {description: L., agent: ann, async_execution: true}
        right: {description: R., agent: bob, async_execution: true}
        join: {description: J., agent: bob}
        """,
    )
    tasks = document["tasks"]
    assert tasks["left"]["needs"] == tasks["right"]["needs"] == ["plan"]
    assert tasks["join"]["needs"] == ["left", "right"]
    assert tasks["join"]["context"] == ["plan", "left", "right"]


def test_placeholders_become_inputs_and_other_braces_stay(tmp_path) -> None:
    texts = (
        'On {topic}: {"a": {"b": [1]}}, {{ kept }}, {{topic}}, ${{ inputs.x }}, {my-var}, ${topic}, { topic }, {}, ${{'
    )
    tasks = {"t": {"description": texts, "agent": "ann", "output_file": "out/{topic}.md"}}
    agents = {"ann": {"role": "{topic} writer", "goal": "Write on {topic}", "backstory": "{{ x }}"}}
    document, notes, squad = made(tmp_path, yaml.dump(tasks), yaml.dump(agents))
    assert list(document["inputs"]) == ["topic", "my_var"]
    plan = squad.plan({"topic": "tea", "my_var": "5"})
    work = plan.tasks["t"].work
    assert isinstance(work, AgentWork)
    said = work.description.render({"inputs": plan.inputs})
    assert said == 'On tea: {"a": {"b": [1]}}, {{ kept }}, {tea}, ${{ inputs.x }}, 5, $tea, { topic }, {}, ${{'
    assert "tea writer" in plan.agents["ann"].told()
    assert "{{ x }}" in plan.agents["ann"].told()
    assert "{my-var}" in places(notes, "changed")


@given(st.text(alphabet="{}$ab-'\"\\ \n|", max_size=40))
def test_any_text_without_a_placeholder_is_kept_to_the_letter(text) -> None:
    texts = CrewTexts(MigrationNotes())
    turned = texts.text("x", text)
    rendered = input_text(turned).render({"inputs": {own: f"{{{name}}}" for name, own in texts.inputs.items()}})
    assert str(rendered) == text


def test_what_crew_py_says_is_read_and_never_run(tmp_path) -> None:
    tasks = "b: {description: B.}\na: {description: A.}\nextra: {description: E., agent: ann}\n"
    document, notes, _ = made(tmp_path, tasks, crew=CREW.replace("PROCESS", "sequential"))
    assert list(document["tasks"]) == ["a", "b", "extra"]
    assert document["tasks"]["a"]["agent"] == "ann"
    assert document["tasks"]["b"]["agent"] == "bob"
    assert document["agents"]["ann"]["model"] == "openai/gpt-6-luna"
    assert document["agents"]["ann"]["temperature"] == 0.3
    assert document["agents"]["ann"]["tools"] == ["read_file"]
    assert document["memory"] is True
    assert any(note.text == "SerperDevTool" and "MCP" in note.todo for note in notes.found)
    assert {"agents.ann.tools", "agents.ann.step_callback"} <= places(notes, "missing")
    assert "crew.memory" in places(notes, "changed")


def test_a_hierarchical_crew_is_led_by_a_manager(tmp_path) -> None:
    tasks = "b: {description: B.}\na: {description: A., output_file: a.md}\n"
    crew = CREW.replace("PROCESS", "hierarchical, manager_llm='gpt-9-unknown'")
    document, notes, squad = made(tmp_path, tasks, crew=crew)
    assert document["conversations"]["crew"] == {
        "pattern": "hierarchical", "manager": "manager", "participants": ["ann", "bob"]
    }  # fmt: skip
    assert document["tasks"]["a"]["conversation"] == "crew"
    assert "This is work for ann." in document["tasks"]["a"]["description"]
    assert {"crew.manager_llm", "agents.ann.step_callback"} <= places(notes, "missing")
    assert squad.plan({}).conversations["crew"].moderator == "manager"


def test_a_person_and_rules_in_words_have_counterparts(tmp_path) -> None:
    document, notes, _ = made(
        tmp_path,
        """
        a: {description: A., agent: ann, human_input: true, guardrail: It is short and polite, markdown: true}
        b: {description: B., agent: bob, guardrail: check_length, output_pydantic: Report, output_file: ../b.md}
        c: {description: C., agent: bob, output_file: b.md}
        """,
    )
    tasks = document["tasks"]
    assert tasks["a_review"]["approval"]["show"] == ["a"]
    assert tasks["b"]["needs"] == ["a_review"]
    assert tasks["b"]["context"] == ["a"]
    assert tasks["a"]["guardrails"]["output"][0]["agent"] == "guard"
    assert tasks["a"]["expected_output"] == "Write it in Markdown."
    assert "output_file" not in tasks["b"]
    assert tasks["c"]["output_file"] == "b.md"
    assert {"tasks.b.guardrail", "tasks.b.output_pydantic"} <= places(notes, "missing")


def test_every_field_of_an_agent_is_carried_over_or_told(tmp_path) -> None:
    agents = """
    ann:
      role: R
      goal: G
      backstory: B
      llm: {model: gpt-4-old, max_tokens: 50}
      max_iter: 5
      max_execution_time: 90
      inject_date: true
      max_rpm: 3
      verbose: true
      cache: false
      reasoning: true
      multimodal: true
      allow_code_execution: true
      wholly_unknown: 1
    """
    document, notes, _ = made(tmp_path, "t: {description: T., agent: ann}", textwrap.dedent(agents))
    ann = document["agents"]["ann"]
    assert (ann["max_turns"], ann["max_output_tokens"], ann["tools"]) == (5, 50, ["now"])
    assert document["tasks"]["t"]["timeout"] == "90s"
    told = places(notes, "missing")
    fields = ("llm", "max_rpm", "verbose", "reasoning", "multimodal", "allow_code_execution", "wholly_unknown")
    assert {f"agents.ann.{field}" for field in fields} <= told
    assert "agents.ann.cache" not in told


def test_those_who_delegate_have_the_others_as_tools(tmp_path) -> None:
    agents = AGENTS.replace("trade.}", "trade., allow_delegation: true}")
    document, _, _ = made(tmp_path, "t: {description: T., agent: ann}", agents)
    assert document["agents"]["ann"]["tools"] == [{"agent": "bob"}]
    both = agents.replace("Strict.}", "Strict., allow_delegation: true}")
    document, notes, _ = made(tmp_path, "t: {description: T., agent: ann}", both)
    assert "tools" not in document["agents"]["ann"]
    assert "agents.ann.allow_delegation" in places(notes, "missing")


@pytest.mark.parametrize(
    ("field", "kept"),
    [
        *(("max_execution_time: .inf", {}), ("max_execution_time: true", {}), ("max_iter: true", {})),
        *(("max_tokens: true", {}), ("temperature: .nan", {}), ("llm: {model: x/y, temperature: true}", {})),
        ("llm: {model: x/y, temperature: 0.2, max_tokens: 9}", {"temperature": 0.2, "max_output_tokens": 9}),
        ("tools: [crewai_tools.FileReadTool]", {"tools": ["read_file"]}),
    ],
)
def test_numbers_that_are_none_are_left_out(tmp_path, field, kept) -> None:
    agents = f"ann:\n  role: R\n  goal: G\n  backstory: B\n  {field}\n"
    document, _, _ = made(tmp_path, "t: {description: T., agent: ann}", agents)
    assert document["agents"]["ann"] == {"title": "R", "goal": "G", "identity": "B", **kept}
    assert "timeout" not in document["tasks"]["t"]


def test_texts_that_are_code_are_told(tmp_path) -> None:
    code = CREW.replace("PROCESS", "hierarchical, manager_agent=self.boss()")
    code = code.replace(
        "context=[self.first()]", "description=f'{x}', output_file=f'{y}.md', expected_output=['a', 'b']"
    )
    document, notes, _ = made(tmp_path, "b: {}\na: {description: A.}\n", crew=code)
    fields = ("description", "output_file", "expected_output")
    assert {"crew.manager_agent", *(f"tasks.b.{field}" for field in fields)} <= places(notes, "missing")
    assert document["tasks"]["b"]["description"].startswith("b")


@pytest.mark.parametrize("text", ["inputs: dict = {'a': 'b'}", "Shop().crew().kickoff(inputs={'a': 'b'})"])
def test_inputs_are_read_where_they_are_written(text) -> None:
    assert default_inputs(text) == {"a": "b"}


def test_agents_called_like_those_that_are_added_keep_their_work(tmp_path) -> None:
    agents = "".join(
        f"{name}: {{role: R, goal: G, backstory: B{more}}}\n"
        for name, more in (("lead", ", allow_delegation: true"), ("guard", ""), ("manager", ""))
    )
    tasks = "t: {description: T., agent: lead, guardrails: [Be kind and short., Name no names.]}"
    document, _, _ = made(tmp_path, tasks, agents)
    assert document["agents"]["lead"]["tools"] == [{"agent": "guard"}, {"agent": "manager"}]
    assert document["agents"]["guard"]["title"] == "R"
    assert {rail["agent"] for rail in document["tasks"]["t"]["guardrails"]["output"]} == {"guard_2"}
    code = CREW.replace("PROCESS", "hierarchical").replace('config["ann"]', 'config["lead"]')
    code = code.replace('config["bob"]', 'config["guard"]')
    document, _, _ = made(tmp_path, "a: {description: A.}\nb: {description: B.}\n", agents, crew=code)
    assert document["conversations"]["crew"]["manager"] == "manager_2"
    assert {"agent": "manager_2"} not in document["agents"]["lead"]["tools"]


@pytest.mark.parametrize(
    ("written", "kept"),
    [("a?.md", "a_.md"), ("..", None), ("a/..", None), ("'out: 1|2.md'", "out_ 1_2.md"), ("/", None)],
)
def test_files_that_not_every_system_can_store_are_renamed(tmp_path, written, kept) -> None:
    document, notes, _ = made(tmp_path, f"t: {{description: T., agent: ann, output_file: {written}}}")
    assert document["tasks"]["t"].get("output_file") == kept
    assert "tasks.t.output_file" in places(notes, "changed" if kept else "missing")


def test_names_that_no_squad_takes_are_changed(tmp_path) -> None:
    agents = "'Größe Lead!': {role: R, goal: G, backstory: B}\nhuman: {role: H, goal: G, backstory: B}\n"
    tasks = """
    "Erste Prüfung": {description: A., agent: 'Größe Lead!'}
    erste-pruefung: {description: B., agent: human, context: ["Erste Prüfung"]}
    "1": {description: C., agent: human}
    """
    document, _, _ = made(tmp_path, tasks, agents)
    assert list(document["agents"]) == ["groesse_lead", "human_"]
    assert list(document["tasks"]) == ["erste_pruefung", "erste_pruefung_2", "task_1"]


def test_yaml_is_read_as_it_was_read_there(tmp_path) -> None:
    agents = """\
more: &more {verbose: yes}
base: &base {<<: *more, goal: G, backstory: B}
ann: {<<: *base, role: A, role: Z}
"""
    document, notes, _ = made(tmp_path, "t: {description: 2024-05-06, agent: ann, expected_output: 5}", agents)
    assert document["agents"]["ann"]["title"] == "Z"
    assert document["agents"]["ann"]["goal"] == "G"
    assert list(document["agents"]) == ["base", "ann"]
    assert document["tasks"]["t"]["description"] == "2024-05-06"
    assert "agents.yaml: ann.role" in places(notes, "changed")


def test_inputs_have_the_values_of_main_py(tmp_path) -> None:
    main_py = "def run():\n    inputs = {'topic': 'Tea \"x\"', 'year': str(now()), 'n': 3}\n"
    document, _, _ = made(tmp_path, "t: {description: '{topic} {year} {n}', agent: ann}", main_py=main_py)
    assert document["inputs"] == {
        "topic": {"type": "string", "default": 'Tea "x"'},
        "year": {"type": "string"},
        "n": {"type": "string", "default": "3"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("tasks", "agents", "code", "line"),
    [
        ("t: {description: T., agent: anm}", AGENTS, "unknown-agent", 1),
        ("t: {description: T.}", AGENTS, "missing-field", 1),
        ("a: {description: A., agent: ann}\nb: {description: B., agent: ann, context: [c]}", AGENTS, "unknown-task", 2),
        (
            "a: {description: A., agent: ann, context: [b]}\nb: {description: B., agent: ann}",
            AGENTS,
            "not-an-ancestor",
            1,
        ),
        ("t: text", AGENTS, "wrong-type", 1),
        ("", AGENTS, "empty-file", 1),
        ("# nothing\n", AGENTS, "empty-file", 1),
        ("{}", AGENTS, "empty-file", 1),
        ("- t", AGENTS, "wrong-type", 1),
        ("t: {description: T., agent: ann}", "", "empty-file", 1),
        ("t:\n\tdescription: T.", AGENTS, "bad-yaml", 2),
        ("t: " + "[" * 60 + "]" * 60, AGENTS, "too-large", 1),
        ("t: \x01", AGENTS, "bad-yaml", 1),
        ("{[a, b]: c}", AGENTS, "bad-yaml", 1),
        ("t: {description: '" + "x" * (1 << 20) + "', agent: ann}", AGENTS, "too-large", 1),
    ],
)
def test_mistakes_have_their_place(tmp_path, tasks, agents, code, line) -> None:
    with pytest.raises(SpecError) as failed:
        made(tmp_path, tasks, agents)
    problem = failed.value.problems[0]
    assert (problem.code, problem.line) == (code, line)


def test_merge_keys_that_double_are_bounded(tmp_path) -> None:
    lines = ["a0: &a0 {role: r, goal: g}"]
    lines += [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 40)]
    document, _, _ = made(tmp_path, "t: {description: T., agent: a39}", "\n".join(lines))
    assert document["agents"]["a39"]["title"] == "r"


def test_where_projects_are_found(tmp_path) -> None:
    for where in (tmp_path / "a", tmp_path / "b" / "src" / "shop"):
        project(where, "t: {description: T., agent: ann}")
    assert read_project(tmp_path / "a", MigrationNotes()).name == "a"
    assert read_project(tmp_path / "a" / "config", MigrationNotes()).name == "config"
    assert read_project(tmp_path / "b", MigrationNotes()).name == "b"
    project(tmp_path / "b" / "src" / "two", "t: {description: T., agent: ann}")
    with pytest.raises(NoCrew, match="several crews"):
        read_project(tmp_path / "b", MigrationNotes())
    project(tmp_path / "c" / "src" / "flow" / "crews" / "poem", "t: {description: T., agent: ann}")
    with pytest.raises(NoCrew) as failed:
        read_project(tmp_path / "c", MigrationNotes())
    assert "poem" in failed.value.hint
    with pytest.raises(NoCrew, match="no folder"):
        read_project(tmp_path / "d", MigrationNotes())
    with pytest.raises(NoCrew, match="is a file"):
        read_project(tmp_path / "a" / "config" / "tasks.yaml", MigrationNotes())
    (tmp_path / "a" / "config" / "tasks.yaml").unlink()
    with pytest.raises(NoCrew, match=r"no tasks\.yaml"):
        read_project(tmp_path / "a", MigrationNotes())


def read(folder: Path, **files: str) -> tuple[dict, MigrationNotes, Squad]:
    """Write files, whose names have `__` for a slash and `_dot_` for a dot, and return what is made of them."""
    for name, text in files.items():
        file = folder / name.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), "utf-8")
    return of_folder(folder)


JSON_CREW = """\
{
  // what it is called: "shop"
  "name": "json shop", "agents": ["ann", "bob"], "verbose": true,
  "tasks": [
    {"name": "find", "description": "On {topic} // at http://x.y", "agent": "ann", "output_json": {"python": "m.Out"},},
    /* "agent": "nobody",
    */ {"description": "Write \\ud83d\\ude00", "agent": "bob", "context": ["find"], "guardrail": "Be kind to all."},
  ],
  "inputs": {"topic": "tea"}, "process": "sequential", "before_kickoff_callbacks": [{"python": "m.before"}]
}
"""
JSON_AGENT = """{"role": "R", "goal": "G", "backstory": "B", "tools": ["FileReadTool", "custom:own"],
"settings": {"max_iter": 5, "allow_delegation": false}}"""


@pytest.mark.parametrize("place", ["", "src__shop__"])
def test_a_crew_in_json_is_read(tmp_path, place) -> None:
    files = {"crew_dot_jsonc": JSON_CREW, "agents__ann_dot_jsonc": JSON_AGENT, "agents__bob_dot_json": JSON_AGENT}
    files["m_dot_py"] = "class Out(BaseModel):\n    title: str\n"
    document, notes, squad = read(tmp_path, **{f"{place}{name}": text for name, text in files.items()})
    assert document["name"] == "json_shop"
    assert document["agents"]["ann"] == {
        "title": "R", "goal": "G", "identity": "B", "tools": ["read_file"], "max_turns": 5
    }  # fmt: skip
    assert list(document["tasks"]) == ["find", "task_2"]
    assert document["tasks"]["find"]["output_schema"]["required"] == ["title"]
    assert document["tasks"]["task_2"]["description"] == "Write 😀"
    assert document["tasks"]["task_2"]["guardrails"]["output"][0]["rubric"] == "Be kind to all."
    assert squad.plan({}).tasks["task_2"].context == ("find",)
    assert squad.plan({}).inputs == {"topic": "tea"}
    assert {"crew.verbose", "agents.ann.tools", "crew.before_kickoff_callbacks"} <= places(notes, "missing")


def test_characters_that_no_file_holds_are_replaced(tmp_path) -> None:
    crew = JSON_CREW.replace("Write \\ud83d\\ude00", "Write \\ud83d \\u0000.")
    document, _, _ = read(
        tmp_path, crew_dot_jsonc=crew, agents__ann_dot_json=JSON_AGENT, agents__bob_dot_json=JSON_AGENT
    )
    assert document["tasks"]["task_2"]["description"] == "Write \ufffd ."


def test_the_manager_of_a_crew_in_json_has_a_file_of_its_own(tmp_path) -> None:
    crew = JSON_CREW.replace('"sequential"', '"hierarchical", "manager_agent": "boss"')
    agents = {f"agents__{name}_dot_json": JSON_AGENT for name in ("ann", "bob", "boss")}
    document, _, _ = read(tmp_path, crew_dot_json=crew, **agents)
    assert document["conversations"]["crew"] == {
        "pattern": "hierarchical", "manager": "boss", "participants": ["ann", "bob"]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("crew", "code", "line"),
    [
        ("[]", "wrong-type", 1),
        ('{"agents": ["ann"]\n"tasks": []}', "bad-json", 2),
        ("[" * 5000, "bad-json", 1),
        ("{}", "empty-file", 1),
        ('{"agents": [\n"ann", "eve"], "tasks": []}', "unknown-agent", 2),
        ('{"agents": ["../ann"], "tasks": []}', "unknown-agent", 1),
        ('{"agents": ["ann"],\n"tasks": ["t"]}', "wrong-type", 2),
        ('{"agents": ["ann"], "tasks": [\n{"name": "t"}, {"name": "t"}]}', "duplicate-key", 2),
        ('{"agents": ["ann"], "tasks": [\n{"name": "t", "agent": "anm"}]}', "unknown-agent", 2),
    ],
)
def test_mistakes_in_json_have_their_place(tmp_path, crew, code, line) -> None:
    with pytest.raises(SpecError) as failed:
        read(tmp_path, crew_dot_jsonc=crew, agents__ann_dot_jsonc=JSON_AGENT)
    problem = failed.value.problems[0]
    assert (problem.code, problem.line) == (code, line)


MODELS = """
class Level(str, Enum):
    HIGH = "high"
    LOW = "low"
class Base(BaseModel):
    id: int
class Source(Base):
    '''Where it is from.'''
    url: HttpUrl
    year: int | None = None
class Report(BaseModel):
    model_config = ConfigDict(extra="forbid")
    title: str = Field(..., description="Short", min_length=2)
    score: Annotated[float, Field(ge=0, lt=10)]
    tags: List[str] = Field(default_factory=list, max_length=3)
    level: "Level"
    kind: Literal["a", "b"] = "a"
    sources: list[Source]
    more: Optional[Dict[str, int]] = None
    _hidden: int = 1
class Endless(BaseModel):
    inner: "list[Endless]"
class Odd(BaseModel):
    made: Callable
"""


def test_a_class_of_an_output_is_a_schema() -> None:
    classes = classes_in([parsed(MODELS)])
    assert schema_of("Report", classes) == {
        "type": "object",
        "properties": {
            "title": {"type": "string", "description": "Short", "minLength": 2},
            "score": {"type": "number", "minimum": 0, "exclusiveMaximum": 10},
            "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
            "level": {"enum": ["high", "low"]},
            "kind": {"enum": ["a", "b"]},
            "sources": {
                "type": "array",
                "items": {
                    "description": "Where it is from.",
                    "type": "object",
                    "properties": {
                        "id": {"type": "integer"},
                        "url": {"type": "string"},
                        "year": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                    },
                    "required": ["id", "url"],
                },
            },
            "more": {"anyOf": [{"type": "object", "additionalProperties": {"type": "integer"}}, {"type": "null"}]},
        },
        "required": ["title", "score", "level", "sources"],
    }
    assert [schema_of(name, classes) for name in ("Endless", "Odd", "Gone")] == [None, None, None]


def test_an_output_has_the_schema_of_its_class_wherever_that_is_in_the_package(tmp_path) -> None:
    crew = CREW.replace("PROCESS", "sequential")
    crew = crew.replace("agent=self.editor()", "agent=self.editor(), output_pydantic=Report")
    crew = crew.replace("agent=self.writer()", "agent=self.writer(), output_json=Odd")
    project(tmp_path, "b: {description: B.}\na: {description: A.}\n", crew=crew)
    document, notes, _ = read(tmp_path, tools__models_dot_py=MODELS)
    assert document["tasks"]["b"]["output_schema"]["properties"]["title"]["minLength"] == 2
    assert "output_schema" not in document["tasks"]["a"]
    assert "tasks.b.output_pydantic" in places(notes, "changed")
    assert "tasks.a.output_json" in places(notes, "missing")


def test_names_in_the_code_are_what_they_stand_for(tmp_path) -> None:
    crew = CREW.replace("PROCESS", "hierarchical, manager_agent=self.boss(), manager_llm=twice")
    crew = crew.replace("class Shop:", "class Shop:\n    search = DirectoryReadTool()")
    crew = crew.replace(
        '        return Agent(config=self.agents_config["bob"])',
        "        llm = LLM(model='gpt-6-luna')\n"
        "        return Agent(config=self.agents_config['bob'], llm=llm, tools=[self.search])",
    )
    crew += """
    def boss(self): return Agent(role="Boss of {topic}", goal="G", backstory="B", allow_delegation=True)
    def spare(self): return Agent(role="S", goal="G", backstory="B")
    @before_kickoff
    def prepare(self, inputs): return inputs
    @after_kickoff
    def tidy(self, output): return output
"""
    document, notes, squad = made(tmp_path, "b: {description: B.}\na: {description: A.}\n", crew=crew)
    assert document["agents"]["bob"]["model"] == "openai/gpt-6-luna"
    assert document["agents"]["bob"]["tools"] == ["list_files"]
    assert document["agents"]["boss"] == {"title": "Boss of ${{ inputs.topic }}", "goal": "G", "identity": "B"}
    assert document["conversations"]["crew"]["participants"] == ["ann", "bob"]
    assert squad.plan({"topic": "tea"}).conversations["crew"].moderator == "boss"
    told = {note.place: note.text for note in notes.found if note.fate == "missing"}
    assert told["crew.before_kickoff"].startswith("prepare")
    assert told["crew.after_kickoff"].startswith("tidy")
    assert "agents.spare" in told


def test_a_name_that_is_bound_twice_stays_a_name() -> None:
    code = crew_code("llm = 'a'\nllm = 'b'\nann = Agent(llm=llm)\none = Task(agent=ann)\n")
    assert code.agents["ann"].fields == {"llm": "llm"}


SCRIPT = """
from somewhere import Agent, Crew, Task
def main():
    ann = Agent(role="Writer", goal="Write", backstory="Old")
    eve = Agent(role="Unused", goal="G", backstory="B")
    one = Task(description="Find {topic}", agent=ann)
    two = Task(description="Write {topic}", agent=ann, context=[one])
    crew = Crew(agents=[ann], tasks=[two, one])
    crew.kickoff(inputs={"topic": "tea"})
raise SystemExit("this was run")
"""


def test_a_crew_that_a_script_makes_is_read(tmp_path) -> None:
    document, notes, squad = read(tmp_path, start_dot_py=SCRIPT.replace("[two, one]", "[one, two]"))
    assert document["agents"] == {"ann": {"title": "Writer", "goal": "Write", "identity": "Old"}}
    assert list(document["tasks"]) == ["one", "two"]
    assert squad.plan({}).inputs == {"topic": "tea"}
    assert "agents.eve" in places(notes, "missing")
    with pytest.raises(SpecError) as failed:
        read(tmp_path, start_dot_py=SCRIPT)
    problem = failed.value.problems[0]
    assert (problem.code, problem.file, problem.line) == ("not-an-ancestor", str(tmp_path / "start.py"), 7)


TEXTS = '''
NAME, YEAR = "x", 1
TOPIC = "tea"
ann = Agent(role=dedent("""
    Writer"""), goal=f"Write on {TOPIC}.", backstory="Old " + TOPIC, llm=MODEL)
bob = Agent(role=ROLE, goal="Write {}".format(1), backstory=f"{now()} {TOPIC!r}")
one = Task(description=works["t"]["description"], expected_output=works["t"]["expected_output"], agent=ann)
two = Task(description=works["t"]["expected_output"], agent=bob)
'''


def test_texts_are_put_together_where_all_of_them_is_written_out() -> None:
    code = crew_code(TEXTS)
    assert code.agents["ann"].fields == {
        "role": "\nWriter",
        "goal": "Write on tea.",
        "backstory": "Old tea",
        "llm": "MODEL",
    }
    assert [type(value) for value in code.agents["bob"].fields.values()] == [CodeName, CodeName, PythonCode]
    assert code.tasks["one"] == CrewPart("t", {"agent": "ann"}, in_yaml=True)
    assert not code.tasks["two"].in_yaml


def test_a_name_is_no_text(tmp_path) -> None:
    agents = "bob: {role: Editor, goal: Edit., backstory: Strict.}"
    script = "bob = Agent(role=ROLE, config=agents['bob'])\nt = Task(config=tasks['t'], agent=bob)"
    document, notes, _ = made(tmp_path, "t: {description: T.}", agents, crew=script)
    assert document["agents"]["bob"]["title"] == "bob"
    assert ("ROLE: is code", "write it as text") in {(note.text, note.todo) for note in notes.found}


def test_a_way_to_make_agents_that_is_not_read_is_named(tmp_path) -> None:
    (tmp_path / "people.py").write_text("class People:\n    def ann(self): return Agent(role='R')\n", "utf-8")
    with pytest.raises(NoCrew) as failed:
        read_project(tmp_path, MigrationNotes())
    assert "people.py" in failed.value.hint


def test_the_class_may_be_in_any_file_and_say_where_its_yaml_is(tmp_path) -> None:
    crew = CREW.replace("PROCESS", "sequential").replace(
        "class Shop:", "class Shop:\n    agents_config = 'people/all.yaml'\n    tasks_config = 'work.yaml'"
    )
    tasks = "b: {description: B.}\na: {description: A.}\n"
    files = {"shop_crew_dot_py": crew, "people__all_dot_yaml": AGENTS, "work_dot_yaml": tasks, "a_dot_py": SCRIPT}
    document, notes, _ = read(tmp_path / "one", **files)
    assert list(document["tasks"]) == ["a", "b"]
    assert {note.text for note in notes.found if note.place == "a.py"} == {"is another crew, and is not read"}
    outside = crew.replace("'people/all.yaml'", "'../one/people/all.yaml'")
    with pytest.raises(NoCrew, match="lies outside"):
        read(tmp_path / "two", crew_dot_py=outside, work_dot_yaml=tasks)
    (tmp_path / "pyproject.toml").write_text("", "utf-8")
    assert list(read(tmp_path / "two")[0]["agents"]) == ["ann", "bob"]


def test_agents_and_tasks_may_lie_in_different_folders(tmp_path) -> None:
    document, _, _ = read(tmp_path, agents_dot_yaml=AGENTS, config__tasks_dot_yml="t: {description: T., agent: ann}")
    assert document["tasks"]["t"]["agent"] == "ann"


def test_an_entry_that_the_code_reads_and_the_yaml_lacks_is_a_mistake(tmp_path) -> None:
    crew = CREW.replace("PROCESS", "sequential").replace('config["bob"]', 'config["bobby"]')
    with pytest.raises(SpecError) as failed:
        made(tmp_path, "b: {description: B.}\na: {description: A.}\n", crew=crew)
    assert failed.value.problems[0].code == "unknown-agent"
    assert "bob" in failed.value.problems[0].hint


def test_python_that_cannot_be_read_is_told(tmp_path) -> None:
    _, notes, _ = made(tmp_path, "t: {description: T., agent: ann}", crew="def (:", main_py="def (:")
    assert "crew.py" in places(notes, "missing")


def test_code_is_shown_and_never_evaluated() -> None:
    code = crew_code(CREW.replace("PROCESS", "sequential"))
    assert isinstance(code.agents["writer"].fields["step_callback"], PythonCode)
    assert code.made["web"] == "SerperDevTool"
    assert default_inputs("inputs = {'a': open('x').read(), 'b': 'B', **more}") == {"b": "B"}
    with pytest.raises(SyntaxError):
        crew_code("class A:\n    @agent\n    def a(self): return Agent(role=" + "+".join(["f()"] * 3000) + ")")
    with pytest.raises(SyntaxError):
        crew_code("(" * 10_000)
    with pytest.raises(SyntaxError):
        crew_code("x = '\0'")


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("openai/gpt-6-luna", "openai/gpt-6-luna"),
        ("gpt-6-luna", "openai/gpt-6-luna"),
        ("ollama/llama3.2:1b", "ollama/llama3.2:1b"),
        ("gemini/gemini-3.8-flash", "gemini/gemini-3.8-flash"),
        ("gpt-4o", None),
        ("azure/x", None),
        ("", None),
        ("ollama/", None),
    ],
)
def test_models_that_the_catalog_knows(name, model) -> None:
    assert model_of(name, frozenset(load_catalog().names()), ("ollama",)) == model


@given(st.text(max_size=20), st.sets(st.text(max_size=5)))
def test_every_name_becomes_one_that_expressions_read(name, taken) -> None:
    own = identifier(name, taken, "task")
    assert own.isidentifier()
    assert own.isascii()
    assert own not in taken
    assert own.lower() not in RESERVED


@given(st.text(max_size=300))
def test_any_text_is_written_as_it_is(text) -> None:
    document = {"a": {"b": text, "c": [text]}, "d": 1}
    read = mapping_in(squad_text(document, {(): [text], ("a",): [text]}), "x").plain()
    expected = text.replace("\r\n", "\n") if "\r" in text else text
    assert read["a"]["c"] == [text]
    assert read["a"]["b"] in (text, expected)


# -- the command


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_the_squad_is_written_once_and_runs(here, capsys) -> None:
    project(here / "shop", "t: {description: 'On {topic}', agent: ann, callback: notify}")
    code, _, err = call(capsys, "import", "crewai", "shop")
    assert code == 0
    assert "Without a counterpart" in err
    assert "-i topic=..." in err
    text = (here / "squad.yaml").read_text("utf-8")
    assert "# callback: notify" in text
    assert call(capsys, "validate", "squad.yaml")[0] == 0
    assert call(capsys, "run", "squad.yaml", "--offline", "-i", "topic=tea", "-q")[0] == 0
    code, _, err = call(capsys, "import", "crewai", "shop")
    assert (code, "is there already" in err) == (2, True)
    assert (here / "squad.yaml").read_text("utf-8") == text


def test_the_report_is_json_and_the_squad_goes_to_stdout(here, capsys) -> None:
    project(here / "shop", "t: {description: 'On {topic}', agent: ann}")
    code, out, _ = call(capsys, "import", "crewai", "shop", "--json", "--out", "s.yaml")
    document = json.loads(out)
    assert (code, document["squad"], document["inputs"]) == (0, "s.yaml", ["topic"])
    assert {"fate", "place", "text"} <= document["notes"][0].keys()
    code, out, _ = call(capsys, "import", "crewai", "shop", "--out", "-")
    assert out == (here / "s.yaml").read_text("utf-8")
    assert call(capsys, "import", "crewai", "shop", "--json", "--out", "-")[0] == 2
    assert call(capsys, "import", "crewai", "nowhere")[0] == 5


def test_secrets_are_masked(here, capsys, monkeypatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "hunter-2-hunter")
    project(here / "shop", "t: {description: T., agent: ann, callback: hunter-2-hunter}")
    assert "hunter" not in "".join(map(str, call(capsys, "import", "crewai", "shop", "--json")))
    assert "hunter" not in (here / "squad.yaml").read_text("utf-8")


def test_a_model_that_cannot_answer_its_agent_is_left_out(here, capsys) -> None:
    names = set(load_catalog().names())
    plain = next((name for name in sorted(names) if "nano" in name), "openai/gpt-6-luna")
    project(here / "shop", "t: {description: T., agent: ann}", AGENTS.replace("trade.}", f"trade., llm: {plain}}}"))
    assert call(capsys, "import", "crewai", "shop")[0] == 0
