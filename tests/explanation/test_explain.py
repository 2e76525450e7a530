"""Explanations: what they say of a small graph, and that the facts they name carry the score."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import IMPORTED, PLAIN, graph_of, random_graph, small_model

from trivium.errors import CheckpointError, GraphError
from trivium.explanation import Explanation, explain
from trivium.explanation.explain import explain_ids
from trivium.explanation.picture import draw_reasons
from trivium.files import save_figure
from trivium.graph.graph import Graph, inverse
from trivium.graph.names import Names
from trivium.graph.read import read_graph
from trivium.inference.ranker import Ranker
from trivium.model.config import ModelConfig
from trivium.model.trivium import Trivium
from trivium.training.monitor import fusion_figures

KINDS = {"plain": PLAIN, "enhanced": ModelConfig(), "imported": IMPORTED}


def ranker(kind: str = "plain", graph: Graph | None = None) -> Ranker:
    model = small_model(replace(KINDS[kind], layers=3))
    return Ranker(model, graph or random_graph(1, entities=30, relations=4, triples=80))


def unknown(graph: Graph, head: int, relation: int) -> int:
    return next(t for t in range(graph.num_entities) if t != head and t not in graph.answers(head, relation))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("relation", [1, 5])
def test_paths_lead_from_the_question_to_the_answer_over_facts(kind: str, relation: int) -> None:
    asked = ranker(kind)
    graph = asked.graph
    tail = unknown(graph, 3, relation)
    found = explain_ids(asked, 3, relation, tail, 4)
    assert found.reached
    assert 1 <= len(found.paths) <= 4
    assert [p.weight for p in found.paths] == sorted((p.weight for p in found.paths), reverse=True)
    for path in found.paths:
        place = 3
        for step in path.steps:
            fact = np.array([[int(step.head), int(step.relation), int(step.tail)]])
            assert graph.contains(fact)[0]
            start, end = (step.tail, step.head) if step.inverse else (step.head, step.tail)
            assert int(start) == place
            place = int(end)
        assert place == tail
    ends = (str(tail), "3") if relation >= 4 else ("3", str(tail))
    assert (found.head, found.tail) == ends
    assert found.asked == ("head" if relation >= 4 else "tail")
    question = {"tail" if relation >= 4 else "head": "3", "relation": str(relation % 4), "k": 30}
    table = asked.rank(**question)  # type: ignore[arg-type]
    row = table.row(table[found.asked].to_list().index(str(tail)), named=True)
    assert found.rank == row["rank"]
    assert found.score == pytest.approx(row["score"])


def test_a_known_fact_is_explained_without_itself() -> None:
    asked = ranker("enhanced")
    fact = asked.graph.triples[:1]
    found = explain_ids(asked, *fact[0].tolist())
    rest = explain_ids(ranker("enhanced", asked.graph.without(fact)), *fact[0].tolist())
    assert found.known
    assert replace(found, known=False) == rest
    own = tuple(str(i) for i in fact[0].tolist())
    assert own not in {(step.head, step.relation, step.tail) for path in found.paths for step in path.steps}
    assert "judged without it" in found.words[0]


def test_an_answer_that_no_path_reaches_says_so() -> None:
    asked = ranker(graph=graph_of([[0, 0, 1], [1, 0, 2], [3, 0, 4]], Names(["a", "b", "c", "d", "e"]), 1))
    found = explain_ids(asked, 0, 0, 4)
    assert not found.reached
    assert found.paths == ()
    assert "No path of at most 3 facts leads from a to e" in found.words[1]
    alone = explain_ids(asked, 3, 0, 4)  # the only fact between the two is the one that is asked
    assert alone.known
    assert not alone.reached
    assert "leads from e to d" in explain_ids(asked, 4, inverse(0, 1), 3).words[1]


def test_what_the_relation_leaned_on() -> None:
    asked = ranker("enhanced")
    model, graph = asked.model, asked.graph
    found = explain_ids(asked, 3, 1, unknown(graph, 3, 1))
    seen = fusion_figures(model, [(asked.topology, torch.tensor([1]))])
    for name in ("similarity", "prompt"):
        assert found.leaned_on["branches"][name] == {
            "weight": pytest.approx(seen[name]["weight"]),
            "contribution": pytest.approx(seen[name]["contribution"]),
        }
    r, _ = model.parts(asked.topology, torch.tensor([1]))
    expected = model.branches["similarity"].neighbours(1, r[0], 5)  # type: ignore[operator]
    assert expected
    assert [(int(n["relation"]) + 4 * n["inverse"], n["weight"]) for n in found.leaned_on["neighbours"]] == expected
    assert found.leaned_on["examples"]
    for example in found.leaned_on["examples"]:
        assert example["relation"] == "1"
        assert graph.contains(np.array([[int(example[key]) for key in ("head", "relation", "tail")]]))[0]
    turned = explain_ids(asked, 3, 5, unknown(graph, 3, 5)).leaned_on["examples"]
    assert {tuple(e.values()) for e in turned} <= {tuple(map(str, fact)) for fact in graph.triples.tolist()}
    text = "\n".join(found.words)
    for part in ("similarity enhancer", "moved towards", "Examples that were read"):
        assert part in text
    assert explain_ids(ranker("plain"), 3, 1, unknown(graph, 3, 1)).leaned_on == {}
    off = Ranker(model, graph, disabled=("prompt",))
    assert set(explain_ids(off, 3, 1, unknown(graph, 3, 1)).leaned_on) == {"branches", "neighbours"}


def test_a_question_by_name_and_its_json() -> None:
    asked = ranker()
    content = json.loads(json.dumps(explain(asked, "3", "1", "4", max_paths=2).as_dict()))
    assert {"head", "relation", "tail", "score", "rank", "known"} <= set(content)
    assert {"reached", "paths", "leaned_on", "words"} <= set(content)
    assert set(content["paths"][0]) == {"weight", "steps"}
    assert set(content["paths"][0]["steps"][0]) == {"head", "relation", "tail", "inverse"}
    assert len(content["paths"]) == 2
    assert explain(asked, "3", "1", "4", asked="head") == explain_ids(asked, 4, inverse(1, 4), 3)
    with pytest.raises(GraphError, match="unknown tail 'x'"):
        explain(asked, "3", "1", "x")


@pytest.mark.parametrize("reached", [True, False])
def test_a_picture_draws_any_name(reached: bool, tmp_path: Path) -> None:
    odd = Names(["$\\frac", "<b>b</b>", "\u202eevil\x1b[31m", "東京 🗼", "long " * 40])
    facts = [[0, 0, 1], [2, 0, 1], [2, 0, 3], [3, 0, 4]] if reached else [[0, 0, 1], [2, 0, 4]]
    found = explain_ids(ranker(graph=graph_of(facts, odd, Names(["$x"]))), 0, 0, 3)
    assert found.reached == reached
    save_figure(draw_reasons(found), tmp_path / "why.png")
    assert (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")


def named(graph: Graph, explanation: Explanation) -> np.ndarray:  # type: ignore[type-arg]
    facts = {(step.head, step.relation, step.tail) for path in explanation.paths for step in path.steps}
    ids = [(graph.entities.id(h, ""), graph.relations.id(r, ""), graph.entities.id(t, "")) for h, r, t in sorted(facts)]
    return np.array(ids, np.int32).reshape(-1, 3)


def test_the_facts_that_are_named_carry_the_score() -> None:
    """In miniature what benchmarks/reasons.py shows: the trained model loses more with them than with others."""
    try:
        model = Trivium.load("trivium")
    except CheckpointError:
        pytest.skip("this tree ships no default checkpoint")
    graph = read_graph(Path(__file__).parents[2] / "src" / "trivium" / "demo" / "world.tsv")
    asked, rng = Ranker(model, graph), np.random.default_rng(0)
    borders = graph.relations.id("borders", "relation")
    drops = []
    for head in np.unique(graph.triples[graph.triples[:, 1] == borders, 0])[::40][:4].tolist():
        scores = asked.scores(np.array([head]), np.array([borders]))[0].numpy()
        answer = int(np.argsort(-scores)[len(graph.answers(head, borders)) + 1])
        if answer == head or answer in graph.answers(head, borders):
            continue
        facts = named(graph, explain_ids(asked, head, borders, answer))
        random = graph.triples[rng.choice(graph.num_triples, len(facts), replace=False)]
        after = [
            asked.over(graph.without(out)).scores(np.array([head]), np.array([borders]))[0, answer].item()
            for out in (facts, random)
        ]
        drops.append(scores[answer] - np.array(after))
    lost, by_chance = np.median(drops, axis=0)
    assert lost > 3 * abs(by_chance)


def test_it_can_be_given_up_between_any_two_steps() -> None:
    asked = ranker()
    tail = int(asked.graph.answers(3, 1)[0])
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    def until(last: int) -> None:
        count()
        if steps > last:
            raise InterruptedError

    whole = explain_ids(asked, 3, 1, tail, 5, count)
    assert whole == explain_ids(asked, 3, 1, tail)
    total = steps
    assert total > 3 + asked.model.config.layers
    for last in (*range(6), total - 1):
        steps = 0
        with pytest.raises(InterruptedError):
            explain_ids(asked, 3, 1, tail, 5, lambda last=last: until(last))  # type: ignore[misc]
        assert steps == last + 1
    assert explain_ids(asked, 3, 1, tail) == whole
