"""The HTTP interface: one graph, asked by many at once."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from importlib.resources import files
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse

from trivium import __version__
from trivium.errors import BusyError, GraphError, InputError
from trivium.graph.graph import inverse
from trivium.service import jobs, schemas
from trivium.service.batching import Batcher
from trivium.service.metrics import Metrics
from trivium.service.middleware import Gate
from trivium.service.settings import Limits
from trivium.service.snapshot import Current, Loaded

PAGE = files("trivium.service") / "page"
MEDIA = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript"}
SEARCHES = 8
"""Lookups that are taken at once."""

NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": schemas.Problem, "description": "A name that the graph does not hold; the nearest are named."}
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": schemas.Problem, "description": "The body cannot be parsed."},
    401: {"model": schemas.Problem, "description": "The service wants its token."},
    408: {"model": schemas.Problem, "description": "The body did not arrive in time."},
    413: {"model": schemas.Problem, "description": "The body is larger than the service allows."},
    421: {"model": schemas.Problem, "description": "The service without a token answers to localhost alone."},
    422: {"model": schemas.Problem, "description": "The request is not what this path takes, or asks for too much."},
    503: {"model": schemas.Problem, "description": "Too many requests wait, or the answer took too long."},
}


class Service:
    """The parts of a running service: its graph, its two threads, its figures."""

    def __init__(self, current: Current, limits: Limits) -> None:
        self.current = current
        self.limits = limits
        self.ranking = Batcher(jobs.compute, limits.max_waiting, jobs.TOGETHER)
        self.lookups = Batcher(jobs.look_up, limits.max_waiting, SEARCHES)
        self.metrics = Metrics(self._figures)

    @asynccontextmanager
    async def running(self, _: FastAPI) -> AsyncIterator[None]:
        """While the block lasts, batches are computed and the graph is watched."""
        tasks = [
            asyncio.create_task(work)
            for work in (self.ranking.serve(), self.lookups.serve(), self.current.watch(self._warm))
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.ranking.close()
            self.lookups.close()
            gc.unfreeze()

    async def _warm(self, loaded: Loaded) -> None:
        """One question and one reason, whatever they say: kernels are compiled, the graph's parts are built.

        What stands then stays, and the collector leaves it alone: a full collection would walk all of it and stop every
        request for some 300 ms.
        """
        graph = loaded.ranker.graph
        tail, kind, head = (int(graph.sources[0]), int(graph.edge_relations[0]), int(np.argmax(graph.offsets[1:] > 0)))
        relation = inverse(kind, graph.num_relations)
        for job in (jobs.Question(loaded, head, relation, 1, True), jobs.Reason(loaded, head, relation, tail, 1)):
            await self.ranking.ask([job], 3600.0)
        gc.unfreeze()
        gc.collect()
        gc.freeze()

    async def rank(self, asked: Sequence[schemas.Question]) -> list[schemas.Answers]:
        loaded = self.current.loaded
        work = []
        for question in asked:
            self._within("k", question.k, self.limits.max_k)
            forward = isinstance(question, schemas.RankTails)
            entity = await self.find(loaded, "entity", question.head if forward else question.tail)  # type: ignore[union-attr]
            relation = await self.find(loaded, "relation", question.relation)
            kind = relation if forward else inverse(relation, len(loaded.relations))
            work.append(jobs.Question(loaded, entity, kind, question.k, question.include_known))
        found = await self.ranking.ask(work, self.limits.max_seconds)
        return [
            schemas.Answers.model_construct(
                head=getattr(question, "head", None),
                relation=question.relation,
                tail=getattr(question, "tail", None),
                answers=[schemas.Answer.model_construct(**answer) for answer in answers],
            )
            for question, answers in zip(asked, found, strict=True)
        ]

    async def find(self, loaded: Loaded, kind: str, name: str) -> int:
        """The id of a name; an unknown one is a 404 that names the nearest."""
        found = loaded.directory(kind).known(name)
        if found is None:
            (nearest,) = await self.lookups.ask([jobs.Suggestion(loaded, kind, name)], self.limits.max_seconds)
            raise GraphError(f"unknown {kind} {name!r}: {nearest}")
        return found

    async def triple(self, loaded: Loaded, fact: schemas.Fact) -> tuple[int, int, int]:
        head = await self.find(loaded, "entity", fact.head)
        relation = await self.find(loaded, "relation", fact.relation)
        return head, relation, await self.find(loaded, "entity", fact.tail)

    def _within(self, what: str, value: int, most: int) -> None:
        if value > most:
            raise InputError(f"{what} is {value}: this service allows {most} at most")

    def _figures(self) -> list[tuple[str, str, float]]:
        graph = self.current.loaded.ranker.graph
        return [
            ("trivium_waiting", "Questions that wait for their turn.", len(self.ranking.waiting)),
            ("trivium_batches_total", "Batches computed.", self.ranking.counts.batches[0]),
            ("trivium_batched_total", "Questions in them.", self.ranking.counts.batches[1]),
            ("trivium_shared_total", "Questions that were in flight already.", self.ranking.counts.shared),
            ("trivium_graph_triples", "Triples of the graph.", graph.num_triples),
            ("trivium_graph_entities", "Entities of the graph.", graph.num_entities),
            ("trivium_graph_replaced_total", "Times that the graph was replaced.", self.current.replaced),
            ("trivium_graph_failed_total", "Times that replacing it failed.", self.current.failed),
        ]


def create_app(current: Current, limits: Limits, token: str | None = None) -> FastAPI:
    """The service as an ASGI application.

    Args:
        token: what a client must send as ``Authorization: Bearer …``; ``None`` asks for nothing.
    """
    service = Service(current, limits)
    app = FastAPI(
        title="Trivium",
        version=__version__,
        description="Finds the missing links of the knowledge graph that this service holds. Names go in and out as "
        "text. An answer that is not given is a 4xx or 503 whose `detail` says why.",
        docs_url=None,
        redoc_url=None,
        lifespan=service.running,
        responses=REFUSALS,
    )

    @app.post("/api/rank", responses=NOT_FOUND, tags=["ask"])
    async def rank(body: schemas.Question) -> schemas.Answers:
        """The best answers to one question, which the graph does not hold already."""
        return (await service.rank([body]))[0]

    @app.post("/api/batch/rank", responses=NOT_FOUND, tags=["ask"])
    async def rank_batch(body: schemas.Batch) -> list[schemas.Answers]:
        """The best answers to several questions, in their order. One unknown name refuses them all."""
        service._within("the number of questions", len(body.questions), limits.max_queries)
        return await service.rank(body.questions)

    @app.post("/api/score", responses=NOT_FOUND, tags=["ask"])
    async def score(body: schemas.Facts) -> list[schemas.Score]:
        """Scores of triples and their filtered ranks. One that the graph holds is judged with itself taken out."""
        service._within("the number of triples", len(body.triples), limits.max_queries)
        loaded = current.loaded
        work = [jobs.Triple(loaded, *await service.triple(loaded, fact)) for fact in body.triples]
        found = await service.ranking.ask(work, limits.max_seconds)
        return [schemas.Score(**{**row, **fact.model_dump()}) for row, fact in zip(found, body.triples, strict=True)]

    @app.post("/api/explain", responses=NOT_FOUND, tags=["ask"])
    async def explain(body: schemas.Why) -> schemas.Reasons:
        """The few paths that carried an answer's score."""
        service._within("paths", body.paths, limits.max_paths)
        loaded = current.loaded
        head, relation, tail = await service.triple(loaded, body)
        if body.inverse:
            head, relation, tail = tail, inverse(relation, len(loaded.relations)), head
        (found,) = await service.ranking.ask(
            [jobs.Reason(loaded, head, relation, tail, body.paths)], limits.max_seconds
        )
        return schemas.Reasons(**found)

    @app.get("/api/search", tags=["browse"])
    async def search(
        q: Annotated[str, Query(max_length=200, description="The beginning of a name, or something like it.")] = "",
        kind: Annotated[Literal["entity", "relation"], Query(description="What to look for.")] = "entity",
        limit: Annotated[int, Query(ge=1, le=100, description="How many.")] = 10,
    ) -> schemas.FoundList:
        """Entities or relations by name."""
        (found,) = await service.lookups.ask([jobs.Search(current.loaded, kind, q, limit)], limits.max_seconds)
        return schemas.FoundList(results=found)

    @app.get("/api/entity", responses=NOT_FOUND, tags=["browse"])
    async def entity(
        name: Annotated[str, Query(min_length=1, description="The entity.")],
        offset: Annotated[int, Query(ge=0, le=1 << 40, description="Facts to pass over.")] = 0,
        limit: Annotated[int, Query(ge=1, le=1000, description="Facts to give.")] = 100,
    ) -> schemas.Entity:
        """What the graph knows of an entity."""
        loaded = current.loaded
        place = await service.find(loaded, "entity", name)
        (found,) = await service.lookups.ask([jobs.Facts(loaded, place, offset, limit)], limits.max_seconds)
        return schemas.Entity(**found)

    @app.get("/api/info", tags=["browse"])
    async def info() -> schemas.About:
        """The graph, the model, and what this service allows."""
        return schemas.About(version=__version__, limits=asdict(limits), **current.loaded.about())

    @app.get("/health", tags=["watch"])
    async def health() -> schemas.Health:
        """That the service runs, however much waits."""
        return schemas.Health(status="ok")

    @app.get("/ready", tags=["watch"])
    async def ready() -> schemas.Health:
        """That the graph is loaded and prepared; 503 before."""
        if not current.ready:
            raise BusyError("the graph is being prepared: try again in a moment")
        return schemas.Health(status="ok")

    @app.get("/metrics", tags=["watch"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    _add_page(app)
    _add_refusals(app)
    _bound(app, limits)
    paths = [route.path for route in app.routes if hasattr(route, "path")]
    app.add_middleware(Gate, limits=limits, metrics=service.metrics, token=token, paths=paths)
    return app


def _add_page(app: FastAPI) -> None:
    """Every file of the page under its own path, read once: no path comes from a request."""
    for file in PAGE.iterdir():
        media = MEDIA.get(f".{file.name.rsplit('.', 1)[-1]}")
        if media is None:
            continue
        content = file.read_bytes()

        async def give(_: Request, content: bytes = content, media: str = media) -> Response:
            return Response(content, media_type=media, headers={"cache-control": "no-cache"})

        path = "/" if file.name == "index.html" else f"/page/{file.name}"
        app.add_route(path, give, ["GET"], include_in_schema=False)


def _add_refusals(app: FastAPI) -> None:
    """Our errors as status and reason; a name in a reason has its control characters made visible."""
    from trivium.report import printable

    def refuse(status: int) -> Any:
        async def reply(_: Request, error: Exception) -> Response:
            later = {"retry-after": "1"} if status == 503 else None
            return JSONResponse({"detail": printable(error)}, status, later)

        return reply

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        what = ".".join(str(part) for part in first["loc"]) + f": {first['msg']}"
        if request.method == "POST" and "json" not in request.headers.get("content-type", ""):
            what = "the body is not marked as JSON: send content-type: application/json"
        return JSONResponse({"detail": printable(what)}, 422)

    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(GraphError, refuse(404))
    app.add_exception_handler(InputError, refuse(422))
    app.add_exception_handler(BusyError, refuse(503))


def _bound(app: FastAPI, limits: Limits) -> None:
    """Writes this service's own limits into its OpenAPI description."""
    schemas = app.openapi()["components"]["schemas"]
    for form, field, bound in (
        ("RankTails", "k", {"maximum": limits.max_k}),
        ("RankHeads", "k", {"maximum": limits.max_k}),
        ("Batch", "questions", {"maxItems": limits.max_queries}),
        ("Facts", "triples", {"maxItems": limits.max_queries}),
        ("Why", "paths", {"maximum": limits.max_paths}),
    ):
        schemas[form]["properties"][field] |= bound
