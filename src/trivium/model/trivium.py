"""The model: structural relation representations, enhanced and fused, then the entity encoder."""

from collections.abc import Collection
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from trivium.errors import ConfigError
from trivium.model.config import ModelConfig
from trivium.model.entity import EntityEncoder
from trivium.model.fusion import Fusion
from trivium.model.structure import AlternatingEncoder, RelationGraphEncoder
from trivium.model.topology import Topology


def branch_weights(config: ModelConfig) -> dict[str, float]:
    """The configured weight of each branch that is switched on (requirement F9)."""
    weights = {}
    if config.use_similarity_enhancer:
        weights["similarity"] = config.similarity_enhancer_weight
    if config.use_prompt_enhancer:
        weights["prompt"] = config.prompt_enhancer_weight
    return weights


class Trivium(nn.Module):
    """Ranks the entities of a graph that it has never seen.

    ``relation_representations`` reads the graph; ``forward`` spreads a query over it. There are no embeddings of
    entities or relations, so one set of weights serves every graph.
    """

    def __init__(self, config: ModelConfig, mark_head: bool = False) -> None:
        super().__init__()
        self.config = config
        self.structure: nn.Module
        if config.structure == "relation_graph":
            self.structure = RelationGraphEncoder(config.dim, config.structure_layers)
        else:
            self.structure = AlternatingEncoder(
                config.structure_dim, config.dim, config.structure_steps, config.structure_layers, mark_head
            )
        self.branches = nn.ModuleDict()
        self.fusion = Fusion({}, config.use_learnable_fusion)
        self.entity = EntityEncoder(config.dim, config.layers, config.reversed_messages)

    @classmethod
    def load(cls, name: str | Path) -> "Trivium":
        """Opens a shipped checkpoint by name, or a file; see `trivium.model.checkpoint`."""
        from trivium.model.checkpoint import load_checkpoint

        return load_checkpoint(name)[0]

    def fusion_weights(self) -> dict[str, float]:
        """The fusion weights by name."""
        return self.fusion.weights()

    @property
    def fusion_weights_logits(self) -> nn.Parameter | None:
        """The fusion's trained logits; ``None`` in fixed mode or without branches."""
        return self.fusion.fusion_weights_logits

    def conditioned(self, conditioning: str) -> "Trivium":
        """The same weights with another conditioning, ``own`` or ``forward``."""
        if conditioning not in ("own", "forward"):
            raise ConfigError(f"conditioning is {conditioning!r}: choose own or forward")
        other = copy(self)
        other.config = replace(self.config, conditioning=conditioning)
        return other

    def seen_from(self, query: Any, num_relations: int) -> Any:
        """The relation (id or tensor of ids) on which the representations for ``query`` are conditioned."""
        return query % num_relations if self.config.conditioning == "forward" else query

    def relation_representations(
        self,
        topology: Topology,
        query: Int[Tensor, " batch"],
        disabled: Collection[str] = (),
        head: Tensor | None = None,
    ) -> Float[Tensor, "batch relations dim"]:
        """Relation representations seen from each asked relation (``query``, ids over ``2 · num_relations``).

        Args:
            disabled: branches whose Δ counts as 0, for ablation.
        """
        seen = self.seen_from(query, topology.num_relations)
        r = self.structure(topology, seen) if head is None else self.structure(topology, seen, head)
        deltas = {
            name: None if name in disabled else branch(topology, query, r) for name, branch in self.branches.items()
        }
        return self.fusion(r, deltas)

    def forward(
        self, topology: Topology, head: Int[Tensor, " batch"], query: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch entities"]:
        """Scores every entity as the answer to each ``(head, query, ?)``."""
        if getattr(self.structure, "mark_head", False):
            return self.entity(topology, self.relation_representations(topology, query, head=head), head, query)
        distinct, place = torch.unique(query, return_inverse=True)
        relation = self.relation_representations(topology, distinct)[place]
        return self.entity(topology, relation, head, query)
