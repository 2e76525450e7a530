"""What a relation says of itself: a name made readable, a description, and a description of its inverse."""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from math import log as ln
from pathlib import Path
from urllib.parse import unquote

from trivium.errors import InputError
from trivium.graph.formats import opened
from trivium.graph.names import Names
from trivium.graph.tables import TABS, text_rows

log = logging.getLogger(__name__)

_WORD = re.compile(r"[^\W\d_]+|\d+")
_CAMEL = re.compile(r"(?<=[^\W\d_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][^\W\d_A-Z])")
# Words that, beside a number, name nothing: term12, rel_3, P31.
_JOINS = frozenset("a an and are as at by for from has in into is of on or the there to was with".split())
WIKIDATA = Path(__file__).with_name("wikidata_properties.tsv")
_PROPERTY = re.compile(r"(^|^wdt:|wikidata\.org/.*/)(P\d+)$")
_SAYS_NOTHING = re.compile("concept|edge|id|link|pred|predicate|prop|property|rel|relation|term|type")


def clean_name(raw: str, words: Mapping[str, int] | None = None) -> str | None:
    """The readable form of a raw relation name; ``None`` where it says nothing (``P31``, ``R0``, ``term12``).

    ``/people/person/place_of_birth`` gives ``person place of birth`` (the last two parts of a Freebase path,
    or of each half of a composed one), ``concept:worksFor`` and ``http://x.org/ns#worksFor`` give ``works
    for``.

    Args:
        words: words by rank, most frequent first, to take a run like ``athleteplaysforteam`` apart with.
    """
    text = raw.strip().strip("<>")
    if re.search(r"\s", text):  # a phrase already: somebody wrote it for people
        found = text.split()
    else:
        if text.startswith("/"):
            halves = [half.split("/")[-2:] for half in text.strip("/").split("./")]
            text = " ".join(part for half in halves for part in half)
        elif "://" in text:
            text = unquote(re.split(r"[/#]", text.rstrip("/#"))[-1])
        else:
            text = text.rsplit(":", 1)[-1]
        found = [word.lower() for word in _words(text)]
        if len(found) == 1 and words is not None:
            found = split_run(found[0], words)
    kept = [word for place, word in enumerate(found) if place == 0 or word != found[place - 1]]
    return " ".join(kept) if _speaks(text) else None


def _words(name: str) -> list[str]:
    return _WORD.findall(_CAMEL.sub(" ", name))


def _speaks(name: str) -> bool:
    found = _words(name)
    letters = [word.lower() for word in found if not word.isdigit()]
    if len(letters) == len(found):
        return any(len(word) > 1 or not word.isascii() for word in letters)
    return any((len(word) > 2 or not word.isascii()) and not _SAYS_NOTHING.fullmatch(word) for word in letters)


def split_run(run: str, words: Mapping[str, int]) -> list[str]:
    """The likeliest words that a run of small letters is made of.

    By Zipf's law the word of rank ``k`` has a probability near ``1 / k``; four or more letters may be a word
    that nobody listed, at a price that grows with its length, and two letters are a word only if it is a very
    frequent one.

    Args:
        words: words by rank.

    Cost: O(letters · longest word).
    """
    if run in words or len(run) < 6 or not re.fullmatch("[a-z]+", run):
        return [run]
    scale = ln(len(words) + 1)
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(run) + 1):
        ways = [(inf, end - 1)]
        for begin in range(max(0, end - 24), end):
            rank, length = words.get(run[begin:end]), end - begin
            if rank is not None and (length > 2 or (length == 2 and rank < 100)):
                ways.append((best[begin][0] + ln((rank + 1) * scale), begin))
            elif length > 3:
                ways.append((best[begin][0] + 9 + 2 * length, begin))
        best.append(min(ways))
    parts, end = [], len(run)
    while end and best[-1][0] < inf:
        begin = best[end][1]
        parts.append(run[begin:end])
        end = begin
    return parts[::-1] or [run]


