"""How many threads compute."""

import numba
import torch


def set_threads(count: int) -> None:
    """Threads of torch and of the compiled kernels, in this process. Results do not depend on it."""
    torch.set_num_threads(count)
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
