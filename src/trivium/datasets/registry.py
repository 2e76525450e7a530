"""Data sets by name or by folder: public ones, and the user's own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trivium.datasets.download import fetch
from trivium.datasets.splits import Splits, family_of, joined, read_split
from trivium.datasets.table import SPLITS, Dataset, datasets
from trivium.errors import InputError
from trivium.files import digest
from trivium.graph.formats import FORMATS, PACKED
from trivium.graph.names import Names
from trivium.graph.read import read_triples

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OwnFiles:
    """A split of one's own: files in any form in which triples are read.

    Attributes:
        files: by split. ``train`` is the graph that is asked, ``test`` are the questions, ``valid`` more facts that are
            true, which are no rivals; others say which protocol it follows.
        reading: columns, relation and skip_bad, see `trivium.graph.read.read_graph`.
    """

    files: Mapping[str, Path]
    reading: Mapping[str, Any] = field(default_factory=dict)

    def load(self, name: str) -> Splits:
        """Reads them.

        Raises:
            InputError: a file cannot be read.
        """
        frames = {split: read_triples(path, lines=False, **self.reading) for split, path in self.files.items()}
        return joined(Dataset(name, family_of(frames), "", None, None, {}, {}, {}), frames)


def own_folder(name: str, data_dir: str | Path | None = None) -> Path | None:
    """The folder of a data set of one's own, in the folder of data sets or where the name leads, if there is one."""
    plain = Path(name).name == name and name.strip(".") != ""
    places = [Path(data_dir, name.replace(":", "/"))] if data_dir is not None and plain else []
    return next((folder for folder in [*places, Path(name)] if name not in datasets() and folder.is_dir()), None)


def is_dataset(name: str, data_dir: str | Path | None = None) -> bool:
    """Whether a data set is known by that name, or lies in a folder: something to answer from, something to ask."""
    folder = own_folder(name, data_dir)
    return name in datasets() or (folder is not None and {"train", "test"} <= _files(folder).keys())


def load_dataset(name: str, data_dir: str | Path | None = None, *, download: bool = True, **reading: Any) -> Splits:
    """Reads a data set, and checks each split of a public one against its recorded SHA-256.

    Args:
        name: or the path of a folder of your own that holds splits in any form in which graphs are read; they say which
            protocol it follows.
        data_dir: a folder of ``<data set>[/<version>]/<split>.txt[.gz]``; a set of your own may lie there too.
        download: without ``data_dir``, whether to fetch from the public homes what the cache lacks.
        reading: columns, relation and skip_bad of your own files, see `trivium.graph.read.read_graph`.

    Raises:
        InputError: the name is unknown, a split is missing or cannot be had, or its checksum is another.
    """
    if (folder := own_folder(name, data_dir)) is not None:
        files = _files(folder)
        if missing := [split for split in ("train", "test") if split not in files]:
            raise InputError(
                f"{folder} has no {missing[0]}.txt (or .tsv, .csv, .nt, …): a data set of yours needs it, "
                "and trivium split makes one of a graph"
            )
        for split in files:
            if len(names := [path.name for path in _forms(folder, split) if path.exists()]) > 1:
                log.warning("%s has %s: the first of them is read", folder, " and ".join(names))
        return OwnFiles(files, reading).load(name)
    dataset = datasets().get(name)
    if dataset is None:
        raise InputError(f"unknown data set {name!r}: {Names(list(datasets())).suggest(name)}")
    if given := [f"--{key.replace('_', '-')}" for key, value in reading.items() if value]:
        raise InputError(f"{name} is a public data set, and is read as it is: {given[0]} is for your own files")
    home = fetch(dataset, download=download) if data_dir is None else Path(data_dir, name.replace(":", "/"))
    return joined(dataset, {split: read_split(dataset, split, _file(home, split)) for split in dataset.homes})


def graph_source(name: str, data_dir: str | Path | None = None) -> str:
    """The file of the triples to answer from of a folder of one's own, beside which texts may lie; else the name."""
    folder = own_folder(name, data_dir)
    return name if folder is None else str(_files(folder).get("train", name))


def own_sha256(name: str, data_dir: str | Path | None = None) -> str:
    """A digest of what a folder of one's own holds of splits and relation texts; empty of a public data set."""
    folder = own_folder(name, data_dir)
    if folder is None:
        return ""
    files = sorted([*_files(folder).values(), *folder.glob("relations.*")])
    return digest(*((path.name, path.read_bytes()) for path in files))


def _files(folder: Path) -> dict[str, Path]:
    """The files of the splits that a folder has."""
    found = {split: _file(folder, split) for split in SPLITS}
    return {split: path for split, path in found.items() if path.is_file()}


def _file(folder: Path, split: str) -> Path:
    """A split's file, in whatever form a graph is read."""
    return next((path for path in _forms(folder, split) if path.exists()), folder / f"{split}.txt")


def _forms(folder: Path, split: str) -> list[Path]:
    """Where a split may be, one place for each form."""
    endings = dict.fromkeys([".txt", *FORMATS])
    return [folder / f"{split}{ending}{packed}" for ending in endings for packed in ("", *PACKED)]
