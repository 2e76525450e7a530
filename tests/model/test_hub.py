"""The Hub's mix-in, against a folder and against a stand-in for the Hub on this machine."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from tests.conftest import small_model

from trivium.errors import CheckpointError
from trivium.model.checkpoint import Provenance
from trivium.model.hub import HubModel
from trivium.model.trivium import load_checkpoint, save_checkpoint

MADE = Provenance(made_by="a test", version="0", training_data={"synthetic": ""}, steps=3)


def test_a_folder_keeps_weights_provenance_and_card(tmp_path: Path) -> None:
    save_checkpoint(small_model(), MADE, tmp_path / "mine.safetensors")
    (tmp_path / "mine.md").write_text("# Mine\n\nMade for a test.\n")
    HubModel.open(tmp_path / "mine.safetensors").save_pretrained(tmp_path / "kept")
    assert (tmp_path / "kept" / "model.safetensors").read_bytes() == (tmp_path / "mine.safetensors").read_bytes()
    assert json.loads((tmp_path / "kept" / "config.json").read_text())["dim"] == small_model().config.dim
    card = (tmp_path / "kept" / "README.md").read_text()
    assert card.startswith("---\n")
    assert "library_name: trivium" in card
    assert card.endswith("# Mine\n\nMade for a test.\n")
    back = HubModel.from_pretrained(tmp_path / "kept")
    assert back.card == "# Mine\n\nMade for a test.\n"
    assert back.provenance == load_checkpoint(tmp_path / "mine.safetensors")[1]
    held = small_model().state_dict()
    assert all(torch.equal(tensor, held[name]) for name, tensor in back.model.state_dict().items())
    (tmp_path / "mine.md").unlink()
    assert "| made by | a test |" in HubModel.open(tmp_path / "mine.safetensors").generate_model_card().text
    (tmp_path / "kept" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        HubModel.from_pretrained(tmp_path / "kept")


class StandIn(BaseHTTPRequestHandler):
    """As much of the Hub as one push and one download ask for."""

    kept: dict[str, bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        assert self.headers["authorization"] == "Bearer hf_test"
        home = f"http://{self.headers['host']}/me/mine"
        reply: dict[str, object] = {"url": home, "commitUrl": f"{home}/commit/1", "commitOid": "1"}
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            reply = {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.kept[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        self.answer(json.dumps(reply).encode())

    def do_GET(self) -> None:
        content = self.kept.get(self.path.split("/resolve/main/")[-1].split("/resolve/1/")[-1])
        if content is None:
            self.answer(b"{}", 404, {"x-error-code": "EntryNotFound"})
        else:
            self.answer(content, more={"etag": f'"{len(content)}"', "x-repo-commit": "1"})

    do_HEAD = do_GET  # noqa: N815

    def answer(self, content: bytes, status: int = 200, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"content-length": str(len(content)), **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    StandIn.kept = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


SESSION = """
from trivium import HubModel
kept = HubModel.open("mine.safetensors")
kept.push_to_hub("me/mine", token="hf_test")
back = HubModel.from_pretrained("me/mine", token=False)
back.save_pretrained("back")
"""


def test_a_model_goes_to_the_hub_and_comes_back(hub: str, tmp_path: Path) -> None:
    save_checkpoint(small_model(), MADE, tmp_path / "mine.safetensors")
    environment = os.environ | {"HF_ENDPOINT": hub, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SESSION], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(StandIn.kept) == {"README.md", "config.json", "model.safetensors"}
    assert (tmp_path / "back" / "model.safetensors").read_bytes() == (tmp_path / "mine.safetensors").read_bytes()
    assert b"| made by | a test |" in StandIn.kept["README.md"]
