"""The options that several verbs share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.types import PositiveFloat, PositiveInt

from trivium.errors import InputError
from trivium.graph.read import read_ids
from trivium.report import warn

if TYPE_CHECKING:
    from trivium.inference.parts import Each
    from trivium.inference.ranker import Ranker

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
Device = Annotated[
    str, Parameter(help="Where to compute: cpu, cuda, cuda:N, or auto, which is cuda where there is one.")
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
    device: Device = "cpu"


@Parameter(name="*")
@dataclass(frozen=True)
class Opening(Asking):
    """As `trivium.Ranker.open` takes it."""

    relation: Pairs = None


@Parameter(name="*")
@dataclass(frozen=True)
class Answering:
    """What may be an answer."""

    range: str | None = None
    """Answers of the right kind alone: seen (what stands at that end of the relation), type (what is of a type that
    stands there), or a file of names, of relations and names, or of names and types."""
    exclude: list[Path] = field(default_factory=list)
    """A table of triples that are known to be wrong (repeatable): never an answer, never a rival."""
    debias: bool = False
    """Discount entities that score high whatever is asked about: take off half of what they score without a head."""

    reach: PositiveInt | None = None
    """Approximate, for very large graphs: spread each question over so many entities alone, those nearest to its head.
    What share of hidden facts that keeps on this graph is said first."""

    @property
    def files(self) -> list[Path]:
        """What it reads."""
        named = [] if self.range in (None, "seen", "type") else [Path(str(self.range))]
        return [*self.exclude, *named]

    def applied(self, ranker: Ranker, reading: Reading, asked: str | None = None) -> Ranker:
        """A ranker that answers so.

        Args:
            asked: what joins pairs in a file of triples, where the reading does not say it.

        Raises:
            InputError: the graph says nothing of kinds.
            GraphError: a file cannot be read, or names answers that the graph does not hold.
        """
        relation = reading.relation if isinstance(reading, Opening) else asked
        for path in self.exclude:
            how = {"columns": reading.columns, "relation": relation, "skip_bad": reading.skip_bad}
            wrong = read_ids(path, ranker.graph, **how)
            ranker = ranker.excluding(wrong)
        if self.debias:
            ranker = ranker.debiased()
        if self.reach is not None:
            from trivium.inference.ranker import cost_of_reach

            ranker = ranker.within(self.reach)
            warn(cost_of_reach(ranker))
        if self.range is not None:
            from trivium.inference.kinds import choose_range

            chosen = choose_range(ranker.graph, self.range, reading.columns, reading.skip_bad)
            ranker = ranker.narrowed(chosen)
        return ranker


@Parameter(name="*")
@dataclass(frozen=True)
class Sharing:
    """Who computes the parts of large work: this process, or others by Dask."""

    cluster: str | None = None
    """The address of a Dask scheduler, such as tcp://10.0.0.1:8786: its workers compute."""
    workers: PositiveInt | None = None
    """So many processes of this machine, of one thread each, compute."""
    part_seconds: PositiveFloat = 3600
    """A worker that takes longer over one part is held for hung and is ended; another one takes the part."""

    @property
    def asked(self) -> bool:
        """Whether others are to compute."""
        return self.cluster is not None or self.workers is not None

    def check(self) -> None:
        """Refuses what cannot be had, before any work is done for it.

        Raises:
            InputError: both a cluster and workers are given, or seconds without either, nobody answers at the address,
                or Dask is not installed.
        """
        if self != Sharing() and not self.asked:
            raise InputError("--part-seconds is for --cluster and --workers: give one of them, or leave it out")
        if self.cluster is not None and self.workers is not None:
            raise InputError("give --cluster ADDRESS or --workers N, not both")
        if self.asked:
            from trivium.inference.cluster import check_scheduler

            check_scheduler(self.cluster)

    @contextmanager
    def each(self) -> Iterator[Each]:
        """What computes the parts; see `trivium.inference.parts`."""
        if not self.asked:
            from trivium.inference.parts import here

            yield here
            return
        from trivium.inference.cluster import computing

        with computing(self.cluster, self.workers or 0, self.part_seconds) as each:
            yield each
