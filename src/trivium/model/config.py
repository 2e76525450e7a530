"""What a model is: every size and choice, in one place."""

from dataclasses import dataclass, fields
from typing import Literal, get_args

from trivium.errors import ConfigError
from trivium.kernels.vector import WIDTH
from trivium.settings import check_range

RANGES = (
    (1, 1e6, "dim layers structure_dim structure_steps structure_layers text_dim prompt_dim prompt_layers"),
    (1, 1e6, "prompt_examples prompt_entities prompt_edges"),
    (1, 2, "prompt_hops"),
)


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
    text_encoder: str = ""
    """The text encoder whose vectors the model was trained with; empty for a model without text."""
    text_dim: int = 384
    """Numbers in one of its vectors."""
    use_learnable_fusion: bool = True
    """Whether the fusion weights are trained (F1-F5) or fixed (F6)."""
    use_similarity_enhancer: bool = True
    """Whether the model has the similarity enhancer (F9)."""
    use_prompt_enhancer: bool = True
    """Whether the model has the prompt enhancer (F9)."""
    similarity_enhancer_weight: float = 0.2
    """Where the similarity enhancer's fusion weight starts, beside 1 for the structure; or its fixed coefficient."""
    prompt_enhancer_weight: float = 0.8
    """The same for the prompt enhancer."""
    prompt_examples: int = 8
    """Example facts in a relation's prompt, at most."""
    prompt_hops: int = 2
    """Steps of the neighbourhood around an example, 1 or 2."""
    prompt_entities: int = 64
    """Entities around an example, at most."""
    prompt_edges: int = 256
    """Edges around an example, at most."""
    prompt_dim: int = 32
    """Numbers in a state inside the prompt encoder."""
    prompt_layers: int = 3
    """Rounds of message passing in a prompt."""
    prompt_rows: Literal["query", "prompt"] = "prompt"
    """Which rows the prompt enhancer changes: the query's, or those of every relation that occurs in its prompts."""

    def __post_init__(self) -> None:
        for low, high, names in RANGES:
            check_range(low, high, **{name: getattr(self, name) for name in names.split()})
        if self.dim % WIDTH:
            raise ConfigError(f"dim is {self.dim}: give a multiple of {WIDTH}")
        for part in fields(self):
            value = getattr(self, part.name)
            if (choices := get_args(part.type)) and value not in choices:
                raise ConfigError(f"{part.name} is {value!r}: choose from {', '.join(choices)}")
