"""What a run is given that is more than a word, as its record keeps it. Who reads such values is `given.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Self

from providers.messages import Image


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class InputFile(str):  # noqa: SLOT000  # the dataclass defines them
    """The text of a file, which expressions read as that text; `inputs.x.name` is the file's name."""

    name: str
    text: str
    template_fields: ClassVar[tuple[str, ...]] = ("name", "text")

    def __new__(cls, name: str, text: str) -> Self:  # noqa: ARG004  # the dataclass keeps it
        return str.__new__(cls, text)

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]  # `__new__` takes them
        return self.name, self.text


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class InputImage(str):  # noqa: SLOT000  # the dataclass defines them
    """An image. As a text it is a mark with its name; a task whose words hold the mark is handed the image itself."""

    name: str
    media_type: str
    data: bytes = field(repr=False)
    template_fields: ClassVar[tuple[str, ...]] = ("name", "media_type")

    def __new__(cls, name: str, media_type: str, data: bytes) -> Self:  # noqa: ARG004  # the dataclass keeps them
        return str.__new__(cls, f"[image: {name}]")

    def __getnewargs__(self) -> tuple[str, str, bytes]:  # type: ignore[override]  # as above
        return self.name, self.media_type, self.data

    @property
    def part(self) -> Image:
        """The image as a model is sent it."""
        return Image(self.media_type, self.data)


@dataclass(frozen=True, slots=True)
class RawInput:
    """Bytes that were read, and the name of where."""

    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class UnreadInput:
    """Why an input could not be read, and what to do about it."""

    why: str
    hint: str = ""
