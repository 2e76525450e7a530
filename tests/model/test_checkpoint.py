"""Checkpoints keep what a model is; pickles are read as tensors only."""

import os
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.conftest import SMALL, random_graph, small_model

from trivium.errors import CheckpointError, OutputError
from trivium.model.checkpoint import Provenance, find_checkpoint, write_checkpoint
from trivium.model.config import ModelConfig
from trivium.model.topology import Topology
from trivium.model.trivium import load_checkpoint, save_checkpoint
from trivium.model.ultra import import_ultra


def test_a_checkpoint_gives_back_model_and_provenance(tmp_path: Path) -> None:
    model, path = small_model(), tmp_path / "m.safetensors"
    provenance = Provenance("by hand", "0", {"a": "1" * 64}, 7, 3, {"steps": 7})
    save_checkpoint(model, provenance, path)
    again, found = load_checkpoint(path)
    assert replace(found, sha256="") == provenance
    assert again.config == model.config
    topology, head, query = Topology(random_graph(1)), torch.tensor([0]), torch.tensor([1])
    assert torch.equal(again(topology, head, query), model(topology, head, query))
    with pytest.raises(OutputError, match="exists already"):
        save_checkpoint(model, provenance, path)


def test_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    contents = set()
    for _ in range(8):  # safetensors alone orders its metadata by chance
        save_checkpoint(small_model(), Provenance(), path, force=True)
        contents.add(path.read_bytes())
    assert len(contents) == 1


def test_a_damaged_weight_or_setting_is_refused(tmp_path: Path) -> None:
    """Of what is written, none can change unseen; a checkpoint of an earlier version carries no checksum."""
    path = tmp_path / "m.safetensors"
    save_checkpoint(small_model(), Provenance(training_data={"g": "abc"}), path)
    content = path.read_bytes()
    for old, new in (
        (b"abc", b"abd"),
        (b'prompt_examples\\": 8', b'prompt_examples\\": 9'),
        (content[-4:], b"\0\0\0\0"),
    ):
        assert content.count(old) == 1
        path.write_bytes(content.replace(old, new))
        with pytest.raises(CheckpointError, match="is damaged"):
            load_checkpoint(path)
    sha256 = re.search(rb'sha256\\": \\"([0-9a-f]{64})', content)
    assert sha256
    path.write_bytes(content.replace(sha256[1], b"").replace(b"abc", b"abd" + b" " * 64))
    assert load_checkpoint(path)[1].training_data["g"].strip() == "abd"


def test_what_is_no_checkpoint_is_refused_in_words(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    (tmp_path / "text").write_text("a\tb\tc\n")
    save_file({"x": torch.zeros(1)}, tmp_path / "other")
    weights = small_model().state_dict()
    logits = "fusion.fusion_weights_logits"

    def changed(**settings: object) -> ModelConfig:
        odd = replace(SMALL)
        vars(odd).update(settings)  # past the types, which tests check
        return odd

    written = {
        "odd": (changed(dim=48), weights),
        "many layers": (changed(layers=10**6), weights),
        "other width": (changed(dim=64), weights),
        "wide": (changed(dim=32 * 10**4), weights),
        "examples": (changed(prompt_examples=10**9), weights),
        "entities": (changed(prompt_entities=10**9), weights),
        "edges": (changed(prompt_edges=10**9), weights),
        "other rows": (changed(prompt_rows="query"), weights),
        "encoder": (changed(text_encoder=5), weights),
        "nan": (SMALL, weights | {logits: torch.tensor([0.0, torch.nan, 0.0])}),
        "integers": (SMALL, weights | {logits: torch.zeros(3, dtype=torch.int8)}),
        "missing": (SMALL, {name: value for name, value in weights.items() if name != logits}),
    }
    for name, content in written.items():
        write_checkpoint(*content, Provenance(), tmp_path / name)
    for name, words in (
        ("odd", "odd holds settings .* dim: .*multiple of 32"),
        ("many layers", "holds settings .* layers: .* 64"),
        ("other width", r"do not fit: \S+ is \[.*\] of torch.float32, the settings ask for \[.*64"),
        ("wide", "holds settings .* dim: .* 4096"),
        ("examples", "holds settings .* prompt_examples: .* 64"),
        ("entities", "holds settings .* prompt_entities: .* 1024"),
        ("edges", "holds settings .* prompt_edges: .* 4096"),
        ("other rows", "holds settings .* prompt_rows"),
        ("encoder", "holds settings .* text_encoder"),
        ("nan", f"the weight {logits} holds a number that is not finite"),
        ("integers", r"logits is \[3\] of torch.int8"),
        ("missing", "logits is missing"),
        ("text", "is not a checkpoint"),
        ("other", "was not written by trivium"),
        ("nowhere", "no checkpoint .* TRIVIUM_MODELS"),
    ):
        with pytest.raises(CheckpointError, match=words):
            load_checkpoint(tmp_path / name)


def test_released_checkpoints_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(small_model(), Provenance(note="mine"), tmp_path / "mine.safetensors")
    monkeypatch.setenv("TRIVIUM_MODELS", str(tmp_path))
    assert load_checkpoint("mine")[1].note == "mine"
    assert find_checkpoint("trivium-3g").parent.name == "releases"  # in a clone, where tests run


def test_every_cut_of_a_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_checkpoint(small_model(), Provenance(), path)
    content = path.read_bytes()
    cut = tmp_path / "cut.safetensors"
    for size in (0, 7, 8, 100, len(content) // 2, len(content) - 1):
        cut.write_bytes(content[:size])
        with pytest.raises(CheckpointError):
            load_checkpoint(cut)


class Exploit:
    """Unpickled without care, it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "plain pickle"])
def test_a_malicious_pickle_does_nothing(tmp_path: Path, legacy: bool) -> None:
    mark, path = tmp_path / "owned", tmp_path / "evil.pth"
    content = {"model": {"relation_model.layers.0.relation.weight": Exploit(mark)}}
    if legacy:
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    # the exploit works where it is let in: the test would be void otherwise
    code = "import sys, torch, pickle; p = sys.argv[1]\n"
    code += "pickle.load(open(p, 'rb'))" if legacy else "torch.load(p, weights_only=False)"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert mark.exists()
    mark.unlink()
    with pytest.raises(CheckpointError, match="not a file of tensors alone"):
        import_ultra(path)
    assert not mark.exists()


def test_foreign_tensors_are_refused_in_words(tmp_path: Path) -> None:
    torch.save({"model": {"x": torch.zeros(2)}}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="holds no ULTRA weights"):
        import_ultra(tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="no such file"):
        import_ultra(tmp_path / "y.pth")


@pytest.mark.data
def test_a_public_checkpoint_imports_whole(data: Path, tmp_path: Path) -> None:
    model, provenance = import_ultra(data / "checkpoints" / "ultra_3g.pth")
    assert sum(p.numel() for p in model.parameters()) == 168_705  # the paper's count
    assert model.config.conditioning == "forward"
    save_checkpoint(model, provenance, tmp_path / "ultra.safetensors")
    assert load_checkpoint(tmp_path / "ultra.safetensors")[0].config == model.config
    with pytest.raises(CheckpointError, match="SEMMA"):
        import_ultra(data / "checkpoints" / "semma.pth")
