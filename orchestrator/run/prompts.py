"""The words that a task, a step or a conversation is put in: pure. Everything in them is data, rendered once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.squad.plan import ConversationPlan, Termination


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
    texts = [leaf.text for leaf in leaves(terminate) if leaf.text is not None and leaf.text_from in (None, speaker)]
    if not texts:
        return ""
    words = " or ".join(f'"{text}"' for text in texts)
    return f"When the matter is settled, write the whole result with its decisions, then say exactly {words}."


def leaves(terminate: Termination) -> list[Termination]:
    """Return the conditions that a termination is made of."""
    inner = [*terminate.any, *terminate.all]
    return [leaf for node in inner for leaf in leaves(node)] if inner else [terminate]


def next_speakers(text: str, conversation: ConversationPlan, spoken: Sequence[str]) -> list[str]:
    """Return who speaks next: those on the moderator's `NEXT:` line, else those who have been silent longest.

    `spoken` are the speakers so far, oldest first. Always at least one, at most `speakers_per_round`.
    """
    line = next((part for part in reversed(text.splitlines()) if part.strip().upper().startswith("NEXT:")), "")
    words = {word.strip(" \t.,;:*`'\"").casefold() for word in line.partition(":")[2].replace(",", " ").split()}
    named = [name for name in conversation.participants if name.casefold() in words]
    last = {name: index for index, name in enumerate(spoken)}
    silent_first = sorted(conversation.participants, key=lambda name: last.get(name, -1))
    return (named or silent_first)[: conversation.speakers_per_round]
