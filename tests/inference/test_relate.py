"""Which relation joins two entities: scores, known ones, and evaluation, beside what can be read off by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import Run, random_graph, small_model, write_triples

from trivium.datasets.splits import Splits
from trivium.errors import ConfigError, InputError
from trivium.evaluation.evaluate import evaluate
from trivium.graph.graph import Graph
from trivium.inference.ranker import Ranker
from trivium.inference.relate import further, known_relations, relate, relation_scores


@pytest.fixture(scope="module")
def ranker() -> Ranker:
    return Ranker(small_model(), random_graph(3), texts=None)


def slow_scores(ranker: Ranker, head: int, tail: int) -> list[float]:
    """The formula, a relation at a time, with the model itself."""
    graph, count, out = ranker.graph, ranker.graph.num_relations, []
    facts = graph.triples.tolist()
    for r in range(count):
        asked = torch.tensor([head, tail]), torch.tensor([r, r + count])
        with torch.no_grad():
            forward, back = ranker.model(ranker.topology, *asked).double()
        score = forward[tail] + back[head] - 0.25 * (forward.logsumexp(0) + back.logsumexp(0))
        held = [fact for fact in facts if fact[1] == r]
        score += np.log(1 + len(held))
        for end, entity in ((0, head), (2, tail)):
            having = {fact[end] for fact in held}
            others = {fact[end] for fact in held if fact != [head, r, tail]}
            again = [sum(other[end] == fact[end] for other in held) > 1 for fact in held]
            often, usual = sum(again), len(held) * np.mean([fact[end] in having for fact in facts])
            if entity not in others:
                often, usual = len(held) - often, len(held) - usual
            score += 2 * np.log((often + 1) / (usual + 1))
        out.append(float(score))
    return out


def test_scores_are_those_of_the_formula(ranker: Ranker) -> None:
    heads, tails = np.array([0, 4, 4, 9]), np.array([1, 7, 4, 1])
    heads, tails = (
        np.append(one, two) for one, two in zip((heads, tails), ranker.graph.triples[:6, ::2].T, strict=True)
    )
    wanted = [slow_scores(ranker, *pair) for pair in zip(heads.tolist(), tails.tolist(), strict=True)]
    np.testing.assert_allclose(relation_scores(ranker, heads, tails), wanted, atol=1e-4)


def test_having_an_answer_speaks_against_another_where_all_have_one() -> None:
    """Ten people have one mother each; five of them like three others each."""
    facts = [(i, 0, 10) for i in range(10)] + [(i, 1, (i + step) % 10) for i in range(5) for step in (1, 2, 3)]
    without, having = further(Graph.from_ids(*np.array(facts).T, entities=12, relation_names=2))
    assert having[0] < -2 < 0 <= without[0]
    assert without[1] < -1 < 0 < having[1]


def test_what_the_graph_holds_is_left_out_or_marked(ranker: Ranker) -> None:
    head, relation, tail = ranker.graph.triples[0].tolist()
    new = relate(ranker, str(head), str(tail), 10)
    every = relate(ranker, [str(head), str(tail)], [str(tail), str(head)], 10, include_known=True)
    held = {r for h, r, t in ranker.graph.triples.tolist() if (h, t) == (head, tail)}
    assert {int(name) for name in new["relation"]} == set(range(4)) - held
    assert not new["known"].any()
    first = every.filter(query=0)
    assert {int(name) for name in first.filter(known=True)["relation"]} == held == {relation} | held
    assert first["score"].is_sorted(descending=True)
    assert every["query"].to_list() == [0] * 4 + [1] * 4
    assert every.filter(query=1)["head"].unique().to_list() == [str(tail)]
    with pytest.raises(InputError, match="2 heads for 1 tails"):
        relate(ranker, ["0", "1"], ["2"])
    with pytest.raises(InputError, match="k is 0"):
        relate(ranker, "0", "1", 0)


def test_evaluation_ranks_a_fact_s_relation_among_all_that_are_not_known() -> None:
    whole = random_graph(5, triples=120)
    held = np.arange(whole.num_triples) % 4 > 0
    graph = Graph.from_ids(*whole.triples[held].T, entities=whole.num_entities, relation_names=4)
    asked = whole.triples[~held]
    splits = Splits("small", "own", graph, asked, asked, graph, asked[:0], graph, asked[:0])
    model = small_model()
    ranker = Ranker(model, graph, texts=None)
    ranks = []
    for head, relation, tail in splits.test.tolist():
        scores = slow_scores(ranker, head, tail)
        known = set(known_relations(whole, np.array([head]), np.array([tail]))[0].tolist()) - {relation}
        ranks.append(1 + sum(s > scores[relation] + 1e-5 for r, s in enumerate(scores) if r not in known))
    result = evaluate(model, splits, task="relation", texts=None)
    assert result.queries == len(splits.test)
    assert result.realistic.mrr == pytest.approx(np.mean(1 / np.array(ranks)), abs=1e-6)
    with pytest.raises(ConfigError, match="groups are of questions for entities"):
        evaluate(model, splits, task="relation", groups=True, texts=None)


def test_pairs_of_a_file_are_related_as_one_by_one(command: Run, tmp_path: Path) -> None:
    graph = write_triples(tmp_path / "g.tsv", random_graph(3).triples)
    (tmp_path / "pairs.tsv").write_text("e0\te1\ne4\te7\ne4\tnobody\n")
    status, _, err = command("relate", graph, "--queries", tmp_path / "pairs.tsv", "-k", 2, "-o", tmp_path / "o.tsv")
    assert status == 0
    assert "pairs.tsv line 3" in err
    lines = [line.split("\t") for line in (tmp_path / "o.tsv").read_text().splitlines()]
    assert lines[0] == "query line head relation tail rank tied score known".split()
    assert [line[:2] for line in lines[1:]] == [["0", "1"]] * 2 + [["1", "2"]] * 2
    _, out, _ = command("relate", graph, "--head", "e0", "--tail", "e1", "-k", 2)
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [line[2:5] for line in lines[1:3]]
    for words in (["--head", "e0"], ["--head", "e0", "--tail", "e1", "--queries", "x.tsv"], []):
        assert command("relate", graph, *words)[0] == 2
    (tmp_path / "bad.csv").write_text("head,relation\ne0,r1\n")
    assert "a header must name 'head' and 'tail'" in command("relate", graph, "--queries", tmp_path / "bad.csv")[2]
