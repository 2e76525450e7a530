"""A run, killed anywhere, resumes to bitwise the same weights; what goes wrong is one line."""

import hashlib
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict, make_dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import yaml
from tests.conftest import SMALL, random_graph, small_model, small_training, write_triples

from trivium.datasets import leakage
from trivium.errors import ConfigError, InputError, OutputError, TrainingError
from trivium.files import claimed
from trivium.model.checkpoint import SHIPPED, Provenance
from trivium.model.config import ModelConfig
from trivium.model.trivium import load_checkpoint, save_checkpoint
from trivium.settings import Settings
from trivium.training.ablation import read_ablation
from trivium.training.config import SourceConfig, TrainingConfig
from trivium.training.loop import train
from trivium.training.pretrain import pretrain, read_config, training_graphs
from trivium.training.run import METRICS, SOURCES, STATE, RunFolder
from trivium.training.trainer import Trainer, learning_rate

CONFIGS = Path(__file__).parents[2] / "configs"
PLAIN = replace(SMALL, use_similarity_enhancer=False, use_prompt_enhancer=False)
SETTINGS = {
    "sources": [{"name": "synthetic"}],
    "model": asdict(PLAIN),
    "min_entities": 40,
    "max_entities": 80,
    "max_questions": 6,
    "steps": 30,
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
            process.send_signal(signal.SIGKILL if kills % 2 else signal.SIGTERM)
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


def test_metrics_on_a_full_disk_are_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / METRICS).symlink_to("/dev/full")
    with pytest.raises(TrainingError, match=r"step 5: cannot write .*metrics\.jsonl: No space left on device"):
        RunFolder(tmp_path).log({"step": 5})


