"""`memory:` and `knowledge:` of a squad or an agent, as they are written, and what they come to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Annotated, ClassVar

from pydantic import Discriminator, Field, Tag

from agents.memory.chunks import CHUNK_CHARS, LEAST_CHUNK_CHARS
from agents.memory.use import (
    KNOWLEDGE_TOKENS,
    RECALL,
    RECALL_TOKENS,
    KnowledgeSource,
    KnowledgeUse,
    MemoryUse,
    ProviderEmbeddings,
    ScopeKind,
)
from orchestrator.squad.shared_spec import NonEmpty
from providers.documents.fields import PositiveDuration
from providers.documents.findings import Findings
from providers.documents.models import StrictModel
from providers.documents.problems import Path as DocumentPath


class EmbeddingsSpec(StrictModel):
    """A provider's model that makes vectors of what is remembered. Records and questions are sent there."""

    noun: ClassVar[str] = "embeddings"
    other_names: ClassVar[Mapping[str, str]] = {
        "models": "model",
        "name": "model",
        "dimension": "dimensions",
        "size": "dimensions",
    }
    model: NonEmpty = Field(
        description="The model, as `provider/model`; without a provider all that serve it may be asked.",
        examples=["openai/text-embedding-3-small"],
    )
    provider: NonEmpty | None = Field(
        default=None, description="Its provider, where `model` is the model's name alone.", examples=["openai"]
    )
    dimensions: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None,
        description="The length of its vectors: shorter ones take less room and find a little less. Default: the "
        "model's own.",
        examples=[256],
    )

    @property
    def asked(self) -> str:
        """The model as it is asked for."""
        return self.model if self.provider is None else f"{self.provider}/{self.model}"


def _kind_of_embeddings(value: object) -> str:
    return "mapping" if isinstance(value, dict | EmbeddingsSpec) else "text"


EmbeddingsField = Annotated[
    Annotated[NonEmpty, Tag("text")] | Annotated[EmbeddingsSpec, Tag("mapping")], Discriminator(_kind_of_embeddings)
]


class MemorySpec(StrictModel):
    """What agents remember over runs, and how much of it is put before their work."""

    noun: ClassVar[str] = "a memory"
    other_names: ClassVar[Mapping[str, str]] = {
        "top_k": "recall",
        "limit": "recall",
        "expires": "ttl",
        "max_age": "ttl",
        "embedder": "embeddings",
        "model": "embeddings",
    }
    scope: ScopeKind | None = Field(
        default=None,
        description="With `squad` the agents share what they remember; with `agent` it is the agent's own, which "
        "reads the squad's too. Default: `squad`.",
        examples=["agent"],
    )
    recall: Annotated[int, Field(ge=0, le=50)] | None = Field(
        default=None,
        description="Records that are put before each piece of work; with 0 none, and the tools for memory stay. "
        f"Default: `{RECALL}`.",
        examples=[3],
    )
    max_tokens: Annotated[int, Field(ge=50, le=100_000)] | None = Field(
        default=None, description=f"Tokens that these may take. Default: `{RECALL_TOKENS}`.", examples=[800]
    )
    ttl: PositiveDuration | None = Field(
        default=None, description="How long new records are kept. Default: forever.", examples=["90d"]
    )
    embeddings: EmbeddingsField | None = Field(
        default=None,
        description="Finds records by meaning, too: the folder of a model, or a provider's model. It needs the extra "
        "`[embeddings]`. Default: by words alone.",
        examples=["~/models/all-MiniLM-L6-v2", {"model": "openai/text-embedding-3-small"}],
    )


def _kind(value: object) -> str:
    return "switch" if isinstance(value, bool) else "mapping"


MemoryField = Annotated[
    Annotated[bool, Tag("switch")] | Annotated[MemorySpec, Tag("mapping")],
    Discriminator(_kind),
]


def check_name(squad: str, findings: Findings) -> None:
    """Report a squad's name that its memory cannot be kept under: `squad/agent` is what an agent keeps alone."""
    if "/" in squad or len(squad) > MOST_NAME:
        why = "has a '/', which separates a squad and its agent" if "/" in squad else "is too long"
        hint = f"memory is kept by the squad's name: at most {MOST_NAME} characters, and no '/'"
        findings.error(("name",), "invalid-name", f"the name of a squad that remembers {why}", hint)


MOST_NAME = 100


def memory_use(
    squad: bool | MemorySpec | None, agent: bool | MemorySpec | None, names: tuple[str, str]
) -> MemoryUse | None:
    """Return how an agent uses memory, None where it has none: its own fields, then the squad's, then the defaults.

    `names` are those of the squad and the agent. A squad's `memory` gives each of its agents one, but for an agent with
    `memory: false`.
    """
    if agent is False or not (agent or squad):
        return None
    made = MemoryUse(*names)
    layers = [one for one in (agent, squad) if isinstance(one, MemorySpec)]

    def first(name: str, default: object) -> object:
        return next((value for one in layers if (value := getattr(one, name)) is not None), default)

    return MemoryUse(
        *names,
        first("scope", made.scope),  # type: ignore[arg-type]  # checked by the spec
        first("recall", made.recall),  # type: ignore[arg-type]  # as above
        first("ttl", made.ttl_s),  # type: ignore[arg-type]  # as above
        first("max_tokens", made.max_tokens),  # type: ignore[arg-type]  # as above
        _embeddings(first("embeddings", None)),
    )


