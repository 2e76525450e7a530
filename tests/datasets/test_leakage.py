from pathlib import Path

import numpy as np
import pytest

from tests.conftest import graph_of
from trivium.datasets.leakage import contained, graphs_in, leakage, overlap, training_graph, without_questions
from trivium.datasets.registry import load_dataset
from trivium.datasets.table import datasets
from trivium.errors import InputError
from trivium.graph.graph import Graph
from trivium.graph.names import Names
from trivium.graph.read import read_graph
from trivium.model.checkpoint import Provenance
from trivium.training.pretrain import data_seen

PRETRAINED_ON = ("FB15k237", "WN18RR", "CoDExMedium")


def own(folder: Path) -> Path:
    """A data set whose test triples are half in its neighbour's training triples."""
    for name, splits in {
        "A": {"train": "a\tr\tb\nb\ts\tc\nx\tr\ty\n", "test": "a\ts\tb\n"},
        "B": {"train": "b\tr\ta\nb\ts\tc\nnew\tr\ta\na\tnew\tb\n", "test": "a\tr\tb\nc\ts\tb\n"},
    }.items():
        (folder / name).mkdir()
        for split, text in splits.items():
            (folder / name / f"{split}.txt").write_text(text)
    return folder


def test_shares_are_of_the_same_triple_by_name(tmp_path: Path) -> None:
    folder = own(tmp_path)
    assert overlap("A", "B", folder) == {"graph": 1 / 4, "test": 1 / 2}
    assert overlap("A", "A", folder) == {"graph": 1.0, "test": 0.0}
    assert overlap(str(folder / "A" / "train.txt"), str(folder / "B" / "train.txt")) == {"graph": 1 / 4}
    with pytest.raises(InputError, match="unknown data set 'C'"):
        overlap("C", "B", folder)


def test_leakage_is_known_only_if_all_training_data_is_at_hand(tmp_path: Path) -> None:
    folder = own(tmp_path)
    splits, sha = load_dataset("B", folder), read_graph(folder / "A" / "train.txt").sha256
    assert leakage({"A": sha}, splits, folder) == 1 / 2
    assert leakage({"A": sha, "synthetic": ""}, splits, folder) == 1 / 2
    assert leakage({"synthetic": ""}, splits, folder) == 0
    assert leakage({}, splits, folder) is None
    assert leakage({"A": "another"}, splits, folder) is None
    assert leakage({"A": sha, "C": sha}, splits, folder) is None
    assert leakage({str(folder / "A" / "train.txt"): sha}, splits, folder) == 1 / 2


def test_a_twin_without_the_questions_has_no_leakage_and_proves_it(tmp_path: Path) -> None:
    folder = own(tmp_path)
    full = read_graph(folder / "A" / "train.txt")
    reduced = without_questions(full, ["B"], folder)
    named = full.entities.take(reduced.triples[:, 0]).to_list()
    assert sorted(named) == ["b", "x"]  # (a, r, b) is a question of B
    splits = load_dataset("B", folder)
    without = {"A": {"exclude": ["B"]}}
    assert leakage({"A": reduced.sha256}, splits, folder, without) == 0
    assert leakage({"A": full.sha256}, splits, folder) == 1 / 2
    assert leakage({"A": full.sha256}, splits, folder, without) is None  # the hash tells that nothing was left out


def test_a_data_set_that_is_left_out_whole_leaves_nothing_of_its_graph_behind(tmp_path: Path) -> None:
    folder = own(tmp_path)
    full, splits = read_graph(folder / "A" / "train.txt"), load_dataset("B", folder)
    assert contained(splits.graph.triples, splits.graph, [without_questions(full, ["B"], folder)]).any()
    reduced = without_questions(full, [], folder, whole=["B"])
    for triples in (splits.graph.triples, splits.known):
        assert not contained(triples, splits.graph, [reduced]).any()
    assert 0 < reduced.num_triples < without_questions(full, ["B"], folder).num_triples
    assert leakage({"A": reduced.sha256}, splits, folder, {"A": {"exclude_graphs": ["B"]}}) == 0
    assert leakage({"A": reduced.sha256}, splits, folder, {"A": {"exclude": ["B"]}}) is None
    with pytest.raises(InputError, match="leave nothing of"):
        training_graph(str(folder / "B" / "train.txt"), folder, {"exclude_graphs": ["B"]})


