"""Public data sets from their homes into a cache, each split checked before it is kept."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pooch

from trivium.datasets.splits import read_split
from trivium.datasets.table import Dataset, Home
from trivium.errors import InputError
from trivium.files import write_whole


def fetch(dataset: Dataset, cache_dir: str | Path | None = None, download: bool = True) -> Path:
    """The cache folder of a data set, complete: what is missing is downloaded, if it may be.

    A split is kept as ``<split>.txt.gz``, head, relation and tail between tabs; archives as they came.

    Raises:
        InputError: a split has no address or checksum on record, cannot be had, or is not what is on record.
    """
    root = Path(cache_dir) if cache_dir is not None else Path(pooch.os_cache("trivium"))
    folder = root / dataset.name.replace(":", "/")
    for split, home in dataset.homes.items():
        kept = folder / f"{split}.txt.gz"
        if kept.exists():
            continue
        instead = "get its files and name their folder with --data-dir"
        if not download:
            raise InputError(f"{dataset.name}: {split} is not in the cache {root}: {instead}")
        if not home.urls or split not in dataset.sha256:
            what = "checksum" if home.urls else "public address"
            raise InputError(f"{dataset.name}: no {what} is on record for {split}: {instead}")
        lines = "".join(_lines(dataset, url, home, root / "downloads", instead) for url in home.urls)
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{split}.unchecked.txt.gz"
        try:
            write_whole(gzip.compress(lines.encode(), mtime=0), part, force=True)
            read_split(dataset, split, part)
            part.replace(kept)
        finally:
            part.unlink(missing_ok=True)
    return folder


def _lines(dataset: Dataset, url: str, home: Home, downloads: Path, instead: str) -> str:
    """The lines of one public file, brought into our order of columns."""
    pooch.get_logger().setLevel("WARNING")
    try:
        path = Path(pooch.retrieve(url, None, path=downloads))
        if home.member:
            with zipfile.ZipFile(path) as files:
                data = files.read(home.member)
        else:
            data = path.read_bytes()
            path.unlink()
        text = data.decode()
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as reason:
        why = " ".join(str(reason).split())[:200]
        raise InputError(f"cannot download {dataset.name} from {url} ({why}): {instead}") from reason
    order = [home.columns.index(column) for column in "hrt"]
    rows = (line.split("\t" if "\t" in line else None) for line in text.splitlines() if line.strip())
    try:
        return "".join("\t".join([row[place].strip() for place in order]) + "\n" for row in rows)
    except IndexError as reason:
        raise InputError(f"{url} holds no triples, for {dataset.name}: {instead}") from reason
