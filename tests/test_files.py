import os
import resource
from pathlib import Path

import polars as pl
import pytest

from trivium.errors import OutputError
from trivium.files import check_output, check_place, table_writer, whole_file, write_table

FRAME = pl.DataFrame({"head": ['a"b', "é,😀", "c\x01"], "score": [0.5, None, -1.25], "known": [True, False, None]})


def read(path: Path) -> pl.DataFrame:
    match path.suffix:
        case ".tsv":
            return pl.read_csv(path, separator="\t", quote_char=None)
        case ".csv":
            return pl.read_csv(path)
        case ".parquet":
            return pl.read_parquet(path)
    return pl.read_ndjson(path)


@pytest.mark.parametrize("ending", [".tsv", ".csv", ".parquet", ".jsonl", ".ndjson"])
def test_batches_come_back_as_one_table(tmp_path: Path, ending: str) -> None:
    whole, parts = tmp_path / f"whole{ending}", tmp_path / f"parts{ending}"
    write_table(FRAME, whole)
    with table_writer(parts) as write:
        for start in range(len(FRAME)):
            write(FRAME[start : start + 1])
    assert read(whole).equals(FRAME)
    assert read(parts).equals(FRAME)
    assert sorted(p.name for p in tmp_path.iterdir()) == [parts.name, whole.name]


@pytest.mark.parametrize("ending", [".tsv", ".csv", ".parquet"])
def test_an_empty_table_keeps_its_columns(tmp_path: Path, ending: str) -> None:
    write_table(FRAME.clear(), tmp_path / f"t{ending}")
    assert read(tmp_path / f"t{ending}").columns == FRAME.columns


def test_what_cannot_be_written_there_is_refused_before_any_work(tmp_path: Path) -> None:
    there = tmp_path / "there.tsv"
    there.write_text("kept")
    for path, words in [
        (there, "exists already"),
        (tmp_path / "nowhere" / "t.tsv", "no folder"),
        (tmp_path, "is a folder"),
        (tmp_path / "t.xlsx", "its ending must be .tsv or .csv or .parquet or .jsonl or .ndjson, not '.xlsx'"),
    ]:
        with pytest.raises(OutputError, match=words):
            check_output(path)
        with pytest.raises(OutputError, match=words):
            write_table(FRAME, path)
    with pytest.raises(OutputError, match="is a folder"):
        check_place(tmp_path, force=True)
    os.mkfifo(tmp_path / "pipe.tsv")
    with pytest.raises(OutputError, match="a device or a pipe"):
        write_table(FRAME, tmp_path / "pipe.tsv", force=True)
    assert there.read_text() == "kept"
    write_table(FRAME, there, force=True)
    assert read(there).equals(FRAME)
    assert check_output(tmp_path / "new.NDJSON") == "jsonl"


def test_a_link_stays_and_what_it_names_is_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    link, target = tmp_path / "link.tsv", tmp_path / "folder" / "t.tsv"
    link.symlink_to(target)
    write_table(FRAME, link)
    write_table(FRAME[:1], link, force=True)
    assert link.is_symlink()
    assert read(target).equals(FRAME[:1])


def test_an_interrupted_table_leaves_nothing(tmp_path: Path) -> None:
    for ending in (".tsv", ".parquet"):
        with pytest.raises(KeyboardInterrupt), table_writer(tmp_path / f"t{ending}") as write:
            write(FRAME)
            raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "t.bin"
    with pytest.raises(OutputError, match="exists already"), whole_file(path) as file:
        file.write(b"late")
        path.write_bytes(b"first")
    assert path.read_bytes() == b"first"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("ending", [".tsv", ".parquet"])
def test_a_full_disk_is_one_clear_line(tmp_path: Path, ending: str) -> None:
    big = pl.DataFrame({"head": [f"{i * 7919 % 100_003}" for i in range(50_000)]})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*t\.") as caught:
            write_table(big, tmp_path / f"t{ending}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_a_tsv_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot stand in a TSV"):
        write_table(pl.DataFrame({"head": ["a\tb"]}), tmp_path / "t.tsv")
    write_table(pl.DataFrame({"head": ["a\tb\r\n", "\r"]}), tmp_path / "t.csv")
    assert pl.read_csv(tmp_path / "t.csv")["head"].to_list() == ["a\tb\r\n", "\r"]


def test_what_appeared_meanwhile_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even between the last look and the file's taking its place, where the disk has links."""
    path = tmp_path / "t.tsv"
    link = Path.hardlink_to

    def late(self: Path, target: Path) -> None:
        self.write_text("of another process")
        link(self, target)

    monkeypatch.setattr(Path, "hardlink_to", late)
    with pytest.raises(OutputError, match="exists already"):
        write_table(FRAME, path)
    assert path.read_text() == "of another process"

    def no_links(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    path.unlink()
    monkeypatch.setattr(Path, "hardlink_to", no_links)
    write_table(FRAME, path)
    assert read(path).equals(FRAME)
    assert [file.name for file in tmp_path.iterdir()] == ["t.tsv"]


def test_a_folder_that_cannot_be_written_to_is_known_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(os, "access", lambda place, mode: asked.append((place, mode)))  # tests may run as root
    with pytest.raises(OutputError, match="cannot be written to: name a file in another"):
        check_output(tmp_path / "t.tsv")
    assert asked == [(tmp_path, os.W_OK | os.X_OK)]
