"""What each part of a fused checkpoint does, measured: text, similarity, prompts.

    python benchmarks/evidence.py [CHECKPOINT] [--data-dir FOLDER] [--sample 400]

- *activity*: the share of queries on which the similarity enhancer's Δ is not 0;
- *rewiring*: how far the prompt enhancer's Δ moves, in norm, when the edges of the prompts are drawn anew within each
  example (same examples, entities, labels and relations);
- *without ...*: pessimistic MRR with everything minus MRR with the part switched off, on validation questions that no
  checkpoint is chosen on by anything else; emptied prompts give Δ = 0, so "without prompt" is the check with emptied
  neighbourhoods;
- *text*: the same on graphs none of whose test relations has an edge;
- *relations left out*: all facts of some relations are taken out of a graph and asked for, so that their texts are the
  only evidence of them: relation by relation, or a third of the relations at once.

`--sample` bounds the validation questions of a graph. Intervals are 95 %, by bootstrap over the relations of each graph
(a model fails or succeeds per relation), graphs kept.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from trivium.datasets.registry import load_dataset
from trivium.datasets.splits import Splits
from trivium.evaluation.evaluate import Questions
from trivium.graph.graph import inverse
from trivium.inference.ranker import Ranker, model_texts
from trivium.model.enhancers import PromptEnhancer, Prompts, SimilarityEnhancer, extract
from trivium.model.topology import Topology
from trivium.model.trivium import Trivium, load_checkpoint

VALIDATION = [
    "Kinship",
    "Nations",
    "UMLS",
    "NELLInductive:v1",
    "NELLInductive:v2",
    "NLIngram:25",
    "NLIngram:100",
    "HM:1k",
]
GRAPHS = ["NELLInductive:v2", "NELLInductive:v4", "NLIngram:0", "NLIngram:75", "WikiTopicsMT4:sci", "WikiTopicsMT3:art",
          "HM:1k", "Metafam"]  # fmt: skip
UNSEEN = ["FBNELL_harder", "Metafam_harder"]
LEFT_OUT = ["UMLS", "Nations", "NELLInductive:v2", "NLIngram:25", "WKIngram:25", "WikiTopicsMT4:sci"]

Floats = NDArray[np.float64]


def gains(
    model: Trivium, splits: Splits, parts: Sequence[str], data_dir: str, sample: int | None
) -> tuple[dict[str, Floats], NDArray[np.int64], Floats]:
    """Reciprocal rank with everything less that without each part, and the relation, by query; and with everything."""
    texts = model_texts(model, splits.graph, splits.name, data_dir)
    every = Questions.of(splits)
    questions = every if sample is None else every.sample(sample, 0)
    values = {}
    for part in ["", *parts]:
        ranker = Ranker(model, splits.graph, texts=texts, disabled=[part] if part else [])
        relations, ranks = questions.ranks(ranker)
        values[part] = 1 / ranks.pessimistic
    whole = values.pop("")
    return {part: whole - value for part, value in values.items()}, relations % splits.graph.num_relations, whole


def left_out(
    model: Trivium, name: str, data_dir: str, apart: bool, relations: int = 40, facts: int = 10
) -> tuple[Floats, Floats]:
    """Mean reciprocal rank of each left-out relation's facts, with texts and without.

    Args:
        apart: leave out each of a sample of ``relations`` alone; or else a third of all at once, two of the thirds.
    """
    graph, rng = load_dataset(name, data_dir).graph, np.random.default_rng(0)
    texts = model_texts(model, graph, name, data_dir)
    found, counts = np.unique(graph.triples[:, 1], return_counts=True)
    drawn = rng.permutation(found[counts >= 5])
    means: list[tuple[float, ...]] = []
    for together in drawn[:relations, None] if apart else np.array_split(drawn, 3)[:2]:
        hidden = graph.triples[np.isin(graph.triples[:, 1], together)]
        asked = np.concatenate([rng.permutation(hidden[hidden[:, 1] == one])[:facts] for one in together])
        h, r, t = asked.astype(np.int64).T
        heads, answers = np.concatenate([h, t]), np.concatenate([t, h])
        both = np.concatenate([r, inverse(r, graph.num_relations)])
        columns = []
        for disabled in ([], ["text"]):
            ranker = Ranker(model, graph.without(hidden), texts=texts, disabled=disabled)
            reciprocal = np.zeros(len(heads))
            for places, ranks, _ in ranker.ranks(heads, both, answers, graph):
                reciprocal[places] = 1 / ranks.pessimistic
            columns.append([float(reciprocal[both % graph.num_relations == one].mean()) for one in together])
        means.extend(zip(*columns, strict=True))
    on, off = np.array(means).T
    return on, off


def interval(gain: Sequence[Floats], clusters: Sequence[NDArray[np.int64]], draws: int = 2000) -> tuple[float, float]:
    """95 % interval of the mean over graphs of each graph's mean gain."""
    rng = np.random.default_rng(0)
    means = np.zeros(draws)
    for values, cluster in zip(gain, clusters, strict=True):
        _, place = np.unique(cluster, return_inverse=True)
        sums, counts = np.bincount(place, values), np.bincount(place)
        chosen = rng.integers(0, len(sums), (draws, len(sums)))
        means += sums[chosen].sum(1) / counts[chosen].sum(1) / len(gain)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def rewired(prompts: Prompts, rng: np.random.Generator) -> Prompts:
    """The same examples, entities, labels and relations, with each edge's source drawn again within its example."""
    example = prompts.node_examples[prompts.edges.targets]
    sources = np.empty_like(prompts.edges.sources)
    shuffled = np.lexsort((rng.random(len(example)), example))
    sources[np.argsort(example, kind="stable")] = prompts.edges.sources[shuffled]
    return replace(prompts, edges=replace(prompts.edges, sources=sources))


