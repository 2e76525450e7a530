"""From answers with their truth to the numbers of a calibration: logistic regression, then an isotonic map."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import numpy as np
from annotated_types import Ge, Gt, Le, Len
from numpy.typing import NDArray
from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from trivium.calibration.collect import Answers
from trivium.calibration.reliability import Bin, expected_error, reliability
from trivium.graph.graph import Graph

MIN_FACTS = 50  # hidden ones of a relation, for a correction of its own
SHOWN = 10  # the best answers of a question, over which errors are reported
FOLDS = 5

Floats = NDArray[np.float64]
PerFeature = Len(4, 4)


def features(scores: Any, margins: Any, ranks: Any) -> Floats:
    """``[answers, 4]``: score, lag, lead and log rank. The margin, cut at ±5, is a lag below 0 and a lead above."""
    margins = np.clip(np.asarray(margins, np.float64), -5, 5)
    return np.stack([scores, np.minimum(margins, 0), np.maximum(margins, 0), np.log(ranks)], axis=1).astype(np.float64)


@dataclass(frozen=True, config=ConfigDict(allow_inf_nan=False))
class Record:
    """What a calibration's file holds: finite numbers, checked when a record is made.

    Attributes:
        graph, checkpoint: SHA-256 of the graph's triples as they were read, without what was decided since, and of the
            checkpoint's file.
        texts: SHA-256 of the relations' texts, empty where the model reads none.
        share, seed: what was hidden; see `trivium.calibration.Calibration.fit`.
        hidden, questions: how many facts were hidden, and how many questions asked.
        center, scale, weights, offset: of a logistic regression over `features`.
        relations: by name, what is added for the relation and for its inverse, where enough of its facts were hidden.
        fallback: how many relations have no such correction: the global fit alone judges them.
        levels, confidences: the isotonic map of the regression's output, as points between which it is straight.
        decided: how many people's decisions moved the confidences; see `trivium.calibration.Calibration.learn`.
        range: the name of the kinds of answers that were collected; empty for all.
        debias: of the score that answers have without a head, what was taken off.
        reach: entities over which a question spread, 0 for all.
        error: expected calibration error over the ten best answers of each question, cross-validated.
        reliability: the bins behind it.
    """

    graph: str
    checkpoint: str
    texts: str
    share: float
    seed: int
    hidden: int
    questions: int
    center: Annotated[list[float], PerFeature]
    scale: Annotated[list[Annotated[float, Gt(0)]], PerFeature]
    weights: Annotated[list[float], PerFeature]
    offset: float
    relations: dict[str, tuple[float, float]]
    fallback: int
    levels: Annotated[list[float], Len(1)]
    confidences: list[Annotated[float, Ge(0), Le(1)]]
    error: float
    reliability: list[Bin]
    decided: int = 0
    range: str = ""
    debias: float = 0.0
    reach: int = 0
    format: Literal["trivium calibration 2"] = "trivium calibration 2"

    @model_validator(mode="after")
    def _points_ascend(self) -> Self:
        if len(self.levels) != len(self.confidences) or self.levels != sorted(self.levels):
            raise ValueError("levels must ascend, with a confidence each")
        return self


def fit(
    answers: Answers, hidden: Graph, graph: Graph, checkpoint: str, texts: str, share: float, seed: int, kinds: str = ""
) -> Record:
    """Logistic regression over `features` and, jointly, a shrunk shift for each relation with facts enough; then an
    isotonic map of its cross-validated output, so that the regression need not have the right form.

    Args:
        answers: to questions about ``hidden``, facts that were taken out of ``graph``.
        checkpoint, texts: SHA-256 of the checkpoint's file and of the relations' texts, to be recorded.
        share, seed: by which facts were hidden, to be recorded.
        kinds: the name of the kinds of answers, to be recorded.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import PredefinedSplit, cross_val_predict

    own = np.flatnonzero(np.bincount(hidden.triples[:, 1], minlength=graph.num_relations) >= MIN_FACTS)
    asked = np.concatenate([own, own + graph.num_relations])
    numbers = features(answers.scores, answers.margins, answers.ranks)
    center, scale = numbers.mean(0), np.maximum(numbers.std(0), 1e-6)
    inputs = np.hstack([(numbers - center) / scale, answers.relations[:, None] == asked])
    regression = LogisticRegression(max_iter=1000).fit(inputs, answers.true)
    weights, shifts = np.split(regression.coef_[0], [numbers.shape[1]])
    forward, backward = shifts.reshape(2, -1).tolist()
    folds = _folds(answers)
    levels = cross_val_predict(regression, inputs, answers.true, cv=PredefinedSplit(folds), method="decision_function")
    confidence = np.zeros(len(levels))
    for fold in range(FOLDS):
        aside = folds == fold
        confidence[aside] = _isotonic(levels[~aside], answers.true[~aside]).predict(levels[aside])
    points = _isotonic(levels, answers.true)
    shown = answers.ranks <= SHOWN
    bins = reliability(confidence[shown], answers.true[shown])
    return Record(
        graph=graph.sha256,
        checkpoint=checkpoint,
        texts=texts,
        share=share,
        seed=seed,
        hidden=hidden.num_triples,
        questions=len(np.unique(answers.queries)),
        center=center.tolist(),
        scale=scale.tolist(),
        weights=weights.tolist(),
        offset=float(regression.intercept_[0]),
        relations=dict(zip(graph.relations.take(own), zip(forward, backward, strict=True), strict=True)),
        fallback=graph.num_relations - len(own),
        levels=points.X_thresholds_.tolist(),
        confidences=points.y_thresholds_.tolist(),
        error=expected_error(bins),
        reliability=bins,
        range=kinds,
    )


def _folds(answers: Answers) -> NDArray[np.int64]:
    """``[answers]``: answers to one question share a fold, and each fold has its share of those that were found."""
    queries, place = np.unique(answers.queries, return_inverse=True)
    found = np.zeros(len(queries), np.bool_)
    found[place[answers.true]] = True
    fold = np.zeros(len(queries), np.int64)
    fold[np.argsort(~found, kind="stable")] = np.arange(len(queries)) % FOLDS
    return fold[place]


def _isotonic(levels: Floats, true: NDArray[np.bool_]) -> Any:
    """Fitted with a wrong answer added at the top and a right one at the bottom, so that nothing counts as certain."""
    from sklearn.isotonic import IsotonicRegression

    ends = np.array([levels.max(), levels.min()])
    return IsotonicRegression(out_of_bounds="clip").fit(np.append(levels, ends), np.append(true, [0.0, 1.0]))
