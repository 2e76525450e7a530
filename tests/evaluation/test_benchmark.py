"""The benchmark's table: suites, published figures, means, and results that are kept."""

import re
from pathlib import Path

import pytest

from tests.conftest import run_command
from trivium.datasets.table import datasets
from trivium.errors import InputError
from trivium.evaluation.benchmark import MODELS, SUITES, Results, graphs_of, markdown, published, tabulate
from trivium.evaluation.evaluate import Result
from trivium.evaluation.metrics import Metrics
from trivium.files import read_provenance


def result(name: str, mrr: float, leakage: float | None = 0.0) -> Result:
    same = Metrics(mrr, 3.0, mrr, mrr, mrr + 0.1, 100)
    return Result(name, 100, 1.0, leakage, 0.0, 0.25, 0.0, same, same, same, 0.01, (mrr - 0.02, mrr + 0.02), {})


def test_suites_hold_known_graphs_and_as_many_as_they_are_known_for() -> None:
    assert {name: len(graphs) for name, graphs in SUITES.items()} == {
        "clean": 14,
        "clean15": 15,
        "grail": 9,
        "ingram": 10,
        "transductive": 8,
        "validation": 12,
    }
    assert {graph for graphs in SUITES.values() for graph in graphs} <= set(datasets())
    assert graphs_of(["Metafam", "clean"])[0] == "Metafam"
    assert len(graphs_of(["Metafam", "clean"])) == 15
    with pytest.raises(InputError, match="grail"):
        graphs_of(["grayl"])


@pytest.mark.parametrize(
    ("suite", "means"),
    [
        ("clean15", {"ULTRA": 0.352, "SEMMA": 0.377, "ARE": 0.387, "TRIX": 0.397, "KG-ICL": 0.389}),
        ("grail", {"ULTRA": 0.559, "SEMMA": 0.601, "ARE": 0.604, "TRIX": 0.609, "KG-ICL": 0.557}),
        ("ingram", {"ULTRA": 0.354, "SEMMA": 0.368, "ARE": 0.373, "TRIX": 0.368, "KG-ICL": 0.383}),
        ("transductive", {"ULTRA": 0.301, "SEMMA": 0.315, "ARE": 0.315}),
    ],
)
def test_published_figures_have_the_means_they_are_known_for(suite: str, means: dict[str, float]) -> None:
    for model in MODELS:
        known = [published()[graph, model][0] for graph in SUITES[suite] if (graph, model) in published()]
        if model in means:
            assert sum(known) / len(SUITES[suite]) == pytest.approx(means[model], abs=0.0006)
        else:
            assert len(known) < len(SUITES[suite])


def test_the_table_has_means_over_whole_suites_and_over_clean_graphs() -> None:
    graphs = SUITES["grail"]
    table = {"a": {graph: result(graph, 0.1 * i, 0.0 if i > 5 else 1.0) for i, graph in enumerate(graphs, 1)}}
    columns, rows = tabulate(table, graphs)
    by_name = {row[0].strip("*"): dict(zip(columns, row, strict=True)) for row in rows}
    assert by_name["mean of grail 9"]["MRR / Hits@10"] == "0.500 / 0.600"
    assert by_name["mean of grail 9"]["ULTRA"].startswith("0.559")
    assert by_name["mean of leakage under 2.5%: 4"]["MRR / Hits@10"] == "0.750 / 0.850"
    assert by_name[graphs[0]]["leakage"] == "1.000"
    seen = {"b": {graph: result(graph, 0.1, 0.5 if graph == graphs[-1] else 0.0) for graph in graphs}}
    wider, both = tabulate(table | seen, graphs)  # clean is what no checkpoint has seen
    last = dict(zip(wider, both[-1], strict=True))
    assert (last["graph"], last["a MRR / Hits@10"]) == ("**mean of leakage under 2.5%: 3**", "0.700 / 0.800")
    assert not any("ingram" in name for name in by_name)
    assert all(len(row) == len(columns) for row in rows)
    assert markdown(columns, rows).count("\n") == len(rows) + 2


def test_a_result_is_kept_whole(tmp_path: Path) -> None:
    kept, one = Results(tmp_path, "trivium", sample=3), result("WikiTopicsMT3:art", 0.5)
    assert kept.load(one.dataset) is None
    kept.save(one)
    assert Results(tmp_path, "trivium", sample=3).load(one.dataset) == one
    assert Results(tmp_path, "trivium", sample=4).load(one.dataset) is None


def test_a_damaged_result_is_measured_again(tmp_path: Path) -> None:
    kept, one = Results(tmp_path, "trivium"), result("UMLS", 0.5)
    kept.save(one)
    (file,) = kept.folder.iterdir()
    content = file.read_text("utf-8")
    for odd in (content.replace("0.5", "0.7", 1), content[:-9], "[]", '{"result": 3}', "\0"):
        assert odd != content
        file.write_text(odd, "utf-8")
        assert kept.load("UMLS") is None
    file.write_text(
        re.sub(',\\s*"sha256": "[0-9a-f]{64}"\\s*}$', "}", content), "utf-8"
    )  # as earlier versions wrote it
    assert kept.load("UMLS") == one


def test_finished_results_are_kept_and_belong_to_what_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def evaluated(model: object, provenance: object, name: str, *_: object, **__: object) -> Result:
        asked.append(name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return result(name, 0.5)

    monkeypatch.setattr("trivium.cli.evaluate.evaluate_dataset", evaluated)

    def run(sample: int = 10) -> int:
        return run_command("evaluate", "Metafam", "UMLS", "-o", tmp_path, "--sample", sample)

    assert run() == 130
    assert run() == 0
    assert asked == ["Metafam", "UMLS", "UMLS"]
    assert "| Metafam | 100 | 0.500 / 0.600 |" in (tmp_path / "table.md").read_text("utf-8")
    assert read_provenance(tmp_path / "table.md")["verb"] == "evaluate"
    run(sample=12)
    assert asked[3:] == ["Metafam", "UMLS"]
