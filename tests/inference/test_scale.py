"""Memory stays bounded where relations are many."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource
import numpy as np
from trivium.graph.graph import Graph
from trivium.inference.ranker import Ranker
from trivium.model.config import ModelConfig
from trivium.model.trivium import Trivium

rng = np.random.default_rng(0)
ids = [rng.integers(0, count, 200_000).astype(np.int32) for count in (40_000, 5_000, 40_000)]
graph = Graph.from_ids(*ids, entities=40_000, relation_names=5_000)
model = Trivium(ModelConfig(use_similarity_enhancer=False, use_prompt_enhancer=False))
ranker = Ranker(model, graph, cache_bytes=64 << 20)
asked = graph.triples[:60].astype(np.int64)
table = ranker.scores(asked[:, 0], asked[:, 1])
assert table.shape == (60, 40_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


@pytest.mark.slow
def test_five_thousand_relations_answer_in_under_two_gigabytes() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 2.0
