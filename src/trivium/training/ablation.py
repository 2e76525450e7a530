"""The ablation (F10): what text, similarity and prompts are worth, each trained on from one structural start."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from trivium.datasets.leakage import SYNTHETIC, contained
from trivium.datasets.registry import load_dataset
from trivium.errors import ConfigError
from trivium.files import whole_file
from trivium.graph.graph import Graph
from trivium.model.checkpoint import load_checkpoint, save_checkpoint
from trivium.model.config import ModelConfig
from trivium.model.trivium import Trivium
from trivium.report import progress, warn
from trivium.settings import build, read_yaml
from trivium.text.encoder import load_encoder
from trivium.text.graph import graph_texts
from trivium.training.config import AblationConfig, TrainingConfig
from trivium.training.evidence import Scores
from trivium.training.pretrain import pretrain, training_graph
from trivium.training.run import CONFIG, RunFolder
from trivium.training.validation import Validation

BASE = "structure only"
WHOLE = "all, learnable"
EVERYTHING = ("text", "similarity", "prompt")
ARMS: dict[str, tuple[str, ...]] = {
    BASE: (),
    **{f"+ {part}": (part,) for part in EVERYTHING},
    "all, fixed": EVERYTHING,
    WHOLE: EVERYTHING,
}
"""The arms and the parts that each adds to the structure."""

ENCODERS = "structure conditioning reversed_messages dim layers structure_dim structure_steps structure_layers".split()
SCORES = "scores.json"
START = "structure.safetensors"


def read_ablation(path: str | Path) -> AblationConfig:
    """An ablation's configuration from YAML.

    Raises:
        ConfigError: a setting that is unknown, missing, of the wrong type or out of range.
    """
    config = build(AblationConfig, read_yaml(path), path)
    if len(set(config.seeds)) < 3:
        raise ConfigError(f"{path}: seeds: {list(config.seeds)}: give at least three, or chance passes for a gain")
    if not config.graphs:
        raise ConfigError(f"{path}: graphs: name at least one")
    if WHOLE in config.changes:
        raise ConfigError(f"{path}: changes: {WHOLE!r} is the arm that changes nothing: choose another name")
    for name, change in config.changes.items():
        changed(config.training, change, f"{path}: changes.{name}")
    return config


def changed(training: TrainingConfig, change: Mapping[str, Any], where: str) -> TrainingConfig:
    """A training configuration with some settings changed; those of its model one by one.

    Raises:
        ConfigError: a setting that is unknown, of the wrong type or out of range.
    """
    values: dict[str, Any] = asdict(training)
    model = {**values["model"], **change.get("model", {})}
    return build(TrainingConfig, {**values, **change, "model": model}, where)


def with_parts(model: ModelConfig, arm: str) -> ModelConfig:
    """The model of an arm; the arm that is fixed multiplies its Δ by the configured numbers."""
    parts = ARMS[arm]
    return replace(
        model,
        text_encoder=model.text_encoder if "text" in parts else "",
        use_similarity_enhancer="similarity" in parts,
        use_prompt_enhancer="prompt" in parts,
        use_learnable_fusion=arm != "all, fixed",
    )


def arms_of(config: AblationConfig, model: ModelConfig) -> dict[str, TrainingConfig]:
    """How each arm is trained, seed and start aside; the first is the one that the others are compared with."""
    encoder = config.training.model.text_encoder
    parts = {arm: replace(config.training, model=with_parts(model, arm)) for arm in ARMS}
    if not config.changes:
        return {arm: training for arm, training in parts.items() if encoder or ARMS[arm] != ("text",)}
    whole = parts[WHOLE]
    return {WHOLE: whole} | {name: changed(whole, change, name) for name, change in config.changes.items()}


def ablate(folder: RunFolder, data_dir: str | Path | None = None, config: AblationConfig | None = None) -> list[Scores]:
    """Trains and judges every arm with every seed, from wherever the folder stands; what is finished is kept.

    Each arm is a run of its own inside the folder; arms with one seed see the same subgraphs, step by step, since
    those depend on the seed alone.

    Args:
        config: of an ablation that has not begun; its folder is made when all graphs are read.

    Raises:
        ConfigError: a validation graph shares a triple with a training graph, or a setting is wrong.
    """
    if config is None or folder.begun:
        config = read_ablation(folder.path / CONFIG)
    if not config.training.model.text_encoder:
        warn("training.model.text_encoder is empty: no arm reads texts")
    trained = load_checkpoint(config.warm_start)[1].training_data if config.warm_start else {}
    graphs = [
        training_graph(name, data_dir, training.exclude, training.exclude_graphs)
        for training in arms_of(config, config.training.model).values()
        for name in dict.fromkeys([*(source.name for source in training.sources), *trained])
        if name != SYNTHETIC
    ]
    questions = validations(config, graphs, data_dir)
    if not folder.begun:
        RunFolder.create(folder.path, config)
    start = _start(folder, config, data_dir)
    sizes = {name: getattr(load_checkpoint(start)[0].config, name) for name in ENCODERS}
    arms = arms_of(config, replace(config.training.model, **sizes))
    scores, done = [], 0
    for seed in config.seeds:
        for arm, training in arms.items():
            done += 1
            run = RunFolder(folder.path / f"{re.sub(r'[^a-zA-Z0-9.]+', '-', arm).strip('-')}-{seed}")
            if not (run.path / SCORES).exists():
                with progress(f"{arm}, seed {seed} ({done} of {len(arms) * len(config.seeds)})") as update:
                    begin = replace(training, start_from=str(start), seed=seed)
                    checkpoint = pretrain(run, data_dir, update, "trivium ablate", begin)
                _judge(run, Trivium.load(checkpoint), questions)
            scores += _scores(run, arm, seed)
    return scores


def validations(config: AblationConfig, graphs: Iterable[Graph], data_dir: str | Path | None) -> dict[str, Validation]:
    """The questions by graph.

    Args:
        graphs: all that an arm was trained on, its start included.

    Raises:
        ConfigError: one shares a triple with a training graph.
    """
    encoder = load_encoder(config.training.model.text_encoder) if config.training.model.text_encoder else None
    training, out = list(graphs), {}
    for name in config.graphs:
        splits = load_dataset(name, data_dir)
        texts = None
        if encoder is not None:
            texts = graph_texts(splits.valid_graph, encoder, name, data_dir)
        out[name] = Validation.of(splits, config.questions, texts)
        known = out[name].known
        shared = int(contained(known.triples, known, training).sum())
        if shared:
            raise ConfigError(f"{name} shares {shared:,} triples with the training graphs: take it out of graphs")
    return out


def _start(folder: RunFolder, config: AblationConfig, data_dir: str | Path | None) -> Path:
    """The checkpoint that every arm begins with: a structural encoder and an entity encoder, no more; for trials of
    choices all that ``warm_start`` holds."""
    path = folder.path / START
    if path.exists():
        return path
    if config.warm_start:
        warm = Path(config.warm_start)
        model, provenance = load_checkpoint(config.warm_start)
    else:
        training = replace(
            config.training,
            model=with_parts(config.training.model, BASE),
            steps=config.warm_steps,
            seed=max(config.seeds) + 1,  # the arms shall not see its subgraphs again
        )
        with progress("the structural start") as update:
            warm = pretrain(RunFolder(folder.path / "start"), data_dir, update, "trivium ablate", training)
        model, provenance = load_checkpoint(warm)
    plain = Trivium(model.config if config.changes else with_parts(model.config, BASE))
    plain.load_state_dict({name: model.state_dict()[name] for name in plain.state_dict()})
    save_checkpoint(plain, replace(provenance, note=f"begun from {warm.name}, for an ablation"), path)
    return path


def _judge(run: RunFolder, model: Trivium, questions: Mapping[str, Validation]) -> None:
    content = {}
    for name, validation in questions.items():
        relations, reciprocal = validation.reciprocal_ranks(model)
        content[name] = {"relations": relations.tolist(), "reciprocal": reciprocal.tolist()}
    with whole_file(run.path / SCORES, force=True) as file:
        file.write(json.dumps(content).encode())


def _scores(run: RunFolder, arm: str, seed: int) -> list[Scores]:
    content = json.loads((run.path / SCORES).read_text("utf-8"))
    return [
        Scores(arm, seed, name, np.array(rows["relations"], np.int64), np.array(rows["reciprocal"], np.float64))
        for name, rows in content.items()
    ]
