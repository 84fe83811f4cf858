"""DBOS under the load of `durable.py`: a workflow a task, a step a turn, its SQLite database in WAL mode.

Its own settings otherwise: `synchronous` is SQLite's default, FULL. Run it with an interpreter that has `dbos`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from dbos import DBOS, SetWorkflowID
from durable_load import DELAY_S, TASKS, TURNS, Counter, Stopwatch, answers, main, report, stored

COUNTER = Counter()
ANSWERS = answers()


@DBOS.step()
async def turn(task: int, number: int) -> str:
    COUNTER.begun()
    await asyncio.sleep(DELAY_S)
    said = ANSWERS[COUNTER.turns]
    COUNTER.ended()
    return said


@DBOS.workflow()
async def work(task: int) -> list[str]:
    return [await turn(task, number) for number in range(TURNS)]


def launch(folder: Path) -> None:
    file = folder / "dbos.db"
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA journal_mode = WAL")  # the file keeps the mode
    db.close()
    url = f"sqlite:///{file}"
    DBOS(
        config={
            "name": "crowd",
            "system_database_url": url,
            "application_version": "1",
            "log_level": "ERROR",
            "console_log_level": "ERROR",
        }
    )
    DBOS.launch()


def crowd(folder: Path, kill_after: str = "0") -> None:
    async def go() -> None:
        global COUNTER  # noqa: PLW0603  # its workflows are module-level functions
        COUNTER = Counter(int(kill_after))
        launch(folder)
        watch = Stopwatch()

        async def task(number: int) -> list[str]:
            with SetWorkflowID(f"t{number}"):
                handle = await DBOS.start_workflow_async(work, number)
            return await handle.get_result()

        done = await asyncio.gather(*(task(number) for number in range(TASKS)))
        assert all(len(one) == TURNS for one in done)
        report(**watch.read(), turns=COUNTER.turns, stored=stored(folder))
        DBOS.destroy()

    asyncio.run(go())


def recover(folder: Path) -> None:
    async def go() -> None:
        global COUNTER  # noqa: PLW0603  # as above
        COUNTER = Counter(first_only=True)
        launch(folder)
        await asyncio.sleep(600)

    asyncio.run(go())


if __name__ == "__main__":
    main({"crowd": crowd, "recover": recover})
