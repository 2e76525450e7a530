"""Watching the fusion while a model trains (requirement F8)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trivium.model.topology import Topology
from trivium.model.trivium import Trivium

SUDDEN = 0.1  # change of a weight between two logs that deserves a warning
LEAST_ACTIVITY = 0.05  # share of queries under which a branch counts as idle


@torch.no_grad()
def fusion_figures(model: Trivium, seen: Sequence[tuple[Topology, Tensor]]) -> dict[str, dict[str, float]]:
    """What the model relies on: by branch its weight, its contribution and its activity.

    The *contribution* is the mean of ``‖w_i Δ_i‖ / ‖r‖`` for the asked relation: a weight says little without the size
    of what it multiplies. The *activity* is the share of queries where ``Δ_i ≠ 0``.

    Args:
        seen: graphs, and asked relations ``[batch]`` over each.
    """
    weights = model.fusion_weights()
    out: dict[str, dict[str, float]] = {"r": {"weight": weights["r"], "contribution": 1.0, "activity": 1.0}}
    ratios = [model.contributions(query, *model.parts(topology, query)) for topology, query in seen]
    for name in model.branches:
        ratio = torch.cat([by_branch[name] for by_branch in ratios])
        out[name] = {
            "weight": weights[name],
            "contribution": abs(weights[name]) * float(ratio.mean()),
            "activity": float((ratio > 0).float().mean()),
        }
    return out


def fusion_warnings(before: dict[str, dict[str, float]] | None, now: dict[str, dict[str, float]]) -> list[str]:
    """Lines for people: a weight that changed suddenly, a branch that hardly ever acts, once."""
    lines = []
    for name, row in now.items():
        if before is not None and abs(row["weight"] - before[name]["weight"]) > SUDDEN:
            lines.append(
                f"fusion weight of {name} went from {before[name]['weight']:.2f} to {row['weight']:.2f} since the last "
                "log: if training is unstable, try a lower learning_rate or fusion_learning_rate, or another start"
            )
        if row["activity"] < LEAST_ACTIVITY and (before is None or before[name]["activity"] >= LEAST_ACTIVITY):
            lines.append(f"{name} acts on {row['activity']:.1%} of the queries: it hardly takes part")
    return lines
