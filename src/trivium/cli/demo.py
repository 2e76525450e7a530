"""The demo: hides facts of a real graph, asks for them, and says how good the answers are."""

import math
import random
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trivium.cli.options import DEFAULT, Checkpoint, Force, Output
from trivium.evaluation.metrics import Metrics
from trivium.files import check_place, write_whole
from trivium.graph.graph import Graph
from trivium.graph.hold_out import hold_out
from trivium.graph.read import read_graph
from trivium.inference.answers import Ids, Ranks, both_directions, filtered_ranks
from trivium.inference.ranker import Ranker
from trivium.report import show

WORLD = Path(__file__).parent.parent / "demo" / "world.tsv"
HIDDEN_SHARE = 0.05
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


def demo(
    *,
    seed: int = 0,
    checkpoint: Checkpoint = DEFAULT,
    output: Output = None,
    force: Force = False,
) -> None:
    """Hides facts of a real graph, asks for them, and says how good the answers are.

    The graph holds facts about the world's countries; the model has seen neither it nor its relations. First come
    questions that a person can judge, then a twentieth of the facts in both directions, compared with ranking entities
    by how often they occur with the relation.

    Parameters
    ----------
    seed
        Which facts are hidden.
    output
        Write the graph there (.tsv), to ask it yourself, instead.
    """
    if output is not None:
        write_whole(WORLD.read_bytes(), check_place(output, force, ".tsv"), force)
        print(f'{output}: written. Ask it: trivium rank {output} --head "Congo River" --relation "flows through"')
        return
    full = read_graph(WORLD)
    hidden = hide(full, seed)
    graph = full.less(np.concatenate([hidden, question_triples(full)]))
    print(
        f"{full.num_triples:,} facts about countries, {full.num_entities:,} entities, {full.num_relations} relations.\n"
        f"Hidden: {len(hidden)} facts at random (seed {seed}), and {len(QUESTIONS)} that these questions ask for (✓)."
    )
    ranker = Ranker.open(graph, checkpoint)
    for head, relation, _ in QUESTIONS:
        show_question(ranker, full, head, relation)
    print(f"\nAll {len(hidden)} random ones, in both directions, other true answers left out, ties count half:\n")
    heads, relations, answers = both_directions(hidden, full.num_relations)
    ours = np.empty(len(heads))
    for places, ranks, _ in ranker.ranks(heads, relations, answers, known=full):
        ours[places] = ranks.realistic
    show_quality(full, hidden, ours, frequency_ranks(graph, full, heads, relations, answers).realistic)


def question_triples(graph: Graph) -> Triples:
    """The ids of `QUESTIONS`, ``[questions, 3]``."""
    return graph.ids(*zip(*QUESTIONS, strict=True))


def hide(graph: Graph, seed: int) -> Triples:
    """Draws `HIDDEN_SHARE` of the triples of the relations that are asked, ``[n, 3]``, borders in both directions.

    A triple stays where one of its ends would be left without any edge: nothing could be said about it.
    """
    askable = graph.triples[~np.isin(graph.triples[:, 1], graph.relations.ids(NOT_ASKED))]
    askable = askable[np.lexsort(askable.T[::-1])]
    drawn = askable[random.Random(seed).sample(range(len(askable)), len(askable))]
    visible = graph.less(question_triples(graph))
    return hold_out(visible, drawn[visible.contains(drawn)], math.ceil(HIDDEN_SHARE * len(askable)))


def frequency_ranks(graph: Graph, full: Graph, heads: Ids, relations: Ids, answers: Ids) -> Ranks:
    """The rival: filtered ranks by how often each entity is a tail of the relation in the visible graph.

    Args:
        full: holds the other true answers, which do not count as rivals.
        heads, relations, answers: ``[queries]`` ids; each answer is true in ``full``.
    """
    _, kinds, tails = both_directions(graph.triples, graph.num_relations)
    counts = np.zeros((2 * graph.num_relations, graph.num_entities), np.float32)
    np.add.at(counts, (kinds, tails), 1)
    known = [full.answers(int(h), int(r)) for h, r in zip(heads, relations, strict=True)]
    return filtered_ranks(counts, relations, answers, known)


def show_question(ranker: Ranker, full: Graph, head: str, relation: str) -> None:
    """One question with its five best answers that the visible graph does not hold; ✓ marks hidden facts."""
    h, r = full.entities.id(head, "entity"), full.relations.id(relation, "relation")
    true = set(full.entities.take(full.answers(h, r)))
    known = list(ranker.graph.entities.take(ranker.graph.answers(h, r)))
    print(f"\n{head} · {relation} · ?" + (f"    (the graph says: {', '.join(known)})" if known else ""))
    answers = ranker.rank(head, relation, k=5)
    for rank, tail, score in answers.select("rank", "tail", "score").iter_rows():
        print(f"  {rank:>3}. {tail:<34} {score:7.2f}  {'✓' if tail in true else ''}".rstrip())


def show_quality(full: Graph, hidden: Triples, ours: NDArray[np.floating], rival: NDArray[np.floating]) -> None:
    """MRR and Hits@10 by relation and over all queries, beside the rival's."""
    relations = np.tile(hidden[:, 1], 2)
    groups = [(full.relations.names[int(r)], relations == r) for r in np.unique(relations)]
    rows: list[list[object]] = []
    for name, chosen in [*groups, ("all", np.ones(len(relations), bool))]:
        found = [Metrics.of(ranks[chosen]) for ranks in (ours, rival)]
        figures = [f"{figure:.3f}" for metrics in found for figure in (metrics.mrr, metrics.hits_at_10)]
        rows.append([name, int(chosen.sum()), *figures])
    show(["relation", "queries", "MRR", "Hits@10", "MRR by frequency", "Hits@10 by frequency"], rows)
    times = Metrics.of(ours).mrr / Metrics.of(rival).mrr
    print(f"\nTrivium's MRR is {times:.1f} times that of ranking by frequency.")