@dataclass(frozen=True)
class RelationText:
    """What is known of one relation in words; whatever is missing is ``None``."""

    name: str | None = None
    description: str | None = None
    inverse: str | None = None

    @property
    def forward(self) -> str | None:
        """The text of the relation's node."""
        return _joined(self.name, self.description)

    @property
    def backward(self) -> str | None:
        """The text of the inverse's node: ``inverse of`` and the name, then what is said of the inverse.

        The phrase keeps directions apart. With it an inverse is closer to the inverse of its nearest synonym
        than to that synonym for 94-100 % of the relations of four public graphs, without it for 55-93 %.
        """
        if self.name or not self.inverse:
            known = self.name or self.description
            return _joined(f"inverse of {known}" if known else None, self.inverse)
        return self.inverse

    @property
    def ends(self) -> tuple[str | None, str | None]:
        """What the relation leads to and what its inverse leads to, as far as its name says; small words say nothing.

        ``team won trophy`` leads to a trophy, its inverse to a team; ``capital`` to a capital, its inverse anywhere;
        ``is the capital of`` anywhere, its inverse to a capital.
        """
        words = (self.name or "").lower().split()
        said = [word for word in words if word not in _JOINS]
        if not said:
            return None, None
        if words[-1] == "of":
            return None, said[-1]
        return said[-1], said[0] if len(said) > 1 else None


def _joined(name: str | None, description: str | None) -> str | None:
    return ": ".join(part for part in (name, description) if part) or None


def relation_texts(
    names: Sequence[str],
    labels: Sequence[str] | None = None,
    given: Sequence[Mapping[str, RelationText]] = (),
    words: Mapping[str, int] | None = None,
) -> list[RelationText]:
    """The texts of a graph's relations, from the first source that has one.

    A table of ``given`` is asked for the raw name first, then for what an earlier table calls it (so that a
    table of labels for ``P19`` leads to a table of descriptions for ``place of birth``); what a later table
    adds fills gaps. Then come the graph's own labels, then the raw name. Names are cleaned (`clean_name`)
    wherever they come from.

    Args:
        names: the relations, by id.
        labels: as many labels from the graph, or ``None``.
        words: as in `clean_name`.
    """
    found = []
    for name, label, text in zip(names, labels or names, merged(names, given), strict=True):
        readable = clean_name(text.name or label, words) or clean_name(name, words)
        found.append(RelationText(readable, text.description, text.inverse))
    return found


def merged(names: Sequence[str], given: Sequence[Mapping[str, RelationText]]) -> list[RelationText]:
    """What tables say of each relation, as they say it; see `relation_texts`."""
    found = []
    for name in names:
        text = RelationText()
        for table in given:
            more = table.get(name) or table.get(text.name or "") or RelationText()
            text = RelationText(
                text.name or more.name, text.description or more.description, text.inverse or more.inverse
            )
        found.append(text)
    return found


def read_relation_texts(path: str | Path) -> dict[str, RelationText]:
    """Reads texts by raw relation name, from TSV or JSON.

    TSV: relation, name, and perhaps a description and one of the inverse, between tabs; a first line that
    begins with ``relation`` is a header. JSON is one of::

        {"cleaned_relations": {relation: name}, "relation_descriptions": {relation: [description, inverse]}}
        {relation: name, …}                {relation: [name, description, inverse], …}
        {"Relations": [relation, …]}       names that speak for themselves

    Empty fields count as missing.

    Raises:
        InputError: the file cannot be read or has another shape.
    """
    path = Path(path)
    if path.suffix.lower() != ".json":
        return _from_tsv(path)
    try:
        with opened(path) as file:
            table = json.load(file)
    except (ValueError, RecursionError) as reason:
        raise InputError(f"{path} is not JSON in UTF-8: {reason}") from reason
    if not isinstance(table, dict):
        raise InputError(f"{path}: a JSON object with relations as keys is needed, not {type(table).__name__}")
    if isinstance(table.get("Relations"), list):
        return {str(name): RelationText(str(name)) for name in table["Relations"]}
    names, about = table.get("cleaned_relations"), table.get("relation_descriptions")
    if isinstance(names, dict) or isinstance(about, dict):
        names, about = names or {}, about or {}
        table = {name: [names.get(name), *_fields(about.get(name, []))] for name in {**names, **about}}
    return {name: _text(path, name, _fields(fields)) for name, fields in table.items()}


