import gc
import gzip
import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from trivium.datasets.download import fetch
from trivium.datasets.registry import load_dataset
from trivium.datasets.splits import Splits
from trivium.datasets.table import Dataset, Home, datasets
from trivium.errors import InputError
from trivium.graph.graph import triples_sha256
from trivium.graph.read import read_triples

SPLITS = {
    "train": "a\tr\tb\nb\ts\tc\n",
    "train_valid": "a\ts\tc\na\ts\tonly_valid\n",
    "inference": "x\tr\ty\ny\tr\tz\ny\tr\tz\n",
    "valid": "x\tr\tz\nx\tr\tnew\n",
    "test": "z\tr\tx\nz\tr\tx\n",
}


def place(folder: Path, *splits: str) -> Path:
    folder.mkdir(parents=True)
    for number, split in enumerate(splits):
        path = folder / f"{split}.txt{'.gz' if number % 2 else ''}"
        path.write_bytes(gzip.compress(SPLITS[split].encode()) if number % 2 else SPLITS[split].encode())
    return folder


def entities(splits: Splits, part: str) -> list[str]:
    return list(getattr(splits, part).entities.names)


def test_the_splits_that_lie_there_say_which_protocol_is_followed(tmp_path: Path) -> None:
    place(tmp_path / "Own" / "v1", "train", "train_valid", "inference", "valid", "test")
    grail = load_dataset("Own:v1", tmp_path)
    assert grail.family == "GraIL"
    assert entities(grail, "graph") == ["new", "x", "y", "z"]
    assert list(grail.graph.relations.names) == list(grail.train.relations.names) == ["r", "s"]
    assert grail.graph.num_triples == 2
    assert grail.test.tolist() == grail.known.tolist() == [[1, 0, 3], [1, 0, 0], [3, 0, 1], [3, 0, 1]]
    assert grail.valid_graph is grail.train
    assert entities(grail, "train") == ["a", "b", "c", "only_valid"]
    assert grail.valid.tolist() == grail.valid_known.tolist() == [[0, 1, 2], [0, 1, 3]]
    assert grail.test.dtype == np.int32

    place(tmp_path / "Ingram", "train", "inference", "valid", "test")
    ingram = load_dataset("Ingram", tmp_path)
    assert ingram.family == "InGram"
    assert ingram.test.tolist() == [[3, 0, 1], [3, 0, 1]]
    assert ingram.valid_graph is ingram.graph
    assert ingram.valid.tolist() == [[1, 0, 3], [1, 0, 0]]
    assert ingram.known.tolist() == ingram.valid_known.tolist() == grail.known.tolist()
    assert entities(ingram, "train") == ["a", "b", "c"]

    place(tmp_path / "Mtdea", "train", "train_valid", "inference", "test")
    mtdea = load_dataset("Mtdea", tmp_path)
    assert mtdea.family == "MTDEA"
    assert entities(mtdea, "graph") == ["x", "y", "z"]
    assert mtdea.known.tolist() == mtdea.test.tolist() == [[2, 0, 0], [2, 0, 0]]
    assert mtdea.valid.tolist() == [[0, 1, 2]]
    assert entities(mtdea, "train") == ["a", "b", "c"]

    place(tmp_path / "Plain", "train", "valid", "test")
    plain = load_dataset("Plain", tmp_path)
    assert plain.family == "transductive"
    assert plain.train is plain.graph is plain.valid_graph
    assert entities(plain, "graph") == ["a", "b", "c", "new", "x", "z"]


def test_what_is_unknown_missing_or_changed_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown data set 'FB15k238': did you mean .*'FB15k237'"):
        load_dataset("FB15k238", tmp_path)
    with pytest.raises(InputError, match=r"UMLS.train\.txt: no such file"):
        load_dataset("UMLS", tmp_path)
    (tmp_path / "Mine").mkdir()
    (tmp_path / "Mine" / "test.csv").write_text("head,relation,tail\na,r,b\n")
    with pytest.raises(InputError, match=r"Mine has no train\.txt \(or \.tsv, \.csv, \.nt, …\): a data set of yours"):
        load_dataset("Mine", tmp_path)
    (tmp_path / "Mine" / "train.tsv").write_text("subject\tpredicate\tobject\na\tr\tc\n")
    assert load_dataset("Mine", tmp_path).test.tolist() == [[0, 0, 1]]
    place(tmp_path / "UMLS", "train", "valid", "test")
    with pytest.raises(InputError, match=r"does not hold the triples of UMLS, train \(SHA-256 differs\)"):
        load_dataset("UMLS", tmp_path)


