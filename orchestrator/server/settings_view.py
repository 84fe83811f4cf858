"""What the server goes by, as the API and the page Settings show it: without any secret."""

from __future__ import annotations

import platform
import re
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import BaseModel, JsonValue

from orchestrator._version import __version__
from orchestrator.server.state import ServerState
from providers.catalog.model import Candidate, Model
from providers.documents.secrets import MASK
from providers.documents.unicode import clean

PACKAGES = ("anyio", "fastapi", "httptools", "httpx2", "jinja2", "pydantic", "uvicorn")
_LOGIN = re.compile(r"(?<=://)[^/?#\s]*@")
"""What stands before the host of an address: a name and a password."""


class PriceShown(BaseModel):
    """USD for a million tokens."""

    input: float
    output: float


class ModelShown(BaseModel):
    """A model that may be asked. `price` null: it is not known."""

    name: str
    context: int
    max_output: int
    capabilities: list[str]
    price: PriceShown | None


class ConfiguredProvider(BaseModel):
    """A provider that may be asked. `key_variable` names where its key comes from; the key itself is never shown."""

    name: str
    account: int
    dialect: str
    address: str
    key_variable: str | None
    models: list[ModelShown]


class OfferedSquad(BaseModel):
    """A squad that this server offers."""

    name: str
    file: str
    agents: list[str]
    tasks: list[str]


class ClientKeyShown(BaseModel):
    """A key of the gateway's clients, without its text. Nothing in `models`: it may ask all."""

    name: str
    ends: str
    models: list[str]
    tags: list[str]
    requests_per_minute: int | None
    tokens_per_minute: int | None
    budgets: list[str]


class SettingsShown(BaseModel):
    """What the server goes by. `policy` is the routing file with every default filled in, as fields have it.

    `keys` null: clients need none. `keys_problem`: why the file of keys cannot be read; no key opens anything then.
    """

    version: str
    versions: dict[str, str]
    offline: bool
    state_folder: str
    policy: dict[str, JsonValue]
    providers: list[ConfiguredProvider]
    squads: list[OfferedSquad]
    personas: list[str]
    keys: list[ClientKeyShown] | None
    keys_problem: str = ""


def settings_shown(state: ServerState) -> SettingsShown:
    """Return the settings that hold now."""
    masked = _masking(state.mask)
    policy = plain(state.manager.policy, masked)
    assert isinstance(policy, dict), "a policy has fields"
    keys, keys_problem = _keys(state, masked)
    return SettingsShown(
        version=__version__,
        versions=_versions(),
        offline=state.offline,
        state_folder=masked(str(state.folder)),
        policy=policy,
        providers=_providers(state, masked),
        squads=[
            OfferedSquad(
                name=clean(squad.name),
                file=masked(str(squad.file)),
                agents=sorted(squad.outline().agents),
                tasks=list(squad.spec.tasks),
            )
            for squad in state.squads.values()
        ],
        personas=sorted(state.personas),
        keys=keys,
        keys_problem=keys_problem,
    )


def _keys(state: ServerState, masked: Callable[[str], str]) -> tuple[list[ClientKeyShown] | None, str]:
    """Return the keys of clients, None where they need none, and why they cannot be read."""
    if state.keys is None:
        return None, ""
    try:
        return [_key(one) for one in state.keys.all()], ""
    except ValueError as error:
        return [], masked(str(error))


def _masking(mask: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: _LOGIN.sub(f"{MASK}@", mask(clean(text)))


def plain(value: Any, masked: Callable[[str], str]) -> JsonValue:
    """Return a value of our classes as JSON has it, every text in it masked."""
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name), masked) for one in fields(value) if one.repr}
    if isinstance(value, Enum):
        return plain(value.value, masked)
    if isinstance(value, Mapping):
        return {masked(str(key)): plain(item, masked) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        return [plain(item, masked) for item in items]
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)  # JSON has no infinity
    return masked(str(value))


def _providers(state: ServerState, masked: Callable[[str], str]) -> list[ConfiguredProvider]:
    found: dict[tuple[str, int], ConfiguredProvider] = {}
    for candidate in state.manager.candidates:
        key = (candidate.provider.name, candidate.account)
        if key not in found:
            found[key] = _provider(candidate, masked)
        found[key].models.append(_model(candidate.model))
    return list(found.values())


def _provider(candidate: Candidate, masked: Callable[[str], str]) -> ConfiguredProvider:
    provider = candidate.provider
    return ConfiguredProvider(
        name=clean(provider.name),
        account=candidate.account,
        dialect=provider.dialect,
        address=masked(provider.base_url),
        key_variable=provider.key_env,
        models=[],
    )


def _model(model: Model) -> ModelShown:
    price = model.price
    return ModelShown(
        name=clean(model.name),
        context=model.context,
        max_output=model.max_output,
        capabilities=sorted(one.value for one in model.capabilities),
        price=None if price is None else PriceShown(input=price.input, output=price.output),
    )


def _key(key: Any) -> ClientKeyShown:
    return ClientKeyShown(
        name=key.name,
        ends=key.ends,
        models=list(key.models),
        tags=list(key.tags),
        requests_per_minute=key.rpm,
        tokens_per_minute=key.tpm,
        budgets=[str(one) for one in key.budgets],
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # an extra that is not installed
    return found
