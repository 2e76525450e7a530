"""Chains: relations that join the same pairs as the asked one does, alone or one after the other, are evidence."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from trivium.model.topology import Topology

GAIN, SCALE = 2.0, 0.005  # that training starts from


class Chains(nn.Module):
    """Raises the score of what chains lead to, by ``gain · log(1 + evidence / ε)``; gain and ``ε`` are learned.

    What no chain leads to keeps its score. Evidence is counted, not learned: see `trivium.model.chain_index`.

    Source: the idea of weighing rules by counted confidences from Meilicke et al., AnyBURL (2019).
    """

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length
        self.log_gain = nn.Parameter(torch.tensor(float(np.log(GAIN))))
        self.log_scale = nn.Parameter(torch.tensor(float(np.log(SCALE))))

    def forward(
        self, topology: Topology, head: Int[Tensor, " batch"], relation: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch entities"]:
        """What is added to the scores of all entities as answers to each ``(head, relation, ?)``."""
        evidence = torch.zeros(len(head), topology.num_entities)
        for query in set(relation.tolist()):
            rows = relation == query
            found = topology.chain_index.evidence(head[rows].numpy().astype(np.int64), query, self.length)
            evidence[rows] = torch.from_numpy(found)
        return self.log_gain.exp() * torch.log1p(evidence / self.log_scale.exp())
