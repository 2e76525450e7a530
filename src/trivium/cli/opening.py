"""What the verbs that answer begin with: a graph, a model, a calibration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trivium.errors import InputError

if TYPE_CHECKING:
    from trivium.calibration import Calibration
    from trivium.graph.graph import Graph
    from trivium.inference.ranker import Ranker


def open_graph(path: Path, columns: str | None) -> Graph:
    """The graph of a file."""
    from trivium.graph.read import read_graph

    return read_graph(path, **column_names(columns))


def column_names(columns: str | None) -> dict[str, str]:
    """What ``--columns`` says, as `read_graph` takes it.

    Raises:
        InputError: the columns are not three.
    """
    names = columns.split(",") if columns is not None else []
    if columns is not None and (len(names) != 3 or not all(names)):
        raise InputError(f"--columns {columns}: name three, HEAD,RELATION,TAIL")
    return dict(zip(("head", "relation", "tail"), names, strict=False))


def open_ranker(graph: Path, checkpoint: str, columns: str | None, relation_text: str | None = None) -> Ranker:
    """A ranker for the verbs that answer; the checkpoint is looked at first, since it fails fast."""
    from trivium.model.checkpoint import find_checkpoint

    find_checkpoint(checkpoint)
    from trivium.inference.ranker import Ranker
    from trivium.inference.texts import asked_in_words, model_texts
    from trivium.model.trivium import Trivium

    model, read = Trivium.load(checkpoint), open_graph(graph, columns)
    if relation_text is not None:
        read, texts = asked_in_words(model, read, relation_text, graph)
        return Ranker(model, read, texts=texts)
    return Ranker(model, read, texts=model_texts(model, read, graph))


def open_calibration(path: Path | None, ranker: Ranker, checkpoint: str) -> Calibration | None:
    """A calibration that serves this graph and this checkpoint; none of none."""
    if path is None:
        return None
    from trivium.calibration import Calibration
    from trivium.model.checkpoint import checkpoint_sha256

    calibration = Calibration.load(path)
    calibration.check(ranker.graph, checkpoint_sha256(checkpoint))
    return calibration
