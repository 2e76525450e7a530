"""Measure checkpoints on data sets."""

from __future__ import annotations

import json as to_json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from cyclopts.types import PositiveInt

from trivium.cli.options import DEFAULT, Columns, DataDir, Device, Force, Output, Pairs, Sharing
from trivium.datasets import leakage
from trivium.datasets.registry import OwnFiles, own_sha256
from trivium.errors import InputError
from trivium.evaluation.benchmark import MODELS, Results, graphs_of, markdown, tabulate
from trivium.evaluation.evaluate import Result, check_asked, evaluate_dataset
from trivium.files import check_place, write_whole
from trivium.graph.graph import triples_sha256
from trivium.graph.read import read_triples
from trivium.inference.parts import drop_parts, parts_for
from trivium.model.trivium import load_checkpoint
from trivium.report import progress, show, warn
from trivium.review.provenance import made_by


def evaluate(
    datasets: list[str] | None = None,
    /,
    *,
    checkpoint: list[str] | None = None,
    data_dir: DataDir = None,
    conditioning: Literal["own", "forward"] | None = None,
    sample: int | None = None,
    seed: int = 0,
    groups: bool = False,
    task: Literal["entity", "relation"] = "entity",
    disable: list[str] | None = None,
    valid: bool | Path = False,
    train: Path | None = None,
    test: Path | None = None,
    columns: Columns = None,
    relation: Pairs = None,
    skip_bad: bool = False,
    descriptions: bool = False,
    exclude: list[Path] | None = None,
    reach: PositiveInt | None = None,
    device: Device = "cpu",
    output: Output = None,
    json: Path | None = None,
    sharing: Sharing = Sharing(),
    force: Force = False,
) -> None:
    """Measures filtered ranking, zero-shot: both directions, three tie policies, leakage beside each figure.

    Parameters
    ----------
    datasets
        Names such as FB15k237Inductive:v1, see `trivium datasets`; suites: clean, clean15 (with Metafam), grail,
        ingram, transductive, validation; folders of your own with train, test and perhaps valid in any form of a graph.
    checkpoint
        Shipped names or files (repeatable); trivium by default.
    conditioning
        What inverse queries are conditioned on: themselves, or the forward relation; the checkpoint knows.
    sample
        Ask only about so many queries of each data set; the JSON file then gives an interval.
    seed
        Of the sample.
    groups
        Also report by direction, by whether the question and the answer were met at their end of the relation, by
        distance, and by relation.
    task
        Ask for the ends of each fact, or for its relation: (head, ?, tail).
    disable
        Switch a part off (repeatable): text, similarity, prompt.
    valid
        Ask the validation questions, to choose between checkpoints without looking at the test. With --train and
        --test a file of more facts that are true, and so are no rivals.
    train
        Instead of a data set: a file of your own, the graph that is asked.
    test
        With --train: the file of the questions.
    skip_bad
        Go on past lines of your own files that cannot be read; they are counted, and the first are named.
    descriptions
        Read what the folder of data sets says of relations in words, where it does; by default their own names alone,
        as on a graph of one's own.
    exclude
        A table of triples that are known to be wrong (repeatable): they are no rivals.
    reach
        Approximate: spread each question over so many entities alone, those nearest to its head.
    output
        A folder in which finished results are kept: interrupted, the same command goes on. It gets a table.md with
        published figures too.
    json
        Also write the figures there.
    """
    if json is not None:
        check_place(json, force, ".json")
    sharing.check()
    models = {name: load_checkpoint(name, device) for name in checkpoint or [DEFAULT]}
    disabled = sorted(disable or ())
    for model, _ in models.values():
        check_asked(model, sample, seed, disabled)
    own = None
    reading: dict[str, Any] = {"columns": columns, "relation": relation, "skip_bad": skip_bad}
    reading = {key: value for key, value in reading.items() if value}
    if train is not None and test is not None and not datasets and not (valid is True or output is not None):
        own = OwnFiles({"train": train, "test": test} | ({"valid": valid} if valid else {}), reading)
    elif train is not None or test is not None or not isinstance(valid, bool) or not datasets:
        raise InputError(
            "give data sets (and --valid last), or files: --train FILE and --test FILE, and --valid FILE if there are "
            "more facts; their figures go to --json FILE, not to -o"
        )
    graphs = [str(test)] if own else graphs_of(datasets or (), data_dir)
    asked: dict[str, Any] = {
        "conditioning": conditioning,
        "sample": sample,
        "seed": seed,
        "groups": groups,
        "task": task,
        "disabled": disabled,
        "valid": valid is True,
        "descriptions": descriptions,
    }
    limits: dict[str, Any] = {"reach": reach} if reach else {}
    files: dict[str, Any] = (
        {"exclude": [triples_sha256(read_triples(path, **reading)) for path in exclude]} if exclude else {}
    )
    table: dict[str, dict[str, Result]] = {name: {} for name in models}
    with sharing.each() as each:
        for name, (model, provenance) in models.items():
            kept = None if output is None else Results(output, name, **asked, **files, **limits, **reading)
            for number, graph in enumerate(graphs, 1):
                made_of = own_sha256(graph, data_dir)
                result = None if kept is None else kept.load(graph, made_of)
                if result is None:
                    bar = f"{Path(name).stem} {number}/{len(graphs)} {graph}"
                    place = None if kept is None else kept.file(graph)
                    with parts_for(place, each) as parts, progress(bar) as update:
                        how = asked | limits | {"own": own, "reading": reading, "exclude": exclude or ()}
                        how |= {"progress": update, "parts": parts}
                        result = evaluate_dataset(model, provenance, graph, data_dir, **how)
                        if kept is not None:
                            kept.save(result, made_of)
                elif kept is not None:
                    drop_parts(kept.file(graph))
                table[name][graph] = result
    header, rows = tabulate(table, graphs, MODELS if output and valid is False and task == "entity" else ())
    kind = f"{'validation' if valid is True else 'test'} questions{' for the relation' if task == 'relation' else ''}"
    show(header, rows, f"pessimistic figures, zero-shot, {kind}; ± is the standard error, clustered by relation")
    for name, results in table.items():
        for graph, result in results.items():
            for kind, found in result.groups.items():
                figures = [[n, m.queries, m.mrr, m.hits_at_1, m.hits_at_3, m.hits_at_10] for n, m in found.items()]
                show([kind, "queries", "MRR", "Hits@1", "Hits@3", "Hits@10"], figures, f"\n{Path(name).stem} {graph}")
    if json is not None:
        entries = [{"checkpoint": n, **asdict(r)} for n, results in table.items() for r in results.values()]
        write_whole(to_json.dumps(entries, indent=2, allow_nan=False).encode(), json, force)
    if output is not None:
        made = made_by("evaluate", rows)
        write_whole(markdown(header, rows).encode(), output / "table.md", force=True, provenance=made)
        warn(f"{output / 'table.md'}: written")


benchmark = evaluate
"""The verb's former name for suites and several checkpoints."""


def overlap(a: str, b: str, /, *, data_dir: DataDir = None) -> None:
    """Shows the share of B's graph and test triples that A's training triples contain.

    Parameters
    ----------
    a
        A data set's name, or a graph file.
    b
        A data set's name.
    """
    shares = leakage.overlap(a, b, data_dir)
    rows = [[part, f"{share:.4f}"] for part, share in shares.items()]
    show(["part", "share"], rows, f"share of {b} in {a}'s training triples")
