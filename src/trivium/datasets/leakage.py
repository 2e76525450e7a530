"""Leakage: which triples, by name, a model has seen in training. A zero-shot figure means little without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivium.datasets.registry import graph_source, is_dataset, load_dataset
from trivium.datasets.splits import Splits
from trivium.errors import InputError
from trivium.graph.formats import FORMATS, INDEX, PACKED
from trivium.graph.graph import Graph
from trivium.graph.read import read_graph
from trivium.kernels.csr import IntArray
from trivium.review.decisions import with_decisions

SYNTHETIC = "synthetic"
Exclusion = Mapping[str, Sequence[str]]
"""What is taken out of a training graph: ``exclude`` names data sets whose questions are, ``exclude_graphs`` those that
are taken out whole."""


def contained(triples: IntArray, graph: Graph, others: Sequence[Graph]) -> NDArray[np.bool_]:
    """Whether any of the other graphs holds each triple, by the names of its head, relation and tail.

    Args:
        triples: ``[n, 3]`` ids of ``graph``.

    Cost: O(names + n log degree) for each other graph.
    """
    found = np.zeros(len(triples), np.bool_)
    for other in others:
        entity = other.entities.ids(graph.entities.names)
        relation = other.relations.ids(graph.relations.names)
        heads, relations, tails = triples.T
        found |= other.contains(np.stack([entity[heads], relation[relations], entity[tails]], axis=1))
    return found


def overlap(a: str, b: str, data_dir: str | Path | None = None) -> dict[str, float]:
    """The share of B's triples that A's training triples contain.

    Args:
        a, b: names of data sets, or files; a file is a graph without test triples.

    Returns:
        The share by part of B: ``graph`` (what messages pass on when the test is asked) and ``test``.

    Raises:
        InputError: a data set or file cannot be read.
    """
    if is_file(b, data_dir):
        graph = read_graph(graph_source(b, data_dir))
        parts = {"graph": graph.triples}
    else:
        splits = load_dataset(b, data_dir)
        graph, parts = splits.graph, {"graph": splits.graph.triples, "test": splits.test}
    known = [training_graph(a, data_dir)]
    return {part: float(contained(triples, graph, known).mean()) for part, triples in parts.items()}


def without_questions(
    graph: Graph, names: Sequence[str], data_dir: str | Path | None = None, whole: Sequence[str] = ()
) -> Graph:
    """The graph less every triple that is a validation or test question of the named data sets, by name.

    Args:
        whole: data sets of which nothing stays: neither their questions nor the graph on which they are asked.

    Raises:
        InputError: a data set cannot be read.
    """
    asked = [_questions(name, data_dir) for name in dict.fromkeys([*names, *whole])]
    found = contained(graph.triples, graph, asked + [load_dataset(name, data_dir).graph for name in whole])
    return graph.without(graph.triples[found]) if found.any() else graph


@lru_cache(maxsize=64)
def _questions(name: str, data_dir: str | Path | None) -> Graph:
    """The validation and test triples of a data set; kept, because many training graphs meet them."""
    splits = load_dataset(name, data_dir)
    return Graph.from_ids(*splits.known.T, entities=splits.graph.entities, relation_names=splits.graph.relations)


def leakage(
    training_data: Mapping[str, str],
    splits: Splits,
    data_dir: str | Path | None = None,
    excluded: Mapping[str, Exclusion] | None = None,
) -> float | None:
    """The share of test triples that a model's training data holds.

    Args:
        training_data: SHA-256 by data set or file, as a checkpoint's provenance has it; ``synthetic`` holds none.
        excluded: by training data, what was taken out of it.

    Returns:
        The share, or ``None`` if nothing is on record, or a part of it is not at hand or has another hash.
        Nothing is downloaded for it.
    """
    if not training_data:
        return None
    graphs = []
    for name in training_data.keys() - {SYNTHETIC}:
        try:
            graph = training_graph(name, data_dir, (excluded or {}).get(name, {}), download=False)
        except InputError:
            return None
        if graph.sha256 != training_data[name]:
            return None
        graphs.append(graph)
    return float(contained(splits.test, splits.graph, graphs).mean())


def is_file(name: str, data_dir: str | Path | None = None) -> bool:
    """Whether a graph's name is that of a file, which is there or named like one, or of a folder with one to train on,
    and not that of a data set."""
    path = Path(name)
    named = len(path.parts) > 1 or path.suffix.lower() in (*FORMATS, *PACKED, INDEX)
    return not is_dataset(name, data_dir) and (named or path.is_file() or graph_source(name, data_dir) != name)


def graphs_in(name: str, data_dir: str | Path | None = None) -> list[str]:
    """The names of the graphs in a folder of folders with a file to train on each; of anything else its own name."""
    folders = [] if is_dataset(name, data_dir) else [path.as_posix() for path in sorted(Path(name).glob("*"))]
    return [folder for folder in folders if graph_source(folder) != folder] or [name]


def training_graph(
    name: str,
    data_dir: str | Path | None = None,
    excluded: Exclusion | None = None,
    *,
    download: bool = True,
    **reading: Any,
) -> Graph:
    """The training split of a data set, or the graph of a file or folder with what was decided of it, less what was
    taken out of it.

    Args:
        reading: of a file, see `trivium.graph.read.read_graph`; lists as tuples. A folder of splits has columns alone.

    Raises:
        InputError: it cannot be read, or nothing is left of it, or a data set should be read in a way of its own.
    """
    less = {key: tuple(names) for key, names in (excluded or {}).items()}
    taken = less.get("exclude", ()), less.get("exclude_graphs", ())
    graph = _training_graph(name, data_dir, download, *taken, **reading)
    if not graph.num_triples:
        raise InputError(f"exclude and exclude_graphs leave nothing of {name}: take it out of sources, or of these")
    return graph


@lru_cache(maxsize=64)
def _training_graph(
    name: str,
    data_dir: str | Path | None,
    download: bool,
    exclude: tuple[str, ...],
    exclude_graphs: tuple[str, ...],
    **reading: Any,
) -> Graph:
    """The training triples of a data set, or a file's; kept, because one checkpoint meets many data sets."""
    if is_file(name, data_dir):
        file = graph_source(name, data_dir)
        graph = with_decisions(read_graph(file, **reading), file)
    elif more := reading.keys() - {"columns"}:
        raise InputError(f"{name} is a data set, and is read as it is: {', '.join(sorted(more))} is for a graph's file")
    else:
        graph = load_dataset(name, data_dir, download=download, **reading).train
    return without_questions(graph, exclude, data_dir, exclude_graphs)
