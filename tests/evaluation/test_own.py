"""A split of one's own: what its questions are worth is said, and files are as good as a folder."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Run, graph_of, small_model
from trivium.datasets.registry import graph_source, load_dataset
from trivium.datasets.splits import Splits
from trivium.evaluation.evaluate import STANDING, Questions, evaluate
from trivium.model.checkpoint import Provenance
from trivium.model.trivium import save_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "small.safetensors"
    save_checkpoint(small_model(), Provenance(), path)
    return path


def test_where_questions_stand_is_counted() -> None:
    pairs = [[h, r, t] for h in range(6) for t in range(6, 9) for r, h, t in ((0, h, t), (1, t, h))]
    graph = graph_of([fact for fact in pairs if fact != [0, 0, 6]], 10, 3)
    asked = np.array([[0, 0, 6], [1, 0, 6], [0, 0, 9], [0, 2, 1], [0, 0, 1]], np.int32)
    found = [STANDING[place] for place in Questions(graph, asked, graph).standing()]
    assert found == ["twin in the graph", "in the graph", "unseen name", "unseen name", "other"]
    splits = Splits("own", "own", graph, asked, asked, graph, asked[:0], graph, asked[:0])
    result = evaluate(small_model(), splits, texts=None, groups=True)
    assert (result.in_graph, result.twins, result.unseen) == (0.2, 0.2, 0.4)
    assert {name: m.queries for name, m in result.groups["standing"].items()} == {
        "in the graph": 2,
        "other": 2,
        "twin in the graph": 2,
        "unseen name": 4,
    }


def test_files_are_measured_like_a_folder_and_their_questions_are_judged(
    tmp_path: Path, checkpoint: Path, command: Run
) -> None:
    borders = [(f"c{i}", "borders", f"c{i + 1}") for i in range(12)]
    train = [*borders, *((t, r, h) for h, r, t in borders[:10])]
    test = [borders[11][::-1], borders[0], ("c3", "borders", "nowhere")]
    folder = tmp_path / "data" / "Mine"
    folder.mkdir(parents=True)
    for name, facts in (("train", train), ("test", test)):
        (folder / f"{name}.tsv").write_text("".join("\t".join(fact) + "\n" for fact in facts))
        lines = [",".join(["why", "who", "whom"]), *(f"{r},{h},{t}" for h, r, t in facts)]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    files = ["--train", tmp_path / "train.csv", "--test", tmp_path / "test.csv", "--columns", "who,why,whom"]
    shared = ["--checkpoint", checkpoint, "--json"]
    status, out, err = command("evaluate", *files, *shared, tmp_path / "files.json")
    assert status == 0
    assert re.search(r"in graph +twins +unseen *\n.*( +0\.333){3}", out)
    assert "1 of 3 asked facts are in the graph" in err
    assert "1 of 3 asked facts have a copy in the graph" in err
    assert "1 of 3 asked facts name what has no fact" in err
    assert command("evaluate", "Mine", "--data-dir", tmp_path / "data", *shared, tmp_path / "folder.json")[0] == 0
    one, other = (json.loads((tmp_path / f"{name}.json").read_text())[0] for name in ("files", "folder"))
    assert [one[share] for share in ("in_graph", "twins", "unseen")] == pytest.approx([1 / 3] * 3)
    for figures in (one, other):
        del figures["dataset"], figures["seconds"]
    assert one == other
    more = ["--valid", folder / "test.tsv", *shared, tmp_path / "more.json"]
    assert command("evaluate", *files, *more)[0] == 0
    for words in (files[:2], [*files, "Mine"], [*files, "-o", tmp_path / "o"], ["--valid", tmp_path / "test.csv"], []):
        status, _, err = command("evaluate", *words)
        assert (status, "--train FILE and --test FILE" in err) == (2, True)


def test_a_graph_is_split_into_a_data_set_or_not_at_all(tmp_path: Path, checkpoint: Path, command: Run) -> None:
    rng = np.random.default_rng(0)
    facts = [(f"e{h}", f"P{r}", f"e{t}") for h, r, t in rng.integers(0, (30, 3, 30), (300, 3))]
    (tmp_path / "g.csv").write_text("head,relation,tail\n" + "".join(",".join(fact) + "\n" for fact in facts))
    (tmp_path / "relations.tsv").write_text("P0\tborders\nP1\tis part of\tof a whole\n")
    status, out, err = command("split", tmp_path / "g.csv", "--test", "0.1", "-o", tmp_path / "mine")
    assert status == 0
    assert f"trivium evaluate {tmp_path}/mine" in err
    splits = load_dataset("mine", tmp_path)
    assert splits.graph.num_triples + len(splits.test) + len(splits.valid) == len(set(facts))
    assert [line.split()[:2] for line in out.splitlines()[2:]] == [
        ["train", str(splits.graph.num_triples)],
        ["test", str(len(splits.test))],
        ["valid", str(len(splits.valid))],
    ]
    assert (tmp_path / "mine" / "relations.tsv").read_text().splitlines()[1:] == [
        "P0\tborders\t\t",
        "P1\tis part of\tof a whole\t",
    ]
    asked = ("evaluate", "mine", "--data-dir", tmp_path, "--checkpoint", checkpoint, "--json", tmp_path / "m.json")
    status, _, err = command(*asked)
    assert (status, "questions" in err) == (0, False)
    (tmp_path / "few.csv").write_text("head,relation,tail\na,r,b\nb,r,c\n")
    status, _, err = command("split", tmp_path / "few.csv", "-o", tmp_path / "few")
    assert (status, "no fact of" in err, (tmp_path / "few").exists()) == (2, True, False)
    rows = (json.dumps({"head": f"{h}\t", "relation": r, "tail": t}) for h, r, t in facts)
    (tmp_path / "tab.jsonl").write_text("\n".join(rows))
    status, _, err = command("split", tmp_path / "tab.jsonl", "-o", tmp_path / "tab")
    assert (status, "tab" in err) == (2, True)
    status, _, err = command("split", tmp_path / "g.csv", "-o", tmp_path / "mine")
    assert (status, "exists already" in err) == (2, True)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["mine"]


def test_what_labels_a_relation_of_a_graph_is_said_of_its_parts(tmp_path: Path, command: Run) -> None:
    facts = [f"<x:e{number % 7}> <x:RO_{number % 2}> <x:e{number % 5}> ." for number in range(40)]
    label = '<x:RO_1> <http://www.w3.org/2000/01/rdf-schema#label> "lies in" .'
    (tmp_path / "g.nt").write_text("\n".join([*facts, label]))
    assert command("split", tmp_path / "g.nt", "--test", "0.2", "-o", tmp_path / "mine")[0] == 0
    assert (tmp_path / "mine" / "relations.tsv").read_text().splitlines()[1:] == ["x:RO_1\tlies in\t\t"]


def test_a_folder_is_a_data_set_where_its_path_is_given(
    tmp_path: Path, checkpoint: Path, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By path or by name, with columns of its own; what it lacks is said; kept figures are those of its files."""
    rng = np.random.default_rng(1)
    rows = [f"r{r},e{h},{n},e{t}" for n, (h, r, t) in enumerate(rng.integers(0, (20, 2, 20), (140, 3)).tolist())]
    folder = tmp_path / "sets" / "mine"
    folder.mkdir(parents=True)
    (folder / "train.csv").write_text("\n".join(["why,who,n,whom", *rows[:100]]))
    monkeypatch.chdir(tmp_path / "sets")
    shared = ["--columns", "who,why,whom", "--checkpoint", checkpoint]
    status, _, err = command("evaluate", "./mine", *shared)
    assert (status, err.count("\n"), "mine has no test.txt (or .tsv, .csv, .nt, …)" in err) == (2, 1, True)
    (folder / "test.csv").write_text("\n".join(["why,who,n,whom", *rows[100:120]]))
    (folder / "valid.csv").write_text("\n".join(["why,who,n,whom", *rows[120:]]))
    figures = []
    for words in (("mine",), ("./mine",), (folder,), ("mine", "--data-dir", tmp_path / "sets")):
        status, _, err = command("evaluate", *words, *shared, "--json", tmp_path / "m.json", "--force")
        assert status == 0, err
        figures.append(json.loads((tmp_path / "m.json").read_text())[0]["pessimistic"])
    assert figures == [figures[0]] * 4

    def kept(*how: object) -> float:
        how = ("--columns", *(how or ["who,why,whom"]), "--checkpoint", checkpoint)
        status, _, err = command(
            "evaluate", folder, *how, "-o", tmp_path / "kept", "--json", tmp_path / "k.json", "--force"
        )
        assert status == 0, err
        return float(json.loads((tmp_path / "k.json").read_text())[0]["seconds"])

    seconds = kept()
    assert kept() == seconds
    assert kept("whom,why,who") != seconds  # another graph
    (folder / "test.csv").write_text("\n".join(["why,who,n,whom", *rows[100:110]]))
    assert kept() != seconds
    for given, said in (
        ("nowhere", "no folder of yours with train.txt and test.txt"),
        ("mine/test.csv", "is a graph, and asks"),
    ):
        status, _, err = command("evaluate", given, *shared)
        assert (status, err.count("\n"), said in err) == (2, 1, True)
    (folder / "relations.tsv").write_text("r0\tlies beside\n")
    fit = ["finetune", "mine", "--columns", "who,why,whom", "--steps", 2, "-o", tmp_path / "f.safetensors"]
    status, _, err = command(*fit, "--checkpoint", checkpoint)
    assert status == 0, err
    assert "validation MRR" in err
    assert graph_source("mine") == "mine/train.csv"
    status, _, err = command("overlap", "mine", folder)
    assert (status, "columns" in err) == (2, True)


def test_pairs_and_files_with_faults_are_measured(tmp_path: Path, checkpoint: Path, command: Run) -> None:
    pairs = [f"e{i}\te{i % 7}\n" for i in range(10)]
    for name, lines in (("train.txt", pairs), ("train.tsv", pairs[:2]), ("test.txt", ["e1\te3\n", "e2\n"])):
        (tmp_path / name).write_text("".join(lines))
    how = ["--relation", "knows", "--checkpoint", checkpoint]
    files = ["--train", tmp_path / "train.txt", "--test", tmp_path / "test.txt"]
    for given in (files, [tmp_path]):
        status, _, err = command("evaluate", *given, *how)
        assert (status, "test.txt line 2: 1 field between tabs, not 2 as in line 1 (--skip-bad" in err) == (2, True)
        status, out, err = command("evaluate", *given, *how, "--skip-bad")
        assert (status, "test.txt line 2: 1 field" in err) == (0, True)
        assert re.search(r"\n\S+ +2  ", out)
    assert f"{tmp_path} has train.txt and train.tsv: the first of them is read" in err
    status, _, err = command("evaluate", "Metafam", *how)
    assert (status, "Metafam is a public data set, and is read as it is: --relation is for your own" in err) == (
        2,
        True,
    )
