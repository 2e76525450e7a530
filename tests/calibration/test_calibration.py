"""Confidences: what is hidden and asked, what the fit promises, and whom a saved one serves."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.conftest import drawn, graph_of, random_graph, small_model

from trivium.calibration import Calibration
from trivium.calibration.calibration import MIN_DECISIONS
from trivium.calibration.collect import PLACES, Answers, ask, hide
from trivium.calibration.fit import fit
from trivium.calibration.reliability import Bin, draw_curve, expected_error, reliability
from trivium.errors import GraphError, InputError, OutputError
from trivium.graph.graph import Graph, inverse
from trivium.graph.names import Names
from trivium.inference.answers import filtered_entities, ranks_and_margins
from trivium.inference.ranker import Ranker
from trivium.model.checkpoint import checkpoint_sha256
from trivium.text.graph import TextGraph


def test_hiding_takes_no_ones_last_fact() -> None:
    graph = random_graph(0, entities=60, relations=4, triples=200)
    rest, hidden = hide(graph, 0.3, 1000, 0)
    assert hidden.num_triples == round(0.3 * graph.num_triples)
    assert rest.num_triples + hidden.num_triples == graph.num_triples
    assert graph.contains(hidden.triples).all()
    assert not rest.contains(hidden.triples).any()
    assert ((np.diff(graph.offsets) > 0) == (np.diff(rest.offsets) > 0)).all()
    assert set(rest.triples[:, 1]) == set(graph.triples[:, 1])
    assert (hide(graph, 0.3, 1000, 0)[1].triples == hidden.triples).all()
    assert (hide(graph, 0.3, 1000, 1)[1].triples != hidden.triples).any()
    assert hide(graph, 0.3, 40, 0)[1].num_triples == 40
    with pytest.raises(GraphError, match="only 4 of 40 facts can be hidden"):
        hide(random_graph(0, entities=20, triples=40), 0.1, 1000, 0)


def test_hidden_facts_are_asked_in_both_directions() -> None:
    graph = random_graph(3, entities=40, relations=3, triples=150)
    rest, hidden = hide(graph, 0.3, 1000, 0)
    ranker = Ranker(small_model(), rest)
    found = ask(ranker, hidden)
    asked = {(h, r) for h, r, _ in hidden.triples.tolist()} | {(t, r + 3) for _, r, t in hidden.triples.tolist()}
    assert len(np.unique(found.queries)) == len(asked)
    for place, (head, relation) in enumerate(sorted(asked)):
        mine = found.queries == place
        assert set(found.relations[mine]) == {relation}
        scores = ranker.scores(np.array([head]), np.array([relation]))[0].numpy()
        scores[filtered_entities(rest, head, relation)] = -np.inf
        order = np.argsort(-scores, kind="stable")[: int(np.isfinite(scores).sum())]
        seen = order[PLACES[len(order) > PLACES]]
        np.testing.assert_allclose(found.scores[mine], scores[seen], atol=2e-5)  # ties may trade places
        true = [graph.contains(np.array([[head, relation, tail]]))[0] for tail in seen.tolist()]
        assert found.true[mine].tolist() == true
    # facts that are known otherwise are no answers
    h, r, _ = sorted(hidden.triples.tolist())[0]
    first = ask(ranker, hidden, graph_of([[h, r, tail] for tail in range(40)], 40, 3))
    assert first.true[first.queries == 0].all()
    assert not found.true[found.queries == 0].all()


def answers(seed: int, queries: int) -> tuple[Answers, NDArray[np.float64]]:
    """Answers whose chance to be true is known: it depends on score, margin and rank, and on relation 0 besides."""
    rng = np.random.default_rng(seed)
    scores = np.sort(rng.normal(size=(queries, 10)))[:, ::-1]
    margins = scores - np.where(np.arange(10) == 0, scores[:, 1:2], scores[:, :1])
    ranks = np.tile(np.arange(1, 11), (queries, 1))
    relations = np.tile(rng.integers(0, 3, (queries, 1)), (1, 10))
    level = 1.5 * scores + 2 * np.maximum(margins, 0) - np.log(ranks) - 2 + 3 * (relations == 0)
    chance = 1 / (1 + np.exp(-level.reshape(-1)))
    place = np.repeat(np.arange(queries), 10)
    parts = relations.reshape(-1), scores.reshape(-1), margins.reshape(-1), ranks.reshape(-1)
    return Answers(place, *parts, rng.random(queries * 10) < chance), chance


def over(graph: Graph, texts: TextGraph | None = None) -> Ranker:
    return Ranker(small_model(), graph, texts=texts)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands for a checkpoint's file: a calibration reads its hash alone."""
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    path.write_bytes(b"weights")
    return path


