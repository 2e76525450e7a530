"""A graph with everything that answers about it; and the service's current one, replaced while it runs."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trivium.calibration import Calibration
from trivium.errors import DecidedError, InputError
from trivium.graph.formats import decisions_of
from trivium.graph.names import NameIndex
from trivium.inference.answers import Answerable
from trivium.inference.engine import Base
from trivium.inference.kinds import choose_range, kind_relations
from trivium.inference.ranker import Ranker
from trivium.review.decisions import Decision, Decisions
from trivium.review.links import of_another, suggestions
from trivium.review.queue import Queue

EXAMPLES = 6
SHARED = 64  # further questions of a relation, by which the engine judges what is worth keeping for them
BASES_BYTES = 256 << 20
WATCH_SECONDS = 2.0
QUIET = (
    5  # looks without a new decision until those that were made join the graph: reading it would disturb who decides
)

Warm = Callable[["Snapshot"], Awaitable[None]]
Stamp = tuple[tuple[int, int, int], ...]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Where a service's graph comes from.

    Attributes:
        graph: its file.
        checkpoint: the model's name, or a file.
        calibration: a file, if confidences are wanted.
        reading: how the file is read and where is computed, as `trivium.inference.ranker.Ranker.open` takes it.
        keeps: whether decisions are kept, in a file that need not be there yet.
        suggestions: a table of links that people go through, if decisions are kept.
        answering: makes the ranker one that answers as the service shall.
        files: what that reads.
    """

    graph: Path
    checkpoint: str
    calibration: Path | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)
    keeps: bool = False
    suggestions: Path | None = None
    answering: Callable[[Ranker], Ranker] | None = None
    files: Sequence[Path] = ()

    @property
    def decisions(self) -> Decisions:
        """What was decided about the graph's links."""
        return Decisions(self.reading.get("decisions") or decisions_of(self.graph))

    def load(self) -> Snapshot:
        """Reads everything again.

        Raises:
            InputError: something cannot be read, the calibration belongs to another graph or checkpoint, or all
                suggestions name what the graph lacks.
        """
        links = None if self.suggestions is None else suggestions(self.suggestions)
        reading = dict(self.reading)
        if self.keeps and not self.decisions.path.exists():
            reading["decisions"] = False
        ranker = Ranker.open(self.graph, self.checkpoint, **reading)
        if self.answering is not None:
            ranker = self.answering(ranker)
        file = self.calibration
        calibration = None if file is None else Calibration.load(file, ranker, self.checkpoint)
        queue = None if links is None else Queue(links, self.decisions, ranker.graph)
        return Snapshot(self, ranker, calibration, queue, links is not None and of_another(links, ranker.given))

    def stamp(self) -> Stamp | None:
        """What changes when a file does: that of the decisions, then graph, calibration, suggestions and the others;
        ``None`` while one that is needed lacks."""
        beside = *self.reading.get("also", ()), *self.reading.get("labels", ())
        files = self.graph, self.calibration, self.suggestions, *self.files, *beside
        decisions = self.decisions.path
        try:
            kept = _stamp(decisions) if decisions.exists() else (0, 0, 0)
            return (kept, *(_stamp(path) for path in files if path is not None))
        except OSError:
            return None


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


class Snapshot:
    """One graph, its model and its names. A request keeps the one that it began with.

    Args:
        source: where it was read from.
        ranker: the model and the graph.
        calibration: turns scores into confidences, if there is one.
        queue: suggestions that people go through, if there are any.
        of_another: whether these were made of another graph.
    """

    def __init__(
        self,
        source: Source,
        ranker: Ranker,
        calibration: Calibration | None,
        queue: Queue | None = None,
        of_another: bool = False,
    ) -> None:
        graph = ranker.graph
        self.source = source
        self.ranker = ranker
        self.calibration = calibration
        self.queue, self.of_another = queue, of_another
        self.loaded_at = time.time()
        self.question_seconds = 0.0  # how long a question took when the service began
        self._narrowed = {ranker.range: ranker, "all": ranker.narrowed(None)}
        self._bases: dict[int, Base] = {}  # by relation, the last used at the end
        ranker.engine.base_bytes = BASES_BYTES
        counts = np.bincount(graph.edge_relations, minlength=2 * graph.num_relations)[: graph.num_relations]
        self.names = {
            "entity": NameIndex(graph.entities, np.diff(graph.offsets), "entity"),
            "relation": NameIndex(graph.relations, counts, "relation"),
        }
        self.examples = self._examples()

    def narrowed(self, range: str | None) -> tuple[Ranker, Calibration | None]:
        """The ranker whose answers are of a range, as the service was started without one, and what judges them.

        Raises:
            InputError: the graph says nothing of types.
        """
        ranker = self.ranker if range is None else self._narrowed.get(range)
        if ranker is None:
            ranker = self._narrowed[str(range)] = self.ranker.narrowed(choose_range(self.ranker.graph, str(range)))
        judged = self.calibration is not None and self.calibration.serves(ranker)
        return ranker, self.calibration if judged else None

    def scores(self, head: int, relation: int) -> Answerable:
        """Of all entities, for the question ``(head, relation, ?)``; to be called on one thread alone.

        What the questions of one relation share is kept while there is room; from the second question on it is computed
        for many to come.
        """
        base = self._bases.pop(relation, None)
        more = 0 if base is None else SHARED
        if base is None:
            ((_, rows),) = self.ranker.representations.each([relation])
            base = self.ranker.engine.prepare(rows, relation)
        scores = self.ranker.engine.answered(base, head, more)
        self._bases[relation] = base
        sizes = [kept.nbytes for kept in self._bases.values()]
        while sum(sizes) > BASES_BYTES:
            self._bases.pop(next(iter(self._bases)))
            sizes.pop(0)
        return scores

    def about(self) -> dict[str, Any]:
        """What the service tells of its graph and model."""
        graph, model = self.ranker.graph, self.ranker.model
        return {
            "graph": {
                "file": self.source.graph.name,
                "entities": graph.num_entities,
                "relations": graph.num_relations,
                "triples": graph.num_triples,
                "loaded_at": self.loaded_at,
            },
            "model": {
                "checkpoint": Path(self.source.checkpoint).name,
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "settings": asdict(model.config),
                "fusion": model.fusion_weights(),
            },
            "calibrated": self.calibration is not None,
            "keeps": self.source.keeps,
            "reviews": self.queue is not None,
            "range": self.ranker.range,
            "ranges": ["all", "seen", *(["type"] if kind_relations(graph) else [])],
            "examples": self.examples,
            "question_seconds": self.question_seconds,
        }

    def _examples(self) -> list[dict[str, str]]:
        """Questions to begin with, as people read them: of the largest relations, the head that is known best."""
        graph, found = self.ranker.graph, []
        taken: list[int] = []
        for relation in np.argsort(-self.names["relation"].counts, kind="stable")[:EXAMPLES].tolist():
            heads = np.setdiff1d(graph.triples[graph.triples[:, 1] == relation, 0], np.array(taken, np.int32))
            if len(heads):
                head = int(heads[np.argmax(self.names["entity"].counts[heads])])
                taken.append(head)
                asked = {
                    "head": graph.entities.shown(np.array([head])),
                    "relation": graph.relations.shown(np.array([relation])),
                }
                found.append({what: str(shown[0]) for what, shown in asked.items()})
        return found


