"""The row of a model that somebody asks for by its name, whether or not the catalog knows it. Pure."""

from __future__ import annotations

from dataclasses import replace

from providers.catalog.model import Catalog, Model, Provider, of_all_accounts


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
