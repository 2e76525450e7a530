"""A graph divided, to measure on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import polars as pl
from cyclopts import Parameter
from cyclopts.types import NonNegativeInt
from cyclopts.validators import Number

from trivium.cli.options import Pairs, Reading, Required
from trivium.errors import InputError
from trivium.files import whole_folder, write_table
from trivium.graph.formats import decisions_of
from trivium.graph.hold_out import divided
from trivium.graph.index import TEXTS
from trivium.graph.names import Names
from trivium.graph.read import read_graph
from trivium.report import show, warn
from trivium.review.decisions import Decisions, decided
from trivium.review.provenance import decided_sha256, made_by
from trivium.text.graph import with_texts

Share = Annotated[float, Parameter(validator=Number(gte=0, lte=0.5))]


def split(
    graph: Path,
    /,
    *,
    output: Required,
    test: Share = 0.05,
    valid: Share = 0.05,
    seed: NonNegativeInt = 0,
    relation: Pairs = None,
    reading: Reading = Reading(),
) -> None:
    """Divides a graph into train.tsv, valid.tsv and test.tsv, to measure on with `trivium evaluate`.

    Of each relation the same share is taken. Facts that say the same (see `trivium info`) stay together, and train.tsv
    holds every entity and every relation; so the parts may be smaller than asked.

    Parameters
    ----------
    graph
        The graph.
    output
        The folder to write; what the graph says of its relations, labels too, goes there as relations.tsv.
    test
        The share of facts to ask for, at most 0.5.
    valid
        The share to choose by, at most 0.5; 0 makes no such file.
    seed
        Of what is taken.
    """
    given = read_graph(graph, relation=relation, **vars(reading))
    changed, rejected = decided(given, Decisions(decisions_of(graph)).state())
    held = with_texts(changed, graph)
    if any(names.names.str.contains("[\t\r\n]").any() for names in (held.entities, held.relations)):
        raise InputError(f"{graph}: a name holds a tab or a line break, which cannot stand in a TSV: rename it")
    parts = dict(zip(("train", "test", "valid"), divided(held, [test, valid], seed), strict=True))
    if not len(parts["test"]):
        raise InputError(
            f"no fact of {graph} can be asked for and leave the rest known: give a larger --test, or graph"
        )
    after = decided_sha256(given, changed, rejected if len(rejected) else None)
    made = made_by("split", test, valid, seed, graph=given.sha256, decided=after)
    with whole_folder(output) as folder:
        for name, triples in parts.items():
            if len(triples):
                write_table(held.named(triples), folder / f"{name}.tsv", provenance=made)
        texts = _texts(held.relations)
        if len(texts):
            write_table(texts, folder / "relations.tsv", provenance=made)
    rows = [(name, len(triples), len(set(triples[:, 1].tolist()))) for name, triples in parts.items()]
    show(["part", "facts", "relations"], rows, f"{output}, of {held.num_triples:,} facts")
    warn(f"measure on it: trivium evaluate {'' if output.is_absolute() else './'}{output}")


def _texts(relations: Names) -> pl.DataFrame:
    """What is said of relations, or labels them, as a relations.tsv has it: those of which something is."""
    texts = relations.texts
    if texts is None:
        texts = pl.DataFrame({text: pl.Series([None] * len(relations), dtype=pl.String) for text in TEXTS})
    if (labels := relations.labels) is not None:
        labels = pl.select(pl.when(labels != relations.names).then(labels)).to_series()
        texts = texts.with_columns(pl.coalesce("name", labels).alias("name"))
    texts = texts.with_columns(pl.all().str.replace_all(r"\s+", " "))
    texts = texts.insert_column(0, relations.names.alias("relation"))
    return texts.filter(pl.any_horizontal(pl.exclude("relation").is_not_null()))
