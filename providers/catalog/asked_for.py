"""The row of a model that somebody asks for by its name, whether or not the catalog knows it. Pure."""

from __future__ import annotations

from dataclasses import replace

from providers.catalog.model import Catalog, Model, Provider, of_all_accounts
from providers.documents.problems import nearest


def mistake_in(name: str, catalog: Catalog) -> str:
    """Return what is wrong with the name of a model that nobody can be asked for, "" where it leads somewhere."""
    provider, slash, model = name.partition("/")
    if (provider in catalog.providers and model) or any(f"/{known}".endswith(f"/{name}") for known in catalog.names()):
        return ""
    if slash and model:
        hint = nearest(provider, catalog.providers)
        return f"no provider is called {provider!r}" + (f": {hint}" if hint else "")
    if provider in catalog.providers:
        return f"{provider!r} is a provider: write {provider}/MODEL"
    before, colon, rest = name.partition(":")
    like = f"{before}/{rest}" if colon and before in catalog.providers else f"ollama/{name or 'llama3.2'}"
    return f"no model is called {name!r}: write PROVIDER/MODEL, as {like}"


def asked_for(catalog: Catalog, name: str | None) -> Catalog:
    """Return a catalog in which this one model can be asked, as far as its name leads anywhere.

    An own server is switched on by its name, and serves the model. A vendor publishes models every week, so one that
    has no row is taken to do what all of the vendor's rows do, and no more.
    """
    whole = of_all_accounts(name or "")
    provider, _, model = whole.partition("/")
    row = catalog.providers.get(provider)
    if row is None or not model or not row.base_url:
        return catalog.serving_pinned([name])
    if row.opt_in:
        catalog = catalog.enable(provider)
    if row.any_model or catalog.find(whole) is not None:
        return catalog.serving_pinned([name])
    models = {**row.models, model: _least_able(row, model)}
    return Catalog({**catalog.providers, provider: replace(catalog.providers[provider], models=models)})


def _least_able(row: Provider, name: str) -> Model:
    known = row.models.values()
    return Model(
        name,
        context=min(each.context for each in known),
        max_output=min(each.max_output for each in known),
        capabilities=frozenset.intersection(*(frozenset(each.capabilities) for each in known)),
        source="not in the catalog: taken to do what all others do",
    )
