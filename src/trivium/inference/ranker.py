"""A model and a graph, ready to answer: one query or a million, in bounded memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trivium.errors import ConfigError
from trivium.graph.graph import Graph
from trivium.inference.answers import TIE_TOLERANCE, Ids, Ranks
from trivium.inference.engine import Engine
from trivium.inference.representations import Representations
from trivium.kernels.layer import count_rivals
from trivium.model.topology import Topology
from trivium.model.trivium import Trivium
from trivium.text.graph import TextGraph

if TYPE_CHECKING:
    import polars as pl

    from trivium.inference.tables import Confidence

PARTS = frozenset({"text", "similarity", "prompt"})
"""What can be switched off."""


class Ranker:
    """Answers queries over one graph.

    Args:
        model: a `Trivium`, put into evaluation mode.
        graph: what is known.
        texts: of the graph's relations, for a model that reads them; by default made from the graph's own names and
            labels, ``None`` leaves them out.
        disabled: parts of the model that are switched off, ``text`` among them (F9).
        cache_bytes: budget for relation representations.
        base_trajectory: an exact shortcut of `Engine`; off only to measure it.

    Raises:
        ConfigError: a part that is to be disabled is none of `PARTS`.
    """

    def __init__(
        self,
        model: Trivium,
        graph: Graph,
        *,
        texts: TextGraph | Literal["names"] | None = "names",
        disabled: Collection[str] = (),
        cache_bytes: int = 512 << 20,
        base_trajectory: bool = True,
    ) -> None:
        disabled = [disabled] if isinstance(disabled, str) else disabled
        if unknown := set(disabled) - PARTS:
            raise ConfigError(f"there is no part {min(unknown)!r} to disable: choose from {', '.join(sorted(PARTS))}")
        self.model = model.eval()
        self.graph = graph
        if texts == "names":
            from trivium.inference.texts import model_texts

            texts = model_texts(model, graph)
        self.topology = Topology(graph, texts)
        self.representations = Representations(model, self.topology, cache_bytes, disabled)
        self.engine = Engine(model.entity, self.topology, base_trajectory)

    def over(self, graph: Graph) -> Ranker:
        """The same model, texts and switched-off parts over another graph with the same names, without a cache."""
        return Ranker(
            self.model, graph, texts=self.topology.texts, disabled=self.representations.disabled, cache_bytes=0
        )

    def blocks(self, heads: Ids, relations: Ids, batch_size: int | None = None) -> Iterator[tuple[Ids, Ids, Tensor]]:
        """Scores for many queries, a block at a time, grouped by relation; equal queries are computed once.

        Args:
            heads, relations: ``[queries]`` ids; relations over ``2 · num_relations``.
            batch_size: queries computed together; by default what suits the cache.

        Yields:
            Places in the given arrays, the row of the scores that answers each, and scores ``[rows, entities]``.
        """
        size = batch_size or self.engine.batch_size()
        order = np.lexsort((heads, relations))
        distinct, begins = np.unique(relations[order], return_index=True)
        runs = np.append(begins, len(order))
        for i, (query, relation) in enumerate(self.representations.each(distinct.tolist())):
            places = order[runs[i] : runs[i + 1]]
            asked, row = np.unique(heads[places], return_inverse=True)
            base = self.engine.prepare(relation, query)
            for begin in range(0, len(asked), size):
                part = asked[begin : begin + size].astype(np.int64)
                first, last = np.searchsorted(row, [begin, begin + len(part)])
                scores = self.engine.scores(base, part, len(asked) - begin - len(part))
                yield places[first:last], row[first:last] - begin, scores

    def scores(self, heads: Ids, relations: Ids, batch_size: int | None = None) -> Tensor:
        """Scores of every entity for each query, ``[queries, entities]``, in the order asked."""
        heads, relations = np.asarray(heads, np.int64), np.asarray(relations, np.int64)
        out = torch.empty(len(heads), self.graph.num_entities)
        for places, rows, scores in self.blocks(heads, relations, batch_size):
            out[torch.from_numpy(places)] = scores[torch.from_numpy(rows)]
        return out

    def ranks(
        self, heads: Ids, relations: Ids, answers: Ids, known: Graph | None = None, batch_size: int | None = None
    ) -> Iterator[tuple[Ids, Ranks, NDArray[np.float32]]]:
        """Filtered ranks of answers to queries: other answers that are known do not count.

        Args:
            heads, relations, answers: ``[queries]`` ids.
            known: a graph over the same ids that holds the facts to filter; the ranker's own by default.

        Yields:
            Places in the given arrays, their ranks and their scores, a block at a time.
        """
        known = known or self.graph
        for places, rows, scores in self.blocks(heads, relations, batch_size):
            runs = [known.answers(int(h), int(r)) for h, r in zip(heads[places], relations[places], strict=True)]
            starts = np.concatenate([[0], np.cumsum([len(run) for run in runs])]).astype(np.int64)
            better, tied = np.zeros((2, len(places)), np.int64)
            table = scores.numpy()
            flat = np.concatenate(runs).astype(np.int32, copy=False)
            count_rivals(table, rows, answers[places], starts, flat, np.float32(TIE_TOLERANCE), better, tied)
            yield places, Ranks(better, tied), table[rows, answers[places]]

    def rank(
        self,
        head: str | list[str] | None = None,
        relation: str | list[str] = "",
        tail: str | list[str] | None = None,
        k: int = 10,
        *,
        include_known: bool = False,
        candidates: list[str] | None = None,
        confidence: Confidence | None = None,
    ) -> pl.DataFrame:
        """The ``k`` best answers to ``(head, relation, ?)`` or ``(?, relation, tail)``, as a table with names.

        Args:
            head, tail: a name or a list of them; exactly one of the two is given.
            relation: a name for all, or one per head or tail.
            include_known: answers that the graph already holds are in the table too, marked.
            candidates: names to which the answers are narrowed.
            confidence: a checked calibration's ``confidence``, for a column of that name.

        Returns:
            Columns query, head, relation, tail, rank, score, (confidence,) known.

        Raises:
            GraphError: a name is unknown; the message names the nearest.
        """
        from trivium.inference.tables import rank_table

        return rank_table(
            self,
            head,
            relation,
            tail,
            k=k,
            include_known=include_known,
            candidates=candidates,
            confidence=confidence,
        )

    def score(self, triples: list[tuple[str, str, str]]) -> pl.DataFrame:
        """Each triple's score and its filtered ranks in both directions, as a table with names.

        A triple that the graph holds is ``known`` and judged with itself and its inverse taken out of the graph.

        Returns:
            Columns head, relation, tail, score, tail_rank, head_rank, known. Ranks are those that
            `Ranker.rank` gives, as floats.

        Cost: one small batch for all unknown triples, and a fresh pass over the graph for each known one.
        """
        from trivium.inference.tables import score_table

        return score_table(self, triples)
