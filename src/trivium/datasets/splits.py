"""The splits of a data set, read and given their roles.

The family says what a split is for:

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

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from trivium.datasets.table import Dataset
from trivium.errors import InputError
from trivium.graph.graph import Graph, triples_sha256
from trivium.graph.names import Names
from trivium.graph.read import read_triples
from trivium.kernels.csr import IntArray


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


def read_split(dataset: Dataset, split: str, path: Path) -> pl.DataFrame:
    """The triples of one split, by name, checked.

    Raises:
        InputError: the file cannot be read, or its triples are not those on record.
    """
    frame = read_triples(path, columns="1,2,3", lines=False)
    wanted = dataset.sha256.get(split)
    if wanted and triples_sha256(frame) != wanted:
        raise InputError(f"{path} does not hold the triples of {dataset.name}, {split} (SHA-256 differs): replace it")
    return frame


def joined(dataset: Dataset, frames: Mapping[str, pl.DataFrame]) -> Splits:
    """Gives the splits, triples by name, their roles, as the table above says."""
    relations = Names(pl.concat([frame["relation"] for frame in frames.values()]).unique().sort())
    family = dataset.family
    base, test, none = frames.get("inference", frames["train"]), frames["test"], frames["test"].clear()
    besides = pl.concat([frames.get("valid", none), test])
    asked = besides if family == "GraIL" else test
    graph = graph_of(base, besides, relations)
    known = _ids(besides, graph)
    train = graph
    if family != "transductive":
        valid = frames.get("train_valid", none)
        if family == "MTDEA" and not dataset.name.startswith("HM"):
            held = pl.concat([frames["train"]["head"], frames["train"]["tail"]]).unique().implode()
            valid = valid.filter(pl.col("head").is_in(held), pl.col("tail").is_in(held))
        train = graph_of(frames["train"], valid, relations)
    if "train_valid" in frames:
        valid_ids = valid_known = _ids(valid, train)
        valid_graph = train
    else:
        valid_ids, valid_known, valid_graph = _ids(frames.get("valid", none), graph), known, graph
    return Splits(dataset.name, family, graph, _ids(asked, graph), known, train, valid_ids, valid_graph, valid_known)


def graph_of(triples: pl.DataFrame, others: pl.DataFrame, relations: Names) -> Graph:
    """The graph of triples by name; its entities include those that the others name."""
    ends = [frame[end] for frame in (triples, others) for end in ("head", "tail")]
    entities = Names(pl.concat(ends).unique().sort())
    ids = entities.ids(triples["head"]), relations.ids(triples["relation"]), entities.ids(triples["tail"])
    return Graph.from_ids(*ids, entities=entities, relation_names=relations)


def _ids(frame: pl.DataFrame, graph: Graph) -> IntArray:
    return graph.ids(frame["head"], frame["relation"], frame["tail"])
