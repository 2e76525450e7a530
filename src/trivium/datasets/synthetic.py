"""Synthetic graphs made by random rules: as many relations as one likes, none of them in any data set."""

import numpy as np
from numpy.typing import NDArray

from trivium.graph.graph import Graph
from trivium.graph.names import Names
from trivium.settings import check_range

Pairs = NDArray[np.int64]  # [n, 2], head and tail
Signature = tuple[int, int]  # entity types of head and tail

MOST_TYPES = 8  # of entities
RULES = ("inverse", "symmetry", "implication", "composition", "long composition")
RULE_SHARES = (0.15, 0.1, 0.15, 0.4, 0.2)


def synthesize(
    seed: int | list[int],
    *,
    entities: int | None = None,
    base_relations: int | None = None,
    rules: int | None = None,
    triples_per_relation: int | None = None,
) -> Graph:
    """A graph of random facts, closed under random rules that hold with random confidence.

    Entities have one of 1-8 types, a popularity (skewed) and a community; base relations join a type to a type, from
    one-to-one to many-to-many. Rules state an inverse, a symmetry, an implication, or a composition of two or three
    relations read in either direction, with confidence .5-1, and are applied once or twice.

    Args:
        seed: the graph is a pure function of it and of the other arguments.
        entities: how many, at least `MOST_TYPES`; 200-3,000 by default.
        base_relations: how many; 3-24 by default.
        rules: how many; 3-29 by default.
        triples_per_relation: the mean number of facts of a base relation; by default in proportion to the entities.

    Raises:
        ConfigError: a number is less than 1, or too few entities for their types.

    Cost: 5-50 ms at the default sizes.
    Source: the idea is that of INCITE, a public study that adds such graphs to pretraining.
    """
    check_range(MOST_TYPES, entities=entities)
    check_range(1, relations=base_relations, rules=rules, triples_per_relation=triples_per_relation)
    rng = np.random.default_rng(seed)
    num_entities = entities or int(np.exp(rng.uniform(np.log(200), np.log(3000))))
    world = _World(rng, num_entities)
    facts: list[Pairs] = []
    signatures: list[Signature] = []
    for _ in range(base_relations or int(rng.integers(3, 25))):
        signature = (int(rng.integers(world.num_types)), int(rng.integers(world.num_types)))
        facts.append(world.base_facts(signature, triples_per_relation))
        signatures.append(signature)
    plans = []
    for _ in range(rules or int(rng.integers(3, 30))):
        plan = _plan(rng, signatures)
        if plan is not None:
            plans.append(plan)
            if plan[1] == len(signatures):
                signatures.append(plan[3])
                facts.append(np.empty((0, 2), np.int64))
    cap = 3 * max(num_entities, max(len(f) for f in facts))
    for _ in range(int(rng.integers(1, 3))):
        for body, head, confidence, _ in plans:
            derived = _chain(rng, facts, body, cap)
            derived = derived[rng.random(len(derived)) < confidence]
            facts[head] = np.unique(np.concatenate([facts[head], derived]), axis=0)
            if len(facts[head]) > cap:
                facts[head] = facts[head][rng.permutation(len(facts[head]))[:cap]]
    kept = [f for f in facts if len(f)]
    heads, tails = np.concatenate(kept).astype(np.int32).T
    relations = np.repeat(np.arange(len(kept), dtype=np.int32), [len(f) for f in kept])
    names = Names([f"relation {i}" for i in range(len(kept))])
    return Graph.from_ids(heads, relations, tails, entities=num_entities, relation_names=names)


