"""Faithful reasons: what a score loses without the facts that its explanation names, beside what chance takes from it.

    python benchmarks/reasons.py [GRAPH …] [--data-dir FOLDER] [--queries 300] [--paths 5] [--checkpoint trivium]

For each query, a test question in either direction, the explained answer is the best-ranked one that the graph does not
hold. The facts on its paths are taken out, with their inverses, and relation representations computed again. Beside it,
as many facts at random: both ends within two hops of the question's entity or of the answer, not named, and for each
named fact one of the ten whose ends have degrees nearest to its own. A drop is the score before less the score after.
The ratio is the median drop over the median size of a random one.
"""

import argparse
import os
import time

import numpy as np

from trivium.datasets.registry import load_dataset
from trivium.explanation.explain import Explanation, explain_ids
from trivium.explanation.paths import Floats
from trivium.graph.graph import Graph, inverse
from trivium.inference.answers import filtered_entities
from trivium.inference.ranker import Ranker, model_texts
from trivium.kernels.csr import IntArray
from trivium.model.trivium import Trivium

GRAPHS = ["NELLInductive:v2", "NLIngram:75"]
NEAREST = 10


def named_facts(graph: Graph, explanation: Explanation) -> IntArray:
    """The facts on the paths, ``[n, 3]``, each once."""
    facts = {(step.head, step.relation, step.tail) for reason in explanation.paths for step in reason.steps}
    heads, relations, tails = zip(*sorted(facts), strict=True)
    return np.stack([graph.entities.ids(heads), graph.relations.ids(relations), graph.entities.ids(tails)], axis=1)


def matched_facts(graph: Graph, named: IntArray, ends: tuple[int, int], rng: np.random.Generator) -> IntArray | None:
    """As many facts near either end, of like degrees; ``None`` where there are too few."""
    facts = graph.triples
    pool = np.zeros(len(facts), np.bool_)
    for end in ends:
        near = graph.distances(end, 2) <= 2
        pool |= near[facts[:, 0]] & near[facts[:, 2]]
    own = {tuple(fact) for fact in named.tolist()}
    places = [place for place in np.flatnonzero(pool).tolist() if tuple(facts[place].tolist()) not in own]
    if len(places) < len(named):
        return None
    degrees = np.log(np.diff(graph.offsets))
    kinds = np.sort(degrees[facts[:, [0, 2]]], axis=1)
    chosen: list[int] = []
    for fact in named:
        left = np.array([place for place in places if place not in chosen])
        apart = np.abs(kinds[left] - np.sort(degrees[fact[[0, 2]]])).sum(1)
        order = np.lexsort((rng.random(len(left)), apart))
        chosen.append(int(left[rng.choice(order[:NEAREST])]))
    return facts[chosen]


def measure(name: str, checkpoint: str, data_dir: str | None, queries: int, paths: int) -> None:
    """Prints one graph's row."""
    model, splits = Trivium.load(checkpoint), load_dataset(name, data_dir)
    graph = splits.graph
    ranker = Ranker(model, graph, texts=model_texts(model, graph, name, data_dir))
    h, r, t = splits.test.astype(np.int64).T
    questions = np.concatenate([np.stack([h, r], 1), np.stack([t, inverse(r, graph.num_relations)], 1)])
    rng = np.random.default_rng(0)
    drops: list[Floats] = []
    sizes, seconds, skipped = [], 0.0, 0
    for head, relation in rng.permutation(np.unique(questions, axis=0)).tolist():
        if len(drops) == queries:
            break
        scores = ranker.scores(np.array([head]), np.array([relation]))[0].numpy().copy()
        before = scores.copy()
        scores[filtered_entities(graph, head, relation)] = -np.inf
        answer = int(scores.argmax())
        started = time.monotonic()
        explanation = explain_ids(ranker, head, relation, answer, paths)
        seconds += time.monotonic() - started
        if not explanation.paths:
            skipped += 1
            continue
        named = named_facts(graph, explanation)
        random = matched_facts(graph, named, (head, answer), rng)
        if random is None:
            skipped += 1
            continue
        after = [
            float(ranker.over(graph.without(facts)).scores(np.array([head]), np.array([relation]))[0, answer])
            for facts in (named, random)
        ]
        drops.append(before[answer] - np.array(after))
        sizes.append(len(named))
    named_drop, random_drop = np.array(drops).T
    ratio = np.median(named_drop) / np.median(np.abs(random_drop))
    cells = [
        name,
        str(len(drops)),
        str(skipped),
        f"{np.mean(sizes):.1f}",
        f"{np.median(named_drop):.3f}",
        f"{np.median(random_drop):.3f}",
        f"{np.median(np.abs(random_drop)):.3f}",
        f"{ratio:.1f}",
        f"{np.mean(named_drop > 3 * np.abs(random_drop)):.0%}",
        f"{seconds / (len(drops) + skipped):.2f}",
    ]
    print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("graphs", nargs="*", default=GRAPHS)
    parser.add_argument("--checkpoint", default="trivium")
    parser.add_argument("--data-dir", default=os.environ.get("TRIVIUM_DATA"))
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--paths", type=int, default=5)
    chosen = parser.parse_args()
    print(
        "| graph | queries | skipped | facts | median drop | random | size of random | ratio | over 3 times "
        "| seconds each |\n"
        "|---|---|---|---|---|---|---|---|---|---|"
    )
    for name in chosen.graphs:
        measure(name, chosen.checkpoint, chosen.data_dir, chosen.queries, chosen.paths)


if __name__ == "__main__":
    main()
