"""Keep or reject suggested links, take them home, and see whether a table still holds."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
from cyclopts import Parameter

from trivium.calibration.reliability import draw_curve, expected_error, reliability
from trivium.cli.options import Asking, Force, Opening, Reading, Required
from trivium.errors import InputError
from trivium.explanation import explain
from trivium.files import check_output, check_place, read_provenance, save_figure, write_table
from trivium.graph.formats import TRIPLE, decisions_of
from trivium.graph.graph import Graph
from trivium.graph.read import read_graph
from trivium.inference.ranker import Ranker
from trivium.report import printable, show, warn
from trivium.review.decisions import Decision, Decisions, Verdict, decided
from trivium.review.links import decisions_in, of_another, read_links
from trivium.review.links import suggestions as read_suggestions
from trivium.review.provenance import Provenance, decided_sha256, made_by
from trivium.review.queue import Choice, Link, Queue, Waiting

AHEAD = 8  # links whose reasons are prepared while a person reads
PATHS = 3
SHOWN_FACTS = 5  # of each end
KEYS: dict[str, Verdict] = {"a": "accepted", "r": "rejected", "d": "undecided"}
OF_MODELS = "checkpoint", "decisions", "device"  # what reading a graph alone does not take
SAID = {"accepted": "accepted", "rejected": "rejected", "undecided": "left open"}
HELP = "a accept · r reject · d don't know · u undo · q quit"
DECIDED = {"reviewer": pl.String, "at": pl.String, "verdict": pl.String, "note": pl.String}


def review(
    graph: Path,
    /,
    *,
    suggestions: Path | None = None,
    relation: list[str] | None = None,
    min_confidence: float | None = None,
    doubtful_first: bool = False,
    reviewer: str | None = None,
    import_: Annotated[Path | None, Parameter(name="--import")] = None,
    export: Path | None = None,
    agreement: bool = False,
    png: Path | None = None,
    opening: Asking = Asking(),
    force: Force = False,
) -> None:
    """Shows suggested links one at a time, each with its reasons, and keeps what is decided of it by one key.

    What is decided is on disk when the next link shows, in a file beside the graph that every verb reads. Several
    people may review at once. Links that the graph holds or that somebody decided are passed over. Links of one
    question come together, and those with one answer.

    Parameters
    ----------
    graph
        The graph.
    suggestions
        A table of links with their confidences, from `trivium complete`.
    relation
        Show links of these relations alone (repeatable).
    min_confidence
        Show links of at least this confidence.
    doubtful_first
        Show first those whose confidence is nearest to one half.
    reviewer
        Whose decisions these are; the user's name by default.
    import_
        Take decisions from a table instead: head, relation, tail, verdict, and perhaps confidence, reviewer, note.
    export
        Write the decisions that stand as a table instead (.tsv, .csv, .parquet, .jsonl).
    agreement
        Say instead how often links of each confidence were accepted.
    png
        Also draw that there.
    """
    if sum((suggestions is not None, import_ is not None, export is not None, agreement)) != 1:
        raise InputError("give --suggestions FILE to review, or one of --import FILE, --export FILE and --agreement")
    if min_confidence is not None and not 0 <= min_confidence <= 1:
        raise InputError(f"--min-confidence is {min_confidence}: give a number from 0 to 1")
    log = Decisions(opening.decisions or decisions_of(graph))
    who = reviewer or getpass.getuser()
    if import_ is not None:
        reading = {name: value for name, value in vars(opening).items() if name not in OF_MODELS}
        _import(log, import_, who, read_graph(graph, **reading))
    elif export is not None:
        check_output(export, force)
        state = Decisions.of(graph, opening.decisions).state().drop("id")
        write_table(state, export, force, made_by("review", state.rows()))
        warn(f"{export}: {len(state):,} decisions")
    elif agreement:
        _agree(Decisions.of(graph, opening.decisions), png, force)
    elif suggestions is not None:
        links = read_suggestions(suggestions)
        reading = vars(opening) | {"decisions": log.path if log.path.exists() else False}
        ranker = Ranker.open(graph, **reading)
        queue = Queue(links, log, ranker.graph)
        if len(queue.unknown):
            first = " ".join(queue.unknown.select(TRIPLE).row(0))
            warn(f"{len(queue.unknown):,} links name what the graph lacks: passed over, {first!r} first")
        if of_another(links, ranker.given):
            warn(f"{suggestions} was made of another graph: its confidences are of that one")
        kinds = ranker.graph.relations
        asked = tuple(kinds.names[kinds.id(name, "relation")] for name in relation or ())
        choice = Choice(asked, min_confidence, doubtful_first)
        _go_through(queue, Reasons(ranker), choice, who)


def _import(log: Decisions, path: Path, who: str, graph: Graph) -> None:
    given = decisions_in(path, who, graph)
    before = {row[:3]: row[3] for row in log.state().select(*TRIPLE, "verdict").iter_rows()}
    stood = [before.get((entry.head, entry.relation, entry.tail)) for entry in given]
    new = [entry for entry, verdict in zip(given, stood, strict=True) if verdict != entry.verdict]
    if new:
        log.record(*new)
    warn(f"{log.path}: {len(new):,} decisions; {len(given) - len(new):,} stood already")
    if other := len(new) - stood.count(None):
        warn(f"{other:,} of them take the place of another verdict")
    links = [(entry.head, entry.relation, entry.tail) for entry in new if entry.verdict == "accepted"]
    unknown = graph.ids(*zip(*links, strict=True), labels=False).min(1) < 0 if links else np.array([])
    if unknown.any():
        words = f"accepted links name what the graph lacks, {' '.join(links[unknown.argmax()])!r} first"
        warn(f"{unknown.sum():,} {words}: they join it as new")


def _agree(log: Decisions, png: Path | None, force: bool) -> None:
    """How often links of each confidence were accepted, over those that somebody accepted or rejected."""
    state = log.state().filter(pl.col("verdict") != "undecided", pl.col("confidence").is_not_null())
    if state.is_empty():
        raise InputError(f"{log.path}: no link that had a confidence was accepted or rejected yet")
    bins = reliability(state["confidence"].to_numpy(), (state["verdict"] == "accepted").to_numpy())
    rows = [(part.answers, part.confidence, part.true) for part in bins]
    show(["links", "mean confidence", "share accepted"], rows)
    print(f"\nThey differ by {expected_error(bins):.3f} in the mean.")
    if png is not None:
        save_figure(draw_curve(bins, f"{len(state):,} decisions", "share accepted"), check_place(png, force), force)


class Reasons:
    """Lines for people about links that wait, prepared ahead on a thread of its own."""

    def __init__(self, ranker: Ranker) -> None:
        self.ranker = ranker
        self.pool = ThreadPoolExecutor(1, "reasons")
        self.prepared: dict[Link, Future[list[str]]] = {}

    def begin(self, links: list[Waiting]) -> None:
        """Begins with what is not there yet, and forgets what is not among these links."""
        wanted = [one.link for one in links]
        for link in self.prepared.keys() - set(wanted):
            self.prepared.pop(link).cancel()
        for link in wanted:
            if link not in self.prepared:
                self.prepared[link] = self.pool.submit(self._lines, link)

    def of(self, link: Link) -> list[str]:
        """The paths that carried a link, and what is known of its ends."""
        return self.prepared[link].result()

    def close(self) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _lines(self, link: Link) -> list[str]:
        lines = replace(explain(self.ranker, *link, max_paths=PATHS), leaned_on={}).words
        head, relation, tail = link
        return [*lines, *(_known(self.ranker.graph, name, relation) for name in dict.fromkeys((head, tail)))]


def _known(graph: Graph, name: str, relation: str) -> str:
    """What a graph holds of an entity: a few facts, first those of a relation."""
    entity, asked = graph.entities.id(name, "entity"), graph.relations.id(relation, "relation")
    begin, end = graph.offsets[entity], graph.offsets[entity + 1]
    others = graph.edge_relations[begin:end] % graph.num_relations != asked
    facts = []
    for edge in begin + np.argsort(others, kind="stable")[:SHOWN_FACTS]:
        other = graph.entities.shown(graph.sources[[edge]])[0]
        kind = int(graph.edge_relations[edge])
        called = graph.relations.shown(np.array([kind % graph.num_relations]))[0]
        facts.append(f"{other} {called} ·" if kind < graph.num_relations else f"· {called} {other}")
    return f"{graph.entities.shown(np.array([entity]))[0]} ({end - begin:,} facts): {'; '.join(facts)}"


def _go_through(queue: Queue, reasons: Reasons, choice: Choice, who: str) -> None:
    """Asks for a key a link until none is left or somebody quits."""
    graph = reasons.ranker.graph
    done: list[str] = []
    again: list[Link] = []  # what was undone comes first
    total = 0
    with keys() as key_pressed:
        try:
            while links := (found := queue.next(choice, AHEAD, again))[0]:
                reasons.begin(links)
                now, place = links[0], found[1]
                total = max(total, place)
                said = "" if now.confidence is None else f"confidence {now.confidence:.2f}   "
                counted = ", ".join(f"{done.count(verdict)} {words}" for verdict, words in SAID.items())
                print(f"\n[{total - place + 1:,}/{total:,}] {said}{counted}")
                lines = [*reasons.of(now.link), *_like(graph, now, queue.like(now)), HELP]
                print("\n".join(map(printable, lines)), flush=True)
                while (key := (key_pressed() or "q").lower()) not in (*KEYS, "u", "q"):
                    pass
                if key == "q":
                    break
                if key == "u":
                    undone = queue.log.undo(who)
                    print(printable(f"undone: {_shown(graph, _link(undone))}") if undone else "nothing to undo")
                    again = [_link(undone), *again] if undone else again
                    done = done[:-1]
                elif (stands := queue.decide(now.link, KEYS[key], who)) is not None:
                    print(printable(f"{stands.reviewer} had decided meanwhile: {SAID[stands.verdict]}; that stands"))
                else:
                    done.append(KEYS[key])
        finally:
            reasons.close()
    warn(f"{queue.log.path}: {len(done):,} decisions, {queue.next(choice, 0)[1]:,} links left")


def _link(decision: Decision) -> Link:
    return decision.head, decision.relation, decision.tail


def _shown(graph: Graph, link: Link) -> str:
    """A link as people are shown it, by labels."""
    ids = graph.ids(*([name] for name in link), labels=False)[0]
    kinds = graph.entities, graph.relations, graph.entities
    return " ".join(
        names.shown(np.array([place]))[0] if place >= 0 else name
        for names, place, name in zip(kinds, ids, link, strict=True)
    )


def _like(graph: Graph, now: Waiting, others: list[Waiting]) -> list[str]:
    """The suggestions beside one, by question and by answer, in short."""
    head, tail = graph.entities.shown(np.array([now.ids[0], now.ids[2]]))
    relation = graph.relations.shown(np.array([now.ids[1]]))[0]
    lines = {f"{head} {relation} …": list[str](), f"… {relation} {tail}": list[str]()}
    for one in others:
        same_head = one.ids[0] == now.ids[0]
        name = graph.entities.shown(np.array([one.ids[2 if same_head else 0]]))[0]
        said = SAID[one.verdict] if one.verdict else "" if one.confidence is None else f"{one.confidence:.2f}"
        list(lines.values())[0 if same_head else 1].append(f"{name}{said and f' ({said})'}")
    return [f"Like it, {asked}: {'; '.join(names)}" for asked, names in lines.items() if names]


@contextmanager
def keys() -> Iterator[Callable[[], str]]:
    """What waits for a key and gives it, "" at the end; where the input is no terminal, or one without such a mode, its
    characters. What was typed before is forgotten: it was meant for nothing that is shown."""
    try:
        import termios
        import tty

        before = termios.tcgetattr(sys.stdin)
    except (ImportError, OSError, ValueError, termios.error):
        yield lambda: sys.stdin.read(1)
        return
    tty.setcbreak(sys.stdin)
    try:
        yield lambda: sys.stdin.read(1)
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def export(
    graph: Path,
    /,
    *,
    output: Required,
    suggestions: Path | None = None,
    whole: bool = False,
    annotations: bool = False,
    neo4j: bool = False,
    decisions: Path | None = None,
    reading: Reading = Reading(),
    force: Force = False,
) -> None:
    """Writes the accepted links, or suggested ones that nobody rejected, with where each comes from.

    RDF has a named graph for each run that suggested links, and says in PROV-O which version, checkpoint and graph
    that was, with the confidence, reviewer and time of each link.

    Parameters
    ----------
    graph
        The graph.
    output
        The file to write: .tsv, .csv, .parquet, .jsonl, or RDF (.nq, .trig, .jsonld).
    suggestions
        A table of links to write instead of the accepted ones.
    whole
        Also write the facts that the graph holds.
    annotations
        In RDF, say what is known of each link by RDF 1.2 annotations in place of statements.
    neo4j
        Write the .csv file as relationships for `neo4j-admin database import`, and NAME.nodes.csv beside it.
    decisions
        A file of decisions; by default the one beside the graph.
    """
    from trivium.review.export import RDF_FORMS, for_neo4j, write_rdf

    ending = output.suffix.lower()
    check_place(output, force, ".tsv", ".csv", ".parquet", ".jsonl", ".ndjson", *RDF_FORMS)
    if neo4j and ending != ".csv":
        raise InputError(f"{output}: --neo4j writes .csv")
    if annotations and ending not in (".nq", ".trig"):
        raise InputError(f"{output}: only .nq and .trig can hold annotations")
    given = read_graph(graph, **vars(reading))
    state = Decisions.of(graph, decisions).state().drop("id")
    changed, rejected = decided(given, state)
    links = state.filter(pl.col("verdict") == "accepted")
    if suggestions is not None:
        links = _suggested(suggestions, state)
        ids = changed.ids(*links.select(TRIPLE), labels=False)
        links = links.filter((ids.min(1) < 0) | ~np.isin(changed.keys(ids), changed.keys(rejected)))
    facts = (
        given.named(given.without(given.ids(*links.select(TRIPLE), labels=False)).triples)
        if whole
        else given.named(given.triples[:0])
    )
    if facts.is_empty() and links.is_empty():
        raise InputError(f"{graph}: no link was accepted yet: `trivium review` keeps some, or give --suggestions FILE")
    after = decided_sha256(given, changed, rejected if len(rejected) else None)
    made = made_by("export", whole, neo4j, links.rows(), graph=given.sha256, decided=after)
    if ending in RDF_FORMS:
        write_rdf(links, facts, output, annotations, force)
    else:
        rows = pl.concat([links, facts], how="diagonal")
        if neo4j:
            nodes, rows = for_neo4j(rows)
            write_table(nodes, output.with_suffix(".nodes.csv"), force, made)
        write_table(rows, output, force, made)
    warn(f"{output}: {len(links):,} links" + (f" and {len(facts):,} facts" if whole else ""))


def _suggested(path: Path, state: pl.DataFrame) -> pl.DataFrame:
    """The links of a table that nobody rejected, with what was decided of them."""
    links = read_suggestions(path).join(state.select(*TRIPLE, *DECIDED), on=TRIPLE, how="left", maintain_order="left")
    return links.filter(pl.col("verdict").fill_null("") != "rejected").select(state.columns)


def verify(file: Path, graph: Path, /, *, opening: Opening = Opening()) -> None:
    """Says whether a table still holds: that it and what it rests on are as they were.

    Of answers that is the graph, the model and the decisions; a table that `synthesize`, say, wrote rests on none of
    them. Exit status 1 where something has changed.

    Parameters
    ----------
    file
        The table, written by a verb of trivium.
    graph
        The graph.
    """
    said = read_provenance(file)
    if not said:
        why = "only tables that trivium wrote do, text with its .provenance.json beside it"
        raise InputError(f"{file} carries no provenance: {why}")
    then = Provenance.of(said)
    ranker = Ranker.open(graph, **vars(opening))
    now = Provenance.of(ranker.provenance(then.verb))
    words = {"trivium": "version", "graph": "graph", "texts": "relation texts", "checkpoint": "checkpoint"}
    words |= {"decided": "decisions"}
    same = {what: getattr(then, name) in ("", getattr(now, name)) for name, what in words.items()}
    rows = [("written by", then.verb)]
    for name, what in words.items():
        rows.append((what, ("as it was" if same[what] else "another") if getattr(then, name) else "names none"))
    if then.calibration:
        rows.append(("confidences", "rest on a calibration, which is not compared"))
    if then.graph and (links := _links_in(file)) is not None:
        held = int(ranker.graph.contains(ranker.graph.ids(*links, labels=False)).sum())
        rows += [("links", f"{len(links):,}, of which the graph holds {held:,} now")]
    show([str(file), ""], rows)
    if not all(same.values()):
        sys.exit(1)


def _links_in(file: Path) -> pl.DataFrame | None:
    """The links of a table, unless its rows are something else."""
    try:
        return read_links(file).select(TRIPLE)
    except InputError:
        return None
