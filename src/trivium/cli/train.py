"""Train, fit and compare models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from trivium.cli.options import DataDir, Force, Required, Resume


def pretrain(
    config: Path | None = None, /, *, run: Path | None = None, resume: Resume = None, data_dir: DataDir = None
) -> None:
    """Trains a model from scratch on sampled subgraphs, as a configuration says.

    Parameters
    ----------
    config
        A YAML file; see docs/training.md.
    run
        The folder of the run; runs/NAME by default, after the configuration's name.
    """
    from trivium.training import commands

    commands.pretrain_run(config, run, resume, data_dir)


def finetune(
    graph: str | None = None,
    /,
    *,
    output: Required,
    checkpoint: str | None = None,
    only: list[Literal["fusion", "similarity", "prompt", "text", "structure", "entity"]] | None = None,
    valid: Path | None = None,
    steps: int | None = None,
    run: Path | None = None,
    resume: Resume = None,
    data_dir: DataDir = None,
    force: Force = False,
) -> None:
    """Fits a checkpoint, or some of its parts, to one graph, and keeps the weights that validate best.

    Parameters
    ----------
    graph
        A graph file, or a data set's name: its training graph and its validation triples.
    output
        The .safetensors file to write.
    checkpoint
        Where to begin: a shipped checkpoint's name, or a file; trivium by default.
    only
        A part to train (repeatable); the others stay as they are. All by default.
    valid
        A file of validation triples; without it some are held out of the graph.
    steps
        At most so many.
    run
        The folder of the run; runs/NAME by default, after the output's name.
    """
    from trivium.training import commands

    commands.finetune_run(graph, output, checkpoint, list(only or ()), valid, steps, run, resume, data_dir, force)


def ablate(
    config: Path | None = None, /, *, run: Path | None = None, resume: Resume = None, data_dir: DataDir = None
) -> None:
    """Measures what each part of a model is worth, and suggests where the fusion weights should start.

    Parameters
    ----------
    config
        A YAML file; see docs/training.md.
    run
        The folder of the ablation; runs/NAME by default, after the configuration's name.
    """
    from trivium.training import commands

    commands.ablate_run(config, run, resume, data_dir)


def weights(
    runs: list[str],
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("weights.png"),
    table: Path | None = None,
    force: Force = False,
) -> None:
    """Draws what models rely on: weight, contribution and activity of each branch over time, runs side by side.

    Parameters
    ----------
    runs
        Folders of runs; a checkpoint (a file or a shipped name) gives the weights that it ended with.
    output
        The .png file to write.
    table
        Also write the figures there (.tsv, .csv, .parquet, .jsonl).
    """
    from trivium.training import commands

    commands.show_weights(runs, output, table, force)


def synthesize(
    *,
    output: Required,
    seed: int = 0,
    entities: int | None = None,
    relations: int | None = None,
    rules: int | None = None,
    triples_per_relation: int | None = None,
    force: Force = False,
) -> None:
    """Writes a synthetic graph made by random rules.

    Parameters
    ----------
    output
        The table to write (.tsv, .csv, .parquet).
    seed
        The graph is a function of it and of the other choices.
    entities
        How many, at least 8.
    relations
        How many base relations; rules add more.
    rules
        How many.
    triples_per_relation
        The mean number of base facts of a relation.
    """
    from trivium.training import commands

    commands.write_synthetic(output, seed, entities, relations, rules, triples_per_relation, force)
