"""The kernels against the dense references, on memory that is full of NaN before."""

from __future__ import annotations

from collections.abc import Iterator

import dense_products as reference
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from sparse_cases import close, divisors, first, last, normal, poisoned_memory, random_mask, threads

from overparam.sparse.kernels.program import At, Program
from overparam.sparse.kernels.structure import Axis, conv_structure, linear_structure
from overparam.sparse.layers.fused import add_gradient, add_product
from overparam.sparse.layers.layout import TILE, tile_width, transposed

SIDES = st.sampled_from([0, 1, 2, 7, 16, 33, 63, 64])
DENSITIES = st.sampled_from([0.0, 0.1, 0.5, 1.0])
DTYPES = st.sampled_from([torch.float32, torch.float64])
# multiples of registers, what is left beside them, less than a register, large primes
BATCHES = st.sampled_from([0, 1, 2, 3, 8, 15, 16, 17, 31, 64, 65, 97, 100, 127, 128, 130, 200])


@pytest.fixture(scope="module", params=[1, 2], ids=["one thread", "two threads"], autouse=True)
def number_of_threads(request: pytest.FixtureRequest) -> Iterator[None]:
    with threads(request.param), poisoned_memory():
        yield


def product(table, inputs, values, bias, outputs):
    program = Program(outputs.dtype, len(outputs), torch.get_num_threads())
    add_product(program, table, At(0), 0 if bias is None else At(1), At(2), At(3), outputs.shape[-1])
    program.run([values.data_ptr(), 0 if bias is None else bias.data_ptr(), inputs.data_ptr(), outputs.data_ptr()])


def gradient(structure, inputs, errors, with_bias):
    program = Program(errors.dtype, len(errors), torch.get_num_threads())
    values, biases = errors.new_empty(structure.size), errors.new_empty(structure.forward.rows)
    to_bias = At(3) if with_bias else 0
    scratch = add_gradient(program, structure, At(0), At(1), At(2), to_bias, errors.shape[-1], 4)
    memory = torch.empty(scratch, dtype=torch.uint8)
    program.run([each.data_ptr() for each in (inputs, errors, values, biases, memory)])
    return values, biases if with_bias else None


@st.composite
def batches(draw):
    batch = draw(BATCHES)
    return batch, draw(st.sampled_from([tile_width(batch), *divisors(batch)]))


