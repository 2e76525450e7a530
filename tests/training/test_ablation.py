"""The ablation (requirement F10): its arms, its evidence, and the start that it suggests."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from numpy.typing import NDArray
from tests.conftest import SMALL, Run, drawn, random_graph, small_model, write_triples

from trivium.errors import ConfigError
from trivium.files import read_provenance
from trivium.model.checkpoint import Provenance
from trivium.model.config import ModelConfig
from trivium.model.fusion import start_weights
from trivium.model.trivium import load_checkpoint, save_checkpoint
from trivium.training import ablation
from trivium.training.ablation import ARMS, BASE, SCORES, ablate, read_ablation, with_parts
from trivium.training.evidence import Scores, differences, draw, suggest
from trivium.training.pretrain import pretrain
from trivium.training.run import RunFolder
from trivium.training.trainer import Trainer


def suggestion(similarity: tuple[float, float, float], prompt: tuple[float, float, float]) -> tuple[float, float, str]:
    rows = [
        {"arm": arm, "difference": gain, "low": low, "high": high, "verdict": "shown" if low > 0 else "not shown"}
        for arm, (gain, low, high) in (("+ similarity", similarity), ("+ prompt", prompt))
    ]
    start, evidence = suggest(pl.DataFrame(rows, strict=False))
    assert all(weight > 0 for weight in start_weights(start))
    return start["similarity"], start["prompt"], "\n".join(evidence)


def test_f10_the_start_is_in_proportion_to_the_gains_that_were_shown() -> None:
    similarity, prompt, evidence = suggestion((0.01, 0.004, 0.016), (0.03, 0.02, 0.04))
    assert (similarity, prompt) == pytest.approx((0.25, 0.75))
    assert "+ similarity: +0.0100 MRR [+0.0040, +0.0160]: shown" in evidence
    assert "similarity_enhancer_weight: 0.25, prompt_enhancer_weight: 0.75" in evidence
    assert "(fusion weights 0.500, 0.125, 0.375)" in evidence
    assert "in proportion" in evidence
    twice = suggestion((0.02, 0.008, 0.032), (0.06, 0.04, 0.08))  # only their ratio counts
    assert twice[:2] == pytest.approx((similarity, prompt))


def test_f10_without_a_shown_gain_the_documents_start_stands() -> None:
    for similarity in ((0.01, -0.001, 0.02), (-0.02, -0.03, -0.01), (0.0, 0.0, 0.0)):
        found = suggestion(similarity, (0.04, -0.002, 0.08))
        assert found[:2] == (0.2, 0.8)
        assert "no gain was shown" in found[2]
        assert "+ prompt: +0.0400 MRR [-0.0020, +0.0800]: not shown" in found[2]
    assert suggest(pl.DataFrame({"arm": [BASE]}))[0] == {"similarity": 0.2, "prompt": 0.8}


def test_f10_a_branch_without_a_shown_gain_starts_low_beside_one_with() -> None:
    similarity, prompt, evidence = suggestion((0.01, -0.001, 0.02), (0.03, 0.02, 0.04))
    assert (similarity, prompt) == pytest.approx((0.05, 0.95))
    assert "only prompt showed a gain" in evidence
    assert "use_similarity_enhancer: false" in evidence
    assert suggestion((0.01, 0.001, 0.02), (-0.03, -0.04, -0.02))[:2] == pytest.approx((0.95, 0.05))
    assert suggestion((1e-6, 1e-7, 1e-5), (0.5, 0.4, 0.6))[:2] == pytest.approx((0.05, 0.95))  # never 0


def made_up(gains: dict[str, float], noise: float = 0.1) -> list[Scores]:
    """Three seeds, four graphs of five relations with 20 questions each; a gain is the same everywhere."""
    out = []
    for arm, gain in gains.items():
        for seed in range(3):
            for graph in range(4):
                base = np.random.default_rng([graph]).uniform(0.2, 0.6, 100)
                chance = np.random.default_rng([seed, graph, len(arm)]).normal(0, noise, 100)
                out.append(Scores(arm, seed, str(graph), np.repeat(np.arange(5), 20), base + gain + chance))
    return out


def test_f10_differences_are_paired_and_have_an_interval() -> None:
    scores = made_up({BASE: 0.0, "+ prompt": 0.05, "+ similarity": 0.0, "all, fixed": -0.05})
    table = differences(scores, 2000)
    assert table.columns == ["arm", "MRR", "difference", "low", "high", "verdict", "0", "1", "2", "3"]
    base, prompt, *_ = table.rows(named=True)
    assert (base["difference"], base["low"], base["high"]) == (0, 0, 0)
    assert prompt["difference"] == pytest.approx(prompt["MRR"] - base["MRR"])
    assert prompt["difference"] == pytest.approx(0.05, abs=0.02)
    assert prompt["low"] < prompt["difference"] < prompt["high"]
    assert table["verdict"].to_list() == ["", "shown", "not shown", "shown, a loss"]
    exact = differences(made_up({BASE: 0.0, "+ prompt": 0.05}, noise=0.0), 100)  # what is paired off is no noise
    assert exact.row(1)[2:5] == pytest.approx((0.05, 0.05, 0.05))


def test_f10_the_interval_counts_relations_and_seeds_not_questions() -> None:
    """One relation of one graph that gains much is luck; the same gain spread over all relations is not."""
    relations = np.repeat(np.arange(5), 20)
    spread, lumped = np.full(100, 0.1), np.where(relations == 0, 0.5, 0.0)

    def compared(gain: NDArray[np.float64], seeds: tuple[int, ...]) -> tuple[float, str]:
        scores = [Scores(BASE, seed, "g", relations, np.full(100, 0.3)) for seed in range(3)]
        scores += [Scores("+ text", s, "g", relations, 0.3 + (s in seeds) * gain) for s in range(3)]
        return differences(scores, 2000)["difference"][1], differences(scores, 2000)["verdict"][1]

    for gain, seeds, shown in ((spread, (0, 1, 2), True), (lumped, (0, 1, 2), False), (3 * spread, (1,), False)):
        difference, verdict = compared(gain, seeds)
        assert difference == pytest.approx(0.1)
        assert (verdict == "shown") == shown


def test_f10_the_table_is_drawn() -> None:
    table = differences(made_up({BASE: 0.0, "+ prompt": 0.05}), 500)
    rows = table.rows(named=True)
    panel = draw(table).get_axes()[0]
    points = [line for line in panel.get_lines() if line.get_marker() == "o"]
    for place, (line, r) in enumerate(zip(points, rows, strict=True)):
        np.testing.assert_allclose(drawn(line), [[r["difference"]], [float(place)]])
    assert [label.get_text() for label in panel.get_yticklabels()] == [f"{r['arm']} ({r['MRR']:.3f})" for r in rows]


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A tiny ablation, with two small data sets to judge it on."""
    for name, seed in (("one", 1), ("two", 2)):
        triples = random_graph(seed, entities=30, relations=3, triples=200).triples
        for split, part in (("train", triples[:150]), ("valid", triples[150:170]), ("test", triples[170:])):
            write_triples(tmp_path / "data" / name / f"{split}.txt", part, prefix=name)
    source = write_triples(tmp_path / "source.tsv", random_graph(0, entities=60, relations=4, triples=300).triples)
    training = {"sources": [{"name": str(source)}], "model": asdict(SMALL), "steps": 2}
    training |= {"min_entities": 30, "max_entities": 40, "max_questions": 4}
    path = tmp_path / "ablation.yaml"
    path.write_text(yaml.safe_dump({"training": training, "graphs": ["one", "two"], "warm_steps": 2, "questions": 20}))
    return path


