"""Which images a piece of work is handed, and who must therefore be able to see. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from orchestrator.squad.given_values import InputImage
from orchestrator.squad.parts import everyone, works_of
from orchestrator.squad.plan import (
    AgentWork,
    ConversationPlan,
    SingleWork,
    TaskPlan,
)
from providers.messages import Image


def images_of(work: SingleWork, inputs: Mapping[str, Any]) -> tuple[Image, ...]:
    """Return the images that the words of a work mention, in the order of the squad's inputs."""
    mentioned = _mentioned(work)
    return tuple(
        value.part
        for name, value in inputs.items()
        if isinstance(value, InputImage) and (("inputs", name) in mentioned or ("inputs",) in mentioned)
    )


def seers(
    tasks: Mapping[str, TaskPlan], conversations: Mapping[str, ConversationPlan], images: Collection[str]
) -> set[str]:
    """Return the agents that are handed one of the inputs `images`, or may be."""
    found: set[str] = set()
    for work in (one for task in tasks.values() for one in works_of(task.work)):
        mentioned = _mentioned(work)
        if ("inputs",) not in mentioned and not any(("inputs", name) in mentioned for name in images):
            continue
        if isinstance(work, AgentWork):
            found |= {*work.possible}
        elif (held := conversations.get(work.conversation)) is not None:
            found |= {*everyone(held)}
    return found


def _mentioned(work: SingleWork) -> set[tuple[str, ...]]:
    texts = (work.description, work.expected_output)
    # Of an image only the image itself is a mention, not its name.
    return {name for text in texts if text is not None for name in text.names if len(name) < 3}
