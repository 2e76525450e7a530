"""Train, fit and compare models."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

from trivium.cli.options import DEFAULT, DataDir, Device, Force, Pairs, Reading, Required, Resume
from trivium.datasets import synthetic
from trivium.errors import ConfigError
from trivium.files import check_output, check_place, claimed, save_figure, write_table, write_whole
from trivium.model.checkpoint import ENDING
from trivium.report import progress, show, warn
from trivium.review.provenance import made_by
from trivium.settings import check_range
from trivium.training import finetune as fitting
from trivium.training import pretrain as training
from trivium.training.ablation import ablate as run_ablation
from trivium.training.ablation import read_ablation
from trivium.training.config import SourceConfig
from trivium.training.evidence import differences, draw, suggest
from trivium.training.run import CONFIG, RunFolder
from trivium.training.team import teamed
from trivium.training.weights import draw_fusion, fusion_course


def pretrain(
    config: Path | None = None,
    /,
    *,
    run: Path | None = None,
    resume: Resume = None,
    data_dir: DataDir = None,
    device: Device = "cpu",
) -> None:
    """Trains a model from scratch on sampled subgraphs, as a configuration says.

    `torchrun --nproc-per-node N -m trivium pretrain …` trains it in N processes, to the same weights.

    Parameters
    ----------
    config
        A YAML file; see docs/training.md.
    run
        The folder of the run; runs/NAME by default, after the configuration's name.
    """
    with teamed(device) as team:
        place = resume or run or Path("runs", Path(str(config)).stem)
        begun = RunFolder(place) if team.again else None  # a process died, and the same command goes on
        folder = team.told(lambda: begun or run_folder("a configuration", config, resume, run=run))
        begin = team.told(lambda: None if config is None else training.read_config(config))
        with progress("training") if team.first else nullcontext() as update:
            path = training.pretrain(folder, data_dir, update, config=begin, team=team)
        if team.first:
            warn(f"{path}: trained")


def run_folder(
    what: str, name: Path | str | None, resume: Path | None, run: Path | None, **others: object
) -> RunFolder:
    """The folder of a run that begins, by default ``runs/NAME``, or of one that goes on.

    Args:
        what: a run begins with.
        name: the file that a run is named after; ``None`` where none begins.
        others: options that only a run that begins has.

    Raises:
        ConfigError: both are asked for or neither, there is no run to go on, or an option would change it.
        OutputError: there is a run where one should begin.
    """
    if (name is None) == (resume is None):
        raise ConfigError(f"give {what} to begin a run, or --resume RUN to continue one")
    if resume is None:
        return RunFolder.free(run or Path("runs", Path(str(name)).stem))
    for option, value in {"run": run, **others}.items():
        if value is not None:
            name = f"--{option.replace('_', '-')}"
            raise ConfigError(f"{name}: {resume} goes on as it began: leave {name} out, or begin a new run")
    folder = RunFolder(resume)
    if not folder.begun:
        raise ConfigError(f"{resume} holds no run: its {CONFIG} is missing")
    return folder


def finetune(
    graph: str | None = None,
    /,
    *,
    output: Required,
    checkpoint: str | None = None,
    only: list[Literal["fusion", "similarity", "prompt", "text", "structure", "entity", "chains"]] | None = None,
    valid: Path | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    reading: Reading = Reading(),
    relation: Pairs = None,
    run: Path | None = None,
    resume: Resume = None,
    data_dir: DataDir = None,
    device: Device = "cpu",
    force: Force = False,
) -> None:
    """Fits a checkpoint, or some of its parts, to one graph, and keeps what shows on facts that chose nothing.

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
    minutes
        What it may take, 10 by default.
    steps
        So many in all instead of a time.
    run
        The folder of the run; runs/NAME by default, after the output's name.
    """
    began = {"checkpoint": checkpoint, "only": only, "valid": valid, "minutes": minutes, "steps": steps}
    given = {key: value for key, value in {"relation": relation, **vars(reading)}.items() if value}
    how: dict[str, Any] = {k: tuple(map(str, v)) if isinstance(v, list) else v for k, v in given.items()}
    folder = run_folder("a graph", graph and output, resume, run=run, **began, **how)
    check_place(output, force, ENDING)
    check_range(1, steps=steps)
    config = None
    if graph is not None:
        config = fitting.finetune_config(
            SourceConfig(graph, **how),
            *(checkpoint or DEFAULT, only or (), str(valid or ""), minutes, steps),
        )
    with claimed(folder.path, folder.path):
        found = fitting.finetune(folder, output, data_dir, config, progress, force, device)
    course = f"{found.start:.4f}, then {found.now:.4f} ({found.now - found.start:+.4f} ± {found.error:.4f})"
    said = f"MRR {course} on {found.questions:,} questions that chose nothing"
    if found.kept:
        doubt = "" if found.now - found.start >= 2 * found.error else "; under two standard errors, so perhaps chance"
        warn(f"{output}: {said}{doubt}; {found.steps:,} steps at a rate of {found.rate:g}")
    else:
        warn(f"{output}: no gain that shows ({said}): it holds the weights of the start")


def ablate(
    config: Path | None = None,
    /,
    *,
    run: Path | None = None,
    resume: Resume = None,
    data_dir: DataDir = None,
    device: Device = "cpu",
) -> None:
    """Measures what each part of a model is worth, and suggests where the fusion weights should start.

    Parameters
    ----------
    config
        A YAML file; see docs/training.md.
    run
        The folder of the ablation; runs/NAME by default, after the configuration's name.
    """
    folder = run_folder("a configuration", config, resume, run=run)
    begin = None if config is None else read_ablation(config)
    with claimed(folder.path, folder.path):
        scores = run_ablation(folder, data_dir, begin, progress, device)
    table = differences(scores)
    asked = (folder.path / CONFIG).read_text("utf-8")
    write_table(table, folder.path / "ablation.csv", force=True, provenance=made_by("ablate", asked))
    save_figure(draw(table), folder.path / "ablation.png", force=True)
    show(table.columns, table.rows())
    print("\n".join(suggest(table)[1]))
    warn(f"{folder.path / 'ablation.png'}: drawn")


def weights(
    runs: list[str],
    /,
    *,
    output: Required = Path("weights.png"),
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
    check_place(output, force, ".png")
    if table is not None:
        check_output(table, force)
    course = fusion_course(runs)
    if table is not None:
        write_table(course, table, force, made_by("weights", course.rows()))
    save_figure(draw_fusion(course), output, force)
    last = course.group_by("run", "data", "branch", maintain_order=True).last()
    show(last.columns, last.rows())
    warn(f"{output}: drawn")


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
    check_place(output, force, ".tsv", ".csv", ".parquet")
    check_range(0, seed=seed)
    graph = synthetic.synthesize(
        seed, entities=entities, base_relations=relations, rules=rules, triples_per_relation=triples_per_relation
    )
    triples = graph.named(graph.triples)
    made = made_by("synthesize", seed, entities, relations, rules, triples_per_relation)
    if output.suffix.lower() == ".tsv":
        lines = triples.write_csv(separator="\t", include_header=False, quote_style="never")  # as readers expect it
        write_whole(lines.encode(), output, force, made)
    else:
        write_table(triples, output, force, made)
    warn(f"{output}: {graph.num_triples:,} triples, {graph.num_entities:,} entities, {graph.num_relations:,} relations")
