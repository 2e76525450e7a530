"""Fusion of relation representations: requirements F1 to F7 and F9, with made-up branches and with the real ones.

F8 and F10 belong to training: tests/training/.
"""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tests.conftest import random_graph, small_model
from torch import nn
from torch.nn import functional as F

from trivium.errors import ConfigError
from trivium.model.config import ModelConfig
from trivium.model.enhancers import SimilarityEnhancer
from trivium.model.flags import MAPPED, NOT_USED, read_flags
from trivium.model.fusion import Fusion
from trivium.model.topology import Topology
from trivium.model.trivium import Trivium

START = {"similarity": 0.2, "prompt": 0.8}
PUBLIC_KEYS = (
    "run LLM rg2_embedding k model_embed topx threshold embedding_combiner eval_on_valid "
    "use_cos_sim_weights gpus harder_setting is-inverse-relation-classify base_path ckpt_path models_path "
    "kg_datasets_path openrouter_path similarity_threshold_init enhancement_strength_init "
    "max_similar_relations num_prompt_samples max_hops use_adaptive_gate use_enhancement_confidence "
    "use_entity_enhancement use_kg_icl_prompt use_kg_icl_in_training prompt_num_layers "
    "prompt_num_examples prompt_max_hops use_similarity_enhancer use_prompt_enhancer use_learnable_fusion "
    "similarity_enhancer_weight prompt_enhancer_weight "
).split()


def made_up(seed: int = 0) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    r, sim, prompt = (torch.randn(2, 6, 8, generator=generator) for _ in range(3))
    return r, {"similarity": sim, "prompt": prompt}


def test_f1_weights_are_the_softmax_of_three_logits() -> None:
    fusion = Fusion(START, learnable=True)
    assert fusion.fusion_weights_logits is not None
    fusion.fusion_weights_logits.data = torch.tensor([0.3, -1.0, 2.0])
    r, similarity, prompt = (math.exp(x) for x in (0.3, -1.0, 2.0))
    total = r + similarity + prompt
    expected = {"r": r / total, "similarity": similarity / total, "prompt": prompt / total}
    assert fusion.weights() == pytest.approx(expected)


def test_f2_final_is_the_weighted_sum_of_the_three_ways() -> None:
    """Also the document's forward snippet, unchanged but for `self`."""
    fusion = Fusion(START, learnable=True)
    r, deltas = made_up()
    self = SimpleNamespace(use_learnable_fusion=True, fusion_weights_logits=fusion.fusion_weights_logits)
    r1_delta, r2_delta = deltas["similarity"], deltas["prompt"]
    if self.use_learnable_fusion:
        fusion_weights = F.softmax(self.fusion_weights_logits, dim=0)
        r1 = r + r1_delta
        r2 = r + r2_delta
        final = fusion_weights[0] * r + fusion_weights[1] * r1 + fusion_weights[2] * r2
    torch.testing.assert_close(fusion(r, deltas), final, rtol=0, atol=1e-6)


def test_f3_weights_stay_a_distribution_whatever_training_does() -> None:
    fusion = Fusion(START, learnable=True)
    optimizer = torch.optim.SGD(fusion.parameters(), lr=50.0)
    for seed in range(20):
        r, deltas = made_up(seed)
        optimizer.zero_grad()
        fusion(r, deltas).square().sum().backward()
        optimizer.step()
        values = list(fusion.weights().values())
        assert all(0 <= value <= 1 for value in values)
        assert sum(values) == pytest.approx(1, abs=1e-6)


def test_f4_start_from_the_documents_numbers() -> None:
    """Also the document's initialisation snippet, unchanged but for `self`."""
    self = SimpleNamespace(use_learnable_fusion=True, similarity_enhancer_weight=0.2, prompt_enhancer_weight=0.8)
    if self.use_learnable_fusion:
        initial_r_weight = 1.0
        initial_sim_weight = self.similarity_enhancer_weight
        initial_prompt_weight = self.prompt_enhancer_weight
        total = initial_r_weight + initial_sim_weight + initial_prompt_weight
        initial_weights = torch.tensor(
            [initial_r_weight / total, initial_sim_weight / total, initial_prompt_weight / total]
        )
        logits = torch.log(initial_weights)
        self.fusion_weights_logits = nn.Parameter(logits)
    model = Trivium(ModelConfig())
    assert model.fusion_weights_logits is not None
    torch.testing.assert_close(model.fusion_weights_logits, self.fusion_weights_logits)
    assert model.fusion_weights_logits.tolist() == pytest.approx([-0.6931, -2.3026, -0.9163], abs=1e-4)
    assert list(model.fusion_weights().values()) == pytest.approx([0.5, 0.1, 0.4])


@pytest.mark.parametrize(
    ("weight", "advice"),
    [(0.0, "use_similarity_enhancer: false"), (-0.1, "positive"), (math.nan, "finite"), (math.inf, "finite")],
)
def test_f4_a_start_without_a_logit_is_refused(weight: float, advice: str) -> None:
    with pytest.raises(ConfigError, match=f"similarity_enhancer_weight is .*{advice}"):
        Fusion({"similarity": weight, "prompt": 0.8}, learnable=True)


