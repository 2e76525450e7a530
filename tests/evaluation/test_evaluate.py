"""What evaluation reports beside the metrics: kinds of query."""

import numpy as np

from tests.conftest import graph_of, small_model
from trivium.datasets.splits import Splits
from trivium.evaluation.evaluate import Questions, evaluate, groups_of
from trivium.inference.answers import Ranks


def test_queries_are_grouped_by_what_the_graph_shows_of_both_ends() -> None:
    chain = [[i, 0, i + 1] for i in range(9)]
    graph = graph_of([*chain, [0, 1, 2], [3, 1, 4], [10, 0, 11]], 12, 2)
    asked = np.array([[0, 1, 4], [0, 1, 9], [5, 1, 2], [5, 1, 11]], np.int32)  # met or not: both, head, tail, none
    ranks = Ranks(np.array([0, 1, 2, 3, 4, 5, 6, 7]), np.zeros(8, np.int64))  # ranks 1 to 4 of tails, 5 to 8 of heads
    relations = np.array([1] * 4 + [3] * 4)
    groups = groups_of(Questions(graph, asked, graph.with_triples(asked)), relations, ranks)
    means = {kind: {name: (m.queries, m.mean_rank) for name, m in found.items()} for kind, found in groups.items()}
    assert means["direction"] == {"tail": (4, 2.5), "head": (4, 6.5)}
    assert means["relation"] == {"1": (8, 4.5)}
    assert means["half-links"] == {
        "both seen": (2, 3.0),
        "question seen": (2, (2 + 7) / 2),  # (0, 1, ?) with 9, and (2, 1⁻¹, ?) with 5
        "answer seen": (2, (3 + 6) / 2),
        "nothing seen": (2, 6.0),
    }
    assert means["distance"] == {"3": (4, 4.0), "over 6": (4, 5.0)}


def test_groups_hold_every_query() -> None:
    graph = graph_of([[0, 0, 1], [1, 0, 2], [2, 1, 3], [3, 1, 0]], 5, 2)
    asked = np.array([[0, 0, 2], [1, 1, 4]], np.int32)
    splits = Splits("small", "own", graph, asked, asked, graph, asked[:0], graph, asked[:0])
    result = evaluate(small_model(), splits, groups=True, texts=None)
    assert {kind: sum(m.queries for m in found.values()) for kind, found in result.groups.items()} == dict.fromkeys(
        ("standing", "direction", "half-links", "distance", "relation"), 4
    )
