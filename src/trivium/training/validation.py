"""Questions that training does not see, to judge weights by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trivium.datasets.registry import Splits, is_dataset, load_dataset
from trivium.errors import InputError
from trivium.evaluation.evaluate import known_graph
from trivium.graph.graph import Graph
from trivium.graph.read import read_triples
from trivium.inference.answers import both_directions
from trivium.inference.ranker import Ranker
from trivium.kernels.csr import IntArray
from trivium.model.trivium import Trivium
from trivium.report import warn
from trivium.text.graph import TextGraph
from trivium.training.config import TrainingConfig

SHARE = 0.1  # of a graph's triples, at most, that are held out where nobody brings any


@dataclass(frozen=True, eq=False)
class Validation:
    """Triples to be asked in both directions.

    Attributes:
        graph: what messages pass on.
        triples: ``[n, 3]``, ids of ``graph``.
        known: ``graph`` with every fact that the filter leaves out.
        texts: of the graph's relations, for a model that reads them.
    """

    graph: Graph
    triples: IntArray
    known: Graph
    texts: TextGraph | None = None

    @classmethod
    def of(cls, splits: Splits, questions: int, texts: TextGraph | None = None) -> Validation:
        """A sample of a data set's validation triples, the same at every call.

        Raises:
            InputError: the data set has none.
        """
        asked = splits.validation()
        return cls(asked.graph, _sample(asked.test, questions, 0), known_graph(asked), texts)

    def reciprocal_ranks(self, model: Trivium) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Each question's relation (inverses counted as their relation), and 1 / its pessimistic filtered rank.

        Returns:
            Two arrays ``[2 · n]``: first the tails, then the heads.
        """
        ranker = Ranker(model, self.graph, texts=self.texts)
        heads, relations, answers = both_directions(self.triples, self.graph.num_relations)
        out = np.zeros(len(heads))
        for places, ranks, _ in ranker.ranks(heads, relations, answers, self.known):
            out[places] = 1 / ranks.pessimistic
        return relations % self.graph.num_relations, out

    def mrr(self, model: Trivium) -> float:
        """The mean reciprocal rank, pessimistic about ties."""
        return float(self.reciprocal_ranks(model)[1].mean())


def held_out(
    config: TrainingConfig, graph: Graph, texts: TextGraph | None, data_dir: str | Path | None
) -> tuple[Graph, Validation]:
    """What training may see of the first source, and the questions about the rest.

    The triples are those of ``config.valid``, or the data set's own, or up to a tenth of the graph's, drawn by seed.

    Raises:
        InputError: the file holds none that the graph can be asked, or the graph is too small to hold some out.
    """
    name, count = config.sources[0].name, config.valid_questions
    if config.valid:
        triples = read_valid(config.valid, graph)
    elif is_dataset(name, data_dir) and len((splits := load_dataset(name, data_dir)).valid):
        return graph, Validation.of(splits, count, texts)
    else:
        share = int(SHARE * graph.num_triples)
        if share < 1:
            raise InputError(f"{name}: {graph.num_triples} triples are too few to hold some out: give --valid FILE")
        triples = _sample(graph.triples, min(count, 2 * share), config.seed)
    rest = graph.without(triples)
    if not rest.num_triples:
        raise InputError(f"{config.valid}: it holds every triple of the graph: leave some to train on")
    facts = np.concatenate([graph.triples, triples])
    known = Graph.from_ids(*facts.T, entities=graph.entities, relation_names=graph.relations)
    return rest, Validation(rest, _sample(triples, count, config.seed), known, texts)


def read_valid(path: str | Path, graph: Graph) -> IntArray:
    """The triples of a file by the ids of a graph; those with a name that the graph lacks are left out, with a word.

    Raises:
        InputError: the file cannot be read, or no triple is left.
    """
    frame = read_triples(path)
    names = (graph.entities, graph.relations, graph.entities)
    columns = ("head", "relation", "tail")
    ids = np.stack([n.ids(frame[c]) for n, c in zip(names, columns, strict=True)], axis=1).astype(np.int32)
    known = (ids >= 0).all(1)
    if not known.any():
        raise InputError(f"{path}: no triple has names that are all in the graph: nothing to validate on")
    if not known.all():
        warn(f"{path}: {int((~known).sum()):,} triples name what the graph lacks, and are left out")
    return ids[known]


def _sample(triples: IntArray, questions: int, seed: int) -> IntArray:
    """Triples enough for so many questions, one in each direction."""
    return triples[np.random.default_rng([seed, 3]).permutation(len(triples))[: max(1, questions // 2)]]
