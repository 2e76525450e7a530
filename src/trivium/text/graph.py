"""The textual relation graph: messages reach a relation from those with the most similar texts.

The threshold that an encoder brings was chosen for MiniLM so. Over the texts of FB15k-237, NELL-995 and
CoDEx-M (a relation's own inverse left out) the cosines have medians of .13-.14 and 99th percentiles of
.53-.64; a relation's nearest has .74, .72 and .52 in the median, its fifth nearest .58, .55 and .38. So five
nearest are neighbours enough as a rule, and a threshold is to add only near-paraphrases beyond them. Above
0.7 a relation has 2.5 others on FB15k-237, 1.5 on NELL-995, none on CoDEx-M, and 14 of 54 among the kinship
terms of Metafam. 0.6 would join half of Metafam to each other; 0.8 would leave two thirds of FB15k-237 with
nothing but their five nearest.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trivium.files import digest
from trivium.graph.graph import Graph
from trivium.graph.index import TEXTS
from trivium.graph.names import Names
from trivium.kernels.csr import Edges, IntArray
from trivium.text.encoder import TextEncoder, Vectors
from trivium.text.names import RelationText, given_texts, merged, relation_texts

NEAREST = 5
TIE = 1e-5  # cosines of equal texts differ by rounding: what ties with the fifth nearest is taken with it
_ROWS = 1024


def graph_texts(
    graph: Graph, encoder: TextEncoder, source: str | Path = "", data_dir: str | Path | None = None
) -> "TextGraph":
    """Reads, cleans and encodes the relation texts of a graph, from wherever there are any.

    Args:
        source: the graph's file (a relations.tsv or .json in its folder is read) or the data set's name.
        data_dir: the folder of data sets, where it holds texts of them.
    """
    names = graph.relations.names.to_list()
    labels = None if graph.relations.labels is None else graph.relations.labels.to_list()
    texts = relation_texts(names, labels, given_texts(graph.relations, source, data_dir), encoder.words())
    said = hashlib.sha256(repr(sorted(zip(names, map(repr, texts), strict=True))).encode()).hexdigest()
    return TextGraph.from_texts(texts, encoder, said)


def with_texts(graph: Graph, source: str | Path = "") -> Graph:
    """The graph with what is said of its relations beside its file or by Wikidata, so that an index holds that too.

    What calls a relation by a name labels it, where the graph has no label of its own.
    """
    names = graph.relations
    said = merged(names.names.to_list(), given_texts(names, source))
    if not any(text.forward or text.inverse for text in said):
        return graph
    texts = pl.DataFrame([vars(text) for text in said], dict.fromkeys(TEXTS, pl.String))
    labels = names.names if names.labels is None else names.labels
    labels = texts["name"].zip_with((labels == names.names) & texts["name"].is_not_null(), labels)
    labelled = Names(names.names, None if (labels == names.names).all() else labels, texts)
    return graph.renamed(graph.entities, labelled)


@dataclass(frozen=True, eq=False)
class TextGraph:
    """Relations, inverses included, joined by the similarity of their texts.

    An edge leads from a node to one that it is near to: each node receives messages from its own nearest, so that its
    degree is bounded however popular it is with others.

    Attributes:
        vectors: of length 1, or zeros for a node without text.
        ends: vectors of what each node leads to, zeros where no name says it.
        edges: sorted by target, sources ascending within a run.
        weight: the edges' cosines, in (0, 1].
        threshold: the cosine from which on two nodes are joined though they are not near.
        said: SHA-256 of the relations' names and texts, where they were made from texts.
    """

    vectors: Float[Tensor, "nodes text"]
    ends: Float[Tensor, "nodes text"]
    edges: Edges
    weight: Float[Tensor, " edges"]
    threshold: float
    said: str = ""

    @classmethod
    def from_texts(cls, texts: Sequence[RelationText], encoder: TextEncoder, said: str = "") -> "TextGraph":
        """Encodes each distinct text once, then joins. Cost: as the encoder, and as `from_vectors`."""
        nodes = [text.forward for text in texts] + [text.backward for text in texts]
        ends = [text.ends[0] for text in texts] + [text.ends[1] for text in texts]
        distinct = sorted({text for text in nodes + ends if text is not None})
        rows = dict(zip([*distinct, None], range(len(distinct) + 1), strict=True))
        encoded = np.zeros((len(rows), encoder.dim), np.float32)
        if distinct:
            encoded[:-1] = encoder.encode(distinct)
        vectors, others = (encoded[[rows[text] for text in column]] for column in (nodes, ends))
        return replace(cls.from_vectors(vectors, encoder.threshold, ends=others), said=said)

    @classmethod
    def from_vectors(
        cls, vectors: Vectors, threshold: float, nearest: int = NEAREST, ends: Vectors | None = None
    ) -> "TextGraph":
        """Joins each node to its ``nearest`` by cosine and to all from ``threshold`` on.

        Left out: itself, its own inverse, nodes without text, and cosines of 0 or less. What ties with the
        last of the nearest is taken too, so that numbering the relations otherwise changes nothing.

        Args:
            ends: what the nodes lead to; ``vectors`` by default.

        Cost: O(n² · dim) time for n nodes with text, O(nodes) memory beyond the answer.
        """
        nodes = len(vectors)
        held = np.flatnonzero(vectors.any(1))
        spoken = vectors if len(held) == nodes else vectors[held]
        places = np.full(nodes, -1)
        places[held] = np.arange(len(held))
        inverses = places[(held + nodes // 2) % nodes]
        offsets, sources, weights = np.zeros(nodes + 1, np.int64), [np.zeros(0, np.int32)], [np.zeros(0, np.float32)]
        for begin in range(0, len(held), _ROWS):
            rows = np.arange(begin, min(begin + _ROWS, len(held)))
            cosines = spoken[rows] @ spoken.T
            cosines[rows - begin, rows] = 0
            paired = rows[inverses[rows] >= 0]
            cosines[paired - begin, inverses[paired]] = 0
            fifth = np.zeros(len(rows), np.float32)
            if nearest < len(held):
                fifth = np.partition(cosines, len(held) - nearest, axis=1)[:, len(held) - nearest]
            keep = (cosines > TIE) & ((cosines >= fifth[:, None] - TIE) | (cosines >= threshold - TIE))
            offsets[held[rows] + 1] = keep.sum(1)
            sources.append(held[np.nonzero(keep)[1]].astype(np.int32))
            weights.append(np.minimum(cosines[keep], 1))
        np.cumsum(offsets, out=offsets)
        edges = Edges.of_one_kind(offsets, np.concatenate(sources), nodes)
        ends = vectors if ends is None else ends
        weight = torch.from_numpy(np.concatenate(weights))
        return cls(torch.from_numpy(vectors), torch.from_numpy(ends), edges, weight, threshold)

    @cached_property
    def sha256(self) -> str:
        """Of what the relations say, on whatever machine it was encoded; of the vectors where no text is known."""
        return self.said or digest(self.vectors.cpu().numpy(), self.ends.cpu().numpy())

    def on(self, device: torch.device) -> "TextGraph":
        """The same graph with its tensors on a device."""
        if self.vectors.device == device:
            return self
        return replace(self, **{name: getattr(self, name).to(device) for name in ("vectors", "ends", "weight")})

    @property
    def num_relations(self) -> int:
        return len(self.vectors) // 2

    @cached_property
    def has_text(self) -> Bool[Tensor, " nodes"]:
        return self.vectors.any(1)

    @property
    def num_isolated(self) -> int:
        """How many relations (inverses not counted) no text edge reaches, neither them nor their inverses."""
        silent = (np.diff(self.edges.offsets) == 0).reshape(2, -1)
        return int(silent.all(0).sum())

    @property
    def warning(self) -> str | None:
        """A line for people when over half of the relations are isolated."""
        if 2 * self.num_isolated <= self.num_relations or self.num_relations == 1:
            return None
        return (
            f"{self.num_isolated:,} of {self.num_relations:,} relations have no neighbour by text: a relations.tsv "
            "beside the triples (relation, tab, name) gives them words"
        )

    def take(self, relations: Sequence[int] | IntArray) -> "TextGraph":
        """The graph of some relations alone (ids, inverses not counted), joined afresh."""
        ids = np.asarray(relations, np.int64)
        nodes = np.concatenate([ids, ids + self.num_relations])
        return self.from_vectors(self.vectors.numpy()[nodes], self.threshold, ends=self.ends.numpy()[nodes])

    def with_relation(self, other: "TextGraph") -> "TextGraph":
        """The graph with one relation more, which only has a text: that of a graph of one relation."""
        vectors, ends = (
            np.insert(np.concatenate([old, new[1:]]), self.num_relations, new[0], axis=0)
            for old, new in ((self.vectors.numpy(), other.vectors.numpy()), (self.ends.numpy(), other.ends.numpy()))
        )
        return replace(self.from_vectors(vectors, self.threshold, ends=ends), said=self.sha256)
