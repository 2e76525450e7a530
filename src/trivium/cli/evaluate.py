"""Measure checkpoints on data sets."""

from __future__ import annotations

from pathlib import Path

from trivium.cli.options import DEFAULT, Checkpoint, Conditioning, DataDir, Disable, Force, Required


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
