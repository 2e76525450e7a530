"""Ranks, margins and the best answers, an answer at a time: the meaning that `trivium.inference.answers` must keep."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

TOLERANCE = np.float32(1e-5)


def rank(scores: NDArray[np.float32], answers: Collection[int], entity: int) -> int:
    """1 + the number of answers whose score exceeds the entity's by more than the tolerance."""
    return 1 + sum(bool(scores[other] > scores[entity] + TOLERANCE) for other in answers if other != entity)


def margin(scores: NDArray[np.float32], answers: Collection[int], entity: int) -> float:
    """The entity's score less the best of the other answers, at most 100 either way."""
    rivals = [scores[other] for other in answers if other != entity]
    return float(np.clip(scores[entity] - max(rivals), -100, 100)) if rivals else 100.0


def best(scores: NDArray[np.float32], answers: Collection[int], k: int) -> list[int]:
    """The first ``k`` answers by rank, then by id."""
    return sorted(answers, key=lambda entity: (rank(scores, answers, entity), entity))[:k]
