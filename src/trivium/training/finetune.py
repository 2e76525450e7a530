"""Fitting a trained model, or some of its parts, to one graph."""

from __future__ import annotations

from collections.abc import Sequence

from trivium.errors import ConfigError
from trivium.model.trivium import load_checkpoint
from trivium.training.config import SourceConfig, TrainingConfig
from trivium.training.loop import narrow

FUSION_STEPS = 150
STEPS = 600


def finetune_config(
    graph: str, checkpoint: str, only: Sequence[str] = (), valid: str = "", steps: int | None = None
) -> TrainingConfig:
    """The settings of a run that fits a checkpoint to a graph.

    Rates are low, for weights that are good already; the fusion weights, three numbers, may move fast. No text is
    dropped: the graph will be asked with the texts that it has.

    Args:
        graph: a file, or a data set's name.
        only: the parts that learn, see `trivium.training.loop.PARTS`; all by default.
        valid: a file of validation triples; the data set's own, or a part of the graph, by default.
        steps: at most so many; 150 for the fusion alone, 600 otherwise.

    Raises:
        ConfigError: the checkpoint lacks a part that is to learn, or ``steps`` is less than 1.
        CheckpointError: there is no such checkpoint.
    """
    model, _ = load_checkpoint(checkpoint)
    try:
        narrow(model, only)
    except ConfigError as error:
        raise ConfigError(f"{checkpoint}: {error}") from error
    return TrainingConfig(
        sources=(SourceConfig(graph),),
        model=model.config,
        start_from=checkpoint,
        steps=(FUSION_STEPS if set(only) == {"fusion"} else STEPS) if steps is None else steps,
        learning_rate=3e-4,
        fusion_learning_rate=2e-2,
        warmup_steps=20,
        ema=0.98,
        relation_text_dropout=0.0,
        graph_text_dropout=0.0,
        steps_per_epoch=20,
        log_every=1,
        save_every=20,
        train_only=tuple(only),
        validate_every=2,
        patience=3,
        valid=valid,
    )
