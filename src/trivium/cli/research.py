"""The verbs that train, measure and compare models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from trivium.cli.options import DEFAULT, Checkpoint, Conditioning, DataDir, Disable, Force, Required, Resume, app


@app.command
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


@app.command
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


@app.command
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


@app.command
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


@app.command
def evaluate(
    datasets: list[str],
    /,
    *,
    checkpoint: Checkpoint = DEFAULT,
    data_dir: DataDir = None,
    conditioning: Conditioning = None,
    sample: int | None = None,
    seed: int = 0,
    groups: bool = False,
    disable: Disable = None,
    json: Path | None = None,
    force: Force = False,
) -> None:
    """Measures filtered ranking on data sets, zero-shot: both directions, three tie policies, leakage.

    Parameters
    ----------
    datasets
        Names such as FB15k237Inductive:v1; see `trivium datasets`.
    sample
        Ask only about so many queries of each data set; the table then gives an interval.
    seed
        Of the sample.
    groups
        Also report each relation and each direction.
    json
        Also write the figures there.
    """
    from trivium.evaluation import tables

    tables.evaluate_all(checkpoint, datasets, data_dir, conditioning, sample, seed, groups, disable or [], json, force)


@app.command
def benchmark(
    graphs: list[str] | None = None,
    /,
    *,
    output: Required,
    checkpoint: list[str] | None = None,
    data_dir: DataDir = None,
    conditioning: Conditioning = None,
    sample: int | None = None,
    seed: int = 0,
    disable: Disable = None,
    valid: bool = False,
) -> None:
    """Evaluates checkpoints over many graphs beside published figures, and writes the table.

    Finished results are kept in the output folder; interrupted, the same command goes on.

    Parameters
    ----------
    graphs
        Suites (clean, grail, ingram, transductive, validation) and data sets; the first four by default.
    output
        The folder of results and of table.md.
    checkpoint
        Shipped names or files (repeatable).
    sample
        Ask only about so many queries of each graph.
    seed
        Of the sample.
    valid
        Ask the validation questions, to choose between checkpoints without looking at the test.
    """
    from trivium.evaluation.benchmark import TEST_SUITES
    from trivium.evaluation.benchmark import benchmark as run

    chosen, parts = checkpoint or [DEFAULT], disable or []
    run(chosen, graphs or TEST_SUITES, output, data_dir, conditioning, sample, seed, parts, valid)


@app.command
def overlap(a: str, b: str, /, *, data_dir: DataDir = None) -> None:
    """Shows the share of B's graph and test triples that A's training triples contain.

    Parameters
    ----------
    a
        A data set's name, or a graph file.
    b
        A data set's name.
    """
    from trivium.evaluation import tables

    tables.show_overlap(a, b, data_dir)


@app.command(name="import")
def import_(file: Path, /, *, output: Required, force: Force = False) -> None:
    """Turns a public ULTRA checkpoint (.pth) into one of ours; only tensors are read from it.

    Parameters
    ----------
    file
        ultra_3g.pth, ultra_4g.pth or ultra_50g.pth.
    output
        The .safetensors file to write.
    """
    from trivium.graph.output import check_place
    from trivium.model.checkpoint import ENDING, import_ultra, save_checkpoint

    check_place(output, force, ENDING)
    save_checkpoint(*import_ultra(file), output, force)
    print(f"{output}: imported; inverse queries are conditioned on the forward relation, as in the public code")


@app.command
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
