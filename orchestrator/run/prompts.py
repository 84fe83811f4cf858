"""The words that a task, a step or a conversation is put in: pure. Everything in them is data, rendered once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.squad.plan import ConversationPlan
from orchestrator.squad.termination import Termination, phrases


def compose(
    description: str,
    expected_output: str | None = None,
    context: Mapping[str, str] | None = None,
    comments: Sequence[str] = (),
) -> str:
    """Return the brief: what others found first, the task last, where models weigh it most."""
    parts = [f"# Context: {title}\n\n{text}" for title, text in (context or {}).items() if text]
    if comments:
        parts.append("# A reviewer asks for changes\n\n" + "\n".join(f"- {comment}" for comment in comments))
    parts.append(f"# Task\n\n{description}")
    if expected_output:
        parts.append(f"# Expected output\n\n{expected_output}")
    return "\n\n".join(parts)


def house_rules(conversation: ConversationPlan) -> str:
    """Return what each participant is told about the conversation it is in."""
    names = ", ".join(conversation.participants)
    lines = [f"# The conversation\n\nParticipants: {names}."]
    if conversation.moderator:
        lines.append(f"Moderator: {conversation.moderator}.")
    lines.append("Speak only for yourself. Build on what was said, say what is missing or in conflict, be brief.")
    return " ".join(lines)


def your_turn(speaker: str, conversation: ConversationPlan) -> str:
    """Return the line that asks a participant to speak."""
    return f"{speaker}, it is your turn. {closing(speaker, conversation.terminate)}".rstrip()


def moderate(conversation: ConversationPlan) -> str:
    """Return the line that asks the moderator to close, or to say who speaks next."""
    moderator = conversation.moderator or ""
    return (
        f"{moderator}, you moderate. Say what is settled and what is open, then end with one line "
        f"`NEXT: ` and up to {conversation.speakers_per_round} names of who should speak next. "
        f"{closing(moderator, conversation.terminate)}"
    ).rstrip()


def closing(speaker: str, terminate: Termination) -> str:
    """Return how `speaker` may end the conversation; empty where it can't."""
    texts = [one.phrase for one in phrases(terminate) if one.by in (None, speaker)]
    if not texts:
        return ""
    words = " or ".join(f'"{text}"' for text in texts)
    return f"When the matter is settled, write the whole result with its decisions, then say exactly {words}."
