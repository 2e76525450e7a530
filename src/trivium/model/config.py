"""What a model is: every size and choice, in one place."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ModelConfig:
    """The only source of sizes. A checkpoint carries it."""

    structure: Literal["alternating", "relation_graph"] = "alternating"
    """Structural relation encoder: ours, or ULTRA's relation graph network."""
    conditioning: Literal["own", "forward"] = "own"
    """Whether an inverse query conditions the relations on itself or on its forward twin, as ULTRA's code does."""
    reversed_messages: bool = False
    """Whether an edge carries the row of its inverse relation, as in ULTRA's kernel."""
    dim: int = 64
    """Numbers in a relation representation and in an entity state."""
    layers: int = 6
    """Rounds of message passing in the entity encoder."""
    structure_dim: int = 32
    """Numbers in a state inside the alternating encoder."""
    structure_steps: int = 3
    """Relation steps of the alternating encoder."""
    structure_layers: int = 2
    """Entity layers between two relation steps, or all layers of the relation graph network."""
    use_similarity_enhancer: bool = False
    use_prompt_enhancer: bool = False
    use_learnable_fusion: bool = True
    """Whether the fusion weights are trained (F1-F5) or fixed (F6)."""
    similarity_enhancer_weight: float = 0.2
    prompt_enhancer_weight: float = 0.8
