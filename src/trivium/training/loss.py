"""The training losses."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional


def ranking_loss(
    scores: Float[Tensor, "questions entities"],
    answer: Int[Tensor, " questions"],
    known: Bool[Tensor, "questions entities"],
    temperature: float = 1.0,
) -> Float[Tensor, ""]:
    """Self-adversarial binary cross-entropy over all entities of the subgraph.

    ``−½ mean( log σ(s⁺) + Σ_j p_j log σ(−s_j) )``, ``p = softmax(s / temperature)`` over the entities that are not
    known to answer, without gradient through ``p``.

    Args:
        known: true where an entity is known to answer, the answer itself included; those are no negatives.

    Source: Sun et al., RotatE (2019), equation 5.
    """
    positive = functional.logsigmoid(scores.gather(1, answer[:, None])).squeeze(1)
    share = torch.softmax(scores.detach().masked_fill(known, float("-inf")) / temperature, 1)
    negative = (share.nan_to_num() * functional.logsigmoid(-scores)).sum(1)
    return -(positive + negative).mean() / 2


def softmax_loss(
    scores: Float[Tensor, "questions entities"],
    answer: Int[Tensor, " questions"],
    known: Bool[Tensor, "questions entities"],
    temperature: float = 1.0,
) -> Float[Tensor, ""]:
    """Cross-entropy of a softmax over the answer and all entities that are not known to answer."""
    rivals = known.scatter(1, answer[:, None], False)
    return functional.cross_entropy(scores.masked_fill(rivals, float("-inf")), answer)


LOSSES = {"adversarial": ranking_loss, "softmax": softmax_loss}