@torch.no_grad()
def enhancers(model: Trivium, splits: Splits, data_dir: str) -> tuple[float, float]:
    """The similarity enhancer's activity over the test queries, and how far rewiring moves the prompt's Δ."""
    similarity, prompt = model.branches["similarity"], model.branches["prompt"]
    assert isinstance(similarity, SimilarityEnhancer) and isinstance(prompt, PromptEnhancer)
    topology = Topology(splits.graph, model_texts(model, splits.graph, splits.name, data_dir))
    relations = np.concatenate([splits.test[:, 1], splits.test[:, 1] + splits.graph.num_relations])
    distinct, counts = np.unique(relations, return_counts=True)
    active, moved, size = 0, 0.0, 0.0
    rng = np.random.default_rng(0)
    for relation, count in zip(distinct.tolist(), counts.tolist(), strict=True):
        query = torch.tensor([relation])
        r, _ = model.parts(topology, query, disabled=["similarity", "prompt"])
        active += count * bool((similarity.gains(query, r) > 0).any())
        prompts = extract(topology, np.array([relation]), prompt.config)
        before = prompt(topology, query, r, prompts=prompts)
        after = prompt(topology, query, r, prompts=rewired(prompts, rng))
        moved += count * float((after - before).norm())
        size += count * float(before.norm())
    return active / len(relations), moved / size


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", nargs="?", default="trivium")
    parser.add_argument("--data-dir", default=os.environ.get("TRIVIUM_DATA"))
    parser.add_argument("--sample", type=int, default=400)
    chosen = parser.parse_args()
    model, _ = load_checkpoint(chosen.checkpoint)
    print(f"fusion weights: {model.fusion_weights()}\n")
    print("| graph | similarity acts on | rewiring moves the prompt's Δ by |\n|---|---|---|")
    for name in GRAPHS:
        acts, moves = enhancers(model, load_dataset(name, chosen.data_dir), chosen.data_dir)
        print(f"| {name} | {acts:.0%} | {moves:.0%} |", flush=True)
    for title, names, parts in (
        ("validation", VALIDATION, ("text", "similarity", "prompt")),
        ("no test relation has an edge", UNSEEN, ("text",)),
    ):
        print(f"\n| {title} | MRR | " + " | ".join(f"without {part}" for part in parts) + " |")
        print("|---|---|" + "---|" * len(parts))
        found: list[tuple[dict[str, Floats], NDArray[np.int64], Floats]] = []
        for name in names:
            splits = load_dataset(name, chosen.data_dir)
            splits = splits.validation() if title == "validation" else splits
            sample = chosen.sample if title == "validation" else None
            found.append(gains(model, splits, parts, chosen.data_dir, sample))
            gain, clusters, whole = found[-1]
            cells = [
                "{:+.3f} [{:+.3f}, {:+.3f}]".format(
                    -gain[part].mean(), *(-x for x in interval([gain[part]], [clusters])[::-1])
                )
                for part in parts
            ]
            print(f"| {name} | {whole.mean():.3f} | " + " | ".join(cells) + " |", flush=True)
        cells = []
        for part in parts:
            low, high = interval([g[part] for g, _, _ in found], [c for _, c, _ in found])
            cells.append(f"{-np.mean([g[part].mean() for g, _, _ in found]):+.3f} [{-high:+.3f}, {-low:+.3f}]")
        print(f"| **mean** | {np.mean([w.mean() for _, _, w in found]):.3f} | " + " | ".join(cells) + " |")

    for apart in (True, False):
        how = "one by one" if apart else "a third at once"
        print(f"\n| relations left out, {how} | relations | MRR | without text |\n|---|---|---|---|")
        pairs = [left_out(model, name, chosen.data_dir, apart) for name in LEFT_OUT]
        for name, (on, off) in zip(LEFT_OUT, pairs, strict=True):
            low, high = interval([on - off], [np.arange(len(on))])
            cell = f"{(off - on).mean():+.3f} [{-high:+.3f}, {-low:+.3f}]"
            print(f"| {name} | {len(on)} | {on.mean():.3f} | {cell} |", flush=True)
        low, high = interval([on - off for on, off in pairs], [np.arange(len(on)) for on, _ in pairs])
        gain = np.mean([(off - on).mean() for on, off in pairs])
        mean = np.mean([on.mean() for on, _ in pairs])
        print(f"| **mean** | | {mean:.3f} | {gain:+.3f} [{-high:+.3f}, {-low:+.3f}] |")


if __name__ == "__main__":
    main()
