"""What a run is given that is more than a word: the text of a file, an image, what stands in JSON or YAML. Pure.

The values are in `given_values.py`, who reads the files is `given_files.py`. What cannot be what its input is declared
as becomes an `UnreadInput`, which `inputs.py` reports, so that all mistakes are told at once.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from orchestrator.squad.given_values import InputFile, InputImage, RawInput, UnreadInput
from providers.documents.problems import SpecError
from providers.documents.tables import csv_rows
from providers.documents.unicode import clean
from providers.documents.yaml import read_tree
from providers.messages import Image

InputType = Literal["string", "integer", "number", "boolean", "list", "object", "file", "image"]

FILE_BYTES = 16_000_000
"""Of a text: as many as `limits.max_chars` may allow a rendered one."""
IMAGE_BYTES = 20_000_000
"""No provider takes a larger one in a request; most take less."""


def image_type(data: bytes) -> str | None:
    """Return the media type that the first bytes tell, of the four that every provider with images takes."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


_SIGNATURES: Mapping[bytes, tuple[str, str]] = {
    b"%PDF-": ("a PDF", "make a text of it first: pdftotext FILE.pdf FILE.txt"),
    b"PK\x03\x04": ("a ZIP archive, as Office documents are, too", "save it as text, Markdown or CSV"),
    b"\x1f\x8b": ("compressed", "unpack it first: gunzip"),
    b"\xff\xfe": ("UTF-16 text", "save it as UTF-8"),
    b"\xfe\xff": ("UTF-16 text", "save it as UTF-8"),
}
"""How files begin that are no text, what they are, and what to do about it."""
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----")


