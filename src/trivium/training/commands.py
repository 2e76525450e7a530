"""What the command line asks of training."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from trivium.errors import ConfigError
from trivium.graph.output import check_output, whole_file, write_table
from trivium.report import progress, warn
from trivium.training.pretrain import pretrain, read_config
from trivium.training.run import CONFIG, RunFolder
from trivium.training.synthetic import synthesize


def pretrain_run(config: Path | None, run: Path | None, resume: Path | None, data_dir: Path | None) -> None:
    """Begins a run, or takes one up."""
    if (config is None) == (resume is None):
        raise ConfigError("give a configuration to begin a run, or --resume RUN to continue one")
    if resume is not None:
        folder = RunFolder(resume)
        if not (folder.path / CONFIG).exists():
            raise ConfigError(f"{resume} holds no run: its {CONFIG} is missing")
    else:
        assert config is not None
        folder = RunFolder.create(run or Path("runs") / config.stem, read_config(config))
    with progress("training") as update:
        path = pretrain(folder, data_dir, update)
    warn(f"{path}: trained")


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
    kind = check_output(output, force)
    graph = synthesize(
        seed, entities=entities, base_relations=relations, rules=rules, triples_per_relation=triples_per_relation
    )
    h, r, t = graph.triples.T
    names = {
        "head": graph.entities.take(h),
        "relation": graph.relations.take(r),
        "tail": graph.entities.take(t),
    }
    if kind == "tsv":
        with whole_file(output, force) as file:
            pl.DataFrame(names).write_csv(file, separator="\t", include_header=False, quote_style="never")
    else:
        write_table(pl.DataFrame(names), output, force)
    warn(f"{output}: {graph.num_triples:,} triples, {graph.num_entities:,} entities, {graph.num_relations:,} relations")
