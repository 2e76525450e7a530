"""Why an answer has its score: the paths that carried it, and what shaped the relation's representation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from html import escape
from typing import Any, Literal

import numpy as np
import torch

from trivium.errors import InputError
from trivium.explanation.paths import Check, best_paths, between, edge_gradients, narrowed
from trivium.graph.graph import Graph, inverse
from trivium.inference.ranker import Ranker
from trivium.model.enhancers import PromptEnhancer, SimilarityEnhancer, extract

SHOWN_EXAMPLES = 8  # of the examples that were read, in words


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
        weight: the mean over its facts of the score's gradient: how much of the score depends on one of them, to first
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
        known: the graph holds the fact or a copy (`Graph.copies`); then all figures are without both.
        paths: heaviest first; only those that raise the score.
        leaned_on: by part of the model that is on: ``branches`` (weight and contribution by name, see
            `Trivium.contributions`), ``neighbours`` (of the similarity enhancer), ``examples`` (of
            the prompt enhancer), ``chains`` of relations that lead to the answer, the share of what each leads to that
            is right on the graph, and ``raised``, what they add to the score.
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
        held = " (the graph holds it; judged without it and its copies)" if self.known else ""
        lines = [f"{self.head} {self.relation} {self.tail}: score {self.score:.3f}, rank {self.rank}{held}"]
        if not self.reached:
            start, end = (self.head, self.tail) if self.asked == "tail" else (self.tail, self.head)
            way = f"No path of at most {self.layers} facts leads from {start} to {end}"
            lines.append(f"{way}: the score rests on the relation and on what surrounds {end} alone.")
        elif not self.paths:
            lines.append("Paths lead there, but none of them raises the score.")
        for reason in self.paths:
            facts = (f"{step.head} {step.relation} {step.tail}" for step in reason.steps)
            lines.append(f"{reason.weight:.3f}  {'; '.join(facts)}")
        for name, part in self.leaned_on.get("branches", {}).items():
            change = f"changed the relation's representation by {part['contribution']:.0%}"
            lines.append(f"The {name} enhancer has the fusion weight {part['weight']:.2f} and {change}.")
        if neighbours := self.leaned_on.get("neighbours"):
            named = (f"{n['relation']}{' (inverse)' if n['inverse'] else ''} {n['weight']:.2f}" for n in neighbours)
            lines.append(f"Relations that it was moved towards: {', '.join(named)}.")
        if examples := self.leaned_on.get("examples"):
            facts = (f"{fact['head']} {fact['relation']} {fact['tail']}" for fact in examples[:SHOWN_EXAMPLES])
            more = f"; and {len(examples) - SHOWN_EXAMPLES} more" if len(examples) > SHOWN_EXAMPLES else ""
            lines.append(f"Examples that were read: {'; '.join(facts)}{more}.")
        if chains := self.leaned_on.get("chains"):
            named = (f"{' · '.join(chain['relations'])} ({chain['confidence']:.0%})" for chain in chains)
            lines.append(
                f"Chains that lead there raise the score by {self.leaned_on['raised']:.3f}: {'; '.join(named)}."
            )
        return lines

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "words": self.words}

    def _repr_html_(self) -> str:
        """For notebooks."""
        first, *rest = (escape(line) for line in self.words)
        return f"<p><b>{first}</b></p><ul>{''.join(f'<li>{line}</li>' for line in rest)}</ul>"


def explain(
    ranker: Ranker,
    head: str,
    relation: str,
    tail: str,
    *,
    asked: Literal["tail", "head"] = "tail",
    max_paths: int = 5,
) -> Explanation:
    """Why one end of a fact, the ``tail`` or the ``head``, has its score as an answer that was ``asked``.

    A fact that the graph holds is taken out first, as `Ranker.score` does.

    Raises:
        GraphError: a name is unknown; the message names the nearest.
        InputError: what is asked is neither end.

    Cost: see `explain_ids`.
    """
    if asked not in ("tail", "head"):
        raise InputError(f"asked is {asked!r}: give 'tail' or 'head'")
    graph = ranker.graph
    start, end = graph.entities.id(head, "head"), graph.entities.id(tail, "tail")
    kind = graph.relations.id(relation, "relation")
    if asked == "head":
        start, end, kind = end, start, inverse(kind, graph.num_relations)
    return explain_ids(ranker, start, kind, end, max_paths)


def explain_ids(
    ranker: Ranker, head: int, relation: int, tail: int, max_paths: int = 5, check: Check = object
) -> Explanation:
    """Why ``tail`` has its score as an answer to ``(head, relation, ?)``; see `explain`.

    Args:
        head, tail: entity ids.
        relation: an id over ``2 · num_relations``; of an inverse relation, the answer is the fact's head.
        check: called between steps, between layers and in the search too; what it raises ends the explanation.

    What limits a question's reach is left aside: an explanation is of the exact score.

    Cost: about ten times a query's. In a graph of more than `trivium.explanation.paths.MAX_EDGES` edges the search is
    narrowed to what lies between the two entities, and gradients are those of the narrowed graph.
    """
    if ranker.engine.within:
        ranker = ranker.within(0)
    fact = np.array([[head, relation, tail]], np.int32)
    known = bool(ranker.graph.knows(fact)[0])
    if known:
        ranker = ranker.over(ranker.graph.less(fact))
        check()
    graph, layers = ranker.graph, ranker.model.config.layers
    scores = ranker.scores(np.array([head]), np.array([relation]))[0].numpy()
    check()
    ranks, *_ = ranker.placed(head, relation, scores, np.array([tail]))
    reached = bool(graph.distances(head, layers)[tail] <= layers)
    named = _step(graph, head, relation, tail)
    return Explanation(
        head=named.head,
        relation=named.relation,
        tail=named.tail,
        asked="head" if named.inverse else "tail",
        score=float(scores[tail]),
        rank=int(ranks[0]),
        known=known,
        reached=reached,
        layers=layers,
        paths=_reasons(ranker, head, relation, tail, max_paths, check) if reached else (),
        leaned_on=_leaned_on(ranker, relation) | _chains(ranker, head, relation, tail),
    )


def _reasons(ranker: Ranker, head: int, relation: int, tail: int, most: int, check: Check) -> tuple[Reason, ...]:
    topology, encoder = ranker.topology, ranker.model.entity
    ((_, representations),) = ranker.representations.each([relation])
    part, ids = narrowed(topology, between(topology.graph, head, tail, len(encoder.layers)))
    check()
    start, end = ids[[head, tail]].tolist()
    gradients = edge_gradients(encoder, part, representations, start, relation, end, check)
    whole = np.flatnonzero(ids >= 0)  # ids in the graph, by id in the part of it
    return tuple(
        Reason(path.weight, tuple(_step(topology.graph, whole[h], r, whole[t]) for h, r, t in path.steps))
        for path in best_paths(part, gradients, start, end, most, check)
        if path.weight > 0
    )


def _leaned_on(ranker: Ranker, relation: int) -> dict[str, Any]:
    """What the branches that are on did for the relation's representation."""
    model, topology, graph, held = ranker.model, ranker.topology, ranker.graph, ranker.representations
    if not model.branches:
        return {}
    seen = int(model.conditioned_on(relation, graph.num_relations))
    asked = torch.tensor([seen], device=topology.device)
    with torch.no_grad():
        r, deltas = model.parts(topology, asked, disabled=held.disabled, text=held.text)
    weights = model.fusion_weights()
    out: dict[str, Any] = {"branches": {}}
    for name, ratio in model.contributions(asked, r, deltas).items():
        branch = model.branches[name]
        out["branches"][name] = {"weight": weights[name], "contribution": abs(weights[name]) * float(ratio[0])}
        if isinstance(branch, SimilarityEnhancer):
            out["neighbours"] = [
                {"relation": _relation(graph, other), "inverse": other >= graph.num_relations, "weight": weight}
                for other, weight in branch.neighbours(seen, r[0], 5)
            ]
        elif isinstance(branch, PromptEnhancer):
            examples = extract(topology, np.array([seen]), branch.config).examples
            facts = (_step(graph, start, seen, end) for _, start, end in examples.tolist())
            out["examples"] = [{"head": fact.head, "relation": fact.relation, "tail": fact.tail} for fact in facts]
    return out