def text_of(raw: RawInput) -> str | UnreadInput:
    """Return the text of a file: UTF-8, with or without a mark. Line ends stay as they are."""
    data = raw.data
    if kind := image_type(data):
        return UnreadInput(f"'{raw.name}' is an image ({kind}), not text", "declare the input as type: image")
    for begin, (what, hint) in _SIGNATURES.items():
        if data.startswith(begin):
            return UnreadInput(f"'{raw.name}' is {what}, not UTF-8 text", hint)
    if _PRIVATE_KEY.search(data[:100_000]):
        return secret(raw.name)
    if b"\0" in data:
        return UnreadInput(f"'{raw.name}' holds NUL bytes, so it is not text")
    try:
        return clean(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        data = error.object  # without the mark
        of_line = data.rfind(b"\n", 0, error.start) + 1
        line, column = data.count(b"\n", 0, of_line) + 1, len(data[of_line : error.start].decode()) + 1
        found = f"line {line:,}, column {column:,}: byte 0x{data[error.start]:02x}"
        return UnreadInput(f"'{raw.name}' is not UTF-8 text ({found})", _as_utf8(raw.name))


def _as_utf8(name: str) -> str:
    """Return how a text becomes UTF-8 in the program that wrote it. Its encoding here is not known: none is guessed."""
    if _TABLE_NAME.search(name):
        return "save it as 'CSV UTF-8': in Excel, Save as, type 'CSV UTF-8 (Comma delimited)'"
    return "save it as UTF-8: editors ask for the encoding in 'Save as'"


def secret(name: str) -> UnreadInput:
    """Return that a file holds keys."""
    return UnreadInput(f"'{name}' holds keys, which no model may read", "copy what it may read into another file")


def input_value(name: str, kind: InputType, given: Any) -> Any:
    """Return what was given for the input `name` as its type has it; what is of another type stays as it is.

    Bytes and `RawInput` are read as the type says: text, JSON or YAML, an image. An `UnreadInput` says why they
    cannot be.
    """
    match given:
        case bytes() | bytearray():
            return _of_raw(kind, RawInput(name, bytes(given)))
        case RawInput():
            return _of_raw(kind, given)
        case Image(media_type, data) if kind == "image":
            return InputImage(name, media_type, data)
        case InputFile() if kind != "file":
            return str(given.text)
        case InputFile() | InputImage() | UnreadInput():
            return given
        case str() if kind == "file":
            return InputFile(name, clean(given))
        case str() if kind == "image":
            return _of_data_url(name, given)
    return given


def _of_raw(kind: InputType, raw: RawInput) -> Any:
    if kind == "image":
        return _image(raw)
    text = text_of(raw)
    if isinstance(text, UnreadInput):
        return text
    match kind:
        case "file":
            return InputFile(clean(raw.name), text)
        case "list" | "object":
            return structured(kind, text, raw.name)
        case "string":
            return text.removesuffix("\n").removesuffix("\r")  # as a shell does with what it reads in `$(...)`
    return text.strip()


def _image(raw: RawInput) -> InputImage | UnreadInput:
    kind = image_type(raw.data)
    if kind is not None:
        return InputImage(clean(raw.name), kind, raw.data)
    what = "is empty" if not raw.data else "is not PNG, JPEG, GIF or WebP, by its first bytes"
    return UnreadInput(f"'{raw.name}' {what}", "" if not raw.data else "save it as one of them")


_DATA_URL = re.compile(r"data:image/\w+;base64,", re.ASCII)


def _of_data_url(name: str, text: str) -> InputImage | UnreadInput:
    found = _DATA_URL.match(text)
    if found is None:
        hint = f"-i {name}=@photo.png on the command line, a Path or bytes in Python, or a data:image/png;base64, URL"
        return UnreadInput("a text is not an image", hint)
    try:
        data = base64.b64decode(text[found.end() :], validate=True)
    except (binascii.Error, ValueError):
        return UnreadInput("its data: URL is not base64")
    return _image(RawInput(name, data))


def structured(kind: Literal["list", "object"], text: str, file: str | None = None) -> Any:
    """Return the list or object that a text is as JSON or YAML; in a `file` a list may be CSV, JSON Lines or lines.

    What is neither is an `UnreadInput` where it stands in a file, else the text itself.
    """
    if kind == "list" and file is not None and _TABLE_NAME.search(file):
        return _rows(text, file)
    value, fault = _json_or_yaml(text)
    if isinstance(value, list if kind == "list" else dict):
        return value
    if file is None:
        return text
    if kind == "list":
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if found := _json_lines(lines):
            return found
        if not (isinstance(value, Mapping) or _DATA_NAME.search(file) or text.lstrip().startswith(("[", "{"))):
            return lines
    if fault:
        return UnreadInput(f"'{file}' {fault}", f"an input of this type is a JSON or YAML {kind}")
    held = "a list" if isinstance(value, list) else "a mapping" if isinstance(value, Mapping) else "a single value"
    return UnreadInput(f"'{file}' holds {held}, not {'a list' if kind == 'list' else 'an object'}")


_TABLE_NAME = re.compile(r"\.(csv|tsv)$", re.IGNORECASE)
_DATA_NAME = re.compile(r"\.(json|ya?ml)$", re.IGNORECASE)


def _rows(text: str, file: str) -> list[dict[str, str]] | UnreadInput:
    try:
        return csv_rows(text, "\t" if file.lower().endswith(".tsv") else "")
    except ValueError as error:
        return UnreadInput(
            f"'{file}': {error}", "of a .csv or .tsv file each row is an element, by the first line's names"
        )


def _json_or_yaml(text: str) -> tuple[Any, str]:
    """Return the value, and what is wrong where there is none."""
    try:
        return json.loads(text, parse_constant=_refuse), ""
    except (ValueError, RecursionError):
        pass
    try:
        return read_tree(text, "the text").plain(), ""
    except SpecError as error:
        first = error.problems[0]
        return None, f"is neither JSON nor YAML ({first.line}:{first.column}: {first.message})"


def _json_lines(lines: list[str]) -> list[Any]:
    """Return the value of each line, nothing where not every one is an object or a list."""
    try:
        made = [json.loads(line, parse_constant=_refuse) for line in lines if line.strip()]
    except (ValueError, RecursionError):
        return []
    return made if all(isinstance(one, dict | list) for one in made) else []


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
