"""What a model is: every size and choice, in one place."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le, MultipleOf

from trivium.settings import Settings

Count = Annotated[int, Ge(1)]
Width = Annotated[Count, Le(4096)]  # with the other bounds, what a file from a stranger may ask for
Rounds = Annotated[int, Ge(1), Le(64)]


@dataclass(frozen=True)
class ModelConfig(Settings):
    """The only source of sizes. A checkpoint carries it."""

    structure: Literal["alternating", "relation_graph"] = "alternating"
    """Structural relation encoder: ours, or ULTRA's relation graph network."""
    conditioning: Literal["own", "forward"] = "own"
    """Whether an inverse query conditions the relations on itself or on its forward twin, as ULTRA's code does."""
    reversed_messages: bool = False
    """Whether an edge carries the representation of its inverse relation, as in ULTRA's kernel."""
    dim: Annotated[Width, MultipleOf(32)] = 64
    """Numbers in a relation representation and in an entity state."""
    layers: Rounds = 6
    """Rounds of message passing in the entity encoder."""
    structure_dim: Width = 32
    """Numbers in a state inside the alternating encoder."""
    structure_steps: Rounds = 3
    """Relation steps of the alternating encoder."""
    structure_layers: Rounds = 2
    """Entity layers between two relation steps, or all layers of the relation graph network."""
    text_encoder: str = ""
    """The text encoder whose vectors the model was trained with; empty for a model without text."""
    text_dim: Width = 384
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
    use_chains: bool = False
    """Whether chains of relations that lead to answers raise a candidate's score."""
    chain_length: Annotated[int, Ge(1), Le(3)] = 3
    """Relations of a chain, at most."""
    prompt_examples: Annotated[Count, Le(64)] = 8
    """Example facts in a relation's prompt, at most; in training they are drawn."""
    prompt_examples_asked: Annotated[int, Ge(0), Le(64)] = 0
    """The same when questions are answered, where more examples cost little; 0: as many as in training."""
    prompt_hops: Annotated[int, Ge(1), Le(2)] = 2
    """Steps from an example's head or tail, 1 or 2."""
    prompt_entities: Annotated[Count, Le(1024)] = 64
    """Entities around an example, its own two included, at most."""
    prompt_edges: Annotated[Count, Le(4096)] = 256
    """Edges around an example, inverses included, at most."""
    prompt_dim: Width = 32
    """Numbers in a state inside the prompt encoder."""
    prompt_layers: Rounds = 3
    """Rounds of message passing in a prompt."""
    prompt_rows: Literal["prompt"] = "prompt"
    """What the prompt enhancer changes: the representations of every relation that occurs in the prompts."""
