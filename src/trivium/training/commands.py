"""What the command line asks of training."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from trivium.datasets.synthetic import synthesize
from trivium.errors import ConfigError
from trivium.files import check_output, check_place, save_figure, whole_file, write_table
from trivium.model.checkpoint import ENDING
from trivium.model.trivium import Trivium
from trivium.report import progress, show, show_frame, warn
from trivium.settings import check_range
from trivium.training.ablation import ablate, read_ablation
from trivium.training.evidence import differences, draw, suggest, table_of
from trivium.training.finetune import finetune, finetune_config
from trivium.training.pretrain import pretrain, read_config
from trivium.training.run import CONFIG, RunFolder
from trivium.training.weights import draw_fusion, fusion_course


def pretrain_run(config: Path | None, run: Path | None, resume: Path | None, data_dir: Path | None) -> None:
    """Begins a run, or takes one up."""
    folder = _folder("a configuration", config, resume, run=run)
    begin = None if config is None else read_config(config)
    with progress("training") as update:
        path = pretrain(folder, data_dir, update, config=begin)
    warn(f"{path}: trained")


def _folder(what: str, name: Path | str | None, resume: Path | None, run: Path | None, **others: object) -> RunFolder:
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
        if value not in (None, []):
            raise ConfigError(f"--{option}: {resume} goes on as it began: leave --{option} out, or begin a new run")
    folder = RunFolder(resume)
    if not folder.begun:
        raise ConfigError(f"{resume} holds no run: its {CONFIG} is missing")
    return folder


def finetune_run(
    graph: str | None,
    output: Path,
    checkpoint: str | None,
    only: list[str] | None,
    valid: Path | None,
    steps: int | None,
    run: Path | None,
    resume: Path | None,
    data_dir: Path | None,
    force: bool,
) -> None:
    """Fits a checkpoint to a graph, and says what came of it."""
    folder = _folder(
        "a graph", graph and output, resume, run=run, checkpoint=checkpoint, only=only, valid=valid, steps=steps
    )
    check_place(output, force, ENDING)
    if graph is None:
        config = read_config(folder.path / CONFIG)
    else:
        config = finetune_config(graph, checkpoint or "trivium", only or (), "" if valid is None else str(valid), steps)
    start = Trivium.load(config.start_from).fusion_weights()
    with progress("fitting") as update:
        course = finetune(folder, output, data_dir, update, force, config)
    best = max(course, key=lambda step: (course[step], -step))
    if best == 0:
        warn(f"{output}: nothing beat the start (validation MRR {course[0]:.4f}): it holds the start's weights")
    else:
        warn(f"{output}: validation MRR {course[best]:.4f} after step {best}; the start had {course[0]:.4f}")
    now = Trivium.load(output).fusion_weights()
    show(["part", "fusion weight at the start", "now"], [[name, start[name], now[name]] for name in now])


def show_weights(runs: list[str], output: Path, table: Path | None, force: bool) -> None:
    """Draws and shows the fusion of runs and checkpoints."""
    check_place(output, force, ".png")
    if table is not None:
        check_output(table, force)
    course = fusion_course(runs)
    if table is not None:
        write_table(course, table, force)
    save_figure(draw_fusion(course), output, force)
    show_frame(course.group_by("run", "data", "branch", maintain_order=True).last())
    warn(f"{output}: drawn")


def ablate_run(config: Path | None, run: Path | None, resume: Path | None, data_dir: Path | None) -> None:
    """Begins an ablation, or takes one up; shows, writes and draws what it found."""
    folder = _folder("a configuration", config, resume, run=run)
    scores = ablate(folder, data_dir, None if config is None else read_ablation(config))
    rows = differences(scores)
    report = table_of(rows)
    write_table(report, folder.path / "ablation.csv", force=True)
    save_figure(draw(rows), folder.path / "ablation.png", force=True)
    show_frame(report)
    if not read_ablation(folder.path / CONFIG).changes:
        for line in suggest({row.arm: row for row in rows}).evidence:
            print(line)
    warn(f"{folder.path / 'ablation.png'}: drawn")


def write_synthetic(
    output: Path,
    seed: int,
    entities: int | None,
    relations: int | None,
    rules: int | None,
    triples_per_relation: int | None,
    force: bool,
) -> None:
    """Writes a synthetic graph as a table of triples; a TSV has no header, as readers expect."""
    check_place(output, force, ".tsv", ".csv", ".parquet")
    check_range(0, seed=seed)
    graph = synthesize(
        seed, entities=entities, base_relations=relations, rules=rules, triples_per_relation=triples_per_relation
    )
    h, r, t = graph.triples.T
    names = {
        "head": graph.entities.take(h),
        "relation": graph.relations.take(r),
        "tail": graph.entities.take(t),
    }
    if output.suffix.lower() == ".tsv":
        with whole_file(output, force) as file:
            pl.DataFrame(names).write_csv(file, separator="\t", include_header=False, quote_style="never")
    else:
        write_table(pl.DataFrame(names), output, force)
    warn(f"{output}: {graph.num_triples:,} triples, {graph.num_entities:,} entities, {graph.num_relations:,} relations")
