"""Makes `journal-N.db`, a journal of this release: `python -m tests.orchestrator.samples.make`.

Run it before the schema changes: the next release's tests open, show and resume what this one has written. In it stand
a run that ended, one whose process was killed in its third call, and one that was cancelled before it began.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio

from orchestrator import GateAnswered, GateOpened, Squad
from orchestrator.journal.protocols import RunManifest
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.journal.sqlite.schema import MIGRATIONS
from orchestrator.runtime import open_run
from providers.messages import FinishReason, Message, Request, Response, Text, Usage

HERE = Path(__file__).parent
TEXT = """\
version: 1
name: sample
agents:
  ann: {persona: {name: Ann, role: Answers., tier: worker}}
  bob: {persona: {name: Bob, role: Answers., tier: worker}}
inputs:
  topic: {type: string}
tasks:
  brief:
    agent: ann
    description: Study ${{ inputs.topic }}.
  gate:
    needs: [brief]
    approval: {prompt: Go on?, show: [brief]}
  plan:
    needs: [gate]
    context: [brief]
    steps:
      - {id: draft, agent: bob, description: Draft it.}
      - {id: check, agent: ann, description: Check it.}
  docs:
    agent: bob
    needs: [plan]
    description: Write it down.
outputs:
  docs: ${{ tasks.docs.output }}
"""
LONG = " and so on" * 40


class Manager:
    """Answers with the number of the call and the agent's name. At its call number `dies_in` the process ends."""

    def __init__(self, dies_in: int = 0) -> None:
        self.asked: list[str] = []
        self._dies_in = dies_in

    async def complete(self, request: Request, **_: Any) -> Response:
        self.asked.append(request.needs.agent or "")
        if len(self.asked) == self._dies_in:
            os._exit(9)
        message = Message("assistant", (Text(f"{request.needs.agent} has seen {len(request.messages)}{LONG}"),))
        return Response(message, FinishReason.STOP, Usage(10, output=5), "fake", "fake", 7)


async def approve(gate: GateOpened) -> GateAnswered:
    return GateAnswered(gate.task, "approve", "well done", "terminal")


async def write(file: str) -> None:
    squad = Squad.from_text(TEXT, "sample.yaml")
    async with SqliteJournal(file) as journal:
        await journal.create("cancelled", RunManifest("sample", "sample.yaml", TEXT, {"topic": "foxes"}))
        await journal.request_cancel("cancelled")
        await journal.signal("cancelled", "note", {"text": LONG}, "once")
        for run, dies_in in (("ended", 0), ("cut", 3)):
            given = open_run(
                squad, inputs={"topic": "foxes"}, run_id=run, journal=journal, manager=Manager(dies_in), ask=approve
            )
            async with given as opened:
                async for _ in opened:
                    pass


def main() -> None:
    if len(sys.argv) > 1:
        anyio.run(write, sys.argv[1])
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "journal.db"
        ended = subprocess.run([sys.executable, "-m", "tests.orchestrator.samples.make", str(file)], check=False)
        assert ended.returncode == 9, "it ends in its third call"
        db = sqlite3.connect(file)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute("VACUUM")
        db.close()
        shutil.copyfile(file, HERE / f"journal-{len(MIGRATIONS)}.db")


if __name__ == "__main__":
    main()
