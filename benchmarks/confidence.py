"""Honest confidence: calibrate on a graph, then ask its test questions and compare confidences with the truth.

    python benchmarks/confidence.py [GRAPH …] [--data-dir FOLDER] [--checkpoint trivium] [--facts 1000] [--complete 0]

The calibration sees the graph alone. Then each of (at most) so many test facts is asked in both directions; of each
question the ten best answers that are not known otherwise are taken, as in filtered ranking. ECE is the expected
calibration error in ten bins of equal mass over them; "best" over each question's best answer alone. "Sure" counts
answers with a confidence of at least .9, and the share of them that is true.
With --complete, so many of the questions that `trivium complete` asks are asked too, most of which lack no answer.
"""

import argparse
import os
import time

import numpy as np

from trivium.calibration import Calibration
from trivium.calibration.collect import Answers, ask
from trivium.calibration.fit import SHOWN
from trivium.calibration.reliability import expected_error, reliability
from trivium.datasets.registry import load_dataset
from trivium.graph.graph import Graph
from trivium.inference.ranker import Ranker, model_texts
from trivium.model.trivium import Trivium

GRAPHS = ["NELLInductive:v4", "NLIngram:100", "WikiTopicsMT4:sci", "CoDExSmall"]


def errors(calibration: Calibration, answers: Answers) -> list[str]:
    """The figures of one set of answers, as cells."""
    sure = calibration.confidence(answers.relations, answers.scores, answers.margins, answers.ranks)
    shown, best = answers.ranks <= SHOWN, answers.ranks == 1
    over = sure >= 0.9
    right = f"{answers.true[over].mean():.2f}" if over.any() else "-"
    return [
        f"{expected_error(reliability(sure[shown], answers.true[shown])):.3f}",
        f"{expected_error(reliability(sure[best], answers.true[best])):.3f}",
        f"{sure[shown].mean():.3f} / {answers.true[shown].mean():.3f}",
        f"{over.sum()}, {right}",
    ]


def measure(name: str, checkpoint: str, data_dir: str | None, facts: int, pairs: int) -> None:
    """Prints one graph's row."""
    model, splits = Trivium.load(checkpoint), load_dataset(name, data_dir)
    graph = splits.graph
    ranker = Ranker(model, graph, texts=model_texts(model, graph, name, data_dir))
    started = time.monotonic()
    calibration = Calibration.fit(ranker, checkpoint, max_hidden=facts)
    seconds = time.monotonic() - started
    test = splits.test[np.random.default_rng(0).permutation(len(splits.test))[:facts]].astype(np.int32)
    asked = Graph.from_ids(*test.T, entities=graph.entities, relation_names=graph.relations)
    answers = ask(ranker, asked, splits.graph.with_triples(splits.known))
    record = calibration.record
    own = f"{len(record.relations)} / {record.fallback}"
    cells = [name, str(record.hidden), own, str(len(test)), *errors(calibration, answers), f"{seconds:.0f}"]
    print(f"| {' | '.join(cells)} |", flush=True)
    if pairs:
        show_completion(ranker, calibration, splits.graph.with_triples(splits.known), pairs)


def show_completion(ranker: Ranker, calibration: Calibration, facts: Graph, pairs: int) -> None:
    """Links that `trivium complete` would write, by confidence: how many of them are facts that are known elsewhere."""
    graph = ranker.graph
    asked = np.unique(graph.triples[:, [0, 1]].astype(np.int64), axis=0)
    asked = asked[np.random.default_rng(0).permutation(len(asked))[:pairs]]
    links = ranker.rank_ids(asked[:, 0], asked[:, 1], confidence=calibration.confidence)
    ids = [graph.entities.ids(links["head"]), graph.relations.ids(links["relation"]), graph.entities.ids(links["tail"])]
    true, sure = facts.contains(np.stack(ids, axis=1)), links["confidence"].to_numpy()
    for least, most in ((0.9, 1.0), (0.5, 0.9), (0.1, 0.5), (0.0, 0.1)):
        chosen = (sure >= least) & (sure < most)
        print(f"  confidence {least} to {most}: {chosen.sum()} links, {true[chosen].mean():.3f} known elsewhere")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("graphs", nargs="*", default=GRAPHS)
    parser.add_argument("--checkpoint", default="trivium")
    parser.add_argument("--data-dir", default=os.environ.get("TRIVIUM_DATA"))
    parser.add_argument("--facts", type=int, default=1000)
    parser.add_argument("--complete", type=int, default=0)
    chosen = parser.parse_args()
    print(
        "| graph | facts hidden | relations corrected / by the global fit | test facts | ECE | best "
        "| mean confidence / truth | sure, true | seconds to calibrate |\n|---|---|---|---|---|---|---|---|---|"
    )
    for name in chosen.graphs:
        measure(name, chosen.checkpoint, chosen.data_dir, chosen.facts, chosen.complete)


if __name__ == "__main__":
    main()