def test_the_table_is_whole() -> None:
    for dataset in datasets().values():
        assert dataset.citation
        assert {"train", "test"} <= set(dataset.homes)
        assert set(dataset.sha256) == set(dataset.triples)
        assert not dataset.sha256 or set(dataset.sha256) == set(dataset.homes), dataset.name
        for home in dataset.homes.values():
            assert all(url.startswith("https://") for url in home.urls)
    assert {"FB15k237Inductive:v1", "NELLInductive:v3", "HM:1k", "WN18RR", "Kinship"} <= set(datasets())
    assert len(datasets()["NELL995"].homes["train"].urls) == 2


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict[str, bytes]]]:
    """A server's address, which no proxy is in front of, and the files that it has."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    files: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = files.get(self.path)
            self.send_response(404 if found is None else 200)
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", files
    server.shutdown()
    thread.join()
    server.server_close()


def home(url: str, tmp_path: Path) -> tuple[Dataset, dict[str, bytes]]:
    """A data set at a server: two files for train, one with other columns in an archive."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("a/dev.triples", "x z r\nx new r\n")
    data = {"/one": b"a\tr\tb\r\n", "/two": b"b\ts\tc\n\n", "/d.zip": archive.getvalue(), "/test": b"z\tr\tx"}
    reference = place(tmp_path / "reference", "train", "valid", "test")
    sums = {path.name.split(".")[0]: triples_sha256(read_triples(path)) for path in reference.iterdir()}
    homes = {
        "train": Home((f"{url}/one", f"{url}/two")),
        "valid": Home((f"{url}/d.zip",), "htr", "a/dev.triples"),
        "test": Home((f"{url}/test",)),
    }
    return Dataset("Own:v1", "transductive", "", None, None, {}, sums, homes), data


def test_downloads_are_checked_and_kept(tmp_path: Path, server: tuple[str, dict[str, bytes]]) -> None:
    url, files = server
    dataset, data = home(url, tmp_path)
    files |= data
    folder = fetch(dataset, tmp_path / "cache")
    files.clear()
    assert folder == tmp_path / "cache" / "Own" / "v1"
    assert fetch(dataset, tmp_path / "cache", download=False) == folder
    assert sorted(p.name for p in folder.iterdir()) == ["test.txt.gz", "train.txt.gz", "valid.txt.gz"]
    assert gzip.decompress((folder / "valid.txt.gz").read_bytes()) == b"x\tr\tz\nx\tr\tnew\n"


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # the client leaves a socket to the collector
@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        ("/one", b"a\tr\tother\n", r"SHA-256 differs"),
        ("/one", b"<html>\n", "holds no triples"),
        ("/one", None, "cannot download Own:v1 from .*/one .*404"),
        ("/d.zip", b"no archive", "cannot download Own:v1 from .*zip"),
        ("/test", b"\xff", "cannot download Own:v1 from .*/test"),
    ],
)
def test_a_download_that_is_not_what_it_should_be_is_not_kept(
    tmp_path: Path, server: tuple[str, dict[str, bytes]], path: str, content: bytes | None, words: str
) -> None:
    url, files = server
    dataset, data = home(url, tmp_path)
    files |= data
    files.pop(path)
    if content is not None:
        files[path] = content
    with pytest.raises(InputError, match=words) as caught:
        fetch(dataset, tmp_path / "cache")
    assert "\n" not in str(caught.value)
    broken = {"/one": "train", "/d.zip": "valid", "/test": "test"}[path]
    assert not list((tmp_path / "cache").rglob(f"{broken}*.txt.gz"))
    del caught  # its traceback holds the socket
    gc.collect()  # here, where the warning is expected, and not in some later test


def test_what_cannot_be_downloaded_says_so(tmp_path: Path) -> None:
    dataset, _ = home("http://127.0.0.1:9", tmp_path)
    for changed, words in (
        (replace(dataset, sha256={}), "no checksum is on record for train"),
        (replace(dataset, homes={"train": Home(())}), "no public address is on record"),
    ):
        with pytest.raises(InputError, match=words):
            fetch(changed, tmp_path / "cache")
    with pytest.raises(InputError, match="train is not in the cache"):
        fetch(datasets()["UMLS"], tmp_path / "cache", download=False)


@pytest.mark.data
@pytest.mark.parametrize("name", [n for n, d in datasets().items() if d.sha256])
def test_every_data_set_has_the_counts_on_record(data: Path, name: str) -> None:
    splits, dataset = load_dataset(name, data), datasets()[name]
    assert splits.family == dataset.family
    named = np.diff(splits.graph.offsets) > 0
    assert named.sum() == dataset.entities
    assert len(np.unique(splits.graph.triples[:, 1])) == dataset.relations
    asked = dataset.triples["test"] + (dataset.triples["valid"] if dataset.family == "GraIL" else 0)
    assert len(splits.test) == asked
    assert splits.graph.sha256 == dataset.sha256["inference" if "inference" in dataset.sha256 else "train"]
    assert splits.train.sha256 == dataset.sha256["train"]
    own, valid = splits.graph, splits.valid_graph
    for ids, graph in ((splits.test, own), (splits.known, own), (splits.valid, valid)):
        assert ids.min() >= 0
        assert (ids.max(axis=0) < [graph.num_entities, graph.num_relations, graph.num_entities]).all()
