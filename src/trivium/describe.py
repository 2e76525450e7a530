"""What `trivium info` and `trivium datasets` say."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trivium.errors import ConfigError, InputError, MissingPackageError
from trivium.report import show, warn

if TYPE_CHECKING:
    from trivium.graph.graph import Graph


def describe(what: str | None, flags: Path | None, columns: dict[str, str]) -> None:
    """A graph, a checkpoint, or what a flags file yields."""
    if (what is None) == (flags is None):
        raise ConfigError("give a graph or a checkpoint, or --flags FILE")
    if flags is not None:
        _flags(flags)
    elif what is not None and (what.endswith(".safetensors") or not Path(what).exists()):
        _checkpoint(what)
    elif what is not None:
        _graph(what, columns)


def _flags(path: Path) -> None:
    from trivium.model.flags import read_flags
    from trivium.model.fusion import Fusion
    from trivium.model.trivium import branch_weights

    config, unused = read_flags(path)
    fusion = Fusion(branch_weights(config), config.use_learnable_fusion)
    show(["setting", "value"], _settings(asdict(config)), f"{path} yields")
    kind = "fusion start" if config.use_learnable_fusion else "fixed fusion"
    show(["part", "weight"], list(fusion.weights().items()), f"\n{kind}")
    if unused:
        show(["key", "not used, because"], list(unused.items()), "\nknown keys that change nothing here")


def _settings(values: dict[str, object]) -> list[tuple[str, str]]:
    return [(key, str(value).lower() if isinstance(value, bool) else str(value)) for key, value in values.items()]


def _checkpoint(name: str) -> None:
    from trivium.model.checkpoint import find_checkpoint
    from trivium.model.trivium import load_checkpoint

    if not name.endswith(".safetensors") and "." in Path(name).name:
        raise InputError(f"no such file: {name}")
    model, provenance = load_checkpoint(name)
    parameters = sum(p.numel() for p in model.parameters())
    path = find_checkpoint(name)
    show(
        ["setting", "value"],
        [("parameters", f"{parameters:,}"), *_settings(asdict(model.config))],
        f"{path.name}, {path.stat().st_size / 1e6:.1f} MB",
    )
    rows = [(key, value) for key, value in asdict(provenance).items() if key not in ("settings", "training_data")]
    rows += [(f"trained on {data}", sha) for data, sha in provenance.training_data.items()]
    show(["provenance", ""], [row for row in rows if row[1] not in ("", None)], "\nprovenance")
    show(["part", "weight"], list(model.fusion_weights().items()), "\nfusion weights")


def _graph(path: str, columns: dict[str, str]) -> None:
    from trivium.graph.read import read_graph

    graph = read_graph(path, **columns)
    degree = np.diff(graph.offsets)
    rows = [
        ("triples", f"{graph.num_triples:,}"),
        ("entities", f"{graph.num_entities:,}"),
        ("relations", f"{graph.num_relations:,}"),
        ("labels", "yes" if graph.entities.labels is not None else "no"),
        ("median degree", f"{np.median(degree):.0f}"),
        ("largest degree", f"{degree.max():,}"),
        ("sha256", graph.sha256),
    ]
    show(["graph", ""], [*rows, *_texts(graph, path)], path)
    counts = np.bincount(graph.triples[:, 1], minlength=graph.num_relations)
    order = np.argsort(-counts, kind="stable")[:20]
    names = graph.relations.shown(order)
    show(["relation", "triples"], list(zip(names, counts[order].tolist(), strict=True)), "\nlargest relations")
    if len(counts) > len(order):
        warn(f"{len(counts) - len(order):,} more relations")


def _texts(graph: Graph, path: str) -> list[tuple[str, str]]:
    """What the relation names say to a model with text."""
    from trivium.text.encoder import load_encoder
    from trivium.text.graph import graph_texts

    try:
        texts = graph_texts(graph, load_encoder(), path)
    except MissingPackageError as error:
        warn(str(error))
        return [("text edges", "unknown: no text encoder is installed")]
    if texts.warning is not None:
        warn(texts.warning)
    named = int(texts.has_text[: graph.num_relations].sum())
    return [
        ("relations with text", f"{named:,}"),
        ("text edges", f"{len(texts.weight):,}"),
        ("isolated relations", f"{texts.num_isolated:,}"),
    ]


def list_datasets() -> None:
    """The data sets that are known by name, with their counts."""
    from trivium.datasets.table import datasets

    rows = [[d.name, d.family, d.entities, d.relations, d.triples.get("test"), d.citation] for d in datasets().values()]
    show(["data set", "family", "entities", "relations", "test triples", "citation"], rows)
