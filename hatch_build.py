"""The long description for package indexes: README.md without what only works beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:)([^)\s]+)\)")
"""An image or a link to a place in the repository: `![text](target)`, `[text](target)`."""


def long_description(readme: str, source: str | None) -> str:
    """Return README for a page that has no files beside it.

    With the address of the source's pages (`https://host/owner/name/blob/main`), links lead there; without one a link
    is its text alone. Images of the repository are left out in both cases: their text is no caption.
    """

    def outside(found: re.Match[str]) -> str:
        image, text, target = found.groups()
        if image:
            return ""
        return f"[{text}]({source}/{target})" if source and not target.startswith("#") else text

    return LINK.sub(outside, readme)


class LongDescription(MetadataHookInterface):
    """Sets `readme` of the project's metadata."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = (Path(self.root) / "README.md").read_text("utf-8")
        source = metadata.get("urls", {}).get("Source")
        metadata["readme"] = {"content-type": "text/markdown", "text": long_description(text, source)}
