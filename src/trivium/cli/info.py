"""What graphs and checkpoints hold; conversions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from json import dumps
from pathlib import Path
from typing import Any

import numpy as np

from trivium.cli.options import Force, Output, Pairs, Reading, Required
from trivium.datasets import table
from trivium.errors import ConfigError, InputError, MissingPackageError
from trivium.files import check_place, claimed
from trivium.graph.formats import ENDPOINT, INDEX, decisions_of
from trivium.graph.graph import Graph
from trivium.graph.index import open_index, save_index
from trivium.graph.read import read_graph
from trivium.model.checkpoint import ENDING, find_checkpoint
from trivium.model.config import ModelConfig
from trivium.model.flags import read_flags
from trivium.model.fusion import Fusion
from trivium.model.trivium import branch_weights, load_checkpoint, save_checkpoint
from trivium.model.ultra import import_ultra
from trivium.report import progress, show, warn
from trivium.review.decisions import Decisions, with_decisions

SHOWN = 20  # rows of a table
LONGEST = 200  # characters of what a checkpoint says of itself
MAX_TEXTS = 5_000  # relations whose texts are encoded to describe a graph: some seconds


def info(
    what: str | None = None,
    /,
    *,
    flags: Path | None = None,
    json: bool = False,
    relation: Pairs = None,
    reading: Reading = Reading(),
) -> None:
    """Describes a graph or a checkpoint, or what a flags.yaml yields.

    Parameters
    ----------
    what
        A graph file, a checkpoint file, or a shipped checkpoint's name.
    flags
        A flags.yaml of the public code.
    json
        Print what a graph holds as JSON.
    """
    if what is None and flags is not None:
        _show_flags(flags)
    elif what is None or flags is not None:
        raise ConfigError("give a graph or a checkpoint, or --flags FILE")
    elif what.endswith(ENDING) or not (Path(what).exists() or what.startswith(ENDPOINT)):
        _show_checkpoint(what)
    else:
        from trivium.text.graph import with_texts

        given = read_graph(what, relation=relation, **vars(reading))
        _show_graph(Path(what), with_texts(with_decisions(given, what), what), given, json)


def _show_flags(path: Path) -> None:
    config, unused = read_flags(path)
    weights = Fusion(branch_weights(config), config.use_learnable_fusion).weights()
    show(["setting", "value"], _settings(config), f"{path} yields")
    kind = "fusion start" if config.use_learnable_fusion else "fixed fusion"
    show(["part", "weight"], list(weights.items()), f"\n{kind}")
    if unused:
        show(["key", "not used, because"], list(unused.items()), "\nknown keys that change nothing here")


def _show_checkpoint(name: str) -> None:
    if not name.endswith(ENDING) and "." in Path(name).name:
        raise InputError(f"no such file: {name}")
    model, provenance = load_checkpoint(name)
    path = find_checkpoint(name)
    size = f"{sum(parameter.numel() for parameter in model.parameters()):,}"
    title = f"{path.name}, {path.stat().st_size / 1e6:.1f} MB"
    show(["setting", "value"], [("parameters", size), *_settings(model.config)], title)
    content = {key: value for key, value in vars(provenance).items() if key not in ("settings", "training_data")}
    content |= {f"trained on {data}": sha256 for data, sha256 in provenance.training_data.items()}
    texts = {key: str(value) for key, value in content.items() if value not in ("", None, {})}
    rows = [(key, text if len(text) <= LONGEST else f"{text[:LONGEST]} …") for key, text in texts.items()]
    show(["provenance", ""], rows, "\nprovenance")
    show(["part", "weight"], list(model.fusion_weights().items()), "\nfusion weights")


def _settings(config: ModelConfig) -> list[tuple[str, str]]:
    """Fields and values, as YAML writes them."""
    return [(key, str(value).lower() if isinstance(value, bool) else str(value)) for key, value in vars(config).items()]


def _show_graph(path: Path, graph: Graph, given: Graph, json: bool) -> None:
    """Shows a graph as verbs ask it, with what was decided; its hash is that of the facts as they were read."""
    counted = Decisions(decisions_of(path)).state()["verdict"].value_counts()
    degree = np.diff(graph.offsets)
    facts: dict[str, object] = {
        "triples": graph.num_triples,
        "entities": graph.num_entities,
        "relations": graph.num_relations,
        "labels": "no" if graph.entities.labels is None else "yes",
        **{f"left out: {what}": count for what, count in given.left_out.items()},
        **{f"links {verdict}": count for verdict, count in sorted(counted.iter_rows())},
        "median degree": int(np.median(degree)),
        "largest degree": int(degree.max()),
        "sha256": given.sha256,
        **_text_rows(graph),
    }
    counts = np.bincount(graph.triples[:, 1], minlength=graph.num_relations)
    order = np.argsort(-counts, kind="stable")
    if json:
        relations = dict(zip(graph.relations.take(order), counts[order].tolist(), strict=True))
        print(dumps({"graph": facts, "relations": relations, "twins": _twins(graph, graph.relations.take)}, indent=2))
        return
    values = [f"{value:,}" if isinstance(value, int) else str(value) for value in facts.values()]
    show(["graph", ""], list(zip(facts, values, strict=True)), str(path))
    largest = order[:SHOWN]
    rows = list(zip(graph.relations.shown(largest), counts[largest].tolist(), strict=True))
    show(["relation", "triples"], rows, "\nlargest relations")
    if len(counts) > SHOWN:
        warn(f"{len(counts) - SHOWN:,} more relations")
    if twins := [[*twin.values()] for twin in _twins(graph, graph.relations.shown)]:
        show(["relation", "says the same as", "turned round"], twins[:SHOWN], "\ntwins")
    if len(twins) > SHOWN:
        warn(f"{len(twins) - SHOWN:,} more twins")


def _twins(graph: Graph, named: Callable[[Any], Iterable[str]]) -> list[dict[str, object]]:
    """Each relation that says the same as others, the first of them once for each of the others; see `Graph.twins`."""
    count = graph.num_relations
    kinds = np.flatnonzero(np.bincount(graph.twins, minlength=2 * count)[graph.twins] > 1)
    groups: dict[int, list[int]] = {}
    for kind in kinds.tolist():
        groups.setdefault(int(graph.twins[kind]), []).append(kind)
    names = dict(zip(kinds.tolist(), named(kinds % count), strict=True))
    return [
        {"relation": names[first], "twin": names[other], "turned": other >= count}
        for first, *others in groups.values()
        for other in others
        if first == min(kind % count for kind in (first, *others))
    ]


def _text_rows(graph: Graph) -> dict[str, object]:
    """What the relation names say to a model with text."""
    from trivium.text.encoder import load_encoder
    from trivium.text.graph import graph_texts

    if graph.num_relations > MAX_TEXTS:
        return {"text edges": f"not counted: more than {MAX_TEXTS:,} relations"}
    try:
        texts = graph_texts(graph, load_encoder())
    except MissingPackageError as error:
        warn(str(error))
        return {"text edges": "unknown: the text encoder cannot be had"}
    if texts.warning is not None:
        warn(texts.warning)
    return {
        "relations with text": int(texts.has_text[: graph.num_relations].sum()),
        "text edges": len(texts.weight),
        "isolated relations": texts.num_isolated,
    }


def datasets() -> None:
    """Lists the data sets that are known by name."""
    known = table.datasets().values()
    rows = [(d.name, d.family, d.entities, d.relations, d.triples.get("test"), d.citation) for d in known]
    show(["data set", "family", "entities", "relations", "test triples", "citation"], rows)


def index(
    graph: str,
    /,
    *,
    output: Output = None,
    check: bool = False,
    predicate: list[str] | None = None,
    relation: Pairs = None,
    reading: Reading = Reading(),
    force: Force = False,
) -> None:
    """Saves a graph in a form that opens at once, with the texts of its relations.

    Parameters
    ----------
    graph
        The graph; or sparql:URL, an endpoint, which is read page by page. Interrupted, the same command goes on.
    output
        The .trivium file to write.
    check
        Write nothing: say whether GRAPH, a .trivium file, is whole.
    predicate
        Of an endpoint: the IRI of a predicate to read (repeatable); all by default.
    """
    if check == (output is not None):
        raise InputError("give -o FILE, or --check and the .trivium file to look at")
    if output is None:
        if Path(graph).suffix.lower() != INDEX:
            raise InputError(f"{graph} is no index ({INDEX}), and --check looks at these: trivium info reads a graph")
        print(f"{graph} is whole: {open_index(graph, check=True).num_triples:,} triples")
    else:
        from trivium.text.graph import with_texts

        check_place(output, force, INDEX)
        pieces = output.with_name(f"{output.name}.pieces")
        with (
            claimed(pieces, output),
            _local(graph, output, predicate or [], reading) as (path, how),
            progress("indexing") as update,
        ):
            held = read_graph(path, relation=relation, scratch=pieces, progress=update, **vars(how))
            held = with_texts(held, path)
            save_index(held, output, force)
        warn(
            f"{output}: {held.num_triples:,} triples, {held.num_entities:,} entities, {held.num_relations:,} relations"
        )


@contextmanager
def _local(graph: str, output: Path, predicates: list[str], reading: Reading) -> Iterator[tuple[str | Path, Reading]]:
    """The file of a graph, and how it is read; of an endpoint what has come of it."""
    if not graph.startswith(ENDPOINT):
        if predicates:
            raise InputError(f"--predicate serves endpoints, {ENDPOINT}URL: {graph} is a file")
        yield graph, reading
        return
    from trivium.graph.sparql import fetched

    address = graph.removeprefix(ENDPOINT)
    with (
        progress("reading the endpoint") as update,
        fetched(address, output, reading.named_graph, predicates, update) as path,
    ):
        yield path, replace(reading, named_graph=None)


def import_(file: Path, /, *, output: Required, force: Force = False) -> None:
    """Turns a public ULTRA checkpoint (.pth) into one of ours; only tensors are read from it.

    Parameters
    ----------
    file
        ultra_3g.pth, ultra_4g.pth or ultra_50g.pth.
    output
        The .safetensors file to write.
    """
    check_place(output, force, ENDING)
    save_checkpoint(*import_ultra(file), output, force)
    print(f"{output}: imported; inverse queries are conditioned on the forward relation, as in the public code")
