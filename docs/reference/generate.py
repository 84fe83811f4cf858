"""Writes `providers.md` beside it from the packaged catalog: `python docs/reference/generate.py`.

A test compares the page with what this makes, so the page cannot drift from the code.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from providers.catalog.file import load_catalog
from providers.catalog.model import EmbeddingModel, Limit, Model, Provider
from providers.catalog.refusals import Refusal
from providers.messages import Capability
from providers.windows import span

PAGE = Path(__file__).with_name("providers.md")
HEAD = """# Providers

What the packaged catalog knows of each provider. Made by `docs/reference/generate.py`; where the facts come from:
[sources](../sources.md). A routing file may overlay any of it, and add providers on a known dialect.

"Schema" is how an answer's JSON Schema is asked for: **native** in the vendor's own field, **object** as any JSON
object with the schema in words, **words** only. In each case the answer is validated. All rows stream.
"""
SCHEMA = {"schema": "native", "object": "object", "prompt": "words"}


def page() -> str:
    """Return the whole page."""
    providers = load_catalog().providers.values()
    return "\n".join([HEAD, *_overview(providers), *(line for row in providers for line in _section(row))]) + "\n"


def _overview(providers: object) -> Iterator[str]:
    yield "| provider | dialect | key | switched on by | schema | tools | vision | reasoning | models |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in providers:  # type: ignore[attr-defined]  # a view of providers
        yield _overview_row(row)
    yield ""


def _overview_row(row: Provider) -> str:
    models = row.models.values()
    on = f"`{row.env_prefix}_BASE_URL`" if row.opt_in and row.base_url else "`--offline`" if row.opt_in else "its key"
    key = f"[`{row.key_env}`]({row.keys_at}){', free plan' * row.has_free_plan}" if row.key_env else "none"
    schema = SCHEMA[row.quirks.json_mode] if row.dialect != "scripted" else "obeyed"
    able = [_share(models, capability) for capability in (Capability.TOOLS, Capability.VISION, Capability.REASONING)]
    more = " + any" if row.any_model else ""
    cells = [f"[{row.name}](#{row.name})", row.dialect, key, on, schema, *able, f"{len(row.models)}{more}"]
    return f"| {' | '.join(cells)} |"


def _share(models: object, capability: Capability) -> str:
    have = [capability in model.capabilities for model in models]  # type: ignore[attr-defined]  # a view of models
    return "yes" if all(have) else "some" if any(have) else "no"


def _section(row: Provider) -> Iterator[str]:
    yield f"## {row.name}"
    yield ""
    yield f"`{row.base_url}`" if row.base_url else "In this process; no network."
    if row.source:
        yield f"Source: {row.source}{f', {row.as_of}' if row.as_of else ''}."
    yield ""
    yield "| model | context | max output | USD per million in / out | capabilities |"
    yield "|---|---|---|---|---|"
    yield from (_model(model) for model in row.models.values())
    yield ""
    if row.embeddings:
        yield "| embedding model | tokens of a text | of a request | texts | dimensions | USD per million |"
        yield "|---|---|---|---|---|---|"
        yield from (_embedder(model) for model in row.embeddings.values())
        yield ""
    if row.limits:
        yield "Published limits, kept only where a routing file says which plan the account is on:"
        yield ""
        yield from (f"- {_limit(limit)}" for limit in row.limits)
        yield ""
    if row.refusals:
        yield "Refusals that it words in its own way, and what they are taken for:"
        yield ""
        yield from (f"- {_refusal(refusal)}" for refusal in row.refusals)
        yield ""


def _model(model: Model) -> str:
    price = "unknown" if model.price is None else f"{model.price.input:g} / {model.price.output:g}"
    able = ", ".join(sorted(model.capabilities))
    return f"| `{model.name}` | {model.context:,} | {model.max_output:,} | {price} | {able} |"


def _embedder(model: EmbeddingModel) -> str:
    price = "unknown" if model.price is None else f"{model.price.input:g}"
    dimensions = f"{model.dimensions or 'unknown'}{' or fewer' if model.resizable else ''}"
    return f"| `{model.name}` | {model.each:,} | {model.context:,} | {model.inputs:,} | {dimensions} | {price} |"


def _limit(limit: Limit) -> str:
    seconds = span(limit.window)
    window = {60: "minute", 3600: "hour", 86400: "day", 2592000: "month"}.get(int(seconds), f"{seconds:g} s")
    where = f" for `{limit.model}`" if limit.model else ""
    where = f" for all of {', '.join(f'`{each}`' for each in limit.pool)}" if limit.pool else where
    plan = f" ({limit.plan} plan)" if limit.plan else ""
    since = f", {limit.as_of}" if limit.as_of else ""
    return f"{limit.amount:,.0f} {limit.metric} a {window}{where}{plan}: {limit.source or 'no source'}{since}"


def _refusal(refusal: Refusal) -> str:
    code, words = (refusal.code and f"`{refusal.code}`", refusal.says and f'"{refusal.says}"')
    status = f" ({refusal.status})" if refusal.status else ""
    until = f", until the next {refusal.until}" if refusal.until else ""
    means = refusal.means.replace("_", " ")
    return f"{' with '.join(filter(None, (code, words)))}{status}: {means}{until}. {refusal.source}, {refusal.as_of}"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
