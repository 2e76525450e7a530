"""Message passing, the one operator that every part of the model shares."""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from shutil import which
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from trivium.errors import GraphError
from trivium.kernels.csr import Edges, Runs
from trivium.kernels.sums import edge_products, sum_products
from trivium.nn.reference import propagate_reference

Numbers = NDArray[np.floating]
WIDEST = 256  # numbers in a state that a layer at once has registers for
RunSums = Callable[[Edges, str, Tensor, Tensor | None, Tensor | None], Tensor]
EdgeProducts = Callable[[Edges, Tensor, Tensor | None, Tensor], Tensor]


def propagate(
    state: Float[Tensor, "batch sources dim"],
    relation: Float[Tensor, "shared relations dim"] | None,
    edges: Edges,
    weight: Float[Tensor, " edges"] | None = None,
) -> Float[Tensor, "batch targets dim"]:
    """One round of message passing: each target sums what its incoming edges bring.

    ``out[b, t] = Σ over edges (h, r, t) of weight · state[b, h] ⊙ relation[b, r]``

    The caller adds the boundary. Targets that no edge reaches get zeros. Sources and targets may be different kinds of
    node (entities and relations, say). Differentiable, once, in state, relation and weight.

    Args:
        relation: a first dimension of 1 serves the whole batch; ``None`` means ones.
        edges: sorted by target.
        weight: per edge, no unit; ``None`` means 1.

    Raises:
        GraphError: the state or the relations have another number of rows than the edges need.

    Cost: O(batch · edges · dim) time, no buffer of ``edges`` rows on the CPU and on CUDA.
    Source: Zhu et al., NBFNet (2021), equation 6, with DistMult messages and sum.
    """
    if state.shape[1] != edges.num_sources:
        raise GraphError(f"message passing got {state.shape[1]} states for edges over {edges.num_sources} sources")
    if relation is not None and relation.shape[1] != edges.num_relations:
        raise GraphError(f"message passing got {relation.shape[1]} relations, the edges need {edges.num_relations}")
    if sums_on(state.device) is None:
        return propagate_reference(state, relation, edges, weight)
    out: Tensor = _Propagate.apply(state, relation, weight, edges)  # type: ignore[no-untyped-call]
    return out


def sums_on(device: torch.device) -> tuple[RunSums, EdgeProducts] | None:
    """What sums over edges on a device, and its gradient by the weights: compiled loops on the CPU, Triton's where that
    is installed on CUDA, elsewhere nothing but plain torch."""
    if device.type == "cpu":
        return _run_sums, _edge_products
    if device.type == "cuda" and has_triton():
        from trivium.nn import gpu

        return gpu.run_sums, gpu.edge_products
    return None


def layers_at_once(state: Tensor) -> bool:
    """Whether `trivium.nn.gpu.run_layer` computes a layer of such states: without gradients, on CUDA."""
    wide = state.shape[2] > WIDEST
    return state.is_cuda and not wide and not torch.is_grad_enabled() and has_triton()


@cache
def has_triton() -> bool:
    """Whether Triton is installed, and finds the C compiler that it builds its launcher with."""
    return find_spec("triton") is not None and any(map(which, ("gcc", "clang")))


class _Propagate(torch.autograd.Function):
    """A backend's operator: all three sums are the same loop over edges in another order."""

    @staticmethod
    def forward(ctx: Any, state: Tensor, relation: Tensor | None, weight: Tensor | None, edges: Edges) -> Any:
        state = state.contiguous()
        relation = None if relation is None else relation.contiguous()
        ctx.save_for_backward(state, relation, weight)
        ctx.edges = edges
        ctx.sums = sums_on(state.device)
        return ctx.sums[0](edges, "by_target", state, relation, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        state, relation, weight = ctx.saved_tensors
        grad = grad.contiguous()
        edges: Edges = ctx.edges
        sums, products = ctx.sums
        to_state = to_relation = to_weight = None
        if ctx.needs_input_grad[0]:
            to_state = sums(edges, "by_source", grad, relation, weight)
        if relation is not None and ctx.needs_input_grad[1]:
            to_relation = sums(edges, "by_relation", state, grad, weight)
            if relation.shape[0] == 1 and state.shape[0] > 1:
                to_relation = to_relation.sum(0, keepdim=True)
        if weight is not None and ctx.needs_input_grad[2]:
            to_weight = products(edges, state, relation, grad)
        return to_state, to_relation, to_weight, None


def _run_sums(edges: Edges, order: str, a: Tensor, b: Tensor | None, weight: Tensor | None) -> Tensor:
    runs: Runs = getattr(edges, order)
    batch, _, dim = a.shape
    out = a.new_empty(batch, len(runs.offsets) - 1, dim)
    gains = None if weight is None else _flat(weight.contiguous())
    if gains is not None and runs.positions is not None:
        gains = gains[runs.positions]
    sum_products(runs[:3], gains, _factor(a, a), _factor(b, a), _flat(out), batch, dim)
    return out


def _edge_products(edges: Edges, state: Tensor, relation: Tensor | None, grad: Tensor) -> Tensor:
    out = state.new_empty(len(edges.sources))
    factors = _factor(state, state), _factor(relation, state), _factor(grad, state)
    edge_products(edges.by_target[:3], *factors, out.numpy(), len(state), state.shape[2])
    return out


def _factor(tensor: Tensor | None, like: Tensor) -> tuple[Numbers, int, int]:
    """A factor's numbers, and how far they are from one batch entry and one row to the next: 0 where one serves all."""
    if tensor is None:
        return _flat(like.new_ones(like.shape[2])), 0, 0
    return _flat(tensor), 0 if tensor.shape[0] == 1 else tensor.stride(0), tensor.shape[2]


def _flat(tensor: Tensor) -> Numbers:
    numbers: Numbers = tensor.detach().view(-1).numpy()
    return numbers
