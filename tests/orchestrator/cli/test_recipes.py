"""Each recipe as its user meets it: written by `init --template`, checked, run without a model, tested, drawn."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest
import yaml

from orchestrator import Squad, run_sync
from orchestrator.cli.recipes import FOLDER, recipes
from orchestrator.testing import scripted

RECIPES = recipes()
GATED = {"product-spec"}
"""The recipes that wait for a person also where the stub answers."""
FILES = {
    "code-review": "review.json",
    "content-channels": "kit.md",
    "csv-fan-out": "report.md",
    "data-report": "report.md",
    "debate": "debate.md",
    "faq-builder": "faq.md",
    "free-tiers": "texts/a-teapot-of-blue-glass.md",
    "meeting-notes": "minutes.json",
    "post-mortem": "actions.json",
    "product-spec": "stories.json",
    "release-notes": "release-notes.md",
    "research-brief": "brief.md",
    "support-replies": None,
    "translation": "brazilian-portuguese.md",
    "triage": "answer.md",
    "writer-editor": "article.md",
}
"""What each makes. A reply to a customer is sent by a tool, and the stub calls none."""
MACHINE = re.compile(r"(?<![\w.])/(home|root|tmp|usr|work|Users|var|opt)/|[A-Z]:\\")


@pytest.fixture(params=RECIPES)
def recipe(request, call, folder, monkeypatch):
    """A recipe in a folder of its own, which is the working folder."""
    written = call("init", "--template", request.param, "mine")
    assert written.code == 0
    monkeypatch.chdir(folder / "mine")
    return RECIPES[request.param]


def words(recipe) -> list[str]:
    return shlex.split(recipe.first_command)[1:]


def test_it_runs_without_a_model_by_the_command_that_is_printed(recipe, call, monkeypatch):
    monkeypatch.setenv("ORCHESTRATOR_REAL_CALLS", "forbid")
    ended = call(*words(recipe), "--offline", "--run-id", "r")
    assert ended.code == (7 if recipe.name in GATED else 0), ended.err
    if recipe.name in GATED:
        ended = call("runs", "resume", "r", "--approve", "auto")
        assert ended.code == 0, ended.err
    assert "r: done" in ended.err
    made = FILES[recipe.name]
    if made is None:
        assert not Path("out").exists()
    elif made.endswith(".json"):
        assert json.loads(Path("out/r", made).read_text("utf-8"))
    else:
        assert "offline stub" in Path("out/r", made).read_text("utf-8")


@pytest.mark.few(3)
def test_it_has_no_mistakes_and_is_drawn(recipe, call):
    checked = call("validate", ".")
    assert checked.code == 0
    assert " 0 errors, 0 warnings" in checked.err
    drawn = call("graph", "squad.yaml")
    assert drawn.code == 0
    assert all(task in drawn.out for task in yaml.safe_load(Path("squad.yaml").read_text("utf-8"))["tasks"])


@pytest.mark.few(3)
def test_its_tests_pass(recipe, call):
    tested = call("test", "squad.yaml", *[word for word in words(recipe) if word == "--trust"])
    assert tested.code == 0, f"run python docs/recipes/record.py\n{tested.err}"
    assert "flaky" not in tested.out


@pytest.mark.long
def test_a_run_stays_within_its_budget_in_a_simulation(recipe, call, monkeypatch):
    """With cheap models, and with the dearest ones of the catalog, which have no free plan."""
    keys = ["GROQ_API_KEY"] if recipe.name == "free-tiers" else ["GROQ_API_KEY", "ANTHROPIC_API_KEY"]
    for key in keys:
        with monkeypatch.context() as only:
            only.setenv(key, "sk-x")
            simulated = call("simulate", "squad.yaml", "--runs", "2", "--trust")
            assert simulated.code == 0, simulated.out + simulated.err


@pytest.mark.parametrize("name", RECIPES)
def test_what_it_says_of_itself(name):
    recipe = RECIPES[name]
    assert set(recipe.facts) - {"Before you run"} == {"For", "Pattern", "Needs", "Costs at most"}
    assert len(recipe.summary) < 120
    squad = yaml.safe_load((recipe.folder / "squad.yaml").read_text("utf-8"))
    assert (squad["name"], squad["description"], squad["offline"]) == (name, recipe.summary, "auto")
    assert recipe.facts["Costs at most"].startswith(f"${squad['budget']['max_cost']:.2f} a run (`budget.max_cost`)")
    assert re.findall(r"^## (.+)", recipe.readme, re.MULTILINE) == [
        "Start", "What comes out", "What to change first", "Go live",
    ]  # fmt: skip
    assert f"orchestrator init --template {name} " in recipe.readme
    for path, content in recipe.files():
        found = MACHINE.search(content.decode("utf-8", "ignore"))
        assert not found, (path, found)


def test_the_pages_are_made_of_their_files():
    docs = Path(__file__).parents[3] / "docs/recipes"
    pages = runpy.run_path(str(docs / "generate.py"))["pages"]()
    assert {file.name: file.read_text("utf-8") for file in docs.glob("*.md")} == pages, "run docs/recipes/generate.py"


def test_the_counts_of_a_table_are_computed_and_not_asked_of_a_model():
    labels = [
        {"topic": topic, "mood": mood, "gist": "g"} for topic in ("quality", "price") for mood in ("bad", "good") * 2
    ]
    squad = Squad.from_file(RECIPES["csv-fan-out"].folder / "squad.yaml")
    manager = scripted({"noor": [json.dumps(label) for label in labels], "mei": ["Report."]})
    assert run_sync(squad, manager=manager, environ={}).status == "done"
    asked = manager.requests[-1].messages[-1].text
    assert "rows: 8, without labels: 0" in asked
    assert "bad: 4\n- about quality: 4\n- about delivery: 0" in asked


def test_every_folder_is_a_recipe():
    assert sorted(RECIPES) == sorted(path.name for path in FOLDER.iterdir() if not path.name.startswith((".", "_")))


def test_they_are_listed_with_a_line_each(call):
    listed = call("init", "--list")
    assert [line.split("  ")[0] for line in listed.out.splitlines()] == list(RECIPES)


def test_their_names_are_completed(call, monkeypatch):
    monkeypatch.setenv("_ORCHESTRATOR_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "orchestrator init --template re")
    monkeypatch.setenv("COMP_CWORD", "3")
    assert call().out.split() == ["plain,release-notes", "plain,research-brief"]


def test_a_name_that_is_none_is_told_with_those_that_are(call, folder):
    refused = call("init", "--template", "debat", "new")
    assert refused.code == 2
    assert "there is no recipe 'debat'" in refused.err
    assert "did you mean 'debate'?" in refused.err
    assert all(recipe.summary in refused.err for recipe in RECIPES.values())
    assert not (folder / "new").exists()


def test_files_that_were_there_stay_and_a_squad_that_is_another_is_told(call, folder):
    mine = (folder / "squad.yaml").read_bytes()
    done = call("init", "--template", "debate")
    assert done.code == 0
    assert (folder / "squad.yaml").read_bytes() == mine
    assert "kept   squad.yaml" in done.out
    assert "squad.yaml was there before, and is not the recipe's" in done.err
    assert done.err.endswith("next: orchestrator init --template debate DIR\n")
    assert (
        "was there before"
        not in call("init", "--template", "debate", "new").err + call("init", "--template", "debate", "new").err
    )
