"""Which questions complete a graph, and how long they take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trivium.errors import InputError
from trivium.graph.graph import Graph, inverse
from trivium.inference.answers import Ids
from trivium.inference.ranker import Ranker

ONE_ANSWER = 0.95  # of a relation's heads, and one head more: from 19 on it can be that a relation has one answer
MOST = 20  # entities that come up for most questions
SAMPLE = 20  # queries by which a time is judged: one in four of as many relations, half of one relation
CELLS = 1 << 22  # of entities and relations that are compared together: 32 MB


@dataclass(frozen=True)
class Questions:
    """What is asked to complete a graph: ``(head, relation, ?)``, by relation, ``[queries]`` each.

    Attributes:
        heads, relations: ids; relations over ``2 · num_relations``.
        held: how many answers the graph has already; at least 1 where it has one under a twin of the relation. Heads
            without one come first, the likeliest first.
        single: relations that are not asked for a second answer, as nearly each of their heads has one.
    """

    heads: Ids
    relations: Ids
    held: Ids
    single: Ids


def open_questions(
    graph: Graph,
    relations: Sequence[str] | None = None,
    heads: Ids | None = None,
    *,
    both_directions: bool = False,
    also_second: bool = False,
) -> Questions:
    """The questions whose answers a graph seems to lack.

    Of each relation: the heads that have an answer and may have another, and those that have none and are *like* the
    heads that have one, at most as many as these. Like are those that more probably have the relation than not, judged
    by which other relations they take part in, at either end. Where all but one in twenty of a relation's heads have
    exactly one answer, those that have one are not asked for a second.

    Args:
        relations: names of the relations to complete; all by default.
        heads: the only ones to ask; with ``relations`` each of them, like or not.
        both_directions: ask ``(?, relation, tail)`` too, but of a relation that holds both ways.
        also_second: ask for second answers everywhere.

    Raises:
        GraphError: an unknown relation.
        InputError: nothing is left to ask.

    Cost: O(relations · pairs of an entity and a relation that it has).
    """
    from scipy.sparse import csr_array  # no other verb pays for it

    count = graph.num_relations
    asked = np.arange(count) if relations is None else np.unique(graph.relations.each(relations, "relation"))
    if both_directions:
        back = inverse(asked, count)
        asked = np.concatenate([asked, back[graph.twins[back] != graph.twins[asked]]])
    targets = np.repeat(np.arange(graph.num_entities), np.diff(graph.offsets))
    pairs = targets, inverse(graph.edge_relations, count)
    answers = csr_array((np.ones(len(targets)), pairs), shape=(graph.num_entities, 2 * count))
    answers.sum_duplicates()
    says = csr_array((answers.data, graph.twins[answers.indices], answers.indptr), shape=answers.shape)
    takes_part = answers.sign()
    chosen = np.ones(graph.num_entities, np.bool_)
    if heads is not None:
        chosen[:] = False
        chosen[heads] = True
    parts: list[tuple[Ids, Ids, Ids]] = []
    single: list[int] = []
    width = max(1, CELLS // graph.num_entities)
    for begin in range(0, len(asked), width):
        some = asked[begin : begin + width]
        held = answers[:, some].toarray().astype(np.int64)
        told = says[:, graph.twins[some]].toarray() > 0
        likeness = log_odds(takes_part, some, graph.twins)
        for relation, own, by_twins, odds in zip(some.tolist(), held.T, told.T, likeness.T, strict=True):
            has, lacks = np.flatnonzero(by_twins & chosen), ~by_twins & chosen
            if heads is None or relations is None:
                lacks &= odds >= 0
            without = np.flatnonzero(lacks)
            without = without[np.argsort(-odds[without], kind="stable")]
            if heads is None:
                without = without[: (own > 0).sum()]
            if (own == 1).sum() >= ONE_ANSWER * (1 + (own > 0).sum()) and not also_second:
                single.append(relation)
                has = has[:0]
            those = np.concatenate([without, has])
            parts.append((those, np.full(len(those), relation), np.maximum(own, by_twins)[those]))
    found, kinds, answered = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not len(found):
        raise InputError(
            "there is nothing to ask: no head that is like those of the relation lacks an answer, and each has its one "
            "(--also-second asks for more, --heads FILE of the heads that you choose)"
        )
    return Questions(found, kinds, answered, np.array(single, np.int64))


def log_odds(takes_part: Any, relations: Ids, twins: Ids) -> NDArray[np.float64]:
    """How much more probable it is than not that an entity has a relation, ``[entities, relations]``: naive Bayes over
    the other relations that it has or lacks, which do not say the same, each share with one count more on either side.

    Args:
        takes_part: sparse, ``[entities, 2 · num_relations]``, 1 where the entity has an answer.
        relations: ``[relations]`` ids, columns of these.
        twins: `Graph.twins`.
    """
    count = takes_part.shape[0]
    has = takes_part[:, relations].toarray()
    size = has.sum(0)
    both, every = takes_part.T @ has, np.asarray(takes_part.sum(0))[:, None]
    among, beside = (both + 1) / (size + 2), (every - both + 1) / (count - size + 2)
    absent = np.log1p(-among) - np.log1p(-beside)
    present = np.log(among) - np.log(beside) - absent
    same = twins[:, None] == twins[relations]
    present[same] = absent[same] = 0
    odds: NDArray[np.float64] = takes_part @ present + absent.sum(0) + np.log((size + 1) / (count - size + 1))
    return odds


def estimate_seconds(ranker: Ranker, heads: Ids, relations: Ids, k: int = 10) -> float:
    """How long so many queries will take, judged by one in twenty, and twenty at most; for no more than that, and where
    these few already take over a minute, by `Ranker.expected_seconds`.

    A relation's first query costs several times what a further one does, so both are timed.
    """
    few = min(SAMPLE, max(1, len(heads) // 20))
    shuffled = np.random.default_rng(0).permutation(len(heads))
    kinds, first, counts = np.unique(relations[shuffled], return_index=True, return_counts=True)
    if len(heads) <= SAMPLE or ranker.expected_seconds(few, few) > 60:
        return ranker.expected_seconds(len(heads), len(kinds))

    def seconds(sample: Ids) -> float:
        started = time.monotonic()
        ranker.rank_ids(heads[sample], relations[sample], k)
        return time.monotonic() - started

    most = counts.argmax()
    same = shuffled[relations[shuffled] == kinds[most]][: max(1, few // 2)]
    others = shuffled[np.delete(first, most)][: max(1, few // 4)]
    seconds(same[:1])  # compiles
    one = seconds(same[:1])
    further = (seconds(same) - one) / (len(same) - 1) if len(same) > 1 else one
    alone = seconds(others) / len(others) if len(others) else one
    return len(kinds) * alone + (len(heads) - len(kinds)) * max(0.0, further)


@dataclass(frozen=True)
class Appearance:
    """Which entities come up for most questions.

    Attributes:
        questions: how many got an answer.
        shares: by entity, the share of these among whose answers it is; the largest `MOST`, descending.
        entropy: of the distribution of all answers over entities, in bits: ``2 ** entropy`` entities that come up alike
            have as much.
    """

    questions: int
    shares: dict[str, float]
    entropy: float

    @classmethod
    def of(cls, table: pl.DataFrame) -> Appearance:
        """Of a table of links: columns ``head``, ``relation``, ``tail`` and, if heads were asked too, ``asked``."""
        turned = pl.col("asked") == "head" if "asked" in table.columns else pl.lit(False)
        asker, answer = (
            table.select(pl.when(turned).then(one).otherwise(other).alias("name"))["name"]
            for one, other in (("tail", "head"), ("head", "tail"))
        )
        questions = table.select(turned.alias("turned"), "relation", asker).n_unique()
        counts = answer.value_counts().sort("count", "name", descending=[True, False])
        part = counts["count"] / max(1, len(table))
        first = counts.head(MOST)
        shares = dict(zip(first["name"], first["count"] / max(1, questions), strict=True))
        return cls(questions, shares, float(-(part * part.log(2)).sum()))
