"""Who is told of a run of the command line, as the variables of its process ask for it."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TypedDict

from orchestrator.cli.app import Settings
from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.masking import mask_document, mask_secrets
from orchestrator.cli.ui.screens import log_to, wants_log
from orchestrator.observe.logs import LogLines
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


@asynccontextmanager
async def server_observed(
    settings: Settings, console: Console, environ: Mapping[str, str]
) -> AsyncIterator[tuple[Subscriber, ...]]:
    """Yield who is told of all that a server does: a collector where the variables name one, and a log on stderr where
    the options ask for one."""
    logs: tuple[Subscriber, ...] = ()
    if wants_log(settings):
        log = log_to(settings, console, sys.stderr, "debug" if settings.verbose else "info")
        logs = (LogLines(log, lambda document: mask_document(document, environ)),)
    with observed(environ, console.warn) as by:
        yield (*by.get("subscribers", ()), *logs)
