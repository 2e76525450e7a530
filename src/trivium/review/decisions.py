"""What people decided about links: a log in an SQLite file, and the state that it replays to.

The log only grows; to undo is an entry too. An entry is on disk before the call that made it returns, so that a kill at
any moment loses none. Several processes may read and write at once, on one machine: the journal (WAL) needs memory that
they share, so a network folder is no place for it.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal, get_args

import polars as pl

from trivium.errors import InputError, OutputError
from trivium.files import write_whole
from trivium.graph.formats import TRIPLE, decisions_of
from trivium.graph.graph import Graph
from trivium.kernels.csr import IntArray

Verdict = Literal["accepted", "rejected", "undecided"]

VERDICTS = get_args(Verdict)
RUN = ("checkpoint", "graph", "trivium", "settings")  # what a link was suggested by
WAIT_SECONDS = 60.0  # for others who write
_log = logging.getLogger(__name__)
_APPLICATION = 0x54524956
_GIVEN = (*TRIPLE, "verdict", "reviewer", "confidence", *RUN, "note")
_COLUMNS = {"id": pl.Int64, "at": pl.String, **dict.fromkeys(_GIVEN, pl.String), "confidence": pl.Float64}
_STANDING = (
    "+undoes IS NULL AND id NOT IN (SELECT undoes FROM log WHERE undoes IS NOT NULL)"  # +: the link's index is better
)
_INSERT = f"INSERT INTO log ({', '.join(_GIVEN)}) VALUES ({', '.join('?' * len(_GIVEN))})"
_SCHEMA = f"""
PRAGMA application_id = {_APPLICATION};
CREATE TABLE log (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    head TEXT NOT NULL, relation TEXT NOT NULL, tail TEXT NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('accepted', 'rejected', 'undecided')),
    reviewer TEXT NOT NULL, confidence REAL, {", ".join(f"{name} TEXT NOT NULL" for name in RUN)}, note TEXT NOT NULL,
    undoes INTEGER UNIQUE REFERENCES log,
    CHECK (head <> '' AND relation <> '' AND tail <> '')
);
CREATE INDEX link ON log (head, relation, tail);
CREATE VIEW state AS SELECT *, max(id) FROM log WHERE {_STANDING} GROUP BY head, relation, tail;
"""


@dataclass(frozen=True)
class Decision:
    """What somebody said of a link.

    Attributes:
        head, relation, tail: names.
        reviewer: who.
        confidence: that the link was suggested with, in [0, 1]; ``None`` without one.
        checkpoint, graph, trivium, settings: by what it was suggested, see `trivium.review.provenance.Provenance`;
            empty where nothing suggested it.
    """

    head: str
    relation: str
    tail: str
    verdict: Verdict
    reviewer: str
    confidence: float | None = None
    checkpoint: str = ""
    graph: str = ""
    trivium: str = ""
    settings: str = ""
    note: str = ""


class Decisions:
    """A file of decisions; made when the first is recorded.

    Raises (every method):
        InputError: the file is none of these, or it cannot be read or written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @classmethod
    def of(cls, graph: str | Path, named: str | Path | None = None) -> Decisions:
        """Those about a graph's file: beside it, or in a file that is named and must be there."""
        if named is not None and not Path(named).is_file():
            raise InputError(f"{named}: no such file of decisions: `trivium review` makes one")
        return cls(named or decisions_of(graph))

    def record(self, *decisions: Decision) -> None:
        """Adds entries, all or none; on disk when it returns."""
        if not self.path.exists():
            self._make()
        with self._connected() as log:
            log.executemany(_INSERT, map(astuple, decisions))

    def tell(self, *decisions: Decision) -> Decision | None:
        """Adds entries, all or none, unless somebody else has said otherwise of one of their links: what stands is
        returned then, else ``None``. *Don't know* gives way, and so does what one said oneself.
        """
        if not self.path.exists():
            self._make()
        with self._connected() as log:
            for decision in decisions:
                stands = _standing(log, decision)
                agreed = stands is None or stands.verdict in ("undecided", decision.verdict)
                if stands is not None and not agreed and stands.reviewer != decision.reviewer:
                    return stands
            log.executemany(_INSERT, map(astuple, decisions))
        return None

    def decide(self, decision: Decision) -> Decision | None:
        """Adds an entry, unless somebody has accepted or rejected its link: what stands is returned then, else
        ``None``.

        So of several who decide at once the first one's verdict stands. Saying again what one said adds nothing.
        """
        if not self.path.exists():
            self._make()
        with self._connected() as log:
            stands = _standing(log, decision)
            if stands is None or "undecided" == stands.verdict != decision.verdict:
                log.execute(_INSERT, astuple(decision))
                return None
        return None if (stands.verdict, stands.reviewer) == (decision.verdict, decision.reviewer) else stands

    def undo(self, reviewer: str) -> Decision | None:
        """Undoes the last of a reviewer's decisions that stands, and returns it; ``None`` where none does."""
        if not self.path.exists():
            return None
        columns = ", ".join(_GIVEN)
        last = f"SELECT {columns}, id FROM log WHERE reviewer = ? AND {_STANDING} ORDER BY id DESC LIMIT 1"
        with self._connected() as log:
            undone = log.execute(f"INSERT INTO log ({columns}, undoes) {last} RETURNING {columns}", [reviewer])
            row = undone.fetchone()
        return None if row is None else Decision(*row)

    def state(self) -> pl.DataFrame:
        """The last decision about each link that stands, in the order in which they were made.

        Returns:
            Columns id, at (UTC, ISO 8601), head, relation, tail, verdict, reviewer, confidence, checkpoint,
            graph, trivium, settings, note.
        """
        return self._rows("state")

    def log(self, after: int = 0) -> pl.DataFrame:
        """Every entry in its order, or those after an id: the columns of `state`, and ``undoes``, the id of the entry
        that one undoes.
        """
        return self._rows("log", {"undoes": pl.Int64}, after)

    def _rows(self, table: str, more: dict[str, type[pl.DataType]] | None = None, after: int = 0) -> pl.DataFrame:
        columns = _COLUMNS | (more or {})
        if not self.path.exists():
            return pl.DataFrame(schema=columns)
        with self._connected("BEGIN") as log:
            rows = log.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE id > ? ORDER BY id", [after]).fetchall()
        try:
            return pl.DataFrame(rows, columns, orient="row")
        except (TypeError, pl.exceptions.PolarsError) as error:
            raise InputError(f"{self.path} holds what is no decision: it is damaged") from error

    @property
    def _journal(self) -> Path:
        place = self.path.resolve()
        return place.with_name(f"{place.name}-wal")

    def _make(self) -> None:
        """An empty log that takes its place whole; whoever comes second finds the first one's."""
        if self._journal.exists() and not self.path.exists():  # SQLite would take in what the journal holds
            words = "holds decisions that were made in it: put it back, or remove that file too"
            raise InputError(f"{self.path} is gone, but {self._journal} beside it {words}")
        with closing(sqlite3.connect(":memory:")) as log:
            log.executescript(_SCHEMA)
            content = bytearray(log.serialize())
        content[18:20] = b"\2\2"  # the file format's sign of a journal (WAL), which memory has none of
        try:
            write_whole(bytes(content), self.path)
        except OutputError:
            if not self.path.exists():
                raise

    @contextmanager
    def _connected(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """A connection in one transaction, to write by default, which ends well with the block."""
        read_only = begin == "BEGIN" and not os.access(self.path.resolve().parent, os.W_OK)
        how = "immutable=1" if read_only and not self._journal.exists() else "mode=rw"  # else a journal has to be made
        try:
            place = f"{self.path.resolve().as_uri()}?{how}"
            with closing(sqlite3.connect(place, timeout=WAIT_SECONDS, isolation_level=None, uri=True)) as log:
                if log.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
                    raise InputError(f"{self.path} holds no decisions: name the file that `trivium review` made")
                log.execute("PRAGMA synchronous = FULL")
                log.execute(begin)
                yield log
                log.execute("COMMIT")
        except sqlite3.Error as error:
            raise InputError(f"{self.path} cannot be used for decisions: {error}") from error


def _standing(log: sqlite3.Connection, decision: Decision) -> Decision | None:
    """What stands of a decision's link."""
    of_link = f"SELECT {', '.join(_GIVEN)} FROM log WHERE (head, relation, tail) = (?, ?, ?) AND {_STANDING}"
    link = decision.head, decision.relation, decision.tail
    row = log.execute(f"{of_link} ORDER BY id DESC LIMIT 1", link).fetchone()
    return None if row is None else Decision(*row)


def decided(graph: Graph, state: pl.DataFrame) -> tuple[Graph, IntArray]:
    """A graph with what was decided, and ``[n, 3]`` ids of what was rejected and can be asked of it.

    Accepted links join it; a rejected one that it holds goes.

    Args:
        state: see `Decisions.state`.

    Raises:
        GraphError: every fact was rejected.
    """
    accepted, rejected = (state.filter(pl.col("verdict") == verdict).select(TRIPLE) for verdict in VERDICTS[:2])
    ends = graph.ids(*accepted, labels=False)[:, ::2]
    if ends.max(initial=-1) < 0 < len(accepted):
        words = "names an entity that the graph holds: are these decisions about another graph?"
        _log.warning("none of %s accepted links %s", f"{len(accepted):,}", words)
    held = graph.contains(graph.ids(*rejected, labels=False))
    if len(accepted) or held.any():
        graph = graph.with_changes(accepted, rejected.filter(pl.Series(held)), labels=False)
    ids = graph.ids(*rejected, labels=False)
    return graph, ids[(ids >= 0).all(1)]


def with_decisions(graph: Graph, path: str | Path) -> Graph:
    """The graph of a file with what was decided of it, if anything was; see `decided`."""
    log = Decisions(decisions_of(path))
    return decided(graph, log.state())[0] if log.path.exists() else graph
