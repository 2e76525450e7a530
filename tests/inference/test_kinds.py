"""Answers of the right kind, and triples known to be wrong: one rule through every verb."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.conftest import Run, graph_of, random_graph, small_model, write_triples

from trivium import Graph
from trivium.calibration import Calibration
from trivium.calibration.collect import ask
from trivium.errors import GraphError, InputError
from trivium.explanation.explain import explain_ids
from trivium.graph.formats import TRIPLE
from trivium.graph.read import read_triples
from trivium.inference.kinds import Range, Sets, choose_range, own_kinds
from trivium.inference.ranker import Ranker
from trivium.model.checkpoint import Provenance
from trivium.model.trivium import save_checkpoint

BIOLOGY = [
    ("g1", "category", "Gene"),
    ("g1", "category", "Thing"),
    ("g2", "category", "Gene"),
    ("g2", "category", "Thing"),
    ("d1", "category", "Disease"),
    ("d1", "category", "Thing"),
    ("d2", "category", "Disease"),
    ("d2", "category", "Thing"),
    ("d2", "category", "Rare"),
    ("g1", "causes", "d1"),
    ("g2", "near", "g1"),
    ("x", "near", "y"),
]


def names(graph: Graph, ids: object) -> set[str]:
    return set(graph.entities.take(np.asarray(ids)))


def test_what_was_seen_and_what_is_of_its_kind() -> None:
    graph = Graph.from_triples(BIOLOGY)
    causes, near = graph.relations.each(["causes", "near"], "relation").tolist()
    seen, kind = choose_range(graph, "seen"), choose_range(graph, "type")
    assert names(graph, seen.answers(causes)) == {"d1"}
    assert names(graph, seen.answers(causes + graph.num_relations)) == {"g1"}
    assert names(graph, kind.answers(causes)) == {"d1", "d2"}  # that all are things makes no gene a disease
    assert names(graph, kind.answers(causes + graph.num_relations)) == {"g1", "g2"}
    assert names(graph, kind.answers(near)) == {"g1", "g2", "x", "y", "Gene", "Disease", "Thing", "Rare"}  # x has none
    rest = graph.without(graph.triples[graph.triples[:, 1] == causes])
    assert seen.over(rest).answers(causes) is kind.over(rest).answers(causes) is None  # nothing narrows then


def test_a_rare_kind_opens_nothing() -> None:
    kinds = np.array([(i, i % 2) for i in range(300)])
    sets, usual = Sets(kinds, 300), np.arange(0, 298, 2)  # 149 of one kind
    assert not sets.alike(np.append(usual, 1)).tolist().count(3)  # and one of the other
    assert set(sets.alike(np.append(usual, [1, 3])).tolist()) == set(range(300))


def test_kinds_come_from_facts_or_files(tmp_path: Path) -> None:
    graph = Graph.from_triples([("a", "http://www.w3.org/1999/02/22-rdf-syntax-ns#type", "T"), ("a", "r", "b")])
    assert len(own_kinds(graph)) == 1
    bare = Graph.from_triples([("a", "r", "b"), ("c", "r", "a"), ("d", "s", "b")])
    with pytest.raises(InputError, match="no fact says what kind an entity is"):
        choose_range(bare, "type")
    table = tmp_path / "nodes.tsv"
    table.write_text("id\tcategory\na\tx|y\nb\tx\nd\tx|y\nnobody\tx\n")
    assert names(bare, choose_range(bare, str(table)).answers(0)) == {"a", "b", "d"}
    listed = tmp_path / "some.txt"
    listed.write_text("d\nb\n")
    assert names(bare, choose_range(bare, str(listed)).answers(1)) == {"b", "d"}
    listed.write_text("d\nq\n")
    with pytest.raises(GraphError, match="unknown entity 'q'"):
        choose_range(bare, str(listed))
    table.write_text("id\tcategory\nnobody\tx\n")
    with pytest.raises(InputError, match="none of its names"):
        choose_range(bare, str(table))


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("r.tsv", "causes\td2\ncauses\td1\nnear\tx\n", None),
        ("r.txt", "causes\td2\ncauses\td1\nnear\tx\n", None),
        ("r.csv", "relation,entity\ncauses,d2\ncauses,d1\nnear,x\n", None),
        ("r.csv", "object;predicate\nd2;causes\nd1;causes\nx;near\n", None),
        ("r.csv", "what,why\nd2,causes\nd1,causes\nx,near\n", "who,why,what"),
        ("r.tsv", "relation\ttail\ncauses\td2\ncauses\td1\nnear\tx\nnear\tnobody\nlikes\tx\n", None),
    ],
)
def test_a_file_says_of_each_relation_what_may_answer(
    tmp_path: Path, name: str, text: str, columns: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    graph = Graph.from_triples(BIOLOGY)
    (tmp_path / name).write_text(text)
    chosen = choose_range(graph, str(tmp_path / name), columns)
    kind, causes, near = graph.relations.each(["category", "causes", "near"], "relation").tolist()
    assert names(graph, chosen.answers(causes)) == {"d1", "d2"}
    assert names(graph, chosen.answers(near)) == {"x"}
    assert chosen.answers(kind) is chosen.answers(causes + graph.num_relations) is None
    assert chosen.over(graph.without(graph.triples[:1])).answers(near).tolist() == graph.entities.ids(["x"]).tolist()  # type: ignore[union-attr]
    assert ("the graph lacks a name of 2 of 5 lines" in caplog.text) == ("nobody" in text)
    answers = Ranker(small_model(), graph).narrowed(chosen).rank("g2", "causes", k=20)
    assert set(answers["tail"]) == {"d1", "d2"} and set(answers["rank"]) <= {1, 2}


def test_a_range_of_heads_and_what_a_file_of_ends_may_not_say(tmp_path: Path) -> None:
    graph, path = Graph.from_triples(BIOLOGY), tmp_path / "r.tsv"
    causes = graph.relations.id("causes", "relation")
    path.write_text("head\trelation\ttail\ng1\tcauses\td1\ng2\tcauses\td2\n")
    both = choose_range(graph, str(path))
    path.write_text("head\trelation\ng1\tcauses\ng2\tcauses\n")
    heads = choose_range(graph, str(path))
    assert heads.answers(causes) is None and names(graph, both.answers(causes)) == {"d1", "d2"}
    assert both.name != heads.name
    for chosen in (both, heads):
        assert names(graph, chosen.answers(causes + graph.num_relations)) == {"g1", "g2"}
    path.write_text("causes\td1\nnear\ncauses\td2\n")
    with pytest.raises(GraphError, match="line 2: 1 field between tabs"):
        choose_range(graph, str(path))
    assert names(graph, choose_range(graph, str(path), skip_bad=True).answers(causes)) == {"d1", "d2"}
    for text, words in (
        ("likes\td1\n", "names no relation of the graph"),
        ("causes\tq\n", "for the relation 'causes'"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            choose_range(graph, str(path))


def test_every_verb_gives_an_answer_the_same_rank() -> None:
    graph = random_graph(0, entities=40, relations=6, triples=120)
    plain = Ranker(small_model(), graph)
    fact = graph.triples[40]
    head, relation = fact[:2].tolist()
    rest = plain.over(graph.without(fact[None]))
    before = rest.rank(str(head), str(relation), k=40)
    wrong = [[head, relation, int(before["tail"][place])] for place in (0, 3)]
    seen = Range(rest.graph, "seen")
    allowed = seen.answers(relation)
    assert allowed is not None and 3 < len(allowed) < 30
    ranker = rest.excluding(np.array(wrong[:1])).excluding(np.array(wrong[1:])).narrowed(seen)
    table = ranker.rank(str(head), str(relation), k=40)
    kept = [int(tail) for tail in before["tail"] if int(tail) in allowed and [head, relation, int(tail)] not in wrong]
    assert table["tail"].cast(int).to_list() == kept
    ranked = dict(zip(kept, table["rank"].to_list(), strict=True))
    assert list(ranked.values()) == sorted(ranked.values()) and table["rank"][0] == 1
    scored = ranker.score([(str(head), str(relation), str(tail)) for tail in kept])
    assert scored["tail_rank"].to_list() == list(ranked.values())
    for tail in kept[:3]:
        assert explain_ids(ranker, head, relation, tail, 1).rank == ranked[tail]
    of_fact = ranker.score([(str(head), str(relation), str(fact[2]))])
    known = plain.excluding(np.array(wrong)).narrowed(Range(graph, "seen")).score_ids(fact[None].astype(np.int64))
    assert known.select("tail_rank", "head_rank").equals(of_fact.select("tail_rank", "head_rank"))
    some = np.array([kept[0], int(before["tail"][3])])
    assert ranker.rank_ids(fact[:1], fact[1:2], 5, candidates=some)["tail"].to_list() == [str(kept[0])]
    # what is wrong is hidden also where the graph holds it and known answers are shown
    held = plain.excluding(fact[None]).rank(str(head), str(relation), k=40, include_known=True)
    assert str(fact[2]) not in held["tail"].to_list()
    question = fact[:1].astype(np.int64), fact[1:2].astype(np.int64), fact[2:].astype(np.int64)
    better = [next(each.ranks(*question))[1].better[0] for each in (rest, ranker)]
    own = before["score"][before["tail"].to_list().index(str(fact[2]))]
    assert better[0] - better[1] == sum(before["score"][place] > own for place in (0, 3)) > 0


def test_confidences_know_of_the_range(tmp_path: Path) -> None:
    graph = random_graph(4, entities=60, relations=30, triples=500)
    model = tmp_path / "m.safetensors"
    model.write_bytes(b"weights")  # a calibration reads its hash alone
    plain = Ranker(small_model(), graph)
    seen = plain.narrowed(Range(graph, "seen"))
    whole, narrow = (Calibration.fit(ranker, model, share=0.3) for ranker in (plain, seen))
    assert (whole.record.range, narrow.record.range) == ("", "seen")
    assert whole.record.weights != narrow.record.weights
    answers = ask(seen, graph_of(graph.triples[:5], 60, 30))
    assert (answers.ranks >= 1).all()
    narrow.save(tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json", seen, model).record == narrow.record
    with pytest.raises(InputError, match="answers of the range seen"):
        Calibration.load(tmp_path / "c.json", plain, model)
    # made with all kinds it says of an answer the same whichever are shown: fewer rivals make nothing surer
    shown = seen.rank("0", "1", k=60, confidence=whole.confidence)
    every = dict(plain.rank("0", "1", k=60, confidence=whole.confidence)["tail", "confidence"].rows())
    assert 0 < len(shown) < len(every)
    assert all(every[tail] == sure for tail, sure in shown["tail", "confidence"].rows())
    scored = seen.score_ids(np.array([[0, 1, int(shown["tail"][0])]]), whole.confidence)
    assert scored["confidence"][0] == pytest.approx(shown["confidence"][0], abs=1e-6)


def test_a_calibration_is_made_with_the_range_and_without_what_is_wrong(tmp_path: Path, command: Run) -> None:
    graph = random_graph(4, entities=40, relations=3, triples=400)
    write_triples(tmp_path / "g.tsv", graph.triples)
    save_checkpoint(small_model(), Provenance(), tmp_path / "m.safetensors")
    every = np.indices((40, 3, 40)).reshape(3, -1).T.astype(np.int32)
    new = every[~graph.contains(every)]
    wrong = new[np.random.default_rng(0).random(len(new)) < 0.9]
    write_triples(tmp_path / "wrong.tsv", wrong)
    (tmp_path / "ends.tsv").write_text("".join(f"r0\te{entity}\n" for entity in range(0, 40, 2)))
    how = ["--exclude", tmp_path / "wrong.tsv", "--checkpoint", tmp_path / "m.safetensors"]
    narrow = [*how, "--range", tmp_path / "ends.tsv"]
    sure = {}
    for name, words in (("all", how[2:]), ("right", how), ("narrow", narrow)):
        made = tmp_path / f"{name}.json"
        status, _, err = command("calibrate", tmp_path / "g.tsv", "-o", made, "--share", "0.3", *words)
        assert status == 0, err
        links = tmp_path / f"{name}.jsonl"
        asked = ["complete", tmp_path / "g.tsv", "-o", links, "--calibration", made, "--relation", "r0", "-k", 40]
        status, _, err = command(*asked, *words)
        assert status == 0, err
        sure[name] = pl.read_ndjson(links)
    assert json.loads((tmp_path / "narrow.json").read_text())["range"].startswith("ends.tsv ")
    # nine in ten of the new ones are gone: of those that are left more were hidden ones while it was made
    assert sure["right"]["confidence"].mean() > 3 * sure["all"]["confidence"].mean()  # type: ignore[operator]
    gone = set(read_triples(tmp_path / "wrong.tsv", lines=False).rows())
    assert gone & set(sure["all"].select(TRIPLE).rows()) and not gone & set(sure["right"].select(TRIPLE).rows())
    assert set(sure["narrow"]["tail"]) == {f"e{entity}" for entity in range(0, 40, 2)} & set(sure["right"]["tail"])
    (tmp_path / "ends.tsv").write_text("r0\te1\n")
    for words in (how, narrow):
        asked = [
            "rank",
            tmp_path / "g.tsv",
            "--head",
            "e0",
            "--relation",
            "r0",
            "--calibration",
            tmp_path / "narrow.json",
        ]
        status, _, err = command(*asked, *words)
        assert (status, err.count("\n"), "made for answers of the range ends.tsv" in err) == (2, 1, True)


def test_what_scores_high_without_a_head_is_discounted(tmp_path: Path) -> None:
    graph = random_graph(1, entities=20, relations=3, triples=60)
    apart = graph_of(graph.triples, 21, 3)  # the last entity has no fact: what it reaches, it reaches without a head
    plain = Ranker(small_model(), apart)
    other = plain.debiased()
    heads, relations = np.array([0, 3, 3]), np.array([1, 1, 5])
    alone = plain.scores(np.full(3, 20), relations)[:, :20].numpy()
    expected = plain.scores(heads, relations)[:, :20].numpy() - 0.5 * alone
    np.testing.assert_allclose(other.scores(heads, relations)[:, :20].numpy(), expected, atol=1e-5)
    fact = apart.triples[:1].astype(np.int64)
    rank = other.over(apart.less(fact.astype(np.int32))).score_ids(fact)["tail_rank"][0]
    assert other.score_ids(fact)["tail_rank"][0] == rank  # a known fact's fresh pass is discounted too
    assert plain.sha256 != other.sha256
    model = tmp_path / "m.safetensors"
    model.write_bytes(b"weights")
    dense = Ranker(small_model(), random_graph(4, entities=40, relations=3, triples=500))
    made = Calibration.fit(dense.debiased(), model, share=0.3)
    with pytest.raises(InputError, match="range all, discounted by"):
        Calibration(made.record, dense, model)
