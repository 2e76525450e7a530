"""Triton's kernels, by Triton's own interpreter on the CPU, and compiled for a GPU that need not be there."""

import os
import subprocess
import sys

os.environ["TRITON_INTERPRET"] = "1"  # before the kernels are decorated

import pytest
import torch
from tests.conftest import random_graph
from torch import nn

pytest.importorskip("triton", reason="there is no Triton but for Linux")

from trivium.model.encoders import EntityLayer
from trivium.model.topology import Topology
from trivium.nn import gpu, propagate

EDGES = Topology(random_graph(1, entities=21, triples=60)).edges  # two tiles of rows, some without edges


@pytest.mark.parametrize("dim", [3, 160])
@pytest.mark.parametrize("shared", [1, 2, None])
@pytest.mark.parametrize("weighted", [True, False])
def test_the_sum_and_its_three_gradients(
    dim: int, shared: int | None, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    shapes = (2, 21, dim), (shared or 1, EDGES.num_relations, dim), (len(EDGES.sources),)
    state, relation, weight = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    given = [state, *([relation] if shared else []), *([weight] if weighted else [])]

    def run() -> tuple[torch.Tensor, ...]:
        out = propagate.propagate(state, relation if shared else None, EDGES, weight if weighted else None)
        return out.detach(), *torch.autograd.grad(out.square().sum(), given)

    ours = run()
    monkeypatch.setattr(propagate, "sums_on", lambda _: (gpu.run_sums, gpu.edge_products))
    for triton, compiled in zip(run(), ours, strict=True):
        torch.testing.assert_close(triton, compiled, rtol=1e-12, atol=1e-12)  # the same doubles in another order


@pytest.mark.parametrize(("dim", "with_boundary"), [(32, False), (40, True), (96, True)])
def test_a_layer_at_once(dim: int, with_boundary: bool) -> None:
    torch.manual_seed(0)
    layer = EntityLayer(dim, nn.Identity())
    state, boundary = torch.randn(2, 2, 21, dim)
    relation = torch.randn(1, EDGES.num_relations, dim)
    given = boundary if with_boundary else None
    with torch.no_grad():
        expected = layer(Topology(random_graph(1, entities=21, triples=60)), state, relation, given)
        ours = gpu.run_layer(state, relation, EDGES, given, layer.linear, layer.norm)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)  # float sums in another order


COMPILE = """
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from trivium.nn import gpu

ids, numbers, size = "*i32", "*fp32", "i32"
sums = ["*i64", ids, ids, *[numbers] * 4, *[size] * 3, 16, 64]
edges = [ids, ids, ids, *[numbers] * 4, *[size] * 6, 16, 64]
layer = ["*i64", ids, ids, *[numbers] * 8, *[size] * 3, "fp32", 16, 16, 32, 64]
for kernel, kinds in ((gpu._run_sums, sums), (gpu._edge_products, edges), (gpu._layer, layer)):
    signature = dict(zip(kernel.arg_names, kinds, strict=True))
    fixed = {(i,): kind for i, kind in enumerate(kinds) if isinstance(kind, int)}
    signature = {name: "constexpr" if isinstance(kind, int) else kind for name, kind in signature.items()}
    made = compile(ASTSource(kernel, signature, fixed), GPUTarget("cuda", 80, 32), {"enable_fp_fusion": True})
    assert len(made.asm["cubin"]) and "st.local" not in made.asm["ptx"]
"""


def test_the_kernels_compile_for_a_gpu() -> None:
    """The interpreter takes Python that the compiler refuses."""
    apart = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", COMPILE], env=apart, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
