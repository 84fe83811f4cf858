"""How the rows of a file become rows of the catalog: laid over what stands there, and refused where they cannot be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib import resources
from typing import Any

from providers.catalog.base_url import tidied, url_problem
from providers.catalog.model import Catalog, EmbeddingModel, Limit, Model, Price, Provider, of_all_accounts
from providers.catalog.refusals import ANYTHING, Refusal
from providers.catalog.shapes import EmbeddingShape, LimitShape, ModelShape, ProviderShape, RefusalShape
from providers.catalog.trust import Source
from providers.documents.findings import Findings
from providers.documents.models import checked
from providers.documents.nodes import tree_of
from providers.documents.problems import Path, nearest
from providers.documents.yaml import read_packaged
from providers.errors import CatalogError
from providers.messages import Capability
from providers.windows import Calendar, Fixed, Paced, Rolling, Window, knows_timezone, span

_COPIED = {"dialect", "base_url", "hosted", "any_model", "plan", "keys_at", "source", "as_of"}
_PROVIDER_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_ROWS = ("providers",)
HEADERS = frozenset({"extra_headers", "key_header"})
OF_THE_TRANSPORT = frozenset({"host", "connection", "content-length", "transfer-encoding", "proxy-authorization"})
"""Headers that no row may give: by `Host` a front door of many sites would hand the key to another one."""
SHORTEST_WORDS = 8
"""Of a refusal, without its wildcards: fewer characters would be found in messages about something else."""


def load_catalog() -> Catalog:
    """Return the packaged catalog, read once in a process. Raise `CatalogError` where the file cannot be one."""
    return _read_once()


@lru_cache(maxsize=1)
def _read_once() -> Catalog:
    rows = read_packaged(resources.files("providers") / "catalog" / "catalog.yaml")["providers"]
    packaged = overlay(Catalog({}), rows).providers
    return Catalog({name: _packaged(row) for name, row in packaged.items()})


def _packaged(row: Provider) -> Provider:
    limits = tuple(replace(limit, published=True) for limit in row.limits)
    return replace(row, limits=limits, packaged=row.hosted, home=row.base_url, home_key=row.key_env)


def overlay(catalog: Catalog, rows: Mapping[str, Any]) -> Catalog:
    """Return `catalog` with `rows` (a file's `providers:`) laid over it.

    What a row leaves out stays; models merge by name, limits by what they limit. A row with a `base_url` is switched
    on. Raise `CatalogError` with every problem; paths begin at `providers`.
    """
    findings = Findings(tree_of({"providers": rows}))
    laid = lay_over(catalog, findings)
    if findings.found:
        raise CatalogError(findings.found)
    return laid


def lay_over(catalog: Catalog, findings: Findings, source: Source | None = None) -> Catalog:
    """Return `catalog` with the sound rows of `providers` in the document of `findings` laid over it.

    What is wrong with the others goes to `findings`. `source` is the file that the document was read from.
    """
    rows = findings.node.at(_ROWS)
    if rows is None or not isinstance(rows.value, Mapping):  # the fields of the whole document say so
        return catalog
    providers = dict(catalog.providers)
    for name in rows.value:
        if row := _row(name, catalog.providers.get(name), findings, source):
            providers[name] = row
    return Catalog(providers)


def _row(name: str, base: Provider | None, findings: Findings, source: Source | None) -> Provider | None:
    """Return a provider's row with what the document gives of it, None where that is wrong."""
    path = (*_ROWS, name)
    if not _PROVIDER_NAME.fullmatch(name):
        findings.error(path, "invalid-name", "a provider's name is made of a-z, 0-9, - and _", key=True)
        return None
    shape, wrong = checked(ProviderShape, findings.node, path)
    findings.add(wrong)
    if shape is None:
        return None
    before = len(findings.found)
    _check(shape, base, path, findings)
    if len(findings.found) > before:
        return None
    row = _steered(_merged(name, shape, base), shape, source)
    _check_whole(row, shape, path, findings)
    return row


def _check(row: ProviderShape, base: Provider | None, path: Path, findings: Findings) -> None:
    """Report what is wrong with a row whose types are right."""
    if base is None:
        if row.dialect is None:
            _missing(findings, (*path, "dialect"), "a new provider")
        if row.base_url is None and row.dialect != "scripted":
            _missing(findings, (*path, "base_url"), "a new provider")
        if not row.models and not row.embeddings:
            message = "a provider serves at least one model: 'models' is empty"
            findings.error((*path, "models"), "missing-field", message, key=True)
    if row.base_url and (problem := url_problem(_address(row, base))):
        findings.error((*path, "base_url"), "bad-address", f"the address {problem}")
    for name in (*row.quirks.extra_headers, row.quirks.key_header or ""):
        if name.strip().lower() in OF_THE_TRANSPORT:
            message = f"the header {name.strip().lower()} is the transport's own: a row cannot give it"
            findings.error((*path, "quirks"), "bad-header", message)
    for at, limit in enumerate(row.limits):
        for text in _limit_problems(limit):
            findings.error((*path, "limits", at), "bad-limit", f"the limit {text}")
    for at, refusal in enumerate(row.refusals):
        for text in _refusal_problems(refusal):
            findings.error((*path, "refusals", at), "bad-refusal", f"the refusal {text}")
    known = base.models if base else {}
    for name, model in row.models.items():
        for key in ("context", "max_output"):
            if name not in known and (model is None or getattr(model, key) is None):
                _missing(findings, (*path, "models", name, key), "a new model", MODEL_EXAMPLE)
    embedders = base.embeddings if base else {}
    for name, embedder in row.embeddings.items():
        if name not in embedders and (embedder is None or embedder.context is None):
            _missing(findings, (*path, "embeddings", name, "context"), "a new embedding model", EMBEDDING_EXAMPLE)


def _address(row: ProviderShape, base: Provider | None) -> str:
    """Return the base URL that a row means."""
    dialect = row.dialect or (base.dialect if base else "")
    return tidied(row.base_url or "", dialect, base.base_url if base else "")


EMBEDDING_EXAMPLE = "write bge-m3: {context: 8192}, in tokens of one text"
MODEL_EXAMPLE = "write small: {context: 8192, max_output: 1024}, in tokens"


def _missing(findings: Findings, path: Path, noun: str, hint: str = "") -> None:
    findings.error(path, "missing-field", f"{noun} needs '{path[-1]}'", hint, key=True)


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
    if limit.says and not limit.pool:
        yield "has words of a refusal, which name a pool, and no pool"
    if not knows_timezone(limit.timezone):
        yield f"has an unknown timezone {limit.timezone!r}: write one as Europe/Berlin"


def _refusal_problems(refusal: RefusalShape) -> Iterable[str]:
    if not refusal.code and len(refusal.says.replace(ANYTHING, "").strip()) < SHORTEST_WORDS:
        yield f"needs a code, or at least {SHORTEST_WORDS} characters of what is said: fewer would match other messages"
    if refusal.until is not None and refusal.means != "quota":
        yield f"has an end, a {refusal.until}'s, and means {refusal.means}: only a quota comes back"


def _merged(name: str, row: ProviderShape, base: Provider | None) -> Provider:
    """Return `base` (or a new row) with what `row` gives."""
    start = base or Provider(name, "", "", None, {})
    given = row.given()
    changes = {key: given[key] for key in given.keys() & _COPIED}
    if row.base_url:
        address = _address(row, base)
        changes |= {"base_url": address, "packaged": start.packaged and address == start.base_url}
    if "api_key_env" in given:
        names = tuple(row.api_key_env or ())
        changes |= {"key_env": names[0] if names else None, "more_key_envs": names[1:]}
    models = {key: _model(key, shape, start.models.get(key)) for key, shape in row.models.items()}
    embedders = {key: _embedder(key, shape, start.embeddings.get(key)) for key, shape in row.embeddings.items()}
    return replace(
        start,
        **changes,
        models={**start.models, **models},
        embeddings={**start.embeddings, **embedders},
        quirks=replace(start.quirks, **row.quirks.given()),
        limits=_limits(start.limits, row.limits),
        refusals=_refusals(start.refusals, row.refusals),
        # An address written down is the wish to use it.
        opt_in=row.opt_in if "opt_in" in given else start.opt_in and row.base_url is None,
    )


def _steered(row: Provider, written: ProviderShape, source: Source | None) -> Provider:
    """Return the row with who says where it leads, and what is sent there: `source`, as far as it was `written`."""
    if written.base_url:
        row = replace(row, address_from=source)
    if "api_key_env" in written.given() or HEADERS & written.quirks.given().keys():
        row = replace(row, steered_by=source)
    return row


def _model(name: str, row: ModelShape | None, base: Model | None) -> Model:
    start = base or Model(name, 0, 0)
    given = row.given() if row else {}
    switched = {capability: given[capability.value] for capability in Capability if capability.value in given}
    on = {capability for capability, value in switched.items() if value}
    changes = {key: given[key] for key in given.keys() & {"context", "max_output", "source", "assumed"}}
    if "context" in given:
        changes.setdefault("assumed", False)  # it is somebody's word now
    if "price" in given:
        changes["price"] = Price(**row.price.given()) if row and row.price else None
    return replace(start, **changes, capabilities=(start.capabilities - switched.keys()) | on)


def _embedder(name: str, row: EmbeddingShape | None, base: EmbeddingModel | None) -> EmbeddingModel:
    start = base or EmbeddingModel(name, 0, 0)
    given = row.given() if row else {}
    changes = {key: given[key] for key in given.keys() & {"dimensions", "inputs", "resizable", "purposes", "source"}}
    if "context" in given:
        changes["each"] = given["context"]
        changes["context"] = max(start.context, given["context"]) if start.context != start.each else given["context"]
    if "request_tokens" in given:
        changes["context"] = given["request_tokens"]
    if "price" in given:
        changes["price"] = Price(**{"output": 0.0, **row.price.given()}) if row and row.price else None
    return replace(start, **changes)


def _limits(base: tuple[Limit, ...], rows: Iterable[LimitShape]) -> tuple[Limit, ...]:
    """Return both, a new limit in place of the old one on the same thing."""
    merged = {_subject(limit): limit for limit in base}
    for row in rows:
        limit = _limit(row)
        merged[_subject(limit)] = limit
    return tuple(merged.values())


def _refusals(base: tuple[Refusal, ...], rows: Iterable[RefusalShape]) -> tuple[Refusal, ...]:
    """Return both, the new ones first: what a file says goes before what it is laid over."""
    written = [Refusal(**row.given()) for row in rows]
    new = {refusal.subject: refusal for refusal in written}
    return (*new.values(), *(refusal for refusal in base if refusal.subject not in new))


def _limit(row: LimitShape) -> Limit:
    return Limit(
        metric=row.metric,
        amount=row.amount or 1.0,
        window=_window(row),
        model=row.model,
        plan=row.plan,
        source=row.source,
        as_of=row.as_of,
        pool=tuple(row.pool),
        counts=row.counts or "default",
        reserves=row.reserves,
        says=row.says,
    )


def _window(row: LimitShape) -> Window:
    if row.spacing:
        return Paced(row.spacing, row.burst)
    if row.window:
        return Fixed(row.window) if row.fixed else Rolling(row.window)
    return Calendar(row.calendar or "day", row.timezone)


def _subject(limit: Limit) -> tuple[object, ...]:
    """Return what a limit is on. A calendar's day and any 24 hours are one: a file may state either more exactly."""
    return limit.metric, span(limit.window), limit.model, limit.pool, isinstance(limit.window, Paced)


def _check_whole(provider: Provider, written: ProviderShape, path: Path, findings: Findings) -> None:
    """Report what in a finished row contradicts itself; the row below it is sound."""
    for name, model in provider.models.items():
        if model.max_output > model.context:
            message = f"max_output, {model.max_output}, is more than the context of {model.context}"
            findings.error((*path, "models", name, "max_output"), "out-of-range", message)
        if name != of_all_accounts(name):
            message = f"{name!r} cannot be a model's name: it ends as the name of an account does"
            findings.error((*path, "models", name), "invalid-name", message, key=True)
        if name != provider.full_name(name) and provider.full_name(name) in provider.models:
            message = f"this is the same model as {provider.full_name(name)!r}: write that"
            findings.error((*path, "models", name), "duplicate-name", message, key=True)
    for name, embedder in provider.embeddings.items():
        if embedder.each > embedder.context:
            message = f"request_tokens, {embedder.context}, is less than the {embedder.each} of one text"
            findings.error((*path, "embeddings", name, "request_tokens"), "out-of-range", message)
        if name != of_all_accounts(name):
            message = f"{name!r} cannot be a model's name: it ends as the name of an account does"
            findings.error((*path, "embeddings", name), "invalid-name", message, key=True)
    served = [*provider.models, *provider.embeddings]
    for at, limit in enumerate(written.limits):
        named = [("model", limit.model or "")] if limit.model is not None else [("pool", name) for name in limit.pool]
        for key, name in named:
            if not any(fnmatchcase(model, name) for model in served):
                message = f"{provider.name} has no model {name!r}"
                findings.error((*path, "limits", at, key), "unknown-model", message, nearest(name, served))
