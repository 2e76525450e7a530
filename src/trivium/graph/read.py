"""Graphs, triples and questions from files, whatever their format.

==============================  ============================================================================
``.tsv`` ``.txt``               head, relation and tail between tabs, no quoting; a header that says so is skipped
``.csv``                        a header; three columns by name, others are skipped; quoted as RFC 4180 says
``.parquet``                    three columns by name, of strings or integers
``.nt`` ``.nq`` ``.ttl``        RDF: IRIs are names, ``rdfs:label`` gives labels, other literals are skipped;
``.trig`` ``.jsonld``           of named graphs all are read, or one
``.rdf`` ``.owl`` ``.xml``      RDF/XML, likewise
``.trivium``                    a saved index (`trivium.graph.index`)
==============================  ============================================================================

All but the last may be gzipped (``.gz``). Text is UTF-8, with or without a byte order mark.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trivium.errors import GraphError, InputError
from trivium.graph import formats
from trivium.graph.formats import INDEX, TRIPLE, fail, format_of
from trivium.graph.graph import Graph
from trivium.graph.index import open_index
from trivium.graph.names import Names
from trivium.kernels.csr import IntArray


def read_graph(path: str | Path, *, columns: str | None = None, named_graph: str | None = None) -> Graph:
    """Reads a graph. Ids follow the sorted order of the names, so the order of triples changes nothing.

    Args:
        columns: of a CSV or Parquet file, ``HEAD,RELATION,TAIL``, if they have other names than these words.
        named_graph: the IRI of an RDF file's named graph; by default all its graphs are read, names dropped.

    Raises:
        GraphError: the file cannot be read or holds no triple; a line at fault is named.
        InputError: the columns are not three.

    Cost: O(file) time; memory of the ids, and of the distinct names of each batch.
    """
    path = Path(path)
    chosen = TRIPLE if columns is None else tuple(columns.split(","))
    if len(chosen) != 3 or not all(chosen):
        raise InputError(f"--columns {columns}: name three, HEAD,RELATION,TAIL")
    index = path.suffix.lower() == INDEX
    if columns is not None and (index or format_of(path) not in ("csv", "parquet")):
        raise GraphError(f"{path}: only CSV and Parquet have columns to name: leave the names out")
    if named_graph is not None and (index or format_of(path) != "rdf"):
        raise GraphError(f"{path}: only RDF has named graphs: leave {named_graph!r} out")
    if index:
        return open_index(path)
    labels: dict[str, str] = {}
    table = formats.read_table(path, chosen, labels, named_graph)
    heads, relations, tails = (_encoded(table[column]) for column in TRIPLE)
    del table
    if not len(heads[1]):
        raise GraphError(f"{path} holds no triple: a graph needs at least one")
    entity_names = _names(labels, heads[0], tails[0])
    relation_names = _names(labels, relations[0])
    columns_of = (entity_names, heads), (relation_names, relations), (entity_names, tails)
    ids = [names.ids(held)[codes] for names, (held, codes) in columns_of]
    del columns_of, heads, relations, tails
    return Graph.from_ids(*ids, entities=entity_names, relation_names=relation_names)


def read_triples(path: str | Path, lines: bool = True) -> pl.DataFrame:
    """Reads triples by name, in the file's order, repeats kept.

    Args:
        lines: whether to say where each stands (a TSV is read faster without).

    Returns:
        Columns ``head``, ``relation``, ``tail`` (strings) and ``line`` (1-based; the row's number in
        Parquet, the statement's in Turtle and its like).

    Raises:
        GraphError: as `read_graph`.
    """
    path = Path(path)
    if path.suffix.lower() == INDEX:
        graph = open_index(path)
        frame = graph.named(graph.triples)
        return frame.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("line"))
    table = formats.read_table(path, TRIPLE, {}, lines=lines)
    if not len(table):
        raise GraphError(f"{path} holds no triple")
    encoded = {column: _encoded(table[column]) for column in TRIPLE}
    frame = pl.DataFrame({column: names.gather(codes) for column, (names, codes) in encoded.items()})
    if not lines:
        return frame
    numbers = table["line"].to_numpy()
    if formats.ending_of(path) in (".nt", ".nq"):
        numbers = np.array(formats.statement_lines(path))[numbers - 1]
    return frame.with_columns(pl.Series("line", numbers))


def read_queries(path: str | Path, pairs: bool = False) -> pl.DataFrame:
    """Reads questions, ``(head, relation, ?)`` or ``(?, relation, tail)``, from TSV or CSV (also gzipped).

    A header names the columns: ``relation`` and ``head``, ``tail`` or both, one of the two empty in each row.
    A TSV without a header holds heads and relations. Of ``pairs``, ``(head, ?, tail)``, head and tail are needed.

    Returns:
        Columns ``head``, ``relation``, ``tail`` (strings, one of them null) and ``line``.

    Raises:
        GraphError: as `read_graph`, or a row asks for nothing or for both.
    """
    path = Path(path)
    if (kind := format_of(path)) not in ("tsv", "csv"):
        raise GraphError(f"{path}: questions are read from .tsv or .csv (.gz may follow)")
    rows = formats.text_rows(path)
    begin, first = next(rows, (1, []))
    columns = [field.lower() for field in first] if kind == "tsv" else first
    asked = [column for column in TRIPLE if columns.count(column) == 1]
    named = {"head", "tail"} <= set(asked) if pairs else "relation" in asked and len(asked) > 1
    if not (named and (kind == "csv" or len(asked) == len(first))):
        if kind == "csv":
            wanted = "'head' and 'tail'" if pairs else "'relation' and 'head' or 'tail'"
            fail(path, 1, f"a header must name {wanted}, not {first}")
        columns = ["head", "tail" if pairs else "relation"]
        rows = chain([(begin, first)] if first else [], rows)
    questions = []
    for line, row in rows:
        formats.check_width(path, line, row, columns)
        given = dict(zip(columns, row, strict=True))
        head, relation, tail = (given.get(column) or None for column in TRIPLE)
        if pairs and (head is None or tail is None):
            fail(path, line, "give a head and a tail")
        if not pairs and relation is None:
            fail(path, line, "the relation is empty")
        if not pairs and (head is None) == (tail is None):
            fail(path, line, "give a head or a tail, one of the two")
        questions.append((head, relation, tail, line))
    if not questions:
        raise GraphError(f"{path} holds no question")
    return pl.DataFrame(questions, dict.fromkeys(TRIPLE, pl.String) | {"line": pl.Int64}, orient="row")


def _encoded(column: Any) -> tuple[pl.Series, IntArray]:
    """The distinct names of a table's column, and ``[rows]`` places among them."""
    encoded = column.unify_dictionaries().combine_chunks()
    return pl.Series("name", encoded.dictionary), encoded.indices.to_numpy()


def _names(labels: dict[str, str], *columns: pl.Series) -> Names:
    """The sorted names of some columns, with labels if there are any."""
    names = pl.concat(columns).unique().sort().rechunk()
    labelled = bool(labels) and names.is_in(list(labels)).any()
    return Names(names, names.replace(labels) if labelled else None)
