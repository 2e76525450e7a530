"""Suggested links that wait for a decision: which are left, in what order, and which belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trivium.errors import InputError
from trivium.graph.formats import TRIPLE
from trivium.graph.graph import Graph
from trivium.review.decisions import RUN, VERDICTS, Decision, Decisions, Verdict

BAND = 0.1  # of confidence: of those that are so alike in doubt, like links come together
LIKE = 12  # links of the same question or answer, at most, beside one
KEPT = 4  # orders

Link = tuple[str, str, str]


@dataclass(frozen=True)
class Choice:
    """Which links are shown, and in which order.

    Attributes:
        relations: of these alone, by name; of all if there is none.
        min_confidence: of at least this; ``None`` also shows those that have none.
        doubtful_first: those whose confidence is nearest to one half come first; else as they were suggested.
    """

    relations: tuple[str, ...] = ()
    min_confidence: float | None = None
    doubtful_first: bool = False


@dataclass(frozen=True)
class Waiting:
    """A suggested link.

    Attributes:
        place: in its queue.
        ids: head, relation and tail.
        verdict: what stands; empty while it waits.
    """

    place: int
    link: Link
    ids: tuple[int, int, int]
    confidence: float | None
    verdict: str


class Queue:
    """Suggested links and what was decided of them, by whomever; may be used by several threads.

    Left out are links that the graph holds, itself or as a copy, though nobody decided so, and those that name what it
    lacks. Of links that say the same (`Graph.twins`) the first one stands for all, whichever was decided.

    Args:
        links: the columns of `trivium.review.links.suggestions`.
        log: where decisions are kept.
        graph: with what was decided.

    Attributes:
        links: those that are not left out.
        unknown: those that name what the graph lacks.

    Raises:
        InputError: all of them do.

    Cost: O(links · log links); of a call O(links), some 10 ms for a million, and what was decided since the last one.
    """

    def __init__(self, links: pl.DataFrame, log: Decisions, graph: Graph) -> None:
        self.log = log
        self._graph = graph
        self._lock, self._read, self._standing = Lock(), 0, dict[int, dict[int, Verdict]]()
        self._orders: dict[Choice, NDArray[np.intp]] = {}
        ids = graph.ids(*(links[name] for name in TRIPLE)) if len(links) else np.empty((0, 3), np.int32)
        known = ids.min(1) >= 0
        if len(links) and not known.any():
            first = " ".join(links.select(TRIPLE).row(0))
            raise InputError(f"no suggested link names what the graph holds, {first!r} first: give one of this graph")
        self.unknown = links.filter(~known)
        ids = ids[known]
        links = links.filter(known).with_columns(graph.named(ids))
        once = np.zeros(len(ids), np.bool_)
        once[np.unique(self._graph.keys(ids), return_index=True)[1]] = True
        self._take(links.filter(once), ids[once])
        kept = ~graph.knows(self.ids) | (self.verdicts > 0)
        self._take(self.links.filter(kept), self.ids[kept], self.verdicts[kept])
        self._order(Choice())  # so that nobody waits for it

    def _take(self, links: pl.DataFrame, ids: NDArray[np.int32], verdicts: NDArray[np.int8] | None = None) -> None:
        self.links, self.ids = links, ids
        self.verdicts = np.zeros(len(links), np.int8) if verdicts is None else verdicts  # 0: none, else one more
        heads, relations, tails = ids.astype(np.int64).T
        size = 1 + int(max(heads.max(initial=0), tails.max(initial=0)))
        self._questions, self._answers = relations * size + heads, relations * size + tails
        keys = self._graph.keys(ids)
        self._by_key = np.argsort(keys)
        self._sorted_keys = keys[self._by_key]
        self._update()

    def _update(self) -> None:
        """Takes in what was decided since the last look."""
        with self._lock:
            new = self.log.log(after=self._read)
            if new.is_empty():
                return
            self._read = new["id"][-1]
            ids = self._graph.ids(*(new[name] for name in TRIPLE), labels=False)
            known = ids.min(1) >= 0
            keys = self._graph.keys(ids[known])
            rows = new.filter(known).select("id", "verdict", "undoes").iter_rows()
            for key, (number, verdict, undoes) in zip(keys.tolist(), rows, strict=True):
                entries = self._standing.setdefault(key, {})
                if undoes is None:
                    entries[number] = verdict
                else:
                    entries.pop(undoes, None)
            for key in np.unique(keys):
                if (place := self._place(key)) is not None:
                    last = next(reversed(self._standing[int(key)].values()), None)
                    self.verdicts[place] = 0 if last is None else 1 + VERDICTS.index(last)

    @property
    def counts(self) -> dict[str, int]:
        """How many links wait (``waiting``), and of how many each verdict stands."""
        self._update()
        counts = np.bincount(self.verdicts, minlength=1 + len(VERDICTS)).tolist()
        return dict(zip(("waiting", *VERDICTS), counts, strict=True))

    def waiting_by_relation(self) -> dict[int, int]:
        """How many links of each relation wait, by its id; of those that do, the most first."""
        counts = np.bincount(self.ids[self.verdicts == 0, 1])
        order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
        return dict(zip(order.tolist(), counts[order].tolist(), strict=True))

    def next(self, choice: Choice, count: int, first: Sequence[Link] = ()) -> tuple[list[Waiting], int]:
        """The links to decide now, at most ``count``, and how many of the choice wait.

        Args:
            first: links that come before all others as long as they wait, whatever the choice.

        Raises:
            InputError: confidences are asked for, and no link has one.
        """
        self._update()
        order = self._order(choice)
        order = order[self.verdicts[order] == 0]
        ahead = [place for place in map(self._find, first) if place is not None and self.verdicts[place] == 0]
        places = list(dict.fromkeys([*ahead, *order[: count + len(ahead)].tolist()]))[:count]
        return [self._waiting(place) for place in places], len(order)

    def like(self, one: Waiting) -> list[Waiting]:
        """Other suggestions of the same relation and head, then of the same relation and tail, at most `LIKE`."""
        self._update()
        same = [np.flatnonzero(keys == keys[one.place]) for keys in (self._questions, self._answers)]
        places = [place for place in np.concatenate([part[: LIKE + 1] for part in same]) if place != one.place]
        return [self._waiting(int(place)) for place in places[:LIKE]]

    def decide(self, link: Link, verdict: Verdict, reviewer: str, note: str = "") -> Decision | None:
        """Keeps a decision; it is on disk on return. Where another one stands nothing is kept and that one returned.

        Raises:
            InputError: there is no such suggestion.
        """
        place = self._find(link)
        if place is None or self.links.select(TRIPLE).row(place) != link:
            raise InputError(f"{' '.join(link)!r} is no suggested link: look again, the suggestions may be others now")
        row = self.links.row(place, named=True)
        run = {name: row[name] for name in RUN}
        return self.log.decide(Decision(*link, verdict, reviewer, row["confidence"], **run, note=note))

    def _find(self, link: Link) -> int | None:
        """The place of what says the same as a link."""
        ids = self._graph.ids(*([name] for name in link), labels=False)
        return None if ids.min() < 0 else self._place(self._graph.keys(ids)[0])

    def _place(self, key: np.uint64) -> int | None:
        place = int(np.searchsorted(self._sorted_keys, key))
        held = place < len(self._sorted_keys) and self._sorted_keys[place] == key
        return int(self._by_key[place]) if held else None

    def _waiting(self, place: int) -> Waiting:
        head, relation, tail, confidence = self.links.select(*TRIPLE, "confidence").row(place)
        verdict = ("", *VERDICTS)[self.verdicts[place]]
        h, r, t = self.ids[place].tolist()
        return Waiting(place, (head, relation, tail), (h, r, t), confidence, verdict)

    def _order(self, choice: Choice) -> NDArray[np.intp]:
        """The places of a choice's links. Links with the same relation and head come together, as early as the first of
        them, and so do others with the same relation and tail; the doubtful ones within `BAND`."""
        with self._lock:
            if choice not in self._orders:
                if len(self._orders) >= KEPT:
                    self._orders.pop(next(iter(self._orders)))
                self._orders[choice] = self._ordered(choice)
            return self._orders[choice]

    def _ordered(self, choice: Choice) -> NDArray[np.intp]:
        confidence = self.links["confidence"]
        asked = choice.min_confidence is not None or choice.doubtful_first
        if asked and len(confidence) and confidence.null_count() == len(confidence):
            raise InputError("the suggestions have no confidences: complete with --calibration gives them")
        heads, relations, tails = self.ids.T
        rows = pl.DataFrame(
            {"head": heads, "kind": relations, "tail": tails, "relation": self.links["relation"], "sure": confidence}
        ).with_row_index("place")
        if choice.relations:
            rows = rows.filter(pl.col("relation").is_in(choice.relations))
        if choice.min_confidence is not None:
            rows = rows.filter(pl.col("sure") >= choice.min_confidence)
        doubt = (pl.col("sure") - 0.5).abs() if choice.doubtful_first else pl.lit(0.0)
        rows = rows.with_columns(doubt=doubt.fill_null(1.0)).sort("doubt", maintain_order=True).with_row_index("rank")
        rows = rows.with_columns(band=(pl.col("doubt") / BAND).floor())
        together = pl.len().over("band", "kind", "head") > 1
        rows = rows.with_columns(by_head=together, end=pl.when(together).then("head").otherwise("tail"))
        earliest = pl.col("rank").min().over("band", "kind", "by_head", "end")
        rows = rows.with_columns(earliest=earliest).sort("band", "earliest", "rank")
        return rows["place"].to_numpy().astype(np.intp)
