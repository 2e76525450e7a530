"""The graph as agents meet it, through the protocol's own client; and facts that clients tell."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from tests.service.conftest import ODD, asking, serving, source_of, write_graph
from trivium.errors import InputError
from trivium.review.decisions import Decision, Decisions
from trivium.service.app import create_app
from trivium.service.settings import Limits
from trivium.service.snapshot import Current, Snapshot, Source

TOKEN = "a-token-of-20-letters"
BELL = ODD[6]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    write_graph(tmp_path / "odd.tsv")
    held = source_of(tmp_path / "odd.tsv")
    return Source(held.graph, held.checkpoint, keeps=True)


async def session(client: Client) -> None:
    """An agent that looks round, asks, lets it be explained, and decides."""

    async def call(tool: str, **arguments: Any) -> Any:
        reply = await client.call_tool(tool, arguments)
        assert not reply.is_error, reply.content
        [text] = reply.content
        assert text.type == "text"
        assert text.text.isprintable(), "nothing in it steers a terminal"
        assert json.loads(text.text) == reply.structured_content
        return reply.structured_content

    async def refused(tool: str, **arguments: Any) -> str:
        reply = await client.call_tool(tool, arguments)
        assert reply.is_error
        [text] = reply.content
        assert text.type == "text"
        return text.text

    tools = {tool.name for tool in (await client.list_tools()).tools}
    assert tools == {"search", "facts", "rank", "score", "explain", "suggest", "decide_link"}
    found = await call("search", text="bell")
    assert found["results"][0]["name"] == BELL
    assert (await call("facts", entity=BELL))["total"] == 2
    answers = (await call("rank", head=BELL, relation="likes", k=3))["answers"]
    assert [answer["rank"] for answer in answers] == sorted(answer["rank"] for answer in answers)
    first, second = answers[0]["name"], answers[1]["name"]
    assert (await call("score", head=BELL, relation="likes", tail=first))["tail_rank"] == 1
    assert (await call("explain", head=BELL, relation="likes", tail=first))["words"]
    links = (await call("suggest", relation="likes", k=4))["links"]
    assert len(links) <= 4
    assert [link["score"] for link in links] == sorted((link["score"] for link in links), reverse=True)
    await call("decide_link", head=BELL, relation="likes", tail=first, verdict="rejected", note="no")
    assert (await call("decide_link", head=BELL, relation="likes", tail=second, verdict="accepted"))["new"] == []
    after = (await call("rank", head=BELL, relation="likes", k=9))["answers"]
    assert not {first, second} & {answer["name"] for answer in after}
    assert (await call("facts", entity=BELL))["total"] == 3
    assert "at least 1 character" in await refused("rank", head="", relation="likes")
    assert "did you mean 'Nepal'" in await refused("facts", entity="Nepol")
    assert "give a head or a tail" in await refused("rank", relation="likes")
    assert "less than or equal to" in await refused("rank", head=BELL, relation="likes", k=10**6)
    unknown = await refused("score", head=BELL, relation="bell\x07", tail=first)
    assert "\x07" not in unknown


def kept(source: Source) -> list[tuple[Any, ...]]:
    state = source.decisions.state()
    assert state["checkpoint"].str.len_chars().to_list() == [64, 64]
    return state.select("head", "relation", "verdict", "reviewer", "note").rows()


def test_an_agents_session_over_http(source: Source) -> None:
    app = create_app(Current(source, seconds=0.05), Limits(max_k=50), TOKEN, mcp=True)
    with serving(app) as address:
        for headers in ({}, {"authorization": "Bearer wrong"}):
            assert httpx2.post(f"{address}/mcp", json={}, headers=headers).status_code == 401
        long = httpx2.post(f"{address}/mcp", content=b" " * (2 << 20), headers={"authorization": f"Bearer {TOKEN}"})
        assert long.status_code == 413

        async def ask() -> None:
            headers = {"authorization": f"Bearer {TOKEN}"}
            async with (
                httpx2.AsyncClient(headers=headers, timeout=120) as web,
                Client(streamable_http_client(f"{address}/mcp", http_client=web)) as client,
            ):
                await session(client)

        asyncio.run(ask())
    assert kept(source) == [(BELL, "likes", "rejected", "agent", "no"), (BELL, "likes", "accepted", "agent", "")]


AT_ONCE = """
import sys
from trivium.cli import main
from trivium.service.snapshot import Current
Current.__init__.__defaults__ = (0.05,)  # seconds between two looks
main(sys.argv[1:])
"""


def test_an_agents_session_over_pipes(source: Source) -> None:
    words = ["-c", AT_ONCE, "mcp", str(source.graph), "--checkpoint", source.checkpoint, "--review", "--max-k", "50"]
    server = StdioServerParameters(command=sys.executable, args=[*words, "--reviewer", "Ann"], env=dict(os.environ))

    async def ask() -> None:
        async with Client(stdio_client(server)) as client:
            await session(client)
            source.decisions.record(Decision("Nepal", "likes", "Tibet", "accepted", "Bob"))
            async with asyncio.timeout(60):
                while (await client.call_tool("facts", {"entity": "Tibet"})).is_error:
                    await asyncio.sleep(0.1)
            links = {"head": "Nepal", "relation": "likes", "verdict": "rejected"}
            stands = await client.call_tool("decide_link", links | {"tail": "Tibet"})
            assert stands.is_error
            assert "Bob has decided about 'Nepal likes Tibet': accepted" in str(stands.content)
            source.decisions.undo("Bob")

    asyncio.run(ask())
    assert kept(source) == [(BELL, "likes", "rejected", "Ann", "no"), (BELL, "likes", "accepted", "Ann", "")]


def test_an_agent_that_goes_away_ends_its_server_quietly(source: Source) -> None:
    words = [sys.executable, "-m", "trivium", "mcp", str(source.graph), "--checkpoint", source.checkpoint]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as server:
        assert server.stdin is not None and server.stdout is not None and server.stderr is not None
        server.stdout.close()
        server.stdin.write('{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
        server.stdin.close()
        said = server.stderr.read()
        assert (server.wait(), "Traceback" in said) == (0, False), said


def test_of_many_facts_at_once_each_joins_and_none_is_left_behind(source: Source) -> None:
    async def tell() -> None:
        current, warmed = Current(source, seconds=0.02), asyncio.Event()

        async def warm(_: Snapshot) -> None:
            warmed.set()
            await asyncio.sleep(0.05)

        def fact(name: str) -> Decision:
            return Decision(name, "likes", "Nepal", "accepted", "Ann")

        await asyncio.gather(*(current.decide(warm, fact(f"new{number}")) for number in range(8)))
        assert current.snapshot.ranker.graph.entities.names.str.starts_with("new").sum() == 8
        assert current.replaced <= 3, "who waits is served by who reads for all"
        warmed.clear()
        leaving = asyncio.create_task(current.decide(warm, fact("ghost")))
        await warmed.wait()
        leaving.cancel()
        watching = asyncio.create_task(current.watch(warm))
        async with asyncio.timeout(60):
            while "ghost" not in current.snapshot.ranker.graph.entities.names:
                await asyncio.sleep(0.02)
        watching.cancel()
        source.graph.write_text("nothing")
        with pytest.raises(InputError, match="it is kept, but the graph, which cannot be read, lacks it still: "):
            await current.decide(warm, fact("late"))
        assert "late" in source.decisions.state()["head"]

    asyncio.run(tell())


def test_facts_join_the_graph_and_stay_after_a_restart(source: Source) -> None:
    fact = {"head": "Nepal", "relation": "speaks", "tail": "Nepali"}
    headers = {"authorization": f"Bearer {TOKEN}"}
    with asking(create_app(Current(source, seconds=60), Limits(), TOKEN)) as client:
        assert client.post("/api/facts", json={"facts": [fact]}).status_code == 401
        assert client.post("/api/facts", json={"facts": []}, headers=headers).status_code == 422
        reply = client.post("/api/facts", json={"facts": [fact], "reviewer": "Ann", "note": "seen"}, headers=headers)
        assert reply.json() == {"decided": [fact], "new": ["speaks", "Nepali"]}
        source.decisions.record(Decision("Nepal", "likes", "India", "rejected", "Bob"))
        other = {"head": "Nepal", "relation": "likes", "tail": "India"}
        refused = client.post("/api/facts", json={"facts": [fact, other], "reviewer": "Ann"}, headers=headers)
        assert (refused.status_code, "Bob has decided about 'Nepal likes India'" in refused.text) == (409, True)
        assert source.decisions.log().height == 2, "all or none"
        told = client.post("/api/facts", json={"facts": [other], "reviewer": "Bob"}, headers=headers)
        assert told.status_code == 200, "who said it may say otherwise"
        undone = client.post("/api/facts/undo", json={"reviewer": "Bob"}, headers=headers)
        assert undone.json() == {"decided": [other], "new": []}
        client.post("/api/facts/undo", json={"reviewer": "Bob"}, headers=headers)
        assert client.get("/api/entity", params={"name": "Nepali"}, headers=headers).json()["total"] == 1
    with asking(create_app(Current(source, seconds=60), Limits(), TOKEN)) as client:
        assert client.get("/api/entity", params={"name": "Nepali"}, headers=headers).json()["total"] == 1
    assert Decisions(source.graph.with_suffix(".decisions")).state()["note"].to_list() == ["seen"]
    closed = create_app(Current(source_of(source.graph), seconds=60), Limits(), TOKEN)
    with asking(closed) as client:
        assert client.post("/api/facts", json={"facts": [fact]}, headers=headers).status_code == 404
        assert client.post("/mcp", json={}, headers=headers).status_code == 404
