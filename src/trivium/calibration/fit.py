"""Fitting a calibration: hide facts of the graph, ask for them, see which answers were right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivium.calibration.calibration import Calibration, Record, features
from trivium.calibration.collect import Answers, ask, hide
from trivium.calibration.reliability import expected_error, reliability
from trivium.errors import GraphError, InputError
from trivium.graph.graph import Graph
from trivium.inference.ranker import Ranker
from trivium.settings import check_range

LEAST_FACTS = 50  # hidden ones of a relation, for a correction of its own
SHOWN = 10  # the best answers of a question, over which errors are reported
FOLDS = 5

Floats = NDArray[np.float64]


def calibrate(
    ranker: Ranker,
    checkpoint: str,
    *,
    share: float = 0.1,
    most: int = 5000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Hides a share of the ranker's own graph, asks for it, and fits confidences to what comes back.

    Args:
        checkpoint: the SHA-256 that names the model.
        share: of the facts to hide, in (0, .5]; at most ``most`` facts.
        seed: of what is hidden.
        progress: called with the questions done and in all.

    Raises:
        InputError: a share, ``most`` or seed out of range.
        GraphError: the graph is too small, or no hidden fact was found, or every answer was one.

    Cost: two queries for each hidden fact, and relation representations of the graph that is left.
    """
    check_choice(share, most, seed)
    rest, hidden = hide(ranker.graph, share, most, seed)
    answers = ask(ranker.over(rest), hidden, progress=progress)
    for kind, those in (("true", answers.true), ("wrong", ~answers.true)):
        if len(np.unique(answers.queries[those])) < FOLDS:
            raise GraphError(f"hardly any question got a {kind} answer: take a larger graph, or a larger --share")
    return Calibration(_fit(answers, hidden, ranker.graph, checkpoint, share, seed))


def check_choice(share: float, most: int, seed: int) -> None:
    """Refuses what cannot be hidden."""
    if not 0 < share <= 0.5:
        raise InputError(f"share is {share}: hide more than 0 and at most 0.5 of the facts")
    check_range(1, most=most)
    check_range(0, seed=seed)


def _fit(answers: Answers, hidden: Graph, graph: Graph, checkpoint: str, share: float, seed: int) -> Record:
    """Logistic regression over `features` and, jointly, a shrunk shift for each relation with facts enough; then an
    isotonic map of its cross-validated output, so that the regression need not have the right form."""
    from sklearn.linear_model import LogisticRegression

    counts = np.bincount(hidden.triples[:, 1], minlength=graph.num_relations)
    own = np.flatnonzero(counts >= LEAST_FACTS)
    asked = np.concatenate([own, own + graph.num_relations])
    plain = features(answers.scores, answers.margins, answers.ranks)
    center, scale = plain.mean(0), np.maximum(plain.std(0), 1e-6)
    inputs = np.hstack([(plain - center) / scale, answers.relations[:, None] == asked])
    true = answers.true
    fitted = LogisticRegression(max_iter=1000).fit(inputs, true)
    levels, judged = np.zeros((2, len(true)))
    folds = _folds(answers)
    for fold in range(FOLDS):
        aside, others = folds == fold, folds != fold
        apart = LogisticRegression(max_iter=1000).fit(inputs[others], true[others])
        levels[aside] = apart.decision_function(inputs[aside])
    for fold in range(FOLDS):
        aside, others = folds == fold, folds != fold
        judged[aside] = _isotonic(levels[others], true[others]).predict(levels[aside])
    steps = _isotonic(levels, true)
    shown = answers.ranks <= SHOWN
    bins = reliability(judged[shown], true[shown])
    weights = fitted.coef_[0]
    width = plain.shape[1]
    shifts = weights[width:].reshape(2, -1).T.tolist()
    return Record(
        graph=graph.sha256,
        checkpoint=checkpoint,
        share=share,
        seed=seed,
        hidden=hidden.num_triples,
        questions=len(np.unique(answers.queries)),
        center=center.tolist(),
        scale=scale.tolist(),
        weights=weights[:width].tolist(),
        offset=float(fitted.intercept_[0]),
        relations={name: (a, b) for name, (a, b) in zip(graph.relations.take(own), shifts, strict=True)},
        fallback=graph.num_relations - len(own),
        levels=steps.X_thresholds_.tolist(),
        confidences=steps.y_thresholds_.tolist(),
        error=expected_error(bins),
        reliability=bins,
    )


def _folds(answers: Answers) -> Any:
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
