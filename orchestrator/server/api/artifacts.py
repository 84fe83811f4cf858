"""The files that a run made, each as an attachment: what a run says of a file is what is sent, or nothing is."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import anyio.to_thread
from fastapi import APIRouter, Depends
from starlette.responses import Response

from agents.confined import read_inside
from agents.errors import AgentError
from orchestrator.manifest import names_our_folder
from orchestrator.server.api.errors import RequestRefused
from orchestrator.server.state import ServerState

HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "cache-control": "no-store",
}

FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}


def artifact_routes(state: ServerState, viewer: Any, operator: Any) -> APIRouter:  # noqa: ARG001  # as all of these
    """Return the routes; `viewer` lets a request through, or refuses it."""
    router = APIRouter(tags=["runs"])

    @router.get("/runs/{run}/artifacts/{name:path}", dependencies=[Depends(viewer)], include_in_schema=False)
    @router.get(
        "/api/runs/{run}/artifacts/{name:path}",
        dependencies=[Depends(viewer)],
        response_class=Response,
        responses=FILE,
    )
    async def send_artifact(run: str, name: str) -> Response:
        """Send a file of a run: as it was recorded, else as it stands in the run's folder, where it is that still."""
        watched = await state.views.of(state.journal, run)
        if (file := watched.view.files.get(name)) is None:
            raise RequestRefused(404, f"the run {run} made no file of that name", code="no_artifact")
        if file.text is not None:
            return attached(name, file.text.encode("utf-8", "surrogatepass"))
        folder = watched.manifest.options.get("out")
        if folder is None or not names_our_folder(state.journal, run, watched.manifest):
            raise RequestRefused(404, f"the folder of the run {run} is not here", code="no_artifact")
        try:
            data = await anyio.to_thread.run_sync(read_inside, Path(folder), name, file.size)
        except (OSError, ValueError, AgentError) as error:
            raise RequestRefused(
                404, f"{name} is not in the run's folder any more: {error}", code="no_artifact"
            ) from None
        if hashlib.sha256(data).hexdigest() != file.sha256:
            why = f"{name} was changed since the run wrote it: it is not sent as the run's"
            raise RequestRefused(409, why, f"look at it in {folder}", code="artifact_changed")
        return attached(name, data)

    return router


def attached(name: str, data: bytes) -> Response:
    """Return a file as an attachment, which no browser shows."""
    last = PurePosixPath(name).name or "artifact"
    plain = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "_" for letter in last)
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(last, safe='')}"
    return Response(data, 200, {**HEADERS, "content-disposition": disposition}, "application/octet-stream")
