"""Relation texts for a model that reads them."""

from __future__ import annotations

from pathlib import Path

from trivium.errors import ConfigError, MissingPackageError
from trivium.graph.graph import Graph
from trivium.model.trivium import Trivium
from trivium.report import warn
from trivium.text.graph import TextGraph


def model_texts(
    model: Trivium, graph: Graph, source: str | Path = "", data_dir: str | Path | None = None
) -> TextGraph | None:
    """The graph's relation texts, encoded as the model was trained with; ``None`` for a model without text.

    Where the text encoder is not installed the texts are left out, with a warning: the model then answers from
    structure alone.

    Args:
        source: the graph's file or data set's name; see `trivium.text.graph.graph_texts`.
        data_dir: the folder of data sets.
    """
    if not model.config.text_encoder:
        return None
    from trivium.text.encoder import load_encoder
    from trivium.text.graph import graph_texts

    try:
        return graph_texts(graph, load_encoder(model.config.text_encoder), source, data_dir)
    except MissingPackageError as error:
        warn(f"relation names are not read: {error}")
        return None


def asked_in_words(
    model: Trivium, graph: Graph, words: str, source: str | Path = "", data_dir: str | Path | None = None
) -> tuple[Graph, TextGraph | None]:
    """The graph with one relation more, which only has a text, and the texts of all.

    Words that name a relation of the graph ask that one.

    Args:
        words: what the relation says, such as ``is the capital of``; it is the new relation's name too.
        source, data_dir: as for `model_texts`.

    Raises:
        ConfigError: the model reads no text, the text encoder is not installed, or the words say nothing.
    """
    if not model.config.text_encoder:
        raise ConfigError("this checkpoint reads no text: ask a relation of the graph, or use a checkpoint with text")
    if graph.relations.ids([words])[0] >= 0:
        return graph, model_texts(model, graph, source, data_dir)
    from trivium.text.encoder import load_encoder
    from trivium.text.graph import graph_texts
    from trivium.text.names import RelationText, clean_name

    text = RelationText(clean_name(words))
    if text.name is None:
        raise ConfigError(f"relation text {words!r} says nothing: describe the relation in words")
    encoder = load_encoder(model.config.text_encoder)
    texts = graph_texts(graph, encoder, source, data_dir)
    if not texts.has_text.any():
        warn("no relation of this graph has a text, so nothing says what the asked words are like: bring relations.tsv")
    texts = texts.with_relation(TextGraph.from_texts([text], encoder))
    return graph.with_relation(words), texts
