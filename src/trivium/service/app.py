"""The HTTP interface: one graph, asked by many at once."""
# Annotations are evaluated where they stand: requests with limits are classes of one application.

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from threading import Event
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import generate_latest
from pydantic import BaseModel, Field
from starlette.routing import Route

from trivium import __version__
from trivium.errors import BusyError, DecidedError, GraphError, InputError
from trivium.review.decisions import Decision
from trivium.service import jobs, schemas
from trivium.service.metrics import Metrics
from trivium.service.middleware import BEARER, Edge, guarded
from trivium.service.settings import Limits
from trivium.service.snapshot import Current, Snapshot
from trivium.service.worker import Worker

PAGE = Path(__file__).parent / "page"
LOOPBACK = ["localhost", "127.0.0.1", "[::1]"]
LOOKUP_THREADS = 2
MAX_DETAIL = 1000  # characters of a refusal; a longer one loses its middle

Responses = dict[int | str, dict[str, Any]]
NOT_FOUND: Responses = {
    404: {"model": schemas.Problem, "description": "A name that the graph does not hold; the nearest are named."}
}
TAKEN: Responses = {409: {"model": schemas.Problem, "description": "Somebody else has decided it: that stands."}}
REFUSALS: Responses = {
    status: {"model": schemas.Problem, "description": description}
    for status, description in (
        (400, "The body cannot be parsed."),
        (401, "The service wants its token."),
        (408, "The body did not arrive in time."),
        (413, "The body is larger than the service allows."),
        (422, "The request is not what this path takes, or asks for too much."),
        (503, "Too many requests wait, or the answer took too long."),
    )
}


