"""Asking in words: a relation that no edge carries, with its text as the only evidence."""

import numpy as np
import pytest
import torch
from tests.conftest import graph_of, small_model

from trivium.errors import ConfigError, MissingPackageError
from trivium.graph.graph import Graph
from trivium.graph.names import Names
from trivium.inference.ranker import Ranker, asked_in_words, model_texts
from trivium.model.config import ModelConfig
from trivium.model.trivium import Trivium
from trivium.text.encoder import find_minilm
from trivium.text.graph import TextGraph

ENCODER = "all-MiniLM-L6-v2@53aa51172d14"
TRIPLES = [[0, 0, 1], [2, 1, 1], [3, 0, 4], [5, 1, 4], [0, 1, 1], [3, 1, 4]]
needs_encoder = pytest.mark.skipif(find_minilm() is None, reason="no package with MiniLM is installed")


def world() -> Graph:
    entities = Names(["Paris", "France", "Lyon", "Rome", "Italy", "Milan"])
    return graph_of(TRIPLES, entities, Names(["capital of", "city in"]))


def reading_model() -> Trivium:
    model = small_model(ModelConfig(dim=32, layers=2, structure_dim=16, text_encoder=ENCODER))
    assert model.semantics is not None
    torch.nn.init.normal_(model.semantics.combiner.linear.weight, std=0.1)
    return model


def test_a_relation_more_leaves_the_facts_as_they_are() -> None:
    graph = world()
    more = graph.with_relation("born in")
    assert (more.num_relations, more.num_triples) == (3, graph.num_triples)
    assert more.relations.names.to_list() == ["capital of", "city in", "born in"]
    assert np.array_equal(more.triples, graph.triples)
    again = graph_of(TRIPLES, more.entities, more.relations)
    assert np.array_equal(again.edge_relations, more.edge_relations)
    assert np.array_equal(again.sources, more.sources)


@needs_encoder
def test_words_ask_a_relation_without_edges_and_what_they_say_counts() -> None:
    model = reading_model()
    scores = []
    for words in ("is the capital city of", "is made of"):
        graph, texts = asked_in_words(model, world(), words)
        ranker = Ranker(model, graph, texts=texts)
        table = ranker.rank("Rome", words, k=6)
        assert set(table["tail"]) == {"Paris", "France", "Lyon", "Italy", "Milan"}
        scores.append(ranker.scores(np.array([3]), np.array([2])))
    assert (scores[0] - scores[1]).abs().max() > 1e-4


@needs_encoder
def test_words_that_name_a_relation_of_the_graph_ask_that_one() -> None:
    graph, texts = asked_in_words(reading_model(), world(), "capital of")
    assert graph.num_relations == 2
    assert texts is not None and len(texts.vectors) == 4


@needs_encoder
def test_words_that_say_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="says nothing"):
        asked_in_words(reading_model(), world(), "R17")


def test_a_model_without_text_refuses_words_in_one_line() -> None:
    model = Trivium(ModelConfig(dim=32, layers=2, structure_dim=16))
    with pytest.raises(ConfigError, match="reads no text") as error:
        asked_in_words(model, world(), "is the capital of")
    assert "\n" not in str(error.value)


@needs_encoder
def test_the_ranker_reads_names_and_what_it_holds_equals_the_model() -> None:
    model, graph = reading_model(), world()
    texts = model_texts(model, graph)
    heads, relations = np.array([3, 0]), np.array([0, 3])
    by_names, given, without = (
        Ranker(model, graph, texts=choice).scores(heads, relations) for choice in ("names", texts, None)
    )
    assert torch.equal(by_names, given)
    assert (by_names - without).abs().max() > 1e-4
    with torch.no_grad():
        ranker = Ranker(model, graph, texts=texts)
        direct = model(ranker.topology, torch.from_numpy(heads), torch.from_numpy(relations))
    assert torch.allclose(given, direct, atol=1e-5)


@needs_encoder
def test_a_disabled_part_takes_no_part() -> None:
    model, graph = reading_model(), world()
    heads, relations = np.array([3]), np.array([0])
    off = Ranker(model, graph, disabled=["text"]).scores(heads, relations)
    assert torch.equal(off, Ranker(model, graph, texts=None).scores(heads, relations))


def test_without_the_encoder_names_are_left_out_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(*_: object, **__: object) -> TextGraph:
        raise MissingPackageError("the text encoder is not installed: install it")

    monkeypatch.setattr("trivium.inference.ranker.graph_texts", missing)
    assert model_texts(reading_model(), world()) is None
    assert "relation names are not read" in caplog.text
