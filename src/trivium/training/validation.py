"""Questions that training does not see, to judge weights by."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trivium.datasets.registry import is_dataset, load_dataset
from trivium.errors import InputError
from trivium.evaluation.evaluate import Questions
from trivium.graph.graph import Graph
from trivium.graph.read import read_triples
from trivium.inference.ranker import Ranker
from trivium.kernels.csr import IntArray
from trivium.model.trivium import Trivium
from trivium.text.graph import TextGraph
from trivium.training.config import SourceConfig, TrainingConfig

SHARE = 0.1  # of a graph's triples, at most, that are held out where nobody brings any

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Validation:
    """Questions, and the texts of their graph's relations for a model that reads them."""

    questions: Questions
    texts: TextGraph | None = None

    def reciprocal_ranks(self, model: Trivium) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Each query's relation (inverses counted as their relation), and 1 / its pessimistic filtered rank.

        Returns:
            Two arrays ``[2 · n]``: first the tails, then the heads.
        """
        relations, ranks = self.questions.ranks(Ranker(model, self.questions.graph, texts=self.texts))
        return relations % self.questions.graph.num_relations, 1 / ranks.pessimistic

    def split(self, share: float) -> tuple[Validation, Validation]:
        """All but a share of the triples, and the others, drawn at random, the same each time."""
        order = np.random.default_rng(5).permutation(len(self.questions.triples))
        count = int(share * len(order))
        parts = (
            replace(self.questions, triples=self.questions.triples[np.sort(some)])
            for some in (order[count:], order[:count])
        )
        first, others = (Validation(part, self.texts) for part in parts)
        return first, others

    def mrr(self, model: Trivium) -> float:
        """The mean reciprocal rank, pessimistic about ties."""
        return float(self.reciprocal_ranks(model)[1].mean())


def held_out(
    config: TrainingConfig, graph: Graph, texts: TextGraph | None, data_dir: str | Path | None
) -> tuple[Graph, Validation]:
    """What training may see of the first source, and the questions about the rest.

    The triples are those of ``config.valid``, or the data set's own, or up to a tenth of the graph's, drawn by seed.
    Their copies (`Graph.copies`) are not seen either.

    Raises:
        InputError: the file holds none that the graph can be asked, or the graph is too small to hold some out.
    """
    name, count = config.sources[0].name, config.valid_questions
    if not config.valid and is_dataset(name, data_dir):
        splits = load_dataset(name, data_dir, columns=config.sources[0].columns or None)
        if len(splits.valid):
            return graph, Validation(Questions.of(splits.validation()).sample(count, [0, 3]), texts)
    seed = [config.seed, 3]
    if config.valid:
        triples = read_valid(config.valid, graph, config.sources[0])
    else:
        share = int(SHARE * graph.num_triples)
        if share < 1:
            raise InputError(f"{name}: {graph.num_triples} triples are too few to hold some out: give --valid FILE")
        triples = Questions(graph, graph.triples, graph).sample(min(count, 2 * share), seed).triples
    rest = graph.less(triples)
    if not rest.num_triples:
        raise InputError(f"{config.valid}: it holds every triple of the graph: leave some to train on")
    return rest, Validation(Questions(rest, triples, graph.with_triples(triples)).sample(count, seed), texts)


def read_valid(path: str | Path, graph: Graph, source: SourceConfig) -> IntArray:
    """The triples of a file by the ids of a graph; those with a name that the graph lacks are left out, with a word.

    Raises:
        InputError: the file cannot be read, or no triple is left.
    """
    how = {key: value for key, value in source.reading.items() if key in ("columns", "relation", "skip_bad")}
    frame = read_triples(path, **how)
    ids = graph.ids(frame["head"], frame["relation"], frame["tail"])
    known = (ids >= 0).all(1)
    if not known.any():
        raise InputError(f"{path}: no triple has names that are all in the graph: nothing to validate on")
    if not known.all():
        log.warning("%s: %s triples name what the graph lacks, and are left out", path, f"{(~known).sum():,}")
    return ids[known]
