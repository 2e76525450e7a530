"""Vectors on disk, one file per encoder, so that a text is encoded once on a machine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from trivium.errors import OutputError
from trivium.files import whole_file

if TYPE_CHECKING:
    from trivium.text.encoder import TextEncoder

_KEY_BYTES = 16


class CachedEncoder:
    """An encoder that looks a text up before it encodes it.

    The file holds 16 bytes of hash and a float32 vector per text, and a checksum: what fails it is encoded
    anew. Where the folder cannot be written, nothing is kept. Of two programs that write at once, the last
    one's new texts remain.
    """

    def __init__(self, encoder: TextEncoder, folder: Path) -> None:
        self.encoder = encoder
        digest = hashlib.sha256(encoder.name.encode()).hexdigest()[:12]
        self.path = folder / f"{re.sub('[^A-Za-z0-9.-]+', '-', encoder.name)[:60]}-{digest}.vectors"
        self._held: dict[bytes, NDArray[np.float32]] | None = None

    @property
    def name(self) -> str:
        return self.encoder.name

    @property
    def dim(self) -> int:
        return self.encoder.dim

    @property
    def threshold(self) -> float:
        return self.encoder.threshold

    @property
    def words(self) -> Mapping[str, int] | None:
        return self.encoder.words

    def encode(self, texts: Sequence[str]) -> Float[NDArray[np.float32], "texts dim"]:
        keys = [hashlib.blake2b(text.encode(), digest_size=_KEY_BYTES).digest() for text in texts]
        if self._held is None:
            self._held = self._read()
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._held}
        if missing:
            vectors = self.encoder.encode(list(missing.values()))
            self._held |= self._read() | dict(zip(missing, vectors, strict=True))
            self._write(self._held)
        return np.array([self._held[key] for key in keys], np.float32).reshape(len(texts), self.dim)

    def _read(self) -> dict[bytes, NDArray[np.float32]]:
        try:
            content = self.path.read_bytes()
        except OSError:
            return {}
        body, row = content[32:], _KEY_BYTES + 4 * self.dim
        if hashlib.sha256(body).digest() != content[:32] or len(body) % row:
            return {}
        rows = np.frombuffer(body, np.uint8).reshape(-1, row)
        vectors = rows[:, _KEY_BYTES:].copy().view("<f4").astype(np.float32, copy=False)
        return {rows[i, :_KEY_BYTES].tobytes(): vectors[i] for i in range(len(rows))}

    def _write(self, held: Mapping[bytes, NDArray[np.float32]]) -> None:
        body = b"".join(key + vector.astype("<f4").tobytes() for key, vector in held.items())
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self.path, force=True) as file:
                file.write(hashlib.sha256(body).digest())
                file.write(body)
        except (OSError, OutputError):
            return
