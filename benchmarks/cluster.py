"""Two workers of one thread beside one process with two threads: seconds for the same table, which has the same bytes.

    python benchmarks/cluster.py [--data-dir FOLDER] [--workers 2] [--turns 3] [--parts 24] [DATA SET]

The clock runs from the first part to the last: starting processes, which takes seconds, is shown apart.
"""

import argparse
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from trivium.datasets.registry import load_dataset
from trivium.inference.answers import Ids, both_directions, split
from trivium.inference.cluster import computing
from trivium.inference.parts import Each, here, write_in_parts
from trivium.inference.ranker import Ranker
from trivium.kernels.threads import set_threads
from trivium.model.trivium import load_checkpoint

PART = 250


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("graph", nargs="?", default="FB15k237Inductive:v4")
    parser.add_argument("--checkpoint", default="trivium")
    parser.add_argument("--data-dir", default=os.environ.get("TRIVIUM_DATA"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--parts", type=int, default=24)
    chosen = parser.parse_args()
    splits = load_dataset(chosen.graph, chosen.data_dir)
    heads, relations, _ = both_directions(splits.graph.triples, splits.graph.num_relations)
    asked = np.random.default_rng(0).permutation(len(heads))[: PART * chosen.parts]
    asked = asked[np.argsort(relations[asked], kind="stable")]
    set_threads(chosen.workers)

    def seconds(each: Each, path: Path) -> float:
        """Of a new ranker's parts but the first of each worker, which loads and compiles."""
        ranker = Ranker(load_checkpoint(chosen.checkpoint)[0], splits.graph).reproduce()

        def answers(part: Ids) -> pl.DataFrame:
            return ranker.rank_ids(heads[part], relations[part])

        first = split(asked, PART)[: chosen.workers]
        write_in_parts(path.with_suffix(".first.parquet"), False, "", [first], answers, lambda rows: rows, each=each)
        started = time.monotonic()
        rest = split(asked, PART)[chosen.workers :]
        write_in_parts(path, False, "", [rest], answers, lambda rows: rows, each=each)
        return time.monotonic() - started

    print(f"| {chosen.graph} | one process, {chosen.workers} threads, s | {chosen.workers} workers, s | ratio |")
    print("|---|---|---|---|")
    ratios = []
    with TemporaryDirectory() as folder:
        started = time.monotonic()
        with computing(None, chosen.workers, 3600) as each:
            print(f"workers started in {time.monotonic() - started:.1f} s", flush=True)
            for turn in range(chosen.turns):
                alone = seconds(here, Path(folder) / f"{turn}-alone.parquet")
                shared = seconds(each, Path(folder) / f"{turn}-shared.parquet")
                ratios.append(alone / shared)
                row = f"| turn {turn + 1} | {alone:.2f} | {shared:.2f} | {ratios[-1]:.2f} |"
                print(row, flush=True)
                bytes_of = [(Path(folder) / f"{turn}-{who}.parquet").read_bytes() for who in ("alone", "shared")]
                assert bytes_of[0] == bytes_of[1]
    print(f"median ratio {np.median(ratios):.2f}")


if __name__ == "__main__":
    main()
