"""RDF to triples of names, one statement after the other."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import unquote

import pyarrow as pa
from pyarrow import compute
from pyoxigraph import BlankNode, Literal, Quad, RdfFormat, Triple, parse

from trivium.graph.formats import RDF, TRIPLE, Pass, ending_of, fail, opened

log = logging.getLogger(__name__)

_DRAWN = re.compile("[a-f][0-9a-f]{15,31}")  # as the parser calls an anonymous node
LABELS = (  # in order of worth
    "http://www.w3.org/2000/01/rdf-schema#label",
    "http://www.w3.org/2004/02/skos/core#prefLabel",
    "http://schema.org/name",
    "https://schema.org/name",
    "http://xmlns.com/foaf/0.1/name",
)
_ODD = r'[\x00-\x20"{}|\\^`]|#.*#|^[^:/?#]*([/?#]|$)'  # of an IRI: what none may hold, or no scheme
OURS = "urn:trivium:"  # before what `trivium export` says of runs and links, and before
NAMED = f"{OURS}name:"  # before a name, quoted, that is no IRI: so `trivium export` writes it
_BLOCK_LINES = 1_000
_WORTH = {label: 3 * place for place, label in enumerate(reversed(LABELS))}


def rdf_triples(path: Path, run: Pass) -> Iterator[tuple[str, str, str, int]]:
    """Triples of IRIs and blank nodes, with the statement's number; labels go to the pass, other literals are counted.

    An IRI that no standard allows is a name as it stands, unless it is empty or seems not to end.
    What `trivium export` says of runs and links is left out.
    Of several labels of a name the one by the first of `LABELS` is taken; of these the one without a language, else
    the English one, else the first.
    """
    others: set[str] = set()
    found = run.named_graph is None
    best: dict[str, int] = {}
    form = cast(RdfFormat, RDF[ending_of(path)])
    anonymous: dict[str, str] = {}
    mark = f"file{run.number}-" if run.number > 1 else ""

    def name(node: Any) -> str:
        if not isinstance(node, BlankNode):
            return str(node.value)
        if form != RdfFormat.N_QUADS and _DRAWN.fullmatch(node.value):  # else each reading would name it anew
            return anonymous.setdefault(node.value, f"_:{mark}anonymous{len(anonymous) + 1}")
        return f"_:{mark}{node.value}"

    number = 0
    try:
        with opened(path) as file:
            for number, quad in enumerate(_statements(path, file, form, run), 1):
                if quad is None:
                    continue
                if run.named_graph is not None and (graph := str(quad.graph_name)) != f"<{run.named_graph}>":
                    others.add(graph)
                    continue
                found = True
                if isinstance(quad.subject, Triple) or isinstance(quad.object, Triple) or _ours(quad.subject.value):
                    run.left_out["statements about statements"] += 1
                elif not isinstance(quad.object, Literal):
                    yield name(quad.subject), quad.predicate.value, name(quad.object), number
                elif quad.predicate.value not in _WORTH or not quad.object.value:
                    run.left_out["literals"] += 1
                else:
                    worth = _WORTH[quad.predicate.value] + {None: 3, "en": 2}.get(quad.object.language, 1)
                    if worth > best.get(subject := _plain(name(quad.subject)), 0):
                        best[subject] = worth
                        run.labels[subject] = quad.object.value
    except MemoryError:
        place, unit = _place(path, form, number + 1)
        fail(path, place, "a name or text of more than 16 MiB: shorten it", unit)
    if not found:
        fail(path, None, f"has no graph {run.named_graph!r}: it has {', '.join(sorted(others)[:5]) or 'none'}")


def checked(path: Path, table: Any, run: Pass) -> Any:
    """The triples of a file, an Arrow table, without those of an IRI that is empty or does not end.

    Says which names are no IRIs as RFC 3987 has them.
    """
    table = table.unify_dictionaries().combine_chunks()
    columns = [table[what].chunk(0).dictionary for what in TRIPLE]
    odd = pa.concat_arrays([names.filter(compute.match_substring_regex(names, _ODD)) for names in columns]).unique()
    open_ended, empty = compute.match_substring_regex(odd, "[<\n]"), compute.equal(odd, "")
    for lost in (odd.filter(open_ended), odd.filter(empty)) if len(odd) else ():
        found = [compute.is_in(table[what].cast(pa.large_string()), lost) for what in TRIPLE]
        gone = compute.or_(compute.or_(found[0], found[1]), found[2])
        for number in table.filter(gone)["line"].to_pylist():
            place, unit = _place(path, cast(RdfFormat, RDF[ending_of(path)]), number)
            if lost[0].as_py():
                run.bad(path, place, "an IRI is not closed", unit)
            else:
                run.left_out["statements with an empty IRI"] += 1
        table = table.filter(compute.invert(gone))
    odd = odd.filter(compute.invert(compute.or_(open_ended, empty)))
    if len(odd):
        said = "1 name is no valid IRI, and is read as it stands: {1}"
        if len(odd) > 1:
            said = "{0:,} names are no valid IRIs, and are read as they stand: {1} …"
        log.warning("%s: %s", path, said.format(len(odd), repr(odd[0].as_py())))
    if any(compute.any(compute.starts_with(names, NAMED)).as_py() for names in columns):
        for place, what in enumerate(TRIPLE):
            column = table[what].combine_chunks()
            plain = pa.array(map(_plain, column.dictionary.to_pylist()), pa.large_string())
            table = table.set_column(place, what, pa.DictionaryArray.from_arrays(column.indices, plain))
    return table


def _place(path: Path, form: RdfFormat, number: int) -> tuple[int, str]:
    """Where a statement stands, by its number."""
    return (statement_lines(path)[number - 1], "line") if form == RdfFormat.N_QUADS else (number, "statement")


def _ours(subject: str) -> bool:
    """Whether `trivium export` says something of a run or a link there: that is no fact."""
    return subject.startswith(OURS) and not subject.startswith(NAMED)


def _plain(name: str) -> str:
    """The name that an IRI of `NAMED` stands for."""
    return unquote(name[len(NAMED) :]) if name.startswith(NAMED) else name


def _statements(path: Path, file: IO[bytes], form: RdfFormat, run: Pass) -> Iterator[Quad | None]:
    """The statements, ``None`` for one that cannot be read.

    Where such are skipped, N-Triples are read line by line from a fault on: a quotation mark that is not closed would
    take all that follows. In Turtle and TriG the parser goes on behind the statement, in XML and JSON it cannot.
    """
    if run.skip_bad and form == RdfFormat.N_QUADS:
        begin = 1
        while block := list(islice(file, _BLOCK_LINES)):
            try:
                yield from list(parse(b"".join(block), format=form, lenient=True))
            except (SyntaxError, MemoryError):
                for line, content in enumerate(block, begin):
                    try:
                        yield from list(parse(content, format=form, lenient=True))
                    except SyntaxError as reason:
                        run.bad(path, line, _reason(reason))
                        yield None
            begin += len(block)
        return
    parser, before = parse(file, format=form, lenient=True), ""
    while True:
        try:
            yield from parser
            return
        except SyntaxError as reason:
            if str(reason) == before or "Unexpected end" in str(reason):
                fail(path, reason.lineno, _reason(reason))
            run.bad(path, reason.lineno, _reason(reason))
            before = str(reason)
            yield None


def _reason(error: SyntaxError) -> str:
    """What is wrong, without the place, which the message says already."""
    if "LoadDocumentCallback" in error.msg:
        return "its @context stands at another address, and nothing is fetched: put the context itself into the file"
    return re.sub("^Parser error .*?: ", "", error.msg)


def statement_lines(path: Path) -> list[int]:
    """The line of each statement of N-Triples or N-Quads: one a line, blank lines and comments between."""
    with opened(path) as file:
        return [number for number, line in enumerate(file, 1) if line.strip() and line.lstrip()[:1] != b"#"]
