"""The filtered ranking protocol, zero-shot: every test question in both directions, against all entities."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from trivium.datasets.leakage import leakage as leakage_of
from trivium.datasets.registry import OwnFiles, graph_source, load_dataset
from trivium.datasets.splits import Splits
from trivium.datasets.table import datasets
from trivium.errors import ConfigError
from trivium.evaluation.metrics import Metrics, clustered_error
from trivium.files import digest
from trivium.graph.graph import Graph, inverse
from trivium.graph.read import read_ids
from trivium.inference.answers import Ids, Ranks, both_directions, filtered_ranks, split
from trivium.inference.parts import Compute, Parts, Progress
from trivium.inference.ranker import Ranker, cost_of_reach, model_texts
from trivium.inference.relate import PAIRS, known_relations, relation_scores
from trivium.kernels.csr import IntArray
from trivium.model.checkpoint import Provenance
from trivium.model.trivium import Trivium
from trivium.settings import check_range
from trivium.text.graph import TextGraph

STANDING = "other", "unseen name", "twin in the graph", "in the graph"
HALF_LINKS = "nothing seen", "answer seen", "question seen", "both seen"
FAR = 6  # steps, as many as the default model takes
PART_QUERIES = 500  # between two parts on disk, or of one worker, at most

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """One data set's figures.

    Attributes:
        queries: how many were asked, both directions counted.
        seconds: of evaluation, without loading; of what went on, without what was done before.
        leakage: the share of test triples that the pretraining data holds; ``None`` where that data is not at hand.
        in_graph, twins, unseen: the shares of test triples that the graph that is asked holds, that it holds only under
            a twin of the relation (`Graph.copies`), and that name an entity or a relation without a fact there.
        optimistic, realistic, pessimistic: the metrics under each tie policy.
        mrr_error: standard error of the pessimistic MRR, clustered by relation; ``None`` where only one is asked.
        interval: 95 % interval of the pessimistic MRR, for a sample of the queries; else ``None``.
        groups: pessimistic metrics by kind of query, where that was asked for; see `groups_of`.
    """

    dataset: str
    queries: int
    seconds: float
    leakage: float | None
    in_graph: float
    twins: float
    unseen: float
    optimistic: Metrics
    realistic: Metrics
    pessimistic: Metrics
    mrr_error: float | None
    interval: tuple[float, float] | None
    groups: dict[str, dict[str, Metrics]]


@dataclass(frozen=True, eq=False)
class Questions:
    """Triples to be asked in both directions.

    Attributes:
        graph: what messages pass on.
        triples: ``[n, 3]``, ids of ``graph``.
        known: ``graph`` with every fact that the filtered protocol leaves out of the rivals.
    """

    graph: Graph
    triples: IntArray
    known: Graph

    @classmethod
    def of(cls, splits: Splits) -> Questions:
        """The test questions of a data set."""
        return cls(splits.graph, splits.test, splits.graph.with_triples(splits.known))

    def standing(self) -> Ids:
        """Where each triple stands in the graph already, ``[n]`` places in `STANDING`."""
        sizes = np.bincount(self.graph.triples[:, 1], minlength=self.graph.num_relations)
        heads, relations, tails = self.triples.T
        lone = np.diff(self.graph.offsets) == 0
        out = np.where(lone[heads] | lone[tails] | (sizes[relations] == 0), 1, 0)
        out[self.graph.copies(self.triples)[0]] = 2
        out[self.graph.contains(self.triples)] = 3
        return out

    def sample(self, queries: int, seed: int | list[int]) -> Questions:
        """Triples enough for so many queries, one in each direction; all of them if there are no more."""
        if queries >= 2 * len(self.triples):
            return self
        chosen = np.random.default_rng(seed).permutation(len(self.triples))[: max(1, queries // 2)]
        return replace(self, triples=self.triples[chosen])

    def ranks(self, ranker: Ranker, progress: Progress | None = None, parts: Parts | None = None) -> tuple[Ids, Ranks]:
        """The asked relation (over ``2 · num_relations``) and the filtered ranks of each query, ``[2 · n]``: first all
        queries for tails, then all for heads.

        Args:
            ranker: over ``graph``.
            progress: called with the queries done and in all.
            parts: computes them; in this process and in memory by default.
        """
        heads, relations, answers = both_directions(self.triples, self.graph.num_relations)

        def evaluated(part: Ids) -> pl.DataFrame:
            better, tied = np.zeros((2, len(part)), np.int64)
            for places, ranks, _ in ranker.ranks(heads[part], relations[part], answers[part], self.known):
                better[places], tied[places] = ranks.better, ranks.tied
            return pl.DataFrame({"better": better, "tied": tied})

        order = np.argsort(relations, kind="stable")
        size = ranker.part_size(heads, PART_QUERIES)
        return relations, self._in_parts(ranker, order, size, evaluated, progress, parts)

    def relation_ranks(
        self, ranker: Ranker, progress: Progress | None = None, parts: Parts | None = None
    ) -> tuple[Ids, Ranks]:
        """Each triple's relation and its filtered rank among all relations, ``[n]``; arguments as `ranks`."""
        heads, relations, tails = self.triples.T.astype(np.int64)

        def evaluated(part: Ids) -> pl.DataFrame:
            scores = relation_scores(ranker, heads[part], tails[part])
            known = known_relations(self.known, heads[part], tails[part])
            ranks = filtered_ranks(scores, np.arange(len(scores)), relations[part], known)
            return pl.DataFrame({"better": ranks.better, "tied": ranks.tied})

        return relations, self._in_parts(ranker, np.arange(len(relations)), PAIRS, evaluated, progress, parts)

    def _in_parts(
        self, ranker: Ranker, order: Ids, size: int, compute: Compute, progress: Progress | None, parts: Parts | None
    ) -> Ranks:
        """The ranks ``[queries]`` that are computed in the given order, so many at a time."""

        def request() -> str:
            edges = self.known.sources, self.known.edge_relations, self.known.offsets
            return digest("evaluate", size, ranker.sha256, self.triples, *edges)

        parts = parts or Parts()
        if parts.exact:
            ranker.reproduce()
        found = pl.concat(parts.run(request, split(order, size), compute, progress))
        back = np.argsort(order)
        return Ranks(found["better"].to_numpy()[back], found["tied"].to_numpy()[back])


