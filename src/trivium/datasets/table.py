"""Public data sets by their usual names: home, checksum, citation, protocol.

A name is ``FB15k237`` or, with a version, ``FB15k237Inductive:v1``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import polars as pl

TABLE = Path(__file__).with_name("datasets.csv")
SPLITS = ("train", "train_valid", "inference", "valid", "test")


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


@cache
def datasets() -> dict[str, Dataset]:
    """Every data set of the table, by name."""
    table = {}
    rows = pl.read_csv(TABLE, infer_schema=False).fill_null("")
    for splits in rows.partition_by("dataset"):
        by_split = {row["split"]: row for row in splits.iter_rows(named=True)}
        asked = by_split.get("inference", by_split["train"])
        table[asked["dataset"]] = Dataset(
            asked["dataset"],
            asked["family"],
            asked["citation"],
            int(asked["entities"]) if asked["entities"] else None,
            int(asked["relations"]) if asked["relations"] else None,
            {split: int(row["triples"]) for split, row in by_split.items() if row["triples"]},
            {split: row["sha256"] for split, row in by_split.items() if row["sha256"]},
            {s: Home(tuple(row["urls"].split()), row["columns"], row["member"]) for s, row in by_split.items()},
        )
    return table
