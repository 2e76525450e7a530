"""Five minutes of honest clients beside as many hostile ones; on request: `pytest -m soak`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trust.clients import HOSTILE
from tests.trust.test_service import crowd, process
from trivium.datasets.registry import load_dataset
from trivium.graph.index import save_index

SECONDS = float(os.environ.get("TRIVIUM_SOAK_SECONDS", "300"))
CLIENTS = 64


def memory(process: int) -> float:
    """Resident MiB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def milliseconds(latency: dict[str, list[float]], percent: float) -> float:
    return 1000 * float(np.percentile([seconds for kind in latency.values() for seconds in kind], percent))


@pytest.mark.soak
@pytest.mark.data
def test_honest_clients_beside_hostile_ones(
    data: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    graph = load_dataset("CoDExSmall", data).graph
    save_index(graph, tmp_path / "g.trivium")
    triples, columns = tmp_path / "asked.tsv", graph.triples.T
    names = zip(
        *(n.take(c) for n, c in zip((graph.entities, graph.relations, graph.entities), columns, strict=True)),
        strict=True,
    )
    triples.write_text("".join("\t".join(row) + "\n" for row in names), "utf-8")
    with process(tmp_path, 1024, "g.trivium") as (service, address, errors):

        def together(seconds: float, **kinds: int) -> dict[str, Any]:
            """What crowds of so many see, and the service's memory each second."""
            crowds = [
                crowd(",".join(HOSTILE) if kind == "hostile" else kind, address, seconds, number, triples)
                for kind, number in kinds.items()
            ]
            used = []
            with ThreadPoolExecutor() as pool:
                said = [pool.submit(one.communicate) for one in crowds]  # a full pipe would stop them
                while not all(one.done() for one in said):
                    used.append(memory(service.pid))
                    time.sleep(1)
            found = (json.loads(one.result()[0]) for one in said)
            return dict(zip(kinds, found, strict=True)) | {"memory": used}

        together(SECONDS / 5, honest=CLIENTS)  # relation representations
        alone = together(SECONDS / 2, honest=CLIENTS, health=1)
        beside = together(SECONDS, honest=CLIENTS, health=1, hostile=CLIENTS)
    honest, hostile, health = beside["honest"], beside["hostile"], beside["health"]
    p99, before = milliseconds(honest["latency"], 99), milliseconds(alone["honest"]["latency"], 99)
    used = [float(np.median(part)) for part in np.array_split(beside["memory"], 5)]
    record_property(
        "trust",
        f"soak of {SECONDS:g} s: {hostile['tried']:,} hostile connections; {honest['tried']:,} honest requests "
        f"({alone['honest']['tried'] * 2:,} in that time alone), p99 {p99:.0f} ms (alone {before:.0f}); /health p50 "
        f"{milliseconds(health['latency'], 50):.0f}, p99 {milliseconds(health['latency'], 99):.0f} ms (alone "
        f"{milliseconds(alone['health']['latency'], 99):.0f}); memory {', '.join(f'{part:.0f}' for part in used)} MiB",
    )
    assert honest["wrong"] == health["wrong"] == hostile["wrong"] == alone["honest"]["wrong"] == {}
    assert p99 <= 2 * before
    assert used[-1] < 1.05 * used[1] + 20
    assert errors.stat().st_size < 1 << 20
