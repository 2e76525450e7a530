"""The training loop."""

import math
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trivium.errors import ConfigError, TrainingError
from trivium.graph.graph import Graph
from trivium.model.checkpoint import load_checkpoint
from trivium.model.semantics import kept_texts
from trivium.model.similarity import SimilarityEnhancer, cosine_quantile
from trivium.model.topology import Topology
from trivium.model.trivium import Trivium
from trivium.nn.threads import set_threads
from trivium.report import warn
from trivium.text.graph import TextGraph
from trivium.training.batches import Batches
from trivium.training.config import TrainingConfig
from trivium.training.loss import LOSSES
from trivium.training.monitor import look, warnings
from trivium.training.run import RunFolder
from trivium.training.sampling import Example

Progress = Callable[[int, int, float], None]
Judge = Callable[[Trivium], float]

PARTS = {
    "fusion": "fusion.",
    "similarity": "branches.similarity.",
    "prompt": "branches.prompt.",
    "text": "semantics.",
    "structure": "structure.",
    "entity": "entity.",
}
"""The parts of a model that training can be narrowed to, and how the names of their parameters begin."""


def narrow(model: Trivium, parts: Collection[str]) -> None:
    """Freezes everything but the named parts; all of them learn if none is named.

    Raises:
        ConfigError: there is no such part, or the model lacks it.
    """
    for part in parts:
        if part not in PARTS:
            raise ConfigError(f"train_only: {part!r} is no part of a model: choose from {', '.join(PARTS)}")
        if not any(name.startswith(PARTS[part]) for name, _ in model.named_parameters()):
            what = "fusion logits" if part == "fusion" else f"{part} part"
            raise ConfigError(f"the model has no {what} to train: name another part, or start from a model with it")
    if parts:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(any(name.startswith(PARTS[part]) for part in parts))


class Trainer:
    """A model, its running average and its optimizer, and how one step changes them.

    Args:
        texts: the textual relation graphs of sources that have one, by name.
    """

    def __init__(self, config: TrainingConfig, texts: Mapping[str, TextGraph] | None = None) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.texts = texts or {}
        self.model = Trivium(config.model)
        held: dict[str, Tensor] = {}
        if config.start_from:
            own = self.model.state_dict()
            start = load_checkpoint(config.start_from)[0].state_dict()
            held = {name: value for name, value in start.items() if name in own and value.shape == own[name].shape}
            self.model.load_state_dict(held, strict=False)
            if len(held) < len(start):
                warn(f"{config.start_from}: {len(start) - len(held)} of its {len(start)} weights do not fit this model")
        known = "branches.similarity.threshold" in held and not config.restart_threshold
        self.begins_threshold = "similarity" in self.model.branches and not known
        narrow(self.model, config.train_only)
        self.average = Trivium(config.model)
        self.average.load_state_dict(self.model.state_dict())
        self.best: dict[str, Tensor] = {}
        logits = self.model.fusion_weights_logits
        learning = [p for p in self.model.parameters() if p.requires_grad]
        matrices = [p for p in learning if p.ndim > 1]
        others = [p for p in learning if p.ndim <= 1 and p is not logits]
        groups = [
            {"params": matrices, "weight_decay": config.weight_decay, "peak": config.learning_rate},
            {"params": others, "weight_decay": 0.0, "peak": config.learning_rate},
        ]
        if logits is not None and logits.requires_grad:  # decay would pull the weights together and look like learning
            peak = config.fusion_learning_rate or config.learning_rate
            groups.append({"params": [logits], "weight_decay": 0.0, "peak": peak})
        self.optimizer = torch.optim.AdamW(groups, lr=config.learning_rate)

    def topology(self, name: str, example: Example) -> Topology:
        """The subgraph as the model reads it, with its relations' texts where the source has any."""
        texts = self.texts.get(name) if self.model.semantics is not None else None
        return Topology(example.graph, None if texts is None else texts.take(example.relations))

    @torch.no_grad()
    def set_threshold(self, batches: Batches, count: int = 8) -> None:
        """Starts a new similarity threshold at the 0.9 quantile of the cosines that the model starts with."""
        if not self.begins_threshold:
            return
        seen = []
        for k in range(count):
            name, example = batches.subgraph(k)
            query = torch.unique(example.query)
            seen.append((query, self.model.parts(self.topology(name, example), query, disabled=["prompt"])[0]))
        for model in (self.model, self.average):
            similarity = model.branches["similarity"]
            assert isinstance(similarity, SimilarityEnhancer)
            similarity.threshold.fill_(cosine_quantile(seen))

    def step(self, step: int, subgraphs: list[tuple[str, Example]]) -> dict[str, float]:
        """One optimizer step. Returns the loss and the gradient's norm.

        Raises:
            TrainingError: the loss or the gradient is not finite.
        """
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config, step) * group["peak"] / config.learning_rate
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for place, (name, example) in enumerate(subgraphs):
            rng = np.random.default_rng([config.seed, step, place, 2])  # of prompts and text dropout
            kept = kept_texts(
                example.graph.num_relations,
                config.relation_text_dropout,
                config.graph_text_dropout,
                torch.Generator().manual_seed(int(rng.integers(2**62))),
            )
            topology = self.topology(name, example)
            scores = self.model(topology, example.head, example.query, kept_texts=kept, rng=rng)
            loss = LOSSES[config.loss](scores, example.answer, example.known, config.temperature) / len(subgraphs)
            if loss.requires_grad:  # not where the only part that learns has nothing to read here
                loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), config.gradient_clip))
        if not (math.isfinite(total) and math.isfinite(norm)):
            raise TrainingError(
                f"step {step}: the loss is {total} and the gradient {norm}: the last saved state is kept; "
                "continue with a lower learning_rate"
            )
        self.optimizer.step()
        with torch.no_grad():
            decay = min(config.ema, (1 + step) / (10 + step))
            for average, current in zip(self.average.parameters(), self.model.parameters(), strict=True):
                average.lerp_(current, 1 - decay)
        return {"loss": total, "gradient": norm}

    def keep(self) -> None:
        """Keeps the averaged weights as the best so far."""
        self.best = {name: value.clone() for name, value in self.average.state_dict().items()}

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a later step depends on, by name."""
        out = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        out |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        out |= {f"best.{name}": value for name, value in self.best.items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                out[f"optimizer.{name}.{key}"] = value
        return out

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `tensors`."""
        for part, module in (("model.", self.model), ("average.", self.average)):
            module.load_state_dict(_under(part, tensors))
        self.best = _under("best.", tensors)
        for name, parameter in self.model.named_parameters():
            if state := _under(f"optimizer.{name}.", tensors):
                self.optimizer.state[parameter] = state


