"""A model and a graph, ready to answer: one query or a million, in bounded memory."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from trivium import __version__
from trivium.errors import ConfigError, GraphError, InputError, MissingPackageError, PairsError
from trivium.files import digest
from trivium.graph.formats import TRIPLE, decisions_of
from trivium.graph.graph import Graph, inverse
from trivium.graph.read import read_graph
from trivium.inference.answers import (
    Answerable,
    Confidence,
    EntityIds,
    Ids,
    Ranks,
    Scores,
    best_answers,
    both_directions,
    filtered_entities,
    filtered_ranks,
    ranks_and_margins,
    sharing,
)
from trivium.inference.engine import DeviceEngine, Engine, Representations
from trivium.kernels.csr import IntArray
from trivium.model.checkpoint import checkpoint_sha256
from trivium.model.topology import Topology
from trivium.model.trivium import Trivium
from trivium.text.encoder import load_encoder
from trivium.text.graph import TextGraph, graph_texts, with_texts
from trivium.text.names import RelationText, clean_name

log = logging.getLogger(__name__)

PARTS = frozenset({"text", "similarity", "prompt", "chains"})
"""What can be switched off."""
AT_FIRST, RELATION = 20, 5  # what a graph's first question costs besides its own layers, and each relation: in layers
FEW = 1_000_000_000  # edges times layers: half a minute at most
PART_EDGES = 2_000_000_000  # times questions, of a part: some minutes
FEWEST = 10  # questions of a part: what they share costs a few of them
DEBIAS = 0.5  # of the score without a head: what `Ranker.debiased` takes off; measured in docs/benchmarks.md


class Kinds(Protocol):
    """Which entities may answer; see `trivium.inference.kinds`."""

    @property
    def name(self) -> str:
        """Of the choice, for what is made with it."""

    def answers(self, relation: int) -> EntityIds | None:
        """Of a relation's questions, its id over ``2 · num_relations``; ``None`` means all."""

    def over(self, graph: Graph) -> Kinds:
        """The same choice over another graph with the same names."""


