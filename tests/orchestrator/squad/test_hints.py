"""A hint says what to write here, and what it says is taken."""

from __future__ import annotations

import re

import pytest
import yaml
from pydantic import ValidationError

from orchestrator.squad.agent_spec import AgentSpec
from orchestrator.squad.conversation_spec import TerminateSpec
from orchestrator.squad.spec import SquadSpec, spec_of
from orchestrator.squad.task_specs import StepSpec, TaskSpec
from providers.documents.models import StrictModel
from providers.documents.nodes import tree_of
from providers.documents.problems import Problem, nearest
from providers.documents.validation import complaints_of, in_words
from providers.documents.yaml import parse_text


def hint_at(model: type[StrictModel], data: dict) -> dict[str, str]:
    try:
        model.model_validate(data)
    except ValidationError as error:
        found = in_words(tree_of(data), model, complaints_of(data, error))
        return {str(problem.path[-1]): problem.hint for problem in found if problem.code == "unknown-field"}
    return {}


@pytest.mark.few(5)
@pytest.mark.parametrize("model", [AgentSpec, TaskSpec, StepSpec, SquadSpec])
@pytest.mark.parametrize("value", ["x", 3, True, [], {}], ids=str)
def test_what_is_suggested_is_written_so_that_it_is_taken(model, value):
    fields = {info.alias or name for name, info in model.model_fields.items()}
    for word, meant in model.other_names.items():
        hint = hint_at(model, {word: value})[word]
        assert hint.startswith(f"did you mean '{meant}'?")
        example = re.search(r" Write \w+: (.*?)(?:, and |$)", hint)
        taken = value if example is None else yaml.safe_load(example[1])
        if meant in model.examples:
            assert meant in fields
            assert not [p for p in wrong(model, {meant: taken}) if p.path[:1] == (meant,)], (word, hint)


def wrong(model: type[StrictModel], data: dict) -> list[Problem]:
    try:
        model.model_validate(data)
    except ValidationError as error:
        return in_words(tree_of(data), model, complaints_of(data, error))
    return []


def test_a_field_that_stands_there_is_not_to_be_written_again():
    hints = hint_at(TaskSpec, {"prompt": "x", "description": "y", "descripton": "z"})
    for word in ("prompt", "descripton"):
        assert hints[word] == f"did you mean 'description'? That one is here already: remove '{word}'"


def test_words_without_a_counterpart_say_what_to_do():
    assert "leave it out" in hint_at(AgentSpec, {"persona": "pm", "top_p": 1})["top_p"]
    assert "agent_routing.yaml" in hint_at(SquadSpec, {"name": "x", "tasks": {}, "tiers": {}})["tiers"]
    assert "needs" in hint_at(SquadSpec, {"name": "x", "tasks": {}, "edges": []})["edges"]
    step = {"id": "s", "agent": "a", "description": "x", "output_file": "a.md"}
    assert "put it at the task" in hint_at(StepSpec, step)["output_file"]
    assert "set it at the agent" in hint_at(TaskSpec, {"model": "x/y"})["model"]


def test_a_word_is_never_suggested_in_its_own_place():
    assert nearest("same", ["same"]) == ""
    found = load_spec_problems('version: "1"\nname: x\nagents: {a: {persona: pm}}\ntasks: {t: {agent: a}}\n')
    assert all("did you mean '1'" not in problem.hint for problem in found)


def load_spec_problems(text: str) -> list[Problem]:
    return list(spec_of(parse_text(text, "x.yaml"))[2])


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"inputs": {"topic": "tea"}}, {"default": "tea"}),
        ({"inputs": {"topic": 3}}, {"default": 3}),
        ({"inputs": {"topic": [1, "ü"]}}, {"default": [1, "ü"]}),
        ({"agents": {"ann": "analyst"}}, {"persona": "analyst"}),
        ({"tools": {"rates": "mytools.py:convert"}}, {"python": "mytools.py:convert"}),
        ({"tools": {"show": {"command": ["cat", "{path}"], "args": {"path": "string"}}}}, {"type": "string"}),
        ({"tasks": {"find": "Find: out"}}, {"description": "Find: out"}),
        ({"conversations": {"talk": {"participants": ["a", "b"], "terminate": 12}}}, {"max_turns": 12}),
        ({"offline": True}, "auto"),
    ],
)
def test_a_plain_value_in_place_of_a_mapping_is_told_as_what_it_means(written, meant):
    (problem,) = wrong(SquadSpec, {"name": "x", "tasks": {}, **written})
    assert yaml.safe_load(problem.hint.removeprefix("write ")) == {problem.path[-1]: meant}


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("max_messages", "max_turns"),
        ("text_mention", "text"),
        ("timeout", "time"),
        ("or", "any"),
        ("tool_call", "tool"),
    ],
)
def test_conditions_are_known_by_the_names_of_others(word, meant):
    assert hint_at(TerminateSpec, {word: "x"})[word].startswith(f"did you mean '{meant}'?")
