"""Search in memory: 100,000 records of some 300 characters, asked with sentences of 6, 12 and 25 words.

    python -m benchmarks.memory_search [RECORDS] [--meaning]

With --meaning each record has a vector of 384 random numbers, too, and questions are ranked by both; making the vectors
themselves is not measured.

Words are drawn by Zipf's law from 30,000, as in a language: a few stand in most records. Times are wall and CPU of the
searching thread; the machine's other work is in the first.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from random import Random as Dice
from typing import Any

from agents.memory.records import made_record
from agents.memory.store import MemoryStore

WORDS, WORDS_A_RECORD, SEARCHES = 30_000, 45, 200
NOW = 1_800_000_000.0
SCOPES = ("sprint", "sprint/mary")


class Language:
    """Sentences of made-up words, the same in each run."""

    def __init__(self, seed: int = 1) -> None:
        self.random = Dice(seed)
        self.words = [
            "".join(self.random.choices("aeioubcdfglmnprstv", k=self.random.randint(3, 9))) for _ in range(WORDS)
        ]
        self.weights = list(accumulate(1 / (rank + 1) for rank in range(WORDS)))

    def _word(self) -> str:
        return "".join(self.random.choices("aeioubcdfglmnprstv", k=self.random.randint(3, 9)))

    def sentence(self, words: int) -> str:
        return " ".join(self.random.choices(self.words, cum_weights=self.weights, k=words))


def main(records: int, *, meaning: bool) -> None:
    language = Language()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "memory.db"
        with MemoryStore.open(path) as store:
            began = time.process_time()
            for _ in range(0, records, 1000):
                texts = [language.sentence(WORDS_A_RECORD) for _ in range(1000)]
                made = [made_record(text, SCOPES[n % 2], "agent", NOW) for n, text in enumerate(texts)]
                store.remember(made, NOW)
            took = (time.process_time() - began) / records
            print(f"{records:,} records: {took * 1e6:.0f} us of CPU each, {path.stat().st_size / 1e6:.0f} MB")
            one = [made_record(language.sentence(WORDS_A_RECORD), SCOPES[0], "agent", NOW) for _ in range(SEARCHES)]
            remembered = iter(one)
            measure("one record remembered", lambda: store.remember([next(remembered)], NOW))
            for words in (6, 12, 25):
                measure(f"{words} words", lambda words=words: store.search(language.sentence(words), SCOPES, NOW))
            misspelled = lambda: f"{language.sentence(3)} {language.random.choice(language.words)}x"  # noqa: E731
            measure("3 words and a misspelled one", lambda: store.search(misspelled(), SCOPES, NOW))
            if meaning:
                by_meaning(store, language)


class Random:
    """Vectors as long as MiniLM's, of no meaning."""

    name = "random"

    def __init__(self) -> None:
        import numpy as np

        self.random = np.random.default_rng(1)

    def embed(self, texts: Sequence[str]) -> Any:
        return self.random.normal(size=(len(texts), 384))


def by_meaning(store: MemoryStore, language: Language) -> None:
    store.embedder = Random()
    while store.embed(store.embedder, 5000):
        pass
    measure("the vectors read (first only)", lambda: store.search("first", SCOPES, NOW))
    for words in (6, 12, 25):
        measure(f"{words} words and meaning", lambda words=words: store.search(language.sentence(words), SCOPES, NOW))


def measure(name: str, work: Callable[[], object]) -> None:
    wall, cpu = [], []
    for _ in range(SEARCHES):
        began, began_cpu = time.perf_counter(), time.process_time()
        work()
        wall.append((time.perf_counter() - began) * 1e3)
        cpu.append((time.process_time() - began_cpu) * 1e3)
    print(f"{name:30} wall {_figures(wall)}   CPU {_figures(cpu)}")


def _figures(times: list[float]) -> str:
    times.sort()
    return f"p50 {times[len(times) // 2]:5.1f} p95 {times[int(len(times) * 0.95)]:5.1f} ms"


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:] if word.isdecimal()]
    main(*(numbers or [100_000]), meaning="--meaning" in sys.argv)
