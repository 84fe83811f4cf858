"""Facts: which models can be asked, where, in which dialect, for what price. The policy decides which are."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from providers.catalog.base_url import tidied, url_problem, wants_api_key_header
from providers.catalog.models import Counting as Counting
from providers.catalog.models import EmbeddingModel as EmbeddingModel
from providers.catalog.models import Limit as Limit
from providers.catalog.models import Metric as Metric
from providers.catalog.models import Model as Model
from providers.catalog.models import Price as Price
from providers.catalog.quirks import Quirks
from providers.catalog.refusals import Refusal
from providers.catalog.trust import KeyUse, Sending, Source, Whence, origin_of, source_of
from providers.catalog.variables import PLACEHOLDER, filled, variable_of
from providers.documents.problems import Problem, variable_problem
from providers.documents.secrets import may_hold_a_secret
from providers.errors import CatalogError, Reason, ReasonCode

SHORTEST_SECRET = 6
"""Characters of a header's value; shorter ones are words."""
_NUMBERED = re.compile(r"(.+)_([1-9][0-9]?)")
_OF_ACCOUNT = re.compile(r"(.+)#([1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Provider:
    """A vendor's endpoint. `key_env` names the variable that holds the key; None: no key is needed.

    `more_key_envs` name those of its further accounts; where there are none, `GROQ_API_KEY_2`, `_3` and so on are
    found by themselves. Of a candidate `key_env` is the variable that its own key came from. `base_url` may hold
    `{VARIABLE}`, filled from the environment when candidates are opened.
    """

    name: str
    dialect: str
    base_url: str
    key_env: str | None
    models: Mapping[str, Model]
    quirks: Quirks = field(default_factory=Quirks)
    hosted: bool = True
    source: str = ""
    as_of: str = ""
    limits: tuple[Limit, ...] = ()
    opt_in: bool = False
    """Never a candidate for being there alone: it waits for its base URL, or for `Catalog.enable`."""
    any_model: bool = False
    """Serves models that the catalog can't know; a name that a policy brings gets the facts of the first row."""
    plan: str = ""
    """The plan that the account is on (`free`), where a routing file says so: its published limits are then kept."""
    more_key_envs: tuple[str, ...] = ()
    packaged: bool = False
    """Whether the address is a vendor's from the packaged catalog: then no reply makes it a wrong one."""
    refusals: tuple[Refusal, ...] = ()
    """What its own words of refusal mean; the first that fits counts. Words that vendors share need no entry."""
    home: str = ""
    """The address of the row in the packaged catalog."""
    home_key: str | None = None
    """The variable of the key in that row."""
    address_from: Source | None = field(default=None, repr=False)
    """The file that gives the address. None: the packaged catalog, or the calling program."""
    steered_by: Source | None = field(default=None, repr=False)
    """The file that names the variables of keys, or headers."""
    embeddings: Mapping[str, EmbeddingModel] = field(default_factory=dict)
    """Its models that make vectors of texts, and no text: no turn goes to them."""
    keys_at: str = ""
    """The page on which a key is made."""

    def pool_named(self, model: str, said: str) -> Limit | None:
        """Return the limit of a pool with `model` that a refusal names in what it `said`, None where it names none."""
        words = said.lower()
        named = (each for each in self.limits if each.pool and each.says and each.says.lower() in words)
        return next((limit for limit in named if limit.covers(model)), None)

    def kept_limits(self, model: str) -> tuple[Limit, ...]:
        """Return the limits that no call of `model` may pass: those a routing file states, and those of the plan."""
        return tuple(
            limit
            for limit in self.limits
            if limit.covers(model) and (not limit.published or (self.plan and limit.plan in ("", self.plan)))
        )

    def full_name(self, model: str) -> str:
        """Return `provider/model`. A wire name that begins so already (`openrouter/auto`) is not prefixed twice."""
        return model if model.startswith(f"{self.name}/") else f"{self.name}/{model}"

    @property
    def has_free_plan(self) -> bool:
        """Whether limits of a free plan are known."""
        return any(limit.plan == "free" for limit in self.limits)

    @property
    def env_prefix(self) -> str:
        """`GROQ` for groq: `GROQ_BASE_URL` and `GROQ_API_KEY` are read for every provider."""
        return re.sub(r"[^A-Z0-9]", "_", self.name.upper())

    def expects(self, variable: str) -> bool:
        """Whether the packaged catalog, or the provider's own name, says that a variable holds its key."""
        stems = {self.home_key, f"{self.env_prefix}_API_KEY"}
        numbered_one = _NUMBERED.fullmatch(variable)
        return variable in stems or (numbered_one is not None and numbered_one[1] in stems)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model of a provider through one key. `key` never shows in a repr; `account` is the key's number, from 1."""

    provider: Provider
    model: Model
    key: str | None = field(default=None, repr=False)
    account: int = 1
    uses: tuple[KeyUse, ...] = field(default=(), repr=False, compare=False)
    """Where files would have secrets sent; `needed` ones must be allowed before the candidate is asked."""
    whence: Whence = field(default=Whence(), repr=False, compare=False)

    @property
    def name(self) -> str:
        """The name that events use: `provider/model`, and for an account after the first `provider/model#2`."""
        return numbered(self.provider.full_name(self.model.name), self.account)

    @property
    def maker(self) -> str:
        """Whose thoughts and signatures its answers hold: `provider/model`, by the name that is asked for.

        They mean nothing to another model, nor to the same one elsewhere; a provider's accounts share them.
        """
        return self.provider.full_name(self.model.name)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may repeat: the key, and headers that a file gives, or that are named like secrets."""
        quirks, given = self.provider.quirks, self.provider.steered_by is not None
        headers = [v for name, v in quirks.extra_headers.items() if given or may_hold_a_secret(f"{name}: {v}")]
        words = [v.split()[-1] for v in headers if len(v.split()) > 1]
        return tuple(filter(None, (self.key, *(v for v in (*headers, *words) if len(v) >= SHORTEST_SECRET))))

    @property
    def fingerprint(self) -> str:
        """A name for the key from which it cannot be found: counts and states go by it, on every machine."""
        return hashlib.sha256(f"account\0{self.key or ''}".encode("utf-8", "surrogatepass")).hexdigest()[:12]


def numbered(name: str, account: int) -> str:
    """Return the name of a model as this account of its provider serves it. The first account has no number."""
    return name if account == 1 else f"{name}#{account}"


def of_all_accounts(name: str) -> str:
    """Return `provider/model` of a name that may be one account's. No model's own name ends in `#` and a number."""
    found = _OF_ACCOUNT.fullmatch(name)
    return found[1] if found else name


@dataclass(frozen=True, slots=True)
class Catalog:
    """All providers and models that are known. Immutable: `enable` and `serving` return another catalog."""

    providers: Mapping[str, Provider]
    """The rows, by name."""

    def find(self, name: str) -> tuple[Provider, Model] | None:
        """Return the row of `provider/model`, or None."""
        provider = self.providers.get(name.partition("/")[0])
        if provider is None:
            return None
        model = provider.models.get(name.partition("/")[2]) or provider.models.get(name)
        return (provider, model) if model else None

    def names(self) -> Iterator[str]:
        """Yield `provider/model` of every row, in catalog order."""
        for provider in self.providers.values():
            yield from map(provider.full_name, provider.models)

    def enable(self, *names: str) -> Catalog:
        """Return a catalog in which these opt-in providers (`stub`) count as configured. Raise `KeyError`."""
        changed = {name: replace(self.providers[name], opt_in=False) for name in names}
        return Catalog({**self.providers, **changed})

    def serving(self, provider: str, model: str) -> Catalog:
        """Return a catalog in which `provider` serves `model` too, with the facts of its first row."""
        row = self.providers[provider]
        models = {**row.models, model: replace(next(iter(row.models.values())), name=model)}
        return Catalog({**self.providers, provider: replace(row, models=models)})

    def serving_pinned(self, names: Iterable[str | None]) -> Catalog:
        """Return a catalog with these models of providers that serve whatever is loaded: a local server's."""
        catalog = self
        for name in map(of_all_accounts, filter(None, names)):
            provider, _, model = name.partition("/")
            row = catalog.providers.get(provider)
            if model and row is not None and row.any_model and catalog.find(name) is None:
                catalog = catalog.serving(provider, model)
        return catalog

    def candidates(self, environ: Mapping[str, str]) -> tuple[Candidate, ...]:
        """Return every model of every account that has a key, in catalog order, a model's accounts side by side.

        Raise `CatalogError` naming each variable that holds what can't be a key, an id or a URL; never its value.
        """
        return self._candidates(environ, lambda provider: provider.models)

    def embedders(self, environ: Mapping[str, str]) -> tuple[Candidate, ...]:
        """Return, as `candidates` does, the models that make vectors of texts."""
        return self._candidates(environ, lambda provider: provider.embeddings)

    def _candidates(
        self, environ: Mapping[str, str], models: Callable[[Provider], Mapping[str, Model]]
    ) -> tuple[Candidate, ...]:
        return tuple(
            Candidate(account.provider, model, account.key, account.number, account.uses, account.whence)
            for accounts in self._open(environ).values()
            if not isinstance(accounts, Reason)
            for model in models(accounts[0].provider).values()
            for account in accounts
        )

    def unconfigured(self, environ: Mapping[str, str]) -> Mapping[str, Reason]:
        """Return, for each provider without candidates, what it lacks; those that a user added come first.

        Raises as `candidates` does.
        """
        lacking = {name: found for name, found in self._open(environ).items() if isinstance(found, Reason)}
        own = [name for name in lacking if self.providers[name].hosted and not self.providers[name].packaged]
        return {name: lacking[name] for name in [*own, *lacking]}

    def _open(self, environ: Mapping[str, str]) -> dict[str, list[_Account] | Reason]:
        problems: list[Problem] = []
        opened: dict[str, list[_Account] | Reason] = {}
        further: dict[str, list[int]] = {}
        for variable in environ:
            if found := _NUMBERED.fullmatch(variable):
                further.setdefault(found[1], []).append(int(found[2]))
        homes = [(origin_of(row.home), row) for row in self.providers.values() if row.home]
        for name, provider in self.providers.items():
            try:
                opened[name] = _accounts(provider, environ, further, homes)
            except CatalogError as error:
                problems += error.problems
        if problems:
            raise CatalogError(problems)
        return opened


class _Account(NamedTuple):
    """One key of a provider, whose row has the final URL and the variable that the key came from."""

    number: int
    provider: Provider
    key: str | None
    uses: tuple[KeyUse, ...]
    whence: Whence


Homes = Sequence[tuple[str, Provider]]
"""The rows of the packaged catalog by the origin of their address there."""


def _accounts(
    provider: Provider, environ: Mapping[str, str], further: Mapping[str, Sequence[int]], homes: Homes
) -> list[_Account] | Reason:
    """Return the provider's accounts, or what is missing. A key that stands in two variables is one account.

    `further` are the numbers that follow a variable's name in the environment.
    """
    url_variable = f"{provider.env_prefix}_BASE_URL"
    url = tidied(variable_of(environ, url_variable), provider.dialect, provider.base_url)
    if url and (problem := url_problem(url)):
        raise CatalogError([variable_problem(url_variable, f"the address {problem}")])
    if provider.opt_in and not url:
        switch = f"not switched on: set {url_variable}" if provider.base_url else "only offline, or where a policy asks"
        return Reason(ReasonCode.NOT_CONFIGURED, switch)
    found: dict[str, _Account] = {}
    for number, variables in _key_variables(provider, further).items():
        variable, key = next(((name, value) for name in variables if (value := variable_of(environ, name))), (None, ""))
        if key in found or (provider.key_env and not key):
            continue
        address = filled(url or provider.base_url, number, environ)
        if address is None:
            missing = next(
                name for name in PLACEHOLDER.findall(url or provider.base_url) if not variable_of(environ, name)
            )
            return Reason(ReasonCode.NOT_CONFIGURED, f"no address: set {missing}")
        row = replace(
            _reached_at(address, provider, given=url not in ("", provider.base_url)),
            key_env=variable if provider.key_env else None,
        )
        sending = _sending(provider, address, variable if key else None, url_variable if url else "", environ, homes)
        found[key] = _Account(number, row, key or None, sending.uses(), sending.whence(url_variable if url else ""))
    wanted = " or ".join(filter(None, (provider.key_env, *provider.more_key_envs)))
    return list(found.values()) or Reason(ReasonCode.NO_KEY, f"no key: set {wanted}")


def _sending(
    provider: Provider, address: str, key: str | None, url_variable: str, environ: Mapping[str, str], homes: Homes
) -> Sending:
    """Return what is sent where. `url_variable` is the one that holds the address, "" where the row has it."""
    template = environ.get(url_variable, "") if url_variable else provider.base_url
    written_by = source_of(environ, url_variable) if url_variable else provider.address_from
    names = PLACEHOLDER.findall(template)
    # A value in the host's name says where the host is.
    hosts = [source_of(environ, name) for name in names if f"{{{name}}}" in template.partition("://")[2].split("/")[0]]
    said_by = [each for each in (written_by, *hosts) if each is not None]
    # Of all who say where the host is, one that was merely found is enough to make the address a found one.
    address_from = replace(said_by[0], named=all(each.named for each in said_by)) if said_by else None
    return Sending(
        provider.name,
        address,
        key,
        address_from=address_from,
        key_from=source_of(environ, key) if key else None,
        steered_by=provider.steered_by,
        foreign=provider.steered_by is not None and key is not None and not provider.expects(key),
        known=key is not None and any(origin_of(address) == home and row.expects(key) for home, row in homes),
        placeholders={name: source_of(environ, name) for name in names if f"{{{name}}}" not in provider.home},
    )


def _reached_at(address: str, provider: Provider, *, given: bool) -> Provider:
    """Return the row with its final address, and with the header that an Azure address wants the key in."""
    quirks = provider.quirks
    if quirks.key_header is None and provider.dialect == "openai-chat" and wants_api_key_header(address):
        quirks = replace(quirks, key_header="api-key")
    return replace(provider, base_url=address, quirks=quirks, packaged=provider.packaged and not given)


def _key_variables(provider: Provider, further: Mapping[str, Sequence[int]]) -> dict[int, tuple[str, ...]]:
    """Return the variables that may hold the key of each account, by its number; the first that has one counts.

    Numbers are the variables' own, or places in a list: an account keeps its name when another one goes. What ends in
    `_1` is the first account too.
    """
    first, own = provider.key_env, f"{provider.env_prefix}_API_KEY"
    if first is None:
        return {1: (own,)}
    if provider.more_key_envs:
        return {number: (name,) for number, name in enumerate((first, *provider.more_key_envs), 1)}
    stems = tuple(dict.fromkeys((first, own)))
    numbers = sorted({number for stem in stems for number in further.get(stem, ())} - {1})
    numbers_of = {number: tuple(f"{stem}_{number}" for stem in stems) for number in numbers}
    return {1: (*stems, *(f"{stem}_1" for stem in stems)), **numbers_of}