def create_app(current: Current, limits: Limits, token: str | None = None, mcp: bool = False) -> FastAPI:
    """The service as an ASGI application.

    Without a token it answers under loopback's names alone: a page elsewhere could else reach it by giving its own name
    this address.

    Args:
        token: what a client must send as ``Authorization: Bearer …``; ``None`` asks for nothing.
        mcp: whether agents may ask at ``/mcp`` too.
    """
    ranking = Worker(1, limits.max_waiting, limits.max_seconds, lambda: current.snapshot.question_seconds)
    lookups = Worker(LOOKUP_THREADS, limits.max_waiting, limits.max_seconds)
    metrics = Metrics(partial(_figures, current, ranking))

    async def warm(snapshot: Snapshot) -> None:
        await ranking.prepare(partial(jobs.prepare, snapshot))

    decide = partial(current.decide, warm)
    agents = None
    if mcp:
        from trivium.service.tools import Agents, create_tools

        agents = Agents(create_tools(current, ranking, lookups, limits, decide), limits, token)

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(current.watch(warm))
        try:
            async with nullcontext() if agents is None else agents.running():
                yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            ranking.close()
            lookups.close()
            gc.unfreeze()

    app = FastAPI(
        title="Trivium",
        version=__version__,
        description="Finds the missing links of the knowledge graph that this service holds. Names go in and out as "
        "text. An answer that is not given is a 4xx or 503 whose `detail` says why.",
        docs_url=None,
        redoc_url=None,
        lifespan=running,
        responses=REFUSALS,
    )
    asked = [] if token is None else [Depends(BEARER)]  # described here; the route itself checks
    api = APIRouter(route_class=guarded(limits, token), dependencies=asked)

    class Question(schemas.Question):
        """(head, relation, ?) or (?, relation, tail)."""

        k: int = Field(10, ge=1, le=limits.max_k, description="How many answers.")

    class Batch(schemas.Request):
        """Several questions."""

        questions: list[Question] = Field(min_length=1, max_length=limits.max_queries)

    class Triples(schemas.Request):
        """Triples to score."""

        triples: list[schemas.Claim] = Field(min_length=1, max_length=limits.max_queries)

    class Pair(schemas.Pair):
        """(head, ?, tail)."""

        k: int = Field(5, ge=1, le=limits.max_k, description="How many relations.")

    class Facts(schemas.Request):
        """Facts that a person or program knows."""

        facts: list[schemas.Triple] = Field(min_length=1, max_length=limits.max_queries)
        reviewer: schemas.Reviewer = "client"
        note: schemas.Note = ""

    class Completing(schemas.Request):
        """One relation to complete."""

        relation: schemas.Name
        offset: int = Field(0, ge=0, le=1 << 40, description="Questions to skip.")
        k: int = Field(10, ge=1, le=limits.max_queries, description="How many questions to answer.")

    class Why(schemas.Why):
        """An answer to explain."""

        paths: int = Field(5, ge=1, le=limits.max_paths, description="How many paths.")

    async def replies(names: Callable[..., Any], job: Callable[..., BaseModel], asked: Sequence[Any]) -> list[bytes]:
        """The ids of all that is asked, then the reply to each, as JSON."""
        snapshot = current.snapshot
        found = await lookups.run(*(partial(names, snapshot, one) for one in asked))
        each = zip(asked, found, strict=True)
        return await ranking.run(*(partial(jobs.written, job, snapshot, one, *ids) for one, ids in each))

    @api.post("/api/rank", response_model=schemas.Answers, responses=NOT_FOUND, tags=["ask"])
    async def rank(body: Question) -> Response:
        """The best answers to one question, which the graph does not hold already."""
        return _json(*await replies(jobs.question_ids, jobs.rank, [body]))

    @api.post("/api/batch/rank", response_model=list[schemas.Answers], responses=NOT_FOUND, tags=["ask"])
    async def rank_batch(body: Batch) -> Response:
        """The best answers to several questions, in their order. One unknown name refuses them all."""
        return _json(b"[", b",".join(await replies(jobs.question_ids, jobs.rank, body.questions)), b"]")

    @api.post("/api/score", response_model=list[schemas.Score], responses=NOT_FOUND, tags=["ask"])
    async def score(body: Triples) -> Response:
        """Scores of triples and their filtered ranks. One that the graph holds is judged with itself taken out."""
        return _json(b"[", b",".join(await replies(jobs.triple_ids, jobs.score, body.triples)), b"]")

    @api.post("/api/relate", response_model=schemas.Relations, responses=NOT_FOUND, tags=["ask"])
    async def relate(body: Pair) -> Response:
        """The relations that join two entities best. Each is asked both ways: it costs two questions a relation."""
        snapshot = current.snapshot
        [ids] = await lookups.run(partial(jobs.pair_ids, snapshot, body))
        each = np.arange(snapshot.ranker.graph.num_relations)[:, None]
        scores = np.concatenate(await ranking.run(*(partial(jobs.relation_scores, snapshot, *ids, r) for r in each)))
        return _json(*await lookups.run(partial(jobs.written, jobs.related, snapshot, body, *ids, scores)))

    @api.post("/api/explain", response_model=schemas.Reasons, responses=NOT_FOUND, tags=["ask"])
    async def explain(body: Why) -> Response:
        """The few paths that carried an answer's score."""
        left = Event()
        try:
            return _json(*await replies(jobs.triple_ids, partial(jobs.explain, left), [body]))
        finally:
            left.set()

    @api.post("/api/complete", response_model=schemas.Completion, responses=NOT_FOUND, tags=["ask"])
    async def complete(body: Completing) -> Response:
        """A relation as a list: each head that seems to lack an answer, with the best one."""
        snapshot = current.snapshot
        [(relation, asked)] = await lookups.run(partial(jobs.open_heads, snapshot, body.relation))
        page = slice(body.offset, body.offset + body.k)
        rows = [] if asked is None else zip(asked.heads[page].tolist(), asked.held[page].tolist(), strict=True)
        found = await ranking.run(*(partial(jobs.filled, snapshot, head, relation, held) for head, held in rows))
        return _json(*await lookups.run(partial(jobs.written, jobs.completion, snapshot, relation, asked, found)))

    if current.source.suggestions is not None:
        reviewing: dict[str, Any] = {"response_model": schemas.Review, "tags": ["decide"]}

        @api.get("/api/review", **reviewing)
        async def review(choice: Annotated[schemas.Choice, Query()]) -> Response:
            """How far people have come with the suggestions, and the next few."""
            return _json(*await lookups.run(partial(jobs.written, jobs.review, current.snapshot, choice)))

        @api.post("/api/review/decide", responses=TAKEN, **reviewing)
        async def judge(body: schemas.Judgement) -> Response:
            """Keeps what somebody says of a suggested link: on disk before the reply, and in the graph soon after."""
            return _json(*await lookups.run(partial(jobs.written, jobs.decide, current.snapshot, body)))

        @api.post("/api/review/undo", **reviewing)
        async def undo(body: schemas.Undoing) -> Response:
            """Takes back somebody's last decision."""
            return _json(*await lookups.run(partial(jobs.written, jobs.undo, current.snapshot, body)))

    if current.source.keeps:

        @api.post("/api/facts", responses=NOT_FOUND | TAKEN, tags=["decide"])
        async def facts(body: Facts) -> schemas.Decided:
            """Facts join the graph, new entities and relations included, and are kept with the decisions."""
            snapshot = current.snapshot
            found = await lookups.run(*(partial(jobs.names_of, snapshot, fact) for fact in body.facts))
            await decide(*(Decision(*names, "accepted", body.reviewer, note=body.note) for names in found))
            return jobs.kept(snapshot, found)

        @api.post("/api/facts/undo", tags=["decide"])
        async def take_back(body: schemas.Who) -> schemas.Decided:
            """Takes back somebody's last decision, of a fact or a suggested link; nothing is decided where none is."""
            snapshot = current.snapshot
            undone = await current.undo(warm, body.reviewer)
            links = [] if undone is None else [(undone.head, undone.relation, undone.tail)]
            return jobs.kept(snapshot, links)

    @api.get("/api/search", response_model=schemas.FoundList, tags=["browse"])
    async def search(
        q: Annotated[str, Query(max_length=200, description="The beginning of a name, or something like it.")] = "",
        kind: Annotated[schemas.Kind, Query(description="What to look for.")] = "entity",
        limit: Annotated[int, Query(ge=1, le=100, description="How many.")] = 10,
    ) -> Response:
        """Entities or relations by name."""
        return _json(*await lookups.run(partial(jobs.written, jobs.search, current.snapshot, kind, q, limit)))

    @api.get("/api/relations", response_model=schemas.RelationsHeld, tags=["browse"])
    async def relations(
        q: Annotated[str, Query(max_length=200, description="A part of a name.")] = "",
        offset: Annotated[int, Query(ge=0, le=1 << 40, description="Relations to skip.")] = 0,
        limit: Annotated[int, Query(ge=1, le=100, description="Relations to give.")] = 25,
    ) -> Response:
        """What the graph holds by relation: facts, relations that say the same, and which entities lack one."""
        return _json(*await lookups.run(partial(jobs.written, jobs.relations, current.snapshot, q, offset, limit)))

    @api.get("/api/entity", response_model=schemas.Entity, responses=NOT_FOUND, tags=["browse"])
    async def entity(
        name: Annotated[str, Query(min_length=1, description="The entity.")],
        offset: Annotated[int, Query(ge=0, le=1 << 40, description="Facts to skip.")] = 0,
        limit: Annotated[int, Query(ge=1, le=1000, description="Facts to give.")] = 100,
    ) -> Response:
        """What the graph knows of an entity."""
        return _json(*await lookups.run(partial(jobs.written, jobs.facts, current.snapshot, name, offset, limit)))

    @api.get("/api/info", tags=["browse"])
    def info() -> schemas.About:
        """The graph, the model, and what this service allows."""
        return schemas.About(version=__version__, limits=limits, **current.snapshot.about())

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

    @api.get("/metrics", tags=["watch"], response_class=PlainTextResponse)
    def show_metrics() -> Response:
        """Figures for Prometheus."""
        return Response(generate_latest(metrics.registry), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    app.include_router(api)
    if agents is not None:
        app.router.routes.append(Route("/mcp", agents))
    app.mount("/page", StaticFiles(directory=PAGE))
    app.add_exception_handler(RequestValidationError, _invalid)
    for kind, status in ((GraphError, 404), (DecidedError, 409), (InputError, 422), (BusyError, 503)):
        app.add_exception_handler(kind, partial(_refuse, status))
    if token is None:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK)
    app.add_middleware(Edge, limits=limits, metrics=metrics)
    return app


