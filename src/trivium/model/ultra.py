"""Importer of public ULTRA checkpoints (Galkin et al., 2024): github.com/DeepGraphLearning/ULTRA (MIT)."""

import warnings
from pathlib import Path

import torch

from trivium.errors import CheckpointError
from trivium.model.checkpoint import Provenance
from trivium.model.config import ModelConfig
from trivium.model.trivium import Trivium

NOTE = "imported from a public file; inverse queries are conditioned on the forward relation, as its code does"


def import_ultra(path: str | Path) -> tuple[Trivium, Provenance]:
    """Reads a public ULTRA checkpoint (a pickle, of which only tensors are accepted).

    The public kernel sends messages from tails to heads, so an edge carries the representation of its inverse relation
    there, and the two mixed kinds of edges between relations trade places; its code conditions an inverse query on the
    forward relation.

    Raises:
        CheckpointError: the file holds anything but tensors, or not ULTRA's weights.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch remarks on odd pickles before it refuses them
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"no such file: {path}") from error
    except Exception as error:  # a hostile or broken pickle may raise anything; nothing of it was run
        message = f"{path} is not a file of tensors alone, so it stays closed: give ULTRA's .pth"
        raise CheckpointError(message) from error
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict) or "relation_model.layers.0.relation.weight" not in state:
        raise CheckpointError(f"{path} holds no ULTRA weights: give ultra_3g.pth, ultra_4g.pth or ultra_50g.pth")
    if any(name.startswith("semantic_model.") for name in state):
        raise CheckpointError(f"{path} is a SEMMA checkpoint, whose text encoder is unknown here: import ULTRA's .pth")
    layers = sum(name.endswith(".relation.weight") for name in state)
    config = ModelConfig(
        structure="relation_graph",
        conditioning="forward",
        reversed_messages=True,
        dim=state["relation_model.layers.0.relation.weight"].shape[1],
        layers=sum(name.endswith(".relation_projection.0.weight") for name in state),
        structure_layers=layers,
        use_similarity_enhancer=False,
        use_prompt_enhancer=False,
    )
    weights = {_renamed(name): value for name, value in state.items()}
    for layer in range(layers):
        kinds = f"structure.kinds.{layer}"
        weights[kinds] = weights[kinds][[0, 1, 3, 2]]
    model = Trivium.with_weights(config, weights, path)
    return model, Provenance(made_by=f"github.com/DeepGraphLearning/ULTRA {Path(path).name}", note=NOTE)


def _renamed(name: str) -> str:
    """Our name of one of ULTRA's weights."""
    part, rest = name.split(".", 1)
    if part == "entity_model" and rest.startswith("mlp."):
        return rest.replace("mlp.", "entity.score.", 1)
    _, layer, kind = rest.split(".", 2)
    if part == "relation_model":
        if kind == "relation.weight":
            return f"structure.kinds.{layer}"
        return f"structure.{kind.replace('layer_norm', 'norm').split('.')[0]}.{layer}.{kind.rsplit('.', 1)[1]}"
    kind = kind.replace("relation_projection", "relation").replace("layer_norm", "norm")
    return f"entity.layers.{layer}.{kind}"
