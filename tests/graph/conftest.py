"""A SPARQL endpoint of one's own: a real store behind a small server."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest
from pyoxigraph import NamedNode, QueryResultsFormat, RdfFormat, Store

DATA = "".join(
    [
        *(f"<http://x/e{i}> <http://x/r{i % 2}> <http://x/e{i * i % 40}> .\n" for i in range(40)),
        '<http://x/e0> <http://www.w3.org/2000/01/rdf-schema#label> "Zero \\"0\\""@en, "Null"@de .\n',
        '<http://x/e1> <http://xmlns.com/foaf/0.1/name> "One" ; <http://x/age> 7, 8 .\n',
        "<http://x/e2> <http://x/r0> _:b . _:b <http://x/r1> <http://x/e3> .\n",
        '<http://x/r0> <http://www.w3.org/2000/01/rdf-schema#label> "is near" .\n',
        "<http://x/odd (1)#é> <http://x/r0> <http://x/e1> .\n",
    ]
)
NAMED = "".join(f"<http://x/g{i}> <http://x/in> <http://x/e{i}> .\n" for i in range(5))

Answer = Callable[[str], tuple[int, dict[str, str], bytes] | None]


class Server(ThreadingHTTPServer):
    """A SPARQL endpoint.

    Attributes:
        cap: rows that it gives at most.
        instead: what it answers in place of what was asked, if anything.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.store = Store()
        self.store.load(DATA.encode(), format=RdfFormat.TURTLE, lenient=True)
        self.store.load(NAMED.encode(), format=RdfFormat.TURTLE, to_graph=NamedNode("http://x/graph"))
        self.cap = 10_000
        self.asked: list[str] = []
        self.at_once, self.most_at_once = 0, 0
        self.instead: Answer = lambda query: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/sparql"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.server.at_once += 1
        self.server.most_at_once = max(self.server.at_once, self.server.most_at_once)
        assert self.headers["User-Agent"].startswith("trivium/")
        query = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())["query"][0]
        self.server.asked.append(query)
        code, headers, body = self.server.instead(query) or (200, {}, self.rows(query))
        self.server.at_once -= 1
        self.send_response(code)
        for name, value in ({"Content-Type": "application/sparql-results+json"} | headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: int(headers.get("Cut", len(body)))])

    def rows(self, query: str) -> bytes:
        found: Any = self.server.store.query(query)
        found.serialize(out := io.BytesIO(), QueryResultsFormat.JSON)
        whole = json.loads(out.getvalue())
        whole["results"]["bindings"] = whole["results"]["bindings"][: self.server.cap]
        for number, row in enumerate(whole["results"]["bindings"]):
            for term in row.values():
                if term["type"] == "bnode":
                    term["value"] = f"{len(self.server.asked)}-{number}"  # another name in each answer
        return json.dumps(whole).encode()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()
