"""What the service computes or looks up in a snapshot: from a request and its ids to a reply, with names."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import CancelledError
from threading import Event
from typing import Any, ParamSpec, cast

import numpy as np
from pydantic import BaseModel

from trivium.explanation.explain import explain_ids
from trivium.graph.graph import inverse
from trivium.graph.names import Names
from trivium.inference import relate
from trivium.inference.answers import Ids, Scores, best_answers
from trivium.service import schemas
from trivium.service.snapshot import Snapshot

P = ParamSpec("P")


def written(job: Callable[P, BaseModel], *args: P.args, **kwargs: P.kwargs) -> bytes:
    """What a job replies, as JSON: a thousand answers written on the event loop would stop it."""
    return job(*args, **kwargs).model_dump_json().encode()


def prepare(snapshot: Snapshot) -> None:
    """One explanation, whatever it says: kernels are compiled, the graph's parts are built.

    The collector then leaves alone what is there: a full collection would walk all of it and stop every request for
    some 300 ms.
    """
    head, relation, _ = snapshot.ranker.graph.triples[0].tolist()
    explain_ids(snapshot.ranker, head, relation, head, max_paths=1)  # from a head to itself there is always a path
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def question_ids(snapshot: Snapshot, question: schemas.Question) -> tuple[int, int]:
    """Head and relation, over twice the relations: a question for heads is one for the tails of the inverse.

    Raises:
        GraphError: a name is unknown; the message names the nearest.
    """
    entity = snapshot.names["entity"].id(question.head or question.tail or "")
    relation = snapshot.names["relation"].id(question.relation)
    return entity, relation if question.head else int(inverse(relation, snapshot.ranker.graph.num_relations))


def triple_ids(snapshot: Snapshot, triple: schemas.Triple) -> tuple[int, int, int]:
    """Head, relation and tail; see `question_ids`."""
    entities, relations = snapshot.names["entity"], snapshot.names["relation"]
    return entities.id(triple.head), relations.id(triple.relation), entities.id(triple.tail)


def names_of(snapshot: Snapshot, triple: schemas.Triple) -> tuple[str, str, str]:
    """The names of a triple that may be new: those that it is given by, or those that a label stands for.

    Raises:
        GraphError: something that several names are called.
    """
    graph = snapshot.ranker.graph
    entities, (head, tail) = graph.entities.with_all([triple.head], [triple.tail])
    relations, (relation,) = graph.relations.with_all([triple.relation])
    return entities.take(head)[0], relations.take(relation)[0], entities.take(tail)[0]


def rank(snapshot: Snapshot, question: schemas.Question, head: int, relation: int) -> schemas.Answers:
    """The best answers to a question of which the ids are given."""
    ranker, calibration = snapshot.narrowed(question.range)
    scores = snapshot.scores(head, relation)
    ids, ranks, tied, known, back = ranker.best(head, relation, scores, question.k, question.include_known)
    confidences = np.full(len(ids), np.nan)
    if calibration is not None:
        _, among, margins = ranker.placed(head, relation, scores, ids)
        confidences = calibration.confidence(np.full(len(ids), relation), scores[ids], margins, among)
    columns = ids, ranks, tied, scores[ids], known, back, confidences
    return schemas.Answers(
        cut=int(tied[-1] - (ranks == ranks[-1]).sum()) if len(ids) else 0,
        head=question.head,
        relation=question.relation,
        tail=question.tail,
        relation_label=_named(ranker.graph.relations, relation % ranker.graph.num_relations)["label"],
        answers=[
            schemas.Answer(
                **_named(ranker.graph.entities, i),
                rank=place,
                tied=sharing,
                score=score,
                known=held_already,
                reversed=turned,
                confidence=None if calibration is None or held_already else confidence,
            )
            for i, place, sharing, score, held_already, turned, confidence in zip(
                *(c.tolist() for c in columns), strict=True
            )
        ],
    )


def pair_ids(snapshot: Snapshot, pair: schemas.Pair) -> tuple[int, int]:
    """Head and tail; see `question_ids`."""
    entities = snapshot.names["entity"]
    return entities.id(pair.head), entities.id(pair.tail)


def relation_scores(snapshot: Snapshot, head: int, tail: int, relations: Ids) -> Scores:
    """How well some relations join a pair, ``[relations]``."""
    [scores] = relate.relation_scores(snapshot.ranker, np.array([head]), np.array([tail]), relations)
    return cast(Scores, scores)


def related(snapshot: Snapshot, pair: schemas.Pair, head: int, tail: int, scores: Scores) -> schemas.Relations:
    """The relations that join a pair best; ``scores`` has all of them."""
    graph = snapshot.ranker.graph
    [held] = relate.known_relations(graph, np.array([head]), np.array([tail]))
    [hidden] = relate.no_answers(snapshot.ranker, np.array([head]), np.array([tail]), pair.include_known)
    ids, ranks, _, tied = best_answers(scores, pair.k, hidden)
    columns = ids, ranks, tied, scores[ids], np.isin(ids, held)
    relations = [
        schemas.Joining(**_named(graph.relations, i), rank=place, tied=sharing, score=score, known=known)
        for i, place, sharing, score, known in zip(*(c.tolist() for c in columns), strict=True)
    ]
    return schemas.Relations(head=pair.head, tail=pair.tail, relations=relations)


def score(snapshot: Snapshot, triple: schemas.Claim, *ids: int) -> schemas.Score:
    """The score and the ranks of a triple."""
    ranker, calibration = snapshot.narrowed(triple.range)
    confidence = calibration.confidence if calibration else None
    row = ranker.score_ids(np.array([ids]), confidence).row(0, named=True)
    return schemas.Score(**{"confidence": None, **row, **triple.model_dump(exclude={"range"})})


def explain(left: Event, snapshot: Snapshot, why: schemas.Why, head: int, relation: int, tail: int) -> schemas.Reasons:
    """The paths that carried the tail's score, or the head's; given up between steps once the client has ``left``."""
    if why.inverse:
        head, relation, tail = tail, int(inverse(relation, snapshot.ranker.graph.num_relations)), head

    def check() -> None:
        if left.is_set():
            raise CancelledError

    ranker, _ = snapshot.narrowed(why.range)
    return schemas.Reasons(**explain_ids(ranker, head, relation, tail, why.paths, check).as_dict())


def search(snapshot: Snapshot, kind: schemas.Kind, text: str, count: int) -> schemas.FoundList:
    """Names that begin with a text, then those spelled like it."""
    index = snapshot.names[kind]
    ids = index.search(text, count).tolist()
    return schemas.FoundList(results=[schemas.Found(**_named(index.names, i), facts=int(index.counts[i])) for i in ids])


def facts(snapshot: Snapshot, name: str, begin: int, count: int) -> schemas.Entity:
    """A page of what the graph holds of an entity.

    Edges arrive at an entity sorted by relation; an edge of ``r`` from ``s`` is the fact (s, r, entity). Those of
    inverse relations, in which the entity is the head, come first.

    Raises:
        GraphError: the name is unknown.
    """
    graph = snapshot.ranker.graph
    entity = snapshot.names["entity"].id(name)
    first, last = int(graph.offsets[entity]), int(graph.offsets[entity + 1])
    relations = inverse(graph.edge_relations[first:last], graph.num_relations)
    order = np.argsort(relations, kind="stable")
    page = order[begin : begin + count]
    kinds, counts = np.unique(relations, return_counts=True)

    def relation(kind: int) -> dict[str, Any]:
        forward = kind % graph.num_relations
        named = _named(graph.relations, forward)
        return {"relation": named["name"], "label": named["label"], "inverse": kind != forward}

    return schemas.Entity(
        **_named(graph.entities, entity),
        total=last - first,
        relations=[
            schemas.CountedRelation(**relation(kind), facts=held)
            for kind, held in zip(kinds.tolist(), counts.tolist(), strict=True)
        ],
        facts=[
            schemas.KnownFact(**relation(kind), other=schemas.Named(**_named(graph.entities, other)))
            for kind, other in zip(relations[page].tolist(), graph.sources[first + page].tolist(), strict=True)
        ],
    )


def _named(names: Names, place: int) -> dict[str, str]:
    """An id as `schemas.Named`."""
    return {"name": names.names[place], "label": names.shown(np.array([place]))[0]}
