"""Graphs of up to a hundred million triples: what it takes to index and to open them, to look a name up, and to ask.

python benchmarks/large.py [--triples 10000 100000 1000000 10000000] [--shapes dense sparse] [--folder FOLDER]
                           [--picture FILE.png]

A graph is a Parquet file that is written a part at a time. In a *dense* one both ends of a triple are drawn from all
entities, some more often than others, so that a few steps reach most of them; in a *sparse* one the tail stands near
the head, so that a question reaches little. Each step is a process of its own, whose peak memory is that of its
resident pages, mapped files included. Processor seconds are those of all threads: they tell more where other work runs.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pyarrow import parquet

from trivium.cli import main as trivium
from trivium.files import save_figure
from trivium.graph.index import open_index
from trivium.inference.ranker import Ranker

PART = 1_000_000
RELATIONS = 1_000
PER_ENTITY = {"dense": 10, "sparse": 2}  # triples
QUESTIONS = 2  # after the first, and then twice as many
NEAR = 20  # entities to both sides, among which a sparse graph's tails are


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--triples", type=int, nargs="+", default=[10**4, 10**5, 10**6, 10**7])
    parser.add_argument("--shapes", nargs="+", choices=PER_ENTITY, default=[*PER_ENTITY])
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--picture", type=Path, default=None)
    parser.add_argument("--step", choices=STEPS, default=None, help="one step alone, on what is in the folder")
    chosen = parser.parse_args()
    if chosen.step is not None:
        print(json.dumps(measured(chosen.step, chosen.folder)))
        return
    rows = [row for shape in chosen.shapes for count in chosen.triples for row in steps(shape, count, chosen.folder)]
    table = pl.DataFrame(rows, infer_schema_length=None)
    for (shape, step), held in table.group_by("shape", "step", maintain_order=True):
        for figure in ("seconds", "processor", "GiB", "a question"):
            if held[figure].null_count() == 0 and (grown := exponent(held["triples"], held[figure])) is not None:
                print(f"{shape}, {step}: {figure} grow as triples to the power {grown:.2f}")
    if chosen.picture is not None:
        draw(table, chosen.picture)


def steps(shape: str, triples: int, place: Path | None) -> Iterator[dict[str, Any]]:
    """Makes a graph and takes the steps with it, each in a process of its own."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        write(Path(folder, "large.parquet"), triples, shape)
        for step in STEPS:
            words = [sys.executable, __file__, "--step", step, "--folder", folder]
            done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
            figures = json.loads(done.stdout.splitlines()[-1])
            print(shape, f"{triples:,}", step, *(f"{name} {value:.4g}" for name, value in figures.items()), flush=True)
            yield {"shape": shape, "triples": triples, "step": step, **figures}


def measured(step: str, folder: Path) -> dict[str, float]:
    """Takes a step, without the start of the process: seconds, those of the processor, peak memory and what it says."""
    started, used = time.monotonic(), time.process_time()
    more = STEPS[step](folder / "large.parquet", folder / "large.trivium")
    seconds = {"seconds": time.monotonic() - started, "processor": time.process_time() - used}
    return seconds | {"GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20} | more


def exponent(triples: pl.Series, figures: pl.Series) -> float | None:
    """By what power of the triples a figure grows, from a million on: below, what is the same for all outweighs."""
    large = triples >= 10**6
    if large.sum() < 2:
        return None
    return float(np.polyfit(np.log(triples.filter(large)), np.log(figures.filter(large)), 1)[0])


def draw(table: pl.DataFrame, picture: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("processor", "GiB"), strict=True):
        for (shape, step), held in table.group_by("shape", "step", maintain_order=True):
            axes.plot(held["triples"], held[name], marker="o", label=f"{step}, {shape}")
        axes.set(
            xscale="log", yscale="log", xlabel="triples", ylabel={"processor": "processor seconds"}.get(name, name)
        )
    axes.legend()
    save_figure(figure, picture, force=True)


def write(path: Path, triples: int, shape: str) -> None:
    """Random triples as a Parquet file, a part at a time; entities are ``e0`` …, relations ``r0`` …, some of either
    more frequent than others, and some triples twice."""
    rng = np.random.default_rng(0)
    entities = triples // PER_ENTITY[shape]
    with parquet.ParquetWriter(path, _named(*np.zeros((3, 1), np.int64)).schema) as file:
        for begin in range(0, triples, PART):
            count = min(PART, triples - begin)
            heads = (rng.random(count) ** 2 * entities).astype(np.int64)
            if shape == "dense":
                tails = (rng.random(count) ** 2 * entities).astype(np.int64)
            else:
                tails = np.clip(heads + rng.integers(-NEAR, NEAR + 1, count), 0, entities - 1)
            relations = (rng.random(count) ** 3 * RELATIONS).astype(np.int64)
            file.write_table(_named(heads, relations, tails))


def _named(*ids: NDArray[np.int64]) -> Any:
    """An Arrow table of head, relation and tail."""
    columns = zip(("head", "relation", "tail"), "ere", ids, strict=True)
    frame = pl.DataFrame({name: letter + pl.Series(numbers).cast(pl.String) for name, letter, numbers in columns})
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def index(table: Path, place: Path) -> dict[str, float]:
    """Makes the index."""
    with suppress(SystemExit):
        trivium(["index", str(table), "-o", str(place), "--force"])
    return {"GiB on disk": place.stat().st_size / 2**30}


def opening(table: Path, place: Path) -> dict[str, float]:
    """Opens it, and looks names up."""
    started = time.monotonic()
    graph = open_index(place)
    opened = time.monotonic() - started
    names = [f"e{number}" for number in np.random.default_rng(0).integers(0, graph.num_entities // 2, 100)]
    started = time.monotonic()
    found = sum(graph.entities.ids([name])[0] >= 0 for name in names)
    took = time.monotonic() - started
    return {"seconds to open": opened, "ms a name": 1000 * took / len(names), "names found": int(found)}


def asking(table: Path, place: Path) -> dict[str, float]:
    """Opens it and asks questions of one relation: what the first takes, with all that is made once; what some more
    take together, with what these share; what a further one adds; and the memory of two states of every entity."""
    ranker = Ranker.open(open_index(place))
    graph, rng = ranker.graph, np.random.default_rng(0)
    relation = graph.edge_relations[rng.integers(len(graph.sources))]
    heads = graph.sources[rng.integers(0, len(graph.sources), 1 + 3 * QUESTIONS)].astype(np.int64)
    times = [time.process_time()]
    for group in np.split(heads, [1, 1 + QUESTIONS]):
        ranker.rank_ids(group, np.full(len(group), relation))
        times.append(time.process_time())
    first, some, twice = np.diff(times).tolist()
    states = 2 * graph.num_entities * ranker.model.config.dim * 4 / 2**30
    return {"the first": first, "some": some, "a question": (twice - some) / QUESTIONS, "GiB of states": states}


STEPS: dict[str, Callable[[Path, Path], dict[str, float]]] = {"index": index, "open": opening, "ask": asking}


if __name__ == "__main__":
    main()