def _chains(ranker: Ranker, head: int, relation: int, tail: int) -> dict[str, Any]:
    """The chains that lead to the answer, at most five, and what all of them add to its score."""
    chains, topology, graph = ranker.engine.chains, ranker.topology, ranker.graph
    if chains is None or not (found := topology.chain_index.leading(head, relation, tail, chains.length)):
        return {}
    with torch.no_grad():
        question = (torch.tensor([part], device=topology.device) for part in (head, relation))
        raised = float(chains(topology.chain_index, *question)[0, tail])

    def named(r: int) -> str:
        return _relation(graph, r) + (" (inverse)" if r >= graph.num_relations else "")

    listed = [{"relations": list(map(named, chain)), "confidence": share} for chain, share in found[:5]]
    return {"chains": listed, "raised": raised}


def _step(graph: Graph, start: int, relation: int, end: int) -> Step:
    """An edge's fact, by name."""
    crossed = relation >= graph.num_relations
    head, tail = graph.entities.shown(np.array([end, start] if crossed else [start, end]))
    return Step(head, _relation(graph, relation), tail, crossed)


def _relation(graph: Graph, relation: int) -> str:
    """The name of a relation, or of the one whose inverse it is."""
    return str(graph.relations.shown(np.array([relation % graph.num_relations]))[0])