def _under(start: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Linear warm-up, then a cosine to the final rate."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    span = config.learning_rate - config.final_learning_rate
    return config.final_learning_rate + span * (1 + math.cos(math.pi * min(1.0, done))) / 2


def train(
    config: TrainingConfig,
    graphs: Mapping[str, Graph],
    run: RunFolder,
    progress: Progress | None = None,
    texts: Mapping[str, TextGraph] | None = None,
    judge: Judge | None = None,
) -> Trainer:
    """Trains from the run's last saved state, or from scratch, to its last step.

    Killed at any moment it goes on from the last saved state to bitwise the same weights, on the same machine and
    number of threads: batch k depends on (seed, k) alone, and a saved state holds all that a step reads.

    Args:
        graphs: the training graphs by source name.
        progress: called after each step with the steps done, the steps in all, and the loss.
        texts: the textual relation graphs of sources that have one, by name.
        judge: how good weights are, more is better: asked of the averaged weights at the start and every
            ``validate_every`` epochs. The best are the trainer's ``best``; training ends early when ``patience``
            times in a row none was better.

    Raises:
        TrainingError: the loss is not finite, or the state cannot be saved; the last good state is kept.
        KeyboardInterrupt: passed on, after the state is saved.
    """
    set_threads(config.threads)
    trainer = Trainer(config, texts)
    batches = Batches(config, graphs)
    begin, tensors = run.load()
    if tensors:
        trainer.restore(tensors)
    else:
        trainer.set_threshold(batches)
    if not run.begun:  # what is wrong with the settings has shown by now
        RunFolder.create(run.path, config)
    run.rewind(begin)
    looked = next((row["fusion"] for row in reversed(run.metrics()) if "fusion" in row), None)
    course = valid_course(run)
    if judge is not None:
        if not course:
            fusion = {"fusion": _look(trainer, batches, 0)} if trainer.model.branches else {}
            course = {0: judge(trainer.average)}
            run.log({"step": 0, "valid_mrr": course[0], **fusion})
        if not trainer.best:
            trainer.keep()
        if _out_of_patience(course, config.patience):
            return trainer
    window: list[dict[str, float]] = []
    started = time.monotonic()
    done = begin
    try:
        for subgraphs in batches.steps(begin, config.steps):
            window.append(trainer.step(done, subgraphs))
            done += 1
            if progress is not None:
                progress(done, config.steps, window[-1]["loss"])
            if done % config.steps_per_epoch == 0 or done == config.steps:
                mean = {key: sum(row[key] for row in window) / len(window) for key in window[0]}
                seconds = round(time.monotonic() - started, 1)
                rate = learning_rate(config, done - 1)
                row: dict[str, Any] = {"step": done, **mean, "learning_rate": rate, "seconds": seconds}
                if trainer.model.branches and done % (config.steps_per_epoch * config.look_every) == 0:
                    row["fusion"] = _look(trainer, batches, done)
                    row["warnings"] = warnings(looked, row["fusion"])
                    looked = row["fusion"]
                due = config.validate_every and done % (config.steps_per_epoch * config.validate_every) == 0
                if judge is not None and (due or done == config.steps):
                    row["valid_mrr"] = judge(trainer.average)
                    if row["valid_mrr"] > max(course.values()):
                        trainer.keep()
                    course[done] = row["valid_mrr"]
                run.log(row)
                window = []
            stop = judge is not None and _out_of_patience(course, config.patience)
            if stop or done % config.save_every == 0 or done == config.steps:
                run.save(done, trainer.tensors())
            if stop:
                break
    except KeyboardInterrupt:
        run.save(done, trainer.tensors())
        raise
    return trainer


def valid_course(run: RunFolder) -> dict[int, float]:
    """The validations of a run so far, by step; step 0 is the start."""
    return {row["step"]: row["valid_mrr"] for row in run.metrics() if "valid_mrr" in row}


def _out_of_patience(course: Mapping[int, float], patience: int) -> bool:
    values = list(course.values())
    return len(values) - 1 - values.index(max(values)) >= patience


def _look(trainer: Trainer, batches: Batches, done: int) -> dict[str, dict[str, float]]:
    """A look at the fusion over the last eight subgraphs; at the start over the first."""
    recent = [batches.subgraph(k) for k in (range(max(0, done - 8), done) if done else range(8))]
    seen = [(trainer.topology(name, e), torch.unique(e.query)) for name, e in recent]
    return look(trainer.model, seen)
