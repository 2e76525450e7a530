"""A SPARQL endpoint to N-Triples, a page at a time: an interruption costs one page.

Pages follow each other by keys: each asks, of one predicate, for what comes after the last pair of names, in the order
of names. Unlike ``OFFSET`` that loses nothing and doubles nothing while the endpoint changes, skips no rows, which
endpoints refuse from some number on, and goes on wherever a page ended, however many rows are given at a time.

What has come stands in one file: N-Triples, and after each page a comment that says how far it goes.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from trivium import __version__
from trivium.errors import GraphError, OutputError
from trivium.files import claimed
from trivium.graph.formats import Pass
from trivium.graph.rdf import LABELS, rdf_triples

PAGE = 10_000  # rows that are asked for at a time
SMALLEST = 100
NAMES = 200  # whose labels are asked for at a time
TRIES = 6
WAIT = 2.0  # seconds before the second try; each further one doubles it
LONGEST_WAIT = 300.0  # seconds that an endpoint may ask for
TIMEOUT = 120.0  # seconds without a byte
MAX_BYTES = 1 << 28  # of one answer
_ESCAPED = re.compile(r'[\x00-\x20<>"{}|^`\\]')
_LANGUAGES = '"", "en"'

log = logging.getLogger(__name__)

Binding = dict[str, dict[str, str]]


class _BusyError(Exception):
    """An answer that may come at another time."""

    def __init__(self, reason: object, seconds: float | None = None) -> None:
        super().__init__(" ".join(str(reason).split())[:300])
        self.seconds = seconds


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would lose the question."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Endpoint:
    """A SPARQL endpoint, asked one question after the other.

    Args:
        url: of the endpoint, as the SPARQL 1.1 protocol has it.
        graph: the IRI of the named graph that is asked; by default what the endpoint takes for all.
    """

    def __init__(self, url: str, graph: str | None = None) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise GraphError(f"sparql:{url}: give the address of an endpoint, sparql:https://…")
        self.url, self.graph, self.size, self.most, self.answered = url, graph, PAGE, 0, False
        self.opener = urllib.request.build_opener(_NoRedirect)

    def pattern(self, inner: str) -> str:
        """A pattern, in the graph that is asked."""
        return f"{{ {inner} }}" if self.graph is None else f"{{ GRAPH {_iri(self.graph)} {{ {inner} }} }}"

    def pages(
        self, keys: str, inner: str, only: str, after: Sequence[str] = (), count: int = -1
    ) -> Iterator[list[Binding]]:
        """Pages of bindings, in the order of the keys.

        Args:
            keys: variables that tell rows apart.
            inner: a pattern that binds them.
            only: a condition for a row.
            after: the values of the keys behind which to begin.
            count: of the rows, where it is known; else a page that is shorter than another was is the last.

        Raises:
            GraphError: the endpoint cannot be asked, or gives the same rows again.
        """
        names, total = keys.split(), 0
        while True:
            more = f" && ({_behind(names, after)})" if after else ""
            order = " ".join(f"STR(?{name})" for name in names)
            select = f"SELECT DISTINCT {' '.join('?' + name for name in names)} WHERE {self.pattern(inner)[:-1]}"
            rows = self.ask(f"{select} FILTER({only}{more}) }} ORDER BY {order} LIMIT %(size)d")
            if not rows:
                return
            last = [rows[-1][name]["value"] for name in names]
            if last == list(after):
                raise GraphError(f"{self.url} gives the same rows again: it does not sort as SPARQL says")
            after, total, self.most = last, total + len(rows), max(self.most, len(rows))
            yield rows
            if total == count or (count < 0 and len(rows) < min(self.most, self.size)):
                return

    def counted(self, predicate: str) -> list[int] | None:
        """How many statements a predicate has: in all, between IRIs, of literals; ``None`` if that takes too long."""
        inner = f"{{ SELECT DISTINCT ?s ?o WHERE {self.pattern(f'?s {_iri(predicate)} ?o')} }}"
        sums = ("isIRI(?s) && isIRI(?o)", "named"), ("isLiteral(?o)", "texts")
        parts = " ".join(f"(SUM(IF({condition}, 1, 0)) AS ?{name})" for condition, name in sums)
        try:
            found: Binding = dict(*self.ask(f"SELECT (COUNT(*) AS ?all) {parts} WHERE {{ {inner} }}", tries=1))
        except GraphError as reason:
            log.info("%s", reason)
            return None
        return [int(found[name]["value"]) if name in found else 0 for name in ("all", "named", "texts")]

    def ask(self, query: str, tries: int = TRIES) -> list[Binding]:
        """The rows of a query; asked again, for fewer rows, while the endpoint is busy.

        Args:
            query: ``%(size)d`` stands for the number of rows.
            tries: how often it is asked.

        Raises:
            GraphError: it cannot be asked, or it answers with something else.
        """
        wait = WAIT
        for left in reversed(range(tries)):
            try:
                return self._asked(query.replace("%(size)d", str(self.size)))
            except _BusyError as reason:
                seconds = wait if reason.seconds is None else reason.seconds
                if not left or seconds > LONGEST_WAIT:
                    asked = f", and asks to wait for {seconds:,.0f} seconds" if seconds > LONGEST_WAIT else ""
                    raise GraphError(f"{self.url}: {reason}{asked}: the same command goes on later") from reason
                log.info("%s: %s: again in %.0f seconds", self.url, reason, seconds)
                time.sleep(seconds)
                if reason.seconds is None:
                    wait, self.size = 2 * wait, max(self.size // 2, SMALLEST)
        raise AssertionError

    def _asked(self, query: str) -> list[Binding]:
        headers = {"Accept": "application/sparql-results+json", "User-Agent": f"trivium/{__version__}"}
        request = urllib.request.Request(self.url, urlencode({"query": query}).encode(), headers)
        try:
            with self.opener.open(request, timeout=TIMEOUT) as response:
                kind, partial = response.headers.get_content_type(), response.headers.get("X-SQL-State")
                body = response.read(MAX_BYTES + 1)
                self.answered = True
        except urllib.error.HTTPError as reason:
            said, self.answered = f"HTTP {reason.code} {reason.reason}", True
            if reason.code in (408, 429) or reason.code >= 500:
                raise _BusyError(said, _seconds(reason.headers.get("Retry-After"))) from reason
            place = reason.headers.get("Location")
            more = f", it is at {place}" if place else f": {reason.read(300).decode('utf-8', 'replace')}"
            raise GraphError(f"{self.url}: {' '.join(f'{said}{more}'.split())}") from reason
        except (OSError, HTTPException) as reason:  # no connection, a name that is unknown, a body that ends early
            why = getattr(reason, "reason", None) or reason or type(reason).__name__
            if not self.answered:
                raise GraphError(f"{self.url} cannot be reached: {why}") from reason
            raise _BusyError(why) from reason
        if kind == "text/html":
            raise GraphError(f"{self.url} answers with a page for people: give the address of its SPARQL endpoint")
        if len(body) > MAX_BYTES:
            raise _BusyError(f"an answer of more than {MAX_BYTES:,} bytes")
        if partial:  # what Virtuoso says of an answer that it has cut short
            raise _BusyError(f"an answer in part ({partial})")
        try:
            rows: list[Binding] = json.loads(body)["results"]["bindings"]
        except (ValueError, LookupError, TypeError, RecursionError) as reason:
            if kind.endswith("json"):
                raise _BusyError(f"an answer that breaks off ({reason})") from reason
            raise GraphError(f"{self.url} answers with {kind}, no SPARQL results in JSON") from reason
        return rows


class Pages:
    """What has come: a file of N-Triples, and a comment after each page that says how far it goes.

    Args:
        path: of the file; what stands there already is taken up, up to its last whole page.
        request: what was asked for.

    Raises:
        OutputError: it holds pages of another request.
    """

    def __init__(self, path: Path, request: dict[str, Any]) -> None:
        self.path, end = path, 0
        self.said: dict[str, Any] = {"predicates": None, "counted": {}, "after": {}, "done": {}, "labelled": 0}
        if path.exists():
            with path.open("r+b") as file:
                read = 0
                for line in file:
                    read += len(line)
                    if line.startswith(b"# {") and line.endswith(b"}\n"):
                        self._hear(json.loads(line[2:]))
                        end = read
                file.truncate(end)
        if not end:
            self.add([], request=request)
        elif self.said["request"] != request:
            raise OutputError(f"{path} holds what came of another request: remove it, or choose another name")

    def _hear(self, said: dict[str, Any]) -> None:
        for key, value in said.items():
            if isinstance(self.said.get(key), dict):
                self.said[key].update(value)
            else:
                self.said[key] = value

    def add(self, statements: Sequence[Sequence[dict[str, str]]], **said: Any) -> None:
        """Adds a page, triples of terms as SPARQL's JSON has them, and how far it goes."""
        lines = [f"{' '.join(map(_term, terms))} .\n" for terms in statements]
        with self.path.open("ab") as file:
            file.write("".join([*lines, f"# {json.dumps(said)}\n"]).encode())
            file.flush()
            os.fsync(file.fileno())
        self._hear(said)


