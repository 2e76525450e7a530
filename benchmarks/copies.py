"""Confidences with and without a copy of every fact: what a fact says twice must not make its answers surer.

    python benchmarks/copies.py [--share 0.05] [--checkpoint trivium] [--seeds 3]

Of the demo graph a share of the facts is hidden (`trivium split`); what is left is taken as it is, and with every fact
once more under another relation, turned round. Each is calibrated, and the hidden facts are asked of it in both
directions. Of each question the ten best answers of the graph without copies are compared: by how much confidences of
the two graphs differ, and those of two calibrations of one graph that hid other facts, which is what chance does.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import trivium
from trivium.calibration import Calibration
from trivium.calibration.reliability import expected_error, reliability
from trivium.graph.graph import Graph
from trivium.graph.hold_out import divided
from trivium.graph.names import Names
from trivium.graph.read import read_graph
from trivium.inference.answers import Ids, both_directions
from trivium.inference.ranker import Ranker, model_texts
from trivium.model.trivium import Trivium

WORLD = Path(trivium.__file__).with_name("demo") / "world.tsv"
SHOWN = 10


def doubled(graph: Graph) -> Graph:
    """The graph with each fact once more, turned round, under a relation of its own; ids stay."""
    heads, relations, tails = graph.triples.T
    names = [*graph.relations.names, *(f"{name} (turned round)" for name in graph.relations.names)]
    columns = (
        np.concatenate(pair) for pair in ((heads, tails), (relations, relations + graph.num_relations), (tails, heads))
    )
    return Graph.from_ids(*columns, entities=graph.entities, relation_names=Names(names))


def placed(ranker: Ranker, asked: list[tuple[int, int, Ids]], num_relations: int) -> list[tuple[Any, ...]]:
    """Of each question's answers the relation, scores, margins, ranks; the given ids are over ``2 · num_relations``."""
    found = []
    for head, relation, answers in asked:
        kind = relation % num_relations + (relation >= num_relations) * ranker.graph.num_relations
        scores = ranker.scores(np.array([head]), np.array([kind])).numpy()[0]
        _, among, margins = ranker.placed(head, kind, scores, answers)
        found.append((np.full(len(answers), kind), scores[answers], margins, among))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--checkpoint", default="trivium")
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    model = Trivium.load(chosen.checkpoint)
    whole = read_graph(WORLD)
    rest, hidden = divided(whole, [chosen.share], 0)
    plain = Graph.from_ids(*rest.T, entities=whole.entities, relation_names=whole.relations)
    plain.twins = whole.twins
    heads, relations, _ = both_directions(hidden, plain.num_relations)
    questions = np.unique(np.stack([heads, relations], 1), axis=0).tolist()
    rankers = [Ranker(model, graph, texts=model_texts(model, graph)) for graph in (plain, doubled(plain))]
    asked = []
    for head, relation in questions:
        scores = rankers[0].scores(np.array([head]), np.array([relation])).numpy()[0]
        asked.append((head, relation, rankers[0].best(head, relation, scores, SHOWN)[0]))
    first = np.concatenate([np.arange(len(answers)) == 0 for _, _, answers in asked])
    true = np.concatenate([whole.contains(np.array([[h, r, a] for a in answers], np.int32)) for h, r, answers in asked])
    sure = {}
    both = first.copy()  # best with copies too
    for copies, ranker in enumerate(rankers):
        answers = [np.concatenate(column) for column in zip(*placed(ranker, asked, plain.num_relations), strict=True)]
        both &= answers[3] == 1
        for seed in range(chosen.seeds):
            sure[copies, seed] = Calibration.fit(ranker, chosen.checkpoint, seed=seed).confidence(*answers)
    print(f"{len(asked)} questions, {len(true)} answers, {true.mean():.3f} true; of the best {true[first].mean():.3f}")
    print(f"the best answer to {both.sum() / first.sum():.3f} of them is the best with copies too\n")
    print("| graph | seed | mean confidence | ECE | of the best | ECE |\n|---|---|---|---|---|---|")
    for (copies, seed), found in sure.items():
        parts = (
            f"{found[part].mean():.3f} | {expected_error(reliability(found[part], true[part])):.3f}"
            for part in (first | True, first)
        )
        print(f"| {'with copies' if copies else 'as it is'} | {seed} | {' | '.join(parts)} |")
    print("\n| compared | mean difference | of the best | of the best in both |\n|---|---|---|---|")
    kinds = {
        "with copies, the same seed": [((0, seed), (1, seed)) for seed in range(chosen.seeds)],
        "as it is, another seed": [((0, seed), (0, (seed + 1) % chosen.seeds)) for seed in range(chosen.seeds)],
    }
    for kind, pairs in kinds.items():
        apart = np.mean([np.abs(sure[one] - sure[other]) for one, other in pairs], axis=0)
        print(f"| {kind} | {apart.mean():.3f} | {apart[first].mean():.3f} | {apart[both].mean():.3f} |")


if __name__ == "__main__":
    main()
