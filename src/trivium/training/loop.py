"""The training loop."""

import math
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from trivium.errors import TrainingError
from trivium.graph.graph import Graph
from trivium.model.topology import Topology
from trivium.model.trivium import Trivium
from trivium.nn.threads import set_threads
from trivium.training.batches import Batches
from trivium.training.config import TrainingConfig
from trivium.training.loss import ranking_loss
from trivium.training.run import RunFolder
from trivium.training.sampling import Example

Progress = Callable[[int, int, float], None]


class Trainer:
    """A model, its running average and its optimizer, and how one step changes them."""

    def __init__(self, config: TrainingConfig) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.model = Trivium(config.model)
        self.average = Trivium(config.model)
        self.average.load_state_dict(self.model.state_dict())
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=config.learning_rate,
        )

    def step(self, step: int, subgraphs: list[tuple[str, Example]]) -> dict[str, float]:
        """One optimizer step. Returns the loss and the gradient's norm.

        Raises:
            TrainingError: the loss or the gradient is not finite.
        """
        config = self.config
        rate = learning_rate(config, step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for _, example in subgraphs:
            scores = self.model(Topology(example.graph), example.head, example.query)
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
    config: TrainingConfig, graphs: Mapping[str, Graph], run: RunFolder, progress: Progress | None = None
) -> Trainer:
    """Trains from the run's last saved state, or from scratch, to its last step.

    Killed at any moment it goes on from the last saved state to bitwise the same weights, on the same machine and
    number of threads: batch k depends on (seed, k) alone, and a saved state holds all that a step reads.

    Args:
        graphs: the training graphs by source name.
        progress: called after each step with the steps done, the steps in all, and the loss.

    Raises:
        TrainingError: the loss is not finite, or the state cannot be saved; the last good state is kept.
        KeyboardInterrupt: passed on, after the state is saved.
    """
    set_threads(config.threads)
    trainer = Trainer(config)
    begin, tensors = run.load()
    if tensors:
        trainer.restore(tensors)
    run.rewind(begin)
    batches = Batches(config, graphs)
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
                run.log({"step": done, **mean, "learning_rate": learning_rate(config, done - 1), "seconds": seconds})
                window = []
            if done % config.save_every == 0 or done == config.steps:
                run.save(done, trainer.tensors())
    except KeyboardInterrupt:
        run.save(done, trainer.tensors())
        raise
    return trainer