@contextmanager
def fetched(
    url: str,
    output: Path,
    graph: str | None = None,
    predicates: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Path]:
    """The statements of an endpoint between IRIs, and labels of these, as a file of N-Triples.

    Of labels those without a language and the English ones. Statements of nodes without a name are left out and
    counted: such a node is called otherwise in each answer. So are literals.

    Args:
        url: of the endpoint.
        output: beside it, in ``OUTPUT.parts``, stands what has come, until the block ends well.
        graph: the IRI of a named graph.
        predicates: IRIs; all by default.
        progress: called with the statements that have come, and how many there are.

    Raises:
        GraphError: the endpoint cannot be asked, does not answer with SPARQL results, or holds nothing of the kind.
        OutputError: what stands there is of another request, or another process is at it.
    """
    endpoint = Endpoint(url, graph)
    folder = output.with_name(f"{output.name}.parts")
    with claimed(folder, output):
        pages = Pages(folder / "pages.nt", {"endpoint": url, "graph": graph, "predicates": sorted(predicates)})
        _fetch(endpoint, pages, sorted(predicates), progress or (lambda done, total: None))
        yield pages.path
        pages.path.unlink()


def _fetch(endpoint: Endpoint, pages: Pages, predicates: Sequence[str], progress: Callable[[int, int], None]) -> None:
    if pages.said["predicates"] is None:
        held = predicates or [
            name
            for page in endpoint.pages("p", "?s ?p ?o", "true")
            for row in page
            if not _ESCAPED.search(name := row["p"]["value"])
        ]
        pages.add([], predicates=held)
    counts = pages.said["counted"]
    for predicate in pages.said["predicates"]:
        if predicate not in counts:
            pages.add([], counted={predicate: endpoint.counted(predicate)})
    total = sum(count[1] for count in counts.values() if count)
    log.info("%s: %s statements between IRIs, of %s predicates", endpoint.url, f"{total:,}", f"{len(counts):,}")
    for predicate, count in counts.items():
        if predicate in pages.said["done"]:
            continue
        after, rows = pages.said["after"].get(predicate, ([], 0))
        named = -1 if count is None else count[1] - rows
        what, only = f"?s {_iri(predicate)} ?o", "isIRI(?s) && isIRI(?o)"
        for page in endpoint.pages("s o", what, only, after, named) if named else ():
            after, rows = [page[-1][name]["value"] for name in "so"], rows + len(page)
            facts = [(row["s"], {"type": "uri", "value": predicate}, row["o"]) for row in page]
            pages.add(facts, after={predicate: (after, rows)})
            progress(sum(held for _, held in pages.said["after"].values()), total)
        if count is None or rows != count[1]:
            told = "it does not say how many there are" if count is None else f"it counts {count[1]:,}"
            log.warning("%s: %s statements of %s came, and %s", endpoint.url, f"{rows:,}", predicate, told)
        pages.add([], done={predicate: rows})
    _fetch_labels(endpoint, pages)
    known = {predicate: count for predicate, count in counts.items() if count}
    left = {
        "literals": sum(texts for predicate, (_, _, texts) in known.items() if predicate not in LABELS),
        "statements of nodes without a name": sum(whole - named - texts for whole, named, texts in known.values()),
    }
    for kind, many in left.items():
        if many:
            log.info("%s: %s %s are left out", endpoint.url, f"{many:,}", kind)
    if not any(pages.said["done"].values()):
        found = endpoint.ask("SELECT DISTINCT ?g WHERE { GRAPH ?g { ?s ?p ?o } } LIMIT 5", tries=1)
        graphs = ", ".join(row["g"]["value"] for row in found) or "no named graph"
        raise GraphError(f"{endpoint.url} holds no such statement between IRIs; it has {graphs} (--named-graph IRI)")


