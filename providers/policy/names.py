"""The names in a policy, held against the catalog."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from providers.catalog.model import Catalog, Problem, of_all_accounts

SMALLEST_CONTEXT = 6
"""Tokens: one message that says nothing is five by our estimate, and something must be left for the answer."""


@dataclass(slots=True)
class Names:
    """Checks names against the catalog, gathers what is wrong, and widens the catalog by what a policy may bring.

    `broken` are providers whose rows in the file are wrong: that their names lead nowhere is no further mistake.
    """

    catalog: Catalog
    problems: list[Problem]
    broken: set[str]

    def candidates(self, names: Iterable[str], path: tuple[str | int, ...]) -> tuple[str, ...]:
        """Return the names as events spell them. One that an earlier one covers is never reached: a mistake."""
        kept: dict[str, None] = {}
        for at, written in enumerate(names):
            name, problem = self.candidate(written)
            every = f"{name.partition('/')[0]}/*"
            covered = next((seen for seen in kept if seen in (name, of_all_accounts(name), every)), None)
            if problem is None and covered is not None:
                problem = f"is never reached: {covered!r} stands before it"
            if problem is not None:
                self.problems.append(((*path, at), problem))
            kept[name] = None
        return tuple(kept)

    def model(self, name: str, path: tuple[str | int, ...]) -> str:
        """Return the name of one model as events spell it."""
        spelled, problem = self.candidate(name)
        if problem is None and spelled.endswith("/*"):
            problem = "names several models: a chain may"
        self.problems += [] if problem is None else [(path, problem)]
        return spelled

    def candidate(self, name: str) -> tuple[str, str | None]:
        """Return the name as events spell it, and what is wrong with it or None."""
        whole = of_all_accounts(name)
        account = name[len(whole) :]
        provider, _, model = whole.partition("/")
        if not model or model != model.strip():
            return name, f"{name!r} is no candidate: write provider/model or provider/*"
        if provider in self.broken:
            return name, None
        if problem := self.provider(provider):
            return name, problem
        row = self.catalog.providers[provider]
        if row.opt_in and not row.base_url:
            self.catalog = self.catalog.enable(provider)
        if model == "*":
            return name, None
        if found := self.catalog.find(whole):
            fits = found[1].context >= SMALLEST_CONTEXT
            spelled = f"{row.full_name(found[1].name)}{account}"
            return spelled, None if fits else "could never answer: no request fits its context"
        if row.any_model:
            self.catalog = self.catalog.serving(provider, model)
            return f"{row.full_name(model)}{account}", None
        return name, f"{provider} serves no model {model!r}{_nearest(name, map(row.full_name, row.models))}"

    def provider(self, name: str) -> str | None:
        """Return what is wrong with this provider's name, or None."""
        if name in self.broken or name in self.catalog.providers:
            return None
        return f"unknown provider {name!r}{_nearest(name, self.catalog.providers)}"

    def providers(self, names: Iterable[tuple[tuple[str | int, ...], str]]) -> None:
        self.problems += [(path, problem) for path, name in names if (problem := self.provider(name))]

    def tiers(self, names: Iterable[tuple[tuple[str | int, ...], str | None]], known: set[str]) -> None:
        unknown = [(path, name) for path, name in names if name is not None and name not in known]
        self.problems += [(path, f"unknown tier {name!r}{_nearest(name, known)}") for path, name in unknown]


def _nearest(word: str, known: Iterable[str]) -> str:
    from providers.catalog.file import nearest  # with pydantic, which only a mistake needs here

    return nearest(word, known)
