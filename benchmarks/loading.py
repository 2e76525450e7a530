"""A large TSV: seconds and peak memory to load it, and to open its index.

python benchmarks/loading.py [--triples 10000000] [--folder FOLDER]
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from trivium.graph.index import save_index
from trivium.graph.read import read_graph


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--triples", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, default=None)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        path = Path(folder) / "large.tsv"
        _write(path, chosen.triples)
        started = time.monotonic()
        graph = read_graph(path)
        read = time.monotonic() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{graph.num_triples:,} triples, {graph.num_entities:,} entities, {path.stat().st_size / 2**20:.0f} MiB")
        print(f"read in {read:.1f} s, peak {peak:.2f} GiB")
        index = Path(folder) / "large.trivium"
        save_index(graph, index)
        started = time.monotonic()
        read_graph(index).answers(0, 0)
        print(f"index of {index.stat().st_size / 2**20:.0f} MiB opened in {time.monotonic() - started:.3f} s")


def _write(path: Path, triples: int) -> None:
    """Random triples, a part at a time; a tenth as many entities, 500 relations."""
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for begin in range(0, triples, 1_000_000):
            count = min(1_000_000, triples - begin)
            h, t = (rng.random((2, count)) ** 2 * triples / 10).astype(np.int64)
            entity = "http://example.org/entity/" + pl.Series(h).cast(pl.String)
            tail = "http://example.org/entity/" + pl.Series(t).cast(pl.String)
            relation = "relation " + pl.Series(rng.integers(0, 500, count)).cast(pl.String)
            pl.DataFrame({"h": entity, "r": relation, "t": tail}).write_csv(file, separator="\t", include_header=False)


main()