@pytest.fixture(scope="module")
def fitted(model: Path) -> tuple[Calibration, Graph]:
    """On facts of which relations 0 and 1 have enough for a correction."""
    graph = random_graph(0, entities=50, relations=3, triples=600)
    facts = graph.triples
    chosen = np.concatenate([np.flatnonzero(facts[:, 1] == r)[:n] for r, n in ((0, 60), (1, 50), (2, 49))])
    hidden = graph_of(facts[chosen], 50, 3)
    record = fit(answers(0, 3000)[0], hidden, graph, checkpoint_sha256(model), "", 0.1, 0)
    return Calibration(record, over(graph), model), graph


def test_confidences_are_chances(fitted: tuple[Calibration, Graph]) -> None:
    calibration, _ = fitted
    assert set(calibration.record.relations) == {"0", "1"}
    assert calibration.record.fallback == 1
    assert calibration.record.hidden == 159
    fresh, chance = answers(1, 3000)
    sure = calibration.confidence(fresh.relations, fresh.scores, fresh.margins, fresh.ranks)
    assert expected_error(reliability(sure, fresh.true)) < 0.02  # sampling alone gives about .005
    assert np.abs(sure - chance).mean() < 0.02
    for relation in range(3):
        mine = fresh.relations == relation
        assert abs(sure[mine].mean() - chance[mine].mean()) < 0.02
    assert 0 < sure.min() < sure.max() < 1  # nothing is certain
    assert calibration.record.error < 0.02
    assert sum(part.answers for part in calibration.record.reliability) == 30_000


def test_a_saved_one_says_the_same_and_serves_nobody_else(
    fitted: tuple[Calibration, Graph], model: Path, tmp_path: Path
) -> None:
    calibration, graph = fitted
    path = tmp_path / "c.json"
    calibration.save(path)
    with pytest.raises(OutputError, match="exists already"):
        calibration.save(path)
    read = Calibration.load(path, over(graph), model)
    assert read.record == calibration.record
    assert read.sha256 == calibration.sha256
    some = np.array([0, 4]), np.array([0.5, 1.0]), np.array([-1.0, 2.0]), np.array([2, 1])
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"other weights")
    own, given = (checkpoint_sha256(file)[:12] for file in (model, other))
    with pytest.raises(InputError, match=rf"another checkpoint .SHA-256 {own}…, not {given}…"):
        Calibration.load(path, over(graph), other)
    with pytest.raises(InputError, match="another graph"):
        Calibration.load(path, over(graph.without(graph.triples[:1])), model)
    vectors = np.eye(6, dtype=np.float32)
    with pytest.raises(InputError, match=r"other relation texts .SHA-256 none…, not [0-9a-f]{12}…"):
        Calibration.load(path, over(graph, TextGraph.from_vectors(vectors, 0.7)), model)
    assert (read.confidence(*some) == calibration.confidence(*some)).all()


def test_corrections_go_by_name(fitted: tuple[Calibration, Graph], model: Path) -> None:
    calibration, graph = fitted
    order = np.array([2, 0, 1])  # the same facts with relations in another order
    h, r, t = graph.triples.T
    turned = graph_of(np.stack([h, order[r], t], 1), 50, Names(["1", "2", "0"]))
    assert turned.sha256 == graph.sha256
    same = np.zeros(6), np.zeros(6), np.ones(6)
    before = calibration.confidence(np.arange(6), *same)
    after = Calibration(calibration.record, over(turned), model).confidence(np.concatenate([order, order + 3]), *same)
    assert (before == after).all()
    assert before[0] > before[1]  # relation 0 is the one with more true answers


@pytest.mark.parametrize(
    "change",
    [
        {"levels": []},
        {"levels": [float("nan")], "confidences": [0.5]},
        {"confidences": [2.0, 3.0], "levels": [0.0, 1.0]},
        {"levels": [1.0, 0.0], "confidences": [0.1, 0.2]},
        {"weights": [1.0]},
        {"scale": [1.0, 1.0, 0.0, 1.0]},
        {"format": "trivium calibration 9"},
        {"offset": "x"},
        {"relations": {"a": [1.0]}},
        None,
    ],
)
def test_a_file_that_is_no_calibration_is_refused(
    fitted: tuple[Calibration, Graph], model: Path, tmp_path: Path, change: dict[str, Any] | None
) -> None:
    calibration, graph = fitted
    path = tmp_path / "c.json"
    path.write_text(json.dumps(dataclasses.asdict(calibration.record) | change) if change else "\x00{")
    with pytest.raises(InputError, match=r"c\.json is not a calibration"):
        Calibration.load(path, over(graph), model)
    with pytest.raises(InputError, match="No such file"):
        Calibration.load(tmp_path / "other.json", over(graph), model)


