"""Where the catalog's text becomes rows: the shapes of `providers:`, and what is wrong with one that does not fit."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from providers.catalog.model import Limit, Metric, Model, Price, Problem, Provider, of_all_accounts, url_problem
from providers.documents.problems import SECRETS
from providers.documents.quantities import parse_duration
from providers.messages import Ability
from providers.windows import CALENDAR_SECONDS, knows_timezone

Dialect = Literal["openai-chat", "anthropic-messages", "gemini", "scripted"]
Duration = Annotated[float, BeforeValidator(parse_duration), Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^\S+$")]
Day = Annotated[str, BeforeValidator(str), Field(pattern=r"^\d{4}-\d\d-\d\d$")]
"""An ISO date; YAML reads one as a date, which is text again here."""

IN_ENVIRONMENT = "a key stands in the environment or in .env, never in a file; api_key_env names its variable"
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LIKE_A_KEY = re.compile(r"(?=.*[a-z])(?=.*[0-9]).{20,}")
_COPIED = {"dialect", "base_url", "hosted", "any_model", "plan", "source", "as_of"}
_PROVIDER_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


class Shape(BaseModel):
    """What every mapping in our files obeys: no unknown keys, no guessing between types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    def given(self) -> dict[str, Any]:
        """Return the fields that were written, by name."""
        return {name: getattr(self, name) for name in self.model_fields_set}


S = TypeVar("S", bound=Shape)


class QuirksShape(Shape):
    """`Quirks`, each field optional."""

    max_tokens_field: Name = "max_completion_tokens"
    seed_field: Name = "seed"
    stream_options: bool = True
    system_role: Literal["system", "developer"] = "system"
    tool_ids: Literal["opaque", "alnum9"] = "opaque"
    json_mode: Literal["schema", "object", "prompt"] = "schema"
    sampling: bool = True
    default_max_tokens: Annotated[int, Field(gt=0)] | None = None
    extra_headers: dict[str, str] = Field(default_factory=dict)
    tool_call_extra: dict[str, Any] = Field(default_factory=dict)
    null_content: bool = True
    reasoning_field: Name | None = None
    effort_field: Name | None = "reasoning_effort"
    strict_turns: bool = False
    parallel_calls: bool = True
    cache_from: Annotated[int, Field(ge=0)] | None = None
    stand_in_signature: Name | None = None
    request_window: Duration | None = None


class PriceShape(Shape):
    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cache_read: float | None = Field(None, ge=0)
    cache_write: float | None = Field(None, ge=0)
    source: str = ""
    as_of: Day = ""


class LimitShape(Shape):
    """An `amount` in a `window` or on a `calendar`, or a `spacing` between two."""

    metric: Metric
    amount: float | None = Field(None, gt=0)
    window: Duration | None = None
    fixed: bool = False
    calendar: Literal["day", "month"] | None = None
    timezone: str = "UTC"
    spacing: Duration | None = None
    burst: int = Field(1, ge=1)
    model: str | None = None
    pool: list[Name] = Field(default_factory=list)
    counts: Literal["sent", "answered"] | None = None
    reserves: Literal["whole", "input"] = "whole"
    plan: str = ""
    source: str = ""
    as_of: Day = ""


class ModelShape(Shape):
    context: int | None = Field(None, gt=0)
    max_output: int | None = Field(None, gt=0)
    price: PriceShape | None = None
    tools: bool = False
    json_schema: bool = False
    vision: bool = False
    reasoning: bool = False
    prefill: bool = False
    source: str = ""


def _variables(value: Any) -> Any:
    """Return the names as a list. None of them is repeated in a message: it may be a key that was put there."""
    if value is None:
        return None
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and _ENV_NAME.fullmatch(name) for name in names):
        raise ValueError("is no name of a variable, and no list of such names: write GROQ_API_KEY")
    if any(map(_LIKE_A_KEY.fullmatch, names)):
        raise ValueError(f"looks like a key: {IN_ENVIRONMENT}")
    if len(set(names)) < len(names):
        raise ValueError("names a variable twice")
    return names