def evaluate(
    model: Trivium,
    splits: Splits,
    *,
    conditioning: str | None = None,
    sample: int | None = None,
    seed: int = 0,
    leakage: float | None = None,
    groups: bool = False,
    task: Literal["entity", "relation"] = "entity",
    texts: TextGraph | Literal["names"] | None = "names",
    disabled: Collection[str] = (),
    reach: int = 0,
    progress: Progress | None = None,
    parts: Parts | None = None,
) -> Result:
    """Asks every test triple in both directions and ranks its answer among all entities, other known answers left out.

    Args:
        conditioning: ``own`` or ``forward``; the checkpoint's own by default.
        sample: ask only about this many queries, half in each direction, drawn with ``seed``.
        leakage: carried into the result; see `trivium.datasets.leakage`.
        task: what is asked of a triple: its ends, in both directions, or its relation, ``(h, ?, t)``.
        groups: also report the metrics by kind of query; see `groups_of`.
        texts: of the graph's relations, for a model that reads them; by default made from the graph's own names,
            ``None`` leaves them out.
        disabled: parts that are switched off, ``text`` among them (F9).
        reach: entities over which a question spreads, those nearest to its head; 0 for all.
        progress: called with the queries done and in all.
        parts: computes them, and keeps what is done; in this process and in memory by default.

    Raises:
        ConfigError: as `check_asked`.
    """
    check_asked(model, sample, seed, disabled)
    if groups and task == "relation":
        raise ConfigError("groups are of questions for entities: leave groups out, or ask for entities")
    model = model if conditioning is None else model.conditioned(conditioning)
    every = Questions.of(splits)
    questions = every if sample is None else every.sample(sample if task == "entity" else 2 * sample, seed)
    ranker = Ranker(model, splits.graph, texts=texts, disabled=disabled).within(reach)
    if reach:
        log.warning(cost_of_reach(ranker))
    started = time.monotonic()
    relations, ranks = (questions.ranks if task == "entity" else questions.relation_ranks)(ranker, progress, parts)
    seconds = time.monotonic() - started
    reciprocal = 1 / ranks.pessimistic
    _, unseen, twins, held = np.bincount(every.standing(), minlength=len(STANDING)) / len(every.triples)
    error = clustered_error(reciprocal, relations % splits.graph.num_relations)
    mean = float(reciprocal.mean())
    return Result(
        dataset=splits.name,
        queries=len(relations),
        seconds=seconds,
        leakage=leakage,
        in_graph=float(held),
        twins=float(twins),
        unseen=float(unseen),
        optimistic=Metrics.of(ranks.optimistic),
        realistic=Metrics.of(ranks.realistic),
        pessimistic=Metrics.of(ranks.pessimistic),
        mrr_error=error,
        interval=None if questions is every or error is None else (mean - 1.96 * error, mean + 1.96 * error),
        groups=groups_of(questions, relations, ranks) if groups else {},
    )


