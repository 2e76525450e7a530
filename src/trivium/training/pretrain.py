"""Pretraining from a configuration to a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from trivium import __version__
from trivium.errors import ConfigError
from trivium.evaluation.leakage import without_questions
from trivium.graph.datasets import dataset_names, load_dataset
from trivium.graph.graph import Graph
from trivium.model.checkpoint import Provenance, load_checkpoint, save_checkpoint
from trivium.settings import build, read_yaml
from trivium.text.encoder import load_encoder
from trivium.text.graph import TextGraph
from trivium.text.load import graph_texts
from trivium.training.batches import SYNTHETIC
from trivium.training.config import TrainingConfig
from trivium.training.loop import Progress, train
from trivium.training.run import CONFIG, RunFolder

CHECKPOINT = "checkpoint.safetensors"


def read_config(path: str | Path) -> TrainingConfig:
    """A training configuration from YAML.

    Raises:
        ConfigError: a setting that is unknown, missing, of the wrong type or out of range.
    """
    config = build(TrainingConfig, read_yaml(path), path)
    if not config.sources or any(source.weight < 0 for source in config.sources):
        raise ConfigError(f"{path}: sources: name at least one, with weights that are not negative")
    names = ("steps", "subgraphs_per_step", "steps_per_epoch", "save_every", "threads", "min_questions", "min_entities")
    for name in names:
        if getattr(config, name) < 1:
            raise ConfigError(f"{path}: {name}: {getattr(config, name)} is less than 1")
    return config


def training_graph(name: str, data_dir: str | Path | None = None, exclude: Sequence[str] = ()) -> Graph:
    """The training split of a data set, or the graph of a file, less the questions of the excluded data sets."""
    graph = load_dataset(name, data_dir).train if name in dataset_names() else Graph.read(name)
    return without_questions(graph, exclude, data_dir)


def training_texts(
    config: TrainingConfig, graphs: Mapping[str, Graph], data_dir: str | Path | None
) -> dict[str, TextGraph]:
    """The textual relation graphs of the sources, for a model that reads texts."""
    if not config.model.text_encoder:
        return {}
    encoder = load_encoder(config.model.text_encoder)
    return {name: graph_texts(graph, encoder, name, data_dir) for name, graph in graphs.items()}


def pretrain(run: RunFolder, data_dir: str | Path | None = None, progress: Progress | None = None) -> Path:
    """Trains a run to its last step, from wherever it stands, and writes its checkpoint.

    Returns:
        The checkpoint: the running average of the weights, with its provenance.
    """
    config = read_config(run.path / CONFIG)
    names = [source.name for source in config.sources if source.name != SYNTHETIC]
    graphs = {name: training_graph(name, data_dir, config.exclude) for name in names}
    texts = training_texts(config, graphs, data_dir)
    trainer = train(config, graphs, run, progress, texts)
    earlier = load_checkpoint(config.start_from)[1].training_data if config.start_from else {}
    provenance = Provenance(
        made_by="trivium pretrain",
        version=__version__,
        training_data=earlier
        | {name: graph.sha256 for name, graph in graphs.items()}
        | ({SYNTHETIC: ""} if len(names) < len(config.sources) else {}),
        steps=config.steps,
        seed=config.seed,
        settings=asdict(config),
        note=f"began with the weights of {Path(config.start_from).name}" if config.start_from else "",
    )
    path = run.path / CHECKPOINT
    save_checkpoint(trainer.average, provenance, path, force=True)
    return path
