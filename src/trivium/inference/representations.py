"""Relation representations, computed in chunks and kept as long as a budget of bytes allows."""

from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor

from trivium.model.topology import Topology
from trivium.model.trivium import Trivium

CHUNK_BYTES = 64 << 20  # of states while a chunk of relations is encoded


class Representations:
    """The relation representations of one graph, conditioned on each asked relation: ``[2 · num_relations, dim]`` each.

    All of them would take memory in proportion to the square of the relations (26 GB at 5,000), so the least recently
    used go when the budget is full.

    Args:
        cache_bytes: the budget.
        disabled: parts of the model that are switched off (F9).
    """

    def __init__(self, model: Trivium, topology: Topology, cache_bytes: int, disabled: Collection[str] = ()) -> None:
        self.model = model
        self.topology = topology
        self.cache_bytes = cache_bytes
        self.disabled = disabled
        self.cache: OrderedDict[int, Tensor] = OrderedDict()
        relations, dim = 2 * topology.num_relations, model.config.dim
        self.entry_bytes = relations * dim * 4
        per_relation = 8 * self.entry_bytes + 6 * topology.num_entities * model.config.structure_dim * 4
        self.text = model.encoded_texts(topology)  # depends on no query: once for the graph
        self.chunk = max(1, min(64, CHUNK_BYTES // per_relation))

    def each(self, relations: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """Every asked relation with its representations, in the given order; what is missing is computed in chunks."""
        for begin in range(0, len(relations), self.chunk):
            part = relations[begin : begin + self.chunk]
            keys = {relation: self.model.conditioned_on(relation, self.topology.num_relations) for relation in part}
            held = {key: self.cache[key] for key in keys.values() if key in self.cache}
            missing = [key for key in dict.fromkeys(keys.values()) if key not in held]
            if missing:
                with torch.no_grad():
                    new = self.model.relation_representations(
                        self.topology, torch.tensor(missing), disabled=self.disabled, text=self.text
                    )
                held |= zip(missing, new, strict=True)
            for relation in part:
                yield relation, held[keys[relation]]
            for key, value in held.items():
                if key not in self.cache:
                    self.cache[key] = value.clone()  # a view would keep its whole chunk alive
                self.cache.move_to_end(key)
                while len(self.cache) * self.entry_bytes > self.cache_bytes:
                    self.cache.popitem(last=False)
