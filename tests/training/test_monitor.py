"""Watching the fusion while a model trains (requirement F8)."""

from pathlib import Path

import pytest
import torch
from tests.conftest import random_graph, small_model, small_training
from torch.nn import functional as F

from trivium.model.enhancers import SimilarityEnhancer
from trivium.model.topology import Topology
from trivium.training.loop import train
from trivium.training.monitor import fusion_figures, fusion_warnings
from trivium.training.run import RunFolder


def test_f8_training_logs_weight_contribution_and_activity(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small_training(steps=8, steps_per_epoch=2, log_every=2)
    run = RunFolder.create(tmp_path / "run", config)
    model = train(config, {}, run).model
    logged = {row["step"]: row["fusion"] for row in run.metrics() if "fusion" in row}
    assert list(logged) == [4, 8]
    last = {name: row["weight"] for name, row in logged[8].items()}
    assert last == pytest.approx(model.fusion_weights())
    assert sum(last.values()) == pytest.approx(1)
    for row in logged[8].values():
        assert 0 <= row["activity"] <= 1
        assert row["contribution"] >= 0
    # the document's monitoring snippet, unchanged but for its stand-ins
    epoch = 10
    if epoch % 10 == 0:
        weights = F.softmax(model.fusion_weights_logits, dim=0)  # type: ignore[arg-type]
        print(f"Epoch {epoch} - Fusion weights: r={weights[0]:.4f}, sim={weights[1]:.4f}, prompt={weights[2]:.4f}")
    assert f"sim={last['similarity']:.4f}" in capsys.readouterr().out


def test_f8_the_figures_by_hand() -> None:
    model = small_model()
    topology, query = Topology(random_graph(1)), torch.tensor([0, 3, 5])
    similarity = model.branches["similarity"]
    assert isinstance(similarity, SimilarityEnhancer)
    with torch.no_grad():
        similarity.threshold.fill_(2.0)  # no cosine reaches it
    found = fusion_figures(model, [(topology, query)])
    assert found["similarity"] == {"weight": pytest.approx(0.1), "contribution": 0.0, "activity": 0.0}
    with torch.no_grad():
        r, deltas = model.parts(topology, query)
    row = torch.arange(3), query
    prompt = deltas["prompt"]
    assert prompt is not None
    expected = 0.4 * (prompt[row].norm(dim=1) / r[row].norm(dim=1)).mean()
    assert found["prompt"]["contribution"] == pytest.approx(float(expected), rel=1e-5)
    (idle,) = fusion_warnings(None, found)
    assert "similarity acts on 0.0% of the queries" in idle
    assert fusion_warnings(found, found) == []


def test_f8_a_sudden_change_names_the_remedies() -> None:
    def at(weight: float) -> dict[str, dict[str, float]]:
        return {"prompt": {"weight": weight, "contribution": 0.1, "activity": 1.0}}

    (line,) = fusion_warnings(at(0.4), at(0.55))
    for words in ("prompt", "0.40 to 0.55", "fusion_learning_rate", "another start"):
        assert words in line
    assert fusion_warnings(at(0.4), at(0.45)) == []
