"""Message passing in Triton, on GPUs: the sums of `trivium.nn.propagate`, and a whole layer without gradients.

Each program sums one run of sorted edges, or sixteen, in their order: no atomics, so results are the same each time.
Products are float32 throughout.
"""

# mypy: disable-error-code="no-untyped-def"

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from trivium.kernels.csr import Edges
from trivium.nn.reference import on_device

EDGES = 16  # read together
ROWS = 16  # of a layer's tile, the least that the processor multiplies
HOW = {"enable_fp_fusion": True}  # a product and its sum are rounded once; Triton asks that it be said
PANEL = 32  # columns that are summed and multiplied together


@triton.jit
def _run_sums(
    offsets, first, second, weight, a, b, out, dim, a_batch, b_batch, EDGES: tl.constexpr, COLUMNS: tl.constexpr
):
    """``out[n, k] = Σ over edges e of run k of weight[e] · a[n, first[e]] ⊙ b[n, second[e]]``, for one ``(k, n)``."""
    run, n = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    columns = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    inside = columns < dim
    end = tl.load(offsets + run + 1)
    total = tl.zeros((COLUMNS,), out.dtype.element_ty)
    for edge in range(tl.load(offsets + run), end, EDGES):
        edges = edge + tl.arange(0, EDGES)
        held = edges < end
        cells = held[:, None] & inside[None, :]
        i = tl.load(first + edges, mask=held, other=0).to(tl.int64)[:, None] * dim + columns[None, :]
        part = tl.load(a + n * a_batch + i, mask=cells, other=0.0)
        if b is not None:
            j = tl.load(second + edges, mask=held, other=0).to(tl.int64)[:, None] * dim + columns[None, :]
            part *= tl.load(b + n * b_batch + j, mask=cells, other=0.0)
        if weight is not None:
            part *= tl.load(weight + edges, mask=held, other=0.0)[:, None]
        total += tl.sum(part, 0)
    tl.store(out + (n * tl.num_programs(0) + run) * dim + columns, total, mask=inside)


