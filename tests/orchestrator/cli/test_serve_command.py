"""`serve` at the command line."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.binding import TOKEN_VARIABLE, Binding, address_in, announced, binding_of
from orchestrator.cli.exits import Unusable

TOKEN = "a-token-of-my-own-choice"


def test_a_port_that_is_taken_is_told_before_anything_is_opened(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = call("serve", "--offline", "--port", str(port))
    assert done.code == 2
    assert f"cannot listen at 127.0.0.1:{port}" in done.err
    assert "--port" in done.err
    assert not (tmp_path / ".orchestrator" / "gateway-keys.json").exists()


def test_a_state_folder_that_cannot_be_written_is_told_and_no_key_is_announced(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    done = call("--state", str(tmp_path / "file" / "state"), "serve", "--offline", "--port", "0")
    assert (done.code, done.out) == (2, "")
    assert "file" in done.err
    assert "--state" in done.err
    assert "shown this once" not in done.err
    assert "internal error" not in done.err


def bound(host: str = "127.0.0.1", token: str | None = None, file: str | None = None, **more: Any) -> Binding:
    environ = {} if token is None else {TOKEN_VARIABLE: token}
    return binding_of(host, 8700, file, more.get("allowed", ()), more.get("proxies", ()), environ)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"host": "0.0.0.0"}, "has no token that you chose"),
        ({"host": "::"}, "has no token that you chose"),
        ({"host": "192.0.2.7", "token": "  "}, "has no token that you chose"),
        ({"host": "0.0.0.0", "token": "short"}, "a token is 16 to 512"),
        ({"token": "with spaces in it, many"}, "a token is 16 to 512"),
        ({"token": "ключ-ключ-ключ-ключ"}, "a token is 16 to 512"),
        ({"token": "x" * 513}, "a token is 16 to 512"),
        ({"file": "none"}, "cannot be read"),
        ({"allowed": ["https://a.example"]}, "a name alone"),
        ({"allowed": ["a.example:8700"]}, "a name alone"),
        ({"allowed": ["*"]}, "a name alone"),
        ({"allowed": [""]}, "a name alone"),
        ({"proxies": ["nginx"]}, "not an address"),
    ],
)
def test_who_may_come_in_is_checked_before_anything_is_opened(given: dict[str, Any], wrong: str) -> None:
    with pytest.raises(Unusable, match=wrong):
        bound(**given)


def test_where_it_listens_and_by_which_names_it_is_asked(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    here, six = bound(), bound("::1")
    assert (here.token, here.hosts, here.address(80)) == (
        None,
        ("127.0.0.1", "localhost", "::1"),
        "http://127.0.0.1:80",
    )
    assert six.address(80) == "http://[::1]:80"
    open_one = bound("0.0.0.0", file=str(tmp_path / "token"), allowed=["runs.example.org"])
    assert (open_one.token, open_one.address(80)) == (TOKEN, "http://runs.example.org:80")
    behind = bound("192.0.2.7", TOKEN, allowed=["runs.example.org"], proxies=["10.0.0.0/8"])
    assert "192.0.2.7" in behind.hosts
    assert (
        bound("0.0.0.0", TOKEN, allowed=["runs.example.org"], proxies=["10.0.0.2"]).address(80)
        == "https://runs.example.org"
    )
    with announced(tmp_path, "http://127.0.0.1:1"):
        assert address_in(tmp_path) == "http://127.0.0.1:1"
    assert address_in(tmp_path) is None
