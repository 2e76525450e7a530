"""On another device the answers are the same and nothing stays behind; a graph too large for it is taken in blocks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import IMPORTED, SMALL, Run, random_graph, small_model, small_training
from tests.pretend import DEVICE, pretended

from trivium.errors import ConfigError
from trivium.explanation import explain
from trivium.inference.engine import Blocks
from trivium.inference.ranker import Ranker
from trivium.model.config import ModelConfig
from trivium.model.topology import Topology
from trivium.nn.propagate import propagate
from trivium.nn.reference import propagate_reference
from trivium.text.graph import TextGraph
from trivium.training import trainer
from trivium.training.run import RunFolder
from trivium.training.sampling import Batches
from trivium.training.team import Team
from trivium.training.trainer import Trainer

WHOLE = replace(SMALL, text_encoder="some", text_dim=8, use_chains=True)


def check_close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Float sums in another order."""
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def some_texts(relations: int) -> TextGraph:
    vectors = np.random.default_rng(0).normal(size=(2 * relations, 8)).astype(np.float32)
    vectors[2] = 0  # a relation without words
    return TextGraph.from_vectors(vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1), 0.5)


@pytest.mark.parametrize("config", [WHOLE, replace(IMPORTED, dim=32, layers=2, structure_layers=2)])
def test_a_ranker_elsewhere_gives_the_same_answers(config: ModelConfig) -> None:
    graph = random_graph(3)
    texts = some_texts(graph.num_relations) if config.text_encoder else None
    here = Ranker(small_model(config), graph, texts=texts)
    asked, relations = np.arange(30), np.arange(30) % 8
    scores, why = here.scores(asked, relations), explain(here, "1", "2", "3")
    with pretended() as device:
        there = Ranker(small_model(config).to(device), graph, texts=texts)
        check_close(there.scores(asked, relations), scores)
        assert there.rank("1", "2", k=5)["tail"].to_list() == here.rank("1", "2", k=5)["tail"].to_list()
        assert explain(there, "1", "2", "3").score == pytest.approx(why.score, abs=1e-4)
        if texts is not None:
            assert there.texts_sha256 == here.texts_sha256


def test_a_run_elsewhere_takes_the_same_steps_and_goes_on_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = random_graph(4, entities=60, triples=300)
    config = small_training("some", model=WHOLE, steps=2, graph_text_dropout=0.0)
    batches, texts = Batches(config, {"some": graph}), {"some": some_texts(graph.num_relations)}
    here = Trainer(config, texts)
    figures = [here.step(step, batches.step(step)) for step in range(2)]
    monkeypatch.setattr(trainer, "chosen_device", lambda name: torch.device(name))
    run = RunFolder.create(tmp_path / "run", config)
    with pretended():
        there = Trainer(config, texts, Team(device=str(DEVICE)))
        for step in range(2):
            assert there.step(step, batches.step(step)) == pytest.approx(figures[step], rel=1e-3)
        run.save(2, there.tensors())
    back = Trainer(config, texts)
    back.restore(run.load()[1])
    known = here.tensors()
    found = back.tensors().items()
    close = [torch.isclose(value, known[name], rtol=1e-3, atol=1e-4).flatten() for name, value in found]
    assert torch.cat(close).float().mean() > 0.999  # Adam's quotients of what is next to nothing may differ


def test_what_stays_behind_is_caught() -> None:
    with pretended() as device:
        away = torch.ones(3, device=device)
        with pytest.raises(RuntimeError, match="numpy"):
            away.numpy()
        with pytest.raises(RuntimeError, match="stayed on the CPU"):
            away + torch.ones(3)


def test_plain_torch_has_the_gradients_of_the_sum_and_needs_not_all_messages_at_once() -> None:
    edges = Topology(random_graph(1, entities=7, triples=15)).edges
    torch.manual_seed(0)
    shapes = (2, 7, 5), (1, edges.num_relations, 5), (len(edges.sources),)
    given = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]

    def plain(state: torch.Tensor, relation: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return propagate_reference(state, relation, edges, weight, piece=40)

    assert torch.autograd.gradcheck(plain, given)
    torch.testing.assert_close(plain(*given), propagate(given[0], given[1], edges, given[2]))


def test_out_of_memory_halves_the_block_and_goes_on() -> None:
    graph = random_graph(5)
    ranker = Ranker(small_model(), graph)
    expected = ranker.scores(np.arange(9), np.zeros(9, int))
    sizes: list[int] = []
    with pretended() as device:
        there = Ranker(small_model().to(device), graph)
        encoder = there.model.entity.forward

        def full(topology: object, representations: object, head: torch.Tensor, *more: object) -> torch.Tensor:
            sizes.append(len(head))
            if len(head) > 3:
                raise torch.OutOfMemoryError
            return encoder(topology, representations, head, *more)  # type: ignore[arg-type]

        there.model.entity.forward = full  # type: ignore[method-assign,assignment]
        check_close(there.scores(np.arange(9), np.zeros(9, int)), expected)
    assert sizes == [9, 4, 2, 2, 2, 2, 1]

    def never(items: object) -> torch.Tensor:
        raise torch.OutOfMemoryError

    with pytest.raises(ConfigError, match="does not fit into the memory of cpu"):
        Blocks(torch.device("cpu"), 1, 8).run(never, range(8))


def test_a_device_that_is_not_here_is_one_line(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, said in (("cuda:1", "sees 1 such devices here"), ("gpu", "give cpu, cuda, cuda:N or auto")):
        status, _, err = command("rank", "x.tsv", "--head", "a", "--relation", "b", "--device", name)
        assert (status, err.count("\n")) == (2, 1)
        assert said in err
