"""Makes `talks-N.db`, a journal of conversations by the rules of this release:
`python -m tests.orchestrator.samples.talks`.

Run it before those rules change, in the release that is to be kept: what it has written goes on, and replays, by the
rules that it began with. In it stand `ended`; and `cut`, whose process was killed in the fourth call of its debate.
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

from orchestrator import Squad
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.journal.sqlite.schema import MIGRATIONS
from orchestrator.runtime import open_run
from providers.messages import FinishReason, Message, Request, Response, Text, Usage

HERE = Path(__file__).parent
TEXT = """\
version: 1
name: talks
inputs: {topic: {type: string, default: foxes}}
agents:
  pro: {persona: {role: "Argues for ${{ inputs.topic }}.", tier: worker}}
  con: {persona: {role: Argues against it., tier: worker}}
  judge: {persona: {role: Judges., tier: worker}}
conversations:
  debate: {participants: [pro, con], moderator: judge, terminate: {max_turns: 4}}
  party:
    pattern: party
    participants: [pro, con]
    moderator: judge
    speakers_per_round: 1
    terminate: {any: [{max_turns: 8}, {text: AGREED}]}
tasks:
  talk: {conversation: debate, description: "Debate ${{ inputs.topic }}."}
  plan: {needs: [talk], conversation: party, description: Plan it., output_file: plan.md}
  verdict:
    needs: [plan]
    agent: judge
    description: Judge it.
    output_schema:
      {type: object, required: [why, yes], properties: {why: {type: string}, yes: {enum: ["${{ inputs.topic }}"]}}}
outputs: {plan: "${{ tasks.plan.output }}"}
"""


class Manager:
    """Answers by the number of the call. At its call number `dies_in` the process ends."""

    def __init__(self, dies_in: int = 0, since: int = 0) -> None:
        self.asked: list[Request] = []
        self._dies_in, self._since = dies_in, since

    async def complete(self, request: Request, **_: Any) -> Response:
        self.asked.append(request)
        if len(self.asked) == self._dies_in:
            os._exit(9)
        number, agent = len(self.asked) + self._since, request.needs.agent or ""
        said = f"{agent} says a word, number {number}."
        if request.output_schema is not None:
            said = '{"why": "so", "yes": "${{ inputs.topic }}"}'
        elif "you moderate" in request.messages[-1].text:
            said = "Settled.\n**NEXT:** pro" if number < 9 else "All of it.\n\nAGREED"
        return Response(Message("assistant", (Text(said),)), FinishReason.STOP, Usage(10, output=5), "fake", "fake", 7)


async def write(file: str) -> None:
    squad = Squad.from_text(TEXT, "talks.yaml")
    async with SqliteJournal(file) as journal:
        for run, dies_in in (("ended", 0), ("cut", 4)):
            async with open_run(squad, run_id=run, journal=journal, manager=Manager(dies_in)) as opened:
                async for _ in opened:
                    pass


def main() -> None:
    if len(sys.argv) > 1:
        anyio.run(write, sys.argv[1])
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "journal.db"
        ended = subprocess.run([sys.executable, "-m", "tests.orchestrator.samples.talks", str(file)], check=False)
        assert ended.returncode == 9, "it ends in its fourth call"
        db = sqlite3.connect(file)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute("VACUUM")
        db.close()
        shutil.copyfile(file, HERE / f"talks-{len(MIGRATIONS)}.db")


if __name__ == "__main__":
    main()