def test_f5_weight_decay_moves_no_logit() -> None:
    from trivium.training.config import SourceConfig, TrainingConfig
    from trivium.training.trainer import Trainer

    trainer = Trainer(TrainingConfig((SourceConfig("synthetic"),), weight_decay=0.5))
    logits = trainer.model.fusion_weights_logits
    assert logits is not None
    before = logits.detach().clone()
    for _ in range(1000):
        for parameter in trainer.model.parameters():
            parameter.grad = torch.zeros_like(parameter) if parameter is logits else None
        trainer.optimizer.step()
    assert torch.equal(before, logits)


@pytest.mark.parametrize("weights", [(0.2, 0.8), (0.0, -3.0)])
def test_f6_fixed_mode_is_neither_normalised_nor_trained(weights: tuple[float, float]) -> None:
    u, theta = weights
    fusion = Fusion({"similarity": u, "prompt": theta}, learnable=False)
    r, deltas = made_up()
    torch.testing.assert_close(fusion(r, deltas), r + u * deltas["similarity"] + theta * deltas["prompt"])
    assert list(fusion.parameters()) == []
    assert fusion.weights() == pytest.approx({"r": 1.0, "similarity": u, "prompt": theta})
    with pytest.raises(ConfigError, match="prompt_enhancer_weight is inf"):
        Fusion({"similarity": u, "prompt": math.inf}, learnable=False)


def test_f6_learnable_mode_is_fixed_mode_with_trained_coefficients() -> None:
    fusion = Fusion(START, learnable=True)
    r, deltas = made_up()
    weights = fusion.weights()
    fixed = Fusion({name: weights[name] for name in START}, learnable=False)
    torch.testing.assert_close(fusion(r, deltas), fixed(r, deltas), rtol=0, atol=1e-6)


def test_f7_keys_and_defaults(tmp_path: Path) -> None:
    config = ModelConfig()
    assert config.use_learnable_fusion is True
    assert (config.similarity_enhancer_weight, config.prompt_enhancer_weight) == (0.2, 0.8)
    path = tmp_path / "flags.yaml"
    path.write_text("use_learnable_fusion: False\nsimilarity_enhancer_weight: 0.5\nprompt_enhancer_weight: 1\n")
    expected = ModelConfig(use_learnable_fusion=False, similarity_enhancer_weight=0.5, prompt_enhancer_weight=1.0)
    assert read_flags(path) == (expected, {})


def test_f7_a_file_with_every_public_key_loads(tmp_path: Path) -> None:
    values = {"prompt_num_layers": "3", "prompt_num_examples": "5", "prompt_max_hops": "2"}
    values |= {key: "True" for key in PUBLIC_KEYS if key.startswith("use_")}
    values |= {"similarity_enhancer_weight": "0.5", "prompt_enhancer_weight": "0.5"}
    path = tmp_path / "flags.yaml"
    path.write_text("".join(f"{key}: {values.get(key, 'whatever')}\n" for key in PUBLIC_KEYS))
    config, unused = read_flags(path)
    assert config.prompt_examples == 5
    assert set(unused) == set(PUBLIC_KEYS) - set(MAPPED)
    assert set(PUBLIC_KEYS) == {*MAPPED, *NOT_USED}
    assert all(unused.values())


def test_f7_an_unknown_flag_names_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "flags.yaml"
    path.write_text("use_learnable_fusoin: true\n")
    with pytest.raises(ConfigError, match="did you mean 'use_learnable_fusion'"):
        read_flags(path)


def test_f9_at_construction_a_branch_that_is_off_takes_no_weight() -> None:
    both_off = Trivium(ModelConfig(use_similarity_enhancer=False, use_prompt_enhancer=False))
    assert both_off.fusion_weights_logits is None
    assert not [name for name in both_off.state_dict() if "fusion" in name]
    r, deltas = made_up()
    assert torch.equal(both_off.fusion(r, deltas), r)
    one = Trivium(ModelConfig(use_similarity_enhancer=False))
    assert one.fusion_weights() == pytest.approx({"r": 1 / 1.8, "prompt": 0.8 / 1.8})


def test_f9_on_a_trained_model_a_disabled_branch_counts_as_zero() -> None:
    model = small_model(ModelConfig())
    topology, query = Topology(random_graph(1)), torch.tensor([1, 6])
    before = model.fusion_weights()
    r: torch.Tensor = model.structure(topology, query)
    similarity = model.branches.get_submodule("similarity")(topology, query, r)
    only = model.relation_representations(topology, query, disabled=["prompt"])
    torch.testing.assert_close(only, r + before["similarity"] * similarity)
    assert torch.equal(model.relation_representations(topology, query, disabled=["prompt", "similarity"]), r)
    assert model.fusion_weights() == before


def test_f5_the_task_loss_moves_logits_and_every_other_part() -> None:
    model = small_model(ModelConfig())
    similarity = model.branches["similarity"]
    assert isinstance(similarity, SimilarityEnhancer)
    with torch.no_grad():
        similarity.threshold.fill_(-0.5)
    model(Topology(random_graph(1)), torch.tensor([0, 3]), torch.tensor([1, 6])).square().sum().backward()
    assert model.fusion_weights_logits is not None and model.fusion_weights_logits.grad is not None
    assert (model.fusion_weights_logits.grad != 0).all()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []
