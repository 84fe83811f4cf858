"""The words that a task, a step or a conversation is put in: pure. Everything in them is data, rendered once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.squad.plan import HUMAN, ConversationPlan
from orchestrator.squad.termination import Termination, phrases
from providers.messages import Message

if TYPE_CHECKING:
    from personas.sandbox import ExpressionText

NO_REPLY = "(no reply)"
"""What is heard of a person whose turn is passed over."""


def with_recalled(words: str, recalled: Mapping[str, str]) -> str:
    """Return words with what is remembered about them, and stands in documents, before them."""
    parts = [f"# {title}\n\n{text}" for title, text in recalled.items() if text]
    return "\n\n".join((*parts, words))


NOTHING: Mapping[str, str] = {}


def compose(
    description: str,
    expected_output: str | None = None,
    context: Mapping[str, str] | None = None,
    comments: Sequence[str] = (),
    recalled: Mapping[str, str] = NOTHING,
) -> str:
    """Return the brief: what is remembered and what others found first, the task last, where models weigh it most."""
    parts = [f"# Context: {title}\n\n{text}" for title, text in (context or {}).items() if text]
    if comments:
        parts.append("# A reviewer asks for changes\n\n" + "\n".join(f"- {comment}" for comment in comments))
    parts.append(f"# Task\n\n{description}")
    if expected_output:
        parts.append(f"# Expected output\n\n{expected_output}")
    return with_recalled("\n\n".join(parts), recalled)


def result_of(topic: str, minutes: str, edition: int) -> str:
    """Return what asks for the result of a conversation in the form that is wanted. `topic` is a whole brief."""
    if edition < 4:
        return compose(topic, "The result of the conversation.", {"The conversation": minutes})
    asked = "Answer with the result of the conversation, in the form that is asked for."
    return f"# Context: The conversation\n\n{minutes}\n\n{topic}\n\n# What is left to do\n\n{asked}"


def quoted(source: ExpressionText, rendered: str, values: Mapping[str, Any]) -> set[str]:
    """Return the tasks and steps whose outputs `source` reads, and stand in what it was rendered to, whole."""
    found: set[str] = set()
    for head, name, *rest in (path for path in source.names if len(path) > 2):
        ended = values.get(head, {}).get(name) if head in ("tasks", "steps") and rest == ["output"] else None
        if ended is not None and _stands_in(rendered, ended["output"]):
            found.add(name)
    return found


def _stands_in(rendered: str, output: Any) -> bool:
    """Return whether an output is in a text: as the text that it is, or as JSON, indented or not."""
    if isinstance(output, str):
        return bool(output.strip()) and output.strip() in rendered
    return any(json.dumps(output, ensure_ascii=False, indent=indent) in rendered for indent in (None, 2))


def house_rules(conversation: ConversationPlan) -> str:
    """Return what each participant is told about the conversation it is in."""
    names = ", ".join(_introduced(name, conversation) for name in conversation.participants)
    lines = [f"# The conversation\n\nParticipants: {names}."]
    if conversation.moderator:
        lines.append(f"Moderator: {_introduced(conversation.moderator, conversation)}.")
    if conversation.mentions:
        lines.append("Who is mentioned as @name speaks next.")
    lines.append("Speak only for yourself. Build on what was said, say what is missing or in conflict, be brief.")
    return " ".join(lines)


def rules_of_work(conversation: ConversationPlan) -> str:
    """Return what one who is delegated to is told of the conversation: it hears its own tasks alone."""
    return (
        f"# The conversation\n\n{_introduced(conversation.moderator or '', conversation)} leads a piece of work and "
        "asks you for parts of it. You hear what you are asked for, and nothing else of it."
    )


def _introduced(agent: str, conversation: ConversationPlan) -> str:
    """Return an agent with the name of its persona, by which it may call itself, where that is another."""
    called = conversation.names.get(agent, "")
    return agent if called.casefold() in ("", agent.casefold()) else f"{agent} ({called})"


def _listed(agents: Sequence[str], conversation: ConversationPlan) -> str:
    return "\n".join(f"- {described(name, conversation)}" for name in agents)


def described(agent: str, conversation: ConversationPlan) -> str:
    """Return an agent with what it is there for."""
    role = "a person" if agent == HUMAN else conversation.roles.get(agent, "")
    return f"{_introduced(agent, conversation)}: {role}" if role else _introduced(agent, conversation)


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


def topic_inside(speaker: str, prompt: str, heard: Sequence[Message]) -> str:
    """Return the topic of a conversation that takes part in another as `speaker`: what that one heard, and is asked."""
    opening, *said = [message.text for message in heard]
    names = [speaker if message.role == "assistant" else message.name or "" for message in heard[1:]]
    parts = [opening, *(f"### {name}\n\n{text}" for name, text in zip(names, said, strict=True))]
    return "\n\n".join([*parts, f"# What you are asked for together\n\n{prompt}"])


def pick(among: Sequence[str], conversation: ConversationPlan) -> str:
    """Return the question who of `among` speaks next."""
    return (
        f"Who should speak next, after what was said? Choose one of these:\n\n{_listed(among, conversation)}\n\n"
        "Answer with one line, `NEXT: ` and the name, and nothing else."
    )


def hand_over(speaker: str, to: Sequence[str], conversation: ConversationPlan, misread: str) -> str:
    """Return the line that asks for an answer, or to hand over to one of `to`. `misread` is why that failed before."""
    parts = [f"Your handover could not be followed: {misread}."] if misread else []
    parts.append(f"{speaker}, it is your turn.")
    if speaker == HUMAN:
        parts.append("Your words go back to who asked you.")
        if to:
            parts.append(
                f"Or end with one line `HANDOFF: ` and the name of who goes on:\n\n{_listed(to, conversation)}"
            )
    elif to:
        parts.append(
            "Answer what is yours to answer. Where another should go on instead, say what they need to know and end "
            f"with one line `HANDOFF: ` and the name, or by a call of its `transfer_to_...` where you have such tools. "
            f"You may hand over to:\n\n{_listed(to, conversation)}\n\n"
            "Else your words are the answer, and the conversation is over."
        )
    else:
        parts.append("Give the answer: it ends the conversation.")
    return f"{' '.join(parts)} {closing(speaker, conversation.terminate)}".rstrip()


def argue(speaker: str, conversation: ConversationPlan) -> str:
    """Return the line that asks a side of a debate to speak."""
    position = (conversation.positions or {}).get(speaker)
    stand = f"You stand for this: {position}. " if position else ""
    return (
        f"{speaker}, it is your turn. {stand}Argue your side: answer the strongest point against it that was made so "
        f"far, then add what nobody has said yet. {closing(speaker, conversation.terminate)}"
    ).rstrip()


def delegate(workers: Sequence[str], conversation: ConversationPlan, number: int, misread: str) -> str:
    """Return the line that asks a manager to delegate, or for the result. `misread` is why that failed before."""
    manager, rounds = conversation.moderator or "", conversation.rounds or 1
    parts = [f"{manager}, you lead this work."]
    if misread:
        parts.append(f"A line of yours could not be followed: {misread}.")
    if number > 1:
        parts.append(
            "Read what you were given. Where it is enough, write the whole result, without any line that delegates. "
            "Where something is missing or in conflict, ask for it."
        )
    if workers:
        parts.append(
            "To ask somebody for a piece of work, write one line for each, `DELEGATE name: the task`, with all that "
            "they need for it: they see nothing else, and work at the same time. You may ask:\n\n"
            f"{_listed(workers, conversation)}\n\nYou may do so in {rounds - number + 1} more rounds."
        )
    else:
        parts.append("Nobody is left whom you could ask: write the whole result.")
    return f"{' '.join(parts)} {closing(manager, conversation.terminate)}".rstrip()


def assigned(worker: str, task: str, conversation: ConversationPlan) -> str:
    """Return the line that asks one to whom a task was delegated for its result."""
    return (
        f"{conversation.moderator} asks {worker} for this.\n\n# Task\n\n{task}\n\n{worker}, it is your turn. "
        "Do what you were asked for, and answer with the result alone."
    )


def conclude(conversation: ConversationPlan) -> str:
    """Return the line that asks the moderator for the conclusion, once everybody has spoken."""
    if conversation.pattern == "debate":
        return (
            f"{conversation.moderator}, you judge, and the debate is over: nobody speaks after you. Weigh the "
            "arguments, not who made them or how often. Write your verdict: what is decided, which arguments decided "
            "it, and what speaks against it still. It is all that others will read."
        )
    if conversation.pattern == "hierarchical":
        return (
            f"{conversation.moderator}, you lead this work, and it is over: nobody can be asked any more. Write the "
            "whole result from what you were given, and say what is missing. It is all that others will read."
        )
    return (
        f"{conversation.moderator}, you moderate, and the conversation is over: nobody speaks after you. Write its "
        "conclusion, from all that was said: the result, what it rests on, and what stayed open. It is all that others "
        "will read."
    )


def closing(speaker: str, terminate: Termination) -> str:
    """Return how `speaker` may end the conversation; empty where it can't."""
    texts = [one.phrase for one in phrases(terminate) if one.by in (None, speaker)]
    if not texts:
        return ""
    words = " or ".join(f'"{text}"' for text in texts)
    return f"When the matter is settled, write the whole result with its decisions, then say exactly {words}."


def shown_to_a_person(heard: Sequence[Message]) -> dict[str, str]:
    """Return what was said, by who said it, and the topic."""
    shown: dict[str, str] = {}
    for message in heard:
        who = HUMAN if message.role == "assistant" else message.name or "the topic"
        shown[who] = f"{shown[who]}\n\n{message.text}" if who in shown else message.text
    return shown