def _json(*parts: bytes) -> Response:
    """A reply that a worker has written: a long one would stop the event loop."""
    return Response(b"".join(parts), media_type="application/json")


async def _refuse(status: int, _: Request, error: Exception) -> Response:
    """An error of ours as status and reason."""
    return JSONResponse({"detail": _printable(str(error))}, status, {"retry-after": "1"} if status == 503 else None)


async def _invalid(request: Request, error: Exception) -> Response:
    """The first thing that is wrong with a request."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    what = ".".join(str(part) for part in first["loc"]) + f": {first['msg']}"
    if request.method == "POST" and "json" not in request.headers.get("content-type", ""):
        what = "the body is not marked as JSON: send content-type: application/json"
    return JSONResponse({"detail": _printable(what)}, 422)


def _printable(text: str) -> str:
    """One line that is not long: a request's own words may come back in it."""
    if len(text) > MAX_DETAIL:
        text = f"{text[: MAX_DETAIL // 2]} … {text[-MAX_DETAIL // 2 :]}"
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def _figures(current: Current, ranking: Worker) -> list[tuple[str, str, float]]:
    graph = current.snapshot.ranker.graph
    return [
        ("trivium_waiting", "Requests that wait for their turn.", ranking.waiting),
        ("trivium_graph_triples", "Triples of the graph.", graph.num_triples),
        ("trivium_graph_entities", "Entities of the graph.", graph.num_entities),
        ("trivium_graph_replaced_total", "Times that the graph was replaced.", current.replaced),
        ("trivium_graph_failed_total", "Times that replacing it failed.", current.failed),
    ]
