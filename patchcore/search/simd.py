"""Vectors of 16 float32 numbers for compiled loops, where the compiler's own vectorisation is left to chance.

Each function is an LLVM expression that numba puts in place of the call. On a processor with narrower registers LLVM
splits a vector; multiply-adds are fused everywhere, so a sum is the same on each. To be imported by compiled code only:
importing it imports numba.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

LANES = 16
BLOCK = 16
"""Vectors that ``load_block`` brings into registers together."""

_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_ZEROS = ir.Constant(_FLOATS, [0.0] * LANES)
_Typed = tuple[Any, Any]  # what an intrinsic returns: a numba signature, and the function that writes its code


class Vector(types.Type):
    """The numba type of 16 float32 numbers in a register."""

    def __init__(self) -> None:
        super().__init__(name="Float32x16")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _FLOATS)  # type: ignore[no-untyped-call]


VECTOR = Vector()
_BLOCK_TYPE = types.UniTuple(VECTOR, BLOCK)  # type: ignore[no-untyped-call]


def _expression(describe: Callable[..., _Typed]) -> Any:
    """Let numba put an expression in the place of each call of a function."""
    return intrinsic(describe)


def _number(value: int) -> Any:
    return ir.Constant(ir.IntType(64), value)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, start: Any) -> Any:
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [start])


def _vector_at(builder: Any, pointer: Any, index: int = 0) -> Any:
    """Return the vector that begins at a float pointer, or the index-th after it."""
    vectors = builder.bitcast(pointer, _FLOATS.as_pointer())
    return builder.load(builder.gep(vectors, [_number(index)]), align=4)


def _spread(builder: Any, number: Any) -> Any:
    """Return a vector that holds a number 16 times."""
    one = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


def _multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    declared = builder.module.globals.get("llvm.fma.v16f32") or ir.Function(
        builder.module, ir.FunctionType(_FLOATS, [_FLOATS] * 3), "llvm.fma.v16f32"
    )
    return builder.call(declared, [a, b, c])


def _larger(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _halves(builder: Any, vector: Any, width: int) -> tuple[Any, Any]:
    """Return the lower and the upper half of the first ``width`` numbers."""
    index = ir.VectorType(ir.IntType(32), width // 2)
    lower = builder.shuffle_vector(vector, vector, ir.Constant(index, list(range(width // 2))))
    return lower, builder.shuffle_vector(vector, vector, ir.Constant(index, list(range(width // 2, width))))


def _reduce(builder: Any, vector: Any, combine: Any) -> Any:
    for width in (16, 8, 4, 2):
        vector = combine(*_halves(builder, vector, width))
    return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))


@_expression
def fill(_: Any, number: Any) -> _Typed:
    """Return a vector that holds a number 16 times."""
    return VECTOR(types.float32), lambda context, builder, signature, args: _spread(builder, args[0])


@_expression
def spread(_: Any, array: Any, index: Any) -> _Typed:
    """Return a vector that holds one number of an array 16 times; the index is not checked."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _spread(builder, builder.load(_pointer(context, builder, signature.args[0], *args)))

    return VECTOR(array, types.intp), generate


@_expression
def load(_: Any, array: Any, start: Any) -> _Typed:
    """Return 16 numbers of a contiguous array, from an index on, which is not checked."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _vector_at(builder, _pointer(context, builder, signature.args[0], *args))

    return VECTOR(array, types.intp), generate


@_expression
def load_block(_: Any, array: Any, start: Any) -> _Typed:
    """Return 16 vectors that stand one after another, from an index on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *args)
        return context.make_tuple(builder, _BLOCK_TYPE, [_vector_at(builder, pointer, row) for row in range(BLOCK)])

    return _BLOCK_TYPE(array, types.intp), generate


@_expression
def store(_: Any, vector: Any, array: Any, start: Any) -> _Typed:
    """Write a vector into a contiguous array, from an index on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[1], *args[1:])
        builder.store(args[0], builder.bitcast(pointer, _FLOATS.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(VECTOR, array, types.intp), generate


@_expression
def subtract(_: Any, a: Any, b: Any) -> _Typed:
    """Return a - b."""
    return VECTOR(VECTOR, VECTOR), lambda context, builder, signature, args: builder.fsub(*args)


@_expression
def multiply_add(_: Any, a: Any, b: Any, c: Any) -> _Typed:
    """Return a * b + c, rounded once."""
    return VECTOR(VECTOR, VECTOR, VECTOR), lambda context, builder, signature, args: _multiply_add(builder, *args)


@_expression
def smaller(_: Any, a: Any, b: Any) -> _Typed:
    """Return the smaller of a and b in each lane."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", *args), *args)

    return VECTOR(VECTOR, VECTOR), generate


@_expression
def add_squares(_: Any, total: Any, block: Any, numbers: Any, start: Any) -> _Typed:
    """Return total + the sum over j of (block[j] - numbers[start + j])^2, in four interleaved sums."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[2], *args[2:])
        sums = [args[0], _ZEROS, _ZEROS, _ZEROS]
        for row in range(BLOCK):
            number = _spread(builder, builder.load(builder.gep(pointer, [_number(row)])))
            difference = builder.fsub(builder.extract_value(args[1], row), number)
            sums[row % 4] = _multiply_add(builder, difference, difference, sums[row % 4])
        return builder.fadd(builder.fadd(sums[0], sums[1]), builder.fadd(sums[2], sums[3]))

    return VECTOR(VECTOR, _BLOCK_TYPE, numbers, types.intp), generate


@_expression
def add_gap(_: Any, total: Any, numbers: Any, low: Any, high: Any) -> _Typed:
    """Return total + the squared distance of each number to the interval from low to high."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        total, numbers, low, high = args
        outside = _larger(builder, builder.fsub(low, numbers), builder.fsub(numbers, high))
        outside = _larger(builder, outside, _ZEROS)
        return _multiply_add(builder, outside, outside, total)

    return VECTOR(VECTOR, VECTOR, VECTOR, VECTOR), generate


@_expression
def within(_: Any, vector: Any, limit: Any) -> _Typed:
    """Return an integer whose bit i says that number i is at most the limit's number i."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = builder.bitcast(builder.fcmp_ordered("<=", *args), ir.IntType(LANES))
        return builder.zext(bits, ir.IntType(64))

    return types.int64(VECTOR, VECTOR), generate


@_expression
def lowest_bit(_: Any, bits: Any) -> _Typed:
    """Return the number of the lowest bit that is set; 64 where none is."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), generate


@_expression
def total(_: Any, vector: Any) -> _Typed:
    """Return the sum of the 16 numbers, halves first."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _reduce(builder, args[0], builder.fadd)

    return types.float32(VECTOR), generate


@_expression
def smallest(_: Any, vector: Any) -> _Typed:
    """Return the smallest of the 16 numbers."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def combine(a: Any, b: Any) -> Any:
            return builder.select(builder.fcmp_ordered("<", a, b), a, b)

        return _reduce(builder, args[0], combine)

    return types.float32(VECTOR), generate
