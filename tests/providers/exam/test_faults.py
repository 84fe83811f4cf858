"""The failover exam, 5 to 14: providers that break, hang, are cut off, or answer what is no answer."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from dataclasses import replace

import anyio
import anyio.to_thread
import pytest

from providers.catalog.model import Candidate
from providers.errors import AllAttemptsFailed, BadReply, Overloaded, ServerFault, StreamBroken, TimedOut
from providers.events import AttemptEnded, AttemptStarted, RouteChosen
from providers.messages import Capability
from providers.routing.health import CLOSED, FAULTS_TO_OPEN
from tests.loopback import ANSWER, WORDS, Seen, Served
from tests.patience import PATIENCE_S
from tests.providers.exam.lab import KEY, PATIENT, QUICK, Lab, within

pytestmark = pytest.mark.anyio
ONE_TOKENS = 19
"""What the loopback provider bills for an answer."""


async def elsewhere(lab: Lab, *modes: str, error: str) -> None:
    """Ask where the first of two providers fails so: the other one answers, each is called once, nobody's twice."""
    events: list[object] = []
    bad, good = lab.provider("bad", *modes), lab.provider("good", "ok")
    async with lab.manager(bad, good, timeouts=PATIENT) as manager:
        answer = await lab.ask(manager, emit=events.append)
        assert answer.text == ANSWER
        assert [type(e) for e in events] == [RouteChosen, AttemptStarted, AttemptEnded, AttemptStarted, AttemptEnded]
        assert [(a.provider, a.outcome, a.error) for a in answer.attempts] == [
            ("bad", "failed", error),
            ("good", "ok", None),
        ]
        assert lab.calls == ["bad", "good"]
        assert manager.fleet.states["bad/m"].breaker.faults == 1
        assert manager.fleet.states["good/m"].breaker == CLOSED
        assert await lab.booked(manager, "good") == (1, ONE_TOKENS)
        assert KEY not in repr((answer, events))
    assert lab.passed in ([], list(WORDS)), "what the first one said was passed on to nobody"


async def test_05_a_500_and_then_well_is_asked_again_where_nobody_else_is(lab: Lab):
    async with lab.manager(lab.provider("only", "500", "ok")) as manager:
        answer = await lab.ask(manager)
        assert answer.text == ANSWER
        assert [a.error for a in answer.attempts] == ["ServerFault", None]
        assert lab.calls == ["only", "only"]
        assert manager.fleet.states["only/m"].breaker == CLOSED
        assert await lab.booked(manager, "only") == (2, ONE_TOKENS)


@pytest.mark.parametrize(("mode", "error"), [("500", ServerFault), ("503", Overloaded)])
async def test_05_a_500_is_no_reason_to_wait_where_somebody_else_is(lab: Lab, mode: str, error: type[Exception]):
    await elsewhere(lab, mode, error=error.__name__)


