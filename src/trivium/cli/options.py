"""The options that several verbs share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

DEFAULT = "trivium"

Output = Annotated[Path | None, Parameter(name=["--output", "-o"])]
Required = Annotated[Path, Parameter(name=["--output", "-o"])]
Force = Annotated[bool, Parameter(help="Overwrite what stands where an output goes.")]
Count = Annotated[int, Parameter(name=["-k", "--k"])]
Checkpoint = Annotated[str, Parameter(help="A shipped checkpoint's name, or a file.")]
Calibrated = Annotated[Path | None, Parameter(help="From `trivium calibrate`: a confidence stands beside each score.")]
DataDir = Annotated[Path | None, Parameter(help="A folder of data sets; they are downloaded into a cache by default.")]
Columns = Annotated[
    str | None,
    Parameter(help="The columns of tables: HEAD,RELATION,TAIL, by name or by number; of pairs HEAD,TAIL."),
]
Pairs = Annotated[str | None, Parameter(name="--relation", help="What joins the pairs of a table of two columns.")]
Resume = Annotated[Path | None, Parameter(help="Continue what stands in this folder instead.")]


@Parameter(name="*")
@dataclass(frozen=True)
class Reading:
    """How a graph's file is read, as `trivium.graph.read.read_graph` takes it."""

    columns: Columns = None
    also: list[Path] = field(default_factory=list)
    """A further file of the graph (repeatable): more triples, or a table of nodes with labels and types."""
    labels: list[Path] = field(default_factory=list)
    """A table of names and labels, or RDF with labels (repeatable)."""
    named_graph: Annotated[str | None, Parameter(name=["--named-graph", "--graph"])] = None
    """The IRI of the named graph to read of RDF; all of them by default."""
    skip_bad: bool = False
    """Go on past lines that cannot be read; they are counted, and the first are named."""
    undirected: bool = False
    """Every fact holds the other way round too."""
    symmetric: list[str] = field(default_factory=list)
    """A relation whose facts hold the other way round too (repeatable)."""


@Parameter(name="*")
@dataclass(frozen=True)
class Asking(Reading):
    """With which model a graph is opened, as `trivium.Ranker.open` takes it; the verb has a relation of its own."""

    checkpoint: Checkpoint = DEFAULT
    decisions: Path | None = None
    """A file of decisions, from `trivium review`; by default the one beside the graph, if it is there."""


@Parameter(name="*")
@dataclass(frozen=True)
class Opening(Asking):
    """As `trivium.Ranker.open` takes it."""

    relation: Pairs = None
