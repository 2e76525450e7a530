"""Public data sets by their usual names: home, checksum, citation, protocol.

A name is ``FB15k237`` or, with a version, ``FB15k237Inductive:v1``. The family says what a split is for:

============  =============  ==============  ==================  =======================
family        graph          asked           known besides       validation: asked, on
============  =============  ==============  ==================  =======================
transductive  train          test            valid, test         valid, train
GraIL         inference      valid and test  valid, test         train_valid, train
InGram        inference      test            valid, test         valid, inference
MTDEA         inference      test            test                train_valid, train
============  =============  ==============  ==================  =======================

Source: the protocols that the public ULTRA code follows (Galkin et al., ULTRA, 2024). As there, FBNELL,
Metafam and WikiTopics drop validation questions that name what their training graph lacks; HM keeps them.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trivium.errors import InputError
from trivium.graph.graph import Graph, triples_sha256
from trivium.graph.names import Names
from trivium.graph.read import read_triples
from trivium.kernels.csr import IntArray

if TYPE_CHECKING:
    import polars as pl

SPLITS = ("train", "train_valid", "inference", "valid", "test")
TABLE = Path(__file__).with_name("datasets.csv")


@dataclass(frozen=True)
class Home:
    """Where a split is published.

    Attributes:
        urls: files that together are the split; none if no address is known.
        columns: what a line's fields are: ``hrt`` or ``htr``.
        member: the file's path, if the address is that of a zip archive.
    """

    urls: tuple[str, ...]
    columns: str = "hrt"
    member: str = ""


@dataclass(frozen=True)
class Dataset:
    """What is known of a data set without reading it.

    Attributes:
        family: ``transductive``, ``GraIL``, ``InGram`` or ``MTDEA``: its protocol.
        entities, relations: of the graph on which the test is asked; ``None`` where they are not recorded.
        triples, sha256, homes: by split; repeats are counted in ``triples``, and not hashed.
    """

    name: str
    family: str
    citation: str
    entities: int | None
    relations: int | None
    triples: Mapping[str, int]
    sha256: Mapping[str, str]
    homes: Mapping[str, Home]


@dataclass(frozen=True)
class Splits:
    """A data set, read. Relation ids run over all splits; entity ids are those of the graph they belong to.

    Attributes:
        graph: what messages pass on at test time; its entities are the candidates, those that only its
            questions name included.
        test: ``[n, 3]`` questions, ids of ``graph``, repeats kept.
        known: ``[m, 3]`` triples that the filter holds besides those of ``graph``.
        train: the training split; its entities include those that only its validation names.
        valid, valid_graph, valid_known: the same three for validation, ids of ``valid_graph``.
    """

    name: str
    family: str
    graph: Graph
    test: IntArray
    known: IntArray
    train: Graph
    valid: IntArray
    valid_graph: Graph
    valid_known: IntArray

    def validation(self) -> Splits:
        """The validation questions in the test questions' place, for choices that must not see those.

        Raises:
            InputError: the data set has none.
        """
        if not len(self.valid):
            raise InputError(f"{self.name} has no validation triples: leave it out")
        return replace(self, graph=self.valid_graph, test=self.valid, known=self.valid_known)


def family_of(splits: Collection[str]) -> str:
    """The protocol that follows from which splits there are."""
    if "inference" not in splits:
        return "transductive"
    if "train_valid" not in splits:
        return "InGram"
    return "GraIL" if "valid" in splits else "MTDEA"


@cache
def datasets() -> dict[str, Dataset]:
    """Every data set of the table, by name."""
    rows: dict[str, list[dict[str, str]]] = {}
    with TABLE.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["dataset"], []).append(row)
    table = {}
    for name, splits in rows.items():
        by_split = {row["split"]: row for row in splits}
        asked = by_split.get("inference", by_split["train"])
        table[name] = Dataset(
            name,
            splits[0]["family"],
            splits[0]["citation"],
            int(asked["entities"]) if asked["entities"] else None,
            int(asked["relations"]) if asked["relations"] else None,
            {split: int(row["triples"]) for split, row in by_split.items() if row["triples"]},
            {split: row["sha256"] for split, row in by_split.items() if row["sha256"]},
            {s: Home(tuple(row["urls"].split()), row["columns"], row["member"]) for s, row in by_split.items()},
        )
    return table


def is_dataset(name: str, data_dir: str | Path | None = None) -> bool:
    """Whether a data set is known by that name, or lies in the folder of data sets."""
    plain = Path(name).name == name and name.strip(".") != ""
    return name in datasets() or (plain and data_dir is not None and Path(data_dir, name.replace(":", "/")).is_dir())


def dataset_names() -> list[str]:
    """The names that `load_dataset` knows, sorted."""
    return sorted(datasets())


def load_dataset(
    name: str,
    data_dir: str | Path | None = None,
    *,
    download: bool = True,
    cache_dir: str | Path | None = None,
) -> Splits:
    """Reads a data set, and checks each split against its recorded SHA-256.

    Args:
        data_dir: a folder of ``<data set>[/<version>]/<split>.txt[.gz]``; a set of your own may lie there,
            and its splits then say which protocol it follows.
        download: without ``data_dir``, whether to fetch from the public homes what the cache lacks.
        cache_dir: where downloads are kept; by default the user's cache folder.

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
        raise InputError(f"unknown data set {name!r}: {Names(dataset_names()).suggest(name)}")
    if data_dir is None:
        from trivium.datasets.download import fetch

        folder, splits = fetch(dataset, cache_dir, download), list(dataset.homes)
    frames = {split: read_split(dataset, split, _path(folder, split)) for split in splits}
    return _joined(dataset, frames)


