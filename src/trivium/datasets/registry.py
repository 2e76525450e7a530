"""Data sets by name: public ones, and the user's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trivium.datasets.download import fetch
from trivium.datasets.splits import Splits, family_of, joined, read_split
from trivium.datasets.table import SPLITS, Dataset, datasets
from trivium.errors import InputError
from trivium.graph.formats import FORMATS, PACKED
from trivium.graph.names import Names
from trivium.graph.read import read_triples


def is_dataset(name: str, data_dir: str | Path | None = None) -> bool:
    """Whether a data set is known by that name, or lies in the folder of data sets."""
    plain = Path(name).name == name and name.strip(".") != ""
    return name in datasets() or (plain and data_dir is not None and Path(data_dir, name.replace(":", "/")).is_dir())


def load_dataset(name: str, data_dir: str | Path | None = None, *, download: bool = True) -> Splits:
    """Reads a data set, and checks each split against its recorded SHA-256.

    Args:
        data_dir: a folder of ``<data set>[/<version>]/<split>.txt[.gz]``; a set of your own may lie there, in any form
            in which graphs are read, and its splits then say which protocol it follows.
        download: without ``data_dir``, whether to fetch from the public homes what the cache lacks.

    Raises:
        InputError: the name is unknown, a split is missing or cannot be had, or its checksum is another.
    """
    dataset = datasets().get(name)
    if data_dir is not None:
        folder = Path(data_dir) / name.replace(":", "/")
        splits = list(dataset.homes) if dataset else [s for s in SPLITS if _path(folder, s).exists()]
        if is_dataset(name, data_dir) and not dataset:
            if missing := [split for split in ("train", "test") if split not in splits]:
                raise InputError(
                    f"{folder} has no {missing[0]}.txt (or .tsv, .csv, .nt, …): a data set of yours needs it, "
                    "and trivium split makes one of a graph"
                )
            dataset = Dataset(name, family_of(splits), "", None, None, {}, {}, {})
    if dataset is None:
        raise InputError(f"unknown data set {name!r}: {Names(list(datasets())).suggest(name)}")
    if data_dir is None:
        folder, splits = fetch(dataset, download=download), list(dataset.homes)
    frames = {split: read_split(dataset, split, _path(folder, split)) for split in splits}
    return joined(dataset, frames)


@dataclass(frozen=True)
class OwnFiles:
    """A split of one's own: files in any form in which triples are read.

    Attributes:
        train: the graph that is asked.
        test: the questions.
        valid: more facts that are true, which are no rivals.
        columns: of tables, see `trivium.graph.read.read_graph`.
    """

    train: Path
    test: Path
    valid: Path | None = None
    columns: str | None = None

    def load(self, name: str) -> Splits:
        """Reads them.

        Raises:
            InputError: a file cannot be read.
        """
        files = {"train": self.train, "valid": self.valid, "test": self.test}
        frames = {split: read_triples(path, lines=False, columns=self.columns) for split, path in files.items() if path}
        return joined(Dataset(name, family_of(frames), "", None, None, {}, {}, {}), frames)


def graph_source(name: str, data_dir: str | Path | None) -> str | Path:
    """Where texts of a data set's relations are looked for: beside the triples of one's own, else by its name."""
    if data_dir is None or name in datasets():
        return name
    return _path(Path(data_dir) / name.replace(":", "/"), "train")


def _path(folder: Path, split: str) -> Path:
    """A split's file, in whatever form a graph is read."""
    endings = (ending + packed for ending in (".txt", *FORMATS) for packed in ("", *PACKED))
    found = (folder / f"{split}{ending}" for ending in endings)
    return next((path for path in found if path.exists()), folder / f"{split}.txt")
