"""MiniLM against published figures, its cache, and what is said when parts are missing."""

import importlib.metadata
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from trivium import released
from trivium.errors import ConfigError, InputError, MissingPackageError
from trivium.text.encoder import (
    MINILM,
    Encode,
    MiniLM,
    cached,
    find_minilm,
    load_encoder,
    vectors_file,
)

LONG = "the relation between a person and the place in which that person was born " * 30


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    """The default encoder."""
    if find_minilm() is None:
        pytest.skip("MiniLM is not on this machine: name its folder in TRIVIUM_MODELS")
    pytest.importorskip("tokenizers", reason="the extra trivium[text] is not installed: tokenizers is missing")
    return MiniLM()


class Counting:
    """Encodes, and counts what it is asked for."""

    def __init__(self, name: str = "counting/model v1") -> None:
        self.asked: list[str] = []
        self.name = name

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        return np.array([[len(text), text.count("a"), 1] for text in texts], np.float32)

    def kept_in(self, folder: Path) -> Encode:
        return cached(self, self.name, 3, folder)


def test_vectors_give_the_published_cosines(minilm: MiniLM) -> None:
    """Source: https://gist.github.com/Spartee/52d91a87571f37e5b34555c1db987f5f, the model card's example."""
    texts = ["That is a happy person", "That is a very happy person", "That is a happy dog", "Today is a sunny day"]
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


def test_words_stand_by_frequency(minilm: MiniLM) -> None:
    words = minilm.words()
    assert words is not None
    assert words["of"] < words["team"] < words["athlete"]


def test_other_files_are_refused(minilm: MiniLM, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRIVIUM_MODELS", str(tmp_path))
    file = tmp_path / MINILM / "tokenizer.json"
    file.parent.mkdir()
    file.write_bytes(b"{}")
    with pytest.raises(ConfigError, match=r"tokenizer.json has SHA-256 [0-9a-f]{64}, not be50c3628f"):
        MiniLM().encode(["a"])
    file.unlink()
    file.mkdir()
    with pytest.raises(InputError, match=r"tokenizer.json cannot be read \(Is a directory\)"):
        MiniLM().encode(["a"])


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine on which nothing is released, installed or cached; its cache folder."""
    monkeypatch.setattr(importlib.metadata, "distributions", lambda **_: [])
    monkeypatch.setattr(released, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(released, "CLONE", tmp_path / "clone")
    return tmp_path / "cache"


def test_weights_are_found_in_the_named_folder_first(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert find_minilm() is None
    for folder in (nowhere / "models", tmp_path / "clone", tmp_path / "named"):
        (folder / MINILM).mkdir(parents=True)
        (folder / MINILM / "model.safetensors").touch()
        monkeypatch.setenv("TRIVIUM_MODELS", str(tmp_path / "named"))
        assert find_minilm() == folder / MINILM / "model.safetensors"


def test_weights_that_cannot_be_downloaded_are_one_line_that_says_what_to_do(
    nowhere: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("tokenizers", reason="the extra trivium[text] is not installed: tokenizers is missing")
    caplog.set_level("INFO", "trivium")
    encoder = load_encoder(cache=nowhere)
    assert encoder.words() is None
    with pytest.raises(MissingPackageError) as caught:
        encoder.encode(["a"])
    message = str(caught.value)
    assert "cannot download https://huggingface.co/sentence-transformers" in message and "\n" not in message
    assert message.endswith(f"put the file at {MINILM}/tokenizer.json in a folder, and name that in TRIVIUM_MODELS")
    assert caplog.text.count("downloading https://") == 1
    assert "(" not in message or message.count("(") == message.count(")")


def test_a_download_is_checked_and_kept(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def retrieve(url: str, known: str, name: str, folder: Path) -> str:
        assert (url, known) == ("https://example.org/w", "sha256:12")
        folder.mkdir(parents=True)
        (folder / name).write_bytes(b"weights")
        return str(folder / name)

    monkeypatch.setattr("pooch.retrieve", retrieve)
    path = released.fetch("M/w", "https://example.org/w", "12")
    assert path == nowhere / "models" / "M" / "w" == released.find("M/w")


def test_without_tokenizers_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigError, match=r"needs the package tokenizers: pip install 'trivium\[text\]'"):
        MiniLM().encode(["a"])


def test_names_of_the_default(tmp_path: Path) -> None:
    name = load_encoder(cache=tmp_path).name
    assert name == f"{MINILM}@53aa51172d14"
    for same in (name, f"sentence-transformers/{MINILM}"):
        assert load_encoder(same, cache=tmp_path).name == name
    for other in (f"{MINILM}@000000000000", "org/model", "/etc", "5"):
        with pytest.raises(ConfigError, match=f"text encoder '{other}': the one that is known here is"):
            load_encoder(other, cache=tmp_path)


def test_a_text_is_encoded_once(tmp_path: Path) -> None:
    inner, folder = Counting(), tmp_path / "new" / "folder"
    encode = inner.kept_in(folder)
    expected = [[3, 1, 1], [2, 2, 1], [3, 1, 1]]
    assert encode(["bad", "aa", "bad"]).tolist() == expected
    assert encode(["aa"]).tolist() == expected[1:2]
    again = inner.kept_in(folder)
    assert again(["bad", "aa", "bad"]).tolist() == expected
    assert again(["new", "aa"]).tolist() == [[3, 0, 1], [2, 2, 1]]
    assert inner.asked == ["bad", "aa", "new"]
    assert again([]).shape == (0, 3)
    assert list(folder.iterdir()) == [vectors_file(inner.name, folder)]
    assert vectors_file(inner.name, folder).stat().st_size == 32 + 3 * (16 + 3 * 4)


def test_encoders_share_no_vectors(tmp_path: Path) -> None:
    one, other = Counting(), Counting("counting-model-v1")  # the same but for letters that a file's name cannot hold
    one.kept_in(tmp_path)(["a"])
    other.kept_in(tmp_path)(["a"])
    assert other.asked == ["a"] and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "folder"])
def test_a_damaged_cache_is_made_again(tmp_path: Path, damage: str) -> None:
    inner = Counting()
    inner.kept_in(tmp_path)(["bad", "aa"])
    path = vectors_file(inner.name, tmp_path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 255
    if damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes({"cut": bytes(content[:-3]), "flipped": bytes(content), "empty": b""}[damage])
    inner = Counting()
    assert inner.kept_in(tmp_path)(["bad"]).tolist() == [[3, 1, 1]]
    assert inner.asked == ["bad"]


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert Counting().kept_in(tmp_path / "file")(["bad"]).tolist() == [[3, 1, 1]]


def test_writers_keep_each_others_texts(tmp_path: Path) -> None:
    one, two = Counting().kept_in(tmp_path), Counting().kept_in(tmp_path)
    one(["a"])
    two(["b"])
    one(["c"])
    inner = Counting()
    inner.kept_in(tmp_path)(["a", "b", "c"])
    assert inner.asked == []
