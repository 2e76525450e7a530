"""The model: structural and textual relation representations, enhanced and fused, then the entity encoder."""

from collections.abc import Collection, Mapping
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from trivium.errors import ConfigError
from trivium.model.config import ModelConfig
from trivium.model.entity import EntityEncoder
from trivium.model.fusion import Fusion
from trivium.model.prompt import PromptEnhancer
from trivium.model.prompt_graph import Bounds
from trivium.model.semantics import Semantics, stand_ins
from trivium.model.similarity import SimilarityEnhancer
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

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.structure: nn.Module
        if config.structure == "relation_graph":
            self.structure = RelationGraphEncoder(config.dim, config.structure_layers)
        else:
            self.structure = AlternatingEncoder(
                config.structure_dim, config.dim, config.structure_steps, config.structure_layers
            )
        self.semantics = Semantics(config.text_dim, config.dim) if config.text_encoder else None
        self.branches = nn.ModuleDict()
        if config.use_similarity_enhancer:
            self.branches["similarity"] = SimilarityEnhancer()
        if config.use_prompt_enhancer:
            bounds = Bounds(config.prompt_examples, config.prompt_hops, config.prompt_entities, config.prompt_edges)
            self.branches["prompt"] = PromptEnhancer(
                config.dim, config.prompt_dim, config.prompt_layers, config.prompt_rows, bounds
            )
        self.fusion = Fusion(branch_weights(config), config.use_learnable_fusion)
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
        other.config = replace(self.config, conditioning=cast(Literal["own", "forward"], conditioning))
        return other

    def seen_from(self, query: Any, num_relations: int) -> Any:
        """The relation (id or tensor of ids) on which the representations for ``query`` are conditioned."""
        return query % num_relations if self.config.conditioning == "forward" else query

    @torch.no_grad()
    def encoded_texts(self, topology: Topology) -> Float[Tensor, "1 relations dim"] | None:
        """What the relations' texts say, for all queries alike; ``None`` where model or graph has none."""
        if self.semantics is None or topology.texts is None:
            return None
        encoded: Tensor = self.semantics.encoder(topology.texts)
        return encoded

    def relation_representations(
        self,
        topology: Topology,
        query: Int[Tensor, " batch"],
        *,
        disabled: Collection[str] = (),
        kept_texts: Bool[Tensor, " nodes"] | None = None,
        rng: np.random.Generator | None = None,
        text: Float[Tensor, "1 relations dim"] | None = None,
    ) -> Float[Tensor, "batch relations dim"]:
        """Relation representations seen from each asked relation (``query``, ids over ``2 · num_relations``).

        A relation that has a text but no edge is seen through those that stand in for it (`stand_ins`).

        Args:
            disabled: branches whose Δ counts as 0, and ``text`` for the texts, for ablation (F9).
            kept_texts: the relations whose text counts, for text dropout; ``None`` means all that have one.
            rng: draws prompt examples at random, as training does; without it they are chosen by structure.
            text: from `encoded_texts`, where it is held already.
        """
        stand_in = None
        if self.semantics is not None and topology.texts is not None and "text" not in disabled:
            stand_in = stand_ins(topology.texts, query, topology.heard, kept_texts)
        if stand_in is None:
            r, deltas = self.parts(topology, query, disabled=disabled, kept_texts=kept_texts, rng=rng, text=text)
            fused: Tensor = self.fusion(r, deltas)
            return fused
        # what is seen from relations without edges is a mixture of what is seen from others, own row included
        lonely = stand_in.any(1)
        used = stand_in.any(0)
        used[query[~lonely]] = True
        nodes = used.nonzero()[:, 0]
        rows = self.relation_representations(
            topology, nodes, disabled=disabled, kept_texts=kept_texts, rng=rng, text=text
        )
        mixing = torch.where(lonely[:, None], stand_in, nn.functional.one_hot(query, len(used)))[:, nodes]
        mixed = torch.einsum("bn,nrd->brd", mixing, rows)
        own = mixing @ rows[torch.arange(len(nodes)), nodes]
        return mixed.index_put((torch.arange(len(query)), query), own)

    def parts(
        self,
        topology: Topology,
        query: Int[Tensor, " batch"],
        *,
        disabled: Collection[str] = (),
        kept_texts: Bool[Tensor, " nodes"] | None = None,
        rng: np.random.Generator | None = None,
        text: Float[Tensor, "1 relations dim"] | None = None,
    ) -> tuple[Float[Tensor, "batch relations dim"], dict[str, Tensor | None]]:
        """What fusion joins: ``r``, and each branch's Δ by name (``None`` for a disabled one)."""
        seen = self.seen_from(query, topology.num_relations)
        r = self.structure(topology, seen)
        if self.semantics is not None and "text" not in disabled:
            r = self.semantics(r, topology.texts, kept_texts, text)
        deltas = {
            name: None if name in disabled else branch(topology, query, r, rng=rng)
            for name, branch in self.branches.items()
        }
        return r, deltas

    @staticmethod
    def contributions(
        query: Int[Tensor, " batch"], r: Float[Tensor, "batch relations dim"], deltas: Mapping[str, Tensor | None]
    ) -> dict[str, Float[Tensor, " batch"]]:
        """``‖Δ_i‖ / ‖r‖`` in each query's row, by branch: what its fusion weight multiplies (F8).

        Args:
            r, deltas: from `parts`.
        """
        row = torch.arange(len(query)), query
        least = r[row].norm(dim=1).clamp(min=1e-12)
        return {name: delta[row].norm(dim=1) / least for name, delta in deltas.items() if delta is not None}

    def forward(
        self,
        topology: Topology,
        head: Int[Tensor, " batch"],
        query: Int[Tensor, " batch"],
        *,
        disabled: Collection[str] = (),
        kept_texts: Bool[Tensor, " nodes"] | None = None,
        rng: np.random.Generator | None = None,
    ) -> Float[Tensor, "batch entities"]:
        """Scores every entity as the answer to each ``(head, query, ?)``; the rest as `relation_representations`."""
        distinct, place = torch.unique(query, return_inverse=True)
        relation = self.relation_representations(topology, distinct, disabled=disabled, kept_texts=kept_texts, rng=rng)[
            place
        ]
        scores: Tensor = self.entity(topology, relation, head, query)
        return scores
