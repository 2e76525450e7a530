"""Fitting to one graph: what learns, what stays, which weights are kept, and what is refused."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import SMALL, Run, random_graph, run_command, small_model, small_training, write_triples

from trivium.datasets.leakage import _training_graph
from trivium.datasets.synthetic import synthesize
from trivium.errors import ConfigError, InputError
from trivium.graph.read import read_graph
from trivium.inference.ranker import Ranker
from trivium.model.checkpoint import Provenance
from trivium.model.config import ModelConfig
from trivium.model.trivium import Trivium, load_checkpoint, save_checkpoint
from trivium.text.graph import TextGraph
from trivium.training import finetune as fitting
from trivium.training.config import SourceConfig, TrainingConfig
from trivium.training.loop import train
from trivium.training.pretrain import pretrain, training_graphs
from trivium.training.run import RunFolder
from trivium.training.sampling import Batches
from trivium.training.trainer import PARTS, Trainer
from trivium.training.validation import Validation, held_out

READING = replace(SMALL, text_encoder="made up", text_dim=8, use_chains=True)
GRAPH = random_graph(0, entities=60, relations=4, triples=400)
VECTORS = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
TEXTS = {"g": TextGraph.from_vectors(VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True), 0.8)}


def saved(path: Path, model: ModelConfig = SMALL) -> str:
    provenance = Provenance(training_data={"earlier": "abc"}, settings={"exclude": ["Nations"]})
    save_checkpoint(small_model(model, seed=1), provenance, path)
    return str(path)


def settings(**more: Any) -> TrainingConfig:
    plain = small_training("g", model=READING, steps_per_epoch=1, save_every=2, learning_rate=1e-2)
    return replace(plain, **{"graph_text_dropout": 0.0} | more)


@pytest.mark.parametrize("part", PARTS)
def test_only_the_named_part_learns(part: str, tmp_path: Path) -> None:
    start = saved(tmp_path / "start.safetensors", READING)
    before = load_checkpoint(start)[0].state_dict()
    config = settings(start_from=start, train_only=(part,))
    trainer, batches = Trainer(config, TEXTS), Batches(config, {"g": GRAPH})
    trainer.set_threshold(batches)  # which came with the start, so it stays
    for step in range(3):
        trainer.step(step, batches.step(step))
    for model in (trainer.model, trainer.average):
        changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        assert changed
        assert all(name.startswith(PARTS[part]) for name in changed)


def test_a_step_averages_the_loss_and_the_gradient_of_its_subgraphs() -> None:
    config = settings(subgraphs_per_step=2)
    subgraphs = Batches(config, {"g": GRAPH}).step(0)
    trainer = Trainer(config, TEXTS)
    losses = [trainer.loss(*subgraph, [config.seed, 0, place, 2]) for place, subgraph in enumerate(subgraphs)]
    mean = torch.stack(losses).mean()
    mean.backward()  # type: ignore[no-untyped-call]
    norm = sum(float(p.grad.norm()) ** 2 for p in trainer.model.parameters() if p.grad is not None) ** 0.5
    assert losses[0].item() != losses[1].item()
    assert Trainer(config, TEXTS).step(0, subgraphs) == pytest.approx({"loss": mean.item(), "gradient": norm}, rel=1e-4)


def test_a_start_lends_the_weights_that_fit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    start = saved(tmp_path / "start.safetensors", READING)
    held = load_checkpoint(start)[0].state_dict()
    other = replace(READING, layers=READING.layers + 1, prompt_dim=2 * READING.prompt_dim)
    now = Trainer(settings(start_from=start, model=other), TEXTS).model.state_dict()
    fits = {name for name, value in held.items() if name in now and value.shape == now[name].shape}
    assert {name for name in held if name.startswith(("entity.", "structure.", "semantics."))} <= fits
    assert any(name.startswith("branches.prompt.") for name in held.keys() - fits)
    assert all(torch.equal(held[name], now[name]) for name in fits)
    assert f"{len(held) - len(fits)} of its {len(held)} weights do not fit" in caplog.text


def test_a_threshold_starts_anew_only_when_asked_to(tmp_path: Path) -> None:
    start = saved(tmp_path / "start.safetensors", READING)
    held = load_checkpoint(start)[0].state_dict()["branches.similarity.threshold"]
    for restart in (False, True):
        config = settings(start_from=start, restart_threshold=restart)
        trainer, batches = Trainer(config, TEXTS), Batches(config, {"g": GRAPH})
        trainer.set_threshold(batches)
        for model in (trainer.model, trainer.average):
            assert (model.state_dict()["branches.similarity.threshold"] != held) == restart


@pytest.mark.parametrize(
    ("model", "part", "message"),
    [
        (replace(READING, use_learnable_fusion=False), "fusion", "no fusion logits"),
        (replace(READING, use_similarity_enhancer=False, use_prompt_enhancer=False), "fusion", "no fusion logits"),
        (replace(READING, use_prompt_enhancer=False), "prompt", "no prompt part"),
        (SMALL, "text", "no text part"),
    ],
)
def test_a_part_that_the_model_lacks_is_refused_in_one_line(
    model: ModelConfig, part: str, message: str, tmp_path: Path, command: Run
) -> None:
    start = saved(tmp_path / "start.safetensors", model)
    words = ["finetune", write_triples(tmp_path / "g.tsv", GRAPH.triples), "-o", tmp_path / "x.safetensors"]
    before = sorted(tmp_path.iterdir())
    status, _, err = command(*words, "--checkpoint", start, "--only", part, "--run", tmp_path / "run")
    assert status == 2
    assert message in err and err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_text_alone_needs_a_text(tmp_path: Path) -> None:
    model = replace(READING, text_encoder="all-MiniLM-L6-v2", text_dim=384)
    graph = write_triples(tmp_path / "g.tsv", GRAPH.triples)  # of relations r0, r1, …
    start = saved(tmp_path / "start.safetensors", model)
    config = small_training(str(graph), model=model, start_from=start, train_only=("text",))
    with pytest.raises(ConfigError, match="no relation of the sources has a text"):
        pretrain(RunFolder.create(tmp_path / "run", config))


def judged(values: list[float]) -> tuple[Callable[[Trivium], float], list[dict[str, torch.Tensor]]]:
    """A validation that gives these values in turn, and what it was shown."""
    seen: list[dict[str, torch.Tensor]] = []

    def validate(model: Trivium) -> float:
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return values[len(seen) - 1]

    return validate, seen


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_training_stops_when_validation_does_not_improve_and_keeps_the_best(tmp_path: Path) -> None:
    config = settings(steps=20, validate_every=1, patience=3)
    run = RunFolder.create(tmp_path / "run", config)
    validate, seen = judged([0.1, 0.2, 0.5, 0.4, 0.5, 0.3, 0.9])
    trainer = train(config, {"g": GRAPH}, run, None, TEXTS, validate)
    assert run.validations() == {0: 0.1, 1: 0.2, 2: 0.5, 3: 0.4, 4: 0.5, 5: 0.3}
    assert same(trainer.best, seen[2])
    assert not same(trainer.best, seen[3])
    again, more = judged([1.0])
    resumed = train(config, {"g": GRAPH}, run, None, TEXTS, again)  # it has ended: nothing more is trained or asked
    assert more == []
    assert same(resumed.best, seen[2])


def test_a_resumed_run_keeps_the_same_best_weights(tmp_path: Path) -> None:
    config = settings(steps=6, validate_every=2, patience=9)
    values = {0: 0.3, 2: 0.6, 4: 0.4, 6: 0.5}
    whole = RunFolder.create(tmp_path / "whole", config)
    expected = train(config, {"g": GRAPH}, whole, None, TEXTS, judged(list(values.values()))[0])

    def stop(done: int, total: int, loss: float) -> None:
        if done == 5:
            raise RuntimeError("killed")

    cut = RunFolder.create(tmp_path / "cut", config)
    with pytest.raises(RuntimeError, match="killed"):
        train(config, {"g": GRAPH}, cut, stop, TEXTS, judged([0.3, 0.6, 0.4])[0])
    resumed = train(config, {"g": GRAPH}, cut, None, TEXTS, judged([0.5])[0])
    assert cut.validations() == whole.validations() == values
    assert same(resumed.best, expected.best)
    assert same(resumed.average.state_dict(), expected.average.state_dict())


def test_triples_are_held_out_by_seed_and_hidden() -> None:
    rest, validation = held_out(settings(valid_questions=40), GRAPH, None, None)
    assert len(validation.questions.triples) == 20
    assert not rest.contains(validation.questions.triples).any()
    assert rest.num_triples == GRAPH.num_triples - 20
    assert validation.questions.graph is rest
    assert validation.questions.known.sha256 == GRAPH.sha256
    again = held_out(settings(valid_questions=40), GRAPH, None, None)[1].questions
    other = held_out(settings(valid_questions=40, seed=1), GRAPH, None, None)[1].questions
    assert again.triples.tolist() == validation.questions.triples.tolist() != other.triples.tolist()


def test_validation_is_the_ranking_of_the_held_out_triples() -> None:
    model = Trivium(SMALL)
    _, validation = held_out(settings(valid_questions=40), GRAPH, None, None)
    relations, found = validation.reciprocal_ranks(model)
    assert relations.tolist() == validation.questions.triples[:, 1].tolist() * 2
    ranker = Ranker(model, validation.questions.graph)
    for place, (h, r, t) in enumerate(validation.questions.triples[:5].tolist()):
        scores = ranker.scores(np.array([h]), np.array([r]))[0].numpy()
        rivals = np.setdiff1d(np.arange(60), np.append(GRAPH.answers(h, r), t))
        assert found[place] == pytest.approx(1 / (1 + (scores[rivals] >= scores[t] - 1e-5).sum()))


def test_validation_triples_from_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    graph = read_graph(write_triples(tmp_path / "g.tsv", GRAPH.triples))
    file = tmp_path / "valid.tsv"
    file.write_text("e1\tr0\te2\ne3\tr1\tnobody\n")
    rest, validation = held_out(settings(valid=str(file)), graph, None, None)
    assert "1 triples name what the graph lacks" in caplog.text
    assert [graph.entities.names[int(i)] for i in validation.questions.triples[0, [0, 2]]] == ["e1", "e2"]
    assert not rest.contains(validation.questions.triples).any()
    file.write_text("x\tr0\ty\n")
    with pytest.raises(InputError, match="nothing to validate on"):
        held_out(settings(valid=str(file)), graph, None, None)


def test_a_share_of_the_questions_chooses_nothing() -> None:
    _, validation = held_out(settings(valid_questions=40), GRAPH, None, None)
    choosing, others = (part.questions.triples.tolist() for part in validation.split(0.25))
    assert len(others) == 5
    assert sorted(choosing + others) == sorted(validation.questions.triples.tolist())
    assert others == validation.split(0.25)[1].questions.triples.tolist()
    assert validation.split(0.0)[0].questions.triples.tolist() == validation.questions.triples.tolist()


def call(tmp_path: Path, *words: object) -> int:
    start = tmp_path / "start.safetensors"
    if not start.exists():
        saved(start)
        write_triples(tmp_path / "g.tsv", GRAPH.triples)
    torch.set_num_threads(1)
    steps = [] if "--resume" in words else [tmp_path / "g.tsv", "--checkpoint", start, "--steps", 10]
    return run_command("finetune", *steps, *words)


def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gain: float) -> None:
    """A start and a graph; validations that rise, and reciprocal ranks of others that rise by ``gain`` ± .0038."""
    saved(tmp_path / "start.safetensors")
    write_triples(tmp_path / "g.tsv", GRAPH.triples)
    held = load_checkpoint(tmp_path / "start.safetensors")[0].state_dict()
    course = iter(np.arange(0.1, 0.9, 0.01).tolist())

    def reciprocal_ranks(_: Validation, model: Trivium) -> tuple[np.ndarray, np.ndarray]:
        better = np.zeros(8) if same(model.state_dict(), held) else gain + np.array([-0.01, 0.01] * 4)
        return np.arange(8), 0.5 + better

    monkeypatch.setattr(Validation, "mrr", lambda *_: next(course))
    monkeypatch.setattr(Validation, "reciprocal_ranks", reciprocal_ranks)


def test_a_gain_of_under_two_standard_errors_is_called_doubtful(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun(tmp_path, monkeypatch, 0.006)
    assert call(tmp_path, "--only", "fusion", "-o", tmp_path / "fitted.safetensors", "--run", tmp_path / "run") == 0
    said = capsys.readouterr().err
    assert "(+0.0060 ± 0.0038) on 8 questions that chose nothing; under two standard errors, so perhaps chance" in said


def test_finetune_writes_a_checkpoint_that_says_what_it_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun(tmp_path, monkeypatch, 0.1)
    output, run = tmp_path / "fitted.safetensors", tmp_path / "run"
    assert call(tmp_path, "--only", "fusion", "-o", output, "--run", run) == 0
    said = capsys.readouterr().err
    assert "MRR 0.5000, then 0.6000 (+0.1000 ± 0.0038) on 8 questions that chose nothing; 9 steps" in said
    model, provenance = load_checkpoint(output)
    graph = tmp_path / "g.tsv"
    assert provenance.training_data == {"earlier": "abc", str(graph): read_graph(graph).sha256}
    assert provenance.excluded_from("earlier") == {"exclude": ["Nations"], "exclude_graphs": []}  # by the start
    assert provenance.excluded_from(str(graph)) == {"exclude": [], "exclude_graphs": []}
    assert "+0.1000 ± 0.0038 on 8 questions that chose nothing" in provenance.note
    start = load_checkpoint(tmp_path / "start.safetensors")[0].state_dict()
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, start[name])]
    assert changed == ["fusion.fusion_weights_logits"]
    # the rate that validated best goes on from its own weights: here the one that was tried last
    assert provenance.settings["learning_rate"] == 5e-4
    assert provenance.settings["start_from"] == str(run / "rate-0.0005" / "checkpoint.safetensors")
    assert [len(RunFolder(run / part).validations()) for part in ("rate-0.0001", "rate-0.0005", "fit")] == [2, 2, 4]


@pytest.mark.parametrize("gain", [0.0, 0.003])
def test_where_no_gain_shows_the_weights_of_the_start_are_written(
    gain: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun(tmp_path, monkeypatch, gain)
    output, run = tmp_path / "fitted.safetensors", tmp_path / "run"
    assert call(tmp_path, "-o", output, "--run", run) == 0
    assert "no gain that shows" in capsys.readouterr().err
    assert call(tmp_path, "--resume", run, "-o", tmp_path / "again.safetensors") == 0
    files = (tmp_path / "start.safetensors", output, tmp_path / "again.safetensors")
    start, model, again = (load_checkpoint(file)[0].state_dict() for file in files)
    assert same(start, model) and same(again, model)


def test_a_fit_that_was_killed_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert call(tmp_path, "-o", tmp_path / "a.safetensors", "--run", whole) == 0
    step = Trainer.step
    with monkeypatch.context() as patch:
        patch.setattr(
            Trainer, "step", lambda self, number, *more: exit(9) if number == 3 else step(self, number, *more)
        )
        assert call(tmp_path, "-o", tmp_path / "b.safetensors", "--run", cut) == 9
    assert not (tmp_path / "b.safetensors").exists() and (cut / "rate-0.0005").exists()
    assert call(tmp_path, "-o", tmp_path / "b.safetensors", "--resume", cut) == 0
    one, two = (load_checkpoint(run / "fit" / "checkpoint.safetensors")[0].state_dict() for run in (whole, cut))
    assert same(one, two)


def test_a_plan_fits_the_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that takes .5 s, questions of .01 s: how many of each hold in two minutes."""
    start = saved(tmp_path / "start.safetensors")
    graph = write_triples(tmp_path / "g.tsv", GRAPH.triples)
    now = [0.0]
    monkeypatch.setattr("trivium.training.finetune.monotonic", lambda: now[0])

    def take(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(Trainer, "step", lambda *_: take(0.5))
    monkeypatch.setattr(Validation, "mrr", lambda self, _: take(0.01 * 2 * len(self.questions.triples)))
    config = fitting.finetune_config(SourceConfig(str(graph)), start, minutes=2)
    plan = fitting.measured(config, None)
    asked = 0.01 * min(plan.questions / 2, 80 / 2) * 8
    steps = plan.trial * len(config.rates) + plan.steps
    assert 0.97 * 120 <= steps * 0.5 + asked <= 120
    assert plan.trial == int(0.12 * steps) or plan.trial == int(0.12 * (steps + 1))


def test_finetune_improves_a_small_model_on_its_graph(tmp_path: Path) -> None:
    """From random weights on a graph with structure: the fitted ones beat the start on facts that chose nothing."""
    graph = write_triples(tmp_path / "s.tsv", synthesize(3, entities=120, base_relations=4, rules=6).triples)
    start, output = saved(tmp_path / "start.safetensors"), tmp_path / "fitted.safetensors"
    config = replace(fitting.finetune_config(SourceConfig(str(graph)), start, steps=60, threads=1), rates=(1e-3, 1e-2))
    found = fitting.finetune(RunFolder(tmp_path / "run"), output, None, config, lambda _: nullcontext(), False)
    assert found.kept and found.now > found.start + 0.01
    assert not same(load_checkpoint(output)[0].state_dict(), load_checkpoint(start)[0].state_dict())


def test_a_graph_is_read_as_who_asks_it_reads_it(tmp_path: Path, command: Run) -> None:
    """Pairs in columns of their own, both ways round, with labels; again after the file has changed."""
    start, graph, more = saved(tmp_path / "start.safetensors"), tmp_path / "pairs.csv", tmp_path / "more.txt"
    pairs = [(a, (a + step) % 31) for a in range(31) for step in (1, 5)]
    graph.write_text("".join(f"{line},e{a},e{b}\n" for line, (a, b) in enumerate(pairs[:40])))
    more.write_text("".join(f"x\te{a}\te{b}\n" for a, b in pairs[40:]))
    (tmp_path / "labels.tsv").write_text("e1\tOne\n")
    how = {"columns": "2,3", "relation": "knows", "also": (str(more),), "labels": (str(tmp_path / "labels.tsv"),)}
    words = [word for key, value in how.items() for word in (f"--{key}", value if isinstance(value, str) else value[0])]
    fit = ["finetune", graph, *words, "--undirected", "--steps", 3]

    def seen(name: str, *rest: object) -> str:
        status, _, err = command(*fit, *rest, "-o", tmp_path / f"{name}.safetensors", "--run", tmp_path / name)
        assert status == 0, err
        return load_checkpoint(tmp_path / name / "fit" / "checkpoint.safetensors")[1].training_data[str(graph)]

    read = read_graph(graph, **how, undirected=True)  # type: ignore[arg-type]
    assert read.num_triples == 2 * read_graph(graph, **how).num_triples  # type: ignore[arg-type]
    assert seen("once", "--checkpoint", start) == read.sha256
    config = TrainingConfig((SourceConfig(str(graph), **how, undirected=True),))  # type: ignore[arg-type]
    assert training_graphs(config)[1][str(graph)].sha256 == read.sha256
    graph.write_text(graph.read_text() + "40,e0,e0\n")
    _training_graph.cache_clear()
    assert seen("twice", "--checkpoint", tmp_path / "once" / "fit" / "checkpoint.safetensors") == "unknown"
    status, _, err = command("finetune", "-o", tmp_path / "x.safetensors", "--resume", tmp_path / "once", "--skip-bad")
    assert (status, "--skip-bad: " in err) == (2, True)
    status, _, err = command("finetune", "Nations", "--undirected", "-o", tmp_path / "x.safetensors")
    assert (status, err.count("\n"), "Nations is a data set, and is read as it is: undirected" in err) == (2, 1, True)
