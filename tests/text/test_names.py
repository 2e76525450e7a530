"""Names made readable, and texts read from files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.errors import InputError
from trivium.text.names import (
    RelationText,
    clean_name,
    data_set_tables,
    read_relation_texts,
    relation_texts,
    split_run,
    texts_beside,
    wikidata_texts,
)

# in the order of their frequency in English
WORDS = {
    word: rank
    for rank, word in enumerate(
        ("of", "in", "for", "at", "is", "team", "plays", "country", "city", "athlete", "located")
    )
}


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("/people/person/place_of_birth", "person place of birth"),
        ("/location/location/contains", "location contains"),
        ("/film/actor/film./film/performance/film", "actor film performance film"),
        ("concept:athleteplaysforteam", "athlete plays for team"),
        ("concept:worksFor", "works for"),
        ("birthPlace", "birth place"),
        ("IsA", "is a"),
        ("HTTPServerName", "http server name"),
        ("_member_meronym", "member meronym"),
        ("has-part", "has part"),
        ("http://dbpedia.org/ontology/birthPlace", "birth place"),
        ("<http://www.w3.org/2000/01/rdf-schema#subClassOf>", "sub class of"),
        ("http://x.org/capital%20of/", "capital of"),
        ("is the capital of", "is the capital of"),
        ("country of citizenship", "country of citizenship"),
        ("locatedin", "located in"),
        ("出生地", "出生地"),
        ("type", "type"),
    ],
)
def test_clean_names(raw: str, clean: str) -> None:
    assert clean_name(raw, WORDS) == clean


@pytest.mark.parametrize(
    "raw", ["P31", "P_19", "R0", "r", "", "term12", "rel_3", "relation 7", "http://x.org/P9", "42"]
)
def test_names_that_say_nothing(raw: str) -> None:
    assert clean_name(raw, WORDS) is None


def test_words_that_nobody_listed_stay_whole() -> None:
    assert split_run("hypernym", WORDS) == ["hypernym"]
    assert split_run("athletebeatsteam", WORDS) == ["athlete", "beats", "team"]
    assert clean_name("athleteplaysforteam") == "athleteplaysforteam"


@given(st.lists(st.sampled_from(sorted(WORDS)), min_size=1, max_size=6))
def test_splitting_loses_no_letter(parts: list[str]) -> None:
    assert "".join(split_run("".join(parts), WORDS)) == "".join(parts)


@given(st.text(max_size=30))
def test_no_name_breaks_the_cleaning(raw: str) -> None:
    found = clean_name(raw, WORDS)
    assert found is None or found == found.strip() != ""


@pytest.mark.parametrize(
    ("text", "forward", "backward"),
    [
        (
            RelationText("works for", "employed by", "employs"),
            "works for: employed by",
            "inverse of works for: employs",
        ),
        (RelationText("works for"), "works for", "inverse of works for"),
        (RelationText(None, None, "employs"), None, "employs"),
        (RelationText(), None, None),
    ],
)
def test_texts_of_both_directions(text: RelationText, forward: str | None, backward: str | None) -> None:
    assert (text.forward, text.backward) == (forward, backward)


def test_a_relation_leads_to_the_last_word_of_its_name_and_its_inverse_to_the_first() -> None:
    names = ["Team Won Trophy", "is the capital of", "capital", "of", None]
    ends = [RelationText(name, "employs").ends for name in names]
    assert ends == [("trophy", "team"), (None, "capital"), ("capital", None), (None, None), (None, None)]


def test_sources_come_in_order() -> None:
    labels = {"P19": RelationText("place of birth")}
    about = {"place of birth": RelationText("Place Of Birth", "born in", "birthplace of")}
    own = {"works_for": RelationText("labours for")}
    texts = relation_texts(["P19", "works_for", "P20", "partOf"], None, [own, labels, about])
    assert [text.forward for text in texts] == ["place of birth: born in", "labours for", None, "part of"]
    assert texts[0].backward == "inverse of place of birth: birthplace of"
    from_graph = relation_texts(["P20", "partOf", "P21"], ["place of death", "partOf", "P21"])
    assert [text.forward for text in from_graph] == ["place of death", "part of", None]


def test_tsv(tmp_path: Path) -> None:
    path = tmp_path / "relations.tsv"
    path.write_text("relation\tname\tdescription\tinverse\nr1\tworks for\temployed by\temploys\n\nr2\tknows\t\t\n")
    assert read_relation_texts(path) == {
        "r1": RelationText("works for", "employed by", "employs"),
        "r2": RelationText("knows"),
    }
    assert texts_beside(tmp_path / "triples.tsv") == path
    assert texts_beside(tmp_path / "other" / "triples.tsv") is None


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (
            {"cleaned_relations": {"a": "Works For"}, "relation_descriptions": {"a": ["by", "of"], "b": ["x", "y"]}},
            {"a": RelationText("Works For", "by", "of"), "b": RelationText(None, "x", "y")},
        ),
        ({"a": "works for", "b": None}, {"a": RelationText("works for"), "b": RelationText()}),
        ({"a": ["n", "d", "i"]}, {"a": RelationText("n", "d", "i")}),
        ({"Relations": ["has-part"], "Examples": [["x", "has-part", "y"]]}, {"has-part": RelationText("has-part")}),
    ],
)
def test_json(tmp_path: Path, table: object, expected: dict[str, RelationText]) -> None:
    path = tmp_path / "relations.json"
    path.write_text(json.dumps(table))
    assert read_relation_texts(path) == expected
    assert texts_beside(tmp_path / "triples.tsv") == path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.json", b"{", "is not JSON"),
        ("r.json", b"[1]", "a JSON object with relations as keys is needed, not list"),
        ("r.json", b'{"a": 3}', "relation 'a' has [3]: give a name"),
        ("r.json", b'{"a": ["1", "2", "3", "4"]}', "relation 'a' has"),
        ("r.tsv", b"a\tb\nc\n", "line 2: one field"),
        ("r.tsv", b"a\tb\tc\td\te\n", "line 1: relation 'a' has"),
        ("r.tsv", b"a\t\xff\n", "line 1: not UTF-8"),
    ],
)
def test_errors_say_where(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_relation_texts(path)
    assert message in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        read_relation_texts(tmp_path / "absent.tsv")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "missing"),
    [("NELLInductive:v1", 0), ("HM:1k", 0), ("CoDExSmall", 0), ("Metafam_harder", 0), ("Kinship", 25), ("UMLS", 0)],
)
def test_public_data_sets_have_texts(data: Path, name: str, missing: int) -> None:
    relations: set[str] = set()
    for path in (data / name.replace(":", "/")).glob("*.txt.gz"):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            relations |= {line.split("\t")[1] for line in file}
    tables = data_set_tables(name, data)
    texts = relation_texts(sorted(relations), None, tables)
    assert sum(text.forward is None for text in texts) == missing
    described = sum(text.description is not None and text.inverse is not None for text in texts)
    assert described == (0 if name in ("Kinship", "UMLS") else len(relations))


def test_wikidata_calls_its_properties() -> None:
    names = ["P36", "P47", "P999999", "wdt:P36", "http://www.wikidata.org/prop/direct/P106", "http://x.org/P36", "XP36"]
    found = {name: text.name for name, text in wikidata_texts(names).items()}
    occupation = "http://www.wikidata.org/prop/direct/P106"
    assert found == {"P36": "capital", "P47": "shares border with", "wdt:P36": "capital", occupation: "occupation"}
    assert wikidata_texts([f"P{number}" for number in range(1, 60)]) == {}  # numbers of somebody else's
    assert wikidata_texts(["capital"]) == {}
