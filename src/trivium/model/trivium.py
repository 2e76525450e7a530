"""The model: structural and textual relation representations, enhanced and fused, then the entity encoder."""

from collections.abc import Callable, Collection, Mapping
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from trivium.errors import CheckpointError, ConfigError
from trivium.model.chains import Chains
from trivium.model.checkpoint import Provenance, find_checkpoint, read_checkpoint, write_checkpoint
from trivium.model.config import ModelConfig
from trivium.model.encoders import AlternatingEncoder, EntityEncoder, RelationGraphEncoder
from trivium.model.enhancers import PromptEnhancer, SimilarityEnhancer
from trivium.model.fusion import Fusion
from trivium.model.semantics import Semantics, text_nearest
from trivium.model.topology import Topology

BRANCHES: dict[str, Callable[[ModelConfig], nn.Module]] = {
    "similarity": lambda _: SimilarityEnhancer(),
    "prompt": PromptEnhancer,
}
"""What makes each branch; a configuration's fields ``use_…_enhancer`` and ``…_enhancer_weight`` are about it."""


def chosen_device(name: str) -> torch.device:
    """A device by name: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``, which is cuda where there is one.

    Raises:
        ConfigError: it is none of these, or not here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()) or (kind == "cpu" and number):
        raise ConfigError(f"device {name!r}: give cpu, cuda, cuda:N or auto")
    if kind == "cuda" and (count := torch.cuda.device_count()) <= int(number or 0):
        what = f"torch {torch.__version__} sees {count} such devices here"
        raise ConfigError(f"device {name!r}: {what}: choose another, or install a build of torch with CUDA")
    return torch.device(kind, int(number or 0)) if kind == "cuda" else torch.device(kind)


def branch_weights(config: ModelConfig) -> dict[str, float]:
    """The configured weight of each branch that is switched on (requirement F9)."""
    on = [name for name in BRANCHES if getattr(config, f"use_{name}_enhancer")]
    return {name: getattr(config, f"{name}_enhancer_weight") for name in on}


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
        weights = branch_weights(config)
        self.branches = nn.ModuleDict({name: BRANCHES[name](config) for name in weights})
        self.fusion = Fusion(weights, config.use_learnable_fusion)
        self.entity = EntityEncoder(config.dim, config.layers, config.reversed_messages)
        self.chains = Chains(config.chain_length) if config.use_chains else None

    @classmethod
    def load(cls, name: str | Path, device: str = "cpu") -> "Trivium":
        """Opens a checkpoint by name, or a file, to compute on a device; see `load_checkpoint`, `chosen_device`."""
        return load_checkpoint(name, device)[0]

    @property
    def device(self) -> torch.device:
        """Where its weights are, and so where it computes."""
        return next(self.parameters()).device

    @classmethod
    def with_weights(cls, config: ModelConfig, weights: Mapping[str, Tensor], where: str | Path) -> "Trivium":
        """The model of a configuration with given weights, ready to answer.

        Args:
            where: the file that they come from, for the error.

        Raises:
            CheckpointError: the configuration asks for other weights than these. It is found before memory is taken.
        """
        try:
            with torch.device("meta"):
                model = cls(config)
        except ConfigError as error:
            raise CheckpointError(f"{where}: {error}") from error
        wanted, found = (
            {name: f"{list(value.shape)} of {value.dtype}" for name, value in tensors.items()}
            for tensors in (model.state_dict(), weights)
        )
        for name in sorted({*wanted, *found}):
            if wanted.get(name) != found.get(name):
                raise CheckpointError(
                    f"{where}: settings and weights do not fit: {name} is {found.get(name, 'missing')}, "
                    f"the settings ask for {wanted.get(name, 'none such')}"
                )
        model.to_empty(device="cpu").load_state_dict(weights)
        return model.eval()

    def fusion_weights(self) -> dict[str, float]:
        """The fusion weights by name."""
        return self.fusion.weights()

    @property
    def fusion_weights_logits(self) -> nn.Parameter | None:
        """The fusion's trained logits; ``None`` in fixed mode or without branches."""
        return self.fusion.fusion_weights_logits

    def conditioned(self, conditioning: str) -> "Trivium":
        """The same weights with another conditioning, ``own`` or ``forward``."""
        other = copy(self)
        other.config = replace(self.config, conditioning=cast(Literal["own", "forward"], conditioning))
        return other

    def conditioned_on(self, relation: Any, num_relations: int) -> Any:
        """The relation (id or tensor of ids) on which the representations for ``relation`` are conditioned."""
        return relation % num_relations if self.config.conditioning == "forward" else relation

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
        relation: Int[Tensor, " batch"],
        *,
        disabled: Collection[str] = (),
        kept_texts: Bool[Tensor, " relations"] | None = None,
        **choices: Any,
    ) -> Float[Tensor, "batch relations dim"]:
        """The representations of all relations, conditioned on each asked one (ids over ``2 · num_relations``).

        Those for a relation that has a text but no edge are mixed from those for the relations nearest to it by text
        (`text_nearest`).

        Args:
            disabled: branches whose Δ counts as 0, and ``text`` for the texts, for ablation (F9).
            kept_texts: the relations whose text counts, for text dropout; ``None`` means all that have one.
            choices: as `parts`.
        """
        nearest = None
        if self.semantics is not None and topology.texts is not None and "text" not in disabled:
            nearest = text_nearest(topology.texts, relation, topology.has_edges, kept_texts)
        asked = relation
        if nearest is not None:
            unseen, used = nearest.any(1), nearest.any(0)
            used[relation[~unseen]] = True
            asked = used.nonzero()[:, 0]
        r, deltas = self.parts(topology, asked, disabled=disabled, kept_texts=kept_texts, **choices)
        fused: Tensor = self.fusion(r, deltas)
        if nearest is None:
            return fused
        mixing = torch.where(unseen[:, None], nearest, nn.functional.one_hot(relation, len(used)))[:, asked]
        mixed = torch.einsum("bn,nrd->brd", mixing, fused)
        own = (
            mixing @ fused[torch.arange(len(asked), device=asked.device), asked]
        )  # an unseen relation's own representation is mixed too
        return mixed.index_put((torch.arange(len(relation), device=relation.device), relation), own)

    def parts(
        self,
        topology: Topology,
        relation: Int[Tensor, " batch"],
        *,
        disabled: Collection[str] = (),
        kept_texts: Bool[Tensor, " relations"] | None = None,
        rng: np.random.Generator | None = None,
        text: Float[Tensor, "1 relations dim"] | None = None,
    ) -> tuple[Float[Tensor, "batch relations dim"], dict[str, Tensor | None]]:
        """What fusion joins: ``r``, and each branch's Δ by name (``None`` for a disabled one).

        Args:
            disabled, kept_texts: as `relation_representations`.
            rng: draws prompt examples at random, as training does; without it they are chosen by structure.
            text: from `encoded_texts`, where it is held already.
        """
        r = self.structure(topology, self.conditioned_on(relation, topology.num_relations))
        if self.semantics is not None and "text" not in disabled:
            r = self.semantics(r, topology.texts, kept_texts, text)
        deltas = {
            name: None if name in disabled else branch(topology, relation, r, rng=rng)
            for name, branch in self.branches.items()
        }
        return r, deltas

    @staticmethod
    def contributions(
        relation: Int[Tensor, " batch"], r: Float[Tensor, "batch relations dim"], deltas: Mapping[str, Tensor | None]
    ) -> dict[str, Float[Tensor, " batch"]]:
        """``‖Δ_i‖ / ‖r‖`` of each asked relation, by branch: what its fusion weight multiplies (F8).

        Args:
            r, deltas: from `parts`.
        """
        own = torch.arange(len(relation), device=relation.device), relation
        size = r[own].norm(dim=1).clamp(min=1e-12)
        return {name: delta[own].norm(dim=1) / size for name, delta in deltas.items() if delta is not None}

    def forward(
        self, topology: Topology, head: Int[Tensor, " batch"], relation: Int[Tensor, " batch"], **choices: Any
    ) -> Float[Tensor, "batch entities"]:
        """Scores every entity as the answer to each ``(head, relation, ?)``; choices as `relation_representations`."""
        distinct, place = torch.unique(relation, return_inverse=True)
        representations = self.relation_representations(topology, distinct, **choices)
        scores: Tensor = self.entity(topology, representations[place], head, relation)
        if self.chains is not None and "chains" not in choices.get("disabled", ()):
            scores = scores + self.chains(topology.chain_index, head, relation)
        return scores


def load_checkpoint(name: str | Path, device: str = "cpu") -> tuple[Trivium, Provenance]:
    """The model of a checkpoint, by name or file, on a device, and what it was made from.

    Errors are those of `read_checkpoint` and `chosen_device`.
    """
    place = chosen_device(device)
    config, weights, provenance = read_checkpoint(name)
    return Trivium.with_weights(config, weights, find_checkpoint(name)).to(place), provenance


def save_checkpoint(model: Trivium, provenance: Provenance, path: str | Path, force: bool = False) -> None:
    """Writes a model as a checkpoint; see `write_checkpoint`."""
    write_checkpoint(model.config, model.state_dict(), provenance, path, force)
