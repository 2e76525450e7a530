"""A device that is none: tensors that lie in the processor's memory and say that they lie elsewhere.

An operation on a tensor that stayed on the CPU and one that did not fails, as it does with a GPU, and so does
``numpy()``. Random numbers and results are those of the CPU.
"""

# mypy: disable-error-code="arg-type, no-untyped-call, override"

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("pretend")
DEVICE = torch.device("pretend:0")
MOVES = torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default


class Away(Tensor):
    """A tensor on the device; ``held`` is what it holds."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "Away":
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset()}
        out = torch.Tensor._make_wrapper_subclass(cls, held.size(), dtype=held.dtype, device=DEVICE, **layout)  # type: ignore[attr-defined]
        out.held = held
        return out  # type: ignore[no-any-return]

    def tolist(self) -> Any:
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})


class _Away(TorchDispatchMode):
    """Catches what makes tensors on the device."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})


def _run(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    away = [each for each in given if isinstance(each, Away)]
    stayed = [each for each in given if not isinstance(each, Away) and each.ndim]
    if away and stayed and function not in MOVES:
        raise RuntimeError(f"{function}: a tensor of {[*stayed[0].shape]} stayed on the CPU")
    args, kwargs = tree_map(lambda leaf: leaf.held if isinstance(leaf, Away) else leaf, (args, kwargs))
    place = kwargs.get("device")
    if place is not None:
        kwargs["device"] = "cpu"
    to_device = bool(away) if place is None else torch.device(place).type == DEVICE.type
    same = {id(each.held): each for each in away}  # what works in place gives back what it was given

    def back(leaf: Any) -> Any:
        return leaf if not isinstance(leaf, Tensor) else same[id(leaf)] if id(leaf) in same else Away(leaf)

    out = function(*args, **kwargs)
    return tree_map(back, out) if to_device else out


def _copied(source: Tensor, to: Tensor, non_blocking: bool = False) -> Tensor:
    held, into = (each.held if isinstance(each, Away) else each for each in (source, to))
    into.copy_(held)
    return to


_library = torch.library.Library("aten", "IMPL")
_library.impl(
    "empty_strided", lambda *size, **kind: Away(torch.empty_strided(*size, **kind | {"device": "cpu"})), "PrivateUse1"
)
_library.impl("_copy_from", _copied, "PrivateUse1")


@contextmanager
def pretended() -> Iterator[torch.device]:
    """The device, for as long as the block lasts."""
    with _Away():
        yield DEVICE
