"""Checkpoints on the Hugging Face Hub, by its library's own mix-in: `trivium[hub]`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trivium.errors import CheckpointError, MissingPackageError
from trivium.model.checkpoint import Provenance, find_checkpoint
from trivium.model.trivium import Trivium, load_checkpoint, save_checkpoint

try:
    from huggingface_hub import ModelCard, ModelHubMixin, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError
except ModuleNotFoundError as error:
    raise MissingPackageError(f"the Hub needs {error.name}: pip install 'trivium[hub]'") from error

FILE, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
TAGS = ["knowledge-graph", "link-prediction", "foundation-model"]


class HubModel(ModelHubMixin, library_name="trivium", license="mit", pipeline_tag="graph-ml", tags=TAGS):
    """A checkpoint as the Hub keeps it: ``from_pretrained`` (a repository or a folder), ``save_pretrained`` (a folder),
    ``push_to_hub`` (a repository). The file is one of ours, so that `trivium --checkpoint` takes it too.

    Args:
        provenance: what the weights were made from; it goes with them.
        card: what is said of the model, in Markdown; made of the provenance where there is none.

    Raises:
        CheckpointError: what a folder or repository holds is no checkpoint, or was damaged.
    """

    def __init__(self, model: Trivium, provenance: Provenance, card: str = "") -> None:
        self.model, self.provenance, self.card = model, provenance, card

    @classmethod
    def open(cls, name: str | Path) -> HubModel:
        """A shipped or released checkpoint, or a file, with the card that lies beside it (``.md``), if one does.

        Raises:
            CheckpointError: there is no such checkpoint.
        """
        beside = find_checkpoint(name).with_suffix(".md")
        return cls(*load_checkpoint(name), beside.read_text("utf-8") if beside.is_file() else "")

    def generate_model_card(self, *_: Any, **__: Any) -> ModelCard:
        """The card, below what the Hub reads: licence, library, tags."""
        return ModelCard(f"---\n{self._hub_mixin_info.model_card_data.to_yaml()}\n---\n\n{self.card or self._said()}")

    def _said(self) -> str:
        """A card of what the checkpoint itself says."""
        made = self.provenance
        rows: dict[str, object] = {
            "parameters": f"{sum(p.numel() for p in self.model.parameters()):,}",
            "made by": made.made_by,
        }
        rows |= {"version": made.version, "steps": made.steps, "seed": made.seed, "note": made.note}
        rows |= {f"fusion weight {part}": f"{weight:.3f}" for part, weight in self.model.fusion_weights().items()}
        rows |= {f"trained on {name}": f"`{sha256}`" for name, sha256 in made.training_data.items()}
        lines = [f"| {what} | {said} |" for what, said in rows.items() if said not in ("", None)]
        return "\n".join(["# A checkpoint of Trivium", "", "| | |", "|---|---|", *lines, ""])

    def _save_pretrained(self, save_directory: Path) -> None:
        save_checkpoint(self.model, self.provenance, save_directory / FILE, force=True)
        (save_directory / CONFIG).write_text(json.dumps(asdict(self.model.config), indent=2), "utf-8")

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **how: Any) -> HubModel:
        def file(name: str) -> Path:
            if Path(model_id).is_dir():
                return Path(model_id, name)
            return Path(hf_hub_download(model_id, name, **how))

        try:
            place, card = file(FILE), file(CARD)
        except EntryNotFoundError as error:
            raise CheckpointError(f"{model_id} holds no checkpoint of trivium: it lacks {FILE} or {CARD}") from error
        return cls(*load_checkpoint(place), ModelCard.load(card).text.lstrip() if card.is_file() else "")
