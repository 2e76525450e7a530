"""The similarity enhancer against its formula written out."""

from __future__ import annotations

import math

import pytest
import torch
from tests.conftest import graph_of
from torch import Tensor

from trivium.model.enhancers import EPSILON, SimilarityEnhancer, cosine_quantile, cosines
from trivium.model.topology import Topology

TOPOLOGY = Topology(graph_of([[0, 0, 1], [1, 1, 2], [2, 2, 0]], 3, 3))


def representations(batch: int = 4, relations: int = 6, dim: int = 5, seed: int = 0) -> Tensor:
    return torch.randn(batch, relations, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def enhancer(threshold: float = 0.1, temperature: float = 0.4) -> SimilarityEnhancer:
    return SimilarityEnhancer(threshold, temperature).double()


def written_out(query: Tensor, r: Tensor, threshold: float, temperature: float) -> Tensor:
    """The specification's formula, one number at a time."""
    out = torch.zeros_like(r)
    for b, q in enumerate(query.tolist()):
        total, towards = 0.0, torch.zeros_like(r[b, q])
        for j in range(r.shape[1]):
            if j != q:
                s = float(r[b, q] @ r[b, j] / (r[b, q].norm() * r[b, j].norm()))
                g = max(0.0, s - threshold) * math.exp((s - 1) / temperature)
                total += g
                towards += g * (r[b, j] - r[b, q])
        out[b, q] = towards / (EPSILON + total)
    return out


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_formula(seed: int) -> None:
    r = representations(seed=seed)
    query = torch.tensor([0, 5, 3, 3])
    enhance = enhancer()
    expected = written_out(query, r, enhance.threshold.item(), enhance.log_temperature.exp().item())
    assert expected.abs().sum() > 0
    torch.testing.assert_close(enhance(TOPOLOGY, query, r), expected, rtol=1e-10, atol=1e-12)


def test_changes_only_the_asked_row() -> None:
    r = representations()
    query = torch.tensor([1, 4, 0, 2])
    delta = enhancer(-1.0)(TOPOLOGY, query, r)
    acted = (delta != 0).any(-1)
    assert acted.sum() == len(query)
    assert acted[torch.arange(4), query].all()


def test_exactly_zero_where_nothing_is_above_the_threshold() -> None:
    r, query = representations(), torch.tensor([0, 1, 2, 3])
    assert (enhancer(1.01)(TOPOLOGY, query, r) == 0).all()
    assert (enhancer(-1.0)(TOPOLOGY, query, r)[:, 0] != 0).any()
    alone = r[:, :1]
    assert (enhancer(-1.0)(TOPOLOGY, torch.zeros(4, dtype=torch.long), alone) == 0).all()


def test_zero_rows_give_finite_values_and_gradients() -> None:
    r = torch.zeros(2, 3, 4, requires_grad=True)
    delta = SimilarityEnhancer(-0.5)(TOPOLOGY, torch.tensor([0, 1]), r)
    torch.autograd.backward(delta.square().sum())
    assert r.grad is not None
    assert torch.isfinite(delta).all()
    assert torch.isfinite(r.grad).all()


def test_continuous_at_the_threshold() -> None:
    r, query = representations(batch=1), torch.tensor([0])
    highest = float(cosines(query, r)[0, 1:].max())
    sizes = [enhancer(highest - step)(TOPOLOGY, query, r).norm().item() for step in (1e-3, 1e-5, 1e-7, -1e-7)]
    assert sizes[0] > sizes[1] > sizes[2] > sizes[3] == 0
    assert sizes[2] < 1e-4  # in proportion to the step


def test_near_the_weighted_mean_when_several_are_close() -> None:
    generator = torch.Generator().manual_seed(1)
    near = torch.ones(1, 40, 8) + 0.05 * torch.randn(1, 40, 8, generator=generator)
    query = torch.tensor([0])
    enhance = SimilarityEnhancer(0.2)
    moved = near[0, 0] + enhance(TOPOLOGY, query, near)[0, 0]
    g = enhance.gains(query, near)[0, :, None]
    torch.testing.assert_close(moved, (g * near[0]).sum(0) / g.sum(), atol=1e-3, rtol=0)  # ε / Σg = .05 / 30


def test_gradients_reach_threshold_temperature_and_rows() -> None:
    query = torch.tensor([0, 1, 2, 3])
    r = representations().requires_grad_()
    enhance = enhancer()
    torch.autograd.backward(enhance(TOPOLOGY, query, r).square().sum())
    assert all(p.grad is not None and p.grad.abs() > 1e-6 for p in enhance.parameters())
    rows = representations(batch=2, relations=4, dim=3).requires_grad_()
    threshold, log_temperature = enhance.threshold, enhance.log_temperature

    def run(rows: Tensor, threshold: Tensor, log_temperature: Tensor) -> Tensor:
        state = {"threshold": threshold, "log_temperature": log_temperature}
        out: Tensor = torch.func.functional_call(enhance, state, (TOPOLOGY, query[:2], rows))
        return out

    assert torch.autograd.gradcheck(run, (rows, threshold, log_temperature))


def test_renaming_relations_permutes_rows() -> None:
    r, query = representations(), torch.tensor([0, 5, 3, 3])
    order = torch.tensor([3, 0, 5, 1, 2, 4])
    place = order.argsort()
    delta = enhancer()(TOPOLOGY, query, r)
    torch.testing.assert_close(enhancer()(TOPOLOGY, place[query], r[:, order]), delta[:, order])


def test_neighbours_are_named_with_their_weights() -> None:
    r, query = representations(batch=1), torch.tensor([2])
    enhance = enhancer(-0.5)
    found = enhance.neighbours(2, r[0])
    assert found == sorted(found, key=lambda pair: -pair[1])
    weights = torch.zeros(6, dtype=torch.float64)
    for relation, weight in found:
        weights[relation] = weight
    torch.testing.assert_close(weights, enhance.gains(query, r)[0].detach())
    assert enhance.neighbours(2, r[0], count=1) == found[:1]


def test_quantile_of_cosines_leaves_the_query_out() -> None:
    r, query = representations(batch=3), torch.tensor([0, 4, 2])
    values = sorted(float(cosines(query, r)[b, j]) for b in range(3) for j in range(6) if j != int(query[b]))
    assert cosine_quantile([(query, r)], 0.0) == pytest.approx(values[0])
    assert cosine_quantile([(query[:1], r[:1]), (query[1:], r[1:])], 0.9) == pytest.approx(values[round(0.9 * 14)])
    assert cosine_quantile([(query, r)], 1.0) == pytest.approx(values[-1])
    assert values[-1] < 0.99
