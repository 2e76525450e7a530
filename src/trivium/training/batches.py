"""Batch k of a run, as a pure function of the seed and k."""

import multiprocessing
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor

import numpy as np

from trivium.datasets.leakage import SYNTHETIC
from trivium.datasets.synthetic import synthesize
from trivium.graph.graph import Graph
from trivium.training.config import TrainingConfig
from trivium.training.sampling import Example, chosen_source, example


class Batches:
    """Draws subgraphs from a weighted mixture of graphs and of synthetic ones.

    Args:
        graphs: by source name, for every source but ``synthetic``.
    """

    def __init__(self, config: TrainingConfig, graphs: Mapping[str, Graph]) -> None:
        self.config = config
        self.graphs = dict(graphs)
        self.weights = np.array([source.weight for source in config.sources], np.float64)

    def subgraph(self, k: int) -> tuple[str, Example]:
        """Subgraph ``k`` of the run and the name of its source."""
        config = self.config
        rng = np.random.default_rng([config.seed, k])
        name = config.sources[chosen_source(rng, self.weights)].name
        graph = synthesize([config.seed, k, 1]) if name == SYNTHETIC else self.graphs[name]
        sparse = config.sparse_share > 0 and rng.random() < config.sparse_share
        unseen = config.unseen_share > 0 and rng.random() < config.unseen_share
        return name, example(
            graph,
            rng,
            entities=(config.min_entities, config.max_entities),
            max_triples=config.max_triples,
            work=config.work,
            questions=(config.min_questions, config.max_questions),
            density=(config.min_density, config.max_density) if sparse else None,
            unseen=config.unseen_others if unseen and name != SYNTHETIC else None,
        )

    def step(self, step: int) -> list[tuple[str, Example]]:
        """The subgraphs of one step."""
        count = self.config.subgraphs_per_step
        return [self.subgraph(step * count + i) for i in range(count)]

    def steps(self, begin: int, end: int) -> Iterator[list[tuple[str, Example]]]:
        """The batches of steps ``begin`` to ``end``, prepared ahead where the run has workers."""
        workers = self.config.workers
        if workers == 0:
            yield from map(self.step, range(begin, end))
            return
        # spawned, never forked: a forked child of a process in which numba or torch has run hangs or dies
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, _begin_worker, (self,)) as pool:
            waiting: list[Future[list[tuple[str, Example]]]] = []
            for step in range(begin, end):
                while len(waiting) < 2 * workers + 1 and step + len(waiting) < end:
                    waiting.append(pool.submit(_worker_step, step + len(waiting)))
                yield waiting.pop(0).result()


_worker: Batches


def _begin_worker(batches: Batches) -> None:
    global _worker
    _worker = batches


def _worker_step(step: int) -> list[tuple[str, Example]]:
    return _worker.step(step)
