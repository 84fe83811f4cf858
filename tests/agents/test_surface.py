from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import agents

HEAVY = ("pydantic", "httptools", "httpx2", "jsonschema", "yaml", "rich", "structlog", "jinja2")


def test_public_names_are_sorted_and_there():
    assert list(agents.__all__) == sorted(agents.__all__, key=lambda name: (name.islower(), name))
    for name in agents.__all__:
        assert getattr(agents, name) is getattr(importlib.import_module("agents"), name)
    assert set(agents.__all__) <= set(dir(agents))
    with pytest.raises(AttributeError, match="no attribute 'Runner'"):
        _ = agents.Runner


def test_the_package_says_whose_it_is():
    assert agents.__distribution__ == "squad-orchestrator"


@pytest.mark.parametrize("module", ["agents", "agents.agent", "agents.tools", "agents.toolbox.files"])
def test_importing_is_light(module):
    program = f"import sys, {module}; print(*[name for name in {HEAVY} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
