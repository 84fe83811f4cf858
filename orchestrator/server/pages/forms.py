"""What a form of a page sends: fields, and files that were chosen. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email.message import Message
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Mapping

MULTIPART = "multipart/form-data"
_NAME, _FILE = re.compile(r'[; ]name="([^"]*)"'), re.compile(r'[; ]filename="([^"]*)"')
_ESCAPED = {"%22": '"', "%0D": "\r", "%0A": "\n"}
"""What browsers write in the names of fields and files for letters that would end them."""


class SentFile(NamedTuple):
    """A file that a person chose: its name on their machine, without folders, and its bytes."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class SentForm:
    """The fields of a form by name, the last of equal names, and the files that were chosen."""

    fields: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    files: Mapping[str, SentFile] = field(default_factory=lambda: MappingProxyType({}))


def sent_form(content_type: str, body: bytes) -> SentForm:
    """Return what the body of a request has of a form. Of one that is broken off what came whole is read."""
    described = Message()
    described["content-type"] = content_type
    if described.get_content_type() != MULTIPART:
        return SentForm(dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)))
    fields: dict[str, str] = {}
    files: dict[str, SentFile] = {}
    boundary = f"\r\n--{described.get_boundary('')}".encode()
    for part in (b"\r\n" + body).split(boundary)[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        said = head.decode("utf-8", "replace")
        if (name := _NAME.search(said)) is None:
            continue
        if (file := _FILE.search(said)) is None:
            fields[_plain(name[1])] = content.decode("utf-8", "replace")
        elif file[1]:  # without a name none was chosen
            files[_plain(name[1])] = SentFile(re.split(r"[/\\]", _plain(file[1]))[-1], content)
    return SentForm(fields, files)


def _plain(name: str) -> str:
    return re.sub("%22|%0D|%0A", lambda found: _ESCAPED[found[0]], name)
