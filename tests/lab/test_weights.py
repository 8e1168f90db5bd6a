"""Checkpoints as bytes: every bit comes back, and a damaged file never gives a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from in_memory import Memory
from safetensors.torch import save
from torch import Tensor

from overparam import Checkpoint, Length, Store, StoreError
from overparam.lab.store import DamagedError
from overparam.lab.weights import (
    checkpoint_from_bytes,
    checkpoint_to_bytes,
    pack,
    tensors_from_bytes,
    tensors_to_bytes,
    unpack,
)
from small import CONV, begin, bits, built, frozen, half_pruned, images, same_bits


def again(checkpoint: Checkpoint) -> Checkpoint:
    return checkpoint_from_bytes(checkpoint_to_bytes(checkpoint))


def one(tensor: Tensor, mask: Tensor | None = None) -> Checkpoint:
    mask = torch.ones_like(tensor, dtype=torch.bool) if mask is None else mask
    return Checkpoint({"w": tensor}, {}, {"w": "linear"}).masked({"w": mask})


@pytest.mark.parametrize("density", [0.0, 0.01, 0.5, 1.0])
def test_a_network_with_buffers_comes_back(density: float) -> None:
    start = half_pruned(begin(CONV, built(images())), density)
    start = Checkpoint(start.state, start.constraints, start.roles, Length.of("2.5ep"), {"prune": 3, "reinit": 1})
    loaded = again(start)
    assert frozen(loaded) == frozen(start)
    assert list(loaded.state) == list(start.state), "in the module's own order"
    assert same_bits(loaded.masks, start.masks)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8, torch.uint8]
)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (2, 3, 3, 3), (0,), (4, 0)])
@pytest.mark.parametrize("kept", ["all", "some", "none"])
def test_every_type_and_shape_comes_back(dtype: torch.dtype, shape: tuple[int, ...], kept: str) -> None:
    tensor = torch.arange(torch.Size(shape).numel()).reshape(shape).to(dtype) - 2
    mask = {"all": tensor == tensor, "some": tensor != 1, "none": tensor != tensor}[kept]
    start = one(tensor, mask)
    assert frozen(again(start)) == frozen(start)


def test_odd_values_come_back() -> None:
    odd = torch.tensor([-0.0, 0.0, float("nan"), float("inf"), -float("inf"), 1e-45, -1e-45, 3.4e38])
    for mask in (torch.ones(8).bool(), torch.tensor([1, 0, 1, 1, 1, 1, 1, 1]).bool()):
        start = one(odd, mask)
        assert bits(again(start).state["w"]) == bits(start.state["w"])


@pytest.mark.parametrize("make", [lambda t: t.t(), lambda t: t[:, ::2], lambda t: t.expand(3, 4, 6)])
def test_views_come_back(make: object) -> None:
    tensor = make(torch.arange(24.0).reshape(4, 6))
    for mask in (None, tensor > 5):
        loaded = again(one(tensor, mask))
        assert torch.equal(loaded.state["w"], one(tensor, mask).state["w"])


def test_a_network_without_anything_comes_back() -> None:
    assert frozen(again(Checkpoint({}, {}, {}))) == frozen(Checkpoint({}, {}, {}))


def test_names_may_be_odd() -> None:
    names = ["", ".", "a/b", "mask/w", "kept/w", "dense/w", "é"]
    state = {name: torch.full((3,), float(place)) for place, name in enumerate(names)}
    masks = {name: torch.tensor([True, False, place % 2 == 0]) for place, name in enumerate(names)}
    start = Checkpoint(state, {}, dict.fromkeys(names, "linear")).masked(masks)
    assert frozen(again(start)) == frozen(start)


def test_sparse_weights_are_few_bytes() -> None:
    mask = torch.zeros(100, 1000, dtype=torch.bool)
    mask[:, :10] = True
    assert len(checkpoint_to_bytes(one(torch.randn(100, 1000), mask))) < 4 * 1000 + 100_000 / 8 + 1000


@given(st.lists(st.booleans(), max_size=70))
def test_masks_are_packed_to_bits(values: list[bool]) -> None:
    mask = torch.tensor(values, dtype=torch.bool)
    packed = pack(mask)
    assert packed.numel() == -(-len(values) // 8)
    assert torch.equal(unpack(packed, [len(values)]), mask)
    for place, value in enumerate(values):
        assert bool(packed[place // 8] >> (7 - place % 8) & 1) == value


def test_the_same_checkpoint_makes_the_same_bytes() -> None:
    one, two = (checkpoint_to_bytes(half_pruned(begin(CONV, built(images())))) for _ in range(2))
    assert one == two


def test_tensors_and_facts_come_back() -> None:
    tensors = {"a": torch.arange(3), "b": torch.randn(2, 3).t()}
    facts = {"iteration": 5, "curve": [{"loss": 0.1}]}
    found, known = tensors_from_bytes(tensors_to_bytes(tensors, facts))
    assert known == facts
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize(
    "content", [b"", b"x" * 7, b"\xff" * 100, b"\x80\x04pickled", b"PK\x03\x04", save({"a": torch.ones(2)})]
)
def test_other_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(StoreError, match="not tensors that overparam wrote"):
        checkpoint_from_bytes(content)


def small(folder: Path) -> tuple[Store, Checkpoint, str, str]:
    """A store with a checkpoint of one pruned and one dense tensor, and the keys of its numbers and weights."""
    store = Store(folder)
    store.blobs = Memory()
    state = {"w": torch.tensor([[1.5, -2.0, 3.0], [0.25, 5.0, -6.0]]), "b": torch.tensor([1.0, 2.0])}
    mask = torch.tensor([[True, False, True], [True, True, False]])
    checkpoint = Checkpoint(state, {}, {"w": "linear", "b": "bias"}).masked({"w": mask})
    store.write("steps", "ab1", {}, {"checkpoint": checkpoint_to_bytes(checkpoint)})
    weights, numbers = store.keys("steps", "ab1")
    return store, checkpoint, numbers, weights


def damaged(whole: bytes) -> Iterator[bytes]:
    """Cut and changed at every byte, and some more."""
    yield from (whole[:length] for length in range(len(whole)))
    yield from (whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :] for at in range(len(whole)))
    yield from (whole + b"\0", b"", bytes(len(whole)))


@pytest.mark.parametrize("which", [0, 1], ids=["numbers", "weights"])
def test_no_truncation_and_no_flipped_bit_gives_a_checkpoint(which: int, tmp_path: Path) -> None:
    """At every byte: the store tells, so that nothing is loaded from it."""
    store, checkpoint, *keys = small(tmp_path)
    key = keys[which]
    whole = store.blobs.get(key)
    assert len(whole) < 1000
    for wrong in damaged(whole):
        store.blobs.delete(key)
        store.blobs.put_if_absent(key, wrong)
        with pytest.raises(DamagedError):
            store.weights("ab1")
    store.blobs.delete(key)
    store.blobs.put_if_absent(key, whole)
    assert frozen(checkpoint_from_bytes(store.weights("ab1"))) == frozen(checkpoint)


def test_the_decoder_alone_raises_one_error_or_gives_a_checkpoint(tmp_path: Path) -> None:
    """Without the store's checksums a flipped weight cannot be seen; but nothing crashes in another way."""
    store, *_, key = small(tmp_path)
    whole = store.blobs.get(key)
    messages = []
    for at in range(len(whole)):
        changed = [whole[:at] + bytes([whole[at] ^ bits]) + whole[at + 1 :] for bits in (1 << at % 8, 255)]
        for wrong in (whole[:at], *changed):
            try:
                assert isinstance(checkpoint_from_bytes(wrong), Checkpoint)
            except StoreError as error:
                messages.append(str(error))
    assert len(messages) > 2 * len(whole)
    assert all(" that overparam wrote (" in message for message in messages)