class Current:
    """The snapshot that new requests ask; replaced on SIGHUP, or when its file has changed and then stayed as it is.

    Args:
        source: where it comes from; read at once.
        seconds: between two looks at the files.
    """

    def __init__(self, source: Source, seconds: float = WATCH_SECONDS) -> None:
        self.source = source
        self.seconds = seconds
        self._stamp = source.stamp()
        self.snapshot = source.load()
        self.ready = False
        self.replaced = 0
        self.failed = 0
        self._hangup = asyncio.Event()
        self._turn = asyncio.Lock()
        self._kept = self._joined = 0  # decisions of clients, and how many of them the snapshot knows
        self._trouble = ""  # why the graph could not be read again

    async def watch(self, warm: Warm) -> None:
        """Warms the first snapshot, then replaces it whenever that is due, until cancelled.

        Args:
            warm: awaited with a snapshot before it takes over, so that its first request does not wait for
                preparations.
        """
        with suppress(RuntimeError, ValueError):  # signals reach the main thread alone; elsewhere files are watched
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hangup.set)
        started = time.monotonic()
        try:
            await warm(self.snapshot)
        except Exception:
            log.exception("the graph cannot be prepared: the service will not be ready")
            raise
        self.ready = True
        each = self.snapshot.question_seconds
        log.info("ready after %.0f seconds; a question takes about %.2g", time.monotonic() - started, each)
        before, same = self._stamp, 0
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hangup.wait(), self.seconds)
            now = self.source.stamp()
            same = same + 1 if now == before else 0
            decided = now is not None and self._stamp is not None and now[1:] == self._stamp[1:]
            settled = same >= (QUIET if decided else 1) and now is not None and now != self._stamp
            before = now
            if self._hangup.is_set() or settled:
                self._hangup.clear()
                async with self._turn:
                    await self._read(warm)

    async def decide(self, warm: Warm, *decisions: Decision) -> None:
        """Keeps decisions, and replaces the snapshot by one that knows them.

        Raises:
            InputError: they cannot be kept, or the graph cannot be read again.
            DecidedError: somebody else has said otherwise.
        """
        stands = await asyncio.to_thread(self.source.decisions.tell, *decisions)
        if stands is not None:
            link = f"{stands.head} {stands.relation} {stands.tail}"
            raise DecidedError(f"{stands.reviewer} has decided about {link!r}: {stands.verdict}; that stands")
        await self._join(warm)

    async def undo(self, warm: Warm, reviewer: str) -> Decision | None:
        """Takes back a reviewer's last decision, if there is one, and replaces the snapshot by one that knows it.

        Raises:
            InputError: that cannot be kept, or the graph cannot be read again.
        """
        undone = await asyncio.to_thread(self.source.decisions.undo, reviewer)
        if undone is not None:
            await self._join(warm)
        return undone

    async def _join(self, warm: Warm) -> None:
        """Replaces the snapshot by one that knows what was kept just now; of many who wait, one does it for all.

        Raises:
            InputError: the graph cannot be read again.
        """
        self._kept += 1
        mine = self._kept
        async with self._turn:
            if self._joined < mine:
                await self._read(warm)
            if self._trouble:
                raise InputError(f"it is kept, but the graph, which cannot be read, lacks it still: {self._trouble}")

    async def _read(self, warm: Warm) -> None:
        """Reads the files again. Cancelled, it leaves that to `watch`, for which they are then others."""
        kept, stamp = self._kept, self.source.stamp()
        try:
            snapshot = await asyncio.to_thread(self.source.load)
            snapshot.question_seconds = self.snapshot.question_seconds
            await warm(snapshot)
        except Exception as error:  # whatever is wrong with the new one, the old one is whole
            self._stamp, self._joined, self._trouble = stamp, kept, str(error)
            self.failed += 1
            log.warning("the graph was not replaced, the one before serves on: %s", error)
            return
        self.snapshot, self._stamp, self._joined, self._trouble = snapshot, stamp, kept, ""
        self.replaced += 1
        log.warning("%s was read again: %s triples", self.source.graph, f"{snapshot.ranker.graph.num_triples:,}")