class Ranker:
    """Answers queries over one graph.

    Args:
        model: a `Trivium`, put into evaluation mode; where its weights are, there is computed.
        graph: what is known.
        texts: of the graph's relations, for a model that reads them; by default made from the graph's own names and
            labels, ``None`` leaves them out.
        disabled: parts of the model that are switched off, ``text`` among them (F9).
        excluded: ``[n, 3]`` ids of triples that are no answers and nobody's rivals, though the graph lacks them.
        cache_bytes: budget for relation representations.
        base_trajectory: an exact shortcut of `Engine`; off only to measure it.

    Attributes:
        kinds: which entities may answer; all if there is none. See `narrowed`.

    Raises:
        ConfigError: a part that is to be disabled is none of `PARTS`.
    """

    kinds: Kinds | None = None

    def __init__(
        self,
        model: Trivium,
        graph: Graph,
        *,
        texts: TextGraph | Literal["names"] | None = "names",
        disabled: Collection[str] = (),
        excluded: IntArray | None = None,
        cache_bytes: int = 512 << 20,
        base_trajectory: bool = True,
    ) -> None:
        disabled = [disabled] if isinstance(disabled, str) else disabled
        if unknown := set(disabled) - PARTS:
            raise ConfigError(f"there is no part {min(unknown)!r} to disable: choose from {', '.join(sorted(PARTS))}")
        self.model = model.eval()
        self.graph = self.given = graph
        self.checkpoint: str | Path = ""
        self.excluded: Graph | None = None
        if excluded is not None and len(excluded):
            self.excluded = Graph.from_ids(*excluded.T, entities=graph.entities, relation_names=graph.relations)
        if texts == "names":
            texts = model_texts(model, graph)
        self.topology = Topology(graph, texts, model.device)
        self.representations = Representations(model, self.topology, cache_bytes, disabled)
        chains = None if "chains" in disabled else model.chains
        self.engine: Engine | DeviceEngine
        if model.device.type == "cpu":
            self.engine = Engine(model.entity, self.topology, base_trajectory, chains)
        else:
            self.engine = DeviceEngine(model.entity, self.topology, chains)

    @classmethod
    def open(
        cls,
        graph: str | Path | Graph,
        checkpoint: str | Path = "trivium",
        *,
        relation_text: str | None = None,
        asked: str | None = None,
        disabled: Collection[str] = (),
        decisions: str | Path | Literal[False] | None = None,
        device: str = "cpu",
        **reading: Any,
    ) -> Ranker:
        """A ranker of a checkpoint over a graph, with the texts of its relations where the model reads them.

        Args:
            graph: a file, beside which a relations.tsv or relations.json is read too, or a graph.
            checkpoint: a name or a file.
            relation_text: adds a relation that only has a text, such as ``is the capital of``, which is its name too.
                Words that name a relation of the graph add none.
            asked: what joins pairs, where the file holds such and nothing else says it.
            disabled: parts of the model that are switched off.
            decisions: a file of what `trivium review` was told; by default the one beside the graph's file, if it is
                there. Accepted links join the graph, rejected ones are excluded. ``False`` leaves all out.
            device: where to compute, as `trivium.model.trivium.chosen_device` takes it.
            **reading: how a file is read, as `trivium.graph.read.read_graph` takes it.

        Raises:
            CheckpointError: there is no such checkpoint.
            InputError: there is no such file of decisions, or it is none.
            GraphError: the graph cannot be read.
            ConfigError: a relation text for a model without text, without the text encoder, or one that says nothing.
        """
        if isinstance(graph, Graph) and reading:
            raise InputError(f"{next(iter(reading))} says how a file is read, and a graph is given: leave it out")
        model = Trivium.load(checkpoint, device)  # before the graph, since it fails fast
        source = "" if isinstance(graph, Graph) else graph
        given = graph if isinstance(graph, Graph) else _read(graph, asked, reading)
        if decisions is None and source and (beside := decisions_of(source)).exists():
            decisions = beside
        graph, excluded = given, None
        if decisions:
            from trivium.review.decisions import Decisions, decided

            graph, excluded = decided(given, Decisions.of(source, decisions).state())
        graph = with_texts(graph, source)
        if relation_text is None:
            texts = model_texts(model, graph)
        else:
            graph, texts = asked_in_words(model, graph, relation_text)
        ranker = cls(model, graph, texts=texts, disabled=disabled, excluded=excluded)
        ranker.given, ranker.checkpoint = given, checkpoint
        return ranker

    @cached_property
    def sha256(self) -> str:
        """Of all that answers rest on: version, model, graph by name and id, relation texts, what is left out."""
        texts = self.topology.texts
        tensors = [*self.model.state_dict().values(), *(() if texts is None else (texts.vectors, texts.ends))]
        graph = self.graph
        names = graph.entities.names.to_list(), graph.relations.names.to_list()
        settings = __version__, self.model.device.type, self.model.config, sorted(self.representations.disabled), names
        edges = graph.sources, graph.edge_relations, graph.offsets
        excluded = () if self.excluded is None else (self.excluded.triples,)
        rules = self.range, self.engine.debias, self.engine.within
        return digest(settings, rules, *edges, *excluded, *(tensor.cpu().numpy() for tensor in tensors))

    @property
    def texts_sha256(self) -> str:
        """Of what the graph's relations say, by which what was made with it names it; empty if nothing is read."""
        return "" if self.topology.texts is None else self.topology.texts.sha256

    def provenance(self, verb: str, calibration: str = "", *asked: object) -> dict[str, str]:
        """What a table of its answers carries; see `trivium.review.provenance.Provenance`."""
        from trivium.review.provenance import Provenance, decided_sha256

        excluded = None if self.excluded is None else self.excluded.triples
        graph, decided = self.given.sha256, decided_sha256(self.given, self.graph, excluded)
        rules = self.range, self.engine.debias, self.engine.within
        made_by = __version__, verb, graph, decided, self.texts_sha256, checkpoint_sha256(self.checkpoint)
        return asdict(
            Provenance(
                *made_by,
                calibration,
                digest(sorted(self.representations.disabled), *rules, *asked),
            )
        )

    def over(self, graph: Graph) -> Ranker:
        """The same model, texts, disabled parts and rules over another graph with the same names; without a cache."""
        excluded = None if self.excluded is None else self.excluded.triples
        disabled = self.representations.disabled
        other = Ranker(
            self.model, graph, texts=self.topology.texts, disabled=disabled, excluded=excluded, cache_bytes=0
        )
        if self.representations.alone:
            other.reproduce()
        other.engine.debias, other.engine.within = self.engine.debias, self.engine.within
        return other.narrowed(self.kinds and self.kinds.over(graph))

    def reproduce(self) -> Ranker:
        """From now on a query's scores are the same to the bit whatever is asked with it or before it, on any number of
        threads: what is computed in parts needs that. It costs a few milliseconds a relation.

        Returns:
            Itself.
        """
        self.representations.reproduce()
        return self

    def narrowed(self, kinds: Kinds | None) -> Ranker:
        """The same ranker, whose answers are of some kinds alone; of all of them without."""
        other = self._copied()
        other.kinds = kinds
        return other

    def debiased(self) -> Ranker:
        """The same ranker, which takes off half of the score that an answer has whatever the head is.

        Raises:
            ConfigError: the model is on a device, where that score is not computed.
        """
        if not isinstance(self.engine, Engine):
            raise ConfigError("debias needs the processor: leave the device out")
        other = self._copied()
        other.engine = copy(self.engine)
        other.engine.debias = DEBIAS
        return other

    def within(self, entities: int) -> Ranker:
        """The same ranker, whose questions spread over so many entities alone: those nearest to the head by
        personalised PageRank, found without a pass over the graph. All others keep the score that they have without a
        head.

        An approximation, for graphs on which all is too slow: `kept_within` says what it loses. 0 takes it back.

        Raises:
            InputError: fewer than 0 entities.
            ConfigError: the model is on a device, where all entities are computed.
        """
        if entities < 0:
            raise InputError(f"reach is {entities}: give at least 1 entity")
        if entities and not isinstance(self.engine, Engine):
            raise ConfigError("reach needs the processor: leave the device out")
        other = self._copied()
        other.engine = copy(self.engine)
        other.engine.within = entities
        return other

    def kept_within(self, sample: int = 200, seed: int = 0) -> tuple[float, int]:
        """The share of answers that stay within the reach of their questions, and how many were looked at.

        Facts of the graph are hidden with their copies, and looked for from both ends in the graph that is left.

        Raises:
            GraphError: no fact can be hidden.
        """
        from trivium.graph.hold_out import hold_out  # only who asks for this waits for it

        graph = self.graph
        drawn = np.random.default_rng(seed).choice(graph.num_triples, min(graph.num_triples, 2 * sample), replace=False)
        hidden = hold_out(graph, graph.triples[drawn], sample)
        if not len(hidden):
            raise GraphError("no fact of this graph can be hidden: each is the last one of an entity or a relation")
        engine = cast(Engine, self.over(graph.less(hidden)).engine)
        heads, _, answers = both_directions(hidden, graph.num_relations)
        found = [answer in engine.nearest(head) for head, answer in zip(heads.tolist(), answers.tolist(), strict=True)]
        return float(np.mean(found)), len(found)

    def excluding(self, triples: EntityIds) -> Ranker:
        """The same ranker, for which ``[n, 3]`` triples more are known to be wrong: never answers, never rivals."""
        other = self._copied()
        if len(triples):
            every = triples if self.excluded is None else np.concatenate([self.excluded.triples, triples])
            graph = self.graph
            other.excluded = Graph.from_ids(*every.T, entities=graph.entities, relation_names=graph.relations)
        return other

    def _copied(self) -> Ranker:
        """The same ranker, to be changed: what was derived of it is derived again."""
        other = copy(self)
        other.__dict__.pop("sha256", None)
        return other

    @property
    def range(self) -> str:
        """The name of the kinds of answers; empty for all."""
        return "" if self.kinds is None else self.kinds.name

    def filtered(self, head: int, relation: int, *others: Graph | None) -> EntityIds:
        """The entities that are no new answer, of any kind; see `trivium.inference.answers.filtered_entities`."""
        return filtered_entities(self.graph, head, relation, self.excluded, *others)

    def candidates(self, relation: int, among: EntityIds | None = None) -> EntityIds | None:
        """The entities that may answer a relation's questions, of those ``among`` which to choose; ``None``: all."""
        kinds = None if self.kinds is None else self.kinds.answers(relation)
        return among if kinds is None else kinds if among is None else np.intersect1d(kinds, among)

    def best(
        self,
        head: int,
        relation: int,
        scores: Answerable,
        k: int,
        include_known: bool = False,
        among: Ids | None = None,
    ) -> tuple[Ids, Ids, Ids, NDArray[np.bool_], NDArray[np.bool_]]:
        """The best answers to one question: ids, ranks, how many share each, whether the graph holds it, and turned."""
        held, filtered = self.graph.told(head, relation), self.filtered(head, relation)
        if include_known:
            wrong = () if self.excluded is None else self.excluded.answers(head, relation)
            filtered = np.union1d(np.setdiff1d(filtered, held), wrong).astype(np.int64)
        ids, ranks, _, tied = best_answers(scores, k, filtered, self.candidates(relation, among))
        back = self.graph.answers(head, int(inverse(relation, self.graph.num_relations)))
        return ids, ranks, tied, np.isin(ids, held), np.isin(ids, back)

    def expected_seconds(self, questions: int, relations: int) -> float:
        """About how long questions take that reach all of the graph, by its edges and the speed of this machine, before
        anything is computed; 0 where that is far from a minute, and on another device than the processor.

        Args:
            relations: that they ask, none of which was asked before.
        """
        engine = self.engine
        if not isinstance(engine, Engine):
            return 0.0
        layers = AT_FIRST + RELATION * relations + (0 if engine.within else len(engine.layers) * questions)
        return layers * engine.layer_seconds() if layers * len(engine.edges[1]) > FEW else 0.0

    def part_size(self, heads: Ids, most: int) -> int:
        """How many questions make a part of large work, what a kill costs: ``most``, or fewer where each walks over so
        many edges that these would take hours. Of the graph and the heads alone, so that all make the same parts.

        What six steps reach is taken for the square of what three do.
        """
        graph = self.graph
        if self.engine.within or not len(heads) or len(graph.sources) * most <= PART_EDGES:
            return most
        some = heads[:: 1 + len(heads) // 8].tolist()
        near = np.mean([(graph.distances(head, 3) <= 3).sum() for head in some])
        walked = len(graph.sources) * min(1.0, near**2 / graph.num_entities)
        return int(np.clip(PART_EDGES / walked, FEWEST, most))

    def placed(self, head: int, relation: int, scores: Answerable, ids: EntityIds) -> tuple[Ids, Ids, Scores]:
        """Of entities as answers to one question, ``[n]`` each: the rank, and the rank and the margin among new answers
        of all kinds, from which confidences are made.
        """
        filtered, candidates = self.filtered(head, relation), self.candidates(relation)
        among, margins = ranks_and_margins(scores, filtered, ids)
        ranks = among if candidates is None else ranks_and_margins(scores, filtered, ids, candidates)[0]
        return ranks, among, margins

    def blocks(self, heads: Ids, relations: Ids, batch_size: int | None = None) -> Iterator[tuple[Ids, Ids, Tensor]]:
        """Scores for many queries, a block at a time, grouped by relation; equal queries are computed once.

        Args:
            heads, relations: ``[queries]`` ids; relations over ``2 · num_relations``.
            batch_size: queries computed together; by default what suits the cache.

        Yields:
            Places in the given arrays, the row of the scores that answers each, and scores ``[rows, entities]``.
        """
        size = batch_size or self.engine.batch_size()
        for base, places, asked, row in self._grouped(heads, relations):
            for begin in range(0, len(asked), size):
                part = asked[begin : begin + size]
                first, last = np.searchsorted(row, [begin, begin + len(part)])
                scores = self.engine.scores(base, part, len(asked) - begin - len(part))
                yield places[first:last], row[first:last] - begin, scores

    def _grouped(self, heads: Ids, relations: Ids) -> Iterator[tuple[Any, Ids, Ids, Ids]]:
        """By asked relation: what its queries share, their places by head, the distinct heads, and the place of each
        place's head among these."""
        order = np.lexsort((heads, relations))
        distinct, begins = np.unique(relations[order], return_index=True)
        runs = np.append(begins, len(order))
        for i, (query, relation) in enumerate(self.representations.each(distinct.tolist())):
            places = order[runs[i] : runs[i + 1]]
            asked, row = np.unique(heads[places], return_inverse=True)
            base = self.engine.prepare(relation, query, self.representations.alone)
            yield base, places, asked.astype(np.int64), row

    def each(self, heads: Ids, relations: Ids) -> Iterator[tuple[int, int, int, Answerable]]:
        """Every query's place in the given arrays, head, relation and scores of all entities, grouped by relation."""
        if self.engine.batch_size() > 1:
            for places, rows, scores in self.blocks(heads, relations):
                table = scores.numpy()
                for place, row in zip(places.tolist(), rows, strict=True):
                    yield place, int(heads[place]), int(relations[place]), table[row]
            return
        for base, places, asked, rows in self._grouped(heads, relations):
            for row, head in enumerate(asked.tolist()):
                answered = self.engine.answered(base, head, len(asked) - row - 1)
                for place in places[slice(*np.searchsorted(rows, [row, row + 1]))].tolist():
                    yield place, head, int(relations[place]), answered

    def scores(self, heads: Ids, relations: Ids, batch_size: int | None = None) -> Tensor:
        """Scores of every entity for each query, ``[queries, entities]``, in the order asked."""
        heads, relations = np.asarray(heads, np.int64), np.asarray(relations, np.int64)
        out = torch.empty(len(heads), self.graph.num_entities)
        for places, rows, scores in self.blocks(heads, relations, batch_size):
            out[torch.from_numpy(places)] = scores[torch.from_numpy(rows)]
        return out

    def ranks(
        self, heads: Ids, relations: Ids, answers: Ids, known: Graph | None = None, batch_size: int | None = None
    ) -> Iterator[tuple[Ids, Ranks, NDArray[np.float32]]]:
        """Filtered ranks of answers to queries: other answers that are known do not count.

        Args:
            heads, relations, answers: ``[queries]`` ids.
            known: a graph over the same ids that holds the facts to filter; the ranker's own by default.

        Yields:
            Places in the given arrays, their ranks and their scores, a block at a time.
        """
        known = known or self.graph
        for places, rows, scores in self.blocks(heads, relations, batch_size):
            asked = list(zip(heads[places].tolist(), relations[places].tolist(), strict=True))
            runs = [known.answers(*question) for question in asked]
            if self.excluded is not None:
                wrong = (self.excluded.answers(*question) for question in asked)
                runs = [np.union1d(*both) for both in zip(runs, wrong, strict=True)]
            table = scores.numpy()
            yield places, filtered_ranks(table, rows, answers[places], runs), table[rows, answers[places]]

    def rank(
        self,
        head: str | Sequence[str] | None = None,
        relation: str | Sequence[str] = "",
        tail: str | Sequence[str] | None = None,
        k: int = 10,
        *,
        include_known: bool = False,
        candidates: Sequence[str] | None = None,
        confidence: Confidence | None = None,
    ) -> pl.DataFrame:
        """The ``k`` best answers to ``(head, relation, ?)`` or ``(?, relation, tail)``, as a table with names.

        Args:
            head, tail: a name or a sequence of them; exactly one of the two is given.
            relation: a name for all, or one per head or tail.
            include_known: answers that the graph already holds are in the table too, marked.
            candidates: names to which the answers are narrowed.
            confidence: a checked calibration's ``confidence``, for a column of that name.

        Returns:
            Columns query, head, relation, tail, rank, tied (how many answers, shown or not, share the rank), score,
            (confidence,) known, reversed (whether the graph holds the fact turned round).

        Raises:
            GraphError: a name is unknown; the message names the nearest.
        """
        given = tail if head is None else head
        if given is None or (head is not None and tail is not None):
            raise InputError("give a head or a tail, one of the two: the other one is the question")
        if isinstance(relation, str) and not relation:
            raise InputError("give a relation: which one is asked about")
        names = [given] if isinstance(given, str | int) else given
        kinds = [relation] * len(names) if isinstance(relation, str) else relation
        if len(names) != len(kinds):
            raise InputError(f"{len(names)} entities for {len(kinds)} relations: give one relation, or one for each")
        entities, relations = self.graph.entities, self.graph.relations.each(kinds, "relation")
        return self.rank_ids(
            entities.each(names, "entity"),
            inverse(relations, self.graph.num_relations) if head is None else relations,
            k,
            include_known=include_known,
            candidates=None if candidates is None else entities.each(candidates, "candidate"),
            confidence=confidence,
        )

    def rank_ids(
        self,
        heads: Ids,
        relations: Ids,
        k: int = 10,
        *,
        include_known: bool = False,
        candidates: Ids | None = None,
        confidence: Confidence | None = None,
    ) -> pl.DataFrame:
        """The best answers to queries by id, sorted by query and rank; see `rank`.

        Args:
            heads, relations: ``[queries]`` ids; relations over ``2 · num_relations``.
            confidence: of an answer's margin and rank among all new answers, whichever are shown.
        """
        if k < 1:
            raise InputError(f"k is {k}: ask for at least 1 answer")
        if not len(heads):
            raise InputError("there is no question: give a head or a tail")
        graph = self.graph
        parts: list[tuple[NDArray[Any], ...]] = []
        for place, head, relation, scores in self.each(heads, relations):
            ids, ranks, tied, known, turned = self.best(head, relation, scores, k, include_known, candidates)
            among = () if confidence is None else self.placed(head, relation, scores, ids)[1:]
            parts.append((np.full(len(ids), place), ids, ranks, tied, scores[ids], known, turned, *among))
        query, *rest = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(query, kind="stable")
        query, answers, ranks, tied, values, known, back, *compared = (column[order] for column in (query, *rest))
        asked, kinds = heads[query], relations[query]
        turned = kinds >= graph.num_relations  # shown the way round that the relation's name reads
        heads, tails = np.where(turned, (answers, asked), (asked, answers))
        table = graph.named(np.stack([heads, kinds % graph.num_relations, tails], 1))
        table = table.insert_column(0, pl.Series("query", query)).with_columns(rank=ranks, tied=tied, score=values)
        if confidence is not None:
            judged = pl.Series(confidence(kinds, values, compared[1], compared[0]))
            table = table.with_columns(confidence=judged.set(pl.Series(known), None))
        return table.with_columns(known=known, reversed=back)

    def score(self, triples: Sequence[tuple[str, str, str]]) -> pl.DataFrame:
        """Each triple's score and its filtered ranks in both directions, as a table with names.

        A triple that the graph holds, itself or as a copy (`Graph.copies`), is ``known``, and judged without both.

        Returns:
            Columns head, relation, tail, score, tail_rank, tail_tied, head_rank, head_tied, known. Ranks are those that
            `rank` gives, and so is how many answers share them.

        Cost: one small batch for all unknown triples, and a fresh pass over the graph for each known one.
        """
        if odd := [triple for triple in triples if isinstance(triple, str) or len(triple) != 3]:
            raise InputError(f"{odd[0]!r} is no triple: give head, relation and tail")
        names = self.graph.entities, self.graph.relations, self.graph.entities
        ids = [names[i].each([triple[i] for triple in triples], what) for i, what in enumerate(TRIPLE)]
        return self.score_ids(np.stack(ids, 1))

    def score_ids(self, triples: Ids, confidence: Confidence | None = None) -> pl.DataFrame:
        """Scores and filtered ranks of ``[n, 3]`` triples; see `score`.

        Args:
            confidence: adds a column, of each triple as an answer to its tail question.
        """
        facts = triples.astype(np.int32)  # as the graph holds them
        known = self.graph.knows(facts)
        found, margins = np.zeros((2, len(triples)), np.float32)
        (ranks, ties), among = np.zeros((2, 2, len(triples)), np.int64), np.zeros(len(triples), np.int64)
        for chosen in (np.flatnonzero(~known), *np.flatnonzero(known)[:, None]):
            rest = self.over(self.graph.less(facts[chosen])) if known[chosen].any() else self
            heads, relations, answers = both_directions(triples[chosen], self.graph.num_relations)
            for place, head, relation, scores in rest.each(heads, relations):
                rank, of_all, margin = rest.placed(head, relation, scores, answers[[place]])
                direction, triple = place // len(chosen), chosen[place % len(chosen)]
                ranks[direction, triple] = rank[0]
                filtered, candidates = rest.filtered(head, relation), rest.candidates(relation)
                ties[direction, triple] = sharing(scores, filtered, int(answers[place]), candidates)
                if direction == 0:
                    found[triple], among[triple], margins[triple] = scores[answers[place]], of_all[0], margin[0]
        table = self.graph.named(facts).with_columns(score=found)
        if confidence is not None:
            judged = confidence(triples[:, 1], found, margins, among).astype(np.float32)
            table = table.with_columns(confidence=judged)
        for end, rank, tied in zip(("tail", "head"), ranks.astype(np.float64), ties, strict=True):
            table = table.with_columns(pl.Series(f"{end}_rank", rank), pl.Series(f"{end}_tied", tied))
        return table.with_columns(known=known)


def cost_of_reach(ranker: Ranker) -> str:
    """What `Ranker.within` loses on a ranker's graph, in a line."""
    share, count = ranker.kept_within()
    what = f"of {count:,} answers that were hidden from this graph {share:.0%} stay within reach of their questions"
    return f"reach {ranker.engine.within:,}: {what}; the others score as what no question reaches"


def _read(path: str | Path, asked: str | None, reading: Mapping[str, Any]) -> Graph:
    """The graph of a file; its pairs, if it holds such and nothing else says what joins them, by what is asked."""
    try:
        return read_graph(path, **reading)
    except PairsError:
        if asked is None:
            raise
        return read_graph(path, relation=asked, **reading)


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
    try:
        return graph_texts(graph, load_encoder(model.config.text_encoder), source, data_dir)
    except MissingPackageError as error:
        log.warning("relation names are not read: %s", error)
        return None


def asked_in_words(model: Trivium, graph: Graph, words: str) -> tuple[Graph, TextGraph | None]:
    """The graph with one relation more, which only has a text, and the texts of all; see `Ranker.open`."""
    if not model.config.text_encoder:
        raise ConfigError("this checkpoint reads no text: ask a relation of the graph, or use a checkpoint with text")
    if graph.relations.ids([words])[0] >= 0:
        return graph, model_texts(model, graph)
    text = RelationText(clean_name(words))
    if text.name is None:
        raise ConfigError(f"relation text {words!r} says nothing: describe the relation in words")
    encoder = load_encoder(model.config.text_encoder)
    texts = graph_texts(graph, encoder)
    if not texts.has_text.any():
        log.warning(
            "no relation of this graph has a text, so nothing says what the asked words are like: bring relations.tsv"
        )
    return graph.with_relation(words), texts.with_relation(TextGraph.from_texts([text], encoder))
