"""Compiled loops, kept on disk between processes: what is kept can be lost or damaged, at the cost of time alone."""

# mypy: disable-error-code="no-untyped-call"

import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

from trivium.files import digest, sealed, unsealed

_SOURCES = digest(numba.__version__, *(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))))


class _Kept(IndexDataCacheFile):
    """numba's files, but one a function and its types, after a checksum, that names all it was made from.

    numba's own are stale when the calling function's file has changed, but not when one that it calls from has; and
    what is damaged there ends in an error, or in other machine code.
    """

    def load(self, key: Any) -> Any:
        body = unsealed(self._place(key))
        made = digest(_SOURCES, key).encode()
        return pickle.loads(body.removeprefix(made)) if body is not None and body.startswith(made) else None

    def save(self, key: Any, data: Any) -> None:
        with self._open_for_write(self._place(key)) as file:
            file.write(sealed(digest(_SOURCES, key).encode() + self._dump(data)))

    def _place(self, key: Any) -> Path:
        return Path(self._data_path(f"{Path(self._index_name).stem}.{digest(*key[:2])[:16]}.nbc"))


class _Cache(FunctionCache):
    def __init__(self, function: Any) -> None:
        super().__init__(function)
        self._cache_file = _Kept(self.cache_path, self._impl.filename_base, "")

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):  # a full disk, or a folder that is gone
            super().save_overload(sig, data)


def compiled(**options: Any) -> Callable[[Any], Any]:
    """numba's ``njit`` without the interpreter's lock, its machine code kept on disk where there is a place for it.

    Args:
        options: as ``njit`` takes them.
    """

    def made(function: Any) -> Any:
        loop = numba.njit(nogil=True, **options)(function)
        with suppress(RuntimeError):  # no folder can be written: each process compiles anew
            loop._cache = _Cache(function)
        return loop

    return made