def evaluate_dataset(
    model: Trivium,
    provenance: Provenance,
    name: str,
    data_dir: str | Path | None = None,
    *,
    own: OwnFiles | None = None,
    reading: Mapping[str, Any] | None = None,
    valid: bool = False,
    descriptions: bool = False,
    exclude: Sequence[Path] = (),
    **choices: Any,
) -> Result:
    """Loads a data set, its relation texts and its leakage, and evaluates; the choices are those of `evaluate`.

    Args:
        own: files instead, which the name is for.
        reading: how files of one's own are read, those of triples known to be wrong among them; see
            `trivium.datasets.registry.OwnFiles`.
        valid: ask the validation questions instead of the test's.
        descriptions: read what the folder of data sets says of the relations in words, where it does; by default only
            their own names are read, which is what a user has.
        exclude: files of triples that are known to be wrong: no rivals of the answers.
    """
    reading = reading or {}
    splits = load_dataset(name, data_dir, **reading) if own is None else own.load(name)
    if valid:
        splits = splits.validation()
    wrong = [read_ids(path, splits.graph, **reading) for path in exclude]
    splits = replace(splits, known=np.concatenate([splits.known, *wrong]))
    _warn_of_standing(splits, every=name not in datasets())
    source = graph_source(name, data_dir) if own is None else own.files["train"]
    texts = model_texts(model, splits.graph, source, data_dir if descriptions else None)
    excluded = {source: provenance.excluded_from(source) for source in provenance.training_data}
    share = leakage_of(provenance.training_data, splits, data_dir, excluded)
    return evaluate(model, splits, leakage=share, texts=texts, **choices)


def _warn_of_standing(splits: Splits, every: bool) -> None:
    """Says what makes questions easier or harder than they look; twins and unseen names of one's ``every`` own data."""
    _, unseen, twins, held = np.bincount(Questions.of(splits).standing(), minlength=len(STANDING)).tolist()
    for count, what in (
        (held, "are in the graph that they are asked on"),
        (twins * every, "have a copy in the graph that they are asked on: `trivium split` keeps copies together"),
        (unseen * every, "name what has no fact in the graph that they are asked on"),
    ):
        if count:
            log.warning("%s: %s of %s asked facts %s", splits.name, count, len(splits.test), what)


def check_asked(model: Trivium, sample: int | None, seed: int, disabled: Collection[str]) -> None:
    """Refuses what cannot be asked, before any work is done for it.

    Raises:
        ConfigError: a sample without a query in each direction, a negative seed, or a part that the model lacks.
    """
    check_range(2, sample=sample)
    check_range(0, seed=seed)
    parts = {*model.branches, *(["text"] if model.semantics is not None else []), *(["chains"] if model.chains else [])}
    for part in disabled:
        if part not in parts:
            has = ", ".join(sorted(parts)) or "no part to switch off"
            raise ConfigError(f"{part} cannot be switched off: this checkpoint has {has}")


def groups_of(questions: Questions, relations: Ids, ranks: Ranks) -> dict[str, dict[str, Metrics]]:
    """Pessimistic metrics by kind of query.

    - ``standing``: see `Questions.standing`;
    - ``direction`` and ``relation``, inverses counted as their relation;
    - ``half-links``: whether the graph has an answer to the question already, and whether it has the answer at this end
      of the relation already: of a question ``(h, r, ?)`` with the answer ``t``, whether any ``(h, r, ·)`` and any
      ``(·, r, t)`` is there;
    - ``distance``: steps from the asked entity to the answer, over edges either way.

    Args:
        relations, ranks: from `Questions.ranks`.
    """
    graph, pessimistic = questions.graph, ranks.pessimistic
    heads, _, answers = both_directions(questions.triples, graph.num_relations)
    turned, asked = relations >= graph.num_relations, relations % graph.num_relations
    every = np.arange(len(heads))
    seen = graph.outgoing(heads)[every, relations]
    met = graph.outgoing(answers)[every, inverse(relations, graph.num_relations)]
    steps = np.zeros(len(heads), np.int64)
    for head in np.unique(heads):
        of_head = heads == head
        steps[of_head] = graph.distances(int(head), FAR)[answers[of_head]]
    names = graph.relations.names
    labels = {
        "standing": np.tile(np.array(STANDING)[questions.standing()], 2),
        "direction": np.where(turned, "head", "tail"),
        "half-links": np.array([HALF_LINKS[2 * q + a] for q, a in zip(seen, met, strict=True)]),
        "distance": np.array([*map(str, range(FAR + 1)), f"over {FAR}"])[steps],
        "relation": names.to_numpy()[asked],
    }
    return {
        kind: {str(name): Metrics.of(pessimistic[label == name]) for name in np.unique(label)}
        for kind, label in labels.items()
    }
