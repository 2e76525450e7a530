"""The options that several verbs share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trivium.calibration import Calibration
from trivium.files import check_output
from trivium.graph.graph import Graph
from trivium.graph.read import column_names, read_graph
from trivium.inference.answers import Confidence
from trivium.inference.ranker import Ranker

DEFAULT = "trivium"

Output = Annotated[Path | None, Parameter(name=["--output", "-o"])]
Required = Annotated[Path, Parameter(name=["--output", "-o"])]
Force = Annotated[bool, Parameter(help="Overwrite what stands where an output goes.")]
Count = Annotated[int, Parameter(name=["-k", "--k"])]
Checkpoint = Annotated[str, Parameter(help="A shipped checkpoint's name, or a file.")]
DataDir = Annotated[Path | None, Parameter(help="A folder of data sets; they are downloaded into a cache by default.")]
Resume = Annotated[Path | None, Parameter(help="Continue what stands in this folder instead.")]


@Parameter(name="*")
@dataclass(frozen=True)
class Reading:
    """How a graph's file is read."""

    columns: str | None = None
    """The graph's columns, where CSV or Parquet call them otherwise: HEAD,RELATION,TAIL."""
    named_graph: str | None = None
    """The IRI of the named graph to read of an RDF file; all of them by default."""

    def graph(self, path: Path) -> Graph:
        return read_graph(path, **column_names(self.columns), named_graph=self.named_graph)


@dataclass(frozen=True)
class Opening(Reading):
    """With which model a graph is opened."""

    checkpoint: Checkpoint = DEFAULT

    def ranker(self, path: Path, relation_text: str | None = None) -> Ranker:
        return Ranker.open(
            path, self.checkpoint, columns=self.columns, named_graph=self.named_graph, relation_text=relation_text
        )


@dataclass(frozen=True)
class Asking(Opening):
    """With what confidence a graph is asked."""

    calibration: Path | None = None
    """From `trivium calibrate`: a confidence stands beside each score."""

    def confidence(self, ranker: Ranker) -> tuple[Confidence | None, str]:
        """What a calibration gives that serves this graph and checkpoint, and its SHA-256; none and nothing of none."""
        if self.calibration is None:
            return None, ""
        calibration = Calibration.load(self.calibration, ranker.graph, self.checkpoint)
        return calibration.confidence, calibration.sha256


@Parameter(name="*")
@dataclass(frozen=True)
class Table:
    """Where answers go; the terminal by default."""

    output: Output = None
    """Write a table there (.tsv, .csv, .parquet, .jsonl)."""
    force: Force = False

    def __post_init__(self) -> None:
        if self.output is not None:
            check_output(self.output, self.force)