class _World:
    """Entities with types, popularity and communities."""

    def __init__(self, rng: np.random.Generator, num_entities: int) -> None:
        self.rng = rng
        self.num_types = int(rng.integers(1, MOST_TYPES + 1))
        share = rng.dirichlet(np.full(self.num_types, 2.0))
        self.kind = rng.choice(self.num_types, num_entities, p=share)
        self.kind[: self.num_types] = np.arange(self.num_types)  # no type is empty
        skew = rng.uniform(0, 1.1)
        self.popularity = rng.permutation(np.arange(1, num_entities + 1) ** -skew)
        self.community = rng.integers(max(1, num_entities // int(rng.integers(10, 200))), size=num_entities)
        self.members = [np.flatnonzero(self.kind == kind) for kind in range(self.num_types)]

    def base_facts(self, signature: Signature, mean: int | None) -> Pairs:
        rng = self.rng
        heads, tails = (self.members[kind] for kind in signature)
        expected = mean or max(len(heads), len(tails)) * float(np.exp(rng.uniform(np.log(0.2), np.log(2.0))))
        count = max(8, int(expected))
        weights = [self.popularity[members] for members in (heads, tails)]
        head, tail = (rng.choice(m, count, p=w / w.sum()) for m, w in zip((heads, tails), weights, strict=True))
        near = np.flatnonzero(rng.random(count) < rng.choice([0.0, 0.5, 0.9]))
        tail[near] = self._near(tails, head[near], tail[near])
        pairs = np.stack([head, tail], 1)
        shape = rng.integers(4)  # 0 many-to-many, 1 many-to-one, 2 one-to-many, 3 one-to-one
        if shape & 1:
            pairs = pairs[np.unique(pairs[:, 0], return_index=True)[1]]
        if shape & 2:
            pairs = pairs[np.unique(pairs[:, 1], return_index=True)[1]]
        return np.unique(pairs, axis=0)

    def _near(
        self, members: NDArray[np.int64], heads: NDArray[np.int64], otherwise: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """For each head a member of its community, or what was drawn before if it has none."""
        order = members[np.argsort(self.community[members], kind="stable")]
        begin = np.searchsorted(self.community[order], self.community[heads], "left")
        end = np.searchsorted(self.community[order], self.community[heads], "right")
        place = begin + (self.rng.random(len(heads)) * (end - begin)).astype(np.int64)
        return np.where(end > begin, order[np.minimum(place, len(order) - 1)], otherwise)


Plan = tuple[list[tuple[int, bool]], int, float, Signature]  # body (relation, reversed), head, confidence


def _plan(rng: np.random.Generator, signatures: list[Signature]) -> Plan | None:
    """One random rule whose body fits together by type, or ``None`` where the draw does not fit."""
    kind = str(rng.choice(RULES, p=RULE_SHARES))
    length = {"composition": 2, "long composition": 3}.get(kind, 1)
    body: list[tuple[int, bool]] = []
    ways = [(relation, reverse) for relation in range(len(signatures)) for reverse in (False, True)]
    types: list[Signature] = []  # of the ends of each relation in the body
    for _ in range(length):
        turned = [signatures[relation][::-1] if reverse else signatures[relation] for relation, reverse in ways]
        fitting = [place for place, (first, _) in enumerate(turned) if not body or first == types[-1][1]]
        if not fitting:
            return None
        chosen = fitting[int(rng.integers(len(fitting)))]
        body.append(ways[chosen])
        types.append(turned[chosen])
    start, end = types[0][0], types[-1][1]
    confidence = float(rng.uniform(0.5, 1.0))
    if kind == "inverse":
        body = [(body[0][0], not body[0][1])]
        start, end = end, start
    same = [i for i, signature in enumerate(signatures) if signature == (start, end)]
    if kind == "symmetry" and start == end:
        return [(body[0][0], True)], body[0][0], confidence, (start, end)
    head = same[int(rng.integers(len(same)))] if same and rng.random() < 0.35 else len(signatures)
    return body, head, confidence, (start, end)


def _chain(rng: np.random.Generator, facts: list[Pairs], body: list[tuple[int, bool]], cap: int) -> Pairs:
    """The pairs that a body of one to three relations joins, at most about ``cap`` a join."""
    joined, *others = (facts[relation][:, ::-1] if reverse else facts[relation] for relation, reverse in body)
    for pairs in others:
        pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
        begin = np.searchsorted(pairs[:, 0], joined[:, 1], "left")
        count = np.searchsorted(pairs[:, 0], joined[:, 1], "right") - begin
        if count.sum() > cap:
            kept = rng.permutation(len(joined))
            kept = kept[: max(1, int(np.searchsorted(np.cumsum(count[kept]), cap)))]
            joined, begin, count = joined[kept], begin[kept], count[kept]
        first = np.repeat(joined[:, 0], count)
        place = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.repeat(begin, count)
        joined = np.stack([first, pairs[place, 1]], 1)
        joined = np.unique(joined[joined[:, 0] != joined[:, 1]], axis=0)
    return joined
