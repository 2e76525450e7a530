"""Files of every kind, mutated by seed: each is read or refused in one line, within a time and a memory limit."""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from tests.conftest import small_model, small_training
from tests.service.conftest import write_graph
from trivium.errors import TriviumError
from trivium.files import sealed, unsealed
from trivium.graph.graph import Graph
from trivium.graph.index import open_index, save_index
from trivium.graph.read import read_graph, read_queries, read_triples
from trivium.model.checkpoint import Provenance
from trivium.model.flags import read_flags
from trivium.model.trivium import load_checkpoint, save_checkpoint
from trivium.settings import read_json, read_yaml
from trivium.text.graph import with_texts
from trivium.text.names import read_relation_texts
from trivium.training.pretrain import read_config
from trivium.training.run import METRICS, SOURCES, STATE, RunFolder

SOAK = "TRIVIUM_SOAK" in os.environ
TEXT, BINARY = (2000, 500) if SOAK else (400, 120)  # files a format; all of them take some minutes
SECONDS = 10.0  # a file
MIB = 300  # that all files of a format may add
TOKENS = [b"\0", b"\xff", b"\xc3", b"\t", b"\t\t", b"\n", b"\r", b"\r\n", b'"', b"'", b",", b"<", b">", b"_:", b"@"]
TOKENS += [b".", b"\\u0000", b"\\uD800", b"\\", b"&a", b"*a", b"<<: *a", b": ", b"- ", b"{", b"}", b"[", b"]", b"1e999"]
TOKENS += [b"NaN", b".nan", b"null", b"9" * 400, b"\xe2\x80\xa8", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf"]
TOKENS += [b"!!python/object/apply:os.system [x]", b"\x1a", b"\x85", b"a" * 70_000, b"[" * 9000, b'{"a":' * 9000]


def samples(folder: Path) -> dict[str, bytes]:
    """A small valid file of every kind that is read."""
    write_graph(folder / "g.tsv")
    (folder / "relations.tsv").write_text("likes\tis fond of\tsomebody likes\tis liked\n")
    (folder / "relations.json").write_text('{"likes": ["is fond of", "about", null], "knows": "has met"}')
    save_index(with_texts(read_graph(folder / "g.tsv"), folder / "g.tsv"), folder / "g.trivium")
    frame = pl.DataFrame({"head": ["a", "b"], "relation": ["r", "r"], "tail": ["b", "c"]})
    frame.write_csv(folder / "g.csv")
    frame.write_parquet(folder / "g.parquet")
    (folder / "g.nt").write_text('<u:a> <u:r> <u:b> .\n<u:a> <http://www.w3.org/2000/01/rdf-schema#label> "A"@en .\n')
    (folder / "g.ttl").write_text("@prefix u: <u:> .\nu:a u:r u:b, [ u:r u:c ] .\n")
    (folder / "g.trig").write_text("@prefix u: <u:> .\nu:one { u:a u:r u:b }\n")
    (folder / "g.jsonld").write_text('{"@id": "u:a", "u:r": {"@id": "u:b"}}')
    (folder / "g.rdf").write_text(
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:u="u:">'
        '<rdf:Description rdf:about="u:a"><u:r rdf:resource="u:b"/></rdf:Description></rdf:RDF>'
    )
    (folder / "q.tsv").write_text("a\tr\nb\tr\n")
    (folder / "q.csv").write_text("head,relation,tail\na,r,\n,r,b\n")
    (folder / "g.tsv.gz").write_bytes(gzip.compress(b"a\tr\tb\n"))
    save_checkpoint(small_model(), Provenance(), folder / "m.safetensors")
    (folder / "f.yaml").write_text("similarity_enhancer_weight: 0.2\n")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run_files(folder: Path) -> dict[str, bytes]:
    """What a run keeps, and a part."""
    config = small_training()
    run = RunFolder.create(folder / "run", config, {"g.tsv": "0" * 64})
    run.save(3, small_model().state_dict())
    run.log({"step": 1, "loss": 0.5, "valid_mrr": 0.25, "fusion": {"r": {"weight": 1.0}}})
    run.log({"step": 2, "loss": 0.5})
    (folder / "run" / "p.part").write_bytes(sealed(b"rows"))
    (folder / "run" / "c.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(asdict(config)))))
    return {path.name: path.read_bytes() for path in run.path.iterdir()}


def mutated(content: bytes, chance: random.Random) -> bytes:
    """One change: a bit, a token, a gap, a repeat, an end too soon, noise."""
    odd, kind = bytearray(content), chance.random()
    place = chance.randrange(len(odd) + 1)
    if kind < 0.25:
        odd[min(place, len(odd) - 1)] ^= 1 << chance.randrange(8)
    elif kind < 0.6:
        odd[place:place] = chance.choice(TOKENS)
    elif kind < 0.7:
        del odd[place : place + chance.randrange(1, 20)]
    elif kind < 0.8:
        begin = chance.randrange(len(odd))
        odd[place:place] = odd[begin : begin + chance.randrange(1, 12)]
    elif kind < 0.9:
        del odd[place:]
    else:
        odd[place:place] = chance.randbytes(chance.randrange(1, 30))
    return bytes(odd)


TRIPLES = [f"g.{ending}" for ending in "tsv csv parquet nt ttl trig rdf jsonld tsv.gz".split()]
IN_RUNS: dict[str, Callable[[Path], Any]] = {
    STATE: lambda path: RunFolder(path.parent).load(),
    METRICS: lambda path: RunFolder(path.parent).validations(),
    SOURCES: lambda path: RunFolder(path.parent).check_sources({"g.tsv": "0" * 64}),
    "config.yaml": read_config,
    "p.part": unsealed,
}
READERS: list[tuple[str, Callable[[Path], Any]]] = [
    *((name, read_graph) for name in (*TRIPLES, "g.trivium")),
    *((name, read_triples) for name in TRIPLES),
    *((name, read_queries) for name in ("q.tsv", "q.csv")),
    *((name, read_relation_texts) for name in ("relations.tsv", "relations.json")),
    ("relations.json", read_json),
    ("m.safetensors", load_checkpoint),
    ("f.yaml", read_yaml),
    ("f.yaml", read_flags),
    *IN_RUNS.items(),
]


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return samples(tmp_path_factory.mktemp("valid")) | run_files(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize(("name", "reader"), READERS, ids=[f"{name} {reader.__name__}" for name, reader in READERS])
def test_a_mutated_file_is_read_or_refused(
    valid: dict[str, bytes],
    tmp_path: Path,
    name: str,
    reader: Callable[[Path], Any],
    record_property: Callable[[str, object], None],
) -> None:
    place = tmp_path / (name if name in IN_RUNS or name.startswith("relations") else f"odd.{name.split('.', 1)[1]}")
    place.write_bytes(valid[name])
    reader(place)
    binary = place.suffix in (".parquet", ".gz", ".trivium", ".safetensors", ".part")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    chance = random.Random(f"{name} {reader.__name__}")
    count = BINARY if binary else TEXT
    for number in range(count):
        place.write_bytes(mutated(valid[name], chance))
        began = time.process_time()
        try:
            found = reader(place)
        except TriviumError as error:
            assert place.name in str(error) or name == SOURCES, number
            assert "\n" not in str(error), number
        else:
            assert not isinstance(found, Graph) or found.num_triples > 0
            assert not isinstance(found, pl.DataFrame) or len(found) > 0
        assert time.process_time() - began < SECONDS, number
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MIB << 10
    record_property("mutated files read or refused", count)


def test_no_flipped_bit_of_an_index_changes_a_graph(valid: dict[str, bytes], tmp_path: Path) -> None:
    """Nor of a checkpoint, a state or a part: what opens is what was written."""
    (tmp_path / "g.trivium").write_bytes(valid["g.trivium"])
    graph = open_index(tmp_path / "g.trivium")
    chance = random.Random(0)
    for _ in range(500 if SOAK else 100):
        odd = bytearray(valid["g.trivium"])
        odd[chance.randrange(len(odd))] ^= 1 << chance.randrange(8)
        (tmp_path / "g.trivium").write_bytes(odd)
        try:
            same = open_index(tmp_path / "g.trivium")
        except TriviumError:
            continue
        assert np.array_equal(same.sources, graph.sources)
        assert np.array_equal(same.edge_relations, graph.edge_relations)
        assert same.sha256 == graph.sha256
