"""The ``flags.yaml`` of the public code: what each key means here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from trivium.errors import ConfigError
from trivium.model.config import ModelConfig
from trivium.settings import build, nearest, read_yaml

MAPPED = {
    "use_learnable_fusion": "use_learnable_fusion",
    "use_similarity_enhancer": "use_similarity_enhancer",
    "use_prompt_enhancer": "use_prompt_enhancer",
    "similarity_enhancer_weight": "similarity_enhancer_weight",
    "prompt_enhancer_weight": "prompt_enhancer_weight",
    "prompt_num_layers": "prompt_layers",
    "prompt_num_examples": "prompt_examples",
    "prompt_max_hops": "prompt_hops",
}
"""Keys that set a field of `ModelConfig`."""

NOT_USED = {
    "run": "there is one model: what it is made of is set by the use_... keys",
    "LLM": "relation texts come from the graph or a file beside it: see relations.tsv in the docs",
    "rg2_embedding": "a relation's name and descriptions are joined into one text",
    "k": "the textual relation graph joins each relation to its 5 nearest",
    "model_embed": "a checkpoint names the text encoder that it was trained with",
    "topx": "the textual relation graph keeps the nearest and all above the encoder's threshold",
    "threshold": "the threshold belongs to the text encoder and is stored with it",
    "embedding_combiner": "structure and text are joined by a gated linear map",
    "eval_on_valid": "name the data sets to evaluate on the command line",
    "use_cos_sim_weights": "textual edges always carry their cosine",
    "gpus": "set threads in the training configuration",
    "harder_setting": "name the harder data set itself (FBNELL_harder, Metafam_harder)",
    "is-inverse-relation-classify": "inverse relations have texts of their own",
    "base_path": "give paths on the command line",
    "ckpt_path": "give the checkpoint with --checkpoint",
    "models_path": "give the checkpoint with --checkpoint",
    "kg_datasets_path": "give the folder with --data-dir",
    "openrouter_path": "nothing here calls a language model",
    "similarity_threshold_init": "the threshold starts at a quantile of the cosines in pretraining, and is learned",
    "enhancement_strength_init": "the fusion weight is the strength: set similarity_enhancer_weight",
    "max_similar_relations": "every relation above the learned threshold counts, by its cosine",
    "num_prompt_samples": "set prompt_num_examples",
    "max_hops": "set prompt_max_hops",
    "use_adaptive_gate": "its coefficients do not sum to 1; learnable fusion takes its place",
    "use_enhancement_confidence": "the fusion weights and contributions say how much an enhancer counts",
    "use_entity_enhancement": "entities have no embeddings here that could be enhanced",
    "use_kg_icl_prompt": "set use_prompt_enhancer",
    "use_kg_icl_in_training": "the prompt enhancer is trained with the model: set use_prompt_enhancer",
}
"""Keys that are known and change nothing here, with what to set instead."""


def read_flags(path: str | Path, config: ModelConfig | None = None) -> tuple[ModelConfig, dict[str, str]]:
    """Loads a ``flags.yaml`` into a configuration.

    Args:
        config: what the flags change; the defaults where there is none.

    Returns:
        The configuration, and the keys that were not used with the reason.

    Raises:
        ConfigError: a key that stands in neither table (the nearest known one is named), or a value of another type.
    """
    values = read_yaml(path)
    known = [*MAPPED, *NOT_USED]
    for key in values:
        if key not in known:
            raise ConfigError(f"{path}: unknown flag {key!r}: {nearest(key, known)}")
    chosen = {MAPPED[key]: value for key, value in values.items() if key in MAPPED}
    partial: ModelConfig = build(ModelConfig, chosen, path)
    changes: dict[str, Any] = {name: getattr(partial, name) for name in chosen}
    return replace(config or ModelConfig(), **changes), {key: NOT_USED[key] for key in values if key in NOT_USED}
