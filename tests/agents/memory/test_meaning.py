"""Records found by meaning: a model in a folder, vectors by their signs, and two rankings as one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.memory.database import MemoryUnusable
from agents.memory.embedders import LocalEmbedder
from agents.memory.fusion import fused
from agents.memory.records import made_record
from agents.memory.store import MemoryStore
from agents.memory.wordpiece import pieces
from tests.components import imported

np = imported("numpy", "embeddings")

NOW = 1_800_000_000.0
WIDTH, HEADS, INNER = 8, 2, 16
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "zebra", "is", "##s", "strip", "##ed", "cafe", "!", "東"]


def test_words_become_the_longest_pieces_that_are_known() -> None:
    known = {piece: n for n, piece in enumerate(VOCABULARY)}

    def told(text: str, most: int = 64) -> list[str]:
        return [VOCABULARY[n] for n in pieces(text, known, most)]

    assert told("The ZEBRAS is striped!") == ["[CLS]", "the", "zebra", "##s", "is", "strip", "##ed", "!", "[SEP]"]
    assert told("Café 東\0\u200b xyz") == ["[CLS]", "cafe", "東", "[UNK]", "[SEP]"]
    assert told("zebra " * 1000, 5) == ["[CLS]", "zebra", "zebra", "zebra", "[SEP]"]
    assert told("z" * 1_000_000) == ["[CLS]", "[UNK]", "[SEP]"]
    assert told("") == ["[CLS]", "[SEP]"]


def tensors(seed: int = 3) -> dict[str, Any]:
    random = np.random.default_rng(seed)

    def of(*shape: int) -> Any:
        return random.normal(size=shape).astype("<f4")

    made = {f"embeddings.{name}_embeddings.weight": of(size, WIDTH) for name, size in (("word", 13), ("position", 32))}
    made["embeddings.token_type_embeddings.weight"] = of(2, WIDTH)
    shapes = {f"attention.self.{part}": (WIDTH, WIDTH) for part in ("query", "key", "value")}
    shapes |= {"attention.output.dense": (WIDTH, WIDTH), "intermediate.dense": (INNER, WIDTH)}
    shapes |= {"output.dense": (WIDTH, INNER)}
    for name, shape in shapes.items():
        made[f"encoder.layer.0.{name}.weight"], made[f"encoder.layer.0.{name}.bias"] = of(*shape), of(shape[0])
    for name in ("embeddings", "encoder.layer.0.attention.output", "encoder.layer.0.output"):
        made[f"{name}.LayerNorm.weight"], made[f"{name}.LayerNorm.bias"] = of(WIDTH), of(WIDTH)
    return made


def written(folder: Path, **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    about = {"model_type": "bert", "num_hidden_layers": 1, "num_attention_heads": HEADS, **config}
    (folder / "config.json").write_text(json.dumps(about))
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY), "utf-8")
    header, data = {}, b""
    for name, tensor in tensors().items():
        end = len(data) + tensor.nbytes
        header[f"bert.{name}"] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [len(data), end]}
        data += tensor.tobytes()
    head = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + data)
    return folder


def test_a_model_in_a_folder_makes_vectors_of_length_one_the_same_in_each_process(tmp_path: Path) -> None:
    embedder = LocalEmbedder(written(tmp_path / "model"))
    one, same, other = np.array(embedder.embed(["the zebra", "THE ZEBRA", "strip!"]))
    assert np.allclose(np.linalg.norm([one, other], axis=1), 1)
    assert np.allclose(one, same)
    assert abs(float(one @ other)) < 0.999
    assert LocalEmbedder(tmp_path / "model").name == embedder.name
    # As computed by hand in float64, apart from the code under test.
    assert float(one @ other) == pytest.approx(by_hand("the zebra", "strip!"), abs=1e-5)


def by_hand(*texts: str) -> float:
    """Return the cosine of two texts by the formulas of BERT, one token and one head at a time."""
    from math import erf

    w = {name: tensor.astype("float64") for name, tensor in tensors().items()}
    known = {piece: n for n, piece in enumerate(VOCABULARY)}

    def norm(x: Any, name: str) -> Any:
        return (x - x.mean()) / np.sqrt(x.var() + 1e-12) * w[f"{name}.LayerNorm.weight"] + w[f"{name}.LayerNorm.bias"]

    def dense(x: Any, name: str) -> Any:
        return w[f"encoder.layer.0.{name}.weight"] @ x + w[f"encoder.layer.0.{name}.bias"]

    def vector(text: str) -> Any:
        x = [
            norm(
                w["embeddings.word_embeddings.weight"][n]
                + w["embeddings.position_embeddings.weight"][i]
                + w["embeddings.token_type_embeddings.weight"][0],
                "embeddings",
            )
            for i, n in enumerate(pieces(text, known, 32))
        ]
        q, k, v = ([dense(one, f"attention.self.{part}") for one in x] for part in ("query", "key", "value"))
        size, out = WIDTH // HEADS, []
        for i, one in enumerate(x):
            heads = []
            for part in (slice(h * size, (h + 1) * size) for h in range(HEADS)):
                weights = np.exp([q[i][part] @ other[part] / np.sqrt(size) for other in k])
                shares = zip(weights / weights.sum(), v, strict=True)
                heads.append(sum(share * value[part] for share, value in shares))
            attended = dense(np.concatenate(heads), "attention.output.dense")
            mixed = norm(one + attended, "encoder.layer.0.attention.output")
            inner = np.array([z * 0.5 * (1 + erf(z / np.sqrt(2))) for z in dense(mixed, "intermediate.dense")])
            out.append(norm(mixed + dense(inner, "output.dense"), "encoder.layer.0.output"))
        pooled = np.mean(out, axis=0)
        return pooled / np.linalg.norm(pooled)

    one, other = map(vector, texts)
    return float(one @ other)


@pytest.mark.parametrize("fault", ["none", "config", "type", "vocabulary", "header", "cut", "shape", "huge"])
def test_a_folder_without_a_usable_model_is_told(tmp_path: Path, fault: str) -> None:
    folder = written(tmp_path / "model") if fault != "none" else tmp_path / "nowhere"
    weights = folder / "model.safetensors"
    match fault:
        case "config":
            (folder / "config.json").write_text("[")
        case "type":
            written(folder, model_type="llama")
        case "vocabulary":
            (folder / "vocab.txt").write_text("the\nzebra")
        case "header":
            weights.write_bytes(b"\xff" * 64)
        case "cut":
            weights.write_bytes(weights.read_bytes()[:-64])
        case "shape":
            written(folder, num_hidden_layers=2)
        case "huge":
            weights.write_bytes((1 << 23).to_bytes(8, "little") + b"{}")
    with pytest.raises(MemoryUnusable, match=r"the embeddings folder .* cannot be used"):
        LocalEmbedder(folder)


class Meanings:
    """An embedder of the program's own: texts about one subject are near each other."""

    name = "meanings"
    asked = 0

    def embed(self, texts):
        self.asked += len(texts)
        return [self._of(text.lower()) for text in texts]

    def _of(self, text: str) -> list[float]:
        money = any(word in text for word in ("invoice", "payment", "money"))
        animals = any(word in text for word in ("zebra", "striped", "animal"))
        others = [0.01 * (n == len(text)) for n in range(68)]
        return [float(money), float(animals), *others]


