"""Graphs, triples and questions from files, whatever their format.

==============================  ============================================================================
``.tsv`` ``.txt`` ``.csv``      text between tabs, commas, semicolons or blanks, with a header or without
``.parquet``                    columns of strings or integers
``.json`` ``.jsonl``            objects, or lists of three names; SPARQL results (also ``.srj``)
``.ndjson``
``.nt`` ``.nq`` ``.ttl``        RDF: IRIs are names, ``rdfs:label`` and its like give labels, other literals are
``.trig`` ``.jsonld``           counted; of named graphs all are read, or one
``.rdf`` ``.owl`` ``.xml``      RDF/XML, likewise
``.trivium``                    a saved index (`trivium.graph.index`)
==============================  ============================================================================

All but the last may be compressed (``.gz``, ``.bz2``, ``.xz``, ``.zst``). Text is UTF-8, with or without a byte order
mark.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from trivium.errors import GraphError, InputError, PairsError
from trivium.graph.formats import (
    BAD,
    ENDPOINT,
    FORMATS,
    INDEX,
    PACKED,
    REPORTED,
    TRIPLE,
    Pass,
    asked,
    chosen_names,
    ending_of,
    ends_columns,
    fail,
    format_of,
    is_packed,
    kinds_column,
    names_column,
    opened,
)
from trivium.graph.graph import Graph
from trivium.graph.index import open_index
from trivium.graph.names import Distinct, Names
from trivium.graph.rdf import statement_lines
from trivium.graph.tables import (
    check_width,
    kinds_in,
    layout,
    read_batches,
    read_labels,
    read_table,
    text_lines,
    text_rows,
)
from trivium.kernels.csr import IntArray

PIECE_ROWS = 1 << 23  # whose names are held at once: a gigabyte, more where names are long
MANY_RELATIONS = 20  # from which on more of them than heads or tails are odd
_EDGE_TYPES = {"directed", "undirected", "mutual"}

log = logging.getLogger(__name__)


def read_graph(
    path: str | Path,
    *,
    also: Iterable[str | Path] = (),
    columns: str | None = None,
    relation: str | None = None,
    named_graph: str | None = None,
    labels: Iterable[str | Path] = (),
    skip_bad: bool = False,
    undirected: bool = False,
    symmetric: Sequence[str] = (),
    scratch: Path | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Graph:
    """Reads a graph. Ids follow the sorted order of the names, so the order of triples changes nothing.

    Args:
        also: further files of the graph: more triples, or a table of nodes with their labels and types.
        columns: of a table, ``HEAD,RELATION,TAIL``, each by its name or its number from 1 on; two of pairs. By default
            a header is recognised by its words, and three columns without one are these.
        relation: what joins the pairs of a table that has no column of relations.
        named_graph: the IRI of an RDF file's named graph; by default all its graphs are read, names dropped.
        labels: tables of names and labels, or RDF that has labels.
        skip_bad: go on past lines that cannot be read, count them and name the first.
        undirected: every fact holds the other way round too.
        symmetric: the names of relations of which this is so.
        scratch: a folder in which to sort what is large, see `trivium.graph.pieces`: then the graph's edges
            are files in it.
        progress: is told of rows that were read, without a total; then of steps of sorting in pieces, and their total.

    Raises:
        GraphError: a file cannot be read or none holds a triple; a line at fault is named.
        PairsError: a table holds pairs, and no relation is given.
        InputError: the columns are not three, or a relation is given that neither joins pairs nor is there.

    Cost: O(files) time; memory of the ids, and of the distinct names of each batch; with ``scratch``, of the distinct
        names alone.
    """
    if str(path).startswith(ENDPOINT):
        raise GraphError(f"{path}: `trivium index {ENDPOINT}URL -o FILE.trivium` reads an endpoint, once")
    files = [Path(path), *map(Path, also)]
    indexes = [file for file in files if file.suffix.lower() == INDEX]
    kinds = {format_of(file) for file in files if file not in indexes}
    if columns is not None and kinds <= {"rdf"}:
        log.info("%s has no columns: --columns serves other files", path)
    if named_graph is not None and "rdf" not in kinds:
        raise GraphError(f"{path}: only RDF has named graphs: leave {named_graph!r} out")
    if indexes and len(files) > 1:
        raise GraphError(f"{indexes[0]}: an index is a whole graph: give the files that it was made of instead")
    said = Pass()
    for file in map(Path, labels):
        read_labels(file, said)
    if indexes:
        graph = open_index(files[0])
        _check_pairs(path, relation, graph.relations)
        graph = graph.renamed(*_labelled(graph.entities, graph.relations, said.labels))
        return _turned(graph, undirected, symmetric)
    if relation == "":
        raise InputError("--relation is empty: give the name of what joins the pairs")
    if relation is None and len(chosen_names(columns)) == 2:
        raise PairsError(f"--columns {columns} are a head and a tail: --relation NAME says what joins them")
    run = Pass(columns, relation, named_graph, skip_bad)
    facts = _Facts(scratch, progress)
    for number, file in enumerate(files, 1):
        run.number, run.strict = number, number == 1
        for batch in read_batches(file, run):
            facts.add(batch.select(TRIPLE))
    if (count := run.left_out[BAD]) > REPORTED:
        log.warning("%s: %s %s are left out", path, f"{count:,}", BAD)
    if run.paired:
        log.info("%s holds pairs: each is a fact of the relation %r", path, relation)
    held = facts.names()
    if not len(held[0]):
        raise GraphError(f"{path} holds no triple: a graph needs at least one")
    for names in held:
        _warn_of_likeness(path, names)
    entities, relations = (Names(names).with_labels(run.labels) for names in held)
    _check_pairs(path, None if run.paired else relation, relations)
    entities, relations = _labelled(entities, relations, said.labels)
    turned = np.arange(len(relations)) if undirected else relations.each(symmetric, "relation")
    graph = facts.graph(entities, relations, turned)
    if not len(turned) and facts.read > graph.num_triples:
        run.left_out["repeated facts"] = facts.read - graph.num_triples
    if kinds - {"rdf"}:
        _warn_of_order(path, entities, relations, facts.is_head, facts.is_tail)
        _warn_of_pairs(path, entities, relations, facts.is_head, facts.is_tail)
    return replace(graph, left_out=dict(run.left_out))


class _Facts:
    """A graph in the making: takes triples, then gives their names, then the graph.

    Args:
        scratch: a folder for files that end in ``.part``. With one, memory is bounded by the distinct names and by
            what is in hand, `PIECE_ROWS` and `BLOCK_EDGES`; without, it grows with the triples. The graph is the same.
        progress: see `read_graph`.
    """

    def __init__(self, scratch: Path | None = None, progress: Callable[[int, int | None], None] | None = None) -> None:
        self.scratch = scratch
        self.progress = progress or (lambda done, total: None)
        self.pieces: list[Path] = []
        self.batches: list[Any] = []
        self.rows = self.read = 0
        self.ends, self.kinds = Distinct(), Distinct()

    def add(self, batch: Any) -> None:
        """Takes an Arrow batch of dictionary-encoded columns ``head``, ``relation``, ``tail``.

        Raises:
            OutputError: the folder cannot be written to.
        """
        if self.scratch is not None and self.batches and self.rows + len(batch) > PIECE_ROWS:
            from trivium.graph.pieces import put_away

            self.pieces.append(put_away(self._piece(), self.scratch, len(self.pieces)))
        self.batches.append(batch)
        self.rows += len(batch)
        self.read += len(batch)
        self.progress(self.read, None)

    def _piece(self) -> Any:
        """What is in hand, as one table with each name once; its names are noted."""
        table = pa.Table.from_batches(self.batches).unify_dictionaries().combine_chunks()
        self.batches, self.rows = [], 0
        for names, column in zip((self.ends, self.kinds, self.ends), TRIPLE, strict=True):
            names.add(_encoded(table[column])[0])
        return table

    def names(self) -> tuple[pl.Series, pl.Series]:
        """The sorted names of entities and of relations, once all triples have come; none of none."""
        self.last = self._piece() if self.batches else None
        return self.ends.sorted(), self.kinds.sorted()

    def graph(self, entities: Names, relations: Names, turned: Sequence[int] | NDArray[np.integer]) -> Graph:
        """The graph, once `names` are there; where it is in pieces its edges are files in the folder.

        Args:
            entities, relations: these names, perhaps with labels.
            turned: the relations whose facts hold the other way round too.

        Raises:
            OutputError: the folder cannot be written to.

        Cost: O(triples + entities · pieces).
        """
        self.is_head, self.is_tail = np.zeros((2, len(entities)), np.bool_)

        def ids(piece: Any) -> tuple[IntArray, IntArray, IntArray]:
            (firsts, heads), (between, kinds), (lasts, tails) = (_encoded(piece[column]) for column in TRIPLE)
            ends = entities.ids(pl.concat([firsts, lasts]))
            heads, kinds, tails = ends[heads], relations.ids(between)[kinds], ends[len(firsts) :][tails]
            self.is_head[heads] = self.is_tail[tails] = True
            back = np.flatnonzero(np.isin(kinds, turned))
            both = (heads, tails[back]), (kinds, kinds[back]), (tails, heads[back])
            return (heads, kinds, tails) if not len(back) else tuple(map(np.concatenate, both))  # type: ignore[return-value]

        if self.scratch is None or not self.pieces:
            found, self.last = ids(self.last), None
            return Graph.from_ids(*found, entities=entities, relation_names=relations)
        from trivium.graph.pieces import graph_of

        return graph_of(self.pieces, self.last, ids, self.scratch, self.progress, entities, relations)


def _turned(graph: Graph, undirected: bool, symmetric: Sequence[str]) -> Graph:
    """The graph with what holds the other way round too."""
    relations = np.arange(graph.num_relations) if undirected else graph.relations.each(symmetric, "relation")
    return graph.both_ways(relations) if len(relations) else graph


def _check_pairs(path: str | Path, relation: str | None, relations: Names) -> None:
    """Refuses a relation of pairs that a graph lacks; one that it has may join the pairs of a file that asks."""
    if relation is not None and relations.ids([relation])[0] < 0:
        raise InputError(
            f"{path} has relations of its own, and no {relation!r}: --relation NAME serves pairs (of --columns "
            "HEAD,TAIL, say), and files of pairs to ask for"
        )


def _warn_of_order(
    path: str | Path, entities: Names, relations: Names, is_head: NDArray[np.bool_], is_tail: NDArray[np.bool_]
) -> None:
    """Says that columns look swapped: many relations that are entities too, and few at one end that are none.

    By counts alone a table of many attributes and few values looks so; relations that are described in the graph are
    fewer than what they are described by.
    """
    few, many, order = (is_head, is_tail, "2,1,3") if is_head.sum() <= is_tail.sum() else (is_tail, is_head, "1,3,2")
    if len(relations) < max(MANY_RELATIONS, 2 * few.sum()):
        return
    ids = entities.ids(relations.names)
    shared, odd = int(many[ids[ids >= 0]].sum()), int((few & many).sum())
    if 10 * shared >= len(relations) and 10 * odd <= few.sum():
        ends = ("tails", "heads") if few is is_head else ("heads", "tails")
        log.warning(
            "%s: %s relations, %s of them %s too, and %s %s: are the columns in another order? --columns %s, say",
            *(path, f"{len(relations):,}", f"{shared:,}", ends[0]),
            *(f"{few.sum():,}", ends[1], order),
        )


def _warn_of_pairs(
    path: str | Path, entities: Names, relations: Names, is_head: NDArray[np.bool_], is_tail: NDArray[np.bool_]
) -> None:
    """Says that what was read as triples may be pairs: of a column of numbers, which weigh them perhaps, or of what
    Gephi calls their types."""
    says = "--columns HEAD,TAIL (or 1,2) --relation NAME"
    if len(relations) <= len(_EDGE_TYPES) and set(relations.names.str.to_lowercase()) <= _EDGE_TYPES:
        name = relations.names[0]
        log.warning("%s: %r is how a pair is joined, not by what: %s says so, and --undirected", path, name, says)
    if (is_head & is_tail).any() or (entities.ids(relations.names) < 0).all():
        return
    tails = entities.take(np.flatnonzero(is_tail))
    if tails.str.contains(r"^-?\d+(\.\d*)?([eE]-?\d+)?$").all():
        log.warning("%s: every tail is a number, such as %s: if it weighs a pair, %s", path, tails[0], says)


def _warn_of_likeness(path: str | Path, names: pl.Series) -> None:
    """Says which names are another but for blanks around them, or look like another in Unicode's composed form."""
    blank, odd = (names.filter(names.str.contains(what)) for what in (r"^\s|\s$", r"[^\x00-\x7f]"))
    for few, usual, said in (
        (blank, blank.str.strip_chars(), "is another name without the blanks around it"),
        (odd, odd.str.normalize("NFC"), "is another name in composed characters (Unicode NFC), which looks the same"),
    ):
        same = few.filter((usual != few) & usual.is_in(names.implode()))
        if len(same):
            log.warning("%s: %r %s (%s such)", path, same[0], said, f"{len(same):,}")


