"""To whom a speaker hands over: a call of `transfer_to_ann`, or a `HANDOFF:` line in any dress. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.run.conversations.control import HANDOFF, Control, Unread, control_of
from orchestrator.squad.plan import ConversationPlan


def handover_of(
    text: str, speaker: str, plan: ConversationPlan, to: Sequence[str], called: Sequence[str] = ()
) -> Control:
    """Return to which one of `to` a speaker hands over, and why to nobody where a line could not be followed.

    A line that says more than a name is heard by the others too: they learn why. `called` are those whose tools it
    called: the first of them goes on, whatever a line says.
    """
    control = control_of(text, speaker, plan, len(plan.participants), HANDOFF)
    if called:
        return _called(control, tuple(dict.fromkeys(called)))
    may = [name for name in control.next if name in to]
    unread = control.unread
    if len(may) > 1:
        unread = unread or Unread(", ".join(may), "several", f"it names {len(may)}, and one goes on")
    elif control.next and not may:
        unread = Unread(control.next[0], "ineligible", f"{speaker} cannot hand over to {control.next[0]} now")
    return replace(control, next=tuple(may[:1]), unread=unread)


def _called(control: Control, called: tuple[str, ...]) -> Control:
    first, unread = called[0], None
    if len(called) > 1:
        unread = Unread(", ".join(called), "several", f"it calls for {len(called)}, and the first one goes on")
    elif written := [name for name in control.next if name != first]:
        unread = Unread(", ".join(written), "several", f"a line names {written[0]}; the call for {first} counts")
    return replace(control, next=(first,), unread=unread)
