"""The filtered ranking protocol, zero-shot: every test question in both directions, against all entities."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from trivium.evaluation.metrics import POLICIES, Metrics, by_policy, clustered_error
from trivium.graph.graph import Graph
from trivium.inference.answers import Ids, Ranks, both_directions
from trivium.inference.ranker import Ranker
from trivium.model.trivium import Trivium
from trivium.text.graph import TextGraph

if TYPE_CHECKING:
    from trivium.datasets.registry import Splits

CLEAN = 0.025  # share of test triples in the training data under which a graph counts as clean


@dataclass(frozen=True)
class Result:
    """One data set's figures.

    Attributes:
        queries: how many were asked, both directions counted.
        seconds: of evaluation, without loading.
        leakage: the share of test triples that the pretraining data holds; ``None`` where that data is not at hand.
        metrics: by tie policy.
        mrr_error: standard error of the pessimistic MRR, clustered by relation.
        interval: 95 % interval of the pessimistic MRR, for a sample of the queries; else ``None``.
        groups: pessimistic metrics by relation and by direction, where that was asked for.
    """

    dataset: str
    queries: int
    seconds: float
    leakage: float | None
    metrics: dict[str, Metrics]
    mrr_error: float
    interval: tuple[float, float] | None
    groups: dict[str, dict[str, Metrics]]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the tie policies stand at the top level."""
        content = asdict(self)
        policies = content.pop("metrics")
        return {**content, **policies}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Result:
        """The inverse of `as_dict`, for what JSON kept."""
        rest = {key: value for key, value in content.items() if key not in POLICIES}
        metrics = {policy: Metrics(**content[policy]) for policy in POLICIES}
        interval = None if rest["interval"] is None else tuple(rest["interval"])
        groups = {kind: {n: Metrics(**m) for n, m in rows.items()} for kind, rows in rest["groups"].items()}
        return cls(**{**rest, "metrics": metrics, "interval": interval, "groups": groups})


def evaluate(
    model: Trivium,
    splits: Splits,
    *,
    conditioning: str | None = None,
    sample: int | None = None,
    seed: int = 0,
    leakage: float | None = None,
    groups: bool = False,
    texts: TextGraph | Literal["names"] | None = "names",
    disabled: Collection[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Asks every test triple in both directions and ranks its answer among all entities, other known answers left out.

    Args:
        conditioning: ``own`` or ``forward``; the checkpoint's own by default.
        sample: ask only about this many queries, half in each direction, drawn with ``seed``.
        leakage: carried into the result; see `trivium.datasets.leakage`.
        groups: also report each relation and each direction.
        texts: of the graph's relations, for a model that reads them; by default made from the graph's own names,
            ``None`` leaves them out.
        disabled: parts that are switched off, ``text`` among them (F9).
        progress: called with the queries done and in all.
    """
    model = model if conditioning is None else model.conditioned(conditioning)
    graph = splits.graph
    ranker = Ranker(model, graph, texts=texts, disabled=disabled)
    started = time.monotonic()
    relations, ranks = question_ranks(ranker, splits, sample, seed, progress)
    seconds = time.monotonic() - started
    reciprocal = 1 / ranks.pessimistic
    error = clustered_error(reciprocal, relations % graph.num_relations)
    mean = float(reciprocal.mean())
    return Result(
        dataset=splits.name,
        queries=len(relations),
        seconds=seconds,
        leakage=leakage,
        metrics=by_policy(ranks),
        mrr_error=error,
        interval=(mean - 1.96 * error, mean + 1.96 * error) if len(relations) < 2 * len(splits.test) else None,
        groups=_groups(graph, relations, ranks) if groups else {},
    )


def question_ranks(
    ranker: Ranker,
    splits: Splits,
    sample: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Ids, Ranks]:
    """The asked relation (over ``2 · num_relations``) and the filtered ranks of each test question, ``[queries]``.

    All questions for tails come first, then all for heads; a sample holds as many of both.
    """
    questions = splits.test
    if sample is not None and sample < 2 * len(questions):
        chosen = np.random.default_rng(seed).permutation(len(questions))[: max(1, sample // 2)]
        questions = questions[chosen]
    heads, relations, answers = both_directions(questions, splits.graph.num_relations)
    better, tied = np.zeros((2, len(heads)), np.int64)
    done = 0
    for places, ranks, _ in ranker.ranks(heads, relations, answers, known_graph(splits)):
        better[places], tied[places] = ranks.better, ranks.tied
        done += len(places)
        if progress is not None:
            progress(done, len(heads))
    return relations, Ranks(better, tied)


def known_graph(splits: Splits) -> Graph:
    """The graph with every known fact, which the filtered protocol leaves out of the rivals."""
    graph = splits.graph
    facts = np.concatenate([graph.triples, splits.known.astype(np.int32)])
    return Graph.from_ids(*facts.T, entities=graph.entities, relation_names=graph.relations)


def _groups(graph: Graph, relations: Ids, ranks: Ranks) -> dict[str, dict[str, Metrics]]:
    pessimistic = ranks.pessimistic
    turned = relations >= graph.num_relations
    directions = {"tail": ~turned, "head": turned}
    names = graph.relations.names
    return {
        "direction": {name: Metrics.of(pessimistic[mask]) for name, mask in directions.items()},
        "relation": {
            names[int(relation)]: Metrics.of(pessimistic[relations % graph.num_relations == relation])
            for relation in np.unique(relations % graph.num_relations)
        },
    }


def means(results: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Pessimistic MRR and Hits@10 over all graphs, and over the clean ones (leakage known and under 2.5 %)."""
    clean = [r for r in results if r.leakage is not None and r.leakage < CLEAN]
    out = {}
    for name, rows in (("all", list(results)), ("clean", clean)):
        if rows:
            worst = [r.metrics["pessimistic"] for r in rows]
            mrr, hits = np.mean([m.mrr for m in worst]), np.mean([m.hits_at_10 for m in worst])
            out[name] = {"graphs": len(rows), "mrr": float(mrr), "hits_at_10": float(hits)}
    return out


def write_json(results: Sequence[Result], path: str | Path, force: bool = False) -> None:
    """The results as a JSON list, whole or not at all."""
    import json

    from trivium.files import whole_file

    with whole_file(path, force) as file:
        file.write(json.dumps([r.as_dict() for r in results], indent=2, allow_nan=False).encode())
