"""Graphs of up to a hundred million triples: seconds, peak memory and size to index, to open and to look a name up.

python benchmarks/large.py [--triples 100000000] [--shape dense] [--folder FOLDER]

A graph is a Parquet file that is written a part at a time. In a *dense* one both ends of a triple are drawn from all
entities, some more often than others, so that a few steps reach most of them; in a *sparse* one the tail stands near
the head, so that a question reaches little. Each step is a process of its own, whose peak memory is that of its
resident pages, mapped files included.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pyarrow import parquet

from trivium.cli import main as trivium
from trivium.graph.index import open_index

PART = 1_000_000
RELATIONS = 1_000
PER_ENTITY = {"dense": 10, "sparse": 2}  # triples
NEAR = 20  # entities to both sides, among which a sparse graph's tails are


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--triples", type=int, default=100_000_000)
    parser.add_argument("--shape", choices=PER_ENTITY, default="dense")
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--step", choices=STEPS, default=None, help="one step alone, on what is in the folder")
    chosen = parser.parse_args()
    if chosen.step is not None:
        figures = STEPS[chosen.step](chosen.folder / "large.parquet", chosen.folder / "large.trivium")
        print(json.dumps(figures | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}))
        return
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        write(Path(folder, "large.parquet"), chosen.triples, chosen.shape)
        for step in STEPS:
            words = [sys.executable, __file__, "--step", step, "--folder", folder]
            done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
            figures = json.loads(done.stdout.splitlines()[-1])
            print(step, *(f"{name} {value:.4g}" for name, value in figures.items()), flush=True)


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
    started = time.monotonic()
    with suppress(SystemExit):
        trivium(["index", str(table), "-o", str(place), "--force"])
    return {"seconds": time.monotonic() - started, "GiB": place.stat().st_size / 2**30}


def opening(table: Path, place: Path) -> dict[str, float]:
    """Opens it, and looks names up."""
    started = time.monotonic()
    graph = open_index(place)
    opened = time.monotonic() - started
    names = [f"e{number}" for number in np.random.default_rng(0).integers(0, graph.num_entities // 2, 100)]
    started = time.monotonic()
    for name in names:
        graph.entities.id(name, "entity")
    return {"seconds": opened, "ms a name": 1000 * (time.monotonic() - started) / len(names)}


STEPS: dict[str, Callable[[Path, Path], dict[str, float]]] = {"index": index, "open": opening}


if __name__ == "__main__":
    main()
