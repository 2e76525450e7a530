"""What the service computes or looks up in a snapshot: from a request and its ids to a reply, with names."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from threading import Event
from typing import Any, ParamSpec, cast

import numpy as np
from pydantic import BaseModel

from trivium.errors import DecidedError, InputError
from trivium.explanation.explain import explain_ids
from trivium.graph.graph import Graph, inverse
from trivium.graph.names import Names
from trivium.inference import relate
from trivium.inference.answers import Ids, Scores, best_answers
from trivium.inference.complete import Questions, open_questions
from trivium.review.queue import Choice, Link, Queue, Waiting
from trivium.service import schemas
from trivium.service.snapshot import Snapshot

AHEAD = 4  # links that a page shows and prepares
MOST_RELATIONS = 100  # that one may choose from

P = ParamSpec("P")


def written(job: Callable[P, BaseModel], *args: P.args, **kwargs: P.kwargs) -> bytes:
    """What a job replies, as JSON: a thousand answers written on the event loop would stop it."""
    return job(*args, **kwargs).model_dump_json().encode()


def prepare(snapshot: Snapshot) -> None:
    """One explanation, whatever it says: kernels are compiled, the graph's parts are built. The first snapshot's second
    question tells how long the next ones take.

    The collector then leaves alone what is there: a full collection would walk all of it and stop every request for
    some 300 ms.
    """
    head, relation, _ = snapshot.ranker.graph.triples[0].tolist()
    explain_ids(snapshot.ranker, head, relation, head, max_paths=1)  # from a head to itself there is always a path
    if not snapshot.question_seconds:
        for _ in range(2):
            started = time.monotonic()
            snapshot.ranker.best(head, relation, snapshot.scores(head, relation), 10)
        snapshot.question_seconds = time.monotonic() - started
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


def kept(snapshot: Snapshot, links: Sequence[Link]) -> schemas.Decided:
    """What was decided, and which of its names are new to a snapshot."""
    graph = snapshot.ranker.graph
    held = graph.entities, graph.relations, graph.entities
    new = [name for link in links for name, names in zip(link, held, strict=True) if names.ids([name], False)[0] < 0]
    triples = [schemas.Triple(head=h, relation=r, tail=t) for h, r, t in links]
    return schemas.Decided(decided=triples, new=list(dict.fromkeys(new)))


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
    [held] = relate.known_relations(graph, np.array([head]), np.array([tail]), graph.twins)
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


def relations(snapshot: Snapshot, text: str, begin: int, count: int) -> schemas.RelationsHeld:
    """A page of what the graph holds by relation, those whose names have a text in them.

    Cost: as `trivium.inference.complete.open_questions` of the page's relations.
    """
    graph, index = snapshot.ranker.graph, snapshot.names["relation"]
    order = np.argsort(-index.counts, kind="stable")
    if text:
        fits = graph.relations.called.str.to_lowercase().str.contains(text.lower(), literal=True)
        order = order[fits.to_numpy()[order]]
    page = order[begin : begin + count]
    lacking = np.zeros(graph.num_relations, np.int64)
    if len(page) and (asked := _open(graph, graph.relations.take(page).to_list())) is not None:
        lacking += np.bincount(asked.relations[asked.held == 0], minlength=graph.num_relations)

    def twins(kind: int) -> list[schemas.Twin]:
        return [
            schemas.Twin(**_named(graph.relations, other % graph.num_relations), turned=other >= graph.num_relations)
            for other in graph.alike(kind)
            if other != kind
        ]

    return schemas.RelationsHeld(
        total=len(order),
        relations=[
            schemas.RelationHeld(
                **_named(graph.relations, kind),
                facts=int(index.counts[kind]),
                lacking=int(lacking[kind]),
                twins=twins(kind),
            )
            for kind in page.tolist()
        ],
    )


def open_heads(snapshot: Snapshot, relation: str) -> tuple[int, Questions | None]:
    """A relation's id, and the questions by which it would be completed, if there are any.

    Raises:
        GraphError: the name is unknown.
    """
    kind = snapshot.names["relation"].id(relation)
    return kind, _open(snapshot.ranker.graph, [snapshot.ranker.graph.relations.names[kind]])


def _open(graph: Graph, names: list[str]) -> Questions | None:
    try:
        return open_questions(graph, names)
    except InputError:
        return None  # nothing is left to ask


def filled(snapshot: Snapshot, head: int, relation: int, held: int) -> schemas.Filled:
    """The best new answer to one question of a completion."""
    graph = snapshot.ranker.graph
    names = {"head": graph.entities.names[head], "relation": graph.relations.names[relation]}
    found = rank(snapshot, schemas.Question(**names, k=1, include_known=False), head, relation).answers
    return schemas.Filled(
        head=schemas.Named(**_named(graph.entities, head)), held=held, answer=found[0] if found else None
    )


def completion(
    snapshot: Snapshot, relation: int, asked: Questions | None, rows: list[schemas.Filled]
) -> schemas.Completion:
    """Some answered questions of a relation, and how many there are."""
    return schemas.Completion(
        relation=schemas.Named(**_named(snapshot.ranker.graph.relations, relation)),
        questions=0 if asked is None else len(asked.heads),
        lacking=0 if asked is None else int((asked.held == 0).sum()),
        rows=rows,
    )


def review(snapshot: Snapshot, choice: schemas.Choice, first: Sequence[Link] = ()) -> schemas.Review:
    """How far people have come with the suggestions, and the next few; see `trivium.review.queue.Queue.next`."""
    queue, graph = _queue(snapshot), snapshot.ranker.graph

    def shown(one: Waiting) -> dict[str, Any]:
        head, relation, tail = one.ids
        return {
            "head": _named(graph.entities, head),
            "relation": _named(graph.relations, relation),
            "tail": _named(graph.entities, tail),
            "confidence": one.confidence,
            "verdict": one.verdict,
        }

    asked = Choice(tuple(choice.relation), choice.min_confidence, choice.doubtful_first)
    links, waiting = queue.next(asked, AHEAD, first)
    by_relation = list(queue.waiting_by_relation().items())[:MOST_RELATIONS]
    return schemas.Review(
        counts=queue.counts,
        waiting=waiting,
        relations=[schemas.WaitingOf(**_named(graph.relations, kind), waiting=count) for kind, count in by_relation],
        confident=queue.links["confidence"].null_count() < len(queue.links),
        unknown=len(queue.unknown),
        of_another=snapshot.of_another,
        links=[
            schemas.ToReview(**shown(one), like=[schemas.Suggested(**shown(other)) for other in queue.like(one)])
            for one in links
        ],
    )


def decide(snapshot: Snapshot, given: schemas.Judgement) -> schemas.Review:
    """Keeps what somebody says of a suggested link, then what comes next.

    Raises:
        InputError: it is no suggestion, or it cannot be kept.
        DecidedError: somebody else's verdict stands.
    """
    link = given.link.head, given.link.relation, given.link.tail
    stands = _queue(snapshot).decide(link, given.verdict, given.reviewer, given.note)
    if stands is not None:
        raise DecidedError(f"{stands.reviewer} has decided it meanwhile: {stands.verdict}")
    return review(snapshot, given.choice)


def undo(snapshot: Snapshot, given: schemas.Undoing) -> schemas.Review:
    """Takes back somebody's last decision; its link comes next.

    Raises:
        InputError: that cannot be kept.
    """
    undone = _queue(snapshot).log.undo(given.reviewer)
    if undone is None:
        return review(snapshot, given.choice)
    link = undone.head, undone.relation, undone.tail
    reply = review(snapshot, given.choice, [link])
    reply.undone = schemas.Triple(head=link[0], relation=link[1], tail=link[2])
    return reply


def _queue(snapshot: Snapshot) -> Queue:
    if snapshot.queue is None:
        raise InputError("this service has no suggestions to review: start it with --suggestions FILE")
    return snapshot.queue


def _named(names: Names, place: int) -> dict[str, str]:
    """An id as `schemas.Named`."""
    return {"name": names.names[place], "label": names.shown(np.array([place]))[0]}