async def test_06_a_dead_primary_costs_nothing_and_is_left_alone_soon(lab: Lab):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and listens to nobody
        dead = lab.provider("dead", url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
        async with lab.manager(dead, lab.provider("good", "ok")) as manager:
            answers = [await lab.ask(manager) for _ in range(8)]
            assert await lab.booked(manager, "dead") == (0, 0), "nothing was sent: all of it was given back"
            assert manager.fleet.states["dead/m"].breaker.state(lab.clock()) == "open"
    tried = [[a.error for a in answer.attempts] for answer in answers]
    assert tried == [["Unreachable", None]] * FAULTS_TO_OPEN + [[None]] * (8 - FAULTS_TO_OPEN)
    assert lab.calls == ["good"] * 8


async def test_07_a_primary_that_hangs_before_its_first_byte_is_left_with_time_for_the_next(lab: Lab):
    async with lab.manager(lab.provider("bad", "hang"), lab.provider("good", "ok"), timeouts=QUICK) as manager:
        answer = await lab.ask(manager)
        assert (answer.text, [a.error for a in answer.attempts]) == (ANSWER, ["TimedOut", None])
        assert manager.fleet.states["bad/m"].breaker.faults == 1
        # Nobody knows what a provider makes of a call that it never answered: it stays booked as expected.
        assert (await lab.booked(manager, "bad"))[0] == 1
    assert lab.calls == ["bad", "good"]
    assert await anyio.to_thread.run_sync(lab.to("bad")[0].left.wait, PATIENCE_S), "its socket was closed"


async def a_break_after_content(lab: Lab, mode: str, error: type[Exception], on_break: str) -> None:
    """A whole answer is asked for elsewhere. Of a stream's, part was passed on: it ends in a typed error, or the policy
    has the answer come anew, behind a word that says so. It never just ends short.
    """
    policy = {"on_break": on_break, "timeouts": QUICK if mode == "stall" else PATIENT}
    async with lab.manager(lab.provider("bad", mode), lab.provider("good", "ok"), **policy) as manager:
        if lab.how == "stream" and on_break == "error":
            with pytest.raises(error) as failed:
                await lab.ask(manager)
            assert failed.value.provider == "bad"
            assert lab.passed in ([WORDS[0]], list(WORDS))
            assert lab.calls == ["bad"]
        else:
            answer = await lab.ask(manager)
            assert answer.text == ANSWER
            assert [(a.provider, a.outcome) for a in answer.attempts] == [("bad", "failed"), ("good", "ok")]
            cut = ["BadReply"] if lab.how == "complete" else []  # a whole answer that is cut may look like bad JSON
            assert answer.attempts[0].error in (error.__name__, *cut)
            assert lab.calls == ["bad", "good"]
        if lab.how == "stream" and on_break == "restart":
            first = lab.passed.index("[restarted]")
            assert lab.passed[:first] in ([WORDS[0]], list(WORDS))
            assert lab.passed[first + 1 :] == list(WORDS)
        assert manager.fleet.states["bad/m"].breaker.faults == 1
        assert (await lab.booked(manager, "bad"))[0] == 1


either = pytest.mark.parametrize("on_break", ["error", "restart"])


@either
async def test_08_a_provider_that_hangs_between_chunks(lab: Lab, on_break: str):
    await a_break_after_content(lab, "stall", TimedOut, on_break)


@either
@pytest.mark.parametrize("mode", ["cut=1", "torn=1"])
async def test_09_a_stream_that_is_cut_after_content(lab: Lab, mode: str, on_break: str):
    await a_break_after_content(lab, mode, StreamBroken, on_break)


@either
async def test_11_a_stream_that_ends_without_its_terminator(lab: Lab, on_break: str):
    await a_break_after_content(lab, "unended", StreamBroken, on_break)


@either
async def test_12_an_error_inside_a_200_stream(lab: Lab, on_break: str):
    await a_break_after_content(lab, "error-inside=1", ServerFault, on_break)


@pytest.mark.parametrize("mode", ["stall", "cut=1", "torn=1"])
async def test_08_09_a_break_after_content_where_the_policy_resumes(lab: Lab, mode: str):
    """Who can go on with the answer so far does; who cannot is not asked."""

    def rest(seen: Seen) -> str:
        last = seen.body["messages"][-1]
        return "ok=1" if last["role"] == "assistant" else "ok"

    able = frozenset({Capability.PREFILL})
    providers = (
        lab.provider("bad", mode, capabilities=able),
        lab.provider("unable", "ok"),
        lab.provider("good", rule=rest, capabilities=able),
    )
    timeouts = QUICK if mode == "stall" else PATIENT
    async with lab.manager(*providers, on_break="resume", timeouts=timeouts) as manager:
        answer = await lab.ask(manager)
        assert answer.text == ANSWER
    if lab.how != "stream":
        assert lab.calls == ["bad", "unable"], "the answer is to be whole in the end: anybody may answer anew"
        assert lab.passed in ([], [WORDS[0], "[restarted]", *WORDS])
    else:
        assert lab.calls == ["bad", "good"]
        assert lab.passed == [WORDS[0], "[resumed]", *WORDS[1:]]
        assert lab.to("good")[0].body["messages"][-1]["content"] == WORDS[0].rstrip()


@pytest.mark.parametrize("mode", ["cut=0", "torn=0", "reset"])
async def test_10_a_stream_that_is_cut_before_content_moves_on(lab: Lab, mode: str):
    whole = {"cut=0": "BadReply", "torn=0": "StreamBroken"}
    streamed = {"cut=0": "StreamBroken", "torn=0": "StreamBroken"}
    await elsewhere(lab, mode, error=(whole if lab.how == "complete" else streamed).get(mode, "Unreachable"))


async def test_12_an_error_inside_a_200_before_content_moves_on(lab: Lab):
    await elsewhere(lab, "error-inside", error=ServerFault.__name__)


@pytest.mark.parametrize("mode", ["malformed", "html"])
async def test_13_malformed_json_under_status_200_is_no_answer(lab: Lab, mode: str):
    await elsewhere(lab, mode, error=BadReply.__name__)


async def test_14_an_empty_answer_counts_as_a_failure_of_its_attempt(lab: Lab):
    await elsewhere(lab, "empty", error=BadReply.__name__)


async def test_14_nobody_answers_empty_for_ever(lab: Lab):
    async with lab.manager(lab.provider("bad", "empty"), lab.provider("good", "ok")) as manager:
        answers = [await lab.ask(manager) for _ in range(8)]
    assert all(answer.text == ANSWER for answer in answers)
    assert len(lab.to("bad")) == FAULTS_TO_OPEN


def models_of(provider: Candidate, *names: str) -> list[Candidate]:
    """Return so many models behind one address, each of which meets the same."""
    models = {name: replace(provider.model, name=name) for name in names}
    row = replace(provider.provider, models=models)
    return [replace(provider, provider=row, model=model) for model in models.values()]


@pytest.mark.parametrize("mode", ["500", "reset"])
@pytest.mark.parametrize("most", [2, 4])
async def test_14_a_provider_of_many_models_loses_no_turn_alone(lab: Lab, mode: str, most: int):
    """It has as many models as a turn has attempts, before all others: the last one goes elsewhere."""
    many = models_of(lab.provider("bad", mode), "a", "b", "c", "d", "e")
    async with lab.manager(*many, lab.provider("good", "ok"), attempts_per_turn=most) as manager:
        answer = await lab.ask(manager)
        assert answer.text == ANSWER
        assert [(a.provider, a.model) for a in answer.attempts] == [
            *[("bad", each.model.name) for each in many[: most - 1]],
            ("good", "m"),
        ]


async def test_14_a_retired_family_loses_no_turn_alone(lab: Lab):
    gone = lab.provider(
        "bad", rule=lambda _: Served(404, {"error": {"message": "no such model", "code": "model_not_found"}})
    )
    async with lab.manager(*models_of(gone, "a", "b", "c", "d"), lab.provider("good", "ok")) as manager:
        assert (await lab.ask(manager)).attempts[-1].provider == "good"
        assert lab.calls == ["bad", "bad", "bad", "good"]


async def test_14_the_last_attempt_goes_elsewhere_as_a_hedge_too(lab: Lab):
    many = models_of(lab.provider("bad", "500", "500", "hang"), "a", "b", "c", "d")
    async with lab.manager(*many, lab.provider("good", "ok"), hedge_after=0.05) as manager:
        assert (await lab.ask(manager)).provider == "good"
        assert lab.calls == ["bad", "bad", "bad", "good"]


@pytest.mark.parametrize("down", [4, 5])
async def test_14_many_that_fail_do_not_keep_turns_from_one_that_is_well(lab: Lab, down: int):
    """Turn by turn the last attempt goes to one that nobody saw fail; before a circuit breaker opens."""
    bad = [lab.provider(f"bad{at}", "500") for at in range(down)]
    async with lab.manager(*bad, lab.provider("good", "ok")) as manager:
        for _ in range(down - 3):
            with pytest.raises(AllAttemptsFailed):
                await lab.ask(manager)
        assert [(await lab.ask(manager)).provider for _ in range(3)] == ["good"] * 3
        assert lab.calls[4 * (down - 3) :][:4] == ["bad0", "bad1", "bad2", "good"]


@pytest.mark.parametrize("seconds", [0.4, pytest.param(1.0, marks=pytest.mark.long)])
async def test_14_providers_that_hang_under_short_deadlines_do_not_keep_turns_from_one_that_is_well(
    lab: Lab, seconds: float
):
    """No deadline of these turns lets anybody see that a provider hangs: each time the last attempt goes elsewhere."""
    bad = [lab.provider(f"bad{at}", "hang") for at in range(4)]
    async with lab.manager(*bad, lab.provider("good", "ok")) as manager:
        in_time, patience = 0, time.monotonic() + PATIENCE_S
        while in_time < 2 and time.monotonic() < patience:
            begun = time.monotonic()
            with suppress(AllAttemptsFailed):
                await lab.ask(manager, within(seconds))
            in_time += time.monotonic() - begun < seconds + 0.05  # a busy machine is late: that turn says nothing
        assert lab.to("good")
        assert all(state.breaker == CLOSED for state in manager.fleet.states.values())
