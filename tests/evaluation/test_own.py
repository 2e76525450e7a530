"""A split of one's own: what its questions are worth is said, and files are as good as a folder."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Run, graph_of, small_model
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
    assert "1 of 3 questions are in the graph" in err
    assert "1 of 3 questions have a copy in the graph" in err
    assert "1 of 3 questions name what has no fact" in err
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
