"""The similarity enhancer: the asked relation moves towards the relations most like it."""

import math
from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from trivium.errors import ConfigError
from trivium.model.topology import Topology

EPSILON = 0.05


class SimilarityEnhancer(nn.Module):
    """A branch: moves each query's own row towards its neighbours by cosine, and no other row.

    With ``s_j`` the cosine of rows ``q`` and ``j``, threshold ``τ`` and temperature ``T`` learned::

        g_j = relu(s_j - τ) · exp((s_j - 1) / T)
        Δ[q] = Σ_{j≠q} g_j (x_j - x_q) / (ε + Σ_{j≠q} g_j)        ε = .05

    Continuous; exactly 0 where no relation is above the threshold; near the weighted mean of several
    neighbours where ``Σ g`` is well above ε. With ε, unlike in a plain mean, ``τ`` has a gradient.

    Args:
        threshold: where ``τ`` starts; see `cosine_quantile`.
        temperature: where ``T`` starts; its logarithm is what is learned, so it stays positive.

    Raises:
        ConfigError: the threshold is not finite, or the temperature not positive.

    Cost: O(batch · relations · dim).
    """

    def __init__(self, threshold: float = 0.7, temperature: float = 0.5) -> None:
        super().__init__()
        if not math.isfinite(threshold):
            raise ConfigError(f"similarity threshold is {threshold}: give a finite number")
        if not (math.isfinite(temperature) and temperature > 0):
            raise ConfigError(f"similarity temperature is {temperature}: give a positive number")
        self.threshold = nn.Parameter(torch.tensor(float(threshold)))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))

    def forward(
        self,
        topology: Topology,
        query: Int[Tensor, " batch"],
        r: Float[Tensor, "batch relations dim"],
        rng: np.random.Generator | None = None,
    ) -> Float[Tensor, "batch relations dim"]:
        """Δ, zero but for the query's row. Neither the graph nor chance is asked."""
        weights = self.weights(query, r)
        place = torch.arange(len(query)), query
        total = weights.sum(1, keepdim=True)
        towards = torch.einsum("bj,bjd->bd", weights, r) - total * r[place]
        return torch.zeros_like(r).index_put(place, towards / (EPSILON + total))

    def weights(
        self, query: Int[Tensor, " batch"], r: Float[Tensor, "batch relations dim"]
    ) -> Float[Tensor, "batch relations"]:
        """``g``, 0 for the query itself."""
        similar = cosines(query, r)
        gain = torch.relu(similar - self.threshold) * ((similar - 1) / self.log_temperature.exp()).exp()
        return gain.scatter(1, query.long()[:, None], 0.0)

    @torch.no_grad()
    def active(self, query: Int[Tensor, " batch"], r: Float[Tensor, "batch relations dim"]) -> Bool[Tensor, " batch"]:
        """Which queries have a relation above the threshold, so that their Δ is not 0."""
        return (self.weights(query, r) > 0).any(1)

    @torch.no_grad()
    def activity(self, query: Int[Tensor, " batch"], r: Float[Tensor, "batch relations dim"]) -> float:
        """The share of queries in [0, 1] whose Δ is not 0."""
        return float(self.active(query, r).float().mean())

    @torch.no_grad()
    def neighbours(
        self, query: int, r: Float[Tensor, "relations dim"], count: int | None = None
    ) -> list[tuple[int, float]]:
        """The relations that one query moves towards, each with its weight ``g_j``, heaviest first.

        Args:
            r: relation representations seen from ``query``.
            count: the most to give; ``None`` gives all.
        """
        weights = self.weights(torch.tensor([query]), r[None])[0]
        found = [(j, weight) for j, weight in enumerate(weights.tolist()) if weight > 0]
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:count]


def cosines(query: Int[Tensor, " batch"], r: Float[Tensor, "batch relations dim"]) -> Float[Tensor, "batch relations"]:
    """The cosine of the query's row with every row; 0 for a row of zeros."""
    unit = nn.functional.normalize(r, dim=-1)
    return torch.einsum("bd,bjd->bj", unit[torch.arange(len(query)), query], unit)


@torch.no_grad()
def cosine_quantile(seen: Iterable[tuple[Tensor, Tensor]], quantile: float = 0.9) -> float:
    """A quantile of the cosines between asked relations and all others: where the threshold should start.

    Args:
        seen: pairs of queries ``[batch]`` and the representations ``[batch, relations, dim]`` seen from them.
        quantile: in [0, 1].

    Raises:
        ConfigError: there is no pair of relations, or the quantile lies outside [0, 1].
    """
    if not 0 <= quantile <= 1:
        raise ConfigError(f"the quantile is {quantile}: give a number from 0 to 1")
    parts = []
    for query, r in seen:
        others = torch.ones(r.shape[:2], dtype=torch.bool).scatter(1, query.long()[:, None], False)
        parts.append(cosines(query, r)[others])
    values = torch.cat(parts).sort().values if parts else torch.empty(0)
    if not len(values):
        raise ConfigError("no two relations to compare: give representations of a graph with relations")
    return float(values[round(quantile * (len(values) - 1))])  # torch.quantile refuses more than 16 million
