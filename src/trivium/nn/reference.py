"""Message passing in plain torch: the meaning of the operator, and the path for tensors on other devices."""

import torch
from jaxtyping import Float
from torch import Tensor

from trivium.kernels.csr import Edges


def propagate_reference(
    state: Float[Tensor, "batch sources dim"],
    relation: Float[Tensor, "shared relations dim"] | None,
    edges: Edges,
    weight: Float[Tensor, " edges"] | None = None,
) -> Float[Tensor, "batch targets dim"]:
    """`trivium.nn.propagate` with every message written out. Cost: a buffer of ``batch · edges · dim`` numbers."""
    sources, relations, targets = (
        torch.tensor(ids, dtype=torch.long, device=state.device)
        for ids in (edges.sources, edges.relations, edges.targets)
    )
    message = state[:, sources]
    if relation is not None:
        message = message * relation[:, relations]
    if weight is not None:
        message = message * weight[:, None]
    out = state.new_zeros(state.shape[0], edges.num_targets, state.shape[2])
    return out.index_add(1, targets, message)
