"""What the server listens at: what it accepts sends at once."""

import socket

from orchestrator.server.listening import listen


def test_what_is_accepted_does_not_wait_for_the_client_before_it_sends() -> None:
    with listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
