"""What a question costs beside what it reaches, in turn with all scores written out: processor time on one thread.

    python benchmarks/questions.py [GRAPH ...] [--questions 8] [--reach N] [--base-mib 256]

A graph is a data set's name, or made, with 50 relations: dense:1000000 has so many triples, ten an entity, between any
two of its entities; sparse:1000000 has two an entity, between entities that are near each other. The questions are of
one relation, what they share is held, and the first ones do not count. The exponents are of the milliseconds by triples
reached, over the graphs of either shape.
"""

import argparse
import os
import time
from collections.abc import Callable

import numpy as np

from trivium.datasets.registry import load_dataset
from trivium.graph.graph import Graph
from trivium.inference.ranker import Ranker
from trivium.kernels.threads import set_threads
from trivium.model.trivium import load_checkpoint

GRAPHS = ["FB15k237", "NELL23k", "WN18RR", "CoDExMedium", "dense:10000", "dense:100000", "dense:1000000"]
GRAPHS += ["sparse:10000", "sparse:100000", "sparse:1000000"]
PER_ENTITY = {"dense": 10, "sparse": 2}
NEAR = 20


def graph_of(name: str, data_dir: str | None) -> Graph:
    shape, _, size = name.partition(":")
    if shape not in PER_ENTITY:
        return load_dataset(name, data_dir).graph
    rng, triples = np.random.default_rng(0), int(size)
    entities = triples // PER_ENTITY[shape]
    heads = rng.integers(0, entities, triples)
    far = rng.integers(0, entities, triples)
    near = np.clip(heads + rng.integers(-NEAR, NEAR + 1, triples), 0, entities - 1)
    ends = (ids.astype(np.int32) for ids in (heads, rng.integers(0, 50, triples), far if shape == "dense" else near))
    return Graph.from_ids(*ends, entities=entities, relation_names=50)


def milliseconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return 1000 * (time.process_time() - begin)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("graphs", nargs="*", default=GRAPHS)
    parser.add_argument("--data-dir", default=os.environ.get("TRIVIUM_DATA"))
    parser.add_argument("--questions", type=int, default=8)
    parser.add_argument("--reach", type=int, default=0)
    parser.add_argument("--base-mib", type=int, default=256)
    chosen = parser.parse_args()
    set_threads(1)
    model, points = load_checkpoint("trivium")[0], {shape: [] for shape in PER_ENTITY}  # type: ignore[var-annotated]
    print(
        "| graph | entities | triples | triples reached | first question, ms | a question, ms | all written out, ms |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in chosen.graphs:
        graph = graph_of(name, chosen.data_dir)
        ranker = Ranker(model, graph).within(chosen.reach)
        engine = ranker.engine
        engine.base_bytes = chosen.base_mib << 20
        drawn = np.random.default_rng(1).choice(graph.num_triples, chosen.questions + 2, replace=False)
        heads, relation = graph.triples[drawn, 0].tolist(), int(graph.triples[drawn[0], 1])
        ((_, rows),) = ranker.representations.each([relation])
        base = engine.prepare(rows, relation)

        def ask(head: int, whole: bool = False, base=base, relation=relation, ranker=ranker) -> None:  # type: ignore[no-untyped-def]
            if whole:
                scores = ranker.engine.scores(base, np.array([head]), 64)[0].numpy()
            else:
                scores = ranker.engine.answered(base, head, 64)
            ranker.best(head, relation, scores, 10)

        first = milliseconds(lambda: ask(heads[0]))  # noqa: B023
        ask(heads[1])
        ask(heads[1], True)
        turns = [[milliseconds(lambda: ask(head)), milliseconds(lambda: ask(head, True))] for head in heads[2:]]  # noqa: B023
        own, whole = np.median(turns, axis=0)
        distances = [graph.distances(head, model.config.layers) for head in heads[2:]]
        degrees = np.diff(graph.offsets)
        reached = np.median([degrees[far <= model.config.layers].sum() / 2 for far in distances])
        shape = name.partition(":")[0]
        if shape in points:
            points[shape].append((reached, own))
        print(
            f"| {name} | {graph.num_entities:,} | {graph.num_triples:,} | {reached:,.0f} | {first:,.1f} | {own:,.1f} | "
            f"{whole:,.1f} |",
            flush=True,
        )
    for shape, found in points.items():
        if len(found) > 1:
            sizes, times = np.log(np.array(found)).T
            print(f"{shape}: exponent {np.polyfit(sizes, times, 1)[0] if np.ptp(sizes) > 1 else 0:.2f}")


main()
