"""Where a table comes from: what it carries, and whether that still holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from trivium import __version__
from trivium.errors import InputError
from trivium.files import digest
from trivium.graph.graph import Graph
from trivium.kernels.csr import IntArray


@dataclass(frozen=True)
class Provenance:
    """What a table was made with; a field is empty where it rests on nothing of the kind.

    Attributes:
        trivium: the version.
        verb: the command.
        graph: SHA-256 of the graph's triples as they were read, without what was decided.
        decided: SHA-256 of the graph with what was decided, and of what was rejected; as ``graph`` where nothing was.
        texts: SHA-256 of what its relations say.
        checkpoint: SHA-256 of the model's file.
        calibration: SHA-256 of what confidences rest on.
        settings: SHA-256 of all else that was asked.
    """

    trivium: str
    verb: str
    graph: str
    decided: str
    texts: str
    checkpoint: str
    calibration: str
    settings: str

    @classmethod
    def of(cls, said: dict[str, str]) -> Provenance:
        """From what a table carries, see `trivium.files.read_provenance`.

        Raises:
            InputError: it says something else.
        """
        if said.keys() != (wanted := {field.name for field in fields(cls)}):
            odd = ", ".join(sorted(said.keys() ^ wanted))
            raise InputError(f"the table's provenance is of another version ({odd}): make the table anew")
        return cls(**said)


def made_by(verb: str, *asked: object, graph: str = "", decided: str = "") -> dict[str, str]:
    """What a table carries that no model made; ``asked`` is all that was asked of the verb."""
    return asdict(Provenance(__version__, verb, graph, decided or graph, "", "", "", digest(*asked)))


def decided_sha256(given: Graph, graph: Graph, rejected: IntArray | None) -> str:
    """Of a graph with what was decided, and of what was rejected; that of the graph as it was read where nothing was.

    Args:
        rejected: ``[n, 3]`` ids of ``graph``.
    """
    if graph.sources is given.sources and rejected is None:
        return given.sha256
    return digest(graph.sha256, None if rejected is None else sorted(graph.named(rejected).rows()))
