"""The model: structural relation representations, enhanced and fused, then the entity encoder."""

from collections.abc import Collection

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from trivium.model.config import ModelConfig
from trivium.model.entity import EntityEncoder
from trivium.model.fusion import Fusion
from trivium.model.structure import AlternatingEncoder, RelationGraphEncoder
from trivium.model.topology import Topology


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
        seen = query % topology.num_relations if self.config.conditioning == "forward" else query
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
