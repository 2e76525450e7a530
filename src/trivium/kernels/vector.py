"""Vectors as values inside numba kernels: 32 doubles for sums over edges, 16 floats for matrix products.

numba keeps a small array of running sums in memory; a vector value stays in the processor's registers. Loads are
32 elements of the array's own type; sums are double, so that a sum over edges does not depend on their order to
more than a rounding of the final float (measured: 5 ms a layer against 9 ms with a float array of sums, 544,230
edges of 64 floats, two AVX2 cores; `benchmarks/message_passing.py`).
"""

from functools import wraps
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

WIDTH = 32
LANES = 16
_INTEGER = ir.IntType(32)


class _Vector(types.Type):
    def __init__(self, name: str, code: ir.VectorType) -> None:
        super().__init__(name=name)
        self.code = code


register_model(_Vector)(lambda manager, kind: models.PrimitiveModel(manager, kind, kind.code))  # type: ignore[no-untyped-call]
_doubles = _Vector(f"vector of {WIDTH} doubles", ir.VectorType(ir.DoubleType(), WIDTH))
_floats = _Vector(f"vector of {LANES} floats", ir.VectorType(ir.FloatType(), LANES))


class _Array:
    """A contiguous one-dimensional array inside a kernel."""

    def __init__(self, context: Any, build: Any, kind: Any, value: Any) -> None:
        self.build = build
        self.number = context.get_data_type(kind.dtype)
        self.bytes = kind.dtype.bitwidth // 8
        self.start = cgutils.create_struct_proxy(kind)(context, build, value=value).data  # type: ignore[no-untyped-call]

    def address(self, place: Any, count: int = WIDTH) -> Any:
        """Where the ``count`` elements from ``place`` on are."""
        vector = ir.VectorType(self.number, count)
        return self.build.bitcast(self.build.gep(self.start, [place]), vector.as_pointer())

    def load(self, place: Any, count: int = WIDTH) -> Any:
        return self.build.load(self.address(place, count), align=self.bytes)

    def store(self, place: Any, value: Any) -> None:
        self.build.store(value, self.address(place, value.type.count), align=self.bytes)


def _instruction(result: types.Type) -> Any:
    """Makes an intrinsic of a function that writes instructions.

    The function gets numba's builder and the arguments, arrays as `_Array`; it gives the value, of type ``result``.
    """

    def made(write: Any) -> Any:
        @wraps(write)
        def typed(typing: Any, *kinds: Any) -> Any:
            def code(context: Any, build: Any, signature: Any, arguments: Any) -> Any:
                given = [
                    _Array(context, build, kind, value) if isinstance(kind, types.Array) else value
                    for kind, value in zip(signature.args, arguments, strict=True)
                ]
                value = write(build, *given)
                return context.get_dummy_value() if value is None else value

            return result(*kinds), code

        return intrinsic(typed)

    return made


def _repeated(build: Any, value: Any, vector: Any) -> Any:
    """A number in every place of a vector."""
    nothing = ir.Constant(vector, ir.Undefined)
    one = build.insert_element(nothing, value, _INTEGER(0))
    return build.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(_INTEGER, vector.count), None))


def _plus_wide(build: Any, total: Any, value: Any) -> Any:
    """``total + value`` in doubles."""
    return build.fadd(total, value if value.type == _doubles.code else build.fpext(value, _doubles.code))


@_instruction(_doubles)
def zeros(build: Any) -> Any:
    """32 zeros."""
    return ir.Constant(_doubles.code, None)


@_instruction(_doubles)
def add_product(build: Any, total: Any, a: Any, i: Any, b: Any, j: Any) -> Any:
    """``total + a[i : i + 32] · b[j : j + 32]``, the product rounded to the arrays' type."""
    return _plus_wide(build, total, build.fmul(a.load(i), b.load(j)))


@_instruction(_doubles)
def add_scaled_product(build: Any, total: Any, a: Any, i: Any, b: Any, j: Any, scale: Any) -> Any:
    """``total + scale · a[i : i + 32] · b[j : j + 32]``; ``scale`` has the arrays' type."""
    product = build.fmul(a.load(i), b.load(j))
    return _plus_wide(build, total, build.fmul(product, _repeated(build, scale, product.type)))


