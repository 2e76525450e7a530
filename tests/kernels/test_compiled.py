"""What is kept of compiled loops costs time when it is lost, damaged or old, and never an answer."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import pytest

from trivium.files import digest
from trivium.kernels import compiled

SOURCE = """
from trivium.kernels.compiled import compiled

@compiled()
def twice(x):
    return x * 2
"""


@pytest.fixture
def loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Gives the loop as a new process would have it."""
    (tmp_path / "loops.py").write_text(SOURCE)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))

    def fresh() -> Any:
        spec = importlib.util.spec_from_file_location("loops", tmp_path / "loops.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.twice

    return fresh


def kept(folder: Path) -> Path:
    (file,) = (folder / "cache").rglob("*.nbc")
    return file


def hits(loop: Any) -> int:
    assert loop(21) == 42
    return sum(loop.stats.cache_hits.values())


@pytest.mark.parametrize(
    "damage", [lambda content: b"", lambda content: content[:-1], lambda content: content[:300] + b"?" + content[301:]]
)
def test_a_damaged_file_is_made_anew(loop: Callable[[], Any], tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    assert [hits(loop()), hits(loop())] == [0, 1]
    content = kept(tmp_path).read_bytes()
    kept(tmp_path).write_bytes(damage(content))
    assert [hits(loop()), hits(loop())] == [0, 1]


def test_a_change_of_any_source_makes_all_anew(
    loop: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [hits(loop()), hits(loop())] == [0, 1]
    monkeypatch.setattr(compiled, "_SOURCES", "vector.py as it is now")
    assert [hits(loop()), hits(loop())] == [0, 1]
    kept(tmp_path)  # in the same file


def test_every_source_of_the_kernels_counts() -> None:
    sources = sorted(Path(compiled.__file__).parent.glob("*.py"))
    assert "vector.py" in [path.name for path in sources]
    read = [path.read_bytes() for path in sources]
    assert digest(numba.__version__, *read) == compiled._SOURCES
    assert digest(numba.__version__, *read[:-1], read[-1] + b"\n") != compiled._SOURCES


def test_without_a_place_it_is_compiled_each_time(
    loop: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    full = loop()
    monkeypatch.setattr(compiled._Kept, "_open_for_write", refuse)
    assert hits(full) == 0
    monkeypatch.setattr("numba.core.caching.tempfile.TemporaryFile", refuse)  # as numba tries a folder
    assert [hits(loop()), hits(loop())] == [0, 0]
    assert list((tmp_path / "cache").rglob("*.nbc")) == []
