"""A table made in parts: killed anywhere, the same call goes on, and nothing of another call gets into it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trivium.errors import OutputError
from trivium.inference.parts import write_in_parts

SCRIPT = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
import polars as pl
from trivium.inference.parts import write_in_parts

path, fault, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
seen = []

def trip(kind):
    seen.append(kind)
    if kind == fault and seen.count(kind) == count:
        if fault == "hold":
            print("held", flush=True)
            time.sleep(600)
        os.kill(os.getpid(), signal.SIGKILL)

def on(owner, name, kind):
    original = getattr(owner, name)
    def patched(*words, **more):
        trip(kind)
        return original(*words, **more)
    setattr(owner, name, patched)

on(Path, "replace", "replace")
on(Path, "hardlink_to", "link")
on(Path, "unlink", "unlink")

def compute(part):
    trip("hold" if fault == "hold" else "compute")
    with open("computed.txt", "a") as log:
        print(*part, file=log)
    return pl.DataFrame({"question": part, "answer": part * part})

blocks = [[np.array([2, 0]), np.array([1])], [np.array([3, 4]), np.array([5])]]
write_in_parts(path, False, "squares", blocks, compute, lambda rows: rows.sort("question"))
"""
TABLE = "question,answer\n" + "".join(f"{i},{i * i}\n" for i in range(6))


def run(folder: Path, fault: str = "none", count: int = 1, name: str = "t.csv") -> int:
    return subprocess.run([sys.executable, "-c", SCRIPT, name, fault, str(count)], cwd=folder).returncode


@pytest.mark.parametrize(
    ("fault", "count"), [("compute", 1), ("compute", 3), ("replace", 1), ("replace", 4), ("link", 1), ("unlink", 7)]
)
def test_a_killed_call_made_again_gives_the_same_bytes(tmp_path: Path, fault: str, count: int) -> None:
    assert run(tmp_path, fault, count) == -9
    assert not (tmp_path / "t.csv").exists() or (tmp_path / "t.csv").read_text() == TABLE
    (tmp_path / "t.csv").unlink(missing_ok=True)
    assert run(tmp_path) == 0
    assert (tmp_path / "t.csv").read_text() == TABLE
    assert {path.name for path in tmp_path.iterdir()} == {"t.csv", "computed.txt"}
    computed = (tmp_path / "computed.txt").read_text().splitlines()
    assert len(computed) <= 5  # at most one of the four is computed twice


def squares(path: Path, request: str = "squares", power: int = 2) -> int:
    def compute(part: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pl.DataFrame:
        return pl.DataFrame({"question": part, "answer": part**power})

    blocks = [[np.array([2, 0]), np.array([1])], [np.array([3, 4]), np.array([5])]]
    return write_in_parts(path, False, request, blocks, compute, lambda rows: rows.sort("question"))


def test_parts_of_another_request_are_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert run(tmp_path, "compute", 3) == -9
    assert squares(tmp_path / "t.csv", "cubes", 3) == 6
    assert pl.read_csv(tmp_path / "t.csv")["answer"].to_list() == [0, 1, 8, 27, 64, 125]
    assert "keeps parts of other requests" in caplog.text
    (tmp_path / "t.csv").unlink()
    assert run(tmp_path) == 0
    assert (tmp_path / "t.csv").read_text() == TABLE
    assert len((tmp_path / "computed.txt").read_text().splitlines()) == 4
    assert not (tmp_path / ".t.csv.parts").exists()


def test_a_name_is_no_pattern(tmp_path: Path) -> None:
    assert run(tmp_path, "compute", 3, "run1.csv") == -9
    for name in ("run[1].csv", "run?.csv", "run*.csv"):
        assert squares(tmp_path / name, "cubes", 3) == 6
        assert pl.read_csv((tmp_path / name).read_bytes())["answer"].to_list() == [0, 1, 8, 27, 64, 125]


def test_one_process_at_a_time_until_it_dies(tmp_path: Path) -> None:
    words = [sys.executable, "-c", SCRIPT, "t.csv", "hold", "2"]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(OutputError, match="another process is writing"):
            squares(tmp_path / "t.csv")
        first.kill()
    assert squares(tmp_path / "t.csv") == 6
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".txt"] == ["t.csv"]


@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda content: content[:50] + b"?" + content[51:]])
def test_a_damaged_part_is_computed_again(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    assert run(tmp_path, "compute", 4) == -9
    for part in (tmp_path / ".t.csv.parts").glob("*.parquet"):
        part.write_bytes(damage(part.read_bytes()))
    assert squares(tmp_path / "t.csv") == 6
    assert (tmp_path / "t.csv").read_text() == TABLE


def test_a_failed_call_leaves_no_empty_folder(tmp_path: Path) -> None:
    def refuse(_: object) -> pl.DataFrame:
        raise OutputError("no")

    with pytest.raises(OutputError, match="no"):
        write_in_parts(tmp_path / "t.csv", False, "none", [[np.array([0])]], refuse, lambda rows: rows)
    assert list(tmp_path.iterdir()) == []
