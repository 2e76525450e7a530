"""Text vectors on disk, one file per encoder, so that a text is encoded once on a machine."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from trivium.errors import OutputError
from trivium.files import whole_file

Vectors = Float[NDArray[np.float32], "texts dim"]
Encode = Callable[[Sequence[str]], Vectors]
_KEY_BYTES = 16


def cached(encode: Encode, name: str, dim: int, folder: Path) -> Encode:
    """An encoder's function, looking a text up before it encodes it.

    The file holds a checksum, and 16 bytes of hash and a float32 vector per text; a file that fails the checksum is
    written again. Where the folder cannot be written, nothing is kept. Of two programs that write at once, the last
    one's new texts remain.
    """
    path = vectors_file(name, folder)

    def look_up(texts: Sequence[str]) -> Vectors:
        keys = [hashlib.blake2b(text.encode(), digest_size=_KEY_BYTES).digest() for text in texts]
        held = _read(path, dim)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in held}
        if missing:
            held |= zip(missing, encode(list(missing.values())), strict=True)
            _write(path, held)
        return np.array([held[key] for key in keys], np.float32).reshape(len(texts), dim)

    return look_up


def vectors_file(name: str, folder: Path) -> Path:
    """The file of an encoder's vectors: two encoders share none, whatever their names hold."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return folder / f"{re.sub('[^A-Za-z0-9.-]+', '-', name)[:60]}-{digest}.vectors"


def _read(path: Path, dim: int) -> dict[bytes, Vectors]:
    try:
        content = path.read_bytes()
    except OSError:
        return {}
    body, row = content[32:], _KEY_BYTES + 4 * dim
    if hashlib.sha256(body).digest() != content[:32] or len(body) % row:
        return {}
    rows = np.frombuffer(body, np.dtype([("key", f"V{_KEY_BYTES}"), ("vector", "<f4", dim)]))
    return {key.tobytes(): vector for key, vector in zip(rows["key"], rows["vector"], strict=True)}


def _write(path: Path, held: Mapping[bytes, Vectors]) -> None:
    body = b"".join(key + vector.astype("<f4").tobytes() for key, vector in held.items())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, force=True) as file:
            file.write(hashlib.sha256(body).digest() + body)
    except (OSError, OutputError):
        return
