"""The graph for agents: the questions of the HTTP interface as tools of the Model Context Protocol."""
# Annotations are evaluated where they stand: arguments have the limits of one service.

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from threading import Event
from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from trivium import __version__
from trivium.errors import TriviumError
from trivium.review.decisions import Decision, Verdict
from trivium.service import jobs, schemas
from trivium.service.middleware import check_token
from trivium.service.settings import Limits
from trivium.service.snapshot import Current
from trivium.service.worker import Worker

INSTRUCTIONS = (
    "A knowledge graph, and a model that says which facts it probably lacks. Names go in and out as text: find them "
    "with search. Scores order the answers to one question; only a confidence is a chance. The best answers are "
    "suggestions, no facts: explain says what each rests on."
)
Decide = Callable[[Decision], Awaitable[None]]


class Suggestions(BaseModel):
    """Links that the graph lacks, the most plausible first."""

    links: list[schemas.Suggestion]


def create_tools(
    current: Current, ranking: Worker, lookups: Worker, limits: Limits, decide: Decide, reviewer: str = "agent"
) -> MCPServer[Any]:
    """A server of tools over the snapshot that is current when each is called.

    Args:
        ranking, lookups: where questions wait their turn, those of the HTTP interface if there is one.
        decide: keeps a decision; there is a tool for that if the current source keeps decisions.
        reviewer: whose the decisions are.
    """
    server: MCPServer[Any] = MCPServer("trivium", instructions=INSTRUCTIONS, version=__version__, log_level="WARNING")
    name = Annotated[
        str, Field(min_length=1, description="A name as the graph has it, or a label that is one's alone.")
    ]

    async def asked(names: Callable[..., Any], job: Callable[..., BaseModel], request: BaseModel) -> CallToolResult:
        snapshot = current.snapshot
        try:
            [ids] = await lookups.run(partial(names, snapshot, request))
            [reply] = await ranking.run(partial(job, snapshot, request, *ids))
        except TriviumError as error:
            raise ToolError(_printable(str(error))) from error
        return result(reply)

    async def looked_up(job: Callable[..., BaseModel], *words: Any) -> CallToolResult:
        try:
            return result(*await lookups.run(partial(job, current.snapshot, *words)))
        except TriviumError as error:
            raise ToolError(_printable(str(error))) from error

    @server.tool()
    async def search(
        text: Annotated[str, Field(max_length=200)],
        kind: schemas.Kind = "entity",
        limit: Annotated[int, Field(ge=1, le=100)] = 10,
    ) -> Annotated[CallToolResult, schemas.FoundList]:
        """Entities or relations whose names begin with a text, then those spelled like it."""
        return await looked_up(jobs.search, kind, text, limit)

    @server.tool()
    async def facts(
        entity: name,
        offset: Annotated[int, Field(ge=0, le=1 << 40)] = 0,
        limit: Annotated[int, Field(ge=1, le=1000)] = 50,
    ) -> Annotated[CallToolResult, schemas.Entity]:
        """What the graph holds of an entity, a page at a time."""
        return await looked_up(jobs.facts, entity, offset, limit)

    @server.tool()
    async def rank(
        relation: name,
        head: name | None = None,
        tail: name | None = None,
        k: Annotated[int, Field(ge=1, le=limits.max_k)] = 10,
    ) -> Annotated[CallToolResult, schemas.Answers]:
        """The best new answers to (head, relation, ?), or to (?, relation, tail): give a head or a tail."""
        if (head is None) == (tail is None):
            raise ToolError("give a head or a tail, one of the two: the other one is what is asked")
        given = {"head": head} if tail is None else {"tail": tail}
        return await asked(
            jobs.question_ids, jobs.rank, schemas.Question(relation=relation, k=k, include_known=False, **given)
        )

    @server.tool()
    async def score(head: name, relation: name, tail: name) -> Annotated[CallToolResult, schemas.Score]:
        """A fact's score and its ranks among other answers, and whether the graph holds it."""
        return await asked(jobs.triple_ids, jobs.score, schemas.Claim(head=head, relation=relation, tail=tail))

    @server.tool()
    async def explain(
        head: name, relation: name, tail: name, paths: Annotated[int, Field(ge=1, le=limits.max_paths)] = 5
    ) -> Annotated[CallToolResult, schemas.Reasons]:
        """The paths of facts that carried an answer's score."""
        why = schemas.Why(head=head, relation=relation, tail=tail, paths=paths, inverse=False)
        return await asked(jobs.triple_ids, partial(jobs.explain, Event()), why)

    @server.tool()
    async def suggest(
        relation: name, k: Annotated[int, Field(ge=1, le=limits.max_queries)] = 10
    ) -> Annotated[CallToolResult, Suggestions]:
        """Links of a relation that the graph probably lacks: the best answer to each of k questions."""
        snapshot = current.snapshot
        try:
            [(kind, asked)] = await lookups.run(partial(jobs.open_heads, snapshot, relation))
            each = [] if asked is None else zip(asked.heads[:k].tolist(), asked.held[:k].tolist(), strict=True)
            rows = await ranking.run(*(partial(jobs.filled, snapshot, head, kind, held) for head, held in each))
        except TriviumError as error:
            raise ToolError(_printable(str(error))) from error
        named = snapshot.ranker.graph.relations.names[kind]
        links = [
            schemas.Suggestion(
                head=row.head.name,
                relation=named,
                tail=row.answer.name,
                score=row.answer.score,
                confidence=row.answer.confidence,
            )
            for row in rows
            if row.answer is not None
        ]
        return result(Suggestions(links=sorted(links, key=lambda link: (-(link.confidence or 0), -link.score))))

    if current.source.keeps:

        @server.tool()
        async def decide_link(
            head: name, relation: name, tail: name, verdict: Verdict, note: Annotated[str, Field(max_length=1000)] = ""
        ) -> Annotated[CallToolResult, schemas.Decided]:
            """Keeps a decision about a link: an accepted one is a fact from now on, a rejected one no answer.

            What somebody else accepted or rejected stands. Look at ``new``: names that the graph does not hold.
            """
            snapshot = current.snapshot
            triple = schemas.Triple(head=head, relation=relation, tail=tail)
            try:
                [names] = await lookups.run(partial(jobs.names_of, snapshot, triple))
                [made_by] = await lookups.run(partial(snapshot.ranker.provenance, "decide"))
                run = made_by["checkpoint"], made_by["graph"], __version__, ""
                await decide(Decision(*names, verdict, reviewer, None, *run, note))
            except TriviumError as error:
                raise ToolError(_printable(str(error))) from error
            return result(jobs.kept(snapshot, [names]))

    return server


class Agents:
    """The tools over HTTP, for who has the service's token: an ASGI application, while it is `running`.

    Each request stands alone: there are no sessions that a client could pile up.
    """

    def __init__(self, server: MCPServer[Any], limits: Limits, token: str | None) -> None:
        self.server, self.limits, self.token = server, limits, token
        self.app: ASGIApp | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.app = self.server.streamable_http_app(
            json_response=True,
            stateless_http=True,
            max_request_body_size=self.limits.max_body_bytes,
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),  # the service's own
        )
        async with self.server.session_manager.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.app is not None
        if self.token is not None:
            await check_token(Request(scope), self.token)
        await self.app(scope, receive, send)


def result(reply: BaseModel) -> CallToolResult:
    """A reply as data, and as JSON text in which nothing can steer a terminal."""
    content = reply.model_dump(mode="json")
    text = _printable(json.dumps(content, ensure_ascii=False))
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=content)


def _printable(text: str) -> str:
    """Characters that are not printed, as JSON escapes them."""
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
