"""A model that learns: what learns of it, at what rate, and how one step changes it."""

import logging
import math
from collections.abc import Collection, Mapping
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from trivium.errors import ConfigError, TrainingError
from trivium.model.enhancers import cosine_quantile
from trivium.model.semantics import kept_texts
from trivium.model.topology import Topology
from trivium.model.trivium import Trivium, chosen_device, load_checkpoint
from trivium.text.graph import TextGraph
from trivium.training.config import TrainingConfig
from trivium.training.loss import softmax_loss
from trivium.training.sampling import Batches, Example
from trivium.training.team import Team

log = logging.getLogger(__name__)

PARTS = {
    "fusion": "fusion.",
    "similarity": "branches.similarity.",
    "prompt": "branches.prompt.",
    "text": "semantics.",
    "structure": "structure.",
    "entity": "entity.",
    "chains": "chains.",
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


def adamw(model: Trivium, config: TrainingConfig) -> torch.optim.AdamW:
    """The optimizer of the parameters that learn; each group has its ``peak``, the highest rate of the schedule."""
    learning = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    few = ("fusion.", "chains.")  # a handful of numbers; decay would look like learning here
    matrices = [p for name, p in learning.items() if p.ndim > 1 and not name.startswith(few)]
    others = [p for name, p in learning.items() if p.ndim <= 1 and not name.startswith(few)]
    fusion = [p for name, p in learning.items() if name.startswith(few)]
    rate = config.learning_rate
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay, "peak": rate},
        {"params": others, "weight_decay": 0.0, "peak": rate},
        {"params": fusion, "weight_decay": 0.0, "peak": config.fusion_learning_rate or rate},
    ]
    return torch.optim.AdamW(groups, lr=rate)


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Linear warm-up, then a cosine to the final rate."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    span = config.learning_rate - config.final_learning_rate
    return config.final_learning_rate + span * (1 + math.cos(math.pi * min(1.0, done))) / 2


