"""Parts computed by workers of Dask: processes of this machine, or of many.

What computes a part is packed with all that it uses. It goes to each node once, in files that are named by their
SHA-256, kept, and mapped into the memory of every worker there; a part's task carries the numbers of its questions
alone. A worker computes what this process would, so that neither the sharing out nor a lost worker changes a byte.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import asyncio
import faulthandler
import hashlib
import logging
import os
import pickle
import platform
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, lru_cache, partial
from importlib.metadata import version
from io import BytesIO
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

import trivium
from trivium.errors import InputError, MissingPackageError, OutputError, TriviumError
from trivium.files import digest, make_folder, whole_file
from trivium.graph.graph import Graph
from trivium.inference.answers import Ids
from trivium.inference.parts import Compute, Each
from trivium.inference.ranker import Ranker
from trivium.kernels.threads import set_threads
from trivium.released import cache_folder

try:
    import dask
    from cloudpickle import CloudPickler
    from distributed import Client, KilledWorker, LocalCluster, as_completed, get_worker
    from distributed.client import FutureCancelledError
    from distributed.comm.core import CommClosedError, connect
    from distributed.security import Security
except ImportError as error:
    raise MissingPackageError("--cluster and --workers need Dask: pip install 'trivium[cluster]'") from error

AHEAD = 1000  # parts that the scheduler knows of
BLOCK = 16 << 20  # bytes of a file that are sent at once
CONNECTING = 10  # seconds after which nobody answers
KEPT = 7 * 86400  # seconds since a file was last used
ALIGNED = 64  # bytes, where an array begins
MADE = "topology", "representations", "engine"  # by a ranker, of what it is given

log = logging.getLogger(__name__)


@contextmanager
def computing(address: str | None, workers: int, seconds: float) -> Iterator[Each]:
    """Computes parts by the workers of a scheduler, or by so many processes of this machine if there is no address.

    Args:
        seconds: a worker that takes longer over one part is ended, and another takes the part.

    Raises:
        InputError: nobody answers at the address.
    """
    with ExitStack() as stack:
        if address is None:
            # processes that are forked after numba or torch has run hang
            stack.enter_context(dask.config.set({"distributed.worker.multiprocessing-method": "spawn"}))
            quiet = {"silence_logs": logging.CRITICAL, "dashboard_address": "127.0.0.1:0"}
            one = {"threads_per_worker": 1, "memory_limit": 0}  # mapped files count as memory there
            address = stack.enter_context(LocalCluster(n_workers=workers, **one, security=True, **quiet))
        client = stack.enter_context(_connected(address))
        held = len(client.nthreads())
        who = f"{held} worker{'s' * (held > 1)}" if held else "no worker yet"
        log.info("%s, dashboard at %s", who, client.dashboard_link)
        yield partial(_each, client, seconds)


def check_scheduler(address: str | None) -> None:
    """Checks that a scheduler answers, if there is an address.

    Raises:
        InputError: nobody does.
    """
    if address is not None:
        with _connected(address):
            pass


def _connected(address: Any) -> Client:
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what is lost is computed again, or said in one line
    try:
        if isinstance(address, str):
            with ThreadPoolExecutor(1) as aside:  # a notebook's own thread has a loop already
                aside.submit(asyncio.run, asyncio.wait_for(_greeted(address), CONNECTING)).result()
        return Client(address, timeout=CONNECTING)
    except Exception as reason:  # whatever may answer there
        raise InputError(
            f"no Dask scheduler answers at {address}: start one with `dask scheduler`, and give the address it shows"
            + ("; Dask's configuration must name the keys of TLS here too" if "tls" in str(address) else "")
        ) from reason


async def _greeted(address: str) -> None:
    """Waits until who is there has said that it speaks Dask's language; a client waits for that without an end."""
    (await connect(address, CONNECTING, **Security().get_connection_args("client"))).abort()


