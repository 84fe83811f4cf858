"""What operators set while it runs: who is asked then, why others are not, and which changes are none."""

from __future__ import annotations

import json
from math import inf, nan

import pytest

from providers.errors import Reason, ReasonCode
from providers.policy.model import Policy
from providers.routing.choice import PAUSED_POLL_S, Refuse, Wait, choose
from providers.routing.control import NOTHING_SET, ControlChange, RoutingControl, mistakes
from providers.routing.fleet import Fleet
from tests.providers.routing.test_turn import NOW, ask, candidate, fleet, names, texts


def after(change: ControlChange, control: RoutingControl = NOTHING_SET, why: str = "a new key") -> RoutingControl:
    return change.over(control, why, "ann", NOW)


def test_weights_and_strategy_take_the_place_of_the_policys_and_give_it_back() -> None:
    crowd = fleet("a/m", "b/m")
    assert names(choose(crowd, ask(), NOW)) == ("a/m", "b/m")
    crowd.operate(set_ := after(ControlChange(weights={"b": 1.0}, strategy="weighted")))
    assert names(choose(crowd, ask(), NOW)) == ("b/m", "a/m")
    crowd.adopt(Policy({"worker": ("a/m", "b/m")}, last_resort=()), map(candidate, ("a/m", "b/m")))
    assert names(choose(crowd, ask(), NOW)) == ("b/m", "a/m"), "another policy leaves it set"
    crowd.operate(after(ControlChange(weights={"b": None}, strategy="policy"), set_))
    assert names(choose(crowd, ask(), NOW)) == ("a/m", "b/m")


def test_who_is_drained_is_refused_and_who_is_paused_is_waited_for() -> None:
    crowd = fleet("a/m", "b/m")
    crowd.operate(after(ControlChange(drain=("a",), pause=("b/m",))))
    decision = choose(crowd, ask(), NOW)
    assert isinstance(decision, Wait)
    assert decision.until == NOW + PAUSED_POLL_S
    assert texts(decision.reasons) == {
        "a/m": "drained by an operator: a new key",
        "b/m": "paused by an operator: a new key",
    }
    crowd.operate(after(ControlChange(pause=("b/m",), pause_for_s=600, drain=("a",))))
    assert choose(crowd, ask(model="b/m"), NOW) == Wait(
        NOW + 600,
        {"b/m": Reason(ReasonCode.PAUSED, "paused by an operator: a new key", NOW + 600)},
        NOW + 600,
    )
    assert names(choose(crowd, ask(), NOW + 600)) == ("b/m",), "a pause of ten minutes is over after them"
    assert isinstance(choose(crowd, ask(model="a/m"), NOW), Refuse)


def test_one_account_is_held_by_its_number_and_all_by_the_models_name() -> None:
    rows = [candidate("a/m"), candidate("b/m")]
    crowd = Fleet(rows, Policy({"worker": ("a/m", "b/m")}, last_resort=()))
    for held, left in (("a/m#1", ("b/m",)), ("a/m", ("b/m",)), ("a/m#2", ("a/m", "b/m"))):
        crowd.operate(after(ControlChange(drain=(held,))))
        assert names(choose(crowd, ask(), NOW)) == left


def test_a_record_of_it_is_read_back_whole_and_by_earlier_releases() -> None:
    control = after(ControlChange({"größe": 0.25}, "weighted", ("a",), ("b/m",), 60.0))
    record = json.loads(json.dumps(control.to_json()))
    assert RoutingControl.read(record) == control
    assert RoutingControl.read({**record, "new": 1, "strategy": "later"}).weights == {"größe": 0.25}
    with pytest.raises(ValueError, match="not a record"):
        RoutingControl.read({"version": 1})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (ControlChange(), "nothing is to be changed"),
        (ControlChange(weights={"a": -1.0}), "the weight of a is -1.0"),
        (ControlChange(weights={"a": nan}), "the weight of a is nan"),
        (ControlChange(weights={"a": inf}), "the weight of a is inf"),
        (ControlChange(weights={"opnai": 1.0}), "there is no provider 'opnai' here; did you mean 'openai'?"),
        (ControlChange(drain=("openai/gtp",)), "there is no provider or model 'openai/gtp' here"),
        (ControlChange(pause=("zürich2",)), "did you mean 'zürich'?"),
        (ControlChange(resume=("a",)), "'a' is neither drained nor paused"),
        (ControlChange(drain=("a",), pause=("a",)), "'a' is named twice"),
        (ControlChange(pause=("a",), pause_for_s=0.0), "a pause of 0.0 s"),
        (ControlChange(pause=("a", "openai/gpt", "openai/gpt#2"), weights={"zürich": 0.0}), ""),
    ],
)
def test_what_is_no_change(change: ControlChange, said: str) -> None:
    known = ("a/m", "openai/gpt", "openai/gpt#2", "zürich/m", "zürich")
    found = mistakes(change, NOTHING_SET, known)
    assert said in "; ".join(found)
    assert bool(found) == bool(said)
