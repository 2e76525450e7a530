"""What a score is worth: a saved map from score, margin and rank to a confidence."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from trivium.calibration.collect import ask, hide
from trivium.calibration.fit import FOLDS, Floats, Record, features, fit
from trivium.errors import GraphError, InputError
from trivium.files import write_whole
from trivium.inference.answers import Ids
from trivium.inference.parts import Parts, Progress
from trivium.inference.ranker import Ranker
from trivium.model.checkpoint import checkpoint_sha256

MIN_DECISIONS = 30
SURE = 1e-4, 1 - 1e-4  # nothing that is learned from is surer


class Calibration:
    """Turns the scores of one checkpoint on one graph into confidences.

    A *confidence* is the estimated chance that an answer with this score, margin and rank is among the hidden true
    ones: facts of the graph were hidden and asked for, and that share of such answers were hidden facts. True answers
    that the graph lacks counted as wrong, so on an incomplete graph a confidence is too low. Each question had a hidden
    answer, so for a question whose answers are all known it is too high.

    Args:
        record: what was fitted.
        ranker: where it is to be used.
        checkpoint: the name or file of the ranker's model.

    Raises:
        InputError: it was fitted to another graph or checkpoint, to other texts of the relations, or to answers of one
            range alone, which is not the ranker's.
    """

    def __init__(self, record: Record, ranker: Ranker, checkpoint: str | Path) -> None:
        graph = ranker.graph
        for what, own, given in (
            ("another checkpoint", record.checkpoint, checkpoint_sha256(checkpoint)),
            ("another graph", record.graph, ranker.given.sha256),
            ("other relation texts", record.texts, ranker.texts_sha256),
        ):
            if own != given:
                raise InputError(
                    f"the calibration was made for {what} (SHA-256 {own[:12] or 'none'}…, not "
                    f"{given[:12] or 'none'}…): make one for this with trivium calibrate"
                )
        self.record = record
        if not self.serves(ranker):
            raise InputError(
                f"the calibration was made for answers of the range {record.range or 'all'}, discounted by "
                f"{record.debias}, with a reach of {record.reach or 'all'} entities: ask for the same, or make one "
                "with trivium calibrate"
            )
        corrections = np.zeros((graph.num_relations, 2))
        corrected = graph.relations.ids(record.relations)
        corrections[corrected] = np.array([*record.relations.values()]).reshape(-1, 2)
        self._corrections = corrections.T.reshape(-1)  # by relation, inverses after the others

    @classmethod
    def fit(
        cls,
        ranker: Ranker,
        checkpoint: str | Path,
        *,
        share: float = 0.1,
        max_hidden: int = 5000,
        seed: int = 0,
        progress: Progress | None = None,
        parts: Parts | None = None,
    ) -> Calibration:
        """Hides a share of the ranker's own graph, asks for it, and fits confidences to what comes back.

        Args:
            checkpoint: the name or file of the ranker's model.
            share: of the facts to hide, in (0, .5]; at most ``max_hidden`` facts.
            seed: of what is hidden.
            progress: called with the questions done and in all.
            parts: computes them, and keeps what is done; in this process and in memory by default.

        Raises:
            GraphError: the graph is too small, or no hidden fact was found, or every answer was one.

        Cost: two queries for each hidden fact, and relation representations of the graph that is left.
        """
        graph = ranker.graph
        rest, hidden = hide(graph, share, max_hidden, seed)
        answers = ask(ranker.over(rest), hidden, progress=progress, parts=parts)
        for kind, those in (("true", answers.true), ("wrong", ~answers.true)):
            if len(np.unique(answers.queries[those])) < FOLDS:
                raise GraphError(f"hardly any question got a {kind} answer: take a larger graph, or a larger --share")
        named = checkpoint_sha256(checkpoint), ranker.texts_sha256
        record = fit(answers, hidden, graph, *named, share, seed, ranker.range)
        engine = ranker.engine
        record = replace(record, graph=ranker.given.sha256, debias=engine.debias, reach=engine.within)
        return cls(record, ranker, checkpoint)

    def learn(self, ranker: Ranker, links: Ids, accepted: NDArray[np.bool_]) -> int:
        """Moves the confidences to what people accepted: all log odds by one number, so that their order stays.

        It is the likeliest with a normal prior of deviation 2 around none: few decisions move little.

        Args:
            ranker: of the graph without any of the links.
            links: ``[n, 3]`` ids of decided links.
            accepted: ``[n]``.

        Returns:
            How many decisions were learned from: none of fewer than `MIN_DECISIONS`, or all alike.
        """
        from scipy.optimize import brentq
        from scipy.special import expit, logit

        if len(links) < MIN_DECISIONS or accepted.all() or not accepted.any():
            return 0
        before = logit(np.clip(ranker.score_ids(links, self.confidence)["confidence"], *SURE))
        moved = brentq(lambda by: (accepted - expit(before + by)).sum() - by / 4, -20, 20)
        confidences = expit(logit(np.clip(self.record.confidences, *SURE)) + moved).tolist()
        self.record = replace(self.record, confidences=confidences, decided=len(links))
        return len(links)

    @classmethod
    def load(cls, path: str | Path, ranker: Ranker, checkpoint: str | Path) -> Calibration:
        """Reads a saved calibration for use with a ranker, whose model is a checkpoint by name or file.

        Raises:
            InputError: no such file, not a calibration, or one for another graph, other texts or another checkpoint.
        """
        try:
            record = TypeAdapter(Record).validate_json(Path(path).read_bytes())
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            reason = f"{path} is not a calibration that this version knows: make one with trivium calibrate"
            raise InputError(reason) from error
        return cls(record, ranker, checkpoint)

    def save(self, path: str | Path, force: bool = False) -> None:
        """Writes it as JSON, whole or not at all.

        Raises:
            OutputError: the file exists (without ``force``) or cannot be written.
        """
        write_whole(self._json(), path, force)

    def serves(self, ranker: Ranker) -> bool:
        """Whether it was made with answers of all kinds, or of the ranker's, and with scores as it gives them."""
        rules = ranker.engine.debias, ranker.engine.within
        return self.record.range in ("", ranker.range) and (self.record.debias, self.record.reach) == rules

    @property
    def sha256(self) -> str:
        """Of what was fitted."""
        return hashlib.sha256(self._json()).hexdigest()

    def _json(self) -> bytes:
        return json.dumps(asdict(self.record), indent=1).encode()

    def confidence(self, relations: Any, scores: Any, margins: Any, ranks: Any) -> Floats:
        """``[answers]``, in [0, 1].

        Args:
            relations: ``[answers]`` asked relations, ids over ``2 · num_relations``.
            scores, margins, ranks: ``[answers]``, as `trivium.inference.answers` gives them.
        """
        record = self.record
        numbers = (features(scores, margins, ranks) - record.center) / record.scale
        levels = numbers @ np.array(record.weights) + record.offset + self._corrections[relations]
        confidences: Floats = np.interp(levels, record.levels, record.confidences)
        return confidences