def keep(store: MemoryStore, *texts: str, scope: str = "s") -> list[str]:
    return [kept.id for kept, _ in store.remember([made_record(text, scope, "agent", NOW) for text in texts], NOW)]


def found(store: MemoryStore, text: str, scope: str = "s") -> list[str]:
    return [one.record.text for one in store.search(text, [scope], NOW)]


def test_records_are_found_by_meaning_and_by_words_and_ranked_together(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    with MemoryStore.open(path) as store:
        keep(store, "An invoice is due in 30 days.")  # remembered before there was a model
    with MemoryStore.open(path, embedder=Meanings()) as store:
        ids = keep(store, "The zebra is striped.", "Ticket ABC-1 is open.")
        keep(store, "The animal of another squad.", scope="other")
        assert found(store, "payment terms") == ["An invoice is due in 30 days."]
        assert found(store, "which animal") == ["The zebra is striped."]
        assert found(store, "abc-1") == ["Ticket ABC-1 is open."]
        assert found(store, "animal abc-1")[0] == "The zebra is striped."
        assert found(store, "nothing of that") == []
        store.forget(ids)
        assert found(store, "which animal") == []
        keep(store, "Striped animals sleep.")
        assert found(store, "zebra") == ["Striped animals sleep."]


def test_the_nearest_of_many_are_found_by_their_signs(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    directions = random.normal(size=(3000, 96))

    class Random(Meanings):
        name = "random"

        def embed(self, texts):
            return [directions[int(text.split()[0])] + random.normal(size=96) * 0.05 for text in texts]

    with MemoryStore.open(embedder=Random()) as store:
        for start in range(0, 3000, 500):
            keep(store, *(f"{n} x" for n in range(start, start + 500)))
        while store.embed(store.embedder, 1000):
            pass
        for n in range(0, 3000, 300):
            assert found(store, f"{n} x")[0] == f"{n} x"


def test_two_rankings_become_one() -> None:
    ranked = [one for one, _ in fused([(0.5, ["a", "b"]), (1.0, ["b", "c"])])]
    assert ranked == ["b", "c", "a"]
    assert fused([]) == []
