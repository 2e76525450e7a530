"""The engine computes what the model says, whatever the batching; ranks and ties by hand."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.conftest import IMPORTED, PLAIN, graph_of, random_graph, renamed, small_model

from trivium.errors import CheckpointError, ConfigError, GraphError, InputError
from trivium.explanation import explain
from trivium.graph.graph import Graph
from trivium.graph.names import Names
from trivium.inference.answers import Ids, Reached
from trivium.inference.engine import Engine
from trivium.inference.ranker import Ranker
from trivium.kernels.layer import count_rivals
from trivium.kernels.threads import set_threads
from trivium.model.trivium import Trivium

CONFIGS = {"alternating": PLAIN, "relation graph": IMPORTED, "one layer": replace(PLAIN, layers=1)}
SPARSE = {"entities": 400, "relations": 3, "triples": 500}  # heads reach a part of the graph only
DENSE = {"entities": 60, "relations": 5, "triples": 900}


@pytest.fixture(params=CONFIGS, ids=list(CONFIGS))
def model(request: pytest.FixtureRequest) -> Trivium:
    return small_model(CONFIGS[request.param])


@pytest.mark.parametrize("shape", [SPARSE, DENSE], ids=["sparse", "dense"])
def test_the_engine_equals_the_model(model: Trivium, shape: dict[str, int]) -> None:
    graph = random_graph(1, **shape)
    rng = np.random.default_rng(0)
    heads, relations = rng.integers(0, shape["entities"], 40), rng.integers(0, 2 * shape["relations"], 40)
    ranker = Ranker(model, graph)
    with torch.no_grad():
        slow = model(ranker.topology, torch.from_numpy(heads), torch.from_numpy(relations))
    # float32 through six layers of norms; the scores are of size ~1
    torch.testing.assert_close(ranker.scores(heads, relations), slow, rtol=1e-5, atol=1e-5)


def test_a_part_that_no_model_has_is_refused(model: Trivium) -> None:
    with pytest.raises(ConfigError, match="no part 'promt' to disable: choose from chains, prompt, similarity, text"):
        Ranker(model, random_graph(1, **DENSE), disabled=["promt"])


def test_scores_that_are_not_finite_are_an_error(model: Trivium) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1e30)
    with pytest.raises(CheckpointError, match="scores that are not finite"):
        Ranker(model, random_graph(1, **SPARSE)).rank("0", "0")


@pytest.mark.parametrize("shape", [SPARSE, DENSE], ids=["sparse", "dense"])
def test_ranks_do_not_depend_on_company(model: Trivium, shape: dict[str, int]) -> None:
    """200 queries alone, in batches of 7 and 64, shuffled, without the shortcut, on renamed entities, on one thread."""
    graph = random_graph(2, **shape)
    rng = np.random.default_rng(1)
    heads, answers = rng.integers(0, shape["entities"], (2, 200))
    relations = rng.integers(0, 2 * shape["relations"], 200)

    def ranks(ranker: Ranker, order: Ids, size: int | None, name: Ids) -> tuple[NDArray[np.float64], ...]:
        out, values = np.zeros((3, 200)), np.zeros(200)
        found = ranker.ranks(name[heads[order]], relations[order], name[answers[order]], batch_size=size)
        for places, judged, scores in found:
            out[:, order[places]] = judged.optimistic, judged.realistic, judged.pessimistic
            values[order[places]] = scores
        return out, values

    same = np.arange(shape["entities"])
    expected, values = ranks(Ranker(model, graph), np.arange(200), None, same)
    renaming = rng.permutation(shape["entities"])
    other = renamed(graph, renaming, np.arange(shape["relations"]))
    shuffled = rng.permutation(200)
    trials = {
        "alone": (Ranker(model, graph), np.arange(200), 1, same),
        "by 7": (Ranker(model, graph), np.arange(200), 7, same),
        "by 64": (Ranker(model, graph), np.arange(200), 64, same),
        "shuffled": (Ranker(model, graph), shuffled, 7, same),
        "without base": (Ranker(model, graph, base_trajectory=False), np.arange(200), None, same),
        "renamed": (Ranker(model, other), np.arange(200), None, renaming),
        "no cache": (Ranker(model, graph, cache_bytes=0), shuffled, 64, same),
    }
    for name, trial in trials.items():
        found, scores = ranks(*trial)
        np.testing.assert_array_equal(found, expected, err_msg=name)
        np.testing.assert_allclose(scores, values, rtol=0, atol=1e-5, err_msg=name)
    threads = torch.get_num_threads()
    set_threads(1)
    found, _ = ranks(Ranker(model, graph), np.arange(200), None, same)
    set_threads(threads)
    np.testing.assert_array_equal(found, expected, err_msg="one thread")


def test_ties_by_hand() -> None:
    """Scores 3, 2, 2, 2, 1; the answer is one of the twos, another two is known: one better, one tied."""
    scores = np.array([[3.0, 2.0, 2.0 + 2e-6, 2.0, 1.0]], np.float32)
    better, tied = np.zeros(1, np.int64), np.zeros(1, np.int64)
    starts, known = np.array([0, 2]), np.array([1, 3], np.int32)  # the answer itself and a rival
    count_rivals(scores, np.array([0]), np.array([1]), starts, known, np.float32(1e-5), better, tied)
    assert (better[0], tied[0]) == (1, 1)


def named() -> Graph:
    triples = [("Nepal", "borders", "India"), ("India", "borders", "Nepal"), ("India", "borders", "China")]
    entities, relations = Names(["China", "India", "Nepal"]), Names(["borders"])
    return graph_of([[entities.id(h, ""), 0, entities.id(t, "")] for h, _, t in triples], entities, relations)


def test_tables_speak_in_names() -> None:
    ranker = Ranker(small_model(PLAIN), named())
    table = ranker.rank("Nepal", "borders", k=5)
    assert set(table["tail"]) == {"China"}  # India is known, and nothing here borders itself
    assert set(ranker.rank("Nepal", "borders", k=5, include_known=True).filter("known")["tail"]) == {"India"}
    turned = ranker.rank(tail="China", relation="borders", k=5)
    assert set(turned["head"]) == {"Nepal"}
    assert set(turned["tail"]) == {"China"}
    assert ranker.rank("Nepal", "borders", candidates=["China"])["tail"].to_list() == ["China"]
    with pytest.raises(GraphError, match="did you mean 'Nepal'"):
        ranker.rank("Nepl", "borders")
    with pytest.raises(InputError, match="k is 0"):
        ranker.rank("Nepal", "borders", k=0)
    with pytest.raises(InputError, match="'abc' is no triple"):
        ranker.score(["abc"])  # type: ignore[list-item]
    with pytest.raises(GraphError, match="unknown entity '77'"):
        ranker.rank(77, "borders")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="columns says how a file is read, and a graph is given"):
        Ranker.open(ranker.graph, columns="1,2,3")
    with pytest.raises(InputError, match="asked is 'both': give 'tail' or 'head'"):
        explain(ranker, "Nepal", "borders", "China", asked="both")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a head or a tail"):
        ranker.rank("Nepal", "borders", "China")


def test_a_known_triple_is_judged_without_itself() -> None:
    model = small_model(PLAIN)
    graph = random_graph(3, entities=20, triples=40)
    names = [tuple(str(i) for i in triple) for triple in graph.triples[:1].tolist()]
    unknown = next((str(h), "0", str(t)) for h in range(20) for t in range(20) if t not in graph.answers(h, 0))
    scored = Ranker(model, graph).score([names[0], unknown])  # type: ignore[list-item]
    assert scored["known"].to_list() == [True, False]
    rest = Ranker(model, graph.without(graph.triples[:1])).score([names[0]])  # type: ignore[list-item]
    assert scored["score"][0] == rest["score"][0]
    assert scored["tail_rank"][0] == rest["tail_rank"][0]


def test_the_cache_stays_within_its_budget() -> None:
    entry = 2 * DENSE["relations"] * 64 * 4
    ranker = Ranker(Trivium(PLAIN), random_graph(1, **DENSE), cache_bytes=3 * entry)
    ranker.scores(np.zeros(10, np.int64), np.arange(10))
    assert list(ranker.representations.cache) == [7, 8, 9]  # the least recently used went


@pytest.mark.parametrize("debias", [False, True])
def test_what_a_head_does_not_reach_costs_nothing(debias: bool) -> None:
    """The same bits as of all entities, whatever is held of the base; only what is reached is looked at."""
    count = 800
    ends = np.arange(count - 1, dtype=np.int32)
    graph = Graph.from_ids(ends, ends % 3, ends + 1, entities=count, relation_names=3)
    ranker = Ranker(small_model(replace(PLAIN, use_chains=True)), graph)
    engine = (ranker.debiased() if debias else ranker).engine
    assert isinstance(engine, Engine)
    ((_, rows),) = ranker.representations.each([1])
    wanted = engine.scores(engine.prepare(rows, 1), np.array([300]))[0].numpy()
    for room in (engine.base_bytes, 0):  # the base states of all entities are held, or what the head reaches is cut out
        engine.base_bytes = room
        base = engine.prepare(rows, 1)
        for remaining in (0, 10, 0):
            shared = remaining or base.scores is not None
            answered = engine.answered(base, 300, remaining)
            if shared:
                assert isinstance(answered, Reached)
                assert answered.ids.tolist() == list(range(294, 307))
                answered = answered.every()
            np.testing.assert_array_equal(answered, wanted)
        (places,) = engine.places.free
        assert (places == -1).all()


@pytest.mark.parametrize("held", [False, True])
def test_a_question_that_reaches_all_holds_two_states_of_it(held: bool) -> None:
    """Beside what is held of the base for the next questions."""
    count = 20_000
    ranker = Ranker(small_model(PLAIN), random_graph(1, entities=count, relations=3, triples=8 * count))
    engine = ranker.engine
    assert isinstance(engine, Engine)
    if not held:
        engine.base_bytes = 0
    ((_, rows),) = ranker.representations.each([1])
    base = engine.prepare(rows, 1)
    tracemalloc.start()
    engine.answered(base, 0, 10)  # makes what questions share
    tracemalloc.reset_peak()
    engine.answered(base, 0, 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 1.9 < (peak - base.nbytes) / (count * PLAIN.dim * 4) < 2.3


def with_twins(entities: int, triples: int) -> tuple[Graph, Ids]:
    """A graph in which some entities have nine copies, with the same edges each, and some have no edges.

    Returns:
        Heads of every kind with it: two copies, their original, one of which no copy was made, two without edges.
    """
    few = random_graph(4, entities=entities, relations=3, triples=triples).triples
    copied = few[(few[:, 2] % 3 == 0) & (few[:, 0] % 3 > 0)]
    every = np.concatenate([few, *(copied + np.array([0, 0, entities * copy]) for copy in range(1, 10))])
    nowhere = np.setdiff1d(np.arange(10 * entities), every[:, [0, 2]])
    head, _, original = copied[0]
    heads = [original + entities, original + 2 * entities, original, head, *nowhere[:2]]
    return graph_of(every, entities=10 * entities, relations=3), np.array(heads, np.int64)


@pytest.mark.parametrize("shape", [(400, 200), (40, 300)], ids=["sparse", "dense"])
def test_entities_with_the_same_edges_are_computed_once(
    model: Trivium, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bits as of each for itself, whether the head is one of them, however it is asked."""
    graph, heads = with_twins(*shape)
    once = Ranker(model, graph)
    monkeypatch.setattr("trivium.kernels.csr.MERGED_ROWS", 0)
    each = Ranker(model, graph)
    ((_, rows),) = each.representations.each([1])
    for base_trajectory in (True, False):
        engine, plain = (Engine(model.entity, ranker.topology, base_trajectory) for ranker in (once, each))
        assert len(plain.distinct.edges[0]) - 1 == graph.num_entities
        wanted = plain.scores(plain.prepare(rows, 1), heads)
        monkeypatch.undo()
        assert len(engine.distinct.edges[0]) - 1 < 0.6 * graph.num_entities
        np.testing.assert_array_equal(engine.scores(engine.prepare(rows, 1), heads), wanted)
        for room in (engine.base_bytes, 3 * 4 * 64 * graph.num_entities, 0):  # all base states are held, some, none
            engine.base_bytes = room
            base = engine.prepare(rows, 1)
            for head, row in zip(heads.tolist(), wanted.numpy(), strict=True):
                for remaining in (10, 0):
                    answered = engine.answered(base, head, remaining)
                    if isinstance(answered, Reached):
                        assert (np.diff(answered.ids) > 0).all()
                        answered = answered.every()
                    np.testing.assert_array_equal(answered, row)
        monkeypatch.setattr("trivium.kernels.csr.MERGED_ROWS", 0)