def check(structure, batch, weight, mask, bias, dtype, expected, groups=1):
    """Compare product, transposed product and gradients with ``expected``, functions of batch-first tensors."""
    examples, width = batch
    indices = mask.reshape(-1).nonzero().reshape(-1)
    values = weight.reshape(-1)[indices]
    inputs = normal(examples, structure.inputs[-1], *structure.inputs[:-1], dtype=dtype, seed=2)
    errors = normal(examples, structure.output[-1], *structure.output[:-1], dtype=dtype, seed=3)
    forward, backward, at_nonzeros = expected

    outputs = torch.full((examples // width, *structure.output, width), torch.nan, dtype=dtype)
    product(structure.forward, last(inputs, width), values, bias, outputs)
    assert close(first(outputs), forward(inputs, weight * mask, bias))

    to_inputs = torch.full((examples // width, *structure.inputs, width), torch.nan, dtype=dtype)
    product(structure.backward, last(errors, width), values, None, to_inputs)
    assert close(first(to_inputs), backward(errors, weight * mask))

    to_values, to_bias = gradient(structure, last(inputs, width), last(errors, width), bias is not None)
    assert close(to_values, at_nonzeros(inputs, errors, indices))
    if bias is None:
        assert to_bias is None
    else:
        assert close(to_bias, errors.transpose(0, 1).flatten(1).sum(1))


@settings(max_examples=40)
@given(SIDES, SIDES, DENSITIES, batches(), st.booleans(), DTYPES)
@example(1, 5, 1.0, (16, 16), True, torch.float32)  # a single item: less than threads
@example(63, 33, 0.1, (128, 64), True, torch.float32)
@example(64, 0, 1.0, (128, 64), True, torch.float32)
@example(0, 64, 1.0, (128, 64), True, torch.float32)
def test_linear(rows, columns, density, batch, with_bias, dtype):
    mask = random_mask((rows, columns), density)
    bias = normal(rows, dtype=dtype, seed=1) if with_bias else None
    structure = linear_structure(mask.reshape(-1).nonzero().reshape(-1).numpy(), rows, columns)
    functions = reference.linear_product, reference.linear_transposed, reference.linear_gradient
    check(structure, batch, normal(rows, columns, dtype=dtype), mask, bias, dtype, functions)


@st.composite
def axes(draw, largest):
    axis = Axis(
        draw(st.integers(1, largest)),
        draw(st.integers(1, 4)),
        draw(st.integers(1, 3)),
        draw(st.integers(0, 3)),
        draw(st.integers(0, 3)),
        draw(st.integers(1, 3)),
    )
    assume(axis.output >= 1)
    return axis


def check_conv(outputs, inputs, groups, sides, density, batch, with_bias, dtype):
    shape = (outputs * groups, inputs, *(axis.kernel for axis in sides))
    mask = random_mask(shape, density)
    bias = normal(shape[0], dtype=dtype, seed=1) if with_bias else None
    indices = mask.reshape(-1).nonzero().reshape(-1).numpy()
    structure = conv_structure(indices, shape[0], inputs * groups, groups, sides)
    options = {"axes": sides, "groups": groups}
    functions = (
        lambda inputs, weight, bias: reference.conv_product(inputs, weight, bias, **options),
        lambda errors, weight: reference.conv_transposed(errors, weight, inputs=inputs * groups, **options),
        lambda inputs, errors, indices: reference.conv_gradient(inputs, errors, indices, **options),
    )
    check(structure, batch, normal(*shape, dtype=dtype), mask, bias, dtype, functions)


CHANNELS = st.sampled_from([1, 2, 5])


@settings(max_examples=40)
@given(CHANNELS, CHANNELS, st.integers(1, 3), axes(20), DENSITIES, batches(), st.booleans(), DTYPES)
@example(1, 3, 1, Axis(3, 3), 1.0, (16, 16), True, torch.float32)  # one row at one place
def test_conv1d(outputs, inputs, groups, axis, density, batch, with_bias, dtype):
    check_conv(outputs, inputs, groups, [axis], density, batch, with_bias, dtype)


@settings(max_examples=40)
@given(CHANNELS, CHANNELS, st.integers(1, 3), axes(7), axes(7), DENSITIES, batches(), st.booleans(), DTYPES)
@example(1, 2, 1, Axis(3, 3), Axis(2, 2), 1.0, (64, 64), True, torch.float64)
@example(5, 5, 1, Axis(6, 3, 1, 1, 1), Axis(7, 3, 1, 1, 1), 0.1, (128, 64), False, torch.float32)
def test_conv2d(outputs, inputs, groups, height, width, density, batch, with_bias, dtype):
    check_conv(outputs, inputs, groups, [height, width], density, batch, with_bias, dtype)


@settings(max_examples=40)
@given(batches(), st.lists(st.sampled_from([1, 2, 5, 17, 20]), max_size=2), st.sampled_from([0, 1, 3, 16, 33]), DTYPES)
@example((128, 64), [17], 20, torch.float32)
@example((128, 64), [], 33, torch.float64)
def test_layout(batch, positions, channels, dtype):
    examples, width = batch
    inputs = normal(examples, channels, *positions, dtype=dtype).requires_grad_()
    tiles = transposed(inputs, width)
    assert torch.equal(tiles, last(inputs, width))
    back = transposed(tiles)
    assert torch.equal(back, inputs)
    errors = torch.randn_like(back)
    assert torch.equal(torch.autograd.grad(back, inputs, errors)[0], errors)


@given(st.integers(0, 5000), st.sampled_from([4, 8]))
def test_tile_width_divides_the_batch(batch, itemsize):
    width = tile_width(batch, itemsize)
    assert batch % width == 0
    assert 1 <= width <= max(TILE, batch)
    if batch % TILE == 0 and batch:
        assert width == TILE