@_instruction(_doubles)
def add_product_of_either(build: Any, total: Any, first: Any, a: Any, i: Any, b: Any, j: Any, c: Any, k: Any) -> Any:
    """``total + x · c[k : k + 32]``, where ``x`` is ``a[i : i + 32]`` if ``first``, else ``b[j : j + 32]``."""
    left = build.load(build.select(first, a.address(i), b.address(j)), align=a.bytes)
    return _plus_wide(build, total, build.fmul(left, c.load(k)))


@_instruction(types.void)
def store(build: Any, out: Any, place: Any, total: Any) -> None:
    """The vector ``total`` in ``out`` from ``place`` on, rounded to the array's type."""
    vector = ir.VectorType(out.number, total.type.count)
    out.store(place, total if vector == total.type else build.fptrunc(total, vector))


def _ask(build: Any, address: Any, cache: int) -> None:
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, _INTEGER, _INTEGER, _INTEGER])
    function = cgutils.get_or_insert_function(build.module, kind, "llvm.prefetch.p0i8")  # type: ignore[no-untyped-call]
    start = build.bitcast(address, byte)
    read, keep, is_data = (_INTEGER(value) for value in (0, 4 - cache, 1))
    for line in (0, 64):
        build.call(function, [build.gep(start, [_INTEGER(line)]), read, keep, is_data])


@_instruction(types.void)
def prefetch(build: Any, a: Any, i: Any) -> None:
    """Asks for the 128 bytes from ``a[i]`` on ahead of their use: into the first cache."""
    _ask(build, a.address(i), 1)


@_instruction(types.void)
def prefetch_far(build: Any, a: Any, i: Any) -> None:
    """The same into the second cache, which waits for more lines at once than the first."""
    _ask(build, a.address(i), 2)


@_instruction(types.void)
def prefetch_either(build: Any, first: Any, a: Any, i: Any, b: Any, j: Any) -> None:
    """`prefetch` of ``a`` from ``i`` on if ``first``, else of ``b`` from ``j`` on."""
    _ask(build, build.select(first, a.address(i), b.address(j)), 1)


@_instruction(types.void)
def prefetch_either_far(build: Any, first: Any, a: Any, i: Any, b: Any, j: Any) -> None:
    """The same into the second cache."""
    _ask(build, build.select(first, a.address(i), b.address(j)), 2)


@_instruction(_floats)
def load_floats(build: Any, a: Any, i: Any) -> Any:
    """``a[i : i + 16]`` of a float array."""
    return a.load(i, LANES)


@_instruction(_floats)
def add_multiple(build: Any, total: Any, a: Any, i: Any, row: Any) -> Any:
    """``total + a[i] · row``, rounded once."""
    kind = ir.FunctionType(_floats.code, [_floats.code] * 3)
    fused = cgutils.get_or_insert_function(build.module, kind, f"llvm.fma.v{LANES}f32")  # type: ignore[no-untyped-call]
    number = build.load(build.gep(a.start, [i]))
    return build.call(fused, [_repeated(build, number, _floats.code), row, total])


@_instruction(_floats)
def plus(build: Any, a: Any, b: Any) -> Any:
    """``a + b``, 16 floats each."""
    return build.fadd(a, b)


@_instruction(_floats)
def times(build: Any, a: Any, b: Any) -> Any:
    """``a · b``."""
    return build.fmul(a, b)


@_instruction(_floats)
def repeat(build: Any, value: Any) -> Any:
    """A float in 16 places."""
    return _repeated(build, value, _floats.code)


@_instruction(_floats)
def positive(build: Any, a: Any) -> Any:
    """``max(a, 0)``."""
    nothing = ir.Constant(_floats.code, None)
    return build.select(build.fcmp_ordered(">", a, nothing), a, nothing)


@_instruction(types.float32)
def sum_of(build: Any, value: Any) -> Any:
    """The sum of 16 floats, always by halves."""
    width = LANES
    while width > 1:
        width //= 2
        low, high = (ir.Constant(ir.VectorType(_INTEGER, width), [*range(b, b + width)]) for b in (0, width))
        value = build.fadd(build.shuffle_vector(value, value, low), build.shuffle_vector(value, value, high))
    return build.extract_element(value, _INTEGER(0))
