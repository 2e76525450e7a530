"""Batch k of a run, as a pure function of the seed and k."""

from collections.abc import Mapping

import numpy as np

from trivium.datasets.leakage import SYNTHETIC
from trivium.datasets.synthetic import synthesize
from trivium.graph.graph import Graph
from trivium.training.config import TrainingConfig
from trivium.training.sampling import Example, example


class Batches:
    """Draws subgraphs from a weighted mixture of graphs and of synthetic ones.

    Args:
        graphs: by source name, for every source but ``synthetic``.
    """

    def __init__(self, config: TrainingConfig, graphs: Mapping[str, Graph]) -> None:
        self.config = config
        self.graphs = dict(graphs)
        weights = np.array([source.weight for source in config.sources], np.float64)
        self.shares = weights / weights.sum()

    def subgraph(self, k: int) -> tuple[str, Example]:
        """Subgraph ``k`` of the run and the name of its source."""
        config = self.config
        rng = np.random.default_rng([config.seed, k])
        name = config.sources[int(rng.choice(len(self.shares), p=self.shares))].name
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
