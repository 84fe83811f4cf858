"""What people do with runs in the dashboard, without scripts: begin, answer, cancel, talk; and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import httpx2
import pytest

from agents import tool
from orchestrator.events import GateAnswered
from orchestrator.server.pages.new_run import given_inputs
from orchestrator.squad.load import Squad
from orchestrator.testing import scripted, tool_call
from tests.orchestrator.server.served import SECRET, Served, served
from tests.orchestrator.server.test_api import until_state
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
XSS = "\"><img src=x onerror=alert(1)><script>alert(1)</script>'`{{7*7}}"
ODD = """
name: odd
inputs:
  topic: {type: string}
  size: {type: integer, default: 3}
  tone: {enum: [calm, loud], default: calm}
  more: {type: object, default: {x: 1}, schema: {type: object, properties: {x: {type: integer}}}}
agents: {ann: {persona: analyst}}
tasks:
  draft: {agent: ann, description: "Write about ${{ inputs.topic }}, ${{ inputs.size }}.", output_file: "notes é🚲.md"}
  gate: {needs: [draft], approval: {prompt: "Is ${{ inputs.topic }} good?", show: [draft]}}
  tell: {agent: ann, needs: [gate], description: Tell it.}
outputs: {text: "${{ tasks.tell.output }}"}
"""


def odd() -> Squad:
    return Squad.from_text(ODD, "odd.yaml")


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None, f"the page has no field {name}"
    return found[1]


async def post(server: Served, path: str, **form: Any) -> httpx2.Response:
    body = "&".join(f"{quote(name, safe='')}={quote(str(value), safe='')}" for name, value in form.items())
    headers = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin"}
    return await server.http.post(path, content=body, headers=headers)


def test_a_form_gives_what_is_typed_as_the_types_say_and_tells_all_mistakes_by_field() -> None:
    values, errors = given_inputs(odd(), {"in.topic": "tea\r\nand more", "in.size": "5", "in.more": "x: 2"})
    assert (values, errors) == ({"topic": "tea\nand more", "size": 5, "more": {"x": 2}}, {})
    _, errors = given_inputs(odd(), {"in.topic": " ", "in.size": "many", "in.tone": "shrill", "in.more": '{"x": "y"}'})
    assert set(errors) == {"topic", "size", "tone", "more"}
    assert "calm, loud" in errors["tone"]


async def test_a_run_is_begun_once_answered_in_place_and_shown_whole(tmp_path: Path) -> None:
    async with (
        scripted(f"{XSS} {SECRET}", f"Told {XSS}") as manager,
        served(manager, tmp_path, None, [odd()]) as server,
    ):
        form = (await server.http.get("/new-run")).text
        run = hidden(form, "run_id")
        wrong = await post(server, "/new-run", squad="odd", run_id=run, **{"in.topic": XSS, "in.size": "many"})
        assert wrong.status_code == 422
        assert 'aria-invalid="true"' in wrong.text
        assert "<script>alert" not in wrong.text
        assert ">\n&#34;&gt;&lt;img" in wrong.text, "what was typed is kept"
        given = {"squad": "odd", "run_id": run, "in.topic": XSS, "in.size": "5"}
        answers: list[httpx2.Response] = []

        async def send() -> None:
            answers.append(await post(server, "/new-run", **given))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            tasks.start_soon(send)
        assert [(one.status_code, one.headers["location"]) for one in answers] == [(303, f"/runs/{run}")] * 2
        other = await post(server, "/new-run", **{**given, "in.topic": "another"})
        assert other.status_code == 422
        assert "with other inputs" in other.text
        await until_state(server, run, "waiting")
        assert len((await server.http.get("/api/runs")).json()["runs"]) == 1
        shown = (await server.http.get(f"/runs/{run}?task=draft")).text
        assert SECRET not in shown
        assert "<img" not in shown
        assert "<script>alert" not in shown
        form = {"do": "answer", "question": "gate", "digest": hidden(shown, "digest"), "choice": "approve"}
        stale = await post(server, f"/runs/{run}", **{**form, "digest": "0" * 64, "comment": "kept words"})
        assert stale.status_code == 422
        assert "a different question" in stale.text
        assert f'data-live="/runs/{run}" data-draft' in stale.text, "it goes on being kept up to date"
        assert (await post(server, f"/runs/{run}", **form)).status_code == 303
        late = await post(server, f"/runs/{run}", **{**form, "choice": "reject"})
        assert "another came first, approve by dashboard" in late.text
        await until_state(server, run, "done")
        page = (await server.http.get(f"/runs/{run}?all=graph,talk,calls,timeline")).text
        assert "What it came to" in page
        for part in ("Task graph", "Timeline", "Artifacts", "Cost"):
            assert part in page, part
        link = re.search(r'href="(/runs/[^"]+/artifacts/[^"]+)"', page)
        assert link is not None
        file = await server.http.get(link[1])
        assert file.headers["content-disposition"].startswith("attachment;")
        assert (file.headers["x-content-type-options"], file.headers["content-type"]) == (
            "nosniff",
            "application/octet-stream",
        )
        for name in ("../odd.yaml", "..%2f..%2fetc/passwd", "/etc/passwd", "nothing.md"):
            assert (await server.http.get(f"/runs/{run}/artifacts/{name}")).status_code in (404, 307), name
        events = (await server.http.get(f"/runs/{run}/events")).text
        assert "run.finished" in events
        assert "<script>alert" not in events
        assert SECRET not in events


@pytest.mark.long
async def test_a_viewer_looks_and_changes_nothing_and_cancelled_runs_say_so(tmp_path: Path) -> None:
    async with scripted("A.") as manager, served(manager, tmp_path, None, [odd()]) as server:
        begun = await server.http.post("/api/runs", json={"squad": "odd", "inputs": {"topic": "tea"}})
        run = begun.json()["run_id"]
        await until_state(server, run, "waiting")
        viewer = {"authorization": "", "cookie": f"{server.access.cookie_name}={server.access.session('viewer')}"}
        for path in (f"/runs/{run}", "/approvals", "/new-run", "/chat", "/"):
            page = await server.http.get(path, headers=viewer)
            assert page.status_code == 200
            main = page.text.partition("<main")[2]
            assert 'method="post"' not in main, path
            sent = {**viewer, "content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin"}
            if path != "/":
                assert (await server.http.post(path, content="do=cancel", headers=sent)).status_code == 403, path
        assert (await post(server, f"/runs/{run}", do="cancel")).status_code == 303
        page = (await server.http.get(f"/runs/{run}")).text
        assert "cancelled" in page
        assert "Resume here" not in page
        assert "It awaits you" not in page
        told = await post(server, f"/runs/{run}", do="resume")
        assert told.status_code == 422
        assert "cancel" in told.text
        assert (await post(server, f"/runs/{run}", do="nothing")).status_code == 422
        listed = (await server.http.get("/runs?state=cancelled&squad=odd&q=ODD")).text
        assert run in listed
        assert run not in (await server.http.get("/runs?state=done")).text
        for odd_query in ("?page=9999999999&sort=no&desc=2&state=no", f"?q={quote(XSS)}&squad={quote(XSS)}"):
            answer = await server.http.get(f"/runs{odd_query}")
            assert answer.status_code == 200
            assert "<script>alert" not in answer.text


@pytest.mark.long
async def test_a_chat_is_begun_gone_on_with_and_survives_a_failed_answer(tmp_path: Path) -> None:
    async with scripted(f"Hello {XSS}", RuntimeError("odd"), "Again.") as manager, served(manager, tmp_path) as server:
        page = (await server.http.get("/chat")).text
        given = {"with": "persona/analyst", "chat_id": hidden(page, "chat_id"), "text": "Hi <b>there</b>"}
        begun = await post(server, "/chat", **given)
        assert begun.status_code == 303, begun.text
        again = await post(server, "/chat", **given)
        assert again.headers["location"] == begun.headers["location"]
        path = begun.headers["location"]

        async def until(words: str) -> str:
            with anyio.fail_after(PATIENCE_S):
                while words not in (text := (await server.http.get(path)).text):  # noqa: ASYNC110  # as a client waits
                    await anyio.sleep(0.02)
            return text

        shown = await until("Hello &#34;")
        assert "<script>alert" not in shown
        assert shown.count("Hi &lt;b&gt;there") == 1
        assert (await post(server, path, do="say", text=" ")).status_code == 422
        with anyio.fail_after(PATIENCE_S):
            while (await post(server, path, do="say", text="And?")).status_code != 303:  # noqa: ASYNC110  # it closes
                await anyio.sleep(0.02)
        assert (await until("odd")).count('class="warn"') == 1, "a failed answer is told once"
        with anyio.fail_after(PATIENCE_S):
            while (await post(server, path, do="say", text="Once more")).status_code != 303:  # noqa: ASYNC110
                await anyio.sleep(0.02)
        await until("Again.")
        with anyio.fail_after(PATIENCE_S):
            while "open chat" not in (await server.http.get("/runs")).text:  # noqa: ASYNC110
                await anyio.sleep(0.02)
        assert (await server.http.get("/chat")).text.count(path) == 1
        run = path.removeprefix("/chat/")
        assert "Go on with this chat" in (await server.http.get(f"/runs/{run}")).text


@pytest.mark.long
async def test_what_a_tool_asks_in_a_chat_and_in_a_run_is_approved_with_other_arguments(tmp_path: Path) -> None:
    noted: list[str] = []

    @tool(approval="ask")
    def note(text: str) -> str:
        """Note a text."""
        noted.append(text)
        return f"noted {text}"

    given = Squad.from_text(
        "name: notes\nagents: {ann: {persona: analyst, tools: [note]}}\n"
        "tasks: {keep: {agent: ann, description: Keep it.}}\n",
        "notes.yaml",
        tools=[note],
    )
    script = (tool_call("note", text="<b>milk</b>"), "Kept.", tool_call("note", text="tea"), "Chatted.")
    async with scripted(*script) as manager, served(manager, tmp_path, None, [given]) as server:

        async def asked(path: str) -> str:
            with anyio.fail_after(PATIENCE_S):
                while 'name="digest"' not in (page := (await server.http.get(path)).text):  # noqa: ASYNC110
                    await anyio.sleep(0.02)
            return page

        async def approve(path: str, edited: str) -> httpx2.Response:
            page = await asked(path)
            form = {"do": "answer", "run": path.rpartition("/")[2], "choice": "approve", "edited": edited}
            return await post(server, path, question=hidden(page, "question"), digest=hidden(page, "digest"), **form)

        run = (await server.http.post("/api/runs", json={"squad": "notes"})).json()["run_id"]
        assert "&lt;b&gt;milk" in await asked(f"/runs/{run}")
        broken = await approve(f"/runs/{run}", '{"text": ')
        assert (broken.status_code, "are not JSON" in broken.text) == (422, True)
        assert "{&#34;text&#34;: </textarea>" in broken.text, "what was typed is kept"
        assert (await approve(f"/runs/{run}", '{"text": "oats"}')).status_code == 303
        await until_state(server, run, "done")
        page = (await server.http.get(f"/runs/{run}")).text
        assert "noted oats" in page
        chat = hidden((await server.http.get("/chat")).text, "chat_id")
        begun = await post(server, "/chat", **{"with": "squad/notes/ann", "chat_id": chat, "text": "Note tea"})
        assert begun.status_code == 303
        await asked("/approvals")
        same = '{\r\n  "text": "tea"\r\n}'
        assert (await approve(f"/chat/{chat}", same)).status_code == 303
        with anyio.fail_after(PATIENCE_S):
            while "Chatted." not in (await server.http.get(f"/chat/{chat}")).text:  # noqa: ASYNC110
                await anyio.sleep(0.02)
        events = [event.data for event in await server.state.journal.events(chat)]
        assert [one.edited for one in events if isinstance(one, GateAnswered)] == [None]
    assert noted == ["oats", "tea"]
