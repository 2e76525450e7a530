"""Fusion of relation representations: learned or fixed weights over the structural one and any number of branches.

A branch, or enhancer, is a module ``(topology, relation, r, rng=…) -> Δ``: from the graph, the asked relations and
``r`` it makes a change of ``r``, ``[batch, relations, dim]``.
"""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trivium.errors import ConfigError


def start_weights(weights: Mapping[str, float]) -> list[float]:
    """``[1, w₁, w₂, …]`` normalised to sum 1: the fusion weights that training starts from (requirement F4).

    Args:
        weights: each branch's unnormalised weight beside the structural representation's 1, finite.

    Raises:
        ConfigError: a weight is negative, or 0 (it has no finite logit).
    """
    for name, weight in weights.items():
        key = f"{name}_enhancer_weight"
        if weight <= 0:
            advice = f"a learnable fusion needs a positive start, or use_{name}_enhancer: false"
            raise ConfigError(f"{key} is {weight}, which has no logit: {advice}")
    total = 1.0 + sum(weights.values())
    return [1.0 / total, *(weight / total for weight in weights.values())]


class Fusion(nn.Module):
    """``final = w₀ r + Σ w_i (r + Δ_i)``, ``w = softmax(logits)``; or, fixed, ``final = r + Σ c_i Δ_i``.

    Because the weights sum to 1, the first equals ``r + Σ w_i Δ_i``, which is what is computed: one form for both
    modes, and exactly ``r`` when no branch acts.

    Args:
        weights: each branch's name and its configured weight: the start in learnable mode, the coefficient in fixed.
        learnable: whether the weights are trained.

    Raises:
        ConfigError: a weight that is not finite, or has no place in learnable mode; see `start_weights`.

    Source: requirements F1-F6 and F9 of the fusion specification (docs/how-it-works.md).
    """

    fusion_weights_logits: nn.Parameter | None
    coefficients: Tensor

    def __init__(self, weights: Mapping[str, float], learnable: bool) -> None:
        super().__init__()
        self.names = tuple(weights)
        self.fusion_weights_logits = None
        for name, weight in weights.items():
            if not math.isfinite(weight):
                raise ConfigError(f"{name}_enhancer_weight is {weight}: give a finite number")
        if not weights:
            return
        if learnable:
            self.fusion_weights_logits = nn.Parameter(torch.log(torch.tensor(start_weights(weights), device="cpu")))
        else:
            self.register_buffer("coefficients", torch.tensor(list(weights.values())))

    def forward(
        self, r: Float[Tensor, "batch relations dim"], deltas: Mapping[str, Tensor | None]
    ) -> Float[Tensor, "batch relations dim"]:
        """Joins ``r`` and the branches' changes; a branch that is missing or ``None`` counts as Δ = 0 (F9)."""
        weights = self.by_part()
        for place, name in enumerate(self.names, 1):
            delta = deltas.get(name)
            if delta is not None:
                r = r + weights[place] * delta
        return r

    def by_part(self) -> Float[Tensor, " parts"]:
        """The weights of ``r`` and of each Δ. In fixed mode ``r`` has 1 and nothing is normalised."""
        if self.fusion_weights_logits is not None:
            return torch.softmax(self.fusion_weights_logits, 0)
        if not self.names:
            return torch.ones(1)
        return torch.cat([self.coefficients.new_ones(1), self.coefficients])

    def weights(self) -> dict[str, float]:
        """`by_part`, by name: ``r`` and the branches."""
        return dict(zip(("r", *self.names), self.by_part().tolist(), strict=True))
