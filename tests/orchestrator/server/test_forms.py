"""Forms of pages: what they send is read whole, a file that was chosen begins a run, and what was typed is kept."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import httpx2
import pytest

from orchestrator.server.pages.forms import SentFile, sent_form
from orchestrator.server.pages.new_run import given_inputs
from orchestrator.squad.given_values import InputFile, InputImage
from orchestrator.squad.load import Squad
from orchestrator.testing import scripted
from tests.orchestrator.server.served import Served, served
from tests.orchestrator.server.test_api import until_state
from tests.orchestrator.server.test_run_pages import hidden

pytestmark = pytest.mark.anyio
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SQUAD = """
name: looks
budget: {max_cost: 0.5}
inputs:
  photo: {type: image}
  notes: {type: file}
  copies: {type: integer, default: 2}
agents: {ann: {persona: analyst}}
tasks: {draft: {agent: ann, description: "Look at ${{ inputs.photo }} and ${{ inputs.notes }}, ${{ inputs.copies }}."}}
"""
TYPE = "multipart/form-data; boundary=-----x"


def multipart(fields: dict[str, str], files: dict[str, tuple[str, bytes]]) -> bytes:
    """Return a form as browsers send it."""
    parts = [f'form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    for name, (file, data) in files.items():
        said = f'form-data; name="{name}"; filename="{file}"\r\ncontent-type: application/octet-stream\r\n\r\n'
        parts.append(said.encode() + data)
    made = b"".join(b"-------x\r\ncontent-disposition: " + part + b"\r\n" for part in parts)
    return made + b"-------x--\r\n"


async def post(server: Served, fields: dict[str, str], **files: tuple[str, bytes]) -> httpx2.Response:
    named = {f"file.{name}": file for name, file in files.items()}
    return await server.http.post("/new-run", content=multipart(fields, named), headers={"content-type": TYPE})


def test_a_form_with_files_is_read_byte_for_byte() -> None:
    data = b"\r\n\0\xff--\r\n-------y\r\n" * 3
    body = multipart({"a b": "x\r\ny\u05d0", "empty": ""}, {"f": ("C:\\dir\\a%22b.txt", data), "none": ("", b"")})
    sent = sent_form(TYPE, body)
    assert dict(sent.fields) == {"a b": "x\r\ny\u05d0", "empty": ""}
    assert dict(sent.files) == {"f": SentFile('a"b.txt', data)}
    assert dict(sent_form("application/x-www-form-urlencoded", b"a=1&b=").fields) == {"a": "1", "b": ""}


@pytest.mark.parametrize(
    "kind", ["", "multipart/form-data", TYPE, "multipart/form-data; boundary=", "a/b; boundary=\xff"]
)
def test_what_is_no_form_has_no_files_and_raises_nothing(kind: str) -> None:
    whole = multipart({"a": "1"}, {"f": ("x", b"1")})
    for body in (b"", b"-------x", whole[:40], b"\xff\0" * 9):
        assert sent_form(kind, body).files == {}


def test_a_file_that_was_chosen_is_the_input_and_goes_before_typed_text() -> None:
    squad = Squad.from_text(SQUAD, "looks.yaml")
    files = {"file.photo": SentFile("x.png", PNG), "file.notes": SentFile("n.txt", b"from a file")}
    values, errors = given_inputs(squad, {"in.notes": "typed"}, files)
    assert errors == {}
    assert (values["photo"].media_type, values["photo"].data) == ("image/png", PNG)
    assert isinstance(values["photo"], InputImage)
    assert isinstance(values["notes"], InputFile)
    assert (values["notes"].name, values["notes"].text) == ("n.txt", "from a file")
    _, errors = given_inputs(squad, {"in.copies": "two"}, {"file.photo": SentFile("x.png", b"no picture")})
    assert errors["copies"] == 'It takes a whole number; given was "two" (like 12)'
    assert errors["notes"] == "It is needed: choose a file, or write its text."
    assert "x.png" in errors["photo"]


async def test_a_run_is_begun_with_an_image_once_and_what_was_typed_is_kept(tmp_path: Path) -> None:
    squad = Squad.from_text(SQUAD, "looks.yaml")
    async with scripted("Seen.") as manager, served(manager, tmp_path, None, [squad]) as server:
        page = (await server.http.get("/new-run")).text
        assert 'enctype="multipart/form-data"' in page
        assert "own cap of $0.50 holds, too" in page
        form: dict[str, Any] = {"squad": "looks", "run_id": hidden(page, "run_id"), "in.copies": "two"}
        wrong = await post(server, form, photo=("x.png", PNG), notes=("n.txt", b"kept <b>text</b>"))
        assert wrong.status_code == 422
        assert "kept &lt;b&gt;text&lt;/b&gt;</textarea>" in wrong.text, "the text of a chosen file is kept"
        assert "choose x.png again" in wrong.text
        summary = wrong.text[wrong.text.index('role="alert"') : wrong.text.index('action="/new-run"')]
        assert 'href="#in-3">' in summary, "what is wrong is told first, with where it stands"
        form["in.copies"] = "3"
        for _ in range(2):
            begun = await post(server, form, photo=("x.png", PNG), notes=("n.txt", b"text"))
            assert (begun.status_code, begun.headers["location"]) == (303, f"/runs/{form['run_id']}"), begun.text
        await until_state(server, form["run_id"], "done")
        assert len((await server.http.get("/api/runs")).json()["runs"]) == 1
