"""The folder of a BERT model, as sentence-transformers writes it: what is in it, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from agents.memory.wordpiece import FIRST, LAST, UNKNOWN

WEIGHTS = "model.safetensors"
HEADER_BYTES = 1 << 24
NO_NUMPY = "numpy is not installed"
NUMPY_HINT = "pip install 'squad-orchestrator[embeddings]'"


def config_of(folder: Path) -> Mapping[str, Any]:
    """Return what the folder says of its model. Raise `OSError`, `ValueError`, `KeyError` or `TypeError`."""
    config: Mapping[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    if config["model_type"] != "bert" or config.get("hidden_act", "gelu") != "gelu":
        raise ValueError(f"a model of the type {config['model_type']}")
    return config


def vocabulary_of(folder: Path) -> dict[str, int]:
    """Return the pieces of words that the model knows, with their numbers. Raise `OSError` or `ValueError`."""
    lines = (folder / "vocab.txt").read_text("utf-8").splitlines()
    vocabulary = {piece: number for number, piece in enumerate(lines)}
    if missing := {FIRST, LAST, UNKNOWN} - vocabulary.keys():
        raise ValueError(f"a vocabulary without {', '.join(sorted(missing))}")
    return vocabulary


def header_of(file: BinaryIO) -> bytes:
    """Return the JSON before the weights in a file. Raise `ValueError`."""
    size = int.from_bytes(file.read(8), "little")
    if not 2 <= size <= HEADER_BYTES:
        raise ValueError("its header is too long")
    return file.read(size)


def why_of(error: Exception) -> str:
    """Return in words why a folder holds no model that can be used."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"it holds no BERT model: {error!r}"


def folder_fault(folder: Path) -> str:
    """Return why no vectors can be made with the model in a folder, empty where they can. The weights are not read."""
    try:
        config_of(folder)
        vocabulary_of(folder)
        with (folder / WEIGHTS).open("rb") as file:
            if not isinstance(json.loads(header_of(file)), dict):
                raise ValueError("its header is no object")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return why_of(error)
    return NO_NUMPY if find_spec("numpy") is None else ""
