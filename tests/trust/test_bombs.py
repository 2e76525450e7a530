"""What is small on disk and large in memory, nested or aliased without end: one line, and bounded memory."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.conftest import Run, random_graph
from trivium.errors import TriviumError
from trivium.graph.formats import MAX_RATIO, TRIPLE
from trivium.graph.index import save_index
from trivium.graph.read import read_graph, read_queries, read_triples
from trivium.model.flags import read_flags
from trivium.settings import MAX_BYTES, read_json, read_yaml
from trivium.text.names import read_relation_texts

SCRIPT = """
import sys
from pathlib import Path
from trivium.errors import TriviumError
from trivium.graph.read import read_graph
try:
    read_graph(sys.argv[1])
except TriviumError as error:
    print(error)
for line in Path("/proc/self/status").read_text().splitlines():
    if line.startswith("VmHWM:"):  # the peak of this process, without that of its parent
        print(int(line.split()[1]) // 1024)
"""


def zipped(path: Path, head: bytes, filling: bytes, mib: int) -> Path:
    with gzip.open(path, "wb", 6) as file:
        file.write(head)
        for _ in range(mib):
            file.write(filling * ((1 << 20) // len(filling)))
    return path


def read(path: Path) -> tuple[str, int]:
    """What a process says that reads a graph, and its peak of memory in MiB."""
    words = [sys.executable, "-c", SCRIPT, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    *said, peak = done.stdout.splitlines()
    return " ".join(said), int(peak)


@pytest.mark.parametrize(
    ("name", "head", "filling"),
    [
        ("g.tsv.gz", b"a\tr\tb\n", b"a\tr\tb\n\n"),
        ("g.csv.gz", b"head,relation,tail\n", b"a," + b"r" * 1000 + b",b\n"),
        ("g.nt.gz", b"<u:a> <u:r> <u:b> .\n", b"\n"),
        ("g.ttl.gz", b"<u:a> <u:r> <u:b> .\n", b" "),
    ],
)
def test_a_gzip_bomb_stops_at_the_ratio(tmp_path: Path, name: str, head: bytes, filling: bytes) -> None:
    path = zipped(tmp_path / name, head, filling, 300)
    message, peak = read(path)
    assert f"more than {MAX_RATIO} times its size unzipped" in message
    assert peak < 1000


def page_bomb(path: Path) -> None:
    """Few names, each of which packs well."""
    names = pa.array([f"{'b' * 30_000_000}{number}" for number in range(10)], pa.large_string())
    parquet.write_table(pa.table([names] * 3, list(TRIPLE)), path, compression="zstd")


def row_bomb(path: Path) -> None:
    """One fact, repeated."""
    names = pa.DictionaryArray.from_arrays(np.zeros(5_000_000, np.int32), ["b" * 1000])
    parquet.write_table(pa.table([names] * 3, list(TRIPLE)), path, compression="zstd", row_group_size=1 << 30)


@pytest.mark.parametrize("bomb", [page_bomb, row_bomb])
def test_a_parquet_bomb_stops_before_it_is_unpacked(tmp_path: Path, bomb: Callable[[Path], None]) -> None:
    bomb(tmp_path / "g.parquet")
    message, peak = read(tmp_path / "g.parquet")
    assert f"g.parquet: more than {MAX_RATIO} times its size unpacked" in message
    assert peak < 500


def test_a_long_name_in_many_rows_is_kept_once(tmp_path: Path) -> None:
    names = pa.DictionaryArray.from_arrays(np.arange(400_000, dtype=np.int32) % 3, ["a" * 50_000, "b", "c"])
    parquet.write_table(pa.table([names] * 3, list(TRIPLE)), tmp_path / "g.parquet", compression="zstd")
    _, peak = read(tmp_path / "g.parquet")  # written out, the names come to 20 GB
    assert peak < 800
    assert read_graph(tmp_path / "g.parquet").num_triples == 3


def test_a_compressed_index_is_not_unpacked(tmp_path: Path) -> None:
    save_index(random_graph(0), tmp_path / "g.trivium")
    content = (tmp_path / "g.trivium").read_bytes()
    batch = pa.ipc.open_file(content[64:]).get_batch(0)
    columns = [pa.LargeListArray.from_arrays([0, 1 << 28], pa.array(np.zeros(1 << 28, np.int32))), *batch.columns[1:]]
    body = BytesIO()
    with pa.ipc.new_file(body, batch.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as file:
        file.write_batch(pa.record_batch(columns, schema=batch.schema))
    rest = content[12:64] + body.getvalue()
    (tmp_path / "g.trivium").write_bytes(content[:8] + zlib.crc32(rest).to_bytes(4, "little") + rest)
    message, peak = read(tmp_path / "g.trivium")
    assert "g.trivium holds no graph (it is compressed)" in message
    assert peak < 500


def test_an_index_larger_than_memory_is_one_line(tmp_path: Path) -> None:
    save_index(random_graph(0), tmp_path / "g.trivium")
    os.truncate(tmp_path / "g.trivium", 1 << 43)  # it takes no room on the disk
    with pytest.raises(TriviumError, match=r"g\.trivium is larger than this machine's memory"):
        read_graph(tmp_path / "g.trivium")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("g.csv", ",".join(f"c{number}" for number in range(50_000)) + "\n"),
        ("g.jsonl", json.dumps({f"k{number}": number for number in range(50_000)}) + "\n"),
        ("g.tsv", "id" * 5_000_000),
        ("g.csv", "(" * 100_000),
    ],
)
def test_a_header_without_end_is_one_short_line(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    began = time.process_time()
    with pytest.raises(TriviumError, match=f"{name} line 1: ") as caught:
        read_graph(tmp_path / name)
    assert len(str(caught.value)) < 1500
    assert time.process_time() - began < 10


def test_a_small_file_may_have_any_ratio(tmp_path: Path) -> None:
    path = zipped(tmp_path / "g.tsv.gz", b"", b"a\tr\tb" + b"b" * 999 + b"\n", 30)
    assert path.stat().st_size * MAX_RATIO < 30 << 20
    assert read_graph(path).num_triples == 1
    assert len(read_triples(zipped(tmp_path / "h.csv.gz", b"head,relation,tail\n", b"a,r,b\n", 1))) > 1
    assert len(read_queries(zipped(tmp_path / "q.tsv.gz", b"", b"a\tr\n", 1))) > 1


def test_a_name_without_end_is_named_with_its_line(tmp_path: Path) -> None:
    long = "<http://" + "a" * 17_000_000 + ">"
    (tmp_path / "x.nt").write_text(f"# names\n<u:a> <u:r> <u:b> .\n\n{long} <u:r> <u:b> .\n")
    with pytest.raises(TriviumError, match=r"x\.nt line 4: a name or text of more than 16 MiB"):
        read_graph(tmp_path / "x.nt")
    (tmp_path / "x.ttl").write_text(f"<u:a> <u:r> <u:b> .\n{long} <u:r> <u:b> .\n")
    with pytest.raises(TriviumError, match=r"x\.ttl statement 2: a name or text of more than 16 MiB"):
        read_graph(tmp_path / "x.ttl")


LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (LAUGHS, "line 2: not YAML .an alias: write out"),
        ("a: &a {b: *a}\n", "line 1: not YAML .an alias"),
        ("a: " + "[" * 5000, "nested too deeply|not YAML"),
        ("a: " + "{x: " * 5000 + "1" + "}" * 5000, "nested too deeply|not YAML"),
        ("steps: 1 # " + "x" * MAX_BYTES, "are too many for settings"),
    ],
    ids=["laughs", "itself", "lists", "mappings", "long"],
)
def test_yaml_is_bounded(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "c.yaml").write_text(content)
    for reader in (read_yaml, read_flags):
        with pytest.raises(TriviumError, match=rf"c\.yaml.*({words})"):
            reader(tmp_path / "c.yaml")


def test_json_is_bounded(tmp_path: Path) -> None:
    for name, reader in (("relations.json", read_relation_texts), ("scores.json", read_json)):
        for content in ("[" * 100_000, '{"a":' * 100_000, "\x00", "{", "\udc80"):
            (tmp_path / name).write_text(content, "utf-8", "surrogateescape")
            with pytest.raises(TriviumError, match=name) as caught:
                reader(tmp_path / name)
            assert len(str(caught.value)) < 500


def test_a_calibration_is_bounded(tmp_path: Path, command: Run) -> None:
    (tmp_path / "g.tsv").write_text("a\tr\tb\n")
    for content in ("[" * 100_000, json.dumps({"graph": "x" * 10})):
        (tmp_path / "c.json").write_text(content)
        words = ("rank", tmp_path / "g.tsv", "--head", "a", "--relation", "r", "--calibration", tmp_path / "c.json")
        status, _, err = command(*words)
        assert (status, err.count("\n")) == (2, 1)
        assert "c.json is not a calibration" in err
