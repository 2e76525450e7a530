"""The training loop."""

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from trivium.errors import ConfigError, InputError
from trivium.graph.graph import Graph
from trivium.kernels.threads import set_threads
from trivium.model.trivium import Trivium
from trivium.text.graph import TextGraph
from trivium.training.config import TrainingConfig
from trivium.training.monitor import fusion_figures, fusion_warnings
from trivium.training.run import CONFIG, STATE, RunFolder
from trivium.training.sampling import Batches
from trivium.training.team import Team
from trivium.training.trainer import Trainer, learning_rate

Progress = Callable[[int, int, float], None]
Validate = Callable[[Trivium], float]

ENDING = (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))  # Windows has no other
log = logging.getLogger(__name__)


class Course:
    """What a run writes of its course: a line an epoch, the fusion and the validation every few of them.

    Begins with a validation of the start, where there is none yet.
    """

    def __init__(self, trainer: Trainer, batches: Batches, run: RunFolder, validate: Validate | None) -> None:
        self.trainer, self.batches, self.run, self.validate = trainer, batches, run, validate
        self.fusion = next((row["fusion"] for row in reversed(run.metrics()) if "fusion" in row), None)
        self.validations = run.validations()
        self.figures: list[dict[str, float]] = []
        self.started = time.monotonic()
        if validate is not None:
            if not self.validations:
                fusion = {"fusion": self._fusion(range(8))} if trainer.model.branches else {}
                run.log({"step": 0, "valid_mrr": self._validate(validate, 0), **fusion})
            if not trainer.best:
                trainer.keep()

    @property
    def out_of_patience(self) -> bool:
        """Whether the last ``patience`` validations were no better than the best one before."""
        values = list(self.validations.values())
        return bool(values) and len(values) - 1 - values.index(max(values)) >= self.trainer.config.patience

    def add(self, done: int, figures: dict[str, float]) -> None:
        """Takes in the figures of a step; at an epoch's end and after the last step it writes a line."""
        config = self.trainer.config
        self.figures.append(figures)
        epoch, rest = divmod(done, config.steps_per_epoch)
        if rest and done < config.steps:
            return
        row: dict[str, Any] = {"step": done}
        row |= {key: sum(each[key] for each in self.figures) / len(self.figures) for key in figures}
        row["learning_rate"] = learning_rate(config, done - 1)
        row["seconds"] = round(time.monotonic() - self.started, 1)
        if self.trainer.model.branches and not rest and epoch % config.log_every == 0:
            row["fusion"] = self._fusion(range(max(0, done - 8), done))
            row["warnings"] = fusion_warnings(self.fusion, row["fusion"])
            for line in row["warnings"]:
                log.warning("step %d: %s", done, line)
            self.fusion = row["fusion"]
        if self.validate is not None and (done == config.steps or epoch % config.validate_every == 0):
            row["valid_mrr"] = self._validate(self.validate, done)
        self.run.log(row)
        self.figures = []

    def _validate(self, validate: Validate, done: int) -> float:
        """Judges the averaged weights, and keeps them if none were better."""
        mrr = validate(self.trainer.average)
        if mrr > max(self.validations.values(), default=-math.inf):
            self.trainer.keep()
        self.validations[done] = mrr
        return mrr

    def _fusion(self, subgraphs: range) -> dict[str, dict[str, float]]:
        return fusion_figures(self.trainer.model, self.trainer.asked(self.batches, subgraphs))


def train(
    config: TrainingConfig,
    graphs: Mapping[str, Graph],
    run: RunFolder,
    progress: Progress | None = None,
    texts: Mapping[str, TextGraph] | None = None,
    validate: Validate | None = None,
    sources: Mapping[str, str] | None = None,
    team: Team = Team(),  # noqa: B008
) -> Trainer:
    """Trains from the run's last saved state, or from scratch, to its last step.

    Killed at any moment it goes on from the last saved state to bitwise the same weights, on the same machine and
    number of threads of a CPU: batch k depends on (seed, k) alone, and a saved state holds all that a step reads.

    Args:
        graphs: the training graphs by source name.
        progress: called after each step with the steps done, the steps in all, and the loss.
        texts: the textual relation graphs of sources that have one, by name.
        validate: how good weights are, more is better: asked of the averaged weights at the start, every
            ``validate_every`` epochs and at the end. The best are the trainer's ``best``; training ends early when
            ``patience`` times in a row none was better.
        sources: for the note of a run that begins, see `RunFolder.create`.
        team: the processes that train together: a step's subgraphs are dealt out to them, and their gradients summed
            in one order.

    Raises:
        ConfigError: there are more processes than subgraphs in a step.
        InputError: the saved state is damaged, or one of another model.
        TrainingError: the loss is not finite, or the state cannot be saved; the last good state is kept.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP, after the step is done and its state saved.
    """
    if team.size > config.subgraphs_per_step:
        raise ConfigError(
            f"{team.size} processes for subgraphs_per_step: {config.subgraphs_per_step}: start no more, or raise it"
        )
    set_threads(config.threads)
    trainer, batches = Trainer(config, texts, team), Batches(config, graphs)
    done, tensors = team.told(run.load)
    if tensors:
        try:
            trainer.restore(tensors)
        except RuntimeError as reason:
            raise InputError(f"{run.path}: {STATE} does not fit the model of {CONFIG}: undo what changed") from reason
    else:
        trainer.set_threshold(batches)
    course = None
    if team.first:
        if not run.begun:  # what is wrong with the settings has shown by now
            RunFolder.create(run.path, config, sources)
        run.rewind(done)
        course = Course(trainer, batches, run, validate)
    with signals_wait() as stopped, deterministic(trainer.model.device):
        ended = team.told(lambda: course is not None and course.out_of_patience)
        while done < config.steps and not ended:
            figures = trainer.step(done, batches.step(done, team.rank, team.size))
            done += 1
            if progress is not None:
                progress(done, config.steps, figures["loss"])
            if course is not None:
                course.add(done, figures)
            ended, stop = team.told(lambda: (course is not None and course.out_of_patience, bool(stopped)))
            if team.first and (done % config.save_every == 0 or done == config.steps or ended or stop):
                run.save(done, trainer.tensors())
            if stop or (team.size == 1 and stopped):
                raise KeyboardInterrupt
    return trainer


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Sums in torch have one order on a CPU, however many threads there are; elsewhere some have none to offer."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(device.type == "cpu")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextmanager
def signals_wait() -> Iterator[list[int]]:
    """Ctrl-C, SIGTERM and SIGHUP do nothing but fill the list, so that a step can end; one that is ignored stays so.

    Only the main thread can set handlers; in another one signals act as ever.
    """
    caught: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    kinds = (signal.SIGINT, *ENDING) if main else ()
    before = {kind: signal.getsignal(kind) for kind in kinds if signal.getsignal(kind) is not signal.SIG_IGN}
    for kind in before:
        signal.signal(kind, lambda number, _: caught.append(number))
    try:
        yield caught
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
