"""Any number of processes takes the same steps; one that is killed is missed, and the run goes on."""

import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tests.conftest import SMALL, random_graph, small_training
from torch._C._distributed_c10d import TCPStore

from trivium.errors import ConfigError
from trivium.model.trivium import load_checkpoint
from trivium.text.graph import TextGraph
from trivium.training.loop import train
from trivium.training.pretrain import pretrain
from trivium.training.run import RunFolder
from trivium.training.sampling import Batches
from trivium.training.team import Team, teamed
from trivium.training.trainer import Trainer

GRAPH = random_graph(4, entities=60, triples=300)
VECTORS = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
TEXTS = TextGraph.from_vectors(VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True), 0.5)
SETTINGS = small_training(
    "some",
    model=replace(SMALL, text_encoder="some", text_dim=8),
    steps=20,
    subgraphs_per_step=3,
    save_every=5,
    relation_text_dropout=0.3,
    graph_text_dropout=0.3,
)
ROOT = Path(__file__).parents[2]


def together(*words: object) -> None:
    """Runs a command in two processes; torchrun starts them anew if one dies."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=3"]
    torchrun += ["--rdzv-conf", "keep_alive_max_attempt=100"]  # a busy machine is not a dead one
    command, here = [*torchrun, *map(str, words)], os.environ | {"GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(command, cwd=ROOT, env=here, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def test_every_question_weighs_the_same() -> None:
    subgraphs = Batches(SETTINGS, {"some": GRAPH}).step(0)
    few = {part: getattr(subgraphs[0][1], part)[:2] for part in ("head", "query", "answer", "known")}
    subgraphs[0] = "some", replace(subgraphs[0][1], **few)
    counts = np.array([len(example.head) for _, example in subgraphs])
    assert counts[0] < counts[1]
    one = Trainer(SETTINGS, {"some": TEXTS})
    losses = [one.loss(*subgraph, [SETTINGS.seed, 0, i, 2]).item() for i, subgraph in enumerate(subgraphs)]
    mean = np.average(losses, weights=counts)
    assert one.step(0, subgraphs)["loss"] == pytest.approx(mean, rel=1e-6)
    assert abs(mean - np.mean(losses)) > 1e-3


@pytest.mark.soak  # starts two processes twice
def test_two_processes_one_of_them_killed_go_on_to_the_weights_of_one(tmp_path: Path) -> None:
    """Text dropout and prompts are on; each process has another share of three subgraphs, two and one."""
    alone = train(SETTINGS, {"some": GRAPH}, RunFolder(tmp_path / "alone"), texts={"some": TEXTS})
    begun = RunFolder(tmp_path / "begun")

    def stop(done: int, *_: object) -> None:
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # one process takes eight steps, of which five are saved
        train(SETTINGS, {"some": GRAPH}, begun, stop, texts={"some": TEXTS})
    together("-m", "tests.training.team_member", begun.path)
    step, tensors = begun.load()
    assert step == 20
    for name, value in alone.tensors().items():
        assert torch.equal(tensors[name], value), name
    assert not (begun.path / "nowhere").exists()


def test_addresses_from_before_a_restart_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun keeps them: who reads one waits for a process that has ended."""
    held = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    said = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": held.port, "TORCHELASTIC_USE_AGENT_STORE": True}
    said |= {"TORCHELASTIC_RUN_ID": "run", "RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "GROUP_WORLD_SIZE": 1}
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    counts = list[int]()
    for again in range(2):
        for name, value in (said | {"TORCHELASTIC_RESTART_COUNT": again}).items():
            monkeypatch.setenv(name, str(value))
        with teamed("cpu") as team:
            assert team.again == (again > 0)
        counts.append(held.num_keys())
    assert counts[1] > counts[0]


def test_torchrun_pretrains(tmp_path: Path) -> None:
    config = small_training(steps=3, subgraphs_per_step=2)
    alone = pretrain(RunFolder(tmp_path / "alone"), config=config)
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump({**asdict(config), "sources": [{"name": "synthetic"}]}))
    together("-m", "--", "trivium", "pretrain", file, "--run", tmp_path / "run")
    ours, theirs = (load_checkpoint(path)[0].state_dict() for path in (alone, tmp_path / "run/checkpoint.safetensors"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_more_processes_than_subgraphs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="4 processes for subgraphs_per_step: 3: start no more, or raise it"):
        train(SETTINGS, {"some": GRAPH}, RunFolder(tmp_path), team=Team(0, 4))
