"""Training from a configuration to a checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from trivium import __version__
from trivium.datasets.leakage import SYNTHETIC, Exclusion, graphs_in, training_graph
from trivium.datasets.registry import graph_source
from trivium.errors import ConfigError, OutputError
from trivium.files import claimed
from trivium.graph.graph import Graph
from trivium.model.checkpoint import Provenance, checkpoint_sha256
from trivium.model.trivium import load_checkpoint, save_checkpoint
from trivium.settings import build, read_yaml
from trivium.text.encoder import load_encoder
from trivium.text.graph import TextGraph, graph_texts
from trivium.training.config import SourceConfig, TrainingConfig
from trivium.training.loop import Progress, train
from trivium.training.run import CONFIG, RunFolder, best_step
from trivium.training.team import Team
from trivium.training.validation import held_out

CHECKPOINT = "checkpoint.safetensors"
UNKNOWN = "unknown"


def read_config(path: str | Path) -> TrainingConfig:
    """A training configuration from YAML.

    Raises:
        ConfigError: a setting that is unknown, missing, of the wrong type or out of range.
    """
    return build(TrainingConfig, read_yaml(path), path)


def training_graphs(
    config: TrainingConfig, data_dir: str | Path | None = None
) -> tuple[TrainingConfig, dict[str, Graph]]:
    """The graphs of all sources by name, and the configuration with a source for each graph of a folder.

    Graphs of one folder share its weight in proportion to the logarithm of one plus their number of relations with ten
    triples or more: what a graph teaches grows with its kinds of relation, and less and less.

    Raises:
        InputError: a graph cannot be read, or nothing is left of it.
    """
    sources: list[SourceConfig] = []
    graphs: dict[str, Graph] = {}
    for source in config.sources:
        if source.name == SYNTHETIC:
            sources.append(source)
            continue
        names = graphs_in(source.name, data_dir)
        found = {name: training_graph(name, data_dir, exclusion(config), **source.reading) for name in names}
        counts = [np.bincount(graph.triples[:, 1]) for graph in found.values()]
        schemas = np.log1p([int((count >= 10).sum()) for count in counts]) if len(names) > 1 else np.ones(1)
        shares = source.weight * schemas / max(schemas.sum(), 1e-9)
        sources += [replace(source, name=name, weight=float(s)) for name, s in zip(names, shares, strict=True)]
        graphs |= found
    return replace(config, sources=tuple(sources)), graphs


def training_texts(
    config: TrainingConfig, graphs: Mapping[str, Graph], data_dir: str | Path | None
) -> dict[str, TextGraph]:
    """The textual relation graphs of the sources, for a model that reads texts."""
    if not config.model.text_encoder:
        return {}
    encoder = load_encoder(config.model.text_encoder)
    return {name: graph_texts(graph, encoder, graph_source(name, data_dir), data_dir) for name, graph in graphs.items()}


def exclusion(config: TrainingConfig) -> dict[str, list[str]]:
    """What a run takes out of each of its graphs."""
    return {"exclude": list(config.exclude), "exclude_graphs": list(config.exclude_graphs)}


def data_seen(
    start: Provenance, now: Provenance, data_dir: str | Path | None, sources: Sequence[SourceConfig] = ()
) -> Provenance:
    """The training data of a run and of the one that its weights began from.

    Where both trained on a graph and took different triples out of it, it counts as seen but for what both took out.
    If its hash is not what that says, `UNKNOWN` takes its place, and leakage is unknown too: it must not look smaller
    than it is.

    Args:
        sources: of the run, which say how files are read.
    """
    reading = {source.name: source.reading for source in sources}
    data = {**start.training_data, **now.training_data}
    excluded = {name: start.excluded_from(name) for name in start.training_data} | now.excluded
    for name in (start.training_data.keys() & now.training_data.keys()) - {SYNTHETIC}:
        if start.training_data[name] != now.training_data[name]:
            before: Exclusion = start.excluded_from(name)
            certain = (
                training_graph(name, data_dir, before, **reading.get(name, {})).sha256 == start.training_data[name]
            )
            excluded[name] = {key: [n for n in names if n in before[key]] for key, names in now.excluded[name].items()}
            data[name] = training_graph(name, data_dir, excluded[name]).sha256 if certain else UNKNOWN
    return replace(now, training_data=data, excluded=excluded)


def pretrain(
    run: RunFolder,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
    made_by: str = "trivium pretrain",
    config: TrainingConfig | None = None,
    team: Team = Team(),  # noqa: B008
) -> Path:
    """Trains a run to its last step, from wherever it stands, and writes its checkpoint.

    Args:
        made_by: for the provenance.
        config: of a run that has not begun; its folder stays only if all is ready for the first step.
        team: the processes that train together, and where; a run may go on with others.

    Returns:
        The checkpoint: the running average of the weights, the best one where the run validates, with its provenance.
        Triples that were held out to judge weights count as training data too: they chose among weights.

    Raises:
        InputError: a source is not what the run began with, or what it saved is damaged.
        OutputError: another process writes the run, or it holds one with other settings.
    """
    with claimed(run.path, run.path) if team.first else nullcontext():
        file = run.path / CONFIG
        began = team.told(lambda: read_config(file) if run.begun else None)
        config, graphs = training_graphs(config or began or read_config(file), data_dir)
        if began not in (None, config):  # one that began at the same time
            raise OutputError(f"{run.path} holds a run already: continue it with --resume, or choose another folder")
        texts = training_texts(config, graphs, data_dir)
        sources = {name: graph.sha256 for name, graph in graphs.items()}
        sources |= {f"relation texts of {name}": text.sha256 for name, text in texts.items()}
        if config.start_from:
            sources[config.start_from] = checkpoint_sha256(config.start_from)
        if config.valid:
            sources[config.valid] = hashlib.sha256(Path(config.valid).read_bytes()).hexdigest()
        if began and team.first:
            run.check_sources(sources)
        if set(config.train_only) == {"text"} and not any(text.has_text.any() for text in texts.values()):
            raise ConfigError(
                "train_only: no relation of the sources has a text to learn from: bring texts, or train more"
            )
        hashes = {name: graph.sha256 for name, graph in graphs.items()}
        synthetic = {SYNTHETIC: ""} if any(source.name == SYNTHETIC for source in config.sources) else {}
        provenance = Provenance(
            made_by=made_by,
            version=__version__,
            training_data=hashes | synthetic,
            excluded={name: exclusion(config) for name in hashes},
            steps=config.steps,
            seed=config.seed,
            settings=asdict(config),
        )
        if config.start_from:
            provenance = data_seen(load_checkpoint(config.start_from)[1], provenance, data_dir, config.sources)
        validate = None
        if config.validate_every:
            first = config.sources[0].name
            if first not in graphs:
                raise ConfigError(
                    f"validate_every: the first source, {first}, has no triples to hold out: name a graph"
                )
            graphs[first], validation = held_out(config, graphs[first], texts.get(first), data_dir)
            validate = validation.split(config.set_aside)[0].mrr
        trainer = train(config, graphs, run, progress, texts, validate, sources, team)
        path = run.path / CHECKPOINT
        if not team.first:
            return path
        notes = [f"began with the weights of {Path(config.start_from).name}"] if config.start_from else []
        if trainer.best:
            course = run.validations()
            best = best_step(course)
            trainer.average.load_state_dict(trainer.best)
            notes.append(f"best on validation, MRR {course[best]:.4f} after step {best}, {course[0]:.4f} at the start")
            provenance = replace(provenance, steps=best)
        save_checkpoint(trainer.average, replace(provenance, note="; ".join(notes)), path, force=True)
        return path
