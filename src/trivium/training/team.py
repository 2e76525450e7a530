"""The processes that train one model together, as torchrun starts them; or the one that trains alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from trivium.errors import TrainingError, TriviumError
from trivium.model.trivium import chosen_device

PATIENCE = timedelta(hours=1)  # for one that is busy; one that ended is noticed at once
CONNECTING = timedelta(minutes=1)  # after which they end, and torchrun starts them anew

T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    """The processes of a run; the first one alone reads and writes its folder.

    Attributes:
        rank: this process, from 0.
        size: how many there are.
        again: torchrun has started them anew, because one had died.
        device: where this one computes.
    """

    rank: int = 0
    size: int = 1
    again: bool = False
    device: str = "cpu"

    @property
    def first(self) -> bool:
        return self.rank == 0

    def told(self, ask: Callable[[], T]) -> T:
        """What the first process finds, or the error that it meets, for all of them."""
        found: list[Any] = [None, None]
        if self.first:
            try:
                found[0] = ask()
            except TriviumError as error:
                found[1] = error
        if self.size > 1:
            distributed.broadcast_object_list(found, 0)
        if found[1] is not None:
            raise found[1]
        return found[0]  # type: ignore[no-any-return]

    def sum(self, count: int) -> int:
        """The sum of all processes' counts."""
        total = torch.tensor(count)
        if self.size > 1:
            distributed.all_reduce(total)
        return int(total)

    def joined(self, rows: Tensor) -> Tensor:
        """``[size · rows, …]``: the first row of each process, in the order of ranks, then the second, and so on."""
        parts = [torch.empty_like(rows) for _ in range(self.size)]
        distributed.all_gather(parts, rows)
        return torch.stack(parts, 1).flatten(0, 1)


@contextmanager
def teamed(device: str) -> Iterator[Team]:
    """This process's place in the team that torchrun has made, or a team of one.

    Args:
        device: see `chosen_device`; several processes of a machine take a GPU each.

    Raises:
        TrainingError: another process has ended, or they do not find each other.
    """
    if not distributed.is_torchelastic_launched():
        yield Team(device=device)
        return
    rank, size, local, again = (
        int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RESTART_COUNT")
    )
    cuda = chosen_device(device).type == "cuda"
    if cuda:
        device = f"cuda:{local}"
        torch.cuda.set_device(chosen_device(device))
    try:
        store = next(rendezvous("env://", timeout=CONNECTING))[0]
        if os.environ["GROUP_WORLD_SIZE"] == "1":  # torchrun keeps the addresses of those that have ended; only where
            store = PrefixStore(str(again), store)  # there is one of it do all have the same count
        backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
        distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=CONNECTING)
        distributed.distributed_c10d._set_pg_timeout(PATIENCE)
        yield Team(rank, size, again > 0, device)
    except RuntimeError as error:  # torch has no kind of its own for all of them
        raise TrainingError(f"process {rank} of {size} cannot go on; another may have ended: {error}") from error
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
