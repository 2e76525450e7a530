"""Shapes are checked while tests run; fixtures that several rooms share."""

import os
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side: threads that wait for each other cost minutes

import numpy as np
import pooch
import pytest
import torch
from jaxtyping import install_import_hook
from numpy.typing import ArrayLike, NDArray

# the compiled loops are left out: numba must see them undecorated
CHECKED = ["trivium.nn.propagate", "trivium.nn.reference", "trivium.model", "trivium.training.loss"]
with install_import_hook(CHECKED, "beartype.beartype"):
    import trivium.model.trivium
    import trivium.nn.propagate
    import trivium.training.loss  # noqa: F401

from trivium.graph.graph import Graph  # noqa: E402
from trivium.graph.names import Names  # noqa: E402
from trivium.model.config import ModelConfig  # noqa: E402
from trivium.model.trivium import Trivium  # noqa: E402
from trivium.training.config import SourceConfig, TrainingConfig  # noqa: E402

SMALL = ModelConfig(dim=32, layers=2, structure_steps=2, structure_layers=1)
PLAIN = ModelConfig(use_similarity_enhancer=False, use_prompt_enhancer=False)
IMPORTED = replace(
    PLAIN, structure="relation_graph", structure_layers=6, conditioning="forward", reversed_messages=True
)
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)
Run = Callable[..., tuple[int, str, str]]


def small_model(config: ModelConfig = SMALL, seed: int = 0) -> Trivium:
    """An untrained model, the same at every call."""
    torch.manual_seed(seed)
    return Trivium(config)


def small_training(source: str = "synthetic", **more: Any) -> TrainingConfig:
    """Settings of a training run that takes a moment."""
    sizes = {"steps": 6, "warmup_steps": 1, "min_entities": 40, "max_entities": 60, "max_questions": 6}
    return TrainingConfig((SourceConfig(source),), **{"model": SMALL} | sizes | more)


def graph_of(triples: ArrayLike, entities: int | Names, relations: int | Names) -> Graph:
    """The graph of ids ``[n, 3]``."""
    return Graph.from_ids(*np.asarray(triples, np.int32).T, entities=entities, relation_names=relations)


def renamed(graph: Graph, entities: ArrayLike, relations: ArrayLike) -> Graph:
    """The same facts with other ids: where each entity and each relation goes."""
    columns = (np.asarray(new)[old] for new, old in zip((entities, relations, entities), graph.triples.T, strict=True))
    return graph_of(np.stack([*columns], 1), graph.num_entities, graph.num_relations)


def write_triples(path: Path, triples: NDArray[np.integer], prefix: str = "") -> Path:
    """A file of these ids, as names that begin with the prefix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{prefix}e{h}\t{prefix}r{r}\t{prefix}e{t}\n" for h, r, t in triples.tolist()))
    return path


def random_graph(seed: int, entities: int = 30, relations: int = 4, triples: int = 90) -> Graph:
    """A graph of uniform random triples; some entities may have none."""
    rng = np.random.default_rng(seed)
    ids = [rng.integers(0, count, triples).astype(np.int32) for count in (entities, relations, entities)]
    return Graph.from_ids(*ids, entities=entities, relation_names=relations)


def run_command(*words: object) -> int:
    """Runs `trivium` with these words in this process; its exit status."""
    from trivium import cli

    try:
        cli.main([str(word) for word in words])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `trivium` with some words: its exit status, and what it printed on either stream."""

    def call(*words: object) -> tuple[int, str, str]:
        return run_command(*words), *capsys.readouterr()

    return call


def drawn(line: Any) -> NDArray[np.float64]:
    """What a matplotlib line shows, ``[2, points]``."""
    return np.array([line.get_xdata(), line.get_ydata()], np.float64)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", type=Path, help="the folder in which the page's screenshots are made again")
    parser.addoption("--strict-skips", action="store_true", help="a skipped test fails: for machines that have it all")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return strict((yield), item.config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return strict((yield), collector.config)


def strict(report: Report, config: pytest.Config) -> Report:
    """With ``--strict-skips`` a report of a skip becomes one of a failure."""
    if report.skipped and not hasattr(report, "wasxfail") and config.getoption("--strict-skips"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"{report.nodeid}: {reason} (--strict-skips)"
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A soak takes minutes, so it runs only where it is named: ``-m soak``."""
    if "soak" not in (config.getoption("-m") or ""):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("soak")])
        items[:] = [item for item in items if not item.get_closest_marker("soak")]


FIGURES = ("crash points survived", "mutated files read or refused")  # summed over tests


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures that tests of trust recorded, in whatever process they ran: what was survived, tried, held."""
    total: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in getattr(report, "user_properties", ()) if report.when == "call" else ():
            if name in FIGURES:
                total[name] += int(str(value))
            elif name == "trust":
                terminalreporter.write_line(f"trust: {value}")
    for name, count in total.items():
        terminalreporter.write_line(f"trust: {count:,} {name}")


@pytest.fixture(autouse=True)
def no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is downloaded while tests run, but from servers on this machine."""
    retrieve = pooch.retrieve

    def local_only(url: str, *rest: object, **options: object) -> str:
        if not url.startswith("http://127.0.0.1"):
            raise OSError("tests download nothing")
        return str(retrieve(url, *rest, **options))

    monkeypatch.setattr(pooch, "retrieve", local_only)


@pytest.fixture
def data() -> Path:
    """The folder of real graphs and public checkpoints."""
    folder = os.environ.get("TRIVIUM_DATA")
    if not folder:
        pytest.skip("TRIVIUM_DATA names no folder of data sets")
    return Path(folder)
