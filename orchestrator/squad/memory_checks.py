"""What of a squad's memory and knowledge there must be before a run: folders, and models that make vectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from agents.memory.folder import fault_of
from agents.memory.model_folder import folder_fault
from orchestrator.squad.memory_specs import EmbeddingsSpec, check_folders, check_name, embeddings_of
from orchestrator.squad.spec import SquadSpec
from providers.catalog.model import Catalog, EmbeddingModel, Provider
from providers.documents.findings import Findings
from providers.documents.problems import Path as DocumentPath
from providers.documents.problems import nearest
from providers.embeddings import DIALECTS, embedding_model, endpoints

NamedEmbeddings = Iterable[tuple[DocumentPath, str | EmbeddingsSpec]]
_FOLDER_HINT = "the folder of a BERT model, or a provider's: {model: openai/text-embedding-3-small}"
_WRITE = "write PROVIDER/MODEL: openai/text-embedding-3-small"


class _Fault(NamedTuple):
    field: str
    code: str
    message: str
    hint: str = ""


def check_memory(spec: SquadSpec, beside: Path | None, catalog: Catalog, findings: Findings) -> None:
    """Report what a squad's memory and knowledge cannot be kept or made by. Folders stand in `beside`; None: neither
    they nor models are looked for, as the squad comes from a record."""
    if spec.memory or any(agent.memory for agent in spec.agents.values()):
        check_name(spec.name, findings)
    if beside is not None:
        own = {name: agent.knowledge for name, agent in spec.agents.items()}
        check_folders(spec.knowledge, own, findings, partial(fault_of, beside))
        _check_embeddings(_named(spec), findings, catalog, beside)


def _named(spec: SquadSpec) -> Iterator[tuple[DocumentPath, str | EmbeddingsSpec]]:
    return embeddings_of(spec.memory, {name: agent.memory for name, agent in spec.agents.items()})


def _check_embeddings(named: NamedEmbeddings, findings: Findings, catalog: Catalog, beside: Path) -> None:
    """Report each folder that holds no usable model, and each model that no provider of the catalog can embed with."""
    for at, one in named:
        if isinstance(one, EmbeddingsSpec):
            if (fault := _fault(one, catalog)) is not None:
                findings.error((*at, fault.field), fault.code, fault.message, fault.hint)
        elif why := folder_fault(beside / Path(one).expanduser()):
            findings.error(at, "bad-embeddings", f"'{one}' cannot be used: {why}", _FOLDER_HINT)


def without_key(spec: SquadSpec, findings: Findings, catalog: Catalog, environ: Mapping[str, str]) -> None:
    """Warn of each model of which no provider has a key here: memory then goes by words alone."""
    usable = {one.provider.name for one in (*catalog.embedders(environ), *catalog.candidates(environ))}
    missing = catalog.unconfigured(environ)
    for at, one in _named(spec):
        if not isinstance(one, EmbeddingsSpec):
            continue
        providers = [name.partition("/")[0] for name in _endpoints(one, catalog)]
        if providers and not usable & {*providers}:
            reasons = "; ".join(f"{name}: {missing[name]}" for name in dict.fromkeys(providers) if name in missing)
            message = f"'{one.asked}' cannot be asked, so memory goes by words alone: {reasons}"
            findings.warn((*at, "model"), "unreachable-embeddings", message, "set the variable, or take another model")


def _rows(catalog: Catalog) -> Iterator[tuple[str, Provider, EmbeddingModel]]:
    for provider in catalog.providers.values():
        for model in provider.embeddings.values():
            yield provider.full_name(model.name), provider, model


def _endpoints(one: EmbeddingsSpec, catalog: Catalog) -> tuple[str, ...]:
    return endpoints((one.asked,), [name for name, _, _ in _rows(catalog)], catalog.providers)


def _fault(one: EmbeddingsSpec, catalog: Catalog) -> _Fault | None:
    """Return what is wrong with a provider's model, None where it can be asked."""
    known = {name: model for name, _, model in _rows(catalog)}
    if one.provider is not None and one.provider not in catalog.providers:
        hint = nearest(one.provider, catalog.providers)
        return _Fault("provider", "unknown-model", f"no provider is called '{one.provider}'", hint)
    served = [known[name] for name in _endpoints(one, catalog) if name in known]
    if not served:
        return _unserved(one, catalog, known)
    made = [model.dimensions for model in served if model.dimensions is not None]
    if one.dimensions is None or not made or any(model.resizable and one.dimensions <= max(made) for model in served):
        return None
    if one.dimensions in made:
        return None
    most = f"{max(made)} dimensions at most" if any(model.resizable for model in served) else f"{max(made)} dimensions"
    return _Fault("dimensions", "bad-embeddings", f"the vectors of '{one.asked}' have {most}", "leave it out")


def _unserved(one: EmbeddingsSpec, catalog: Catalog, known: Mapping[str, EmbeddingModel]) -> _Fault | None:
    provider, _, model = one.asked.partition("/")
    row = catalog.providers.get(provider)
    if row is None or not model:
        own = {embedding_model(name): name for name in known}
        hint = nearest(one.asked, [*known, *own]) or _WRITE
        return _Fault("model", "unknown-model", f"no provider of the catalog embeds with '{one.asked}'", hint)
    if row.dialect not in DIALECTS:
        others = "openai, gemini, mistral and own servers have some"
        return _Fault("model", "bad-embeddings", f"{provider} has no embeddings: its dialect is {row.dialect}", others)
    if row.any_model:
        return None
    if catalog.find(one.asked) is not None:
        what = f"'{one.asked}' writes texts, and makes no vectors"
        return _Fault("model", "bad-embeddings", what, nearest(one.asked, known) or _WRITE)
    hint = nearest(one.asked, known) or (
        f"a model that is new goes into the routing file: providers: {{{provider}: {{embeddings: {{{model}: "
        "{context: 512}}}}}}}"
    )
    return _Fault("model", "unknown-model", f"{provider} has no embedding model '{model}' in the catalog", hint)
