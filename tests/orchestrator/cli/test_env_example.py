"""`.env.example`: every variable that the catalog and the code read stands there."""

from __future__ import annotations

import re
from pathlib import Path

from orchestrator.cli.ui.starter import env_example
from orchestrator.environment import environment_of
from providers.catalog.file import load_catalog
from providers.catalog.variables import PLACEHOLDER

ROOT = Path(__file__).parents[3]
ROWS = load_catalog().providers.values()
TEXT = env_example(ROWS)
NAMED = re.compile(r"^# +([A-Z][A-Z0-9_]+)(?:=|  |,)", re.MULTILINE)
READ = re.compile(r"[\"'](ORCHESTRATOR_[A-Z_]+|MODEL_PROVIDER|OLLAMA_HOST)[\"']")


def test_it_names_every_variable_of_the_catalog():
    wanted = {row.key_env for row in ROWS if row.key_env}
    wanted |= {name for row in ROWS for name in PLACEHOLDER.findall(row.base_url)}
    wanted |= {f"{row.env_prefix}_BASE_URL" for row in ROWS if row.opt_in and row.base_url}
    assert wanted >= {"GROQ_API_KEY", "CLOUDFLARE_ACCOUNT_ID", "OLLAMA_BASE_URL"}
    assert wanted <= set(NAMED.findall(TEXT))


def test_it_names_every_variable_of_ours_that_the_code_reads():
    files = [file for room in ("orchestrator", "agents", "providers") for file in (ROOT / room).rglob("*.py")]
    read = {name for file in files for name in READ.findall(file.read_text("utf-8"))}
    assert read >= {"ORCHESTRATOR_STATE", "ORCHESTRATOR_LEDGER", "MODEL_PROVIDER"}
    assert read - set(NAMED.findall(TEXT)) == set()
    assert {name for name in NAMED.findall(TEXT) if name.startswith("ORCHESTRATOR_")} <= read


def test_each_key_says_where_it_is_got_and_which_are_free():
    for row in ROWS:
        if row.key_env:
            plan = " (has a free plan)" if row.has_free_plan else ""
            assert re.search(rf"^# {row.name}{re.escape(plan)}: https://\S+\n# {row.key_env}=$", TEXT, re.MULTILINE)
    assert TEXT.count("(has a free plan)") >= 5


def test_as_it_is_it_sets_nothing_and_one_key_is_set_by_taking_the_mark_away(tmp_path):
    (tmp_path / ".env").write_text(TEXT)
    assert dict(environment_of(tmp_path, {})) == {}
    (tmp_path / ".env").write_text(TEXT.replace("# GROQ_API_KEY=", "GROQ_API_KEY=gsk-x"))
    assert dict(environment_of(tmp_path, {})) == {"GROQ_API_KEY": "gsk-x"}
