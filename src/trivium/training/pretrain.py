"""Training from a configuration to a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from trivium import __version__
from trivium.datasets.leakage import SYNTHETIC, is_file, without_questions
from trivium.datasets.registry import load_dataset
from trivium.errors import ConfigError
from trivium.graph.graph import Graph
from trivium.graph.read import read_graph
from trivium.model.checkpoint import Provenance, load_checkpoint, save_checkpoint
from trivium.settings import build, read_yaml
from trivium.text.encoder import load_encoder
from trivium.text.graph import TextGraph, graph_texts
from trivium.training.config import TrainingConfig
from trivium.training.loop import Progress, train, valid_course
from trivium.training.run import CONFIG, RunFolder
from trivium.training.validation import held_out

CHECKPOINT = "checkpoint.safetensors"
UNKNOWN = "unknown"


def read_config(path: str | Path) -> TrainingConfig:
    """A training configuration from YAML.

    Raises:
        ConfigError: a setting that is unknown, missing, of the wrong type or out of range.
    """
    return build(TrainingConfig, read_yaml(path), path)


def training_graph(
    name: str, data_dir: str | Path | None = None, exclude: Sequence[str] = (), exclude_graphs: Sequence[str] = ()
) -> Graph:
    """The training split of a data set, or the graph of a file, less what `without_questions` takes out of it.

    Raises:
        InputError: it cannot be read, or nothing is left of it.
    """
    graph = read_graph(name) if is_file(name) else load_dataset(name, data_dir).train
    graph = without_questions(graph, exclude, data_dir, exclude_graphs)
    if not graph.num_triples:
        raise ConfigError(f"exclude and exclude_graphs leave nothing of {name}: take it out of sources, or of these")
    return graph


def data_seen(
    start: Provenance, now: Mapping[str, str], config: TrainingConfig, data_dir: str | Path | None
) -> dict[str, str]:
    """SHA-256 by name of all that weights have seen: in the run that they began from, and in this one.

    Where one of the two took less out of a data set, its larger graph is what was seen. If nobody can tell which that
    is, `UNKNOWN` stands in the hash's place, and leakage is unknown too: it must not look smaller than it is.
    """

    def hashes(name: str, *choices: tuple[Sequence[str], Sequence[str]]) -> list[str]:
        return [training_graph(name, data_dir, *choice).sha256 for choice in choices]

    earlier = start.training_data
    out = {**earlier, **now}
    for name in earlier.keys() & now.keys():
        if earlier[name] == now[name] or name == SYNTHETIC:
            continue
        theirs = start.settings.get("exclude", ()), start.settings.get("exclude_graphs", ())
        if earlier[name] in hashes(name, (config.exclude, ()), ((), ())):
            out[name] = earlier[name]
        elif config.exclude or config.exclude_graphs or earlier[name] not in hashes(name, theirs, (theirs[0], ())):
            out[name] = UNKNOWN
    return out


def training_texts(
    config: TrainingConfig, graphs: Mapping[str, Graph], data_dir: str | Path | None
) -> dict[str, TextGraph]:
    """The textual relation graphs of the sources, for a model that reads texts."""
    if not config.model.text_encoder:
        return {}
    encoder = load_encoder(config.model.text_encoder)
    return {name: graph_texts(graph, encoder, name, data_dir) for name, graph in graphs.items()}


def pretrain(
    run: RunFolder,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
    made_by: str = "trivium pretrain",
    config: TrainingConfig | None = None,
) -> Path:
    """Trains a run to its last step, from wherever it stands, and writes its checkpoint.

    Args:
        made_by: for the provenance.
        config: of a run that has not begun; its folder is made when all is ready for the first step.

    Returns:
        The checkpoint: the running average of the weights, the best one where the run validates, with its provenance.
        Triples that were held out to judge weights count as training data too: they chose among weights.
    """
    if config is None or run.begun:
        config = read_config(run.path / CONFIG)
    names = [source.name for source in config.sources if source.name != SYNTHETIC]
    graphs = {name: training_graph(name, data_dir, config.exclude, config.exclude_graphs) for name in names}
    texts = training_texts(config, graphs, data_dir)
    if set(config.train_only) == {"text"} and not any(text.has_text.any() for text in texts.values()):
        raise ConfigError("train_only: no relation of the sources has a text to learn from: bring texts, or train more")
    hashes = {name: graph.sha256 for name, graph in graphs.items()}
    judge = None
    if config.validate_every:
        first = config.sources[0].name
        if first not in graphs:
            raise ConfigError(f"validate_every: the first source, {first}, has no triples to hold out: name a graph")
        graphs[first], validation = held_out(config, graphs[first], texts.get(first), data_dir)
        judge = validation.mrr
    trainer = train(config, graphs, run, progress, texts, judge)
    note = f"began with the weights of {Path(config.start_from).name}" if config.start_from else ""
    steps = config.steps
    if trainer.best:
        course = valid_course(run)
        steps = max(course, key=lambda step: (course[step], -step))
        trainer.average.load_state_dict(trainer.best)
        note += f"; best on validation, MRR {course[steps]:.4f} after step {steps}, {course[0]:.4f} at the start"
    start = load_checkpoint(config.start_from)[1] if config.start_from else Provenance()
    settings = asdict(config)
    for key in ("exclude", "exclude_graphs"):  # what the start left out tells what its hashes mean
        settings[key] = settings[key] or start.settings.get(key, ())
    provenance = Provenance(
        made_by=made_by,
        version=__version__,
        training_data=data_seen(start, hashes, config, data_dir)
        | ({SYNTHETIC: ""} if len(names) < len(config.sources) else {}),
        steps=steps,
        seed=config.seed,
        settings=settings,
        note=note.removeprefix("; "),
    )
    path = run.path / CHECKPOINT
    save_checkpoint(trainer.average, provenance, path, force=True)
    return path