def test_of_two_runs_the_larger_graph_is_what_was_seen(tmp_path: Path) -> None:
    folder = own(tmp_path)
    name = str(folder / "A" / "train.txt")
    nothing: dict[str, list[str]] = {"exclude": [], "exclude_graphs": []}
    questions = {**nothing, "exclude": ["B"]}
    full, reduced = (training_graph(name, folder, less).sha256 for less in (nothing, questions))

    def seen(first: str, before: dict[str, list[str]], then: str, now: dict[str, list[str]]) -> Provenance:
        start = Provenance(training_data={name: first, "synthetic": ""}, settings=before)  # as earlier versions wrote
        return data_seen(start, Provenance(training_data={name: then}, excluded={name: now}), folder)

    for first, before, then, now, expected, less in (
        (full, nothing, reduced, questions, full, nothing),
        (reduced, questions, reduced, questions, reduced, questions),
        (reduced, questions, full, nothing, full, nothing),
        ("of some other graph", questions, full, nothing, "unknown", nothing),
    ):
        found = seen(first, before, then, now)
        assert found.training_data == {name: expected, "synthetic": ""}
        assert found.excluded_from(name) == less
    assert leakage(found.training_data, load_dataset("B", folder), folder, found.excluded) is None


def test_a_folder_of_graphs_is_as_many_training_graphs(tmp_path: Path) -> None:
    folder = own(tmp_path)
    (folder / "texts").mkdir()
    assert graphs_in(str(folder)) == [f"{folder}/A", f"{folder}/B"]
    assert graphs_in(f"{folder}/A") == [f"{folder}/A"]
    assert graphs_in("Nations") == ["Nations"]
    whole = training_graph(f"{folder}/A")
    assert whole.sha256 == read_graph(folder / "A" / "train.txt").sha256
    assert training_graph(f"{folder}/A", folder, {"exclude": ["B"]}).num_triples == whole.num_triples - 1


def test_contained_is_membership_of_names_in_any_graph() -> None:
    rng = np.random.default_rng(0)
    graphs = []
    for names in ("abcdef", "fedcgh", "ab"):
        ids = rng.integers(0, [len(names), 2, len(names)], (12, 3))
        graphs.append(graph_of(ids, Names(list(names)), Names(["r", names[0]])))

    def named(graph: Graph) -> list[tuple[str, str, str]]:
        e, r = graph.entities.names.to_list(), graph.relations.names.to_list()
        return [(e[h], r[k], e[t]) for h, k, t in graph.triples.tolist()]

    held = {*named(graphs[1]), *named(graphs[2])}
    found = contained(graphs[0].triples, graphs[0], graphs[1:])
    assert found.tolist() == [triple in held for triple in named(graphs[0])]
    assert 0 < found.sum() < len(found)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("FB15k237Inductive:v1", 1.00),
        ("WN18RRInductive:v1", 1.00),
        ("CoDExSmall", 0.90),
        ("ILPC2022:small", 0.90),
        ("FBNELL", 0.40),
        ("WDsinger", 0.06),
        ("NELLInductive:v1", 0.00),
        ("Metafam", 0.00),
        ("FB15k237_10", 0.00),
    ],
)
def test_shares_of_test_triples_in_the_usual_pretraining_graphs(data: Path, name: str, share: float) -> None:
    """Shares measured apart from this code, to two decimals."""
    training = {graph: datasets()[graph].sha256["train"] for graph in PRETRAINED_ON}
    assert leakage(training, load_dataset(name, data), data) == pytest.approx(share, abs=0.006)


@pytest.mark.data
def test_the_overlap_of_a_benchmark_with_the_graph_that_it_was_cut_from(data: Path) -> None:
    assert overlap("FB15k237", "FB15k237Inductive:v1", data)["test"] == 1