def _path(folder: Path, split: str) -> Path:
    plain = folder / f"{split}.txt"
    return plain if plain.exists() else folder / f"{split}.txt.gz"


def read_split(dataset: Dataset, split: str, path: Path) -> pl.DataFrame:
    """The triples of one split, by name, checked.

    Raises:
        InputError: the file cannot be read, or its triples are not those on record.
    """
    frame = read_triples(path)
    wanted = dataset.sha256.get(split)
    if wanted and triples_sha256(frame["head"], frame["relation"], frame["tail"]) != wanted:
        raise InputError(f"{path} does not hold the triples of {dataset.name}, {split} (SHA-256 differs): replace it")
    return frame


def _joined(dataset: Dataset, frames: dict[str, pl.DataFrame]) -> Splits:
    """Gives the splits their roles, as the table above says."""
    import polars as pl

    relations = Names(pl.concat([frame["relation"] for frame in frames.values()]).unique().sort())
    family = dataset.family
    base, test, none = frames.get("inference", frames["train"]), frames["test"], frames["test"].clear()
    besides = pl.concat([frames.get("valid", none), test])
    asked = besides if family == "GraIL" else test
    graph = _graph([base, besides], relations)
    known = _ids(besides, graph)
    if family == "transductive":
        train = graph
    else:
        valid = frames.get("train_valid", none)
        if family == "MTDEA" and not dataset.name.startswith("HM"):
            held = _entities([frames["train"]]).names.implode()
            lacks = ~(pl.col("head").is_in(held) & pl.col("tail").is_in(held))
            valid = valid.filter(~lacks)
        train = _graph([frames["train"], valid], relations)
    if "train_valid" in frames:
        valid_ids = valid_known = _ids(valid, train)
        valid_graph = train
    else:
        valid_ids, valid_known, valid_graph = _ids(frames.get("valid", none), graph), known, graph
    return Splits(dataset.name, family, graph, _ids(asked, graph), known, train, valid_ids, valid_graph, valid_known)


def _entities(frames: Sequence[pl.DataFrame]) -> Names:
    import polars as pl

    return Names(
        pl.concat([frame[end] for frame in frames for end in ("head", "tail")], how="vertical").unique().sort()
    )


def _graph(frames: Sequence[pl.DataFrame], relations: Names) -> Graph:
    """The graph of the first frame, over the entities of all."""
    entities = _entities(frames)
    frame = frames[0]
    heads, kinds, tails = (
        entities.ids(frame["head"]),
        relations.ids(frame["relation"]),
        entities.ids(frame["tail"]),
    )
    return Graph.from_ids(heads, kinds, tails, entities=entities, relation_names=relations)


def _ids(frame: pl.DataFrame, graph: Graph) -> IntArray:
    names = (graph.entities, graph.relations, graph.entities)
    columns = ("head", "relation", "tail")
    return np.stack([n.ids(frame[c]) for n, c in zip(names, columns, strict=True)], axis=1).astype(np.int32, copy=False)
