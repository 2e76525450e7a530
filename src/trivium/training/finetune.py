"""Fitting a checkpoint to one graph: rates are tried, the best goes on, and what shows on other facts is kept."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic

import numpy as np
import torch

from trivium.errors import InputError
from trivium.evaluation.metrics import clustered_error
from trivium.files import claimed, write_whole
from trivium.graph.graph import Graph
from trivium.kernels.threads import set_threads
from trivium.model.config import Count
from trivium.model.trivium import load_checkpoint, save_checkpoint
from trivium.settings import Settings, build, read_json, read_yaml
from trivium.text.graph import TextGraph
from trivium.training.ablation import Report
from trivium.training.config import FitConfig, SourceConfig, TrainingConfig
from trivium.training.pretrain import CHECKPOINT, pretrain, training_graphs, training_texts
from trivium.training.run import CONFIG, RunFolder, best_step
from trivium.training.sampling import Batches
from trivium.training.team import Team
from trivium.training.trainer import Trainer, narrow
from trivium.training.validation import Validation, held_out

FINETUNE = Path(__file__).with_name("finetune.yaml")
PLAN = "plan.json"
TRIAL = 0.12  # of the time or the steps, for each rate that is tried
ASKING = 0.03  # of the time, at most, that the questions of one validation take; they are asked eight times
LEAST, MOST = 200, 4000  # questions
LOOKS = 3  # validations while the best rate goes on
WARM, MEASURED = 2, 6  # steps that the duration of one is measured by

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan(Settings):
    """What fits into the time, measured once, so that a run that goes on is the same run."""

    trial: Count
    """Steps for each rate."""
    steps: Count
    """Steps for the best one after that."""
    questions: Count
    """Validation questions: half choose weights, half show what they are worth."""


@dataclass(frozen=True)
class Fitted:
    """What a fit is worth, on questions that chose nothing.

    Attributes:
        start, now: mean reciprocal rank, pessimistic, before and after.
        error: standard error of the mean paired difference, clustered by relation.
        questions: how many.
        rate, steps: of the weights, those of the rate's trial among them.
        kept: whether the difference is above its error; if not, the weights of the start are what is written.
    """

    start: float
    now: float
    error: float
    questions: int
    rate: float
    steps: int
    kept: bool


def finetune_config(
    source: SourceConfig,
    checkpoint: str,
    only: Sequence[str] = (),
    valid: str = "",
    minutes: float | None = None,
    steps: int | None = None,
    threads: int | None = None,
) -> FitConfig:
    """The settings of a run that fits a checkpoint to a graph.

    What is the same for every such run stands in ``finetune.yaml``.

    Args:
        source: a file, or a data set's name.
        only: the parts that learn, see `trivium.training.trainer.PARTS`; all by default.
        valid: a file of validation triples; the data set's own, or a part of the graph, by default.
        minutes, steps: see `FitConfig`; 10 minutes by default.
        threads: as many as this process computes with by default.

    Raises:
        ConfigError: the checkpoint lacks a part that is to learn, or a number is out of range.
        CheckpointError: there is no such checkpoint.
    """
    model, _ = load_checkpoint(checkpoint)
    narrow(model, only)
    training = TrainingConfig(
        sources=(source,),
        model=model.config,
        start_from=checkpoint,
        train_only=tuple(only),
        valid=valid,
        threads=threads or torch.get_num_threads(),
        **read_yaml(FINETUNE),
    )
    return FitConfig(training, minutes=10.0 if minutes is None else minutes, steps=steps or 0)


def finetune(
    folder: RunFolder,
    output: Path,
    data_dir: str | Path | None,
    config: FitConfig | None,
    report: Report,
    force: bool,
    device: str = "cpu",
) -> Fitted:
    """Fits a checkpoint to a graph, from wherever the folder stands, and writes the checkpoint that came of it.

    Each rate is tried in a run of its own inside the folder, from the same start; the weights that validate best go on
    at their rate in another. Half of the held-out questions choose; the others decide whether anything is kept.

    Args:
        output: the checkpoint.
        config: of a fit that has not begun.
        report: opens the progress of a part, by a label.
        force: whether a file there may be replaced.
        device: where to compute.
    """
    if config is None or folder.begun:
        config = build(FitConfig, read_yaml(folder.path / CONFIG), folder.path / CONFIG)
    else:
        config = replace(config, training=training_graphs(config.training, data_dir)[0])
    file = folder.path / PLAN
    if not file.exists():
        with report("measuring how long a step takes"):
            plan = measured(config, data_dir, device)
        if not folder.begun:
            RunFolder.create(folder.path, config)
        write_whole(json.dumps(asdict(plan)).encode(), file, force=True)
    plan = build(Plan, read_json(file), file)
    log.info("%s", f"{plan.trial:,} steps for each of {len(config.rates)} rates, then {plan.steps:,}")
    tried = {}
    for rate in config.rates:
        part = _part(config, plan, rate, config.training.start_from, plan.trial, 1)
        tried[rate] = _run(folder, f"rate-{rate:g}", part, data_dir, report, device)
    rate = max(config.rates, key=lambda rate: max(tried[rate].validations().values()))
    start = str(tried[rate].path / CHECKPOINT)
    last = _run(folder, "fit", _part(config, plan, rate, start, plan.steps, LOOKS), data_dir, report, device)
    found = _kept_if_shown(config.training, plan, rate, last.path / CHECKPOINT, output, data_dir, force, device)
    return replace(found, steps=found.steps + best_step(tried[rate].validations()))


def _part(config: FitConfig, plan: Plan, rate: float, start: str, steps: int, looks: int) -> TrainingConfig:
    """The settings of one part of a fit, which is validated ``looks`` times."""
    training = config.training
    return replace(
        training,
        start_from=start,
        steps=steps,
        learning_rate=rate,
        final_learning_rate=rate / 20,
        fusion_learning_rate=min(1.0, training.fusion_learning_rate * rate / training.learning_rate),
        valid_questions=plan.questions,
        steps_per_epoch=-(-steps // looks),
    )


def _run(
    folder: RunFolder, name: str, config: TrainingConfig, data_dir: str | Path | None, report: Report, device: str
) -> RunFolder:
    """A part of a fit, trained to its end if it is not yet."""
    run = RunFolder(folder.path / name)
    if (run.path / CHECKPOINT).exists():
        with claimed(run.path, run.path):  # a kill at its end may have left the lock
            pass
    else:
        with report(f"{name.replace('-', ' ')}") as progress:
            pretrain(run, data_dir, progress, "trivium finetune", None if run.begun else config, Team(device=device))
    course = run.validations()
    log.info("%s", f"{name}: validation MRR {course[0]:.4f}, then {max(course.values()):.4f}")
    return run


def _kept_if_shown(
    training: TrainingConfig,
    plan: Plan,
    rate: float,
    fitted: Path,
    output: Path,
    data_dir: str | Path | None,
    force: bool,
    device: str,
) -> Fitted:
    """Asks the questions that chose nothing of both models, and writes the better one."""
    _, others = _prepared(training, plan.questions, data_dir)[-1].split(training.set_aside)
    (start, before), (now, after) = (load_checkpoint(name, device) for name in (training.start_from, fitted))
    relations, old = others.reciprocal_ranks(start)
    _, new = others.reciprocal_ranks(now)
    error = clustered_error(new - old, relations)
    if error is None:
        error = float((new - old).std() / len(new) ** 0.5)
    gain = float((new - old).mean())
    result = Fitted(float(old.mean()), float(new.mean()), error, len(new), rate, after.steps, gain > error)
    note = f"{after.note}; {gain:+.4f} ± {error:.4f} on {len(new):,} questions that chose nothing"
    model, provenance = (now, replace(after, note=note)) if result.kept else (start, before)
    save_checkpoint(model, provenance, output, force)
    return result


def _prepared(
    training: TrainingConfig, questions: int, data_dir: str | Path | None
) -> tuple[TrainingConfig, dict[str, Graph], dict[str, TextGraph], Validation]:
    """The settings, what training may see of the graph, its texts, and the questions about the rest."""
    training, graphs = training_graphs(replace(training, valid_questions=questions), data_dir)
    texts = training_texts(training, graphs, data_dir)
    name = training.sources[0].name
    graphs[name], validation = held_out(training, graphs[name], texts.get(name), data_dir)
    if len(validation.questions.triples) < 2:
        raise InputError(
            f"{name}: one fact held out cannot both choose weights and judge them: give more by --valid FILE"
        )
    return training, graphs, texts, validation


def measured(config: FitConfig, data_dir: str | Path | None, device: str = "cpu") -> Plan:
    """What fits into the time: steps and questions are timed, a few of each."""
    training, graphs, texts, validation = _prepared(config.training, MOST, data_dir)
    if config.steps:
        trial = max(1, int(TRIAL * config.steps))
        left = max(1, config.steps - trial * len(config.rates))
        return Plan(trial, left, min(MOST, 2 * len(validation.questions.triples)))
    set_threads(training.threads)
    trainer, batches = Trainer(training, texts, Team(device=device)), Batches(training, graphs)
    few = Validation(validation.questions.sample(60, 0), validation.texts)
    few.mrr(trainer.average)
    question = _seconds(lambda _: few.mrr(trainer.average), 1) / 60
    _seconds(lambda step: trainer.step(step, batches.step(step)), WARM)
    step = _seconds(lambda step: trainer.step(WARM + step, batches.step(WARM + step)), MEASURED)
    budget = 60 * config.minutes
    questions = int(np.clip(2 * ASKING * budget / question, LEAST, MOST))
    asking = 8 * min(questions / 2, len(validation.questions.triples)) * question
    steps = max(len(config.rates) + 1, (budget - asking) / step)
    trial = max(1, int(TRIAL * steps))
    return Plan(trial, max(1, int(steps) - trial * len(config.rates)), questions)


def _seconds(work: Callable[[int], object], times: int) -> float:
    """What doing it takes, on average."""
    started = monotonic()
    for number in range(times):
        work(number)
    return (monotonic() - started) / times
