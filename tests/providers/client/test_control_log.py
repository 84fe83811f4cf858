"""The file of what operators have changed: shared by processes, killed in the midst of a line, damaged."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import anyio
import pytest

from providers.client.control_log import ControlDamaged, ControlFollower, ControlLog, StaleVersion
from providers.errors import NoRoute, StreamBroken
from providers.routing.control import NOTHING_SET, ControlChange, RoutingControl
from tests.event_loops import VIRTUAL
from tests.providers.client.test_manager import ASK, Net, manager_of, ok

pytestmark = pytest.mark.anyio
NOW = 1_800_000_000.0


def changed(log: ControlLog, change: ControlChange, why: str = "a new key") -> RoutingControl:
    version = log.present().version
    made = partial(change.over, reason=why, by="ann", now=NOW)
    return log.change(version, made, by="ann", reason=why, now=NOW).after


def test_changes_are_numbered_kept_and_undone_by_another_change(tmp_path: Path) -> None:
    log = ControlLog(tmp_path / "new")
    assert (log.present(), log.entries(), log.stamp()) == (NOTHING_SET, [], None)
    first = changed(log, ControlChange(weights={"größe": 0.3}))
    second = changed(log, ControlChange(drain=("a",)))
    assert (first.version, second.version, log.present()) == (1, 2, second)
    with pytest.raises(StaleVersion, match="at version 2, not at 1") as stale:
        log.change(1, lambda before: before, by="bob", reason="", now=NOW)
    assert stale.value.present == second
    undone = log.restore(2, 1, by="bob", reason="back", now=NOW)
    assert (undone.after.version, undone.after.holds, undone.restores) == (3, {}, 1)
    redone = log.restore(3, 2, by="bob", reason="and again", now=NOW).after
    assert (redone.version, redone.holds) == (4, second.holds)
    with pytest.raises(LookupError, match="no version 9"):
        log.restore(4, 9, by="bob", reason="", now=NOW)
    audit = log.entries(3)
    assert [(entry.after.version, entry.by, entry.reason) for entry in audit] == [
        (4, "bob", "and again"),
        (3, "bob", "back"),
        (2, "ann", "a new key"),
    ]
    assert audit[0].before == audit[1].after
    assert log.file.stat().st_mode & 0o777 == 0o600


def test_a_change_that_was_killed_at_any_byte_of_its_line_is_there_or_is_not(tmp_path: Path) -> None:
    log = ControlLog(tmp_path)
    first = changed(log, ControlChange(drain=("a",)))
    kept = log.file.read_bytes()
    second = changed(log, ControlChange(pause=("b",)))
    whole = log.file.read_bytes()
    for end in range(len(kept), len(whole) + 1, 61):
        log.file.write_bytes(whole[:end])
        assert log.present() == first, "the line is not whole"
        assert changed(log, ControlChange(weights={"a": 1.0})).version == 2
        assert [entry.after.version for entry in log.entries()] == [2, 1]
    log.file.write_bytes(whole)
    assert log.present() == second


def test_a_damaged_file_changes_nothing_and_is_told_of(tmp_path: Path) -> None:
    log, follower = ControlLog(tmp_path), ControlFollower(ControlLog(tmp_path))
    first = changed(log, ControlChange(drain=("a",)))
    assert follower.news() == first
    assert follower.news() is None
    log.file.write_bytes(b"nonsense\n")
    with pytest.raises(ControlDamaged, match="cannot be read"):
        log.present()
    assert follower.news() is None
    log.file.unlink()
    assert follower.news() == NOTHING_SET


def test_long_histories_are_read_from_their_end(tmp_path: Path) -> None:
    log = ControlLog(tmp_path)
    large = ControlChange(weights={f"provider-{at}": 1.0 for at in range(2000)})
    assert changed(log, large).version == 1
    assert changed(log, ControlChange(drain=("a",))).version == 2
    assert len(log.present().weights) == 2000


async def test_a_manager_takes_it_up_before_its_next_turn_and_while_one_waits(tmp_path: Path) -> None:
    log, manager = ControlLog(tmp_path), manager_of(Net({"a": [ok()], "b": [ok()]}))
    manager.follower = ControlFollower(log)
    assert (await manager.complete(ASK)).provider == "a"
    changed(log, ControlChange(drain=("a",)))
    assert (await manager.complete(ASK)).provider == "b"
    changed(log, ControlChange(drain=("b",)))
    with pytest.raises(NoRoute, match="drained by an operator: a new key"):
        await manager.complete(ASK)
    assert manager.traffic.over(60, manager.clock()).endpoints["b/m"].answered == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_stream_ends_where_it_is_when_its_provider_is_drained_and_one_that_breaks_goes_elsewhere(
    tmp_path: Path, anyio_backend: str
) -> None:
    log = ControlLog(tmp_path)
    broken = [b"half", StreamBroken("cut")]
    manager = manager_of(Net({"a": [[b"one", b" two", b"END"], broken], "b": [[b"three", b"END"]]}), on_break="restart")
    manager.follower = ControlFollower(log)
    heard: list[str] = []
    for _ in range(2):
        async with manager.stream(ASK) as deltas:
            async for delta in deltas:
                heard.append(getattr(delta, "text", "|"))
                if log.present().holds.keys() != {"a"}:
                    changed(log, ControlChange(drain=("a",)))
                    manager.look()
        changed(log, ControlChange(resume=("a",)))
        manager.look()
    assert heard == ["one", " two", "half", "|", "three"]
    view = manager.traffic.over(60, manager.clock())
    assert {name: one.answered for name, one in view.endpoints.items()} == {"a/m": 1, "b/m": 1}
    assert view.endpoints["a/m"].first_token.percentile(0.5) is not None
    assert sum(view.failovers.values()) == 1


@pytest.mark.parametrize("anyio_backend", [VIRTUAL], indirect=True)
async def test_a_turn_that_waits_for_a_paused_provider_goes_on_when_it_is_resumed(tmp_path: Path) -> None:
    log, manager = ControlLog(tmp_path), manager_of(Net({"a": [ok()]}))
    manager.follower = ControlFollower(log)
    changed(log, ControlChange(pause=("a",)))

    async def resume() -> None:
        await anyio.sleep(20)
        changed(log, ControlChange(resume=("a",)))

    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(resume)
        assert (await manager.complete(ASK)).provider == "a"
    assert 20 <= anyio.current_time() - began < 30
