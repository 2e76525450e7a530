"""Why an answer has its score: the paths that carried it, and what the relation's representation leaned on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from trivium.errors import InputError
from trivium.explanation.paths import best_paths, between, distances, edge_gradients, narrowed
from trivium.graph.graph import Graph
from trivium.inference.answers import filtered_entities, ranks_and_margins
from trivium.inference.ranker import Ranker


@dataclass(frozen=True)
class Step:
    """A fact as the graph holds it; ``inverse`` where the path crosses it from its tail to its head."""

    head: str
    relation: str
    tail: str
    inverse: bool


@dataclass(frozen=True)
class Reason:
    """A path from the question's entity to its answer.

    Attributes:
        weight: the mean over its facts of the score's gradient: how much of the score hangs on one of them, to first
            order, in the score's units.
    """

    weight: float
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Explanation:
    """What carried one answer's score. Entities and relations are named as tables of answers name them.

    Attributes:
        head, relation, tail: the fact.
        asked: which of its ends is the answer, ``tail`` or ``head``.
        rank: among the answers that the graph does not hold; best is 1.
        known: the graph holds the fact; then all figures are without it.
        paths: heaviest first; only those that raise the score.
        leaned_on: by part of the model that is on: ``branches`` (weight and contribution by name, see
            `Trivium.contributions`), ``neighbours`` (of the similarity enhancer), ``examples`` (of
            the prompt enhancer).
        reached: whether a path of at most ``layers`` facts leads to the answer.
    """

    head: str
    relation: str
    tail: str
    asked: str
    score: float
    rank: int
    known: bool
    reached: bool
    layers: int
    paths: tuple[Reason, ...]
    leaned_on: dict[str, Any]

    @property
    def words(self) -> list[str]:
        """Lines for people."""
        fact = f"{self.head} {self.relation} {self.tail}"
        held = " (the graph holds it; judged without it)" if self.known else ""
        lines = [f"{fact}: score {self.score:.3f}, rank {self.rank}{held}"]
        if not self.reached:
            start, end = (self.head, self.tail) if self.asked == "tail" else (self.tail, self.head)
            lines.append(
                f"No path of at most {self.layers} facts leads from {start} to {end}: "
                f"the score rests on the relation and on what surrounds {end} alone."
            )
        elif not self.paths:
            lines.append("Paths lead there, but none of them raises the score.")
        for reason in self.paths:
            facts = (f"{step.head} {step.relation} {step.tail}" for step in reason.steps)
            lines.append(f"{reason.weight:.3f}  {'; '.join(facts)}")
        return lines + self._leaning()

    def _leaning(self) -> list[str]:
        lines = [
            f"The {name} enhancer has the fusion weight {part['weight']:.2f} and changed the relation's representation "
            f"by {part['contribution']:.0%}."
            for name, part in self.leaned_on.get("branches", {}).items()
        ]
        neighbours = self.leaned_on.get("neighbours", [])
        if neighbours:
            named = (f"{n['relation']}{' (inverse)' if n['inverse'] else ''} {n['weight']:.2f}" for n in neighbours)
            lines.append(f"Relations that it was moved towards: {', '.join(named)}.")
        examples = self.leaned_on.get("examples", [])
        if examples:
            facts = (f"{e['head']} {e['relation']} {e['tail']}" for e in examples)
            lines.append(f"Examples that were read: {'; '.join(facts)}.")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        content = asdict(self)
        content["paths"] = [{**path, "steps": list(path["steps"])} for path in content["paths"]]
        return {**content, "words": self.words}


def explain(ranker: Ranker, head: int, relation: int, tail: int, paths: int = 5) -> Explanation:
    """Why ``tail`` has its score as an answer to ``(head, relation, ?)``.

    A fact that the graph holds is taken out first, as `Ranker.score` does.

    Args:
        head, tail: entity ids.
        relation: an id over ``2 · num_relations``; of an inverse relation, the answer is the fact's head.
        paths: the most to give.

    Raises:
        InputError: ``paths`` is below 1.

    Cost: about ten times a query's. In a graph of more than `trivium.explanation.paths.MOST_EDGES` edges the search is
    narrowed to what lies between the two entities, and gradients are those of the narrowed graph.
    """
    check_paths(paths)
    fact = np.array([[head, relation, tail]], np.int32)
    known = bool(ranker.graph.contains(fact)[0])
    if known:
        ranker = ranker.over(ranker.graph.without(fact))
    graph, model = ranker.graph, ranker.model
    scores = ranker.scores(np.array([head]), np.array([relation]))[0].numpy()
    ranks, _ = ranks_and_margins(scores, filtered_entities(graph, head, relation), np.array([tail]))
    layers = model.config.layers
    reached = bool(distances(graph, head, layers)[tail] <= layers)
    turned = relation >= graph.num_relations
    first, last = (tail, head) if turned else (head, tail)
    return Explanation(
        head=_name(graph.entities, first),
        relation=_name(graph.relations, relation % graph.num_relations),
        tail=_name(graph.entities, last),
        asked="head" if turned else "tail",
        score=float(scores[tail]),
        rank=int(ranks[0]),
        known=known,
        reached=reached,
        layers=layers,
        paths=_reasons(ranker, head, relation, tail, paths) if reached else (),
        leaned_on=_leaned_on(ranker, relation),
    )


def check_paths(paths: int) -> None:
    """Refuses a number of paths below 1."""
    if paths < 1:
        raise InputError(f"paths is {paths}: ask for at least 1")


def _reasons(ranker: Ranker, head: int, relation: int, tail: int, count: int) -> tuple[Reason, ...]:
    topology, encoder = ranker.topology, ranker.model.entity
    ((_, rows),) = ranker.representations.each([relation])
    part, ids = narrowed(topology, between(topology.graph, head, tail, len(encoder.layers)))
    ends = int(ids[head]), int(ids[tail])
    gradients = edge_gradients(encoder, part, rows, ends[0], relation, ends[1])
    found = best_paths(part, gradients, *ends, count)
    back = np.flatnonzero(ids >= 0)
    graph = topology.graph

    def step(start: int, kind: int, end: int) -> Step:
        return Step(*_fact(graph, int(back[start]), kind, int(back[end])), kind >= graph.num_relations)

    return tuple(Reason(path.weight, tuple(step(*edge) for edge in path.steps)) for path in found if path.weight > 0)


def _leaned_on(ranker: Ranker, relation: int) -> dict[str, Any]:
    """What the branches that are on did for the relation's representation."""
    from trivium.model.prompt import PromptEnhancer
    from trivium.model.prompt_graph import extract
    from trivium.model.similarity import SimilarityEnhancer

    model, topology, graph = ranker.model, ranker.topology, ranker.graph
    if not model.branches:
        return {}
    seen = int(model.conditioned_on(relation, graph.num_relations))
    asked = torch.tensor([seen])
    with torch.no_grad():
        held = ranker.representations
        r, deltas = model.parts(topology, asked, disabled=held.disabled, text=held.text)
    weights = model.fusion_weights()
    out: dict[str, Any] = {
        "branches": {
            name: {"weight": weights[name], "contribution": abs(weights[name]) * float(ratio[0])}
            for name, ratio in model.contributions(asked, r, deltas).items()
        }
    }
    for branch in (branch for name, branch in model.branches.items() if deltas[name] is not None):
        if isinstance(branch, SimilarityEnhancer):
            out["neighbours"] = [
                {
                    "relation": _name(graph.relations, other % graph.num_relations),
                    "inverse": other >= graph.num_relations,
                    "weight": weight,
                }
                for other, weight in branch.neighbours(seen, r[0], 5)
            ]
        elif isinstance(branch, PromptEnhancer):
            examples = extract(topology, np.array([seen]), branch.limits, None).examples
            facts = (_fact(graph, first, seen, last) for _, first, last in examples.tolist())
            out["examples"] = [dict(zip(("head", "relation", "tail"), fact, strict=True)) for fact in facts]
    return out


def _fact(graph: Graph, start: int, relation: int, end: int) -> tuple[str, str, str]:
    """An edge's fact, by name."""
    if relation >= graph.num_relations:
        start, relation, end = end, relation - graph.num_relations, start
    return _name(graph.entities, start), _name(graph.relations, relation), _name(graph.entities, end)


def _name(names: Any, place: int) -> str:
    return str(names.shown(np.array([place]))[0])
