"""Data sets by name: public ones, and the user's own."""

from __future__ import annotations

from pathlib import Path

from trivium.datasets.download import fetch
from trivium.datasets.splits import Splits, family_of, joined, read_split
from trivium.datasets.table import SPLITS, Dataset, datasets
from trivium.errors import InputError
from trivium.graph.names import Names


def is_dataset(name: str, data_dir: str | Path | None = None) -> bool:
    """Whether a data set is known by that name, or lies in the folder of data sets."""
    plain = Path(name).name == name and name.strip(".") != ""
    return name in datasets() or (plain and data_dir is not None and Path(data_dir, name.replace(":", "/")).is_dir())


def load_dataset(name: str, data_dir: str | Path | None = None, *, download: bool = True) -> Splits:
    """Reads a data set, and checks each split against its recorded SHA-256.

    Args:
        data_dir: a folder of ``<data set>[/<version>]/<split>.txt[.gz]``; a set of your own may lie there,
            and its splits then say which protocol it follows.
        download: without ``data_dir``, whether to fetch from the public homes what the cache lacks.

    Raises:
        InputError: the name is unknown, a split is missing or cannot be had, or its checksum is another.
    """
    dataset = datasets().get(name)
    if data_dir is not None:
        folder = Path(data_dir) / name.replace(":", "/")
        splits = list(dataset.homes) if dataset else [s for s in SPLITS if _path(folder, s).exists()]
        if is_dataset(name, data_dir) and not dataset and {"train", "test"} <= set(splits):
            dataset = Dataset(name, family_of(splits), "", None, None, {}, {}, {})
    if dataset is None:
        raise InputError(f"unknown data set {name!r}: {Names(list(datasets())).suggest(name)}")
    if data_dir is None:
        folder, splits = fetch(dataset, download=download), list(dataset.homes)
    frames = {split: read_split(dataset, split, _path(folder, split)) for split in splits}
    return joined(dataset, frames)


def _path(folder: Path, split: str) -> Path:
    plain = folder / f"{split}.txt"
    return plain if plain.exists() else folder / f"{split}.txt.gz"
