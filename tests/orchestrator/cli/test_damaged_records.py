"""A journal whose pages were swapped, doubled or emptied: told as damaged, or read right; never an internal error."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = 4096
READING = [
    ["runs", "ls"],
    ["runs", "show", "r"],
    ["runs", "show", "g", "--json"],
    ["approvals", "ls"],
    ["explain", "r", "research"],
    ["explain", "r", "research", "--request"],
    ["spending", "--by", "run"],
    ["runs", "replay", "r"],
    ["runs", "export", "r", "copy.db", "--force"],
    ["runs", "watch", "r"],
]


def mixed_up(data: bytes, dice: random.Random) -> Iterator[bytes]:
    """Yield the file with each page swapped with another one, written over another one, and emptied."""
    pages = [data[start : start + PAGE] for start in range(0, len(data), PAGE)]
    for number in range(1, len(pages)):
        other = dice.choice([n for n in range(1, len(pages)) if n != number])
        swapped = list(pages)
        swapped[number], swapped[other] = swapped[other], swapped[number]
        doubled = [*pages[:number], pages[other], *pages[number + 1 :]]
        emptied = [*pages[:number], bytes(PAGE), *pages[number + 1 :]]
        for found in (swapped, doubled, emptied):
            yield b"".join(found)


@pytest.mark.parametrize("share", [40, pytest.param(1, marks=pytest.mark.long)])
def test_pages_that_are_mixed_up_are_damage(call, folder, share):
    for file, run in (("squad.yaml", "r"), ("gated.yaml", "g")):
        call("run", file, "--offline", "--run-id", run)
    journal, said = folder / ".orchestrator" / "journal.db", 0
    cases = list(mixed_up(journal.read_bytes(), random.Random(1)))
    state = folder / "damaged"
    for number, data in enumerate(cases[:: max(1, share)]):
        command = READING[number % (len(READING) - 1)]
        state.mkdir()
        (state / "journal.db").write_bytes(data)
        ended = call("--state", str(state), *command)
        assert ended.code != 3, (number, command, ended.err)
        assert "internal error" not in ended.err
        if "is damaged" in ended.err:
            said += 1
            assert ended.code == 2
            assert Path(f"{state / 'journal.db'}.damaged").read_bytes() == data
        elif ended.code == 0:
            assert ended.out == call(*command).out
        shutil.rmtree(state)
    assert said
