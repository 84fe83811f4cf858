"""`serve` at the command line."""

from __future__ import annotations

import socket


def test_a_port_that_is_taken_is_told_before_anything_is_opened(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = call("serve", "--offline", "--port", str(port))
    assert done.code == 2
    assert f"cannot listen at 127.0.0.1:{port}" in done.err
    assert "--port" in done.err
    assert not (tmp_path / ".orchestrator" / "gateway-keys.json").exists()
