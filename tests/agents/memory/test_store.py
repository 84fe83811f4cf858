"""The store of records: what is found, what is one record, what ends, and files that are none of ours."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agents.memory.database import MemoryUnusable
from agents.memory.records import MOST_CHARS, NotStorable, RecordSource, made_record
from agents.memory.store import MemoryFull, MemoryStore

NOW = 1_800_000_000.0
DAY = 86400.0


@pytest.fixture
def store():
    with MemoryStore.open() as opened:
        yield opened


def keep(store: MemoryStore, *texts: str, scope: str = "sprint", now: float = NOW, **more) -> list[str]:
    made = [made_record(text, scope, more.get("trust", "agent"), now, ttl_s=more.get("ttl_s")) for text in texts]
    return [record.id for record, _ in store.remember(made, now)]


def found(store: MemoryStore, text: str, *scopes: str, now: float = NOW, limit: int = 5) -> list[str]:
    return [one.record.text for one in store.search(text, scopes or ("sprint",), now, limit)]


RECORDS = {
    "Deploys go out on Tuesdays.": ["when do we deploys", "TUESDAYS", "tuesdayz", "deploy"],
    "The header retry_after is in seconds.": ["retryAfter", "retry-after", "after retry", "RETRY_AFTER"],
    "Café Müller pays by invoice.": ["cafe muller", "CAFÉ", "Mueller invoice"],
    "東京の倉庫は月曜日に閉まる。": ["倉庫", "東京", "月曜日"],
    "Склад закрыт по понедельникам.": ["склад", "ПОНЕДЕЛЬНИКАМ"],
    "המחסן סגור ביום שני": ["המחסן"],
    "गोदाम सोमवार को बंद है": ["सोमवार"],
    "Party time is 🎉 o'clock": ["🎉"],
    "Ticket ABC-1234 is about HTTP 429.": ["abc-1234", "429", "ABC1234"],
}


def test_a_record_is_found_by_its_words_in_any_spelling_and_script(store):
    keep(store, *RECORDS)
    for text, queries in RECORDS.items():
        for query in queries:
            assert found(store, query, limit=1) == [text], query


HOSTILE = [
    '"', '""', "*", "NEAR(a b)", "NEAR(", "a:b", "terms:x", "-x", "^a", "a AND", "OR", "NOT", "(", "{a b}: c", "\0",
    "\ud800", "'; DROP TABLE records; --", "🎉" * 50, "\u202eabc", "%", "_", "a" * 1_000_000, "x " * 500_000,
    "", " \n\t", "a_" * 500_000, "aB" * 500_000,
]  # fmt: skip


@pytest.mark.parametrize("query", HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_that_is_asked_is_syntax(store, query):
    keep(store, "Deploys go out on Tuesdays.", "NEAR the harbour, OR not")
    assert len(found(store, query)) <= 2
    assert found(store, f"{query} tuesdays") or len(query) > 10_000
    assert store.scopes(NOW)[0].records == 2


def test_what_is_remembered_twice_is_one_record_which_gains_no_trust_by_that(store):
    first = keep(store, "Deploys go out on Tuesdays.", trust="untrusted", ttl_s=DAY)
    assert keep(store, "  deploys go  out on TUESDAYS.", trust="agent", ttl_s=3 * DAY) == first
    [record] = store.records(None, NOW)
    assert (record.trust, record.expires) == ("untrusted", NOW + 3 * DAY)
    keep(store, "Deploys go out on Tuesdays.", trust="user")
    [record] = store.records(None, NOW)
    assert (record.trust, record.expires) == ("user", None)


def test_scopes_are_apart_and_records_end_by_the_clock_that_is_given(store):
    keep(store, "Deploys go out on Tuesdays.", ttl_s=DAY)
    keep(store, "Deploys need two approvals.", scope="sprint/mary")
    keep(store, "Deploys are somebody else's.", scope="other")
    assert set(found(store, "deploys", "sprint", "sprint/mary")) == {
        "Deploys go out on Tuesdays.",
        "Deploys need two approvals.",
    }
    assert found(store, "deploys", "sprint/mary") == ["Deploys need two approvals."]
    assert found(store, "deploys", now=NOW + DAY) == []
    keep(store, "Something new.", now=NOW + 2 * DAY)
    assert [one.records for one in store.scopes(0)] == [1, 1, 1]  # the one that ended was taken out


def test_a_forgotten_record_is_found_no_more_and_may_be_remembered_again(store):
    [id_] = keep(store, "Deploys go out on Tuesdays.")
    assert store.forget([id_]) == 1
    assert store.forget([id_]) == 0
    assert found(store, "deploys tuesday") == []
    keep(store, "Deploys go out on Tuesdays.")
    assert found(store, "tuesday") == ["Deploys go out on Tuesdays."]


def test_the_rarest_words_decide(store):
    keep(store, *(f"The service number {n} is up and the gate is open." for n in range(300)))
    keep(store, "The zebra is up and the gate is open.")
    assert found(store, "is the gate open for the zebra", limit=1) == ["The zebra is up and the gate is open."]


def test_what_looks_like_a_key_is_masked_and_what_is_too_long_or_empty_is_refused():
    made = made_record("api_key: sk-abcdefghijklmnop1234 is for staging", "s", "user", NOW, source=RecordSource())
    assert "abcdefghijkl" not in made.text
    assert "staging" in made.text
    for text in ("", " \0 ", "x" * (MOST_CHARS + 1)):
        with pytest.raises(NotStorable):
            made_record(text, "s", "user", NOW)
    for scope in ("", " ", "s/", "/a", "s//a"):
        with pytest.raises(NotStorable):
            made_record("text", scope, "user", NOW)


def test_a_full_store_says_so_and_keeps_what_it_has():
    with MemoryStore.open(most=2) as store:
        keep(store, "One thing.", "Another thing.")
        keep(store, "One thing.")
        with pytest.raises(MemoryFull, match="it holds 2 records"):
            keep(store, "A third thing.")
        assert len(store.records(None, NOW)) == 2


def test_two_open_stores_of_one_file_see_each_others_records(tmp_path: Path):
    with MemoryStore.open(tmp_path / "deep" / "m.db") as one, MemoryStore.open(tmp_path / "deep" / "m.db") as other:
        keep(one, "Deploys go out on Tuesdays.")
        keep(other, "Deploys need two approvals.")
        assert len(found(one, "deploys")) == len(found(other, "deploys")) == 2
    assert (tmp_path / "deep" / "m.db").stat().st_mode & 0o077 == 0


def test_several_threads_with_stores_of_their_own_write_one_file(tmp_path: Path):
    def write(number: int) -> None:
        with MemoryStore.open(tmp_path / "m.db") as store:
            for n in range(20):
                keep(store, f"Writer {number} notes fact {n}.", f"Fact {n} is shared.", scope=f"squad/{number % 2}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    with MemoryStore.open(tmp_path / "m.db") as store:
        assert [one.records for one in store.scopes(NOW)] == [60, 60]
        assert found(store, "writer 3 fact 7", "squad/1", limit=1) == ["Writer 3 notes fact 7."]


def test_a_file_that_is_damaged_of_another_program_or_of_a_later_release_is_told_and_left_alone(tmp_path: Path):
    path = tmp_path / "m.db"
    path.write_bytes(b"no database at all, " * 100)
    with pytest.raises(MemoryUnusable, match="not a database"):
        MemoryStore.open(path)
    assert path.read_bytes().startswith(b"no database")
    path.unlink()
    with sqlite3.connect(path) as foreign:
        foreign.execute("CREATE TABLE mine (x)")
    foreign.close()
    with pytest.raises(MemoryUnusable, match="another program"):
        MemoryStore.open(path)
    path.unlink()
    MemoryStore.open(path).close()
    with sqlite3.connect(path) as later:
        later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(MemoryUnusable, match="later release"):
        MemoryStore.open(path)
    with pytest.raises(MemoryUnusable):
        MemoryStore.open(tmp_path)


def test_an_index_of_another_version_is_made_anew(tmp_path: Path):
    path = tmp_path / "m.db"
    with MemoryStore.open(path) as store:
        keep(store, *RECORDS)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE index_version SET version = 0")
    db.close()
    with MemoryStore.open(path) as store:
        assert found(store, "retryAfter", limit=1) == ["The header retry_after is in seconds."]


def test_what_is_forgotten_does_not_stand_in_the_file_any_more(tmp_path):
    path = tmp_path / "memory.db"
    with MemoryStore.open(path) as store:
        [(kept, _)] = store.remember([made_record("The gate opens at seven.", "s", "user", NOW)], NOW)
    assert b"gate opens at" in path.read_bytes()
    with MemoryStore.open(path) as store:
        store.forget([kept.id])
    assert b"gate opens at" not in path.read_bytes()
