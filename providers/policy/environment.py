"""What environment variables say about which providers are asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from providers.catalog.asked_for import asked_for
from providers.catalog.model import Catalog
from providers.documents.addresses import VARIABLE as LEDGER
from providers.documents.addresses import split_of
from providers.documents.findings import Findings
from providers.documents.nodes import tree_of
from providers.documents.problems import ENVIRONMENT
from providers.errors import CatalogError
from providers.policy.model import Deployment, Policy
from providers.policy.names import KnownNames
from providers.policy.split import Split, split

_KINDS: Mapping[str, Deployment] = {
    "production": "production",
    "prod": "production",
    "development": "development",
    "dev": "development",
}


def with_environment(policy: Policy, catalog: Catalog, environ: Mapping[str, str]) -> tuple[Policy, Catalog]:
    """Return the policy with what environment variables say, and the catalog with the models that they name.

    `MODEL_PROVIDER` names the provider that comes first in every tier. `<PROVIDER>_MODEL` (`GROQ_MODEL`) names the
    model that is asked wherever a tier names that provider; where `<PROVIDER>_BASE_URL` is set too, it may be any.
    Where the policy's environment is `auto`, `ORCHESTRATOR_ENV`, else `ENVIRONMENT`, may say production (prod) or
    development (dev). `ORCHESTRATOR_LEDGER`, else the policy, may divide limits and budgets among workers; then the two
    have this worker's share. Raise `CatalogError` naming the variable.
    """
    findings = Findings(tree_of({}))
    known, own = KnownNames(catalog, findings), dict[str, str]()
    for row in catalog.providers.values():
        variable = f"{row.env_prefix}_MODEL"
        if model := environ.get(variable, "").strip():
            if environ.get(f"{row.env_prefix}_BASE_URL", "").strip():  # whose server that is, no catalog knows
                known.catalog = asked_for(known.catalog, row.full_name(model))
            own[row.name] = known.named(row.full_name(model), (ENVIRONMENT, variable))
    lead = environ.get("MODEL_PROVIDER", "").strip()
    if lead:
        known.provider(lead, (ENVIRONMENT, "MODEL_PROVIDER"))
    if findings.found:
        raise CatalogError(findings.found)
    policy = replace(
        policy,
        tiers={tier: _swapped(names, own) for tier, names in policy.tiers.items()} if own else policy.tiers,
        lead=own.get(lead, f"{lead}/*") if lead else policy.lead,
        environment=_detected(environ) if policy.environment == "auto" else policy.environment,
    )
    shared = split_of(environ.get(LEDGER, "").strip() or policy.ledger or "")
    return (policy, known.catalog) if shared is None else split(policy, known.catalog, Split(shared[1], shared[0]))


def _swapped(names: Iterable[str], own: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names, each once, with the model of its provider in `own` in place of the one that stood there."""
    return tuple(dict.fromkeys(own.get(name.partition("/")[0], name) for name in names))


def _detected(environ: Mapping[str, str]) -> Deployment:
    said = environ.get("ORCHESTRATOR_ENV", "").strip() or environ.get("ENVIRONMENT", "").strip()
    return _KINDS.get(said.lower(), "auto")