def test_metrics_survive_a_line_cut_short(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.log({"step": 1, "loss": 0.5})
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 2, "lo')
    assert run.metrics() == [{"step": 1, "loss": 0.5}]
    run.rewind(0)
    assert run.metrics() == []


def test_a_run_goes_on_with_its_own_sources_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph, its relations' texts, validation triples, a checkpoint: another one under the same name is refused."""
    monkeypatch.chdir(tmp_path)
    facts, other = (random_graph(seed, entities=60, triples=300).triples for seed in (0, 1))
    write_triples(Path("g.tsv"), facts)
    write_triples(Path("v.tsv"), facts[:40])
    save_checkpoint(small_model(), Provenance(), "start.safetensors")
    config = small_training("g.tsv", start_from="start.safetensors", valid="v.tsv", validate_every=1, steps=2)
    pretrain(RunFolder("run"), config=config)
    assert json.loads(Path("run", SOURCES).read_text()).keys() == {"g.tsv", "v.tsv", "start.safetensors"}
    before = weights(Path("run"))
    kept = {name: Path(name).read_bytes() for name in ("g.tsv", "v.tsv", "start.safetensors")}
    monkeypatch.setattr(leakage, "_training_graph", leakage._training_graph.__wrapped__)  # as in a new process
    for name in kept:
        if name.endswith(".tsv"):
            write_triples(Path(name), other[:200])
        else:
            save_checkpoint(small_model(seed=1), Provenance(), name, force=True)
        with pytest.raises(InputError, match=f"run began with another {name} than this"):
            pretrain(RunFolder("run"))
        Path(name).write_bytes(kept[name])
    Path("elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # another file of the same name
    save_checkpoint(small_model(), Provenance(), "start.safetensors")
    write_triples(Path("v.tsv"), facts[:40])
    write_triples(Path("g.tsv"), other)
    with pytest.raises(InputError, match=r"began with another g\.tsv"):
        pretrain(RunFolder("../run"))
    monkeypatch.chdir(tmp_path)
    pretrain(RunFolder("run"))
    assert weights(Path("run")) == before
    Path("run", SOURCES).write_text('["g.tsv"')
    with pytest.raises(InputError, match=r"sources\.json is damaged"):
        pretrain(RunFolder("run"))
    Path("run", SOURCES).unlink()  # an earlier version's
    pretrain(RunFolder("run"))


def test_one_process_a_run(config: Path, tmp_path: Path) -> None:
    """Of two that begin at once one goes on; of its folder nothing is another's."""
    other = tmp_path / "other.yaml"
    other.write_text(config.read_text().replace("seed: 0", "") + "seed: 6\n")
    words = [sys.executable, "-m", "trivium", "pretrain", "--run", str(tmp_path / "run")]
    both = [subprocess.Popen([*words, str(file)], stderr=subprocess.PIPE, text=True) for file in (config, other)]
    said = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2]
    lost = said[0 if both[0].returncode else 1]
    assert "another process is writing" in lost or "holds a run already" in lost
    seed = read_config(tmp_path / "run" / "config.yaml").seed
    assert seed == (6 if both[0].returncode else 0)
    assert load_checkpoint(tmp_path / "run" / "checkpoint.safetensors")[1].seed == seed
    with claimed(tmp_path / "run", "it"), pytest.raises(OutputError, match="another process is writing"):
        pretrain(RunFolder(tmp_path / "run"))
    with pytest.raises(OutputError, match="holds a run already"):
        pretrain(RunFolder(tmp_path / "run"), config=small_training())


def test_a_damaged_run_is_one_line(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    pretrain(RunFolder(run), config=replace(read_config(config), steps=2, steps_per_epoch=1))
    files = {name: (run / name).read_bytes() for name in (STATE, METRICS, "config.yaml")}
    flipped = bytearray(files[STATE])
    flipped[-50] ^= 1
    for name, content, words in (
        (STATE, files[STATE][:1000], f"{STATE} is damaged"),
        (STATE, bytes(flipped), f"{STATE} is damaged"),
        (METRICS, files[METRICS] + b"\xff\xfe\n", f"{METRICS} line 3 is damaged"),
        (METRICS, b"5\n" + files[METRICS], f"{METRICS} line 1 is damaged"),
        ("config.yaml", files["config.yaml"].replace(b"dim: 32", b"dim: 64", 1), "does not fit the model of config"),
    ):
        (run / name).write_bytes(content)
        with pytest.raises(InputError, match=words) as caught:
            pretrain(RunFolder(run))
        assert "\n" not in str(caught.value)
        (run / name).write_bytes(files[name])
    (run / "0123456789abcdef.part").write_bytes(b"of a killed process")
    pretrain(RunFolder(run))
    assert sorted(path.name for path in run.iterdir()) == sorted([*files, SOURCES, "checkpoint.safetensors"])


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_a_hangup_saves_the_state_unless_it_is_ignored(config: Path, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGHUP)
    try:
        for handler, stops in ((signal.SIG_DFL, True), (signal.SIG_IGN, False)):  # the latter: as nohup leaves it
            signal.signal(signal.SIGHUP, handler)
            run = RunFolder(tmp_path / str(stops))
            settings = replace(read_config(config), steps=4, save_every=100)

            def hang_up(done: int, *_: object) -> None:
                if done == 2:
                    signal.raise_signal(signal.SIGHUP)

            with pytest.raises(KeyboardInterrupt) if stops else nullcontext():
                train(settings, {}, run, hang_up)
            assert run.load()[0] == (2 if stops else 4)
            assert signal.getsignal(signal.SIGHUP) == handler
    finally:
        signal.signal(signal.SIGHUP, before)


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
        ({"steps": 0}, "bad.yaml: steps: .*greater than or equal to 1, not 0"),
        ({"sources": []}, "sources: name at least one"),
        ({"sources": [{"name": "synthetic", "weight": -1}]}, "sources.0.weight: .*greater than or equal to 0, not -1"),
        ({"sources": [{"name": "synthetic", "weight": 0}]}, "with a weight above 0"),
        ({"model": {"dim": 16}}, "model.dim: .*multiple of 32, not 16"),
        ({"model": {"dim": 0}}, "model.dim: .*not 0"),
        ({"model": {"layers": 0}}, "model.layers: .*not 0"),
        ({"min_entities": 500, "max_entities": 100}, "max_entities is 100: give 500 or more, as min_entities is"),
        ({"sparse_share": 3}, "sparse_share: .*less than or equal to 1, not 3"),
        ({"min_density": 9}, "max_density is 5.0: give 9.0 or more"),
        ({"learning_rate": -1}, "learning_rate: .*greater than 0, not -1"),
        ({"gradient_clip": float("nan")}, "gradient_clip: .*not nan"),
        ({"ema": 2}, "ema: .*not 2"),
        ({"seed": -1}, "seed: .*not -1"),
        ({"model": {"conditioning": "both"}}, "conditioning: .*'own' or 'forward', not 'both'"),
    ],
)
def test_settings_are_checked(change: dict[str, object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(SETTINGS | change))
    with pytest.raises(ConfigError, match=message):
        read_config(path)


def test_a_configuration_made_in_python_is_checked_too() -> None:
    for change, message in (
        ({"steps": 0}, "steps is 0: input should be greater than or equal to 1"),
        ({"ema": 1.5}, "ema is 1.5: input should be less than or equal to 1"),
        ({"work": 0.0}, "work is 0.0: input should be greater than 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            TrainingConfig((SourceConfig("synthetic"),), **change)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="dim is 16: input should be a multiple of 32"):
        ModelConfig(dim=16)
    choice = make_dataclass("Choice", [("name", Literal["a", "b"])], bases=(Settings,))
    with pytest.raises(ConfigError, match="name is 'foo': input should be 'a' or 'b'"):
        choice("foo")


def test_the_schedule_counts_in_steps() -> None:
    config = small_training(steps=1000, warmup_steps=100, learning_rate=1e-3, final_learning_rate=1e-5)
    rates = [learning_rate(config, step) for step in (0, 99, 550, 1000)]
    assert rates == pytest.approx([1e-5, 1e-3, (1e-3 + 1e-5) / 2, 1e-5])


def test_training_learns(config: Path, tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", replace(read_config(config), steps=80, save_every=80))
    pretrain(run)
    losses = [row["loss"] for row in run.metrics()]
    assert sum(losses[-4:]) / 4 < losses[0] - 0.05


def test_the_graphs_of_a_folder_share_its_weight_by_their_kinds_of_relation(tmp_path: Path) -> None:
    for name, counts in (("A", [30, 12, 9]), ("B", [10]), ("C", [3])):
        facts = [(i, r, (i + 1 + r) % 40) for r, count in enumerate(counts) for i in range(count)]
        write_triples(tmp_path / "corpus" / name / "train.txt", np.array(facts), prefix=name)
    sources = (SourceConfig("synthetic", 0.4), SourceConfig(f"{tmp_path}/corpus", 0.6))
    config = TrainingConfig(sources, PLAIN, steps=1, min_entities=5)
    names = [f"{tmp_path}/corpus/{name}" for name in "ABC"]
    expanded, graphs = training_graphs(config)
    assert list(graphs) == names
    assert [source.name for source in expanded.sources] == ["synthetic", *names]
    whole = math.log(3) + math.log(2)  # A has two relations with ten triples, B one, C none
    weights = [0.4, 0.6 * math.log(3) / whole, 0.6 * math.log(2) / whole, 0]
    assert [source.weight for source in expanded.sources] == pytest.approx(weights)
    assert training_graphs(expanded)[0] == expanded  # as a run's own configuration names them
    pretrain(RunFolder(tmp_path / "run"), config=config)
    assert read_config(tmp_path / "run" / "config.yaml") == expanded
    hashes = {name: graph.sha256 for name, graph in graphs.items()}
    assert load_checkpoint(tmp_path / "run" / "checkpoint.safetensors")[1].training_data == hashes | {"synthetic": ""}


def named(value: Any, read: Any) -> Any:
    """What was read, less the settings that the file does not name."""
    if isinstance(value, dict):
        return {key: named(value[key], read[key]) for key in value}
    return [named(*pair) for pair in zip(value, read, strict=True)] if isinstance(value, list) else read


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_configurations_are_read(path: Path) -> None:
    """Every setting that a file names is the one that is read, and what it goes on from is made by another file."""
    written = yaml.safe_load(path.read_text())
    config = read_ablation(path).training if "graphs" in written else read_config(path)
    read = json.loads(json.dumps(asdict(config)))
    for key, value in (written.get("training") or written).items():
        assert value == named(value, read[key])
    start = Path(config.start_from).parent.name
    assert not start or (CONFIGS / f"{start}.yaml").exists() or f"{start}, which an earlier" in path.read_text()


@pytest.mark.parametrize("name", sorted(file.stem for file in SHIPPED.glob("*.safetensors")))
def test_a_shipped_checkpoint_has_the_configuration_that_made_it(name: str) -> None:
    """But for settings that later versions lack, for chains, which come afterwards, and for graphs of a folder."""
    config = json.loads(json.dumps(asdict(read_config(CONFIGS / f"{name}.yaml"))))
    settings = load_checkpoint(name)[1].settings
    model, sources = settings.pop("model"), settings.pop("sources")
    common = settings.keys() & config.keys() - {"sources"}
    assert {key: settings[key] for key in common} == {key: config[key] for key in common}
    assert model == {key: config["model"][key] for key in model}
    weights: dict[str, float] = {}
    for source in sources:  # a folder's share is that of its graphs
        folder = source["name"].split("/")[0]
        weights[folder] = weights.get(folder, 0.0) + source["weight"]
    assert weights == pytest.approx({source["name"]: source["weight"] for source in config["sources"]})
