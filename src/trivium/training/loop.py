"""The training loop."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trivium.errors import TrainingError
from trivium.graph.graph import Graph
from trivium.model.checkpoint import load_checkpoint
from trivium.model.semantics import TextTopology, kept_texts
from trivium.model.similarity import SimilarityEnhancer, cosine_quantile
from trivium.model.topology import Topology
from trivium.model.trivium import Trivium
from trivium.nn.threads import set_threads
from trivium.text.graph import TextGraph
from trivium.training.batches import Batches
from trivium.training.config import TrainingConfig
from trivium.training.loss import ranking_loss
from trivium.training.monitor import look, warnings
from trivium.training.run import RunFolder
from trivium.training.sampling import Example

Progress = Callable[[int, int, float], None]


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
            held = load_checkpoint(config.start_from)[0].state_dict()
            self.model.load_state_dict(held, strict=False)
        self.begins_threshold = "similarity" in self.model.branches and "branches.similarity.threshold" not in held
        self.average = Trivium(config.model)
        self.average.load_state_dict(self.model.state_dict())
        logits = self.model.fusion_weights_logits
        matrices = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim <= 1 and p is not logits]
        groups = [
            {"params": matrices, "weight_decay": config.weight_decay, "peak": config.learning_rate},
            {"params": others, "weight_decay": 0.0, "peak": config.learning_rate},
        ]
        if logits is not None:  # decay would pull the weights together and look like learning
            peak = config.fusion_learning_rate or config.learning_rate
            groups.append({"params": [logits], "weight_decay": 0.0, "peak": peak})
        self.optimizer = torch.optim.AdamW(groups, lr=config.learning_rate)

    def topology(self, name: str, example: Example) -> Topology:
        """The subgraph as the model reads it, with its relations' texts where the source has any."""
        texts = self.texts.get(name) if self.model.semantics is not None else None
        return Topology(example.graph, None if texts is None else TextTopology.of(texts.take(example.relations)))

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
            loss = ranking_loss(scores, example.answer, example.known, config.temperature) / len(subgraphs)
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

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a later step depends on, by name."""
        out = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        out |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                out[f"optimizer.{name}.{key}"] = value
        return out

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `tensors`."""
        for part, module in (("model.", self.model), ("average.", self.average)):
            module.load_state_dict({n.removeprefix(part): t for n, t in tensors.items() if n.startswith(part)})
        for name, parameter in self.model.named_parameters():
            start = f"optimizer.{name}."
            state = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
            if state:
                self.optimizer.state[parameter] = state


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
) -> Trainer:
    """Trains from the run's last saved state, or from scratch, to its last step.

    Killed at any moment it goes on from the last saved state to bitwise the same weights, on the same machine and
    number of threads: batch k depends on (seed, k) alone, and a saved state holds all that a step reads.

    Args:
        graphs: the training graphs by source name.
        progress: called after each step with the steps done, the steps in all, and the loss.
        texts: the textual relation graphs of sources that have one, by name.

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
    run.rewind(begin)
    looked = next((row["fusion"] for row in reversed(run.metrics()) if "fusion" in row), None)
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
                    recent = [batches.subgraph(k) for k in range(max(0, done - 8), done)]
                    seen = [(trainer.topology(name, e), torch.unique(e.query)) for name, e in recent]
                    row["fusion"] = look(trainer.model, seen)
                    row["warnings"] = warnings(looked, row["fusion"])
                    looked = row["fusion"]
                run.log(row)
                window = []
            if done % config.save_every == 0 or done == config.steps:
                run.save(done, trainer.tensors())
    except KeyboardInterrupt:
        run.save(done, trainer.tensors())
        raise
    return trainer