class Trainer:
    """A model, its running average and its optimizer, and how one step changes them.

    Args:
        texts: the textual relation graphs of sources that have one, by name.
        team: the processes that learn together, and where this one computes.

    Attributes:
        best: the averaged weights that validated best; empty where nothing was validated.
    """

    def __init__(
        self,
        config: TrainingConfig,
        texts: Mapping[str, TextGraph] | None = None,
        team: Team = Team(),  # noqa: B008
    ) -> None:
        place = chosen_device(team.device)
        self.team = team
        torch.manual_seed(config.seed)
        self.config = config
        self.texts = texts or {}
        self.model = Trivium(config.model)
        fits = self._start_from(config.start_from) if config.start_from else set()
        known = "branches.similarity.threshold" in fits and not config.restart_threshold
        self.begins_threshold = "similarity" in self.model.branches and not known
        narrow(self.model, config.train_only)
        self.model.to(place)
        self.average = deepcopy(self.model)
        self.best: dict[str, Tensor] = {}
        self.optimizer = adamw(self.model, config)

    def _start_from(self, checkpoint: str) -> set[str]:
        """Takes over the weights of a checkpoint that fit, and returns their names."""
        own = self.model.state_dict()
        start = load_checkpoint(checkpoint)[0].state_dict()
        fits = {name: value for name, value in start.items() if name in own and value.shape == own[name].shape}
        self.model.load_state_dict(fits, strict=False)
        if misfits := len(start) - len(fits):
            log.warning("%s: %d of its %d weights do not fit this model", checkpoint, misfits, len(start))
        return set(fits)

    def topology(self, name: str, example: Example) -> Topology:
        """The subgraph as the model reads it, with its relations' texts where the source has any."""
        texts = self.texts.get(name) if self.model.semantics is not None else None
        taken = None if texts is None else texts.take(example.relations)
        return Topology(example.graph, taken, self.model.device)

    def asked(self, batches: Batches, numbers: range) -> list[tuple[Topology, Tensor]]:
        """Some subgraphs of the run, each with the relations that it is asked for."""
        drawn = (batches.subgraph(k) for k in numbers)
        return [(self.topology(name, each), torch.unique(each.query).to(self.model.device)) for name, each in drawn]

    @torch.no_grad()
    def set_threshold(self, batches: Batches, count: int = 8) -> None:
        """Starts a new similarity threshold at the 0.9 quantile of the cosines that the model starts with."""
        if not self.begins_threshold:
            return
        drawn = self.asked(batches, range(count))
        seen = [(query, self.model.parts(topology, query, disabled=["prompt"])[0]) for topology, query in drawn]
        threshold = cosine_quantile(seen)
        for model in (self.model, self.average):
            model.get_parameter("branches.similarity.threshold").fill_(threshold)

    def loss(self, name: str, example: Example, seed: list[int]) -> Tensor:
        """The loss on one subgraph; the seed decides which texts are dropped and what stands in a prompt."""
        config, rng = self.config, np.random.default_rng(seed)
        chance = torch.Generator().manual_seed(int(rng.integers(2**62)))
        rates = config.relation_text_dropout, config.graph_text_dropout
        kept = kept_texts(example.graph.num_relations, *rates, chance)
        given = kept, example.head, example.query, example.answer, example.known
        kept, head, query, answer, known = (part.to(self.model.device) for part in given)
        scores = self.model(self.topology(name, example), head, query, kept_texts=kept, rng=rng)
        return softmax_loss(scores, answer, known)

    def step(self, step: int, subgraphs: list[tuple[str, Example]]) -> dict[str, float]:
        """One optimizer step. Returns the loss and the gradient's norm.

        Args:
            subgraphs: this process's share of the step's, every ``team.size``-th.

        Raises:
            TrainingError: the loss or the gradient is not finite.
        """
        config, team = self.config, self.team
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config, step) * group["peak"] / config.learning_rate
        self.optimizer.zero_grad(set_to_none=True)
        total, rows = 0.0, []
        asked = team.sum(sum(len(example.head) for _, example in subgraphs))
        for place, (name, example) in zip(
            range(team.rank, config.subgraphs_per_step, team.size), subgraphs, strict=True
        ):
            share = len(example.head) / asked  # every question weighs the same
            loss = self.loss(name, example, [config.seed, step, place, 2]) * share
            if loss.requires_grad:  # not where the only part that learns has nothing to read here
                loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
            if team.size > 1:
                rows.append(self._taken(loss))
        if team.size > 1:
            total = self._summed(rows)
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

    def _taken(self, loss: Tensor) -> Tensor:
        """One subgraph's loss, which parameters it reached, and their gradients, in a row; they are taken off."""
        learning = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        reached = torch.tensor([parameter.grad is not None for parameter in learning], device=loss.device)
        grads = [torch.zeros_like(each) if each.grad is None else each.grad for each in learning]
        self.optimizer.zero_grad(set_to_none=True)
        return torch.cat([loss.detach()[None], reached.to(loss.dtype), *(grad.flatten() for grad in grads)])

    def _summed(self, rows: list[Tensor]) -> float:
        """Sets the gradients to the sums over all processes' subgraphs, in the subgraphs' order, so that the number of
        processes moves no bit; returns the sum of the losses."""
        count, team = self.config.subgraphs_per_step, self.team
        room = -(-count // team.size)
        rows += [torch.zeros_like(rows[0])] * (room - len(rows))
        total = torch.zeros_like(rows[0])
        for row in team.joined(torch.stack(rows))[:count]:
            total += row
        learning = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        loss, reached, grads = torch.split(total, [1, len(learning), len(total) - 1 - len(learning)])
        parts = torch.split(grads, [parameter.numel() for parameter in learning])
        for parameter, times, part in zip(learning, reached.tolist(), parts, strict=True):
            parameter.grad = part.view_as(parameter) if times else None  # as where one process reaches none
        return float(loss)

    def keep(self) -> None:
        """Keeps the averaged weights as the best so far."""
        self.best = {name: value.clone() for name, value in self.average.state_dict().items()}

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a later step depends on, by name."""
        states = {"model": self.model.state_dict(), "average": self.average.state_dict(), "best": self.best}
        for name, parameter in self.model.named_parameters():
            states[f"optimizer.{name}"] = self.optimizer.state.get(parameter, {})
        return {f"{part}.{name}": value for part, state in states.items() for name, value in state.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `tensors`."""

        def under(part: str) -> dict[str, Tensor]:
            return {name.removeprefix(part): tensor for name, tensor in tensors.items() if name.startswith(part)}

        self.model.load_state_dict(under("model."))
        self.average.load_state_dict(under("average."))
        self.best = under("best.")
        for name, parameter in self.model.named_parameters():
            if state := under(f"optimizer.{name}."):  # torch counts an optimizer's steps on the CPU
                self.optimizer.state[parameter] = {
                    key: value if key == "step" else value.to(parameter.device) for key, value in state.items()
                }
