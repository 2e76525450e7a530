"""Metrics of filtered ranking, under three tie policies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Metrics:
    """Means over so many queries. ``mrr`` and the hits lie in (0, 1], more is better; ``mean_rank`` from 1, less is."""

    mrr: float
    mean_rank: float
    hits_at_1: float
    hits_at_3: float
    hits_at_10: float
    queries: int

    @classmethod
    def of(cls, ranks: NDArray[np.floating]) -> Metrics:
        """From ranks ``[queries]``, best is 1."""
        one, three, ten = (float((ranks <= k).mean()) for k in (1, 3, 10))
        return cls(float((1 / ranks).mean()), float(ranks.mean()), one, three, ten, len(ranks))


def clustered_error(values: NDArray[np.floating], clusters: NDArray[np.integer]) -> float | None:
    """The standard error of a mean whose values come in clusters that fail or succeed together.

    ``√( G/(G−1) Σ_g (Σ_{i∈g} (v_i − v̄))² ) / n`` over ``G`` clusters; ``None`` for fewer than two.

    Args:
        values: ``[n]``, a query's reciprocal rank, say.
        clusters: ``[n]``, its relation: failures are per relation, all or nothing.

    Source: Cameron and Miller, A Practitioner's Guide to Cluster-Robust Inference (2015), equation 6, for a mean.
    """
    _, place = np.unique(clusters, return_inverse=True)
    sums = np.bincount(place, values - values.mean())
    groups = len(sums)
    if groups < 2:
        return None
    return float(np.sqrt(groups / (groups - 1) * (sums**2).sum()) / len(values))
