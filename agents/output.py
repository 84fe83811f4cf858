"""An answer that must satisfy a JSON Schema: read, validated, and explained to the model where it doesn't."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from agents.errors import AnswerCut, OutputInvalid, SchemaUnusable, cut_off
from agents.json_text import Ambiguous, found_in
from providers.documents.json_schema import SchemaTooCostly, Validator, validator_of
from providers.errors import BadReply
from providers.messages import FinishReason, OutputSchema, Response, ToolCall

EXCERPT = 200
"""Characters of an answer that an error shows."""
MESSAGE = 300
"""Characters of a validator's message: some quote the whole instance."""


@dataclass(frozen=True, slots=True)
class Invalid:
    """Where and how an answer breaks its schema. `path` is a JSONPath."""

    path: str
    message: str
    excerpt: str
    cut: FinishReason | None = None
    """Why it ends before its end, where it does: then nothing is wrong with what is there."""
    tokens: int = 0

    def error(self) -> OutputInvalid:
        if self.cut is not None:
            return AnswerCut("the answer", self.cut.value, self.tokens, self.excerpt)
        return OutputInvalid(self.path, self.message, self.excerpt)


class WrongShape(BadReply):
    """An attempt's answer breaks its schema: another candidate may do better."""

    def __init__(self, invalid: Invalid) -> None:
        super().__init__(f"the answer breaks its schema at {invalid.path}: {invalid.message}")
        self.invalid = invalid


class Unfit(ValueError):
    """A JSON value is none of the type that is wanted: at `path` (a JSONPath), for the reason `why`."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path, self.why = path, why


@dataclass(frozen=True, slots=True)
class Shape:
    """A schema made ready: what the request carries, what validates the answer, and the schema's digest.

    `typed`, in place of a validator, makes a JSON value one of the program's types, or raises `Unfit`.
    """

    schema: OutputSchema
    validator: Validator | None
    digest: bytes
    typed: Callable[[Any], Any] | None = None

    def read(self, response: Response, edition: int = 2) -> Any | Invalid:
        """Return the answer as the JSON value it is, or how it breaks the schema. `edition`: see `RunContext`.

        Raise `SchemaUnusable`.
        """
        if edition > 1:
            return self._read(response)
        text = response.text
        if response.finish is FinishReason.LENGTH:
            return Invalid("$", "it was cut off at the length limit; answer more briefly", text[:EXCERPT])
        try:
            value = json.loads(_unfenced(text), parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            return Invalid("$", f"it is not JSON: {error}", text[:EXCERPT])
        return self._fitting(value, text)

    def _read(self, response: Response) -> Any | Invalid:
        text = response.text
        try:
            return self._fitting(json.loads(_unfenced(text), parse_constant=_refuse), text)
        except (ValueError, RecursionError) as error:
            if is_cut(response):
                # Of half a text no part is taken for the whole.
                why = cut_off("the answer", response.finish.value, answer_tokens(response))
                return Invalid("$", why, text[:EXCERPT], response.finish, answer_tokens(response))
            broken = error
        try:
            found = found_in(_behind_thoughts(text), lambda value: not isinstance(self._fitting(value, text), Invalid))
        except Ambiguous as error:
            return Invalid("$", str(error), text[:EXCERPT])
        except (ValueError, RecursionError):
            return Invalid("$", f"it is not JSON: {broken}", text[:EXCERPT])
        return self._fitting(found, text)

    def _fitting(self, value: Any, text: str) -> Any | Invalid:
        if self.typed is not None:
            try:
                return self.typed(value)
            except Unfit as unfit:
                return Invalid(unfit.path, unfit.why[:MESSAGE], text[:EXCERPT])
        assert self.validator is not None, "a shape is typed or has a validator"
        try:
            broken = self.validator.first_error(value)
        except SchemaTooCostly as error:
            raise SchemaUnusable(str(error), text[:EXCERPT]) from None
        return value if broken is None else Invalid(broken.json_path, broken.message[:MESSAGE], text[:EXCERPT])

    def accept(self, response: Response, edition: int = 2) -> None:
        """Raise `WrongShape` for a final answer that breaks the schema. It runs inside the attempt.

        Where the schema itself is at fault no other candidate could do better: that is said after the attempts.
        """
        if response.tool_calls:
            return
        with suppress(SchemaUnusable):
            if isinstance(read := self.read(response, edition), Invalid):
                raise WrongShape(read)


def shape_of(schema: OutputSchema | Mapping[str, Any]) -> Shape:
    """Return the schema made ready; equal schemas are made ready once. Raise `ValueError` where it is no schema."""
    wanted = schema if isinstance(schema, OutputSchema) else OutputSchema(schema)
    return _shape(wanted.name, json.dumps(wanted.schema))


@lru_cache(maxsize=128)
def _shape(name: str, text: str) -> Shape:
    from jsonschema.exceptions import SchemaError

    schema = json.loads(text)
    try:
        validator = validator_of(schema)
    except SchemaError as error:
        raise ValueError(f"output_schema is no JSON Schema: {error.json_path}: {error.message[:MESSAGE]}") from None
    except SchemaTooCostly as error:
        raise ValueError(f"output_schema: {error}") from None
    # A model writes properties in the order in which they stand: it is kept. Validation knows no order: the digest,
    # by which recorded answers are found, is the same for all.
    told = f"{name}\0{json.dumps(schema, sort_keys=True)}"
    return Shape(OutputSchema(schema, name), validator, hashlib.sha256(told.encode()).digest())


def is_cut(response: Response) -> bool:
    """Return whether the model did not come to the end of its text."""
    return response.finish in (FinishReason.LENGTH, FinishReason.CONTENT_FILTER)


def answer_tokens(response: Response) -> int:
    """Return the tokens of an answer, those that it thought with included; 0 where the provider did not tell."""
    return response.usage.output + response.usage.reasoning


def whole_calls(response: Response) -> tuple[ToolCall, ...]:
    """Return the tool calls of an answer without the last one, where that is cut off: then its arguments are not whole.

    Where the answer is cut off, one without any arguments may be a call whose arguments never came.
    """
    calls = response.tool_calls
    if not (calls and is_cut(response)):
        return calls
    try:
        has_arguments = bool(calls[-1].arguments.strip()) and calls[-1].parse() is not None
    except ValueError:
        has_arguments = False
    return calls if has_arguments else calls[:-1]


def _behind_thoughts(text: str) -> str:
    return text.rpartition("</think>")[2]


def _unfenced(text: str) -> str:
    """Return what stands in a fence, and behind a thought whose first tag never came."""
    text = text.strip()
    if text[:1] not in ("{", "[", '"'):
        text = _behind_thoughts(text).strip()
    if len(text) >= 6 and text.startswith("```") and text.endswith("```"):
        text = text[3:-3]
        return text[4:] if text[:4].lower() == "json" else text
    return text


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
