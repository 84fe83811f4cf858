"""Texts as vectors that are near each other where their meanings are: by a BERT model in a folder, with numpy alone.

A folder as sentence-transformers writes it: `config.json`, `vocab.txt`, `model.safetensors` (MiniLM, E5, BGE, GTE). No
code of the folder runs. A program may bring an `Embedder` of its own, a provider's for example.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agents.memory.database import MemoryUnusable
from agents.memory.model_folder import NO_NUMPY, NUMPY_HINT, WEIGHTS, config_of, header_of, vocabulary_of, why_of
from agents.memory.wordpiece import pieces

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

MOST_TOKENS = 256
_TYPES = {"F32": "<f4", "F16": "<f2"}


class Embedder(Protocol):
    """Makes vectors of texts. Calls may come from several threads, and may block."""

    @property
    def name(self) -> str:
        """Of the model: vectors of one model compare with no other's."""
        ...

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one vector a text, all of one length."""
        ...


class LocalEmbedder:
    """A BERT model from the folder `folder`. Raise `MemoryUnusable` where it holds none that can be used.

    14 ms of CPU a short text. Vectors have the length 1, so their dot product is the cosine.
    """

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder)
        try:
            import numpy  # noqa: ICN001  # the name is only tried here
        except ImportError as error:
            raise MemoryUnusable(folder, NO_NUMPY, NUMPY_HINT, what="embeddings folder") from error
        self._np = numpy
        try:
            self._read()
        except (OSError, ValueError, KeyError, TypeError) as error:
            hint = f"a folder with config.json, vocab.txt and {WEIGHTS}"
            raise MemoryUnusable(folder, why_of(error), hint, what="embeddings folder") from error

    def _read(self) -> None:
        folder = self._folder
        config = config_of(folder)
        self._layers, self._heads = int(config["num_hidden_layers"]), int(config["num_attention_heads"])
        self._epsilon = float(config.get("layer_norm_eps", 1e-12))
        self._vocabulary = vocabulary_of(folder)
        self._weights, self.name = self._tensors(folder / WEIGHTS)
        self._most = min(MOST_TOKENS, len(self._weights["embeddings.position_embeddings.weight"]))
        pooling = folder / "1_Pooling" / "config.json"
        said = json.loads(pooling.read_text("utf-8")) if pooling.is_file() else {}
        self._by_first = bool(said.get("pooling_mode_cls_token"))
        self.embed(["probe"])  # what does not fit together is told now

    def _tensors(self, path: Path) -> tuple[Mapping[str, Array], str]:
        """Return the tensors of a file by name, as float32, and a name for the model: equal for equal weights."""
        with path.open("rb") as file:
            header = header_of(file)
            data = self._np.frombuffer(file.read(), dtype=self._np.uint8)
        found: dict[str, Array] = {}
        for name, about in json.loads(header).items():
            if name == "__metadata__" or about["dtype"] not in _TYPES:
                continue
            first, last = about["data_offsets"]
            flat = data[first:last].view(_TYPES[about["dtype"]]).astype(self._np.float32)
            found[name.removeprefix("bert.")] = flat.reshape(about["shape"])
        digest = hashlib.sha256(header + data[:: max(1, len(data) // 4096)].tobytes()).hexdigest()[:16]
        return found, f"bert-{digest}"

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one vector a text, all of one length."""
        return [self._vector(pieces(text, self._vocabulary, self._most)) for text in texts]

    def _vector(self, ids: Sequence[int]) -> Any:
        np, w = self._np, self._weights
        x = w["embeddings.word_embeddings.weight"][list(ids)] + w["embeddings.position_embeddings.weight"][: len(ids)]
        x = self._normed(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for n in range(self._layers):
            at = f"encoder.layer.{n}"
            x = self._normed(x + self._attended(x, f"{at}.attention"), f"{at}.attention.output.LayerNorm")
            inner = self._dense(x, f"{at}.intermediate.dense")
            inner = inner * 0.5 * (1 + self._erf(inner / math.sqrt(2)))
            x = self._normed(x + self._dense(inner, f"{at}.output.dense"), f"{at}.output.LayerNorm")
        pooled = x[0] if self._by_first else x.mean(axis=0)
        return pooled / max(float(np.linalg.norm(pooled)), 1e-12)

    def _attended(self, x: Array, at: str) -> Array:
        np, tokens = self._np, len(x)
        q, k, v = (
            self._dense(x, f"{at}.self.{part}").reshape(tokens, self._heads, -1).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores = q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1])
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        return self._dense((scores @ v).swapaxes(0, 1).reshape(tokens, -1), f"{at}.output.dense")

    def _dense(self, x: Array, name: str) -> Array:
        made: Array = x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return made

    def _normed(self, x: Array, name: str) -> Array:
        apart = x - x.mean(axis=-1, keepdims=True)
        spread = self._np.sqrt((apart**2).mean(axis=-1, keepdims=True) + self._epsilon)
        made: Array = apart / spread * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
        return made

    def _erf(self, x: Array) -> Array:
        """Return the error function, within 1.5e-7 (Abramowitz and Stegun, 7.1.26)."""
        np = self._np
        t = 1 / (1 + 0.3275911 * np.abs(x))
        series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
        made: Array = np.sign(x) * (1 - series * np.exp(-(x**2)))
        return made
