"""LangGraph's SQLite checkpointer under the storage load of `durable.py`. Its interpreter needs
`langgraph-checkpoint-sqlite`.

Two shapes of 200 messages: `chat` is an invocation a turn on one thread, `loop` one invocation whose node runs on. In
both each message is appended to a list in the state, and each step is recorded before the next (`durability="sync"`).
"""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Annotated, Any, TypedDict

from durable_load import Stopwatch, main, noise, prose, report, stored
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph


class State(TypedDict):
    messages: Annotated[list[str], operator.add]


def storage(folder: Path, kind: str, shape: str, turns: str = "200", size: str = "1000") -> None:
    say, count = {"prose": prose, "noise": noise}[kind], int(turns)
    said = 0

    def speak(state: State) -> dict[str, Any]:
        nonlocal said
        said += 1
        return {"messages": [say(int(size), said)]}

    graph = StateGraph(State).add_node("speak", speak).add_edge(START, "speak")
    if shape == "loop":
        graph.add_conditional_edges("speak", lambda state: "speak" if said < count else END)
    else:
        graph.add_edge("speak", END)
    config: Any = {"configurable": {"thread_id": "1"}, "recursion_limit": count + 10}
    watch = Stopwatch()
    with SqliteSaver.from_conn_string(str(folder / "langgraph.db")) as saver:
        compiled = graph.compile(checkpointer=saver)
        for _ in range(1 if shape == "loop" else count):
            compiled.invoke({"messages": []}, config, durability="sync")
    report(**watch.read(), turns=said, stored=stored(folder))


if __name__ == "__main__":
    main({"storage": storage})
