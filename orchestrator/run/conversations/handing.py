"""To whom a speaker hands over: a `HANDOFF:` line in any dress, or `transfer_to_ann`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.run.conversations.control import HANDOFF, Control, Unread, control_of
from orchestrator.squad.plan import ConversationPlan


def handover_of(text: str, speaker: str, plan: ConversationPlan, to: Sequence[str]) -> Control:
    """Return to which one of `to` a speaker hands over, and why to nobody where a line could not be followed.

    A line that says more than a name is heard by the others too: they learn why.
    """
    control = control_of(text, speaker, plan, len(plan.participants), HANDOFF)
    may = [name for name in control.next if name in to]
    unread = control.unread
    if len(may) > 1:
        unread = unread or Unread(", ".join(may), "several", f"it names {len(may)}, and one goes on")
    elif control.next and not may:
        unread = Unread(control.next[0], "ineligible", f"{speaker} cannot hand over to {control.next[0]} now")
    return replace(control, next=tuple(may[:1]), unread=unread)
