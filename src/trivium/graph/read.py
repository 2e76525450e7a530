"""Graphs, triples and questions from files, whatever their format.

======================  ====================================================================================
``.tsv`` ``.txt``       head, relation and tail between tabs, no quoting; a header that says so is passed over
``.csv``                a header; three columns by name, others are passed over; quoted as RFC 4180 says
``.parquet``            three columns by name, of strings or integers
``.nt`` ``.ttl``        RDF: IRIs are names, ``rdfs:label`` gives labels, other literals are passed over
``.trivium``            a saved index (`trivium.graph.index`)
======================  ====================================================================================

All but the last may be gzipped (``.gz``). Text is UTF-8, with or without a byte order mark.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from trivium.errors import GraphError, InputError
from trivium.graph import formats
from trivium.graph.formats import INDEX, TRIPLE, Batch
from trivium.graph.graph import Graph
from trivium.graph.names import Names

if TYPE_CHECKING:
    import polars as pl


def read_graph(
    path: str | Path, *, head: str | None = None, relation: str | None = None, tail: str | None = None
) -> Graph:
    """Reads a graph. Ids follow the sorted order of the names, so the order of triples changes nothing.

    Args:
        head, relation, tail: the names of a CSV's or Parquet file's columns, if they are others than these.

    Raises:
        GraphError: the file cannot be read or holds no triple; a line at fault is named.

    Cost: O(file) time; memory of the ids, and of the distinct names of each batch.
    """
    import polars as pl

    path = Path(path)
    columns = _columns(path, head, relation, tail)
    if path.suffix.lower() == INDEX:
        from trivium.graph.index import open_index

        return open_index(path)
    labels: dict[str, str] = {}
    batches = list(_batches(path, columns, labels))
    if not batches:
        raise GraphError(f"{path} holds no triple: a graph needs at least one")
    entities = _vocabulary(batches, [0, 2], labels)
    relations = _vocabulary(batches, [1], labels)
    ids = np.empty((3, sum(len(batch.codes) for batch in batches)), np.int32)
    place = 0
    while batches:
        batch = batches.pop(0)
        names = pl.Series(batch.names)
        entity, kind = entities.ids(names), relations.ids(names)
        rows = slice(place, place := place + len(batch.codes))
        for column, table in enumerate((entity, kind, entity)):
            ids[column, rows] = table[batch.codes[:, column]]
    return Graph.from_ids(*ids, entities=entities, relation_names=relations)


def read_triples(
    path: str | Path, *, head: str | None = None, relation: str | None = None, tail: str | None = None
) -> pl.DataFrame:
    """Reads triples by name, in the file's order, repeats kept.

    Returns:
        Columns ``head``, ``relation``, ``tail`` (strings) and ``line`` (1-based; the row's number in
        Parquet, the statement's in Turtle).

    Raises:
        GraphError: as `read_graph`.
    """
    import polars as pl

    path = Path(path)
    columns = _columns(path, head, relation, tail)
    if path.suffix.lower() == INDEX:
        graph = read_graph(path)
        names = (graph.entities, graph.relations, graph.entities)
        taken = {what: names[i].take(graph.triples[:, i]) for i, what in enumerate(TRIPLE)}
        return pl.DataFrame(taken).with_row_index("line", 1).select(*TRIPLE, pl.col("line").cast(pl.Int64))
    frame = _frame(_batches(path, columns, {}), TRIPLE)
    if frame.is_empty():
        raise GraphError(f"{path} holds no triple")
    if formats.format_of(path) == "nt":
        with formats.opened(path) as file:
            lines = formats.statement_lines(file)
        if cast(int, frame["line"].max()) <= len(lines):
            frame = frame.with_columns(line=pl.Series(lines).gather(frame["line"] - 1))
    return frame


def read_queries(path: str | Path) -> pl.DataFrame:
    """Reads questions, ``(head, relation, ?)`` or ``(?, relation, tail)``, from TSV or CSV (also gzipped).

    A header names the columns: ``relation`` and ``head``, ``tail`` or both, one of the two empty in each row.
    A TSV without a header holds heads and relations.

    Returns:
        Columns ``head``, ``relation``, ``tail`` (strings, one of head and tail null) and ``line``.

    Raises:
        GraphError: as `read_graph`, or a row asks for nothing or for both.
    """
    import polars as pl

    path = Path(path)
    if (kind := formats.format_of(path)) not in ("tsv", "csv"):
        raise GraphError(f"{path}: questions are read from .tsv or .csv (.gz may follow)")
    first = [field.lower() if kind == "tsv" else field for field in formats.first_fields(path)]
    asked = [column for column in TRIPLE if column in first]
    header = "relation" in asked and len(asked) > 1 and (kind == "csv" or len(asked) == len(first))
    if kind == "csv" and not header:
        raise GraphError(f"{path} line 1: a header must name 'relation' and 'head' or 'tail', not {first}")
    columns = first if header and kind == "tsv" else asked if header else ["head", "relation"]
    with formats.opened(path) as file:
        if kind == "csv":
            frame = _frame(formats.csv_batches(file, path, columns, empty=True), columns)
        else:
            frame = _frame(formats.tsv_batches(file, path, columns, header=header, empty=True), columns)
    if frame.is_empty():
        raise GraphError(f"{path} holds no question")
    for column in TRIPLE:
        text = pl.col(column).replace("", None) if column in columns else pl.lit(None, pl.String)
        frame = frame.with_columns(text.alias(column))
    for bad, what in (
        (pl.col("relation").is_null(), "the relation is empty"),
        (pl.col("head").is_null() == pl.col("tail").is_null(), "give a head or a tail, one of the two"),
    ):
        if len(lines := frame.filter(bad)["line"]):
            formats.fail(path, lines[0], what)
    return frame.select(*TRIPLE, "line")


def _columns(path: Path, *given: str | None) -> tuple[str, ...]:
    """The names of the three columns; only CSV and Parquet have names to choose."""
    columns = tuple(name or default for name, default in zip(given, TRIPLE, strict=True))
    if columns != TRIPLE and (path.suffix.lower() == INDEX or formats.format_of(path) not in ("csv", "parquet")):
        raise GraphError(f"{path}: only CSV and Parquet have columns to name: leave the names out")
    return columns


def _batches(path: Path, columns: Sequence[str], labels: dict[str, str]) -> Iterator[Batch]:
    kind = formats.format_of(path)
    with formats.opened(path) as file:
        if kind == "tsv":
            header = [field.lower() for field in formats.first_fields(path)] == list(TRIPLE)
            batches = formats.tsv_batches(file, path, columns, header=header)
        elif kind == "csv":
            batches = formats.csv_batches(file, path, columns)
        elif kind == "parquet":
            batches = formats.parquet_batches(file, path, columns)
        else:
            batches = formats.rdf_batches(file, path, kind, labels)
        yield from batches


def _vocabulary(batches: Sequence[Batch], columns: list[int], labels: dict[str, str]) -> Names:
    """The sorted names that stand in some columns, with labels if there is any."""
    import polars as pl

    parts = []
    for batch in batches:
        used = np.zeros(len(batch.names), np.bool_)
        used[batch.codes[:, columns]] = True
        parts.append(pl.Series("name", batch.names).filter(pl.Series(used)))
    names = pl.concat(parts).unique().sort().rechunk()
    labelled = bool(labels) and names.is_in(list(labels)).any()
    return Names(names, names.replace(labels) if labelled else None)


def _frame(batches: Iterator[Batch], columns: Sequence[str]) -> pl.DataFrame:
    import polars as pl

    empty = pl.DataFrame(schema=dict.fromkeys(columns, pl.String) | {"line": pl.Int64})
    parts = [empty]
    for batch in batches:
        names = pl.Series(batch.names)
        taken = {column: names.gather(batch.codes[:, i]) for i, column in enumerate(columns)}
        parts.append(pl.DataFrame(taken | {"line": batch.lines}))
    return pl.concat(parts).rechunk()


def column_names(columns: str | None) -> dict[str, str]:
    """``HEAD,RELATION,TAIL``, a CSV's or Parquet file's columns, as `read_graph` takes them.

    Raises:
        InputError: the columns are not three.
    """
    names = columns.split(",") if columns is not None else []
    if columns is not None and (len(names) != 3 or not all(names)):
        raise InputError(f"--columns {columns}: name three, HEAD,RELATION,TAIL")
    return dict(zip(("head", "relation", "tail"), names, strict=False))
