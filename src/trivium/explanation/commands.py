"""What `trivium explain` does."""

from __future__ import annotations

import json
from pathlib import Path

from trivium.explanation.explain import check_paths, explain
from trivium.files import check_place, save_figure
from trivium.graph.graph import inverse
from trivium.inference.ranker import Ranker
from trivium.report import printable


def check(paths: int, png: Path | None, force: bool) -> None:
    """Refuses what cannot be done, before any work is done for it."""
    check_paths(paths)
    if png is not None:
        check_place(png, force, ".png")


def tell(
    ranker: Ranker,
    head: str,
    relation: str,
    tail: str,
    asked: str,
    paths: int,
    as_json: bool,
    png: Path | None,
    force: bool,
) -> None:
    """Prints the reasons, and draws them."""
    graph = ranker.graph
    first, last = graph.entities.id(head, "head"), graph.entities.id(tail, "tail")
    kind = graph.relations.id(relation, "relation")
    if asked == "head":
        first, last, kind = last, first, inverse(kind, graph.num_relations)
    explanation = explain(ranker, first, kind, last, paths)
    if png is not None:
        from trivium.explanation.picture import draw_reasons

        save_figure(draw_reasons(explanation), png, force)
    if as_json:
        print(json.dumps(explanation.as_dict(), indent=2, allow_nan=False))
    else:
        for line in explanation.words:
            print(printable(line))
