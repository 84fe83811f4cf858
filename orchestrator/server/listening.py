"""The socket that the server listens at."""

from __future__ import annotations

import socket


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there. Raise `OSError` where the port is taken.

    What it accepts sends at once. asyncio asks for that only of sockets that were made with TCP's own number; without
    it the body of an answer waits up to 40 ms for the client's word that it has the headers.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what it accepts inherits it
    return listening
