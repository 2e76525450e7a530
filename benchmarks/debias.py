"""What taking off the score without a head changes: MRR, and what comes up for most questions.

    python benchmarks/debias.py [GRAPH …] [--data-dir FOLDER] [--facts 150]

Each of so many test facts is asked in both directions, filtered, ties count half. Appearance@10 is the largest share of
questions whose ten best new answers hold one entity; the answers spread like so many entities that come up alike.
"""

import argparse
import os

import numpy as np

from trivium.datasets.registry import load_dataset
from trivium.inference import ranker as ranking
from trivium.inference.answers import both_directions
from trivium.inference.complete import Appearance
from trivium.inference.ranker import Ranker
from trivium.model.trivium import Trivium


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("graphs", nargs="*", default=["NELLInductive:v1", "UMLS", "FB15k237Inductive:v1"])
    parser.add_argument("--data-dir", default=os.environ.get("TRIVIUM_DATA"))
    parser.add_argument("--facts", type=int, default=150)
    given = parser.parse_args()
    model = Trivium.load("trivium")
    for name in given.graphs:
        splits = load_dataset(name, given.data_dir)
        triples = splits.test[np.random.default_rng(0).permutation(len(splits.test))[: given.facts]]
        known = splits.graph.with_triples(splits.known)
        heads, relations, answers = both_directions(triples, splits.graph.num_relations)
        plain = Ranker(model, splits.graph)
        for share in (0.0, 0.25, 0.5, 1.0):
            ranking.DEBIAS = share
            ranker = plain.debiased()
            ranks = np.empty(len(heads))
            for places, found, _ in ranker.ranks(heads, relations, answers, known):
                ranks[places] = found.realistic
            one, kind = np.unique(np.stack([heads, relations]), axis=1)  # each question once
            table = ranker.rank_ids(one, kind, 10)
            asked = np.where(kind < splits.graph.num_relations, "tail", "head")
            shown = Appearance.of(table.with_columns(asked=asked[table["query"]]))
            most = next(iter(shown.shares.values()))
            cells = [name, f"{share}", f"{(1 / ranks).mean():.4f}", f"{most:.3f}", f"{2**shown.entropy:.0f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
