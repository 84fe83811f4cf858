"""Cases of squads in one another: chosen agents, elements, memory, and a person in a conversation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.orchestrator.evals.test_surroundings import failed, record, rehearse, role, suite

pytestmark = pytest.mark.anyio

INNER: dict[str, Any] = {
    "version": 1,
    "name": "review",
    "inputs": {"text": {"type": "string"}},
    "memory": True,
    "agents": {"ann": role()},
    "conversations": {"chat": {"participants": ["ann", "human"], "terminate": {"max_turns": 2}}},
    "tasks": {
        "check": {"agent": "ann", "description": "Check ${{ inputs.text }}."},
        "talk": {"needs": ["check"], "conversation": "chat", "description": "Talk."},
        "ok": {"needs": ["talk"], "approval": {"prompt": "ok?"}},
    },
    "outputs": {"said": "${{ tasks.check.output }}"},
}


async def test_a_sub_squad_is_told_and_answered_by_its_names(tmp_path: Path) -> None:
    (tmp_path / "review.yaml").write_text(yaml.safe_dump(INNER, sort_keys=False))
    squad = {
        "agents": {"bob": role(), "cid": role()},
        "tasks": {
            "pick": {
                "agent": "bob",
                "description": "Pick.",
                "output_schema": {
                    "type": "object",
                    "required": ["who"],
                    "properties": {"who": {"enum": ["bob", "cid"]}},
                },
            },
            "do": {"needs": ["pick"], "agent": "${{ tasks.pick.output.who }}", "description": "Do it."},
            "review": {"needs": ["do"], "squad": "review.yaml", "with": {"text": "${{ tasks.do.output }}"}},
        },
        "outputs": {"said": "${{ tasks.review.output.said }}"},
    }
    expect = {
        "tasks": {
            "review.check": {"output": {"equals": "Fine."}},
            "review": {"output": {"at": {"said": {"equals": "Fine."}}}},
        },
        "turns": {"exactly": ["bob", "cid", "review.ann"]},
        "conversations": {"review.chat": {"order": ["ann", "human"]}},
    }
    case = {
        "with": {
            "people": {"review.chat": ["Good."]},
            "approvals": {"review.ok": "approve"},
            "memory": [{"text": "The shop is Rad.", "agent": "review.ann"}],
        },
        "expect": expect,
    }
    made = suite(tmp_path, squad, case)
    live = await record(made, json.dumps({"who": "cid"}), "Done.", "Fine.", "I talk.")
    assert live.verdict == "passed", failed(live)
    again = await rehearse(made)
    assert again.verdict == "passed", failed(again)


@pytest.mark.long
async def test_elements_of_a_sub_squad_are_told_by_their_keys(tmp_path: Path) -> None:
    inner = {**INNER, "memory": False}
    (tmp_path / "review.yaml").write_text(yaml.safe_dump(inner, sort_keys=False))
    squad = {
        "tasks": {
            "review": {
                "for_each": "${{ ['x', 'y.z'] }}",
                "key": "${{ item }}",
                "max_parallel": 1,
                "squad": "review.yaml",
                "with": {"text": "${{ item }}"},
            }
        }
    }
    expect = {
        "tasks": {"review@x.check": {"output": {"equals": "Fine x."}}, "review": {}, "review@y%2Ez.talk": {}},
        "conversations": {"review.chat": {"order": ["ann", "human"]}},
    }
    case = {
        "with": {
            "people": {"review.chat": ["Good."]},
            "approvals": {"review@x.ok": "approve", "review@*.ok": "approve"},
        },
        "expect": expect,
    }
    made = suite(tmp_path, squad, case)
    live = await record(made, "Fine x.", "Talk x.", "Fine y.", "Talk y.")
    assert live.verdict == "passed", failed(live)
    again = await rehearse(made)
    assert again.verdict == "passed", failed(again)