class ProviderShape(Shape):
    dialect: Dialect | None = None
    base_url: str | None = None
    api_key_env: Annotated[list[str] | None, BeforeValidator(_variables)] = None
    """Variables, one for each account; None: no key is needed."""
    hosted: bool = True
    opt_in: bool = False
    any_model: bool = False
    quirks: QuirksShape = QuirksShape()
    plan: str = ""
    limits: list[LimitShape] = Field(default_factory=list)
    models: dict[Name, ModelShape | None] = Field(default_factory=dict)
    source: str = ""
    as_of: Day = ""


def packaged(name: str) -> Any:
    """Return what a packaged YAML file says; `name` is a path inside `providers/`."""
    # libyaml, where it is built in, reads the same ten times faster.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = (resources.files("providers") / name).read_text("utf-8")
    return yaml.load(text, loader)  # noqa: S506  # both loaders are safe ones


def lay_over(base: Mapping[str, Provider], rows: Mapping[str, Any]) -> tuple[dict[str, Provider], Sequence[Problem]]:
    """Return `base` with the sound ones of `rows` laid over it, and what is wrong with the others."""
    providers, problems = dict(base), list[Problem]()
    for name, row in rows.items():
        path = ("providers", name)
        if not _PROVIDER_NAME.fullmatch(str(name)):
            problems.append((path, "a provider's name is made of a-z, 0-9, - and _"))
            continue
        shape, wrong = read_shape(ProviderShape, {} if row is None else row, path)
        if shape is not None:
            wrong += [((*path, *where), text) for where, text in _unsound(shape, base.get(name))]
        if shape is not None and not wrong:
            providers[name] = _merged(name, shape, base.get(name))
            wrong += [((*path, *where), text) for where, text in _unlike(providers[name])]
        problems += wrong
    return providers, problems


def read_shape(shape: type[S], data: Any, path: tuple[str | int, ...]) -> tuple[S | None, list[Problem]]:
    """Return `data` in its shape, or None with every problem."""
    try:
        return shape.model_validate(data), []
    except ValidationError as error:
        return None, [((*path, *_where(each["loc"])), _message(each)) for each in error.errors(include_url=False)]