def _each(client: Client, seconds: float, compute: Compute, parts: Sequence[Ids]) -> Iterator[tuple[int, pl.DataFrame]]:
    name, run, numbers = pack(compute), secrets.token_hex(8), count()
    places: dict[str, int] = {}

    def submit(place: int) -> Any:
        key = f"{compute.__name__}-{run}-{next(numbers)}"  # the dashboard shows the first word
        places[key] = place
        return client.submit(_compute, name, parts[place], seconds, about(), key=key)

    waiting = iter(range(len(parts)))
    running = as_completed(map(submit, islice(waiting, AHEAD)))
    for future in running:
        place = places.pop(future.key)
        rows = _result(future)
        if isinstance(rows, Missing):
            _send(client, rows, compute)
            running.add(submit(place))
        else:
            running.update(map(submit, islice(waiting, 1)))
            yield place, rows


def _result(future: Any) -> Any:
    try:
        return future.result()
    except KilledWorker as reason:
        raise TriviumError(
            f"a part ended {reason.allowed_failures + 1} workers: it needs more memory than they have, or more time "
            "than --part-seconds; the same command goes on"
        ) from reason
    except (CommClosedError, FutureCancelledError) as reason:
        raise TriviumError("the scheduler is gone: start it again, and the same command goes on") from reason
    except ImportError as reason:
        raise InputError(
            f"a worker cannot load what is needed ({reason}): install trivium[cluster] {trivium.__version__} there"
        ) from reason


# What follows runs on workers too.


class Missing(NamedTuple):
    """A worker's answer where its node lacks a file."""

    worker: str
    sha256: str


class _AbsentError(LookupError):
    """The file of that SHA-256 is not in this node's folder, or damaged."""


def _compute(name: str, part: Ids, seconds: float, asking: dict[str, str]) -> pl.DataFrame | Missing:
    """The rows of a part, by the function that was packed under a name."""
    worker = get_worker()
    for what, here in about().items():
        if asking[what] != here:
            raise InputError(
                f"the worker at {worker.address} has {what} {here}, not {asking[what]}: install the same there"
            )
    if worker.state.nthreads > 1:
        raise InputError(
            f"the worker at {worker.address} has {worker.state.nthreads} threads: start it with --nthreads 1"
        )
    set_threads(1)
    faulthandler.dump_traceback_later(seconds, exit=True)  # even while no Python code runs
    try:
        rows: pl.DataFrame = unpacked(name)(part)
        return rows
    except _AbsentError as absent:
        return Missing(worker.address, str(absent))
    finally:
        faulthandler.cancel_dump_traceback_later()


@cache
def about() -> dict[str, str]:
    """The versions that must be the same on both sides, so that the results are."""
    package = Path(trivium.__file__).parent
    own = digest(*(path.read_bytes() for path in sorted(package.rglob("*.py"))))
    python = ".".join(platform.python_version_tuple()[:2])
    others = {name: version(name) for name in ("numba", "numpy", "polars", "torch")}
    return {"Python": python, "trivium": f"{trivium.__version__} ({own[:8]})", **others}


class _Packer(CloudPickler):  # type: ignore[misc]
    """Pickles a value; its arrays and names go to buffers, its graphs and rankers to files of their own."""

    def __init__(self, value: Any, file: BytesIO, buffers: list[pickle.PickleBuffer], names: dict[int, str]) -> None:
        super().__init__(file, 5, buffers.append)
        self.value, self.names = value, names

    def persistent_id(self, value: Any) -> str | None:
        if value is self.value or not isinstance(value, Graph | Ranker):
            return None
        if id(value) not in self.names:
            self.names[id(value)] = pack(value, self.names)
        return self.names[id(value)]

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, pl.Series):
            return pl.Series, (value.name, value.to_arrow(compat_level=pl.CompatLevel.oldest()))
        if isinstance(value, Ranker):
            if value.model.device.type != "cpu":
                raise InputError("--cluster and --workers compute on processors: leave --device out")
            kept, held = value.representations, vars(value)
            how = {"texts": value.topology.texts, "disabled": kept.disabled, "cache_bytes": kept.cache_bytes}
            return _ranker, (
                {name: held[name] for name in held if name not in MADE},
                how,
                (value.engine.debias, value.engine.within),
            )
        return super().reducer_override(value)


