"""Checkpoints: one file that holds weights with the configuration and provenance that belong to them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from trivium import released
from trivium.errors import CheckpointError, ConfigError
from trivium.files import write_whole
from trivium.model.config import ModelConfig
from trivium.settings import build

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
    sha256: str = ""
    """Of the weights, the model's configuration and all else of this; `write_checkpoint` sets it. Earlier versions did
    not record it."""

    def excluded_from(self, name: str) -> dict[str, list[str]]:
        """What was taken out of one training graph."""
        return self.excluded.get(name, {key: self.settings.get(key, []) for key in ("exclude", "exclude_graphs")})


def write_checkpoint(
    config: ModelConfig, tensors: Mapping[str, Tensor], provenance: Provenance, path: str | Path, force: bool = False
) -> None:
    """Writes one safetensors file, whole or not at all; equal contents give equal bytes.

    Raises:
        OutputError: the file exists (without ``force``) or cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"format": FORMAT, "config": json.dumps(asdict(config))}
    said = asdict(provenance)
    said["sha256"] = _sha256(metadata["config"], said, tensors)
    content = save(tensors, metadata | {"provenance": json.dumps(said)})
    # the library writes the metadata in an order that changes from run to run: the header is sorted
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    write_whole(len(header).to_bytes(8, "little") + header + content[end:], path, force)


def tensors_sha256(tensors: Mapping[str, Tensor], *said: str) -> str:
    """SHA-256 of tensors with their names, types and shapes, and of words that belong to them."""
    held = sorted(tensors.items())
    sha = hashlib.sha256(repr((said, [(name, tensor.dtype, [*tensor.shape]) for name, tensor in held])).encode())
    for _, tensor in held:
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _sha256(config: str, provenance: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """What ``Provenance.sha256`` says: of everything in the file but itself."""
    return tensors_sha256(tensors, config, json.dumps({**provenance, "sha256": ""}, sort_keys=True))


def read_checkpoint(name: str | Path) -> tuple[ModelConfig, dict[str, Tensor], Provenance]:
    """Opens a checkpoint by name, or a file; whether the weights fit the configuration is for the model to say.

    Raises:
        CheckpointError: there is no such checkpoint, the file is none of ours or was damaged, or a weight is not
            finite.
    """
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
        config = build(ModelConfig, json.loads(metadata["config"]), "config")
        said = json.loads(metadata["provenance"])
        provenance = build(Provenance, said, "provenance")
    except (ConfigError, KeyError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} holds settings that this version does not know: {error}") from error
    if provenance.sha256 not in ("", _sha256(metadata["config"], said, tensors)):
        raise CheckpointError(f"{path} is damaged (its checksum is another): bring it back from a copy")
    for key, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise CheckpointError(f"{path}: the weight {key} holds a number that is not finite: use another checkpoint")
    return config, tensors, provenance


def find_checkpoint(name: str | Path) -> Path:
    """The file of a shipped or released checkpoint's name, or of a path.

    Raises:
        CheckpointError: there is no such file.
    """
    path = SHIPPED / f"{name}{ENDING}"
    if not path.is_file():
        path = released.find(f"{name}{ENDING}") or Path(name)
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in SHIPPED.glob(f"*{ENDING}"))) or "none"
        raise CheckpointError(
            f"no checkpoint {str(name)!r}: give a file or a shipped name ({names}), or download a released one into "
            f"the folder that {released.VARIABLE} names"
        )
    return path


def checkpoint_sha256(name: str | Path) -> str:
    """SHA-256 of a checkpoint's file, by which what was made with it names it."""
    return hashlib.sha256(find_checkpoint(name).read_bytes()).hexdigest()
