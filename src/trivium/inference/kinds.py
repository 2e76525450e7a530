"""Which entities may answer a relation's questions: those that were seen there, or are of a kind that was."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

from trivium.errors import InputError
from trivium.files import digest
from trivium.graph.graph import Graph, inverse
from trivium.graph.read import read_ends, read_entities, read_kinds
from trivium.inference.answers import EntityIds, Ids

RARE = 0.01  # of the entities that stand at an end of a relation: a rarer kind says nothing of the others there
SAYS_KIND = "type", "category", "kind", "instance of", "P31"
"""Relations whose tail is the kind of their head, by the last part of their name or label."""

log = logging.getLogger(__name__)


class Sets:
    """Which kinds each entity has.

    Args:
        kinds: ``[n, 2]``, entities and numbers of their kinds.
        num_entities: how many there are.
    """

    def __init__(self, kinds: Ids, num_entities: int) -> None:
        from scipy.sparse import csr_array

        pairs = pl.DataFrame(kinds, ["entity", "kind"], orient="row").unique().sort("entity", "kind")
        every = pl.DataFrame({"entity": np.arange(num_entities)})
        joined = pl.col("kind").cast(pl.String).str.join(" ").alias("kinds")
        held = every.join(pairs.group_by("entity").agg(joined), on="entity", how="left", maintain_order="left")
        self.of_entity: Ids = held["kinds"].fill_null("").rank("dense").to_numpy().astype(np.int64) - 1
        first = np.zeros(num_entities, np.bool_)
        first[np.unique(self.of_entity, return_index=True)[1]] = True  # one entity shows a set
        entities, numbers = pairs.to_numpy().T
        shown = first[entities]
        places = self.of_entity[entities[shown]], numbers[shown]
        shape = self.of_entity.max() + 1, numbers.max() + 1
        self.distinct = csr_array((np.ones(shown.sum(), np.int32), places), shape=shape)

    def alike(self, entities: Ids) -> Ids:
        """These entities, and all others that have every kind which one of them has; see `Range`."""
        counts = np.bincount(self.of_entity[entities], minlength=self.distinct.shape[0])
        usual = np.flatnonzero(counts >= RARE * len(entities))
        sizes = self.distinct.sum(1)[usual][:, None]
        fits = (((self.distinct[usual] @ self.distinct.T).toarray() == sizes) & (sizes > 0)).any(0)
        fits[usual] = True
        return np.union1d(np.flatnonzero(fits[self.of_entity]), entities)


@dataclass(frozen=True)
class Range:
    """The entities that may answer: of each relation and end those that stand there in the graph, or are of a kind.

    *Seen* are the entities that stand at that end of the relation. Of a *kind* are these, and every entity that has all
    the kinds that one of them has, where at least one in a hundred of them has just these; entities without any count
    as of one kind. A relation without a fact narrows nothing.

    Attributes:
        graph: what is seen.
        name: of the choice, for what is made with it.
        sets: the kinds of entities; ``None`` for what was seen alone.
        named: the only entities that may answer, whatever the relation; the rest does not count then.
        ends: likewise of each relation; one that is not there narrows nothing.
    """

    graph: Graph
    name: str
    sets: Sets | None = None
    named: Ids | None = None
    ends: Mapping[int, Ids] | None = None
    _found: dict[int, EntityIds | None] = field(default_factory=dict)

    def over(self, graph: Graph) -> Range:
        """The same choice over another graph with the same names; kinds stay what they are."""
        return replace(self, graph=graph, _found={})

    def answers(self, relation: int) -> EntityIds | None:
        """The ids of those that may answer ``(·, relation, ?)``, ascending; ``None`` means all.

        Cost: O(edges) once for each relation.
        """
        if self.named is not None:
            return self.named
        if self.ends is not None:
            return self.ends.get(relation)
        if relation not in self._found:
            places = np.flatnonzero(self.graph.edge_relations == relation)
            seen = np.unique(np.searchsorted(self.graph.offsets, places, "right") - 1)
            found = seen if self.sets is None or not len(seen) else self.sets.alike(seen)
            self._found[relation] = found if len(found) else None
        return self._found[relation]


def choose_range(graph: Graph, choice: str, columns: str | None = None, skip_bad: bool = False) -> Range:
    """What ``--range`` says: ``seen``, ``type``, or a file.

    Args:
        choice: a file holds names, one a line or in a column; or relations and names, see
            `trivium.graph.read.read_ends`; or names and their kinds, in columns that a header calls so (``type``,
            ``category``, ``kind``).
        columns, skip_bad: of a file, see `trivium.graph.read.read_entities`.

    Raises:
        InputError: the graph says no kinds.
        GraphError: the file cannot be read, or names what the graph does not hold.
    """
    if choice == "seen":
        return Range(graph, choice)
    if choice == "type":
        return Range(graph, choice, Sets(own_kinds(graph), graph.num_entities))
    if not Path(choice).exists():
        raise InputError(f"--range {choice}: choose seen, type or a file; there is no file of that name")
    table = read_kinds(choice, skip_bad=skip_bad)
    if table is None and (rows := read_ends(choice, columns, skip_bad=skip_bad)) is not None:
        ends = _ends(graph, choice, rows)
        return Range(
            graph, f"{Path(choice).name} {digest(*(part for item in ends.items() for part in item))}", ends=ends
        )
    if table is None:
        named = np.unique(read_entities(choice, graph, columns, skip_bad=skip_bad))
        return Range(graph, f"{Path(choice).name} {digest(named)}", named=named)
    ids = graph.entities.ids(table["name"]).astype(np.int64)
    if not (ids >= 0).any():
        raise InputError(f"{choice}: none of its names is in the graph")
    kinds = np.stack([ids, table["kind"].rank("dense").to_numpy().astype(np.int64)], 1)[ids >= 0]
    return Range(graph, f"{Path(choice).name} {digest(kinds)}", Sets(kinds, graph.num_entities))


def _ends(graph: Graph, path: str, rows: pl.DataFrame) -> dict[int, Ids]:
    """The entities of each relation (over ``2 · num_relations``) that rows of `read_ends` name, ascending.

    Raises:
        InputError: the graph holds no relation of them, or none of the names that one has.
    """
    entities = graph.entities.ids(rows["name"]).astype(np.int64)
    relations = graph.relations.ids(rows["relation"]).astype(np.int64)
    if not (there := relations >= 0).any():
        raise InputError(
            f"{path}: it names no relation of the graph: give a relation and an entity a line, or one name"
        )
    if len(unknown := np.flatnonzero(~there | (entities < 0))):
        log.warning("%s: the graph lacks a name of %s of %s lines", path, f"{len(unknown):,}", f"{len(rows):,}")
    relations = np.where(rows["end"] == "head", inverse(relations, graph.num_relations), relations)
    ends = {
        int(kind): np.unique(entities[(relations == kind) & (entities >= 0)]) for kind in np.unique(relations[there])
    }
    for kind, named in ends.items():
        if not len(named):
            name = graph.relations.names[kind % graph.num_relations]
            raise InputError(f"{path}: the graph holds nothing of what it names for the relation {name!r}")
    return ends


def kind_relations(graph: Graph) -> list[int]:
    """The relations that say what kind an entity is, by their names and labels; see `SAYS_KIND`."""
    ends = (
        [re.split("[/#:]", name)[-1] for name in names] for names in (graph.relations.names, graph.relations.called)
    )
    return [relation for relation, names in enumerate(zip(*ends, strict=True)) if set(names) & set(SAYS_KIND)]


def own_kinds(graph: Graph) -> Ids:
    """``[n, 2]``: entities and their kinds, as the graph's own facts say.

    Raises:
        InputError: no relation is one of `SAYS_KIND`.
    """
    facts = graph.triples[np.isin(graph.triples[:, 1], kind_relations(graph))]
    if not len(facts):
        raise InputError(
            f"no fact says what kind an entity is (no relation {', '.join(SAYS_KIND)}): choose the range seen, or "
            "a file with columns of names and types"
        )
    return facts[:, [0, 2]].astype(np.int64)
