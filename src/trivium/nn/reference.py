"""Message passing in plain torch: the meaning of the operator, and the path for tensors on other devices."""

from jaxtyping import Float
from torch import Tensor

from trivium.nn.edges import Edges


def propagate_reference(
    state: Float[Tensor, "batch sources dim"],
    relation: Float[Tensor, "shared relations dim"] | None,
    edges: Edges,
    weight: Float[Tensor, " edges"] | None = None,
) -> Float[Tensor, "batch targets dim"]:
    """`trivium.nn.propagate` with every message written out. Cost: a buffer of ``batch · edges · dim`` numbers."""
    device = state.device
    message = state[:, edges.sources.long().to(device)]
    if relation is not None:
        message = message * relation[:, edges.relations.long().to(device)]
    if weight is not None:
        message = message * weight[:, None]
    out = state.new_zeros(state.shape[0], edges.num_targets, state.shape[2])
    return out.index_add(1, edges.targets.long().to(device), message)