def read_triples(
    path: str | Path,
    lines: bool = True,
    *,
    columns: str | None = None,
    relation: str | None = None,
    skip_bad: bool = False,
) -> pl.DataFrame:
    """Reads triples by name, in the file's order, repeats kept.

    Args:
        lines: whether to say where each stands (a TSV is read faster without).
        columns, relation, skip_bad: as in `read_graph`; the columns of a table that has them.

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
    table = read_table(path, Pass(columns, relation, skip_bad=skip_bad, strict=False), lines)
    if not len(table):
        raise GraphError(f"{path} holds no triple")
    table_of = {column: _encoded(table[column]) for column in TRIPLE}
    frame = pl.DataFrame({column: names.gather(codes) for column, (names, codes) in table_of.items()})
    if not lines:
        return frame
    numbers = table["line"].to_numpy()
    if ending_of(path) in (".nt", ".nq"):
        numbers = np.array(statement_lines(path))[numbers - 1]
    return frame.with_columns(pl.Series("line", numbers))


def read_ids(path: str | Path, graph: Graph, **reading: Any) -> IntArray:
    """The ids ``[n, 3]`` of a file's triples in a graph; those with a name that it does not hold are counted.

    Args:
        reading: see `read_triples`.

    Raises:
        GraphError: as `read_graph`.
    """
    table = read_triples(path, **reading)
    ids = graph.ids(*(table[column] for column in TRIPLE))
    known = ids.min(1) >= 0
    if not known.all():
        log.warning("%s: the graph lacks a name of %s of %s triples", path, f"{(~known).sum():,}", f"{len(ids):,}")
    found: IntArray = ids[known]
    return found


def read_queries(
    path: str | Path, pairs: bool = False, *, columns: str | None = None, skip_bad: bool = False
) -> pl.DataFrame:
    """Reads questions, ``(head, relation, ?)`` or ``(?, relation, tail)``, from a text table.

    A header names the columns: ``relation`` and ``head``, ``tail`` or both (or words of the same meaning), one of the
    two empty in each row. A TSV without a header holds heads and relations. Of ``pairs``, ``(head, ?, tail)``, head and
    tail are needed.

    Args:
        columns, skip_bad: as in `read_graph`; the columns of a table that has two of them or all.

    Returns:
        Columns ``head``, ``relation``, ``tail`` (strings, one of them null) and ``line``.

    Raises:
        GraphError: as `read_graph`, or a row asks for nothing or for both.
    """
    path = Path(path)
    if (kind := format_of(path)) not in ("tsv", "csv"):
        raise GraphError(f"{path}: questions are read from .tsv or .csv ({', '.join(PACKED)} may follow)")
    needed = {"head", "tail"} if pairs else {"relation"}

    def known(fields: Sequence[str]) -> dict[str, int]:
        found = asked(fields, columns)
        return found if needed <= found.keys() else {}

    run = Pass(skip_bad=skip_bad)
    form = layout(path, run, known)
    if form is None:
        raise GraphError(f"{path} holds no question")
    places, rows = known(form.first), text_rows(path, form, run)
    if places:
        next(rows)
    elif kind == "csv":
        wanted = "'head' and 'tail'" if pairs else "'relation' and 'head' or 'tail'"
        fail(path, form.line, f"a header must name {wanted}, not {form.first}")
    elif len(form.first) != 2:
        what = "head and tail" if pairs else "head and relation"
        fail(path, form.line, f"{len(form.first)} fields between tabs, not 2 ({what}): a header may name more")
    places = places or {"head": 0, "tail" if pairs else "relation": 1}
    questions = []
    for line, row in rows:
        if not check_width(path, line, row, form, run):
            continue
        head, relation, tail = (row[places[what]] or None if what in places else None for what in TRIPLE)
        if pairs and (head is None or tail is None):
            run.bad(path, line, "give a head and a tail")
        elif not pairs and relation is None:
            run.bad(path, line, "the relation is empty")
        elif not pairs and (head is None) == (tail is None):
            run.bad(path, line, "give a head or a tail, one of the two")
        else:
            questions.append((head, None if pairs else relation, tail, line))
    if not questions:
        raise GraphError(f"{path} holds no question")
    return pl.DataFrame(questions, dict.fromkeys(TRIPLE, pl.String) | {"line": pl.Int64}, orient="row")


def read_names(
    path: str | Path, columns: str | None = None, *, skip_bad: bool = False, heads: bool = False
) -> pl.DataFrame:
    """Reads names, one a line, or a column of a text table whose header calls it so: columns ``name`` and ``line``.

    Args:
        columns, skip_bad: as in `read_graph`; the tail's column, where the table has it, or the head's, of ``heads``.

    Raises:
        GraphError: the file cannot be read or holds no name.
    """
    path, run = Path(path), Pass(skip_bad=skip_bad)
    ending = Path(path.stem if is_packed(path) else path.name).suffix.lower()
    if FORMATS.get(ending, "tsv") not in ("tsv", "csv"):
        raise GraphError(f"{path}: names are read from text, one a line or a column of .tsv or .csv: save them so")
    form = layout(path, run) if _is_table(path) else None
    if form is not None and form.delimiter != " " and (place := names_column(form.first, columns, heads)) is not None:
        rows = [(line, row) for line, row in text_rows(path, form) if check_width(path, line, row, form, run)][1:]
        names = [(row[place], line) for line, row in rows]
    else:
        with opened(path) as file:
            names = [(line.rstrip("\r\n"), number) for number, line in enumerate(text_lines(file, path, run), 1)]
    names = [(name, line) for name, line in names if name.strip()]
    if not names:
        raise GraphError(f"{path} holds no name: give one a line")
    return pl.DataFrame(names, {"name": pl.String, "line": pl.Int64}, orient="row")


def read_entities(
    path: str | Path, graph: Graph, columns: str | None = None, *, skip_bad: bool = False, heads: bool = False
) -> NDArray[np.int64]:
    """The ids of the entities that a file names; arguments as `read_names`, and ``skip_bad`` passes unknown ones too.

    Raises:
        GraphError: as `read_names`, or the graph lacks a name.
    """
    table = read_names(path, columns, skip_bad=skip_bad, heads=heads)
    ids = graph.entities.ids(table["name"]).astype(np.int64)
    unknown, run = np.flatnonzero(ids < 0), Pass(skip_bad=skip_bad)
    for name, line in table[unknown[:REPORTED]].iter_rows():
        run.bad(Path(path), line, graph.entities.unknown(name, "entity"))
    if len(unknown) == len(ids):
        raise GraphError(f"{path}: the graph holds none of its names")
    if len(unknown) > REPORTED:
        log.warning("%s: %s unknown names are left out", path, f"{len(unknown):,}")
    return ids[ids >= 0]


def read_kinds(path: str | Path, *, skip_bad: bool = False) -> pl.DataFrame | None:
    """Reads names and their kinds, columns ``name`` and ``kind``, a row for each of the kinds.

    Args:
        skip_bad: as in `read_graph`.

    Returns:
        ``None`` of a file that is no text table with a header for both; see `trivium.graph.formats.kinds_column`.

    Raises:
        GraphError: the file cannot be read.
    """
    path, run = Path(path), Pass(skip_bad=skip_bad)
    if not _is_table(path) or (form := layout(path, run)) is None:
        return None
    name, kind = names_column(form.first), kinds_column(form.first)
    if name is None or kind is None:
        return None
    rows = [row for line, row in text_rows(path, form) if check_width(path, line, row, form, run)][1:]
    pairs = [(row[name], one) for row in rows for one in kinds_in(row[kind])]
    return pl.DataFrame(pairs, {"name": pl.String, "kind": pl.String}, orient="row")


def read_ends(path: str | Path, columns: str | None = None, *, skip_bad: bool = False) -> pl.DataFrame | None:
    """Reads which entities may stand at an end of a relation: ``relation``, ``end`` (head or tail), ``name``.

    A header calls the columns relation and tail, head or both (or words of the same meaning, or entity, which is a
    tail); without one a relation and a tail stand between tabs.

    Args:
        columns, skip_bad: as in `read_graph`.

    Returns:
        ``None`` of a file that is no such table.

    Raises:
        GraphError: the file cannot be read.
    """
    path, run = Path(path), Pass(skip_bad=skip_bad)
    form = layout(path, run) if _is_table(path) or path.suffix.lower() == ".txt" else None
    if form is None:
        return None
    places, header = ends_columns(form.first, columns), True
    if not places and form.delimiter == "\t" and len(form.first) == 2:
        places, header = {"relation": 0, "tail": 1}, False
    if not places:
        return None
    rows = [row for line, row in text_rows(path, form) if check_width(path, line, row, form, run)][header:]
    ends = [(end, place) for end, place in places.items() if end != "relation"]
    found = [(row[places["relation"]], end, row[place]) for row in rows for end, place in ends]
    return pl.DataFrame(found, dict.fromkeys(("relation", "end", "name"), pl.String), orient="row")


def _is_table(path: Path) -> bool:
    """Whether a file of names may be a text table."""
    return path.suffix.lower() in (".tsv", ".csv") or (is_packed(path) and format_of(path) in ("tsv", "csv"))


def _encoded(column: Any) -> tuple[pl.Series, IntArray]:
    """The distinct names of a table's column, and ``[rows]`` places among them."""
    whole = column.unify_dictionaries().combine_chunks()
    return pl.Series("name", whole.dictionary), whole.indices.to_numpy()


def _labelled(entities: Names, relations: Names, labels: Mapping[str, str]) -> tuple[Names, Names]:
    """The names with labels from a file of its own in place of others, if there are any."""
    if not labels:
        return entities, relations
    if not (entities.names.is_in(list(labels)).any() or relations.names.is_in(list(labels)).any()):
        log.warning("--labels: none of its %s names is in the graph", f"{len(labels):,}")
    return entities.with_labels(labels), relations.with_labels(labels)
