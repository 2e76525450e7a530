"""The demo: hides facts of a real graph, asks for them, and says how good the answers are.

    make demo                                    # or: python demo/run.py [--seed 1] [--checkpoint FILE]

The model has seen neither the graph nor its relations. Every twentieth fact is hidden from it. First come a
few questions that a person can judge, then all hidden facts in both directions, beside the ranking of
entities by how often they stand in the relation.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trivium import Graph, Ranker, Trivium, read_graph
from trivium.errors import TriviumError
from trivium.graph.graph import inverse
from trivium.inference.answers import Ranks

WORLD = Path(__file__).parent / "world.tsv"
HIDDEN_SHARE = 0.05
SYMMETRIC = "borders"
# A country's capital belongs to no other country, so nothing in a graph can tell it; `part of` is context.
NOT_ASKED = ("capital", "part of")
# Hidden too, shown, and left out of the figures: they were chosen by hand.
QUESTIONS = [
    ("Nepal", "borders", "India"),
    ("Euphrates", "flows through", "Syria"),
    ("Monaco", "language", "French"),
    ("Lake Victoria", "lies in", "Kenya"),
    ("Laos", "time zone", "UTC+07:00"),
    ("Jamaica", "lowest point", "Caribbean Sea"),
]

Triples = NDArray[np.int32]  # [n, 3]
Ids = NDArray[np.int64]


def with_twins(graph: Graph, triples: Triples) -> Triples:
    """``[n, 3]`` triples and, of each border among them, the same border told from the other side."""
    borders = triples[triples[:, 1] == graph.relations.id(SYMMETRIC, "relation")]
    return np.unique(np.concatenate([triples, borders[:, ::-1]]), axis=0)


def question_triples(graph: Graph) -> Triples:
    """The ids of `QUESTIONS`, ``[questions, 3]``."""
    ids = [
        (graph.entities.id(h, "entity"), graph.relations.id(r, "relation"), graph.entities.id(t, "entity"))
        for h, r, t in QUESTIONS
    ]
    return np.array(ids, np.int32)


def hide(graph: Graph, seed: int, share: float = HIDDEN_SHARE) -> Triples:
    """Draws ``share`` of the triples of the relations that are asked, ``[n, 3]``, borders in both directions.

    A triple stays where one of its ends would be left without any edge: nothing could be said about it.
    """
    not_asked = [graph.relations.id(name, "relation") for name in NOT_ASKED]
    askable = graph.triples[~np.isin(graph.triples[:, 1], not_asked)]
    askable = askable[np.lexsort(askable.T[::-1])]
    asked_anyway = {tuple(row) for row in with_twins(graph, question_triples(graph)).tolist()}
    degree = Counter(np.concatenate([graph.triples[:, 0], graph.triples[:, 2]]).tolist())
    for head, _, tail in asked_anyway:
        degree.subtract([head, tail])
    hidden: set[tuple[int, int, int]] = set()
    for place in random.Random(seed).sample(range(len(askable)), len(askable)):
        if len(hidden) >= share * len(askable):
            break
        facts = {tuple(row) for row in with_twins(graph, askable[place : place + 1]).tolist()}
        ends = Counter(end for head, _, tail in facts for end in (head, tail))
        if facts & (hidden | asked_anyway) or any(degree[end] <= count for end, count in ends.items()):
            continue
        hidden |= facts
        degree.subtract(ends)
    return np.array(sorted(hidden), np.int32)


def both_directions(triples: Triples, num_relations: int) -> tuple[Ids, Ids, Ids]:
    """Queries for ``[n, 3]`` triples: ``(head, relation, ?)``, then ``(tail, inverse relation, ?)``.

    Returns:
        Heads, relations and the sought answers, ``[2n]`` each.
    """
    heads, relations, tails = triples.T.astype(np.int64)
    return (
        np.concatenate([heads, tails]),
        np.concatenate([relations, inverse(relations, num_relations)]),
        np.concatenate([tails, heads]),
    )


def frequency_ranks(graph: Graph, full: Graph, heads: Ids, relations: Ids, answers: Ids) -> Ranks:
    """The rival: filtered ranks by how often each entity is a tail of the relation in the visible graph.

    Args:
        full: holds the other true answers, which do not count as rivals.
        heads, relations, answers: ``[queries]`` ids; each answer is true in ``full``.
    """
    _, kinds, tails = both_directions(graph.triples, graph.num_relations)
    counts = np.zeros((2 * graph.num_relations, graph.num_entities), np.int64)
    np.add.at(counts, (kinds, tails), 1)
    better, tied = np.zeros((2, len(heads)), np.int64)
    for i, (relation, answer) in enumerate(zip(relations, answers, strict=True)):
        rivals = np.delete(counts[relation], full.answers(int(heads[i]), int(relation)))
        better[i] = (rivals > counts[relation, answer]).sum()
        tied[i] = (rivals == counts[relation, answer]).sum()
    return Ranks(better, tied)


def print_question(ranker: Ranker, graph: Graph, full: Graph, head: str, relation: str) -> None:
    """One question with its five best answers that the visible graph does not hold; ✓ marks hidden facts."""
    h, r = full.entities.id(head, "entity"), full.relations.id(relation, "relation")
    true = set(full.entities.take(full.answers(h, r)))
    told = list(graph.entities.take(graph.answers(h, r)))
    print(f"\n{head} · {relation} · ?" + (f"    (the graph says: {', '.join(told)})" if told else ""))
    answers = ranker.rank(head, relation, k=5)
    for rank, tail, score in answers.select("rank", "tail", "score").iter_rows():
        print(f"  {rank:>3}. {tail:<34} {score:7.2f}  {'✓' if tail in true else ''}".rstrip())


def print_quality(full: Graph, hidden: Triples, ours: NDArray[np.floating], rival: NDArray[np.floating]) -> None:
    """MRR and Hits@10 by relation and over all queries, beside the rival's."""
    relations = np.tile(hidden[:, 1], 2)
    print(f"\n{'':24}{'Trivium':>18}{'frequency':>18}")
    print(f"{'relation':<16}{'queries':>8}{'MRR':>9}{'Hits@10':>9}{'MRR':>9}{'Hits@10':>9}")
    groups = [(full.relations.names[int(r)], relations == r) for r in np.unique(relations)]
    for name, chosen in [*groups, ("all", np.ones(len(relations), bool))]:
        shown = [(1 / ranks[chosen]).mean() for ranks in (ours, rival)]
        within = [(ranks[chosen] <= 10).mean() for ranks in (ours, rival)]
        figures = "".join(f"{mrr:9.3f}{hits:9.3f}" for mrr, hits in zip(shown, within, strict=True))
        print(f"{name:<16}{chosen.sum():>8}{figures}")
    print(f"\nTrivium's MRR is {shown[0] / shown[1]:.1f} times that of ranking by frequency in the relation.")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--checkpoint", default="trivium", help="a name or a file (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which facts are hidden (default: %(default)s)")
    options = parser.parse_args()

    full = read_graph(WORLD)
    hidden = hide(full, options.seed)
    graph = full.without(np.concatenate([hidden, with_twins(full, question_triples(full))]))
    print(
        f"{WORLD.name}: {full.num_triples:,} facts, {full.num_entities:,} entities, "
        f"{full.num_relations} relations.\nHidden: {len(hidden)} facts at random (seed {options.seed}), "
        f"and {len(QUESTIONS)} that the questions below ask for (✓)."
    )
    ranker = Ranker(Trivium.load(options.checkpoint), graph)
    for head, relation, _ in QUESTIONS:
        print_question(ranker, graph, full, head, relation)

    print(f"\nAll {len(hidden)} random ones, in both directions, other true answers left out, ties count half:")
    heads, relations, answers = both_directions(hidden, full.num_relations)
    start = time.perf_counter()
    ours = np.empty(len(heads))
    for places, ranks, _ in ranker.ranks(heads, relations, answers, known=full):
        ours[places] = ranks.realistic
    seconds = time.perf_counter() - start
    rival = frequency_ranks(graph, full, heads, relations, answers)
    print_quality(full, hidden, ours, rival.realistic)
    print(f"{len(ours)} queries took {seconds:.1f} s.")


if __name__ == "__main__":
    try:
        main()
    except TriviumError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
