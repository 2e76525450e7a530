"""A graph with everything that answers about it; and the service's current one, replaced while it runs."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trivium.inference.answers import ranks_and_margins
from trivium.inference.ranker import Ranker
from trivium.report import warn
from trivium.service.name_index import Directory

if TYPE_CHECKING:
    from trivium.calibration import Calibration

EXAMPLES = 6
WATCH_SECONDS = 2.0

Warm = Callable[["Loaded"], Awaitable[None]]
Stamp = tuple[tuple[int, int, int], ...]


class Loaded:
    """One graph, its model and its names. Requests hold the one that they began with.

    Args:
        ranker: the model and the graph.
        checkpoint: the model's name, for people.
        file: the graph's file name, for people.
        calibration: turns scores into confidences, if there is one.
    """

    def __init__(self, ranker: Ranker, checkpoint: str, file: str, calibration: Calibration | None = None) -> None:
        graph = ranker.graph
        self.ranker = ranker
        self.checkpoint = checkpoint
        self.file = file
        self.calibration = calibration
        self.seconds = time.time()
        self.entities = Directory(graph.entities, np.diff(graph.offsets))
        counts = np.bincount(graph.edge_relations, minlength=2 * graph.num_relations)[: graph.num_relations]
        self.relations = Directory(graph.relations, counts)
        self.examples = self._examples()

    def directory(self, kind: str) -> Directory:
        return self.relations if kind == "relation" else self.entities

    def confidence(
        self, relation: int, scores: NDArray[np.float32], filtered: NDArray[np.integer[Any]], ids: NDArray[np.int64]
    ) -> Sequence[float | None]:
        """The confidence in some answers to one question; ``None`` without a calibration.

        Args:
            scores: ``[entities]``.
            filtered: what is no new answer, see `trivium.inference.answers.filtered_entities`.
            ids: the answers, ``[n]``.
        """
        if self.calibration is None or not len(ids):
            return [None] * len(ids)
        ranks, margins = ranks_and_margins(scores, filtered, ids)
        found: list[float] = self.calibration.confidence(
            np.full(len(ids), relation), scores[ids], margins, ranks
        ).tolist()
        return found

    def about(self) -> dict[str, Any]:
        """What the service tells of its graph and model."""
        graph, model = self.ranker.graph, self.ranker.model
        return {
            "graph": {
                "file": self.file,
                "entities": graph.num_entities,
                "relations": graph.num_relations,
                "triples": graph.num_triples,
                "loaded_at": self.seconds,
            },
            "model": {
                "checkpoint": self.checkpoint,
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "settings": asdict(model.config),
                "fusion": model.fusion_weights(),
            },
            "calibrated": self.calibration is not None,
            "examples": self.examples,
        }

    def _examples(self) -> list[dict[str, str]]:
        """Questions to begin with: of the largest relations, the head that the graph knows most of."""
        graph, found = self.ranker.graph, []
        taken: set[int] = set()
        for relation in np.argsort(-self.relations.weight, kind="stable")[:EXAMPLES].tolist():
            heads = np.unique(graph.triples[graph.triples[:, 1] == relation, 0])
            heads = heads[~np.isin(heads, list(taken))]
            if len(heads):
                head = int(heads[np.argmax(self.entities.weight[heads])])
                taken.add(head)
                found.append({"head": self.entities.name(head), "relation": self.relations.name(relation)})
        return found


@dataclass(frozen=True)
class Source:
    """Where a service's graph comes from.

    Attributes:
        ranker: reads the graph and the model.
        graph, checkpoint: their file, and the model's name.
        calibration: a file, if confidences are wanted.
    """

    ranker: Callable[[], Ranker]
    graph: Path
    checkpoint: str
    calibration: Path | None = None

    def load(self) -> Loaded:
        """Reads everything anew.

        Raises:
            InputError: something cannot be read, or the calibration belongs to another graph or checkpoint.
        """
        ranker = self.ranker()
        calibration = None
        if self.calibration is not None:
            from trivium.calibration import Calibration

            calibration = Calibration.load(self.calibration, ranker.graph, self.checkpoint)
        return Loaded(ranker, self.checkpoint, self.graph.name, calibration)

    def stamp(self) -> Stamp | None:
        """What changes when a file does, the graph's or the calibration's; ``None`` while one of them is not there."""
        try:
            found = [path.stat() for path in (self.graph, self.calibration) if path is not None]
        except OSError:
            return None
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in found)


class Current:
    """The graph that new requests ask; replaced on SIGHUP, or when its file has changed and then stayed as it is.

    Args:
        source: where it comes from.
        first: the graph, read already.
        stamp: of the files that it was read from.
    """

    def __init__(self, source: Source, first: Loaded, stamp: Stamp | None) -> None:
        self.source = source
        self.loaded = first
        self.ready = False
        self.replaced = 0
        self.failed = 0
        self._stamp = stamp
        self._asked = asyncio.Event()

    async def watch(self, warm: Warm, seconds: float = WATCH_SECONDS) -> None:
        """Warms the first graph, then replaces it whenever that is due, until cancelled.

        Args:
            warm: awaited with a graph before it takes over, so that its first request does not wait for preparations.
            seconds: between two looks at the files.
        """
        with suppress(RuntimeError, ValueError):  # signals reach the main thread alone; elsewhere files are watched
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._asked.set)
        await warm(self.loaded)
        self.ready = True
        before = self._stamp
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), seconds)
            now = self.source.stamp()
            settled = now == before and now is not None and now != self._stamp
            before = now
            if self._asked.is_set() or settled:
                self._asked.clear()
                await self._replace(warm, now)

    async def _replace(self, warm: Warm, stamp: Stamp | None) -> None:
        self._stamp = stamp
        try:
            loaded = await asyncio.to_thread(self.source.load)
            await warm(loaded)
        except Exception as error:  # whatever is wrong with the new one, the old one is whole
            self.failed += 1
            warn(f"trivium: the graph was not replaced, the one before serves on: {error}")
            return
        self.loaded = loaded
        self.replaced += 1
        warn(f"trivium: {self.source.graph} was read anew: {loaded.ranker.graph.num_triples:,} triples")
