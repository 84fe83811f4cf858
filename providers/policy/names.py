"""The names in a policy, compared with the catalog."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from providers.catalog.model import Catalog, of_all_accounts
from providers.documents.findings import Findings
from providers.documents.problems import Path, nearest

SMALLEST_CONTEXT = 6
"""Tokens: one message that says nothing is five by our estimate, and something must be left for the answer."""
Placed = tuple[str | int, str]
"""A name with its index in a list, or its rank in a chain."""
Mistake = tuple[str, str, str]
"""The code, the message and the hint of a problem that has no place yet."""


@dataclass(slots=True)
class KnownNames:
    """Compares names with the catalog, reports those that are wrong, and widens the catalog by what a policy may bring.

    `broken` are providers whose rows in the file are wrong: that their names lead nowhere is no further mistake.
    """

    catalog: Catalog
    findings: Findings
    broken: Collection[str] = ()

    def candidates(self, names: Iterable[Placed], path: Path) -> tuple[str, ...]:
        """Return the names as events spell them. One that an earlier one covers is never reached: a mistake."""
        kept: dict[str, None] = {}
        for at, written in names:
            name, mistake = self.candidate(written)
            every = f"{name.partition('/')[0]}/*"
            covered = next((seen for seen in kept if seen in (name, of_all_accounts(name), every)), None)
            if mistake is None and covered is not None:
                mistake = "no-effect", f"{written!r} is never reached: {covered!r} comes before it", ""
            self._report((*path, at), mistake)
            kept[name] = None
        return tuple(kept)

    def named(self, name: str, path: Path) -> str:
        """Return a name of one model, or of all of a provider, as events spell it."""
        spelled, mistake = self.candidate(name)
        self._report(path, mistake)
        return spelled

    def model(self, name: str, path: Path, several: str, *, key: bool = False) -> str:
        """Return the name of one model as events spell it; `several` says where all of a provider's may stand."""
        spelled, mistake = self.candidate(name)
        if mistake is None and spelled.endswith("/*"):
            mistake = "bad-candidate", f"{name!r} names several models, but only one is possible here", several
        self._report(path, mistake, key=key)
        return spelled

    def _report(self, path: Path, mistake: Mistake | None, *, key: bool = False) -> None:
        if mistake is not None:
            self.findings.error(path, *mistake, key=key)

    def candidate(self, name: str) -> tuple[str, Mistake | None]:
        """Return the name as events spell it, and what is wrong with it or None."""
        whole = of_all_accounts(name)
        account = name[len(whole) :]
        provider, _, model = whole.partition("/")
        if not model or model != model.strip():
            return name, ("bad-candidate", f"{name!r} is not a candidate", "write provider/model or provider/*")
        if provider in self.broken:
            return name, None
        if not self.is_provider(provider):
            return name, self._unknown_provider(provider)
        row = self.catalog.providers[provider]
        if row.opt_in and not row.base_url:
            self.catalog = self.catalog.enable(provider)
        if model == "*":
            return name, None
        if found := self.catalog.find(whole):
            fits = found[1].context >= SMALLEST_CONTEXT
            spelled = f"{row.full_name(found[1].name)}{account}"
            too_small = "no-effect", f"{name!r} could never answer: no request fits its context", ""
            return spelled, None if fits else too_small
        if row.any_model:
            self.catalog = self.catalog.serving(provider, model)
            return f"{row.full_name(model)}{account}", None
        hint = nearest(name, map(row.full_name, row.models))
        return name, ("unknown-model", f"{provider} serves no model {model!r}", hint)

    def is_provider(self, name: str) -> bool:
        """Whether a provider has this name, or would have it, were its row right."""
        return name in self.broken or name in self.catalog.providers

    def _unknown_provider(self, name: str) -> Mistake:
        return "unknown-provider", f"no provider is called '{name}'", nearest(name, self.catalog.providers)

    def provider(self, name: str, path: Path, *, key: bool = False) -> None:
        """Report a name that no provider has; `key`: the name is the key at `path`."""
        if not self.is_provider(name):
            self.findings.error(path, *self._unknown_provider(name), key=key)

    def providers(self, names: Iterable[str], path: Path) -> None:
        """Report those names of a list that no provider has."""
        for at, name in enumerate(names):
            self.provider(name, (*path, at))

    def provider_keys(self, names: Iterable[str], path: Path) -> None:
        """Report those keys of a mapping that are the name of no provider."""
        for name in names:
            self.provider(name, (*path, name), key=True)

    def tier(self, name: str | None, path: Path, known: Collection[str]) -> None:
        """Report a tier that is none of the `known` ones."""
        if name is not None and name not in known:
            self.findings.unknown(path, "tier", name, known)
