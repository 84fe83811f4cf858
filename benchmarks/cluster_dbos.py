"""DBOS under the load of `cluster_throughput.py`: a workflow a unit, a step a turn, a queue that its workers share.

Run it with an interpreter that has `dbos`: `cluster_dbos.py URL LOG work` is a worker, `... submit N` prints the
seconds that N workflows took from their submission to the last one's end.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from dbos import DBOS
from durable_load import DELAY_S, TURNS, prose

URL, LOG, ROLE, *COUNT = sys.argv[1:]
SLOTS = 50
SAID = prose(500, 0)
PAID = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


@DBOS.step()
async def turn(unit: int, number: int) -> str:
    await asyncio.sleep(DELAY_S)
    os.write(PAID, b"paid\n")
    return SAID


@DBOS.workflow()
async def work(unit: int) -> list[str]:
    return [await turn(unit, number) for number in range(TURNS)]


async def main() -> None:
    DBOS(
        config={
            "name": "crowd",
            "system_database_url": URL.replace("postgresql:", "postgresql+psycopg:"),
            "application_version": "1",
            "executor_id": f"{ROLE}-{os.getpid()}",
            "log_level": "ERROR",
            "console_log_level": "ERROR",
        }
    )
    if ROLE == "submit":
        DBOS.listen_queues([])
    DBOS.launch()
    await DBOS.register_queue_async("units", worker_concurrency=SLOTS, polling_interval_sec=0.05)
    if ROLE == "work":
        await asyncio.sleep(3600)
    began = time.perf_counter()
    handles = [await DBOS.enqueue_workflow_async("units", work, number) for number in range(int(COUNT[0]))]
    for handle in handles:
        await handle.get_result()
    print(time.perf_counter() - began)
    DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(main())
