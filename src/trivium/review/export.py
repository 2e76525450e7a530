"""Links in the forms in which people take them home: rows for Neo4j, and RDF with its provenance in PROV-O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
from pyoxigraph import BlankNode, Literal, NamedNode, Quad, RdfFormat, Triple, serialize

from trivium.files import whole_file
from trivium.graph.formats import TRIPLE
from trivium.graph.rdf import NAMED, OURS
from trivium.review.decisions import RUN

PROV = "http://www.w3.org/ns/prov#"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
RDFS = "http://www.w3.org/2000/01/rdf-schema#"
RDF_FORMS = {".nq": RdfFormat.N_QUADS, ".trig": RdfFormat.TRIG, ".jsonld": RdfFormat.JSON_LD}
PREFIXES = {"prov": PROV, "rdf": RDF, "rdfs": RDFS}
_BLANK = re.compile(r"_:[A-Za-z0-9_][A-Za-z0-9_-]*")
_XSD = "http://www.w3.org/2001/XMLSchema#"


def write_rdf(links: pl.DataFrame, facts: pl.DataFrame, path: Path, annotations: bool, force: bool) -> None:
    """Writes links, and facts of the graph, as RDF in the format of the file's ending; see `quads`.

    Raises:
        OutputError: the file exists (without ``force``) or cannot be written.
    """
    form = RDF_FORMS[path.suffix.lower()]
    prefixes = None if form == RdfFormat.N_QUADS else PREFIXES
    with whole_file(path, force) as file:
        serialize(quads(links, facts.iter_rows(), annotations), file, form, prefixes=prefixes)


def quads(links: pl.DataFrame, facts: Iterable[tuple[str, str, str]] = (), annotations: bool = False) -> Iterator[Quad]:
    """RDF of links: each stands in the named graph of the run that suggested it, all that is said of it in the default.

    A run is a version of Trivium, a checkpoint, a graph and settings, all by hash: a `prov:Entity` that was generated
    by an activity. Of each link its confidence, verdict, reviewer, time and note are said, by a statement (RDF 1.1) or,
    with ``annotations``, by a reifier of its triple (RDF 1.2). A name that is an IRI or a blank node stands for itself,
    another one becomes an IRI that `trivium.graph.rdf` reads as that name, and has it as its label.

    Args:
        links: the columns of `trivium.review.decisions.Decisions.state`, id aside; missing values are null.
        facts: of the graph, by name; they stand in the default graph.
    """
    said: set[Quad] = set()
    names: dict[tuple[str, bool], Any] = {}

    def node(name: str, relation: bool) -> Any:
        if (name, relation) not in names:
            names[name, relation] = found = _node(name, relation)
            if isinstance(found, NamedNode) and found.value.startswith(NAMED):
                said.add(Quad(found, NamedNode(f"{RDFS}label"), Literal(name)))
        return names[name, relation]

    for fact in facts:
        yield Quad(*map(node, fact, (False, True, False)))
    for row in links.iter_rows(named=True):
        link = Triple(*map(node, (row[end] for end in TRIPLE), (False, True, False)))
        run = NamedNode(f"{OURS}run:{_short(*(row[what] or '' for what in RUN))}")
        yield Quad(link.subject, link.predicate, link.object, run)
        said.update(_of_run(run, row))
        statement = NamedNode(f"{OURS}link:{_short(*(row[end] for end in TRIPLE), run.value)}")
        if annotations:
            said.add(Quad(statement, NamedNode(f"{RDF}reifies"), link))
        else:
            parts = {"subject": link.subject, "predicate": link.predicate, "object": link.object}
            said.add(Quad(statement, NamedNode(f"{RDF}type"), NamedNode(f"{RDF}Statement")))
            said.update(Quad(statement, NamedNode(f"{RDF}{part}"), end) for part, end in parts.items())
        said.add(Quad(statement, NamedNode(f"{PROV}wasDerivedFrom"), run))
        if row["confidence"] is not None:
            said.add(Quad(statement, NamedNode(f"{OURS}confidence"), Literal(row["confidence"])))
        if row["verdict"] is not None:
            agent = NamedNode(f"{OURS}reviewer:{quote(row['reviewer'], safe='')}")
            at = Literal(row["at"], datatype=NamedNode(f"{_XSD}dateTime"))
            said.add(Quad(statement, NamedNode(f"{OURS}verdict"), Literal(row["verdict"])))
            said.add(Quad(statement, NamedNode(f"{PROV}generatedAtTime"), at))
            said.add(Quad(statement, NamedNode(f"{PROV}wasAttributedTo"), agent))
            said.add(Quad(agent, NamedNode(f"{RDF}type"), NamedNode(f"{PROV}Agent")))
            said.add(Quad(agent, NamedNode(f"{RDFS}label"), Literal(row["reviewer"])))
        if row["note"]:
            said.add(Quad(statement, NamedNode(f"{RDFS}comment"), Literal(row["note"])))
    yield from sorted(said, key=str)


def _of_run(run: NamedNode, row: dict[str, Any]) -> Iterator[Quad]:
    """What is said of a run: what it used, by hash, and which version it was."""
    activity = NamedNode(run.value.replace(":run:", ":activity:"))
    yield Quad(run, NamedNode(f"{RDF}type"), NamedNode(f"{PROV}Entity"))
    yield Quad(run, NamedNode(f"{PROV}wasGeneratedBy"), activity)
    yield Quad(activity, NamedNode(f"{RDF}type"), NamedNode(f"{PROV}Activity"))
    for what in (what for what in RUN if row[what]):
        if what == "trivium":
            agent = NamedNode(f"{OURS}version:{quote(row[what], safe='')}")
            yield Quad(agent, NamedNode(f"{RDF}type"), NamedNode(f"{PROV}SoftwareAgent"))
            yield Quad(activity, NamedNode(f"{PROV}wasAssociatedWith"), agent)
        else:
            used = NamedNode(f"{OURS}sha256:{quote(row[what], safe='')}")
            yield Quad(activity, NamedNode(f"{PROV}used"), used)
            yield Quad(activity, NamedNode(f"{OURS}{what}"), used)


def _node(name: str, relation: bool) -> NamedNode | BlankNode:
    if _BLANK.fullmatch(name) and not relation:  # which RDF asks to be an IRI
        return BlankNode(name[2:])
    with suppress(ValueError):
        if not name.startswith(OURS):
            return NamedNode(name)
    return NamedNode(f"{NAMED}{quote(name, safe='')}")


def _short(*words: str) -> str:
    return sha256("\0".join(words).encode()).hexdigest()[:16]


def for_neo4j(links: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Nodes and relationships with the headers of ``neo4j-admin database import``."""
    ends = pl.concat([links["head"], links["tail"]]).unique().sort()
    nodes = pl.DataFrame({"name:ID": ends, ":LABEL": ["Entity"] * len(ends)})
    columns = {"head": ":START_ID", "tail": ":END_ID", "relation": ":TYPE", "confidence": "confidence:double"}
    rest = [name for name in links.columns if name not in columns]
    return nodes, links.select(*columns, *rest).rename(columns)