def test_a_limited_reach_spreads_over_the_nearest_alone() -> None:
    graph = random_graph(3, **SPARSE)
    ranker, heads, relations = Ranker(small_model(PLAIN), graph), np.array([0, 7, 9]), np.array([1, 4, 4])
    exact = ranker.scores(heads, relations)
    # as near as can be is all that is reached: the same sums in the same order
    torch.testing.assert_close(ranker.within(400).scores(heads, relations), exact, rtol=0, atol=0)
    near = ranker.within(9)
    assert isinstance(near.engine, Engine)
    ((_, rows),) = near.representations.each([1])
    headless = near.engine.answered(near.engine.prepare(rows, 1), 0).beyond.scores  # type: ignore[union-attr]
    for head in heads.tolist():
        nearest = near.engine.nearest(head)
        assert nearest[0] == head
        assert len(nearest) == min(9, (graph.distances(head, 400) <= 400).sum())
        ((*_, answered),) = near.each(np.array([head]), np.array([1]))
        everybody = np.arange(400)
        assert set(everybody[answered[everybody] != headless]) <= set(nearest.tolist())
    share, count = near.kept_within(50)
    assert count >= 100
    assert share < ranker.within(200).kept_within(50)[0] <= ranker.within(400).kept_within(50)[0] <= 1
    assert near.sha256 != ranker.sha256
    assert near.within(0).sha256 == ranker.sha256
    with pytest.raises(InputError, match="reach is -1: give at least 1 entity"):
        ranker.within(-1)