def test_f10_every_arm_goes_on_from_one_start_on_the_same_subgraphs(
    settings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: Run,
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: dict[tuple[object, ...], list[list[int]]] = {}
    starts: dict[tuple[object, ...], torch.Tensor] = {}
    original = Trainer.step

    def step(self: Trainer, number: int, subgraphs: list) -> dict[str, float]:  # type: ignore[type-arg]
        model = self.config.model
        arm = (tuple(self.model.branches), model.use_learnable_fusion, self.config.seed)
        seen.setdefault(arm, []).append([v for _, e in subgraphs for v in (*e.head.tolist(), *e.query.tolist())])
        starts.setdefault(arm, next(self.model.structure.parameters()).detach().clone())
        return original(self, number, subgraphs)

    monkeypatch.setattr(Trainer, "step", step)
    folder = tmp_path / "run"
    words = ["--data-dir", tmp_path / "data"]
    status, out, _ = command("ablate", settings, "--run", folder, *words)
    assert (status, "suggested start: similarity_enhancer_weight" in out) == (0, True)
    assert "no arm reads texts" in caplog.text
    assert (folder / "ablation.png").read_bytes().startswith(b"\x89PNG")
    table = pl.read_csv(folder / "ablation.csv")
    assert read_provenance(folder / "ablation.csv")["verb"] == "ablate"
    assert table["arm"].to_list() == [BASE, "+ similarity", "+ prompt", "all, fixed", "all, learnable"]
    assert len(seen) == 3 * 5 + 1
    for seed in range(3):
        streams = [stream for arm, stream in seen.items() if arm[2] == seed]
        assert len(streams) == 5
        assert all(stream == streams[0] for stream in streams)
    assert seen[(), True, 0] != seen[(), True, 1]
    first, *others = [start for arm, start in starts.items() if arm[2] != 3]
    assert all(torch.equal(first, other) for other in others)
    fixed = load_checkpoint(folder / "all-fixed-0" / "checkpoint.safetensors")[0]
    assert fixed.fusion_weights_logits is None
    assert fixed.fusion_weights() == pytest.approx({"r": 1, "similarity": 0.2, "prompt": 0.8})

    # taken up again, only what is missing is done
    calls: list[str] = []

    def counted(run: RunFolder, *more: Any) -> Path:
        calls.append(run.path.name)
        return pretrain(run, *more)

    monkeypatch.setattr(ablation, "pretrain", counted)
    (folder / "prompt-1" / SCORES).unlink()
    before = json.loads((folder / "prompt-0" / SCORES).read_text())
    assert command("ablate", "--resume", folder, *words)[0] == 0
    assert calls == ["prompt-1"]
    assert pl.read_csv(folder / "ablation.csv").equals(table)
    assert set(before) == {"one", "two"}
    assert len(before["one"]["reciprocal"]) == 20


def test_f10_a_given_start_lends_its_encoders_and_sizes(
    settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablation, "ARMS", {arm: ARMS[arm] for arm in (BASE, "+ prompt")})
    warm = small_model(replace(SMALL, layers=3), seed=5)
    save_checkpoint(warm, Provenance(training_data={"synthetic": ""}), tmp_path / "warm.safetensors")
    config = replace(read_ablation(settings), warm_start=str(tmp_path / "warm.safetensors"))
    folder = RunFolder.create(tmp_path / "run", config)
    assert {s.arm for s in ablate(folder, tmp_path / "data")} == {BASE, "+ prompt"}
    start = load_checkpoint(tmp_path / "run" / ablation.START)[0]
    assert (start.config.layers, list(start.branches)) == (3, [])
    assert all(torch.equal(value, warm.state_dict()[name]) for name, value in start.state_dict().items())
    assert load_checkpoint(tmp_path / "run" / "prompt-2" / "checkpoint.safetensors")[0].config.layers == 3


def test_f10_a_graph_that_training_has_seen_is_refused(settings: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(settings.read_text())
    seen = tmp_path / "seen.tsv"
    seen.write_text("".join((tmp_path / "data" / "two" / "valid.txt").read_text().splitlines(keepends=True)[:7]))
    content["training"]["sources"].append({"name": str(seen)})
    settings.write_text(yaml.safe_dump(content))
    folder = RunFolder.create(tmp_path / "run", read_ablation(settings))
    with pytest.raises(ConfigError, match="two shares 7 triples with the training graphs"):
        ablate(folder, tmp_path / "data")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": [0, 1]}, "at least three"),
        ({"seeds": [0, 1, -2]}, "seeds.2: .*not -2"),
        ({"questions": 0}, "questions: .*not 0"),
    ],
)
def test_f10_settings_that_make_no_ablation(settings: Path, change: dict[str, object], message: str) -> None:
    settings.write_text(yaml.safe_dump(yaml.safe_load(settings.read_text()) | change))
    with pytest.raises(ConfigError, match=message):
        read_ablation(settings)


def test_f10_arms_differ_in_their_parts_alone() -> None:
    model = ModelConfig(text_encoder="x", prompt_dim=16)
    for arm, parts in ARMS.items():
        found = with_parts(replace(model, use_chains=True), arm)
        assert not found.use_chains
        assert bool(found.text_encoder) == ("text" in parts)
        assert found.use_similarity_enhancer == ("similarity" in parts)
        assert found.use_prompt_enhancer == ("prompt" in parts)
        assert found.prompt_dim == 16
    assert with_parts(model, "all, learnable").use_learnable_fusion
    assert not with_parts(model, "all, fixed").use_learnable_fusion
