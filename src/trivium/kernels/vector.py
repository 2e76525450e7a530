"""Vectors as values inside numba kernels: 32 doubles for sums over edges, 16 floats for matrix products.

numba keeps a small array of running sums in memory; a vector value stays in the processor's registers. Loads are
32 elements of the array's own type; sums are double, so that a sum over edges does not depend on their order to
more than a rounding of the final float (measured: 5 ms a layer against 9 ms with a float array of sums, 544,230
edges of 64 floats, two AVX2 cores; `benchmarks/message_passing.py`).
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

WIDTH = 32
_DOUBLES = ir.VectorType(ir.DoubleType(), WIDTH)


class _Vector(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"vector of {WIDTH} doubles")


_vector = _Vector()


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _DOUBLES)  # type: ignore[no-untyped-call]


def _pointer(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> tuple[Any, Any]:
    """The address of element ``place`` of a contiguous one-dimensional array, and the type of a vector there."""
    proxy = cgutils.create_struct_proxy(kind)  # type: ignore[no-untyped-call]
    address = builder.gep(proxy(context, builder, value=array).data, [place])
    return address, ir.VectorType(context.get_data_type(kind.dtype), WIDTH)


def _load(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    address, vector = _pointer(context, builder, kind, array, place)
    return builder.load(builder.bitcast(address, vector.as_pointer()), align=kind.dtype.bitwidth // 8)


def _widen(builder: Any, value: Any) -> Any:
    return value if value.type == _DOUBLES else builder.fpext(value, _DOUBLES)


def _repeated(builder: Any, value: Any, vector: Any) -> Any:
    """A number in every place of a vector."""
    nothing = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None))


@intrinsic
def zeros(typing: Any) -> Any:
    """A vector of zeros."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(_DOUBLES, None)

    return _vector(), code


@intrinsic
def add(typing: Any, total: Any, a: Any, i: Any) -> Any:
    """``total + a[i : i + 32]``."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total, a, i = arguments
        return builder.fadd(total, _widen(builder, _load(context, builder, signature.args[1], a, i)))

    return _vector(total, a, i), code


@intrinsic
def add_product(typing: Any, total: Any, a: Any, i: Any, b: Any, j: Any) -> Any:
    """``total + a[i : i + 32] · b[j : j + 32]``, the product rounded to the arrays' type."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total, a, i, b, j = arguments
        left = _load(context, builder, signature.args[1], a, i)
        right = _load(context, builder, signature.args[3], b, j)
        return builder.fadd(total, _widen(builder, builder.fmul(left, right)))

    return _vector(total, a, i, b, j), code