GOOD = {
    "roles": {},
    "position": "0it",
    "counters": {},
    "surgery": [],
    "removed": [0, 0],
    "constraints": {},
    "masks": {},
    "order": [],
}
FULL, PRUNED = {"shape": [2], "full": True}, {"shape": [2], "full": False}
MASKED = {"kind": "masked", "fields": {}}
WITH = {**GOOD, "constraints": {"w": MASKED}, "masks": {"w/mask": PRUNED}, "order": ["w"]}
WRONG = [
    [],
    3,
    {},
    *({key: value for key, value in GOOD.items() if key != gone} for gone in GOOD),
    {**GOOD, "masks": []},
    {**GOOD, "constraints": []},
    {**GOOD, "roles": []},
    {**GOOD, "counters": 3},
    {**GOOD, "position": "soon"},
    {**GOOD, "order": ["x"]},
    {**WITH, "masks": {"w/mask": 3}},
    {**WITH, "masks": {"w/mask": {"shape": [2]}}},
    *({**WITH, "masks": {"w/mask": {**PRUNED, "shape": shape}}} for shape in ([-1], [1e99], [99], ["2"], 2, None)),
    {**WITH, "masks": {"w/mask": {**PRUNED, "shape": [3]}}},  # two bits, one kept value
    {**WITH, "masks": {}},  # no mask for w
    {**WITH, "masks": {"x/mask": FULL}},
    {**WITH, "masks": {"w/mask": PRUNED, "x/mask": PRUNED}},
    {**WITH, "masks": {"w/mask": PRUNED, "w/other": PRUNED}},
    {**GOOD, "constraints": {"d": MASKED}, "masks": {"d/mask": FULL}, "order": ["d"]},
    {**GOOD, "constraints": {"d": MASKED}, "masks": {"d/mask": {**FULL, "shape": [10**12]}}, "order": ["d"]},
    *({**WITH, "constraints": {"w": wrong}} for wrong in (3, {}, {"kind": "masked"}, {**MASKED, "fields": 3})),
    *({**WITH, "constraints": {"w": {**MASKED, "kind": kind}}} for kind in ("mask", "no.such:Thing", "os:getcwd", 3)),
    {**WITH, "constraints": {"w": {**MASKED, "fields": {"mask": None}}}, "masks": {}},
    {**WITH, "order": []},
]


@pytest.mark.parametrize("about", WRONG, ids=json.dumps)
def test_another_header_is_told(about: object) -> None:
    tensors = {"kept/w": torch.ones(1), "mask/w/mask": torch.tensor([160], dtype=torch.uint8), "dense/d": torch.ones(3)}
    tensors |= {name: torch.tensor([160], dtype=torch.uint8) for name in ("mask/x/mask", "mask/w/other")}
    with pytest.raises(StoreError, match="not a checkpoint that overparam wrote"):
        checkpoint_from_bytes(save(tensors, metadata={"overparam": json.dumps(about)}))


def test_the_right_header_is_read() -> None:
    tensors = {"kept/w": torch.ones(1), "mask/w/mask": torch.tensor([160], dtype=torch.uint8)}
    content = save(tensors, metadata={"overparam": json.dumps(WITH)})
    assert checkpoint_from_bytes(content).state["w"].tolist() == [1.0, 0.0]
