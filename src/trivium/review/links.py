"""Links from tables: what was suggested, and what people decided in a spreadsheet."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import polars as pl

from trivium.errors import InputError
from trivium.files import FORMATS, read_provenance
from trivium.graph.formats import TRIPLE
from trivium.graph.graph import Graph
from trivium.review.decisions import RUN, VERDICTS, Decision, Verdict


def read_links(path: str | Path) -> pl.DataFrame:
    """The rows of a table that has the columns head, relation and tail, as text, with all its columns.

    Raises:
        InputError: it cannot be read, lacks one of these, or a name is missing; the line is named.
    """
    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    try:
        if kind == "parquet":
            table = pl.read_parquet(path)
        elif kind == "jsonl":
            table = pl.read_ndjson(path, infer_schema_length=None)
        elif kind == "csv":
            table = pl.read_csv(path, infer_schema=False)
        elif kind == "tsv":
            table = pl.read_csv(path, separator="\t", quote_char=None, infer_schema=False)
        else:
            raise InputError(f"{path}: links are read from {', '.join(FORMATS)}")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from error
    if missing := [name for name in TRIPLE if name not in table.columns]:
        raise InputError(f"{path} has no column {missing[0]!r}: links need {', '.join(TRIPLE)}")
    try:
        table = table.with_columns(pl.col(*TRIPLE).cast(pl.String))
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path}: a head, relation or tail is no name: {str(error).splitlines()[0]}") from error
    if len(empty := table.select(pl.any_horizontal(pl.col(*TRIPLE).fill_null("") == "").arg_true()).to_series()):
        raise InputError(f"{path} row {empty[0] + 1}: a name is missing")
    return table


def suggestions(path: str | Path) -> pl.DataFrame:
    """Links that a verb suggested, each once, as it suggested them first.

    Returns:
        Columns head, relation, tail, confidence (null where there is none), and those of `RUN`, empty where the table
        carries no provenance.

    Raises:
        InputError: as `read_links` and, where the table has changed since, `trivium.files.read_provenance`.
    """
    table = read_links(path)
    made_by = read_provenance(path)
    confidence = pl.Series("confidence", numbers(path, table))
    run = {name: pl.lit(made_by.get(name, "")) for name in RUN}
    return table.select(*TRIPLE).with_columns(confidence, **run).unique(TRIPLE, keep="first", maintain_order=True)


def of_another(links: pl.DataFrame, graph: Graph) -> bool:
    """Whether links say that they were suggested of another graph than this one, as it was read."""
    said = set(links["graph"].unique()) - {""}
    return bool(said) and said != {graph.sha256}


def numbers(path: str | Path, table: pl.DataFrame) -> pl.Series:
    """The confidences of a table, null where it has none.

    Raises:
        InputError: one is no number from 0 to 1.
    """
    if "confidence" not in table.columns:
        return pl.repeat(None, len(table), dtype=pl.Float64, eager=True)
    given = table["confidence"].cast(pl.String).replace("", None)
    read = given.cast(pl.Float64, strict=False)
    bad = given.is_not_null() & ~read.is_between(0, 1).fill_null(False)
    if bad.any():
        place = bad.arg_true()[0]
        raise InputError(f"{path} row {place + 1}: the confidence {given[place]!r} is no number from 0 to 1")
    return read


def decisions_in(path: str | Path, reviewer: str, graph: Graph) -> list[Decision]:
    """What a table says of links: columns head, relation, tail, verdict and perhaps confidence, reviewer, note.

    A row without a verdict says nothing: a spreadsheet may be half done.

    Args:
        reviewer: who decided where the table does not say.
        graph: whose links these are; its labels may stand for names.

    Raises:
        InputError: as `read_links`, a verdict is none of the three, or a link has two; the row is named.
        GraphError: something that several names are called.
    """
    table = read_links(path)
    if "verdict" not in table.columns:
        raise InputError(f"{path} has no column 'verdict': one of {', '.join(VERDICTS)} in each row that is decided")
    entities, (heads, tails) = graph.entities.with_all(table["head"], table["tail"])
    kinds, (relations,) = graph.relations.with_all(table["relation"])
    names = entities.take(heads), kinds.take(relations), entities.take(tails)
    table = table.with_columns(**dict(zip(TRIPLE, names, strict=True)))
    text = {name: table[name].cast(pl.String).fill_null("") for name in table.columns}
    out: list[Decision] = []
    rows: dict[tuple[str, ...], tuple[int, str]] = {}
    for row, confidence in enumerate(numbers(path, table)):
        held = {name: column[row] for name, column in text.items()}
        if held["verdict"] not in ("", *VERDICTS):
            words = f"the verdict {held['verdict']!r} is none of {', '.join(VERDICTS)}"
            raise InputError(f"{path} row {row + 1}: {words}")
        if held["verdict"]:
            more = {name: held.get(name, "") for name in (*RUN, "note")}
            who = held.get("reviewer") or reviewer
            more |= {name: held[name] for name in TRIPLE}
            verdict = cast(Verdict, held["verdict"])
            link = held["head"], held["relation"], held["tail"]
            first, other = rows.setdefault(link, (row, verdict))
            if other != verdict:
                words = f"{' '.join(link)!r} is {verdict}, and {other} in row {first + 1}: keep one"
                raise InputError(f"{path} row {row + 1}: {words}")
            out.append(Decision(verdict=verdict, reviewer=who, confidence=confidence, **more))
    return out