def _from_tsv(path: Path) -> dict[str, RelationText]:
    texts = {}
    for number, (name, *fields) in text_rows(path, TABS):
        if not (fields or name.strip()) or (number == 1 and name == "relation"):
            continue
        if not fields:
            raise InputError(f"{path} line {number}: one field: give relation, name, and perhaps two descriptions")
        texts[name] = _text(f"{path} line {number}", name, fields)
    return texts


def _fields(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _text(where: str | Path, name: str, fields: Sequence[object]) -> RelationText:
    if len(fields) > 3 or not all(field is None or isinstance(field, str) for field in fields):
        raise InputError(f"{where}: relation {name!r} has {fields!r}: give a name, a description, one of the inverse")
    given = [(field or "").strip() or None for field in fields if field is None or isinstance(field, str)]
    return RelationText(*given)


def texts_beside(path: str | Path) -> Path | None:
    """``relations.tsv`` or ``relations.json`` in the folder of a graph's file, if there is one."""
    beside = (Path(path).with_name(name) for name in ("relations.tsv", "relations.json"))
    return next((file for file in beside if file.is_file()), None)


def data_set_tables(name: str, data: Path) -> list[dict[str, RelationText]]:
    """The tables of texts that a folder of public data sets holds for one of them, for `relation_texts`.

    Args:
        name: ``NELLInductive:v1``; a ``_harder`` set shares its relations with the plain one.
        data: the folder, with ``relation_text`` and ``labels`` in it.

    Source: texts that the public SEMMA code came with (a language model wrote them), Wikidata's property
    labels.
    """
    family, _, version = name.partition(":")
    stem = family.removesuffix("_harder") + (f"-{version}" if version else "")
    texts = data / "relation_text"
    candidates = [texts / "wikidata_property_labels.json"]
    candidates += [data / "labels" / "HM_relation_ids.tsv"] if family == "HM" else []
    candidates += [folder / f"{stem}.json" for folder in sorted(texts.glob("gpt-*"))]
    return [read_relation_texts(path) for path in candidates if path.is_file()]


def given_texts(
    relations: Names, source: str | Path = "", data_dir: str | Path | None = None
) -> list[dict[str, RelationText]]:
    """What is said of a graph's relations beside it, and in its index, for `relation_texts`.

    Args:
        source, data_dir: see `trivium.text.graph.graph_texts`.
    """
    given: list[dict[str, RelationText]] = []
    if Path(source).is_file():
        beside = texts_beside(source)
        given = [] if beside is None else [_read_beside(beside, relations)]
    elif data_dir is not None:
        given = data_set_tables(str(source), Path(data_dir))
    if relations.texts is not None:
        given.append(dict(zip(relations.names, map(RelationText, *relations.texts.get_columns()), strict=True)))
    return [*given, wikidata_texts(relations.names.to_list())]


def _read_beside(path: Path, relations: Names) -> dict[str, RelationText]:
    """The texts of a file that lies beside a graph; none of one that is of another kind, with a warning."""
    try:
        texts = read_relation_texts(path)
    except InputError as reason:
        with opened(path) as file:
            begun = {line.partition(b"\t")[0].decode("utf-8", "replace") for line in file}
        if begun.intersection(relations.names):
            raise InputError(f"{reason} (it is read because it lies beside the graph)") from reason
        log.warning("%s (it lies beside the graph, names none of its relations, and is left out)", reason)
        return {}
    if texts and not relations.names.is_in(list(texts)).any():
        log.warning("%s lies beside the graph, but names none of its %d relations", path, len(relations))
    return texts


def wikidata_texts(names: Sequence[str]) -> dict[str, RelationText]:
    """What Wikidata calls its properties, for names like ``P106``, ``wdt:P106`` and addresses that end so.

    Plain names are taken for properties only if half of those in this form are known ones.

    Source: labels of Wikidata's properties (CC0).
    """
    found = {name: match[2] for name in names if (match := _PROPERTY.search(name))}
    if not found:
        return {}
    known = read_relation_texts(WIKIDATA)
    plain = [number in known for name, number in found.items() if name == number]
    certain = 2 * sum(plain) >= len(plain)
    return {name: known[of] for name, of in found.items() if of in known and (certain or name != of)}
