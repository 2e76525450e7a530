"""Checkpoints: weights with the configuration and provenance that belong to them; importers of public ones."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trivium.errors import CheckpointError, ConfigError
from trivium.model.config import ModelConfig
from trivium.model.trivium import Trivium

SHIPPED = Path(__file__).parent.parent / "checkpoints"
ENDING = ".safetensors"
FORMAT = "trivium 1"


@dataclass(frozen=True)
class Provenance:
    """What a checkpoint's weights were made from."""

    made_by: str = ""
    """The command, or the home of an imported file."""
    version: str = ""
    """Of Trivium."""
    training_data: dict[str, str] = field(default_factory=dict)
    """SHA-256 by data set or file name; synthetic graphs have the name ``synthetic`` and no hash."""
    steps: int = 0
    seed: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    """The training configuration."""
    note: str = ""
    excluded: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """By training data: the data sets whose questions (``exclude``), or which whole (``exclude_graphs``), are not in
    it. Earlier versions did not record it: what their settings say holds for all."""

    def excluded_from(self, name: str) -> dict[str, list[str]]:
        """What was taken out of one training graph."""
        return self.excluded.get(name, {key: self.settings.get(key, []) for key in ("exclude", "exclude_graphs")})


def save_checkpoint(model: Trivium, provenance: Provenance, path: str | Path, force: bool = False) -> None:
    """Writes weights, configuration and provenance as one safetensors file, whole or not at all.

    Raises:
        OutputError: the file exists (without ``force``) or cannot be written.
    """
    from safetensors.torch import save

    from trivium.files import whole_file

    metadata = {
        "format": FORMAT,
        "config": json.dumps(asdict(model.config)),
        "provenance": json.dumps(asdict(provenance)),
    }
    tensors = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    with whole_file(path, force) as file:
        file.write(save(tensors, metadata))


def load_checkpoint(name: str | Path) -> tuple[Trivium, Provenance]:
    """Opens a shipped checkpoint by name, or a file.

    Raises:
        CheckpointError: there is no such checkpoint, or the file is none of ours.
    """
    from safetensors import SafetensorError, safe_open

    path = find_checkpoint(name)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a checkpoint ({error}): give a .safetensors file of trivium, or import a public one first"
        ) from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} was not written by trivium: import a public checkpoint with trivium import")
    try:
        model = Trivium(ModelConfig(**json.loads(metadata["config"])))
        model.load_state_dict(tensors)
        provenance = Provenance(**json.loads(metadata["provenance"]))
    except (ConfigError, TypeError, KeyError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path} holds settings or weights that this version does not know: {reason}") from error
    return model.eval(), provenance


def find_checkpoint(name: str | Path) -> Path:
    """The file of a shipped checkpoint's name or of a path."""
    shipped = SHIPPED / f"{name}{ENDING}"
    if shipped.exists():
        return shipped
    path = Path(name)
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.safetensors"))) or "none"
        raise CheckpointError(f"no checkpoint {str(name)!r}: give a file, or one of the shipped names ({names})")
    return path


def checkpoint_sha256(name: str | Path) -> str:
    """SHA-256 of a checkpoint's file, by which what was made with it names it."""
    return hashlib.sha256(find_checkpoint(name).read_bytes()).hexdigest()


def import_ultra(path: str | Path) -> tuple[Trivium, Provenance]:
    """Reads a public ULTRA checkpoint (a pickle, of which only tensors are accepted).

    The public kernel sends messages from tails to heads, so an edge carries the row of its inverse relation there, and
    the two mixed kinds of meeting trade places; its code conditions an inverse query on the forward relation.

    Raises:
        CheckpointError: the file holds anything but tensors, or not ULTRA's weights.

    Source: github.com/DeepGraphLearning/ULTRA (MIT).
    """
    import warnings

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch remarks on odd pickles before it refuses them
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"no such file: {path}") from error
    except Exception as error:  # a hostile or broken pickle may raise anything; nothing of it was run
        raise CheckpointError(
            f"{path} is not a file of tensors alone, so it stays closed: give ULTRA's .pth"
        ) from error
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict) or "relation_model.layers.0.relation.weight" not in state:
        raise CheckpointError(f"{path} holds no ULTRA weights: give ultra_3g.pth, ultra_4g.pth or ultra_50g.pth")
    if any(name.startswith("semantic_model.") for name in state):
        raise CheckpointError(f"{path} is a SEMMA checkpoint, whose text encoder is unknown here: import ULTRA's .pth")
    layers = sum(name.endswith(".relation.weight") for name in state)
    dim = state["relation_model.layers.0.relation.weight"].shape[1]
    config = ModelConfig(
        structure="relation_graph",
        conditioning="forward",
        reversed_messages=True,
        dim=dim,
        layers=sum(name.endswith(".relation_projection.0.weight") for name in state),
        structure_layers=layers,
        use_similarity_enhancer=False,
        use_prompt_enhancer=False,
    )
    model = Trivium(config)
    renamed = {_renamed(name): value for name, value in state.items()}
    for layer in range(layers):
        renamed[f"structure.kinds.{layer}"] = renamed[f"structure.kinds.{layer}"][[0, 1, 3, 2]]
    try:
        model.load_state_dict(renamed)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path} holds weights of another shape than ULTRA's: {reason}") from error
    note = "imported from a public file; inverse queries are conditioned on the forward relation, as its code does"
    return model.eval(), Provenance(made_by=f"github.com/DeepGraphLearning/ULTRA {Path(path).name}", note=note)


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
