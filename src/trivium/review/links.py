"""Links from tables: what was suggested, and what people decided in a spreadsheet."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import polars as pl

from trivium.errors import InputError
from trivium.files import FORMATS, read_provenance
from trivium.graph.formats import TRIPLE, Pass, opened
from trivium.graph.graph import Graph
from trivium.graph.names import Names
from trivium.graph.tables import layout
from trivium.review.decisions import RUN, VERDICTS, Decision, Verdict

TEXT = (".tsv", ".txt", ".csv")


def read_links(path: str | Path) -> pl.DataFrame:
    """The rows of a table that has the columns head, relation and tail, as text, with all its columns.

    A text is divided as spreadsheets do it: by tabs, commas or semicolons, and its last rows may be empty.

    Raises:
        InputError: it cannot be read, lacks one of these, or a name is missing; the row is named.
    """
    path = Path(path)
    ending = path.suffix.lower()
    try:
        if ending in TEXT:
            table = _text(path)
        elif FORMATS.get(ending) == "parquet":
            table = pl.read_parquet(path)
        elif FORMATS.get(ending) == "jsonl":
            table = pl.read_ndjson(path, infer_schema_length=None)
        else:
            raise InputError(f"{path}: links are read from {', '.join(dict.fromkeys((*TEXT, *FORMATS)))}")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from error
    if missing := [name for name in TRIPLE if name not in table.columns]:
        raise InputError(f"{path} has no column {missing[0]!r}: links need {', '.join(TRIPLE)}")
    try:
        table = table.with_columns(pl.col(*TRIPLE).cast(pl.String))
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path}: a head, relation or tail is no name: {str(error).splitlines()[0]}") from error
    if len(empty := table.select(pl.any_horizontal(pl.col(*TRIPLE).fill_null("") == "").arg_true()).to_series()):
        raise InputError(f"{path} {_row(path, empty[0])}: a name is missing")
    return table


def _text(path: Path) -> pl.DataFrame:
    """A table in text, its columns by name in small letters."""
    form = layout(path, Pass(), lambda fields: {field.strip().lower() for field in fields} >= set(TRIPLE))
    if form is None:
        raise InputError(f"{path} is empty: links need {', '.join(TRIPLE)}")
    with opened(path) as file:
        table = pl.read_csv(
            file,
            separator=form.delimiter,
            quote_char='"' if form.quoted else None,
            infer_schema=False,
            skip_rows=form.line - 1,
        )
    names = {name: name.strip().lower() for name in table.columns}
    if len(set(names.values())) == len(names):
        table = table.rename(names)
    said = table.select(pl.any_horizontal(pl.all().fill_null("") != "").arg_true()).to_series()
    return table.head(said[-1] + 1 if len(said) else 0)


def _row(path: str | Path, place: int) -> str:
    """A row as a spreadsheet counts it: where there is a header, that is the first."""
    return f"row {place + (2 if Path(path).suffix.lower() in TEXT else 1)}"


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
    given = table["confidence"].cast(pl.String).replace("", None).str.replace(",", ".", literal=True)
    read = given.cast(pl.Float64, strict=False)
    bad = given.is_not_null() & ~read.is_between(0, 1).fill_null(False)
    if bad.any():
        place = bad.arg_true()[0]
        raise InputError(f"{path} {_row(path, place)}: the confidence {given[place]!r} is no number from 0 to 1")
    return read


def decisions_in(path: str | Path, reviewer: str, graph: Graph) -> list[Decision]:
    """What a table says of links: columns head, relation, tail, verdict and perhaps confidence, reviewer, note.

    A row without a verdict says nothing: a spreadsheet may be half done.

    Args:
        reviewer: who decided where the table does not say.
        graph: whose links these are; its labels may stand for names, and it tells which quotation marks are a
            spreadsheet's.

    Raises:
        InputError: as `read_links`, a verdict is none of the three, or a link has two; the row is named.
        GraphError: something that several names are called.
    """
    table = read_links(path)
    if "verdict" not in table.columns:
        raise InputError(f"{path} has no column 'verdict': one of {', '.join(VERDICTS)} in each row that is decided")
    sides = graph.entities, graph.relations, graph.entities
    table = table.with_columns(*(_unquoted(table[name], held) for name, held in zip(TRIPLE, sides, strict=True)))
    entities, (heads, tails) = graph.entities.with_all(table["head"], table["tail"])
    kinds, (relations,) = graph.relations.with_all(table["relation"])
    names = entities.take(heads), kinds.take(relations), entities.take(tails)
    table = table.with_columns(**dict(zip(TRIPLE, names, strict=True)))
    text = {name: table[name].cast(pl.String).fill_null("") for name in table.columns}
    out: list[Decision] = []
    rows: dict[tuple[str, ...], tuple[int, str]] = {}
    for row, confidence in enumerate(numbers(path, table)):
        held = {name: column[row] for name, column in text.items()}
        verdict = held["verdict"].strip().lower()
        if verdict not in ("", *VERDICTS):
            words = f"the verdict {held['verdict']!r} is none of {', '.join(VERDICTS)}"
            raise InputError(f"{path} {_row(path, row)}: {words}")
        if verdict:
            more = {name: held.get(name, "") for name in (*RUN, "note")}
            who = held.get("reviewer") or reviewer
            more |= {name: held[name] for name in TRIPLE}
            link = held["head"], held["relation"], held["tail"]
            first, other = rows.setdefault(link, (row, verdict))
            if other != verdict:
                words = f"{' '.join(link)!r} is {verdict}, and {other} in {_row(path, first)}: keep one"
                raise InputError(f"{path} {_row(path, row)}: {words}")
            out.append(Decision(verdict=cast(Verdict, verdict), reviewer=who, confidence=confidence, **more))
    return out


def _unquoted(given: pl.Series, names: Names) -> pl.Series:
    """Names without the quotation marks of a spreadsheet, where only without them they are known."""
    plain = given.str.extract(r'^"((?:[^"]|"")*)"$').str.replace_all('""', '"').fill_null(given)
    return plain.zip_with(pl.Series((names.ids(given) < 0) & (names.ids(plain) >= 0)), given)
