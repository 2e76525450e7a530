"""The ablation (F10): what text, similarity and prompts are worth, each trained on from one structural start."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from trivium.datasets.leakage import SYNTHETIC, contained, training_graph
from trivium.datasets.registry import load_dataset
from trivium.errors import ConfigError
from trivium.evaluation.evaluate import Questions
from trivium.files import write_whole
from trivium.graph.graph import Graph
from trivium.model.checkpoint import Provenance, checkpoint_sha256
from trivium.model.config import ModelConfig
from trivium.model.trivium import Trivium, load_checkpoint, save_checkpoint
from trivium.settings import build, read_json, read_yaml
from trivium.training.config import AblationConfig
from trivium.training.evidence import Scores
from trivium.training.loop import Progress
from trivium.training.pretrain import pretrain, training_graphs, training_texts
from trivium.training.run import CONFIG, RunFolder
from trivium.training.team import Team
from trivium.training.validation import Validation

BASE = "structure only"
EVERYTHING = ("text", "similarity", "prompt")
ARMS: dict[str, tuple[str, ...]] = {
    BASE: (),
    **{f"+ {part}": (part,) for part in EVERYTHING},
    "all, fixed": EVERYTHING,
    "all, learnable": EVERYTHING,
}
"""The arms and the parts that each adds to the structure."""

ENCODERS = "structure conditioning reversed_messages dim layers structure_dim structure_steps structure_layers".split()
SCORES = "scores.json"
START = "structure.safetensors"

Report = Callable[[str], AbstractContextManager[Progress | None]]
"""Opens the progress of one training, by a label."""

log = logging.getLogger(__name__)


def read_ablation(path: str | Path) -> AblationConfig:
    """An ablation's configuration from YAML.

    Raises:
        ConfigError: a setting that is unknown, missing, of the wrong type or out of range.
    """
    return build(AblationConfig, read_yaml(path), path)


def with_parts(model: ModelConfig, arm: str) -> ModelConfig:
    """The model of an arm; the arm that is fixed multiplies its Δ by the configured numbers. None has chains."""
    parts = ARMS[arm]
    return replace(
        model,
        text_encoder=model.text_encoder if "text" in parts else "",
        use_similarity_enhancer="similarity" in parts,
        use_prompt_enhancer="prompt" in parts,
        use_chains=False,
        use_learnable_fusion=arm != "all, fixed",
    )


def ablate(
    folder: RunFolder,
    data_dir: str | Path | None = None,
    config: AblationConfig | None = None,
    report: Report = lambda _: nullcontext(),
    device: str = "cpu",
) -> list[Scores]:
    """Trains and judges every arm with every seed, from wherever the folder stands; what is finished is kept.

    Each arm is a run of its own inside the folder; arms with one seed see the same subgraphs, step by step, since
    those depend on the seed alone.

    Args:
        config: of an ablation that has not begun; its folder is made when all graphs are read.
        device: where to compute.

    Raises:
        ConfigError: a validation graph shares a triple with a training graph, or a setting is wrong.
    """
    if config is None or folder.begun:
        config = read_ablation(folder.path / CONFIG)
    training = config.training
    if not training.model.text_encoder:
        log.warning("training.model.text_encoder is empty: no arm reads texts")
    earlier = load_checkpoint(config.warm_start)[1] if config.warm_start else Provenance()
    names = earlier.training_data.keys() - {SYNTHETIC}
    seen = [training_graph(name, data_dir, earlier.excluded_from(name)) for name in names]
    graphs = training_graphs(training, data_dir)[1]
    questions = validations(config, [*graphs.values(), *seen], data_dir)
    sources = {name: graph.sha256 for name, graph in graphs.items()}
    sources |= {f"validation of {name}": each.questions.known.sha256 for name, each in questions.items()}
    if config.warm_start:
        sources[config.warm_start] = checkpoint_sha256(config.warm_start)
    if folder.begun:
        folder.check_sources(sources)
    else:
        RunFolder.create(folder.path, config, sources)
    start = _start(folder, config, data_dir, report, device)
    sizes = {name: getattr(load_checkpoint(start)[0].config, name) for name in ENCODERS}
    arms = [arm for arm in ARMS if training.model.text_encoder or ARMS[arm] != ("text",)]
    planned = [(seed, arm) for seed in config.seeds for arm in arms]
    scores = []
    for number, (seed, arm) in enumerate(planned, 1):
        run = RunFolder(folder.path / f"{re.sub(r'[^a-zA-Z0-9.]+', '-', arm).strip('-')}-{seed}")
        file = run.path / SCORES
        if not file.exists():
            model = with_parts(replace(training.model, **sizes), arm)
            begin = replace(training, model=model, start_from=str(start), seed=seed)
            with report(f"{arm}, seed {seed} ({number} of {len(planned)})") as progress:
                went = None if run.begun else begin
                made = pretrain(run, data_dir, progress, "trivium ablate", went, Team(device=device))
            trained, _ = load_checkpoint(made, device)
            ranks = {name: validation.reciprocal_ranks(trained) for name, validation in questions.items()}
            content = {g: {"relations": r.tolist(), "reciprocal": mrr.tolist()} for g, (r, mrr) in ranks.items()}
            write_whole(json.dumps(content).encode(), file, force=True)
        for name, rows in read_json(file).items():
            scores.append(Scores(arm, seed, name, np.array(rows["relations"]), np.array(rows["reciprocal"])))
    return scores


def validations(config: AblationConfig, seen: Iterable[Graph], data_dir: str | Path | None) -> dict[str, Validation]:
    """The questions by graph.

    Args:
        seen: all graphs that an arm was trained on, its start included.

    Raises:
        ConfigError: one shares a triple with a training graph.
    """
    training, out = list(seen), {}
    for name in config.graphs:
        splits = load_dataset(name, data_dir).validation()
        every = Questions.of(splits)
        shared = int(contained(every.known.triples, every.known, training).sum())
        if shared:
            raise ConfigError(f"{name} shares {shared:,} triples with the training graphs: take it out of graphs")
        texts = training_texts(config.training, {name: splits.graph}, data_dir).get(name)
        out[name] = Validation(every.sample(config.questions, [0, 3]), texts)
    return out


def _start(folder: RunFolder, config: AblationConfig, data_dir: str | Path | None, report: Report, device: str) -> Path:
    """The checkpoint that every arm begins with: a structural encoder and an entity encoder, no more."""
    path = folder.path / START
    if path.exists():
        return path
    warm = Path(config.warm_start)
    if not config.warm_start:
        model = with_parts(config.training.model, BASE)
        seed = max(config.seeds) + 1  # the arms shall not see its subgraphs again
        training = replace(config.training, model=model, steps=config.warm_steps, seed=seed)
        with report("the structural start") as progress:
            warm = pretrain(
                RunFolder(folder.path / "start"), data_dir, progress, "trivium ablate", training, Team(device=device)
            )
    trained, provenance = load_checkpoint(warm)
    plain = Trivium(with_parts(trained.config, BASE))
    plain.load_state_dict({name: trained.state_dict()[name] for name in plain.state_dict()})
    save_checkpoint(plain, replace(provenance, note=f"begun from {warm.name}, for an ablation"), path)
    return path
