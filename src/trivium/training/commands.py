"""What the command line asks of training."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from trivium.errors import ConfigError
from trivium.graph.output import check_output, check_place, save_figure, whole_file, write_table
from trivium.model.checkpoint import ENDING
from trivium.model.trivium import Trivium
from trivium.report import progress, show, show_frame, warn
from trivium.settings import check_range
from trivium.training.ablation import ablate, read_ablation
from trivium.training.evidence import differences, draw, suggest, table_of
from trivium.training.finetune import finetune, finetune_config
from trivium.training.pretrain import pretrain, read_config, training_graph
from trivium.training.run import CONFIG, RunFolder
from trivium.training.synthetic import MOST_TYPES, synthesize
from trivium.training.validation import held_out
from trivium.training.weights import draw_fusion, fusion_course


def pretrain_run(config: Path | None, run: Path | None, resume: Path | None, data_dir: Path | None) -> None:
    """Begins a run, or takes one up."""
    if (config is None) == (resume is None):
        raise ConfigError("give a configuration to begin a run, or --resume RUN to continue one")
    if resume is not None:
        folder = _begun(resume)
    else:
        assert config is not None
        folder = RunFolder.create(run or Path("runs") / config.stem, read_config(config))
    with progress("training") as update:
        path = pretrain(folder, data_dir, update)
    warn(f"{path}: trained")


def _begun(path: Path) -> RunFolder:
    folder = RunFolder(path)
    if not (folder.path / CONFIG).exists():
        raise ConfigError(f"{path} holds no run: its {CONFIG} is missing")
    return folder


def finetune_run(
    graph: str | None,
    output: Path,
    checkpoint: str,
    only: list[str] | None,
    valid: Path | None,
    steps: int | None,
    run: Path | None,
    resume: Path | None,
    data_dir: Path | None,
    force: bool,
) -> None:
    """Fits a checkpoint to a graph, and says what came of it."""
    if (graph is None) == (resume is None):
        raise ConfigError("give a graph to begin with, or --resume RUN to continue one")
    check_place(output, force, ENDING)
    if resume is not None:
        folder = _begun(resume)
    else:
        assert graph is not None
        config = finetune_config(graph, checkpoint, only or (), "" if valid is None else str(valid), steps)
        held_out(config, training_graph(graph, data_dir), None, data_dir)  # what is wrong shows before a folder is made
        folder = RunFolder.create(run or Path("runs") / output.stem, config)
    start = Trivium.load(read_config(folder.path / CONFIG).start_from).fusion_weights()
    with progress("fitting") as update:
        course = finetune(folder, output, data_dir, update, force)
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
    if (config is None) == (resume is None):
        raise ConfigError("give a configuration to begin an ablation, or --resume FOLDER to continue one")
    if resume is not None:
        folder = _begun(resume)
    else:
        assert config is not None
        folder = RunFolder.create(run or Path("runs") / config.stem, read_ablation(config))
    scores = ablate(folder, data_dir)
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
    check_range(MOST_TYPES, entities=entities)
    check_range(1, relations=relations, rules=rules, triples_per_relation=triples_per_relation)
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
