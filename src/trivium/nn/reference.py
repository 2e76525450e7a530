"""Message passing in plain torch: the meaning of the operator, and the path for tensors on other devices."""

from operator import attrgetter
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from trivium.kernels.csr import Edges

PIECE = 1 << 28  # numbers of messages that are written out together

_moved: WeakKeyDictionary[Edges, dict[tuple[torch.device, str], Tensor]] = WeakKeyDictionary()


def on_device(edges: Edges, device: torch.device, *names: str) -> list[Tensor]:
    """Arrays of edges by name (``sources``, ``by_source.offsets``), as tensors on a device, where they stay."""
    held = _moved.setdefault(edges, {})
    for name in names:
        if (device, name) not in held:
            held[device, name] = torch.tensor(attrgetter(name)(edges), device=device)
    return [held[device, name] for name in names]


def propagate_reference(
    state: Float[Tensor, "batch sources dim"],
    relation: Float[Tensor, "shared relations dim"] | None,
    edges: Edges,
    weight: Float[Tensor, " edges"] | None = None,
    piece: int = PIECE,
) -> Float[Tensor, "batch targets dim"]:
    """`trivium.nn.propagate` with every message written out, on any device.

    Cost: a buffer of ``batch · edges · dim`` numbers, or of ``piece`` where there are more and no gradient is asked.
    """
    ends = on_device(edges, state.device, "sources", "relations", "targets")
    out = state.new_zeros(state.shape[0], edges.num_targets, state.shape[2])
    for part in range(0, len(ends[0]), size := max(1, piece // max(1, state.shape[0] * state.shape[2]))):
        sources, relations, targets = (ids[part : part + size] for ids in ends)
        message = state.index_select(1, sources)
        if relation is not None:
            message = message * relation.index_select(1, relations)
        if weight is not None:
            message = message * weight[part : part + size, None]
        out = out.index_add(1, targets, message)
    return out
