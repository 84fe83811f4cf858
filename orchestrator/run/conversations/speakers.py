"""Who may speak next: the limits that hold in every pattern. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from orchestrator.run.conversations.speech import Utterance
from orchestrator.squad.plan import ConversationPlan

NOBODY_LEFT = "nobody is left who may speak"


def with_turns_left(plan: ConversationPlan, names: Iterable[str], said: Sequence[Utterance]) -> list[str]:
    """Return those of `names` who have not spoken as often as they may, in their order."""
    if not plan.turns_of:
        return list(names)
    spoken = Counter(one.speaker for one in said)
    return [name for name in names if name not in plan.turns_of or spoken[name] < plan.turns_of[name]]


def silent_first(names: Sequence[str], spoken: Sequence[str]) -> list[str]:
    """Return `names`, those first that have been silent longest. `spoken` are the speakers so far, oldest first."""
    last = {name: index for index, name in enumerate(spoken)}
    return sorted(names, key=lambda name: last.get(name, -1))


def eligible(plan: ConversationPlan, said: Sequence[Utterance]) -> list[str]:
    """Return who may speak next where one is picked, those first that have been silent longest; empty: nobody may.

    Left out is who has no turns left, whom `transitions` does not let follow the last speaker, and the last speaker
    itself, unless it may be repeated or is the only participant.
    """
    names = with_turns_left(plan, plan.participants, said)
    if said:
        last = said[-1].speaker
        following = (plan.transitions or {}).get(last)
        if following is not None:
            names = [name for name in names if name in following]
        if not plan.allow_repeated_speaker and len(plan.participants) > 1:
            names = [name for name in names if name != last]
    return silent_first(names, [one.speaker for one in said])