def test_reliability_by_hand() -> None:
    sure, true = np.array([0.9, 0.1, 0.2, 0.8]), np.array([True, False, True, True])
    bins = reliability(sure, true, 2)
    assert bins == [Bin(sure[[1, 2]].mean(), 0.5, 2), Bin(sure[[3, 0]].mean(), 1.0, 2)]
    assert expected_error(bins) == pytest.approx((0.35 + 0.15) / 2)
    assert len(reliability(sure, true)) == 4
    curve = draw_curve(bins, "$x").axes[0].get_lines()[1]
    np.testing.assert_allclose(drawn(curve), [[part.confidence for part in bins], [0.5, 1.0]])


@pytest.fixture(scope="module")
def learned(model: Path) -> tuple[Ranker, Calibration]:
    ranker = Ranker(small_model(), random_graph(4, entities=40, relations=3, triples=500))
    return ranker, Calibration.fit(ranker, model, share=0.3)


def test_calibrating_is_deterministic_and_leaves_the_ranker_alone(
    learned: tuple[Ranker, Calibration], model: Path
) -> None:
    ranker, calibration = learned
    again = Calibration.fit(ranker, model, share=0.3)
    assert again.record == calibration.record
    assert calibration.record.graph == ranker.graph.sha256
    assert calibration.record.questions > 100
    with pytest.raises(GraphError, match="only 0 of"):
        Calibration.fit(ranker, model, share=0.0)


def test_tables_carry_confidences(learned: tuple[Ranker, Calibration]) -> None:
    ranker, calibration = learned
    table = ranker.rank("0", "1", k=40, include_known=True, confidence=calibration.confidence)
    assert table.columns == [
        "query",
        "head",
        "relation",
        "tail",
        "rank",
        "tied",
        "score",
        "confidence",
        "known",
        "reversed",
    ]
    assert (table["confidence"].is_null() == table["known"]).all()
    new = ranker.rank("0", "1", k=40, confidence=calibration.confidence)
    marked = dict(table.filter(~table["known"])["tail", "confidence"].rows())
    assert dict(new["tail", "confidence"].rows()) == marked  # how an answer stands does not hang on what is shown
    assert len(set(marked.values())) > 1
    last = new["tail"][-1]
    alone = ranker.rank("0", "1", candidates=[last], confidence=calibration.confidence)
    assert alone["confidence"][0] == marked[last]
    turned = ranker.rank(tail="0", relation="1", k=3, confidence=calibration.confidence)
    ids = np.array([int(name) for name in turned["head"]])
    scores = ranker.scores(np.array([0]), np.array([inverse(1, 3)]))[0].numpy()
    ranks, margins = ranks_and_margins(scores, filtered_entities(ranker.graph, 0, 4), ids)
    expected = calibration.confidence(np.full(3, 4), scores[ids], margins, ranks)
    np.testing.assert_allclose(turned["confidence"], expected)


def test_decisions_move_confidences_and_keep_their_order(learned: tuple[Ranker, Calibration], model: Path) -> None:
    ranker, before = learned
    after = Calibration(before.record, ranker, model)
    rng = np.random.default_rng(0)
    links = np.stack([rng.integers(0, count, 80) for count in (ranker.graph.num_entities, 1, 30)], 1)
    links = links[~ranker.graph.contains(links.astype(np.int32))]
    accepted = rng.random(len(links)) < 0.8  # far more than the calibration thinks
    few = slice(MIN_DECISIONS - 1)
    assert after.learn(ranker, links[few], accepted[few]) == 0
    assert after.learn(ranker, links, np.ones(len(links), np.bool_)) == 0
    assert after.record == before.record
    assert after.learn(ranker, links, accepted) == after.record.decided == len(links)
    said = [ranker.score_ids(links, held.confidence)["confidence"].to_numpy() for held in (before, after)]
    assert abs(said[1].mean() - accepted.mean()) < 0.05 < abs(said[0].mean() - accepted.mean())
    assert after.record.confidences == sorted(after.record.confidences)
    assert len(set(after.record.confidences)) == len(set(before.record.confidences))


def test_scored_triples_carry_confidences(learned: tuple[Ranker, Calibration]) -> None:
    ranker, calibration = learned
    asked = ranker.rank("0", "1", k=1, confidence=calibration.confidence)
    tail = int(asked["tail"][0])
    known = ranker.graph.triples[:1].astype(np.int64)
    scored = ranker.score_ids(np.concatenate([known, [[0, 1, tail]]]), calibration.confidence)
    assert scored["confidence"][1] == pytest.approx(asked["confidence"][0], abs=1e-6)
    rest = ranker.over(ranker.graph.without(known.astype(np.int32)))
    row = rest.rank(str(known[0, 0]), str(known[0, 1]), k=40, confidence=calibration.confidence)
    place = row["tail"].to_list().index(str(known[0, 2]))
    assert scored["confidence"][0] == pytest.approx(row["confidence"][place], abs=1e-6)
    assert "confidence" not in ranker.score_ids(known).columns