def _fetch_labels(endpoint: Endpoint, pages: Pages) -> None:
    """Labels of all names, so many names at a time."""
    names = sorted({name for *triple, _ in rdf_triples(pages.path, Pass()) for name in triple})
    kinds = " ".join(map(_iri, LABELS))
    for begin in range(pages.said["labelled"], len(names), NAMES):
        some = " ".join(_iri(name) for name in names[begin : begin + NAMES] if not _ESCAPED.search(name))
        what = f"VALUES ?s {{ {some} }} VALUES ?p {{ {kinds} }} ?s ?p ?o"
        found = endpoint.pages("s p o", what, f"isLiteral(?o) && LANG(?o) IN ({_LANGUAGES})")
        pages.add(
            [(row["s"], row["p"], row["o"]) for page in found for row in page], labelled=min(begin + NAMES, len(names))
        )


def _behind(names: Sequence[str], after: Sequence[str]) -> str:
    """The condition that keys come after others, in the order of names."""
    parts = []
    for place, name in enumerate(names):
        same = [f"STR(?{other}) = {_text(value)}" for other, value in zip(names[:place], after, strict=False)]
        parts.append(" && ".join([*same, f"STR(?{name}) > {_text(after[place])}"]))
    return " || ".join(f"({part})" for part in parts)


def _iri(name: str) -> str:
    return "<" + _ESCAPED.sub(lambda mark: f"\\u{ord(mark[0]):04X}", name) + ">"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _term(term: dict[str, str]) -> str:
    """A term of SPARQL's JSON as N-Triples have it; a literal with its language, for the labels' sake."""
    if term["type"] == "uri":
        return _iri(term["value"])
    return _text(term["value"]) + (f"@{term['xml:lang']}" if "xml:lang" in term else "")


def _seconds(said: str | None) -> float | None:
    """What ``Retry-After`` says, in seconds or as a date."""
    if said is None or said.strip().isdecimal():
        return None if said is None else float(said)
    try:
        return max(parsedate_to_datetime(said).timestamp() - time.time(), 0.0)
    except ValueError:
        return None