@intrinsic
def add_scaled_product(typing: Any, total: Any, a: Any, i: Any, b: Any, j: Any, scale: Any) -> Any:
    """``total + scale · a[i : i + 32] · b[j : j + 32]``; ``scale`` has the arrays' type."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total, a, i, b, j, scale = arguments
        left = _load(context, builder, signature.args[1], a, i)
        right = _load(context, builder, signature.args[3], b, j)
        scales = _repeated(builder, scale, left.type)
        product = builder.fmul(builder.fmul(left, right), scales)
        return builder.fadd(total, _widen(builder, product))

    return _vector(total, a, i, b, j, scale), code


@intrinsic
def store(typing: Any, out: Any, place: Any, total: Any) -> Any:
    """``out[place : place + 32] = total``, rounded to the array's type."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        out, place, total = arguments
        kind = signature.args[0]
        address, vector = _pointer(context, builder, kind, out, place)
        value = total if vector == _DOUBLES else builder.fptrunc(total, vector)
        builder.store(value, builder.bitcast(address, vector.as_pointer()), align=kind.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(out, place, total), code


@intrinsic
def prefetch(typing: Any, a: Any, i: Any) -> Any:
    """Asks for the 128 bytes from ``a[i]`` on ahead of their use."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, i = arguments
        address, _ = _pointer(context, builder, signature.args[0], a, i)
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        name = "llvm.prefetch.p0i8"
        function = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
        start = builder.bitcast(address, byte)
        read, keep, is_data = (ir.Constant(number, value) for value in (0, 3, 1))
        for line in (0, 64):
            builder.call(function, [builder.gep(start, [ir.Constant(number, line)]), read, keep, is_data])
        return context.get_dummy_value()

    return types.void(a, i), code


LANES = 16
_FLOATS = ir.VectorType(ir.FloatType(), LANES)


class _Lanes(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"vector of {LANES} floats")


_lanes = _Lanes()


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _FLOATS)  # type: ignore[no-untyped-call]


@intrinsic
def float_zeros(typing: Any) -> Any:
    """16 float zeros."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(_FLOATS, None)

    return _lanes(), code


@intrinsic
def load_floats(typing: Any, a: Any, i: Any) -> Any:
    """``a[i : i + 16]`` of a float array."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, _ = _pointer(context, builder, signature.args[0], *arguments)
        return builder.load(builder.bitcast(address, _FLOATS.as_pointer()), align=4)

    return _lanes(a, i), code


@intrinsic
def add_multiple(typing: Any, total: Any, a: Any, i: Any, row: Any) -> Any:
    """``total + a[i] · row``, rounded once."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total, a, i, row = arguments
        address, _ = _pointer(context, builder, signature.args[1], a, i)
        kind = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
        name = f"llvm.fma.v{LANES}f32"
        fused = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
        return builder.call(fused, [_repeated(builder, builder.load(address), _FLOATS), row, total])

    return _lanes(total, a, i, row), code


@intrinsic
def store_floats(typing: Any, out: Any, place: Any, total: Any) -> Any:
    """``out[place : place + 16] = total``."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        out, place, total = arguments
        address, _ = _pointer(context, builder, signature.args[0], out, place)
        builder.store(total, builder.bitcast(address, _FLOATS.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(out, place, total), code


@intrinsic
def add_product_of_either(typing: Any, total: Any, first: Any, a: Any, i: Any, b: Any, j: Any, c: Any, k: Any) -> Any:
    """``total + x · c[k : k + 32]``, where ``x`` is ``a[i : i + 32]`` if ``first``, else ``b[j : j + 32]``."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total, first, a, i, b, j, c, k = arguments
        one, vector = _pointer(context, builder, signature.args[2], a, i)
        other, _ = _pointer(context, builder, signature.args[4], b, j)
        address = builder.bitcast(builder.select(first, one, other), vector.as_pointer())
        left = builder.load(address, align=signature.args[2].dtype.bitwidth // 8)
        right = _load(context, builder, signature.args[6], c, k)
        return builder.fadd(total, _widen(builder, builder.fmul(left, right)))

    return _vector(total, first, a, i, b, j, c, k), code


def _lanewise(operation: str) -> Any:
    """An intrinsic of two vectors of 16 floats, by the name of an instruction."""

    def typed(typing: Any, a: Any, b: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, operation)(*arguments)

        return _lanes(a, b), code

    return intrinsic(typed)


plus, minus, times = _lanewise("fadd"), _lanewise("fsub"), _lanewise("fmul")


@intrinsic
def repeat(typing: Any, value: Any) -> Any:
    """A float in 16 places."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _repeated(builder, arguments[0], _FLOATS)

    return _lanes(value), code


@intrinsic
def positive(typing: Any, a: Any) -> Any:
    """``max(a, 0)``."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        nothing = ir.Constant(_FLOATS, None)
        return builder.select(builder.fcmp_ordered(">", arguments[0], nothing), arguments[0], nothing)

    return _lanes(a), code


@intrinsic
def sum_of(typing: Any, a: Any) -> Any:
    """The sum of 16 floats, always by halves."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (value,) = arguments
        width = LANES
        while width > 1:
            width //= 2
            low, high = (ir.Constant(ir.VectorType(ir.IntType(32), width), [*range(b, b + width)]) for b in (0, width))
            value = builder.fadd(builder.shuffle_vector(value, value, low), builder.shuffle_vector(value, value, high))
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    return types.float32(a), code
