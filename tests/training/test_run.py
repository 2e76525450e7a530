"""A run, killed anywhere, resumes to bitwise the same weights; what goes wrong is one line."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml

from trivium.errors import ConfigError, OutputError, TrainingError
from trivium.model.checkpoint import SHIPPED, load_checkpoint
from trivium.model.config import ModelConfig
from trivium.training.ablation import read_ablation
from trivium.training.config import SourceConfig, TrainingConfig
from trivium.training.loop import Trainer, learning_rate, train
from trivium.training.pretrain import pretrain, read_config
from trivium.training.run import METRICS, STATE, RunFolder

CONFIGS = Path(__file__).parents[2] / "configs"
SETTINGS = {
    "sources": [{"name": "synthetic"}],
    "model": {
        "dim": 32,
        "layers": 2,
        "structure_dim": 32,
        "structure_steps": 2,
        "structure_layers": 1,
        "use_similarity_enhancer": False,
        "use_prompt_enhancer": False,
    },
    "steps": 30,
    "min_entities": 40,
    "max_entities": 80,
    "max_questions": 6,
    "steps_per_epoch": 5,
    "save_every": 1,
    "warmup_steps": 5,
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    return path


def weights(folder: Path) -> str:
    model, _ = load_checkpoint(folder / "checkpoint.safetensors")
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def test_a_run_killed_at_random_ends_in_the_same_weights(config: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    pretrain(RunFolder.create(whole, read_config(config)))
    expected = weights(whole)
    killed = tmp_path / "killed"
    RunFolder.create(killed, read_config(config))
    chance = random.Random(0)
    kills = 0
    for _ in range(20):
        command = [sys.executable, "-m", "trivium", "pretrain", "--resume", str(killed)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        # wait for training itself, then strike at any moment, inside a save included: every step saves
        begun = (killed / STATE).stat().st_mtime_ns if (killed / STATE).exists() else 0
        while process.poll() is None:
            if (killed / STATE).exists() and (killed / STATE).stat().st_mtime_ns != begun:
                break
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.15))
        if process.poll() is None and kills < 4:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        if (killed / "checkpoint.safetensors").exists():
            break
    assert kills >= 2
    assert weights(killed) == expected
    rows = RunFolder(killed).metrics()
    assert [row["step"] for row in rows] == [5, 10, 15, 20, 25, 30]
    _, provenance = load_checkpoint(killed / "checkpoint.safetensors")
    assert provenance.steps == 30
    assert provenance.training_data == {"synthetic": ""}


def test_a_loss_that_is_not_finite_keeps_the_last_good_state(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder.create(tmp_path / "run", read_config(config))
    original = Trainer.step

    def step(self: Trainer, number: int, subgraphs: list) -> dict[str, float]:  # type: ignore[type-arg]
        if number == 7:
            with torch.no_grad():
                next(self.model.parameters()).fill_(float("nan"))
        return original(self, number, subgraphs)

    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(TrainingError, match=r"step 7: the loss is nan.*last saved state is kept"):
        train(read_config(config), {}, run)
    saved, tensors = run.load()
    assert saved == 7
    assert all(torch.isfinite(t).all() for t in tensors.values())


def test_a_full_disk_keeps_the_last_good_state(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder.create(tmp_path / "run", read_config(config))
    fsync, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) > 6:
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match=r"No space left on device.*continue with --resume"):
        train(read_config(config), {}, run)
    assert run.load()[0] >= 4
    assert sorted(p.name for p in run.path.iterdir()) == ["config.yaml", METRICS, STATE]


def test_metrics_survive_a_line_cut_short(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.log({"step": 1, "loss": 0.5})
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 2, "lo')
    assert run.metrics() == [{"step": 1, "loss": 0.5}]
    run.rewind(0)
    assert run.metrics() == []


def test_a_folder_with_a_run_is_not_overwritten(config: Path, tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", read_config(config))
    with pytest.raises(OutputError, match="holds a run already"):
        RunFolder.create(tmp_path / "run", read_config(config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stepps": 3}, "stepps: unknown setting: did you mean 'steps'"),
        ({"model": {"dimm": 3}}, "model.dimm: unknown setting: did you mean 'dim'"),
        ({"steps": "many"}, "steps: .*integer"),
        ({"steps": 0}, r"bad.yaml: steps is 0: give a number from 1 to"),
        ({"sources": []}, "sources: name at least one"),
        ({"sources": [{"name": "synthetic", "weight": -1}]}, "weight is -1"),
        ({"sources": [{"name": "synthetic", "weight": 0}]}, "with a weight above 0"),
        ({"model": {"dim": 16}}, "dim is 16: give a multiple of 32"),
        ({"model": {"dim": 0}}, "dim is 0"),
        ({"model": {"layers": 0}}, "layers is 0"),
        ({"min_entities": 500, "max_entities": 100}, "max_entities is 100: give 500 or more"),
        ({"sparse_share": 3}, "sparse_share is 3.0: give a number from 0 to 1"),
        ({"min_density": 9}, "max_density is 5.0: give 9 or more"),
        ({"learning_rate": -1}, "learning_rate is -1"),
        ({"gradient_clip": float("nan")}, "gradient_clip is nan"),
        ({"workers": -1}, "workers is -1"),
        ({"ema": 2}, "ema is 2"),
        ({"seed": -1}, "seed is -1"),
        ({"model": {"conditioning": "both"}}, "conditioning: .*'own' or 'forward', not 'both'"),
    ],
)
def test_settings_are_checked(change: dict[str, object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(SETTINGS | change))
    with pytest.raises(ConfigError, match=message):
        read_config(path)


def test_a_choice_that_is_none_is_refused_in_python_too() -> None:
    config = ModelConfig()
    vars(config)["structure"] = "foo"  # past the types, which tests check
    with pytest.raises(ConfigError, match="structure is 'foo': choose from alternating, relation_graph"):
        config.__post_init__()


def test_the_schedule_counts_in_steps() -> None:
    config = TrainingConfig(
        (SourceConfig("synthetic"),), steps=1000, warmup_steps=100, learning_rate=1e-3, final_learning_rate=1e-5
    )
    assert learning_rate(config, 0) == pytest.approx(1e-5)
    assert learning_rate(config, 99) == pytest.approx(1e-3)
    assert learning_rate(config, 550) == pytest.approx((1e-3 + 1e-5) / 2)
    assert learning_rate(config, 1000) == pytest.approx(1e-5)


def test_training_learns(config: Path, tmp_path: Path) -> None:
    settings = SETTINGS | {"steps": 80, "save_every": 80}
    config.write_text(yaml.safe_dump(settings))
    run = RunFolder.create(tmp_path / "run", read_config(config))
    pretrain(run)
    losses = [json.loads(line)["loss"] for line in (run.path / METRICS).read_text().splitlines()]
    assert sum(losses[-4:]) / 4 < losses[0] - 0.05


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_configurations_are_read(path: Path) -> None:
    if "graphs:" in path.read_text():
        assert read_ablation(path).training.steps > 0
        return
    config = read_config(path)
    assert config.steps > 0


@pytest.mark.parametrize("name", sorted(file.stem for file in SHIPPED.glob("*.safetensors")))
def test_a_shipped_checkpoint_has_the_configuration_that_made_it(name: str) -> None:
    config = json.loads(json.dumps(asdict(read_config(CONFIGS / f"{name}.yaml"))))
    settings = load_checkpoint(name)[1].settings
    model = settings.pop("model")
    assert settings == {key: config[key] for key in settings}
    assert model == {key: config["model"][key] for key in model}