def _embeddings(field: object) -> str | ProviderEmbeddings | None:
    if isinstance(field, EmbeddingsSpec):
        return ProviderEmbeddings((field.asked,), field.dimensions)
    return field if isinstance(field, str) else None


class KnowledgeSpec(StrictModel):
    """A folder of documents, or one document, that agents may look up. The best passages are put before their work."""

    noun: ClassVar[str] = "a knowledge source"
    other_names: ClassVar[Mapping[str, str]] = {
        "folder": "path",
        "file": "path",
        "glob": "include",
        "patterns": "include",
        "chunk_size": "max_chunk",
        "top_k": "recall",
    }
    path: NonEmpty = Field(description="A folder or a file, beside this one or below.", examples=["docs"])
    include: list[NonEmpty] | None = Field(
        default=None,
        min_length=1,
        description="Patterns of the files that are read. Default: all texts.",
        examples=[["*.md"]],
    )
    max_chunk: Annotated[int, Field(ge=LEAST_CHUNK_CHARS, le=20_000)] | None = Field(
        default=None, description=f"Characters of one passage. Default: `{CHUNK_CHARS}`.", examples=[800]
    )
    recall: Annotated[int, Field(ge=0, le=50)] | None = Field(
        default=None,
        description=f"Passages that are put before each piece of work. Default: `{RECALL}`.",
        examples=[8],
    )
    max_tokens: Annotated[int, Field(ge=50, le=100_000)] | None = Field(
        default=None, description=f"Tokens that these may take. Default: `{KNOWLEDGE_TOKENS}`.", examples=[4000]
    )


def _kind_of_one(value: object) -> str:
    return "mapping" if isinstance(value, dict) else "text"


def _kind_of_all(value: object) -> str:
    return "list" if isinstance(value, list) else _kind_of_one(value)


_Text = Annotated[NonEmpty, Tag("text")]
_Mapping = Annotated[KnowledgeSpec, Tag("mapping")]
KnowledgeEntry = Annotated[_Text | _Mapping, Discriminator(_kind_of_one)]
KnowledgeField = Annotated[_Text | _Mapping | Annotated[list[KnowledgeEntry], Tag("list")], Discriminator(_kind_of_all)]
Knowledge = str | KnowledgeSpec | list[str | KnowledgeSpec] | None


def entries_of(field: Knowledge) -> list[tuple[DocumentPath, KnowledgeSpec]]:
    """Return the entries of a field, each with the place of its path below the field."""
    if field is None:
        return []
    if isinstance(field, list):
        return [((i, *place), one) for i, each in enumerate(field) for place, one in entries_of(each)]
    return [((), KnowledgeSpec(path=field))] if isinstance(field, str) else [(("path",), field)]


def knowledge_use(squad: Knowledge, agent: Knowledge) -> KnowledgeUse | None:
    """Return what an agent may look up, its own documents and the squad's; None where there are none."""
    specs = [one for _, one in (*entries_of(agent), *entries_of(squad))]
    if not specs:
        return None
    sources = [KnowledgeSource(_plain(one.path), tuple(one.include or ()), one.max_chunk) for one in specs]
    recall = [one.recall for one in specs if one.recall is not None]
    tokens = [one.max_tokens for one in specs if one.max_tokens is not None]
    default = KnowledgeUse(())
    return KnowledgeUse(
        tuple(dict.fromkeys(sources)),
        max(recall) if recall else default.recall,
        max(tokens) if tokens else default.max_tokens,
    )


def _plain(path: str) -> str:
    return PurePosixPath(path.replace("\\", "/")).as_posix()


def check_folders(
    squad: Knowledge, agents: Mapping[str, Knowledge], findings: Findings, fault: Callable[[str], str]
) -> None:
    """Report each path that cannot be read; `fault` says why, empty where it can."""
    fields: list[tuple[DocumentPath, Knowledge]] = [(("knowledge",), squad)]
    fields += [(("agents", name, "knowledge"), each) for name, each in agents.items()]
    for at, field in fields:
        for place, one in entries_of(field):
            if why := fault(_plain(one.path)):
                hint = "a folder or file beside this file: docs/"
                findings.error((*at, *place), "bad-knowledge", f"'{one.path}' cannot be read: {why}", hint)


def embeddings_of(
    squad: bool | MemorySpec | None, agents: Mapping[str, bool | MemorySpec | None]
) -> Iterator[tuple[DocumentPath, str | EmbeddingsSpec]]:
    """Yield what stands for embeddings of a squad and of its agents, each with its place."""
    fields: list[tuple[DocumentPath, bool | MemorySpec | None]] = [(("memory",), squad)]
    fields += [(("agents", name, "memory"), each) for name, each in agents.items()]
    for at, field in fields:
        if isinstance(field, MemorySpec) and field.embeddings is not None:
            yield (*at, "embeddings"), field.embeddings
