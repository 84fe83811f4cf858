"""A request that nobody takes whole, cut to what the largest of those who may be asked takes.

Who may be asked, and how much each takes, is known where a request is routed, and only then. So all of it is asked for
first, which costs nothing where sizes are known; a model that has room for all of it is preferred.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from agents.context import count_tokens, fit
from agents.events import HistoryFitted
from providers.emit import Emit
from providers.errors import AllAttemptsFailed, ContextTooLong, NoRoute, ProviderError, RoutingError
from providers.messages import Request, Response

TRIES = 5
"""So often a request is asked for that is refused for its length."""
FILLED = 0.9
"""Of a known room that is filled, where what must stay leaves the choice: tokens are estimated, and a provider's cache
is of use for as long as the beginning stays the same."""
LESS = 0.6
"""Of what was refused by who should have had room for it."""


async def answered_in_room(
    request: Request, answer: Callable[[Request], Awaitable[Response]], turn: int, emit: Emit
) -> Response:
    """Return the answer to a request, without its older middle where nobody takes all of it. The model is told.

    Raise what `answer` raises for the request where what must stay of it is too long as well.
    """
    asked = request
    for attempt in range(1, TRIES + 1):
        try:
            return await answer(asked)
        except (RoutingError, ProviderError) as error:
            room = room_in(error, asked)
            if room is None or attempt == TRIES:
                raise
            try:
                fitted = fit_request(request, room)
            except ContextTooLong:
                room = barest(request).input_tokens  # of a model whose size is not known this may do
                fitted = request if isinstance(error, NoRoute) else fit_request(request, room)
            if fitted.input_tokens >= asked.input_tokens:
                raise
            asked = fitted
            emit(fitting_of(request, fitted, turn, room))
    raise AssertionError("the last try returns or raises")


def room_in(error: Exception, request: Request) -> int | None:
    """Return the tokens of `request` that would be taken, of one that was refused for its length by anybody.

    None: its length was not the reason.
    """
    match error:
        case NoRoute():
            return max((reason.room for reason in error.reasons.values() if reason.room is not None), default=None)
        case ContextTooLong():
            return int(request.input_tokens * LESS)
        case AllAttemptsFailed() if any(isinstance(cause, ContextTooLong) for cause in error.exceptions):
            return int(request.input_tokens * LESS)
    return None


def fit_request(request: Request, room: int) -> Request:
    """Return a request in at most `room` tokens of input: see `fit`. Raise `ContextTooLong`."""
    fixed = request.input_tokens - count_tokens(request.messages)
    try:
        messages = fit(request.messages, int(room * FILLED), fixed)
    except ContextTooLong:
        messages = fit(request.messages, room, fixed, shorten=True)
    return replace(request, messages=messages)


def barest(request: Request) -> Request:
    """Return a request with what must stay of it."""
    return replace(request, messages=fit(request.messages, None, keep_last=0))


def fitting_of(whole: Request, fitted: Request, turn: int, room: int) -> HistoryFitted:
    """Return what is told of a request that was fitted to a room."""
    known, kept = {id(message) for message in whole.messages}, {id(message) for message in fitted.messages}
    new = [message for message in fitted.messages if id(message) not in known]
    shortened = sum(message.role == "tool" for message in new)
    left_out = len(known - kept) - shortened
    return HistoryFitted(whole.needs.agent or "", turn, left_out, shortened, fitted.input_tokens, room)
