"""Relation texts for a model that reads them."""

from __future__ import annotations

from pathlib import Path

from trivium.graph.graph import Graph
from trivium.model.semantics import TextTopology
from trivium.model.trivium import Trivium


def model_texts(
    model: Trivium, graph: Graph, source: str | Path = "", data_dir: str | Path | None = None
) -> TextTopology | None:
    """The graph's relation texts, encoded as the model was trained with; ``None`` for a model without text.

    Args:
        source: the graph's file or data set's name; see `trivium.text.load.graph_texts`.
        data_dir: the folder of data sets.

    Raises:
        ConfigError: the model's text encoder is not installed.
    """
    if not model.config.text_encoder:
        return None
    from trivium.text.encoder import load_encoder
    from trivium.text.load import graph_texts

    return TextTopology.of(graph_texts(graph, load_encoder(model.config.text_encoder), source, data_dir))
