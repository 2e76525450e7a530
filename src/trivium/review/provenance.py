"""Where a table of answers comes from: what it carries, and whether that still holds."""

from __future__ import annotations

from dataclasses import dataclass, fields

from trivium.errors import InputError


@dataclass(frozen=True)
class Provenance:
    """What a table of answers was made with.

    Attributes:
        trivium: the version.
        verb: the command.
        graph: SHA-256 of the graph's triples as they were read, without what was decided.
        decided: SHA-256 of the graph with what was decided, and of what was rejected; as ``graph`` where nothing was.
        texts: SHA-256 of what its relations say; empty where the model reads none.
        checkpoint: SHA-256 of the model's file.
        calibration: SHA-256 of what confidences rest on; empty without.
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