def _ranker(held: dict[str, Any], how: dict[str, Any], rules: tuple[float, int]) -> Ranker:
    ranker = Ranker(held["model"], held["graph"], **how).reproduce()
    ranker.engine.debias, ranker.engine.within = rules
    vars(ranker).update(held)
    return ranker


class _Unpacker(pickle.Unpickler):
    def persistent_load(self, name: str) -> Any:
        return unpacked(name)


def pack(value: Any, names: dict[int, str] | None = None) -> str:
    """Keeps a value in this node's folder; the name of its file, which is its SHA-256.

    A file is a count, as many sizes, and as many blocks, each from a multiple of `ALIGNED` bytes on: a pickle, and the
    buffers that it refers to.

    Args:
        names: of the graphs and rankers that are packed already, by `id`.
    """
    head, buffers = BytesIO(), list[pickle.PickleBuffer]()
    _Packer(value, head, buffers, {} if names is None else names).dump(value)
    blocks = [head.getbuffer(), *(buffer.raw() for buffer in buffers)]
    pieces, end = list[Any](), 0
    for block in (np.array([len(blocks), *map(len, blocks)]).tobytes(), *blocks):
        pieces += [bytes(-end % ALIGNED), block]
        end += len(pieces[-2]) + len(block)
    sha = hashlib.sha256()
    for piece in pieces:
        sha.update(piece)
    if not _whole(place := folder() / sha.hexdigest()):
        with whole_file(place, force=True) as file:
            file.writelines(pieces)
    return place.name


@lru_cache(maxsize=6)  # what computes, a ranker and its graphs; and of what was computed before a little
def unpacked(name: str) -> Any:
    """The value that was packed under a name; its arrays are the file's memory, shared until one is written to.

    Raises:
        _AbsentError: the file is not on this node.
    """
    place = folder() / name
    if not _whole(place):
        raise _AbsentError(name)
    place.touch()
    data = np.memmap(place, np.uint8, "c")
    count = int(data[:8].view(np.int64)[0])
    end, blocks = 8 * (1 + count), []
    for size in data[8:end].view(np.int64).tolist():
        begin = end + -end % ALIGNED
        end = begin + size
        blocks.append(data[begin:end])
    return _Unpacker(BytesIO(blocks[0].tobytes()), buffers=blocks[1:]).load()


def folder() -> Path:
    """The folder of what was packed on this node, without what was not used for long."""
    place = make_folder(cache_folder() / "packed")
    for old in place.iterdir():
        with suppress(OSError):  # another process removes it too
            if old.stat().st_mtime < time.time() - KEPT:
                old.unlink()
    return place


def _whole(place: Path) -> bool:
    try:
        with place.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == place.name
    except OSError:
        return False


def _send(client: Client, missing: Missing, compute: Compute) -> None:
    """Sends a packed file to a worker's node, unless it got there meanwhile.

    Args:
        compute: is packed again where the file is not here any more, or damaged.

    Raises:
        TriviumError: the worker cannot keep it, or this disk cannot.
    """

    def ask(function: Callable[..., Any], *words: Any) -> Any:
        said = client.run(function, missing.sha256, *words, workers=[missing.worker], on_error="ignore")
        return said.get(missing.worker, True)  # one that is gone needs it no more

    if ask(_has):
        return
    if not _has(missing.sha256):
        pack(compute)
        if not _has(missing.sha256):
            raise TriviumError(f"{folder()} does not keep what is sent to workers: the same command goes on")
    run = secrets.token_hex(8)
    with (folder() / missing.sha256).open("rb") as file:
        while block := file.read(BLOCK):
            last = file.tell() == os.fstat(file.fileno()).st_size
            if (reason := ask(_receive, run, block, last)) not in (None, True):
                raise TriviumError(f"the worker at {missing.worker} cannot keep what is sent to it: {reason}")


def _has(name: str) -> bool:
    return _whole(folder() / name)


def _receive(name: str, run: str, block: bytes, last: bool) -> str | None:
    """Adds a block to a file that is sent; what keeps it from being kept, if anything does."""
    try:
        place = folder() / f"{run}.part"
        with place.open("ab") as file:
            file.write(block)
        if last:
            place.replace(place.with_name(name))
    except (OSError, OutputError) as reason:
        return str(reason)
    return None
