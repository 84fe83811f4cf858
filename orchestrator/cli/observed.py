"""Who is told of a run of the command line, as the variables of its process ask for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypedDict

from orchestrator.cli.ui.masking import mask_secrets
from orchestrator.observe.opening import observing
from orchestrator.subscribers import Subscriber


class ObservedBy(TypedDict, total=False):
    """Options of a run, or of a chat."""

    subscribers: tuple[Subscriber, ...]
    traceparent: str | None


@contextmanager
def observed(environ: Mapping[str, str], say: Callable[[str], None]) -> Iterator[ObservedBy]:
    """Yield who is told while the block lasts, and the span that asks for it all: `TRACEPARENT`.

    Of `environ`, which a `.env` had a say in, come the secrets alone: it could send what happens anywhere.
    """
    with observing(os.environ, lambda text: mask_secrets(text, environ), say) as subscribers:
        yield {"subscribers": subscribers, "traceparent": os.environ.get("TRACEPARENT")} if subscribers else {}
