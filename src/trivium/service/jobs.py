"""What the service computes: ranked answers, scores, reasons; and what it looks up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from trivium.graph.graph import Graph, inverse
from trivium.inference.answers import best_answers, filtered_entities
from trivium.service.batching import Deliver
from trivium.service.snapshot import Loaded

TOGETHER = 64
"""Questions of one batch. More would share more, but make later questions wait."""


@dataclass(frozen=True)
class Question:
    """``(head, relation, ?)`` by id; ``relation`` over twice the relations. Its result is a list of answers."""

    loaded: Loaded
    head: int
    relation: int
    k: int
    include_known: bool
    weight: ClassVar[int] = 1


@dataclass(frozen=True)
class Triple:
    """A triple to score, by id. Its result is a row of `Ranker.score_ids`."""

    loaded: Loaded
    head: int
    relation: int
    tail: int
    weight: ClassVar[int] = 2


@dataclass(frozen=True)
class Reason:
    """An answer to explain, by id; ``relation`` over twice the relations. Its result is an explanation."""

    loaded: Loaded
    head: int
    relation: int
    tail: int
    paths: int
    weight: ClassVar[int] = 16


def compute(jobs: Sequence[Question | Triple | Reason], deliver: Deliver) -> None:
    """Runs on the one thread that computes. Questions are ranked together; the dearer jobs come after them."""
    questions: dict[Loaded, list[Question]] = {}
    for job in jobs:
        if isinstance(job, Question):
            questions.setdefault(job.loaded, []).append(job)
    for loaded, asked in questions.items():
        _rank(loaded, asked, deliver)
    for job in jobs:
        if isinstance(job, Question):
            continue
        try:
            result: Any = _score(job) if isinstance(job, Triple) else _explain(job)
        except Exception as error:
            result = error
        if not deliver(job, result):
            return


def _rank(loaded: Loaded, asked: list[Question], deliver: Deliver) -> None:
    heads = np.array([question.head for question in asked], np.int64)
    relations = np.array([question.relation for question in asked], np.int64)
    for places, rows, scores in loaded.ranker.blocks(heads, relations):
        table = scores.numpy()
        wanted = True
        for place, row in zip(places, rows, strict=True):
            wanted = deliver(asked[place], _answers(asked[place], table[row]))
        if not wanted:
            return


def _answers(question: Question, scores: Any) -> list[dict[str, Any]]:
    """The best answers to one question, from the scores ``[entities]``."""
    loaded, graph = question.loaded, question.loaded.ranker.graph
    held = graph.answers(question.head, question.relation)
    filtered = filtered_entities(graph, question.head, question.relation)
    hidden = np.setdiff1d(filtered, held) if question.include_known else filtered
    ids, ranks, _ = best_answers(scores, question.k, hidden)
    confidences = loaded.confidence(question.relation, scores, filtered, ids)
    return [
        {
            "name": loaded.entities.name(i),
            "label": loaded.entities.label(i),
            "rank": rank,
            "score": float(scores[i]),
            "known": known,
            "confidence": None if known else confidence,
        }
        for i, rank, known, confidence in zip(
            ids.tolist(), ranks.tolist(), np.isin(ids, held).tolist(), confidences, strict=True
        )
    ]


def _score(job: Triple) -> dict[str, Any]:
    ids = np.array([[job.head, job.relation, job.tail]], np.int64)
    calibration = job.loaded.calibration
    table = job.loaded.ranker.score_ids(ids, calibration.confidence if calibration else None)
    return {"confidence": None, **table.row(0, named=True)}


def _explain(job: Reason) -> dict[str, Any]:
    from trivium.explanation.explain import explain_ids

    return explain_ids(job.loaded.ranker, job.head, job.relation, job.tail, job.paths).as_dict()


@dataclass(frozen=True)
class Search:
    """A search by name among entities or relations. Its result is a list of names."""

    loaded: Loaded
    kind: str
    text: str
    count: int
    weight: ClassVar[int] = 1


@dataclass(frozen=True)
class Suggestion:
    """What an unknown name may have meant. Its result is a sentence."""

    loaded: Loaded
    kind: str
    name: str
    weight: ClassVar[int] = 1


@dataclass(frozen=True)
class Facts:
    """What the graph holds of an entity. Its result is a page of facts, and the entity's relations."""

    loaded: Loaded
    entity: int
    begin: int
    count: int
    weight: ClassVar[int] = 1


def look_up(jobs: Sequence[Search | Suggestion | Facts], deliver: Deliver) -> None:
    """Runs on the one thread that looks things up."""
    for job in jobs:
        try:
            if isinstance(job, Search):
                result: Any = _search(job)
            elif isinstance(job, Suggestion):
                result = job.loaded.directory(job.kind).suggest(job.name)
            else:
                result = _facts(job)
        except Exception as error:
            result = error
        if not deliver(job, result):
            return


def _search(job: Search) -> list[dict[str, Any]]:
    names = job.loaded.directory(job.kind)
    found = names.search(job.text, job.count).tolist()
    return [{"name": names.name(i), "label": names.label(i), "facts": int(names.weight[i])} for i in found]


def _facts(job: Facts) -> dict[str, Any]:
    """Edges arrive at an entity sorted by relation; an edge of ``r`` from ``s`` is the fact (s, r, entity).

    Those of inverse relations, in which the entity is the head, are given first.
    """
    loaded, graph = job.loaded, job.loaded.ranker.graph
    first, last = int(graph.offsets[job.entity]), int(graph.offsets[job.entity + 1])
    arriving = graph.edge_relations[first:last]
    middle = first + int(np.searchsorted(arriving, graph.num_relations))
    order = np.concatenate([np.arange(middle, last), np.arange(first, middle)])
    kinds, counts = np.unique(inverse(arriving, graph.num_relations), return_counts=True)
    page = order[job.begin : job.begin + job.count].tolist()
    return {
        "name": loaded.entities.name(job.entity),
        "label": loaded.entities.label(job.entity),
        "total": last - first,
        "relations": [
            {**_relation(loaded, kind), "facts": count}
            for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True)
        ],
        "facts": [_fact(loaded, graph, place) for place in page],
    }


def _relation(loaded: Loaded, kind: int) -> dict[str, Any]:
    forward = kind % loaded.ranker.graph.num_relations
    return {
        "relation": loaded.relations.name(forward),
        "label": loaded.relations.label(forward),
        "inverse": kind != forward,
    }


def _fact(loaded: Loaded, graph: Graph, place: int) -> dict[str, Any]:
    other = int(graph.sources[place])
    kind = int(inverse(graph.edge_relations[place], graph.num_relations))
    return {
        **_relation(loaded, kind),
        "other": {"name": loaded.entities.name(other), "label": loaded.entities.label(other)},
    }