@triton.jit
def _edge_products(
    sources, relations, targets, a, b, c, out, edges, batch, dim, a_batch, b_batch, c_batch,
    EDGES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """``out[e] = Σ over n, d of a[n, source] · b[n, relation] · c[n, target]``, for some edges."""
    at = tl.program_id(0).to(tl.int64) * EDGES + tl.arange(0, EDGES)
    held = at < edges
    source = tl.load(sources + at, mask=held, other=0).to(tl.int64)[:, None] * dim
    target = tl.load(targets + at, mask=held, other=0).to(tl.int64)[:, None] * dim
    relation = tl.load(relations + at, mask=held, other=0).to(tl.int64)[:, None] * dim
    total = tl.zeros((EDGES,), out.dtype.element_ty)
    for n in range(batch):
        for column in range(0, dim, COLUMNS):
            columns = column + tl.arange(0, COLUMNS)[None, :]
            cells = held[:, None] & (columns < dim)
            part = tl.load(a + n * a_batch + source + columns, mask=cells, other=0.0)
            part *= tl.load(c + n * c_batch + target + columns, mask=cells, other=0.0)
            if b is not None:
                part *= tl.load(b + n * b_batch + relation + columns, mask=cells, other=0.0)
            total += tl.sum(part, 1)
    tl.store(out + at, total, mask=held)


@triton.jit
def _layer(
    offsets, sources, relations, state, factor, boundary, weight, bias, gain, shift, out, count, dim, factor_batch,
    epsilon, ROWS: tl.constexpr, EDGES: tl.constexpr, PANEL: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """``out = x + ReLU(LN(W [x ; Σ x_source ⊙ factor_relation + boundary]))`` for some rows of one batch entry."""
    tile, n = tl.program_id(0), tl.program_id(1).to(tl.int64)
    places = tl.arange(0, ROWS)
    rows = tile * ROWS + places
    columns = tl.arange(0, COLUMNS)
    inside = columns < dim
    start = n * count * dim
    linear = tl.zeros((ROWS, COLUMNS), tl.float32) + tl.load(bias + columns, mask=inside, other=0.0)[None, :]
    for first in range(0, dim, PANEL):
        panel = first + tl.arange(0, PANEL)
        within = panel < dim
        here = start + rows.to(tl.int64)[:, None] * dim + panel[None, :]
        cells = (rows < count)[:, None] & within[None, :]
        own = tl.load(state + here, mask=cells, other=0.0)
        message = tl.zeros((ROWS, PANEL), tl.float32)
        if boundary is not None:
            message += tl.load(boundary + here, mask=cells, other=0.0)
        for place in range(ROWS):
            row = tl.minimum(tile * ROWS + place, count - 1)
            end = tl.load(offsets + row + 1)
            total = tl.zeros((PANEL,), tl.float32)
            for edge in range(tl.load(offsets + row), end, EDGES):
                edges = edge + tl.arange(0, EDGES)
                held = edges < end
                some = held[:, None] & within[None, :]
                i = tl.load(sources + edges, mask=held, other=0).to(tl.int64)[:, None] * dim + panel[None, :]
                j = tl.load(relations + edges, mask=held, other=0).to(tl.int64)[:, None] * dim + panel[None, :]
                sent = tl.load(state + start + i, mask=some, other=0.0)
                total += tl.sum(sent * tl.load(factor + n * factor_batch + j, mask=some, other=0.0), 0)
            message += tl.where((places == place)[:, None], total[None, :], 0.0)
        block = panel[:, None] * dim + columns[None, :]  # of the weight, which comes turned: [2 · dim, dim]
        both = within[:, None] & inside[None, :]
        for_own = tl.load(weight + block, mask=both, other=0.0)
        for_message = tl.load(weight + dim * dim + block, mask=both, other=0.0)
        linear += tl.dot(own, for_own, input_precision="ieee")
        linear += tl.dot(message, for_message, input_precision="ieee")
    linear -= (tl.sum(linear, 1) / dim)[:, None]
    linear = tl.where(inside[None, :], linear, 0.0)
    linear *= tl.rsqrt(tl.sum(linear * linear, 1) / dim + epsilon)[:, None]
    linear *= tl.load(gain + columns, mask=inside, other=0.0)[None, :]
    linear += tl.load(shift + columns, mask=inside, other=0.0)[None, :]
    here = start + rows.to(tl.int64)[:, None] * dim + columns[None, :]
    cells = (rows < count)[:, None] & inside[None, :]
    before = tl.load(state + here, mask=cells, other=0.0)
    tl.store(out + here, before + tl.maximum(linear, 0.0), mask=cells)


def run_sums(edges: Edges, order: str, a: Tensor, b: Tensor | None, weight: Tensor | None) -> Tensor:
    """The sum of each run of an order of edges, ``[batch, runs, dim]``; ``a`` and ``b`` are contiguous."""
    names = (f"{order}.{name}" for name in ("offsets", "first", "second"))
    offsets, first, second = on_device(edges, a.device, *names)
    if weight is not None and getattr(edges, order).positions is not None:
        weight = weight[on_device(edges, a.device, f"{order}.positions")[0]]
    out = a.new_empty(len(a), len(offsets) - 1, a.shape[2])
    columns = min(128, triton.next_power_of_2(a.shape[2]))
    grid = len(offsets) - 1, len(a), triton.cdiv(a.shape[2], columns)
    weight = None if weight is None else weight.contiguous()
    _run_sums[grid](offsets, first, second, weight, a, b, out, a.shape[2], _step(a), _step(b), EDGES, columns, **HOW)
    return out


def edge_products(edges: Edges, state: Tensor, relation: Tensor | None, grad: Tensor) -> Tensor:
    """The gradient by each edge's weight, ``[edges]``."""
    ends = on_device(edges, state.device, "sources", "relations", "targets")
    out = state.new_empty(len(ends[0]))
    sizes = len(out), len(state), state.shape[2]
    columns = min(128, triton.next_power_of_2(state.shape[2]))
    steps = _step(state), _step(relation), _step(grad)
    _edge_products[(triton.cdiv(len(out), EDGES),)](
        *ends, state, relation, grad, out, *sizes, *steps, EDGES, columns, **HOW
    )
    return out


def run_layer(
    state: Tensor, factor: Tensor, edges: Edges, boundary: Tensor | None, linear: nn.Linear, norm: nn.LayerNorm
) -> Tensor:
    """An entity layer's new state, ``[batch, entities, dim]``, without gradients; see `_layer`."""
    state, factor = state.contiguous(), factor.contiguous()
    batch, count, dim = state.shape
    runs = on_device(edges, state.device, "offsets", "sources", "relations")
    out = torch.empty_like(state)
    weights: tuple[Any, ...] = linear.weight.t().contiguous(), linear.bias, norm.weight, norm.bias
    columns = max(16, triton.next_power_of_2(dim))
    _layer[(triton.cdiv(count, ROWS), batch)](
        *runs, state, factor, None if boundary is None else boundary.contiguous(), *weights, out,
        count, dim, _step(factor), norm.eps, ROWS, EDGES, PANEL, columns, **HOW,
    )  # fmt: skip
    return out


def _step(tensor: Tensor | None) -> int:
    """Elements from one batch entry to the next; 0 where one serves all."""
    return 0 if tensor is None or len(tensor) == 1 else tensor.stride(0)