def _where(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    return tuple(part for part in loc if part != "[key]")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `: did you mean 'x'?` for the known word most like this one, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f": did you mean {close[0]!r}?" if close else ""


def _message(error: Any) -> str:
    key = str(error["loc"][-1]) if error["loc"] else ""
    match error["type"]:
        case "extra_forbidden" if key.lower() in SECRETS:
            return IN_ENVIRONMENT
        case "extra_forbidden":
            return f"unknown key {key!r}{nearest(key, _keys())}"
        case "value_error":
            return str(error["ctx"]["error"])
        case "too_short":
            return "is empty"
        case "missing":
            return "is missing"
        case "string_pattern_mismatch":
            return f"{error['input']!r} does not look like what stands here"
        case _:
            return str(error["msg"][:1].lower() + error["msg"][1:])


def _keys() -> set[str]:
    return {key for each in Shape.__subclasses__() for key in each.model_fields}


def _unsound(row: ProviderShape, base: Provider | None) -> Iterable[Problem]:
    """Yield what is wrong with a row whose types are right."""
    if base is None:
        if row.dialect is None:
            yield ("dialect",), "is missing: a new provider needs one"
        if row.base_url is None and row.dialect != "scripted":
            yield ("base_url",), "is missing: a new provider needs one"
        if not row.models:
            yield ("models",), "is empty: a provider serves at least one model"
    if row.base_url and (problem := url_problem(row.base_url)):
        yield ("base_url",), problem
    for at, limit in enumerate(row.limits):
        yield from ((("limits", at), text) for text in _limit_problems(limit))
    known = base.models if base else {}
    for name, model in row.models.items():
        for key in ("context", "max_output"):
            if name not in known and (model is None or getattr(model, key) is None):
                yield ("models", name, key), "is missing"


def _limit_problems(limit: LimitShape) -> Iterable[str]:
    windows = [limit.window, limit.calendar]
    if limit.spacing is not None:
        if limit.amount is not None or any(windows):
            yield "has a spacing and an amount in a window: write two limits"
        if limit.metric != "requests":
            yield f"has a spacing between {limit.metric}: only requests can be spaced"
    elif limit.amount is None or not any(windows):
        yield "needs an amount and a window, or a spacing"
    elif all(windows):
        yield "has a window and a calendar: write two limits"
    if limit.model is not None and limit.pool:
        yield "is for one model or for a pool of them, not both"
    if not knows_timezone(limit.timezone):
        yield f"knows no timezone {limit.timezone!r}: write one as Europe/Berlin"


def _merged(name: str, row: ProviderShape, base: Provider | None) -> Provider:
    """Return `base` (or a new row) with what `row` gives."""
    start = base or Provider(name, "", "", None, {})
    given = row.given()
    changes = {key: given[key] for key in given.keys() & _COPIED}
    if "api_key_env" in given:
        names = tuple(row.api_key_env or ())
        changes |= {"key_env": names[0] if names else None, "more_key_envs": names[1:]}
    models = {key: _model(key, shape, start.models.get(key)) for key, shape in row.models.items()}
    return replace(
        start,
        **changes,
        models={**start.models, **models},
        quirks=replace(start.quirks, **row.quirks.given()),
        limits=_limits(start.limits, row.limits),
        # An address written down is the wish to use it.
        opt_in=row.opt_in if "opt_in" in given else start.opt_in and row.base_url is None,
    )


def _model(name: str, row: ModelShape | None, base: Model | None) -> Model:
    start = base or Model(name, 0, 0)
    given = row.given() if row else {}
    switched = {ability: given[ability.value] for ability in Ability if ability.value in given}
    on = {ability for ability, value in switched.items() if value}
    changes = {key: given[key] for key in given.keys() & {"context", "max_output", "source"}}
    if "price" in given:
        changes["price"] = Price(**row.price.given()) if row and row.price else None
    return replace(start, **changes, abilities=(start.abilities - switched.keys()) | on)


def _limits(base: tuple[Limit, ...], rows: Iterable[LimitShape]) -> tuple[Limit, ...]:
    """Return both, a new limit in place of the old one on the same thing."""
    merged = {_subject(limit): limit for limit in base}
    for row in rows:
        limit = _limit(row)
        merged[_subject(limit)] = limit
    return tuple(merged.values())


def _limit(row: LimitShape) -> Limit:
    window = row.spacing or row.window or CALENDAR_SECONDS[row.calendar or "day"]
    return Limit(
        metric=row.metric,
        amount=row.amount or 1.0,
        window=window,
        model=row.model,
        plan=row.plan,
        paced=bool(row.spacing),
        source=row.source,
        as_of=row.as_of,
        kind=row.calendar or ("fixed" if row.fixed else "rolling"),
        timezone=row.timezone,
        burst=row.burst,
        pool=tuple(row.pool),
        counts=row.counts or "default",
        reserves=row.reserves,
    )


def _subject(limit: Limit) -> tuple[object, ...]:
    return limit.metric, limit.window, limit.model, limit.pool, limit.paced


def _unlike(provider: Provider) -> Iterable[Problem]:
    """Yield what in a finished row contradicts itself."""
    for name, model in provider.models.items():
        if model.max_output > model.context:
            yield ("models", name, "max_output"), f"{model.max_output} is more than the context of {model.context}"
        if name != of_all_accounts(name):
            yield ("models", name), f"ends as the name of an account does: {name!r} cannot be a model's"
        if name != provider.full_name(name) and provider.full_name(name) in provider.models:
            yield ("models", name), f"is the same as {provider.full_name(name)!r}: write that"
    for at, limit in enumerate(provider.limits):
        named = [("model", limit.model or "")] if limit.model is not None else [("pool", name) for name in limit.pool]
        for key, name in named:
            if name not in provider.models:
                yield ("limits", at, key), f"no model {name!r} here{nearest(name, provider.models)}"
