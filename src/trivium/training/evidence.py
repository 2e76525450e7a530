"""What an ablation shows: paired differences with intervals, and the start that they suggest (F10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trivium.errors import InputError
from trivium.model.fusion import start_weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEFAULTS = {"similarity": 0.2, "prompt": 0.8}
TOGETHER = sum(DEFAULTS.values())  # what the branches start with together, beside 1 for r
LEAST = 0.05  # start of a branch whose gain was not shown while the other's was: 0 has no logit


@dataclass(frozen=True, eq=False)
class Scores:
    """One arm with one seed on one graph.

    Attributes:
        relations: ``[questions]``, of each question.
        reciprocal: ``[questions]``, 1 / pessimistic filtered rank; the same questions for every arm and seed.
    """

    arm: str
    seed: int
    graph: str
    relations: NDArray[np.int64]
    reciprocal: NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """An arm beside the first one.

    Attributes:
        mrr: mean over graphs and seeds.
        gain: the mean paired difference of the MRR.
        low, high: its 95 % interval.
        graphs: MRR by graph, mean over seeds.
        seeds: how many.
        first: whether it is the one that the others are compared with.
    """

    arm: str
    mrr: float
    gain: float
    low: float
    high: float
    graphs: Mapping[str, float] = field(default_factory=dict)
    seeds: int = 0
    first: bool = False

    @property
    def shown(self) -> bool:
        """Whether the gain is above 0 with all of its interval."""
        return self.low > 0

    @property
    def verdict(self) -> str:
        if self.first:
            return ""
        return "shown" if self.shown else "shown, a loss" if self.high < 0 else "not shown"


@dataclass(frozen=True)
class Start:
    """Where the fusion weights should start, beside 1 for ``r``, and why."""

    similarity: float
    prompt: float
    evidence: tuple[str, ...]


def differences(scores: Sequence[Scores], resamples: int = 10_000, seed: int = 0) -> list[Difference]:
    """Each arm's paired difference against the first, question by question, in the order of the arms.

    The interval is a percentile bootstrap over all that varies by chance: each resample draws seeds, graphs, and
    within each graph relations (questions of one relation fail or succeed together), all with replacement. With three
    seeds and a handful of graphs such an interval is, if anything, too narrow: read one that barely leaves 0 out with
    caution.

    Raises:
        InputError: an arm lacks a seed or a graph that another has.

    Cost: O(resamples · relations) for each arm.
    """
    table = {(s.arm, s.seed, s.graph): s for s in scores}
    arms, seeds, graphs = (
        list(dict.fromkeys(s.arm for s in scores)),
        list(dict.fromkeys(s.seed for s in scores)),
        list(dict.fromkeys(s.graph for s in scores)),
    )
    if len(table) != len(arms) * len(seeds) * len(graphs):
        raise InputError("the ablation is incomplete: every arm needs each seed and each graph")
    out = []
    for arm in arms:
        rng = np.random.default_rng(seed)  # the same draws for every arm
        seed_draws = rng.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), resamples) / len(seeds)
        graph_draws = rng.multinomial(len(graphs), np.full(len(graphs), 1 / len(graphs)), resamples) / len(graphs)
        gain, resampled = 0.0, np.zeros(resamples)
        for place, graph in enumerate(graphs):
            _, cluster, count = np.unique(
                table[arm, seeds[0], graph].relations, return_inverse=True, return_counts=True
            )
            paired = [table[arm, s, graph].reciprocal - table[arms[0], s, graph].reciprocal for s in seeds]
            sums = np.stack([np.bincount(cluster, row, len(count)) for row in paired])
            drawn = rng.multinomial(len(count), np.full(len(count), 1 / len(count)), resamples)
            resampled += graph_draws[:, place] * (seed_draws @ sums * drawn).sum(1) / (drawn @ count)
            gain += float(np.mean(paired)) / len(graphs)
        low, high = np.quantile(resampled, [0.025, 0.975])
        by_graph = {g: float(np.mean([table[arm, s, g].reciprocal for s in seeds])) for g in graphs}
        mrr = float(np.mean(list(by_graph.values())))
        out.append(Difference(arm, mrr, gain, float(low), float(high), by_graph, len(seeds), arm == arms[0]))
    return out


def suggest(rows: Mapping[str, Difference]) -> Start:
    """The start of the fusion weights that an ablation speaks for (F10).

    Together the branches start with 1, as much as ``r``, as in the source document, and share it in proportion to the
    gains that were shown. A branch without one, where the other has one, starts at 0.05: training can raise it, and 0
    has no logit. Where no gain was shown, the document's 0.2 and 0.8 stand.

    Args:
        rows: by arm, of which ``+ similarity`` and ``+ prompt`` count.
    """
    found = {branch: rows.get(f"+ {branch}") for branch in DEFAULTS}
    gains = {branch: row.gain for branch, row in found.items() if row is not None and row.shown}
    if not gains:
        start = dict(DEFAULTS)
        reason = "no gain was shown: the document's start stands"
    elif len(gains) == len(DEFAULTS):
        start = {branch: TOGETHER * gain / sum(gains.values()) for branch, gain in gains.items()}
        reason = "in proportion to the gains that were shown"
    else:
        (better,) = gains
        start = {branch: TOGETHER - LEAST if branch == better else LEAST for branch in DEFAULTS}
        (other,) = set(DEFAULTS) - {better}
        reason = f"only {better} showed a gain: {other} starts low, or switch it off with use_{other}_enhancer: false"
    start = {branch: round(min(max(weight, LEAST), TOGETHER - LEAST), 3) for branch, weight in start.items()}
    lines = [
        f"+ {branch}: {row.gain:+.4f} MRR [{row.low:+.4f}, {row.high:+.4f}], "
        f"{len(row.graphs)} graphs, {row.seeds} seeds: {row.verdict}"
        for branch, row in found.items()
        if row is not None
    ]
    parts = ", ".join(f"{branch}_enhancer_weight: {weight}" for branch, weight in start.items())
    fused = ", ".join(f"{weight:.3f}" for weight in start_weights(start))
    lines.append(f"suggested start: {parts} (fusion weights {fused}); {reason}")
    return Start(start["similarity"], start["prompt"], tuple(lines))


def table_of(rows: Sequence[Difference]) -> pl.DataFrame:
    """A row per arm: mean MRR, difference, interval, verdict, then the MRR by graph."""
    return pl.DataFrame(
        [
            {"arm": row.arm, "MRR": row.mrr, "difference": row.gain, "low": row.low, "high": row.high}
            | {"verdict": row.verdict, **row.graphs}
            for row in rows
        ]
    )


def draw(rows: Sequence[Difference]) -> Figure:
    """The table as a picture: each arm's difference with its interval, its MRR and its verdict."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.2 + 0.45 * len(rows)), layout="constrained")
    panel = figure.subplots()
    for place, row in enumerate(rows):
        reach = [[row.gain - row.low], [row.high - row.gain]]
        color = "C0" if row.shown else "C3" if row.high < 0 else "0.6"
        panel.errorbar([row.gain], [place], xerr=np.maximum(reach, 0), fmt="o", capsize=3, color=color)
    panel.axvline(0, color="0.3", linewidth=0.8)
    panel.set_yticks(range(len(rows)), [f"{row.arm} ({row.mrr:.3f})" for row in rows])
    panel.invert_yaxis()
    beside = panel.secondary_yaxis("right")
    beside.set_yticks(range(len(rows)), [row.verdict for row in rows])
    panel.set_xlabel(f"difference of the MRR from {rows[0].arm}, 95 % interval; in brackets the MRR")
    return figure
