"""What a score is worth: a saved map from score, margin and rank to a confidence."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trivium.errors import InputError
from trivium.graph.graph import Graph

FORMAT: Literal["trivium calibration 1"] = "trivium calibration 1"
FEATURES = ("score", "lag", "lead", "log rank")


def features(scores: Any, margins: Any, ranks: Any) -> NDArray[np.float64]:
    """``[answers, 4]``, in the order of `FEATURES`: the margin is split at 0 into a lag and a lead, cut at 5."""
    margins = np.clip(np.asarray(margins, np.float64), -5, 5)
    return np.stack([scores, np.minimum(margins, 0), np.maximum(margins, 0), np.log(ranks)], axis=1).astype(np.float64)


@dataclass(frozen=True)
class Bin:
    """Answers of about the same confidence: mean confidence, share that was true, and number."""

    confidence: float
    true: float
    answers: int


@dataclass(frozen=True)
class Record:
    """What a calibration's file holds: plain numbers.

    Attributes:
        graph, checkpoint: SHA-256 of the graph's triples and of the checkpoint's file.
        share, seed: what was hidden; see `trivium.calibration.fit.calibrate`.
        hidden, questions: how many facts were hidden, and how many questions asked.
        center, scale, weights, offset: of a logistic regression over `features`.
        relations: by name, what is added for the relation and for its inverse, where enough of its facts were hidden.
        fallback: how many relations have no such correction: the global fit alone judges them.
        levels, confidences: the isotonic map of the regression's output, as points between which it is straight.
        error: expected calibration error over the ten best answers of each question, cross-validated.
        reliability: the bins behind it.
    """

    graph: str
    checkpoint: str
    share: float
    seed: int
    hidden: int
    questions: int
    center: list[float]
    scale: list[float]
    weights: list[float]
    offset: float
    relations: dict[str, tuple[float, float]]
    fallback: int
    levels: list[float]
    confidences: list[float]
    error: float
    reliability: list[Bin]
    format: Literal["trivium calibration 1"] = FORMAT

    @property
    def sound(self) -> bool:
        """Whether the numbers can be computed with: finite, of the right count, levels ascending."""
        values = [self.offset, *self.center, *self.scale, *self.weights, *self.levels, *self.confidences]
        values += [value for both in self.relations.values() for value in both]
        return bool(
            {len(self.center), len(self.scale), len(self.weights)} == {len(FEATURES)}
            and len(self.levels) == len(self.confidences) > 0
            and np.isfinite(values).all()
            and min(self.scale) > 0
            and (np.diff(self.levels) >= 0).all()
            and 0 <= min(self.confidences) <= max(self.confidences) <= 1
        )


class Calibration:
    """Turns the scores of one checkpoint on one graph into confidences.

    A *confidence* is the estimated chance that an answer with this score, margin and rank is among the hidden true
    ones: facts of the graph were hidden and asked for, and that share of such answers were hidden facts. True answers
    that the graph lacks counted as wrong, so on an incomplete graph a confidence is too low. Each question had a hidden
    answer, so for a question whose answers are all known it is too high.

    Args:
        record: what was fitted.
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self.shifts: NDArray[np.float64] | None = None

    @property
    def sha256(self) -> str:
        """Of what was fitted."""
        return hashlib.sha256(self._json()).hexdigest()

    def _json(self) -> bytes:
        return json.dumps(asdict(self.record), indent=1, allow_nan=False).encode()

    def check(self, graph: Graph, checkpoint: str) -> None:
        """Makes sure that it belongs to a graph and a checkpoint; before that there are no confidences.

        Args:
            checkpoint: see `trivium.model.checkpoint.checkpoint_sha256`.

        Raises:
            InputError: it belongs to others.
        """
        for what, own, given in (
            ("checkpoint", self.record.checkpoint, checkpoint),
            ("graph", self.record.graph, graph.sha256),
        ):
            if own != given:
                raise InputError(
                    f"the calibration was made for another {what} (SHA-256 {own[:12]}…, not {given[:12]}…): "
                    "make one for this with trivium calibrate"
                )
        shifts = np.zeros((2, graph.num_relations))
        places = graph.relations.ids(list(self.record.relations))
        shifts[:, places] = np.array([*self.record.relations.values()]).reshape(-1, 2).T
        self.shifts = shifts.reshape(-1)

    def confidence(self, relations: Any, scores: Any, margins: Any, ranks: Any) -> NDArray[np.float64]:
        """``[answers]``, in [0, 1].

        Args:
            relations: ``[answers]`` asked relations, ids over ``2 · num_relations``.
            scores, margins, ranks: ``[answers]``, as `trivium.inference.answers.ranks_and_margins` gives them.

        Raises:
            InputError: `check` was not called.
        """
        if self.shifts is None:
            raise InputError("check the calibration against its graph and checkpoint before use")
        record = self.record
        values = (features(scores, margins, ranks) - record.center) / record.scale
        level = values @ np.array(record.weights) + record.offset + self.shifts[np.asarray(relations)]
        sure: NDArray[np.float64] = np.interp(level, record.levels, record.confidences)
        return sure

    def save(self, path: str | Path, force: bool = False) -> None:
        """Writes it as JSON, whole or not at all.

        Raises:
            OutputError: the file exists (without ``force``) or cannot be written.
        """
        from trivium.files import whole_file

        with whole_file(path, force) as file:
            file.write(self._json())

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Reads a saved calibration; `check` it before use.

        Raises:
            InputError: no such file, or not a calibration.
        """
        from pydantic import TypeAdapter, ValidationError

        try:
            record = TypeAdapter(Record).validate_json(Path(path).read_bytes())
        except FileNotFoundError as error:
            raise InputError(f"no such file: {path}") from error
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        except ValidationError:
            record = None
        if record is None or not record.sound:
            raise InputError(f"{path} is not a calibration that this version knows: make one with trivium calibrate")
        return cls(record)
