"""The textual relation graph of a graph: its relations' texts from wherever there are any."""

from __future__ import annotations

from pathlib import Path

from trivium.graph.graph import Graph
from trivium.text.encoder import TextEncoder
from trivium.text.graph import TextGraph
from trivium.text.names import data_set_tables, read_relation_texts, relation_texts, texts_beside


def graph_texts(
    graph: Graph, encoder: TextEncoder, source: str | Path = "", data_dir: str | Path | None = None
) -> TextGraph:
    """Reads, cleans and encodes the relation texts of a graph.

    Args:
        source: the graph's file (a relations.tsv or .json beside it is read) or the data set's name.
        data_dir: the folder of data sets, where it holds texts of them.
    """
    given = []
    if Path(source).is_file():
        beside = texts_beside(source)
        given = [read_relation_texts(beside)] if beside is not None else []
    elif data_dir is not None:
        given = data_set_tables(str(source), Path(data_dir))
    labels = graph.relations.labels
    texts = relation_texts(
        graph.relations.names.to_list(), None if labels is None else labels.to_list(), given, encoder.words
    )
    return TextGraph.from_texts(texts, encoder)
