"""The training loss."""

from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional


def softmax_loss(
    scores: Float[Tensor, "questions entities"],
    answer: Int[Tensor, " questions"],
    known: Bool[Tensor, "questions entities"],
) -> Float[Tensor, ""]:
    """Cross-entropy of a softmax over the answer and all entities that are not known to answer.

    ``−mean log( exp s⁺ / (exp s⁺ + Σ_j exp s_j) )`` over the entities ``j`` of the subgraph that are no known answer.

    Args:
        known: true where an entity is known to answer, the answer itself included; those are no negatives.
    """
    others = known.scatter(1, answer[:, None], False)
    return functional.cross_entropy(scores.masked_fill(others, float("-inf")), answer)
