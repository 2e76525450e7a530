"""The similarity enhancer: the asked relation moves towards the relations most like it."""

import math
from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from trivium.model.topology import Topology

EPSILON = 0.05


class SimilarityEnhancer(nn.Module):
    """A branch: moves the asked relation's representation towards its neighbours by cosine, and no other one.

    With ``s_j`` the cosine of ``q``'s and ``j``'s representations, threshold ``τ`` and temperature ``T`` learned::

        g_j = relu(s_j - τ) · exp((s_j - 1) / T)
        Δ[q] = Σ_{j≠q} g_j (x_j - x_q) / (ε + Σ_{j≠q} g_j)        ε = .05

    Continuous; exactly 0 where no relation is above the threshold; near the weighted mean of several
    neighbours where ``Σ g`` is well above ε. With ε, unlike in a plain mean, ``τ`` has a gradient.

    Args:
        threshold: where ``τ`` starts; see `cosine_quantile`.
        temperature: where ``T`` starts; its logarithm is what is learned, so it stays positive.

    Cost: O(batch · relations · dim).
    """

    def __init__(self, threshold: float = 0.7, temperature: float = 0.5) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(float(threshold)))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))

    def forward(
        self,
        topology: Topology,
        relation: Int[Tensor, " batch"],
        r: Float[Tensor, "batch relations dim"],
        rng: np.random.Generator | None = None,
    ) -> Float[Tensor, "batch relations dim"]:
        """Δ, zero but for the asked relation. Neither the graph nor chance is asked."""
        gains = self.gains(relation, r)
        place = torch.arange(len(relation)), relation
        total = gains.sum(1, keepdim=True)
        towards = torch.einsum("bj,bjd->bd", gains, r) - total * r[place]
        return torch.zeros_like(r).index_put(place, towards / (EPSILON + total))

    def gains(
        self, relation: Int[Tensor, " batch"], r: Float[Tensor, "batch relations dim"]
    ) -> Float[Tensor, "batch relations"]:
        """``g``, 0 for the asked relation itself."""
        similar = cosines(relation, r)
        gain = torch.relu(similar - self.threshold) * ((similar - 1) / self.log_temperature.exp()).exp()
        return gain.scatter(1, relation.long()[:, None], 0.0)

    @torch.no_grad()
    def neighbours(
        self, relation: int, r: Float[Tensor, "relations dim"], count: int | None = None
    ) -> list[tuple[int, float]]:
        """The relations that one relation moves towards, each with its gain ``g_j``, highest first.

        Args:
            r: relation representations conditioned on ``relation``.
            count: how many to give; ``None`` gives all.
        """
        gains = self.gains(torch.tensor([relation]), r[None])[0]
        found = [(j, gain) for j, gain in enumerate(gains.tolist()) if gain > 0]
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:count]


def cosines(
    relation: Int[Tensor, " batch"], r: Float[Tensor, "batch relations dim"]
) -> Float[Tensor, "batch relations"]:
    """The cosine of the asked relation's representation with every one; 0 for zeros."""
    unit = nn.functional.normalize(r, dim=-1)
    return torch.einsum("bd,bjd->bj", unit[torch.arange(len(relation)), relation], unit)


@torch.no_grad()
def cosine_quantile(seen: Iterable[tuple[Tensor, Tensor]], quantile: float = 0.9) -> float:
    """A quantile of the cosines between asked relations and all others: where the threshold should start.

    Args:
        seen: pairs of asked relations ``[batch]`` and ``[batch, relations, dim]`` representations conditioned on them.
        quantile: in [0, 1].
    """
    parts = []
    for relation, r in seen:
        others = torch.ones(r.shape[:2], dtype=torch.bool).scatter(1, relation.long()[:, None], False)
        parts.append(cosines(relation, r)[others])
    values = torch.cat(parts).sort().values
    return float(values[round(quantile * (len(values) - 1))])  # torch.quantile refuses more than 16 million
