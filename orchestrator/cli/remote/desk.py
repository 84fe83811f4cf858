"""Runs at a server: a `Desk` over its API."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.cli.app import Settings
from orchestrator.cli.desk import GivenToQuestion
from orchestrator.cli.exits import NothingSelected
from orchestrator.cli.journals import LATEST, START_ONE, meant_by
from orchestrator.cli.remote.api import ServerApi, checked, server_api
from orchestrator.cli.remote.fetched import put_artifact, put_export, refuse_existing
from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.next_step import Question, answers_of, command_line
from orchestrator.cli.ui.reasons import Document
from orchestrator.events import GateOpened
from orchestrator.journal.protocols import RunLine
from orchestrator.run.approvals import Questions
from orchestrator.run.deltas import AnswerEnded, Position, RunDelta, delta_of
from orchestrator.run.history import RunHistory
from orchestrator.run.recorded import RecordedRun
from orchestrator.run.tool_calls import ShownCall
from providers.documents.unicode import printable

MOST_LISTED = 500


@dataclass(frozen=True, slots=True)
class RemoteDesk:
    """A `Desk` over a server. `shown` is what it says of itself."""

    api: ServerApi
    settings: Settings
    console: Console
    shown: Mapping[str, Any]

    @property
    def place(self) -> str:
        return self.api.url

    def command(self, *words: str) -> str:
        return command_line(self.settings, *words, server=self.api.url)

    def goes_on_by(self, run: str, questions: Sequence[Question], *, is_chat: bool) -> str:  # noqa: ARG002  # a Desk's
        """An answer takes up the run at the server; without a question it is resumed."""
        answers = answers_of(self.command, run, questions)
        last = self.command("runs", "watch", run) if answers else self.command("runs", "resume", run)
        return " && ".join([*answers, last])

    async def run_named(self, word: str) -> str:
        lines = (await self.api.get("runs", limit=1 if word == LATEST else MOST_LISTED))["runs"]
        ids = [line["run_id"] for line in lines]
        if word not in ids and len(ids) == MOST_LISTED:  # it may be an older one
            try:
                return str((await self.api.get("runs", word))["run_id"])
            except NothingSelected:
                pass
        if not ids:
            raise NothingSelected("the server has no runs", START_ONE)
        return meant_by(word, ids, self.command("runs", "ls"))

    async def latest(self, limit: int, states: Sequence[str], squad: str | None) -> Sequence[tuple[RunLine, str]]:
        asked: dict[str, Any] = {"limit": min(limit, MOST_LISTED), "status": list(states), "squad": squad}
        return [
            (
                RunLine(one["run_id"], one["squad"], one["created_at"], one["state"], _micro(one["cost_usd"])),
                one["state"],
            )
            for one in (await self.api.get("runs", **asked))["runs"]
        ]

    async def record(self, run: str) -> RecordedRun:
        told = await self.api.get("runs", run, "record")
        questions = [
            GateOpened(one["question"], one["prompt"], tuple(one["choices"]), {}, 1) for one in told["questions"]
        ]
        return RecordedRun(
            run=told["run_id"],
            squad=told["squad"],
            file=told["file"],
            is_chat=told["is_chat"],
            state=told["state"],
            events=told["events"],
            in_flight=told["in_flight"],
            cut_short=round(told["cut_short_usd"] * 1e6),
            questions=questions,
            calls=[ShownCall(**call) for call in told["calls"]],
            priority=told.get("priority", 0),
        )

    async def follow(self, run: str, after: int = 0) -> AsyncGenerator[tuple[int, Document], None]:
        async with aclosing(self.api.stream("runs", run, "events", after=after)) as events:
            async for event in events:
                yield event

    async def answers(self, run: str, after: int) -> AsyncGenerator[tuple[int, Sequence[RunDelta]], None]:
        said: dict[Any, list[RunDelta]] = {}
        async with aclosing(self.spoken(run, str(Position(after)))) as deltas:
            async for delta in deltas:
                if delta.anew:
                    said.pop(delta.answer, None)
                said.setdefault(delta.answer, []).append(delta)
                if isinstance(delta.delta, AnswerEnded):
                    whole = said.pop(delta.answer)
                    if delta.delta.ok:
                        after = Position.of(delta.position).ended if delta.recorded else after + 1
                        yield after, whole

    async def spoken(self, run: str, after: str) -> AsyncGenerator[RunDelta, None]:
        """Yield what agents say after a position: as they say it, where the run was begun to be listened to."""
        async with aclosing(self.api.named("runs", run, "answers", after=after)) as events:
            async for event in events:
                yield delta_of(event.data)

    async def state(self, run: str) -> str:
        return str((await self.api.get("runs", run))["state"])

    async def is_last(self, run: str, number: int) -> bool:
        return int((await self.api.get("runs", run))["last_event"]) <= number

    async def cancel(self, run: str) -> bool:
        await self.api.post("runs", run, "cancel")
        return await self.state(run) == "running"

    async def resume(self, run: str, **how: Any) -> None:
        """Have the server go on with a run. `how`: fields of the request."""
        await self.api.post("runs", run, "resume", body=how)

    async def fetch(self, run: str, names: Collection[str], out: Path, *, overwrite: bool) -> None:
        """Write files that a run made below a folder. Raise `CannotWrite` for one that cannot be, or is there already
        and is not to be replaced."""
        for name in names:
            data = await self.api.file("runs", run, "artifacts", *name.split("/"))
            put_artifact(out, name, data, overwrite=overwrite)
        if names:
            self.console.say(printable(f"its files are in {out}"))

    async def export(self, run: str, file: Path, *, overwrite: bool) -> int:
        """Write a run and everything that it used to a file, and return its size in bytes. Raise `CannotWrite`."""
        if not overwrite:
            refuse_existing(file)
        data = await self.api.file("runs", run, "export")
        put_export(file, data)
        return len(data)

    async def begin(self, squad: str, inputs: Mapping[str, Any], **how: Any) -> str:
        """Have the server begin a run of a squad that it offers, and return its id. `how`: fields of the request."""
        return str((await self.api.post("runs", body={"squad": squad, "inputs": dict(inputs), **how}))["run_id"])

    async def fork(self, run: str, **how: Any) -> Mapping[str, Any]:
        """Have the server fork a run, and return what it takes over. `how`: fields of the request."""
        shown: Mapping[str, Any] = await self.api.post("runs", run, "fork", body=how)
        return shown

    async def questions(self) -> Sequence[tuple[str, GateOpened]]:
        return [(one["run_id"], _gate(one)) for one in (await self.api.get("approvals"))["approvals"]]

    async def questions_of(self, run: str) -> Sequence[GateOpened]:
        """Return the open questions of one run."""
        return [gate for one, gate in await self.questions() if one == run]

    async def question(self, run: str, name: str | None) -> GateOpened:
        return Questions(run, RunHistory(), await self.questions_of(run), {}).named(name)

    async def answer(self, run: str, given: GivenToQuestion) -> tuple[str, str]:
        name = given.question and await self._whole_name(run, given.question)
        said: dict[str, Any] = {"choice": given.choice, "comment": given.comment, "question": name, "by": "cli"}
        said |= {"edited": given.edited} if given.edited is not None else {}
        told = await self.api.post("approvals", run, body={**said, "for_run": given.for_run})
        goes_on = "the run is at work and continues with this answer"
        return told["question"], goes_on if told["goes_on"] else f"the run does not go on: {told['note']}"

    async def _whole_name(self, run: str, name: str) -> str:
        """Return a question's name for the beginning of it; what is no open question's goes to the server as it is."""
        begun = [gate.name for gate in await self.questions_of(run) if gate.name.startswith(name)]
        return begun[0] if len(begun) == 1 else name


def _gate(told: Mapping[str, Any]) -> GateOpened:
    """Return a question as the API tells it."""
    return GateOpened(
        told["question"],
        told["prompt"],
        tuple(told["choices"]),
        told["shown"],
        told["attempt"],
        editable=told["editable"],
        schema=told["json_schema"],
        grant="the server's" if told["for_run"] else "",
    )


def _micro(usd: float | None) -> int | None:
    return None if usd is None else round(usd * 1e6)


@asynccontextmanager
async def remote_desk(settings: Settings, server: str) -> AsyncIterator[RemoteDesk]:
    """Open a server. Raise `ServerAway` and `NotLetIn` before anything else is asked."""
    async with server_api(settings, server) as api:
        console = Console(settings)
        yield RemoteDesk(api, settings, console, await checked(api, console.warn))
