from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prune_cases import SHAPES, counts, keep_top_reference, normal, ones, same, total

from overparam.errors import SpecError
from overparam.prune import count_kept, density, empty_units, keep_top

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
SIZES = ((0, 4), (1, 1), (63,), (9, 7), (2, 3, 3, 3), (5, 4), (1, 100))


@st.composite
def rankings(draw):
    """Scores with many ties or few, of mixed dtype, some non-contiguous; masks of any density."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    distinct = draw(st.sampled_from([1, 2, 5, 1000]))
    scores, masks = {}, {}
    for name in draw(st.permutations(["z", "a", "m2", "m10"]))[: draw(st.integers(1, 4))]:
        shape = draw(st.sampled_from(SIZES))
        flip = len(shape) == 2 and draw(st.booleans())
        values = torch.randint(-distinct, distinct, shape[::-1] if flip else shape, generator=generator)
        values = (values / 7).to(draw(st.sampled_from(DTYPES)))
        scores[name] = values.T if flip else values
        masks[name] = torch.rand(shape, generator=generator) < draw(st.sampled_from([0.0, 0.3, 1.0]))
    alive = total(masks)
    least = sum(bool(mask.any()) for mask in masks.values())
    allow_empty = draw(st.booleans())
    keep = draw(st.integers(0 if allow_empty else least, alive))
    return scores, masks, keep, allow_empty


@given(rankings())
@settings(deadline=None)
def test_agrees_with_a_plain_sort(ranking):
    scores, masks, keep, allow_empty = ranking
    found = keep_top(scores, masks, keep, allow_empty=allow_empty)
    assert total(found) == keep
    assert same(found, keep_top_reference(scores, masks, keep, allow_empty))
    assert all(not (found[name] & ~masks[name]).any() for name in masks)


@given(rankings())
@settings(deadline=None)
def test_one_number_per_tensor_ranks_each_alone(ranking):
    scores, masks, _, _ = ranking
    keep = {name: (count + 1) // 2 for name, count in counts(masks).items()}
    found = keep_top(scores, masks, keep)
    assert counts(found) == keep
    for name in masks:
        one = {name: masks[name]}
        assert same({name: found[name]}, keep_top_reference(scores, one, keep[name], False))


def test_tie_rule_name_then_flat_index():
    masks = ones({"l2": (2, 2), "l10": (2, 2)})
    zeros = {name: torch.zeros(2, 2) for name in masks}
    found = keep_top(zeros, masks, 6)
    assert found["l10"].tolist() == [[True, True], [True, True]]  # "l10" sorts before "l2"
    assert found["l2"].tolist() == [[True, True], [False, False]]


def test_minus_zero_equals_zero():
    found = keep_top({"a": torch.tensor([-0.0, 0.0, -0.0])}, ones({"a": (3,)}), 2)
    assert found["a"].tolist() == [True, True, False]


def test_guard_takes_from_the_weakest_elsewhere():
    scores = {"strong": torch.tensor([9.0, 8.0, 7.0, 6.0]), "weak": torch.tensor([1.0, 2.0])}
    masks = {"strong": torch.ones(4).bool(), "weak": torch.ones(2).bool()}
    assert counts(keep_top(scores, masks, 3)) == {"strong": 2, "weak": 1}
    assert keep_top(scores, masks, 3)["weak"].tolist() == [False, True]
    assert counts(keep_top(scores, masks, 3, allow_empty=True)) == {"strong": 3, "weak": 0}
    assert counts(keep_top(scores, masks, 0, allow_empty=True)) == {"strong": 0, "weak": 0}


def test_guard_leaves_a_tensor_empty_that_was_empty():
    masks = {"a": torch.ones(4).bool(), "gone": torch.zeros(4).bool()}
    assert counts(keep_top({name: torch.ones(4) for name in masks}, masks, 1)) == {"a": 1, "gone": 0}


def test_dead_weights_may_have_any_score():
    mask = torch.tensor([True, False, True, False])
    scores = torch.tensor([1.0, torch.nan, 2.0, torch.inf])
    assert keep_top({"a": scores}, {"a": mask}, 1)["a"].tolist() == [False, False, True, False]


def test_half_precision_is_ranked_exactly():
    scores = torch.tensor([256, 258, 260, 262], dtype=torch.bfloat16)  # neighbours in bfloat16
    assert keep_top({"a": scores}, ones({"a": (4,)}), 2)["a"].tolist() == [False, False, True, True]


def test_float64_is_not_rounded_beside_float32():
    scores = {"a": torch.tensor([1.0, 1.0 + 1e-12], dtype=torch.float64), "b": torch.ones(1)}
    masks = ones({"a": (2,), "b": (1,)})
    assert keep_top(scores, masks, 1, allow_empty=True)["a"].tolist() == [False, True]


def test_result_shares_no_memory_with_the_masks_or_within_itself():
    masks = ones({"a": (3,), "b": (3,)})
    found = keep_top(normal({"a": (3,), "b": (3,)}), masks, 6)
    found["a"].zero_()
    assert counts(found)["b"] == 3
    assert count_kept(masks) == 6


def test_numpy_count():
    assert total(keep_top({"a": torch.rand(9)}, ones({"a": (9,)}), np.int64(4))) == 4


def test_no_tensors():
    assert keep_top({}, {}, 0) == {}


MISUSE = {
    "scores missing": ({}, {"a": torch.ones(2).bool()}, 1, "lack 'a'"),
    "float mask": ({"a": torch.ones(2)}, {"a": torch.ones(2)}, 1, r"mask of 'a'.*torch.float32.*bool"),
    "list as mask": ({"a": torch.ones(2)}, {"a": [True]}, 1, r"mask of 'a'.*list"),
    "other shape": ({"a": torch.ones(3)}, {"a": torch.ones(2).bool()}, 1, r"\(3,\).*\(2,\)"),
    "integer scores": ({"a": torch.arange(2)}, {"a": torch.ones(2).bool()}, 1, r"'a'.*floating-point.*int64"),
    "list as scores": ({"a": [1.0, 2.0]}, {"a": torch.ones(2).bool()}, 1, r"'a'.*floating-point.*list"),
    "nan": ({"a": torch.tensor([1, torch.nan])}, {"a": torch.ones(2).bool()}, 1, "'a' are not finite for 1 of 2"),
    "inf": ({"a": torch.tensor([1, torch.inf])}, {"a": torch.ones(2).bool()}, 1, "'a' are not finite for 1 of 2"),
    "too many": ({"a": torch.ones(2)}, {"a": torch.ones(2).bool()}, 3, "keep 3 weights where 2 are left"),
    "negative": ({"a": torch.ones(2)}, {"a": torch.ones(2).bool()}, -1, "must not be negative"),
    "none": ({"a": torch.ones(2)}, {"a": torch.ones(2).bool()}, 0, "would empty a tensor.*allow_empty"),
    "share": ({"a": torch.ones(2)}, {"a": torch.ones(2).bool()}, 0.5, "whole number.*0.5"),
    "other names": ({"a": torch.ones(2)}, {"a": torch.ones(2).bool()}, {"b": 1}, "one number for each of a; got b"),
}


@pytest.mark.parametrize("case", MISUSE)
def test_misuse(case):
    scores, masks, keep, message = MISUSE[case]
    with pytest.raises(SpecError, match=message):
        keep_top(scores, masks, keep)


def test_density_and_count():
    masks = {"a": torch.tensor([True, False, False, False]), "b": torch.tensor([True])}
    assert count_kept(masks) == 2
    assert density(masks) == 2 / 5
    assert density({}) == 1.0
    for shapes in SHAPES.values():
        assert density(ones(shapes)) == 1.0


def test_empty_units_of_linear_and_convolution():
    mask = torch.zeros(3, 4, dtype=torch.bool)
    mask[0, 1] = mask[2, 1] = True
    assert empty_units(mask) == (1, 3)
    conv = torch.zeros(3, 4, 3, 3, dtype=torch.bool)
    conv[0, 1, 2, 0] = conv[2, 1, 0, 0] = True
    assert empty_units(conv) == (1, 3)
    assert empty_units(torch.ones(3, 4, dtype=torch.bool)) == (0, 0)
    assert empty_units(torch.zeros(0, 4, dtype=torch.bool)) == (0, 4)


def test_empty_units_of_a_grouped_convolution():
    mask = torch.zeros(4, 3, 1, 1, dtype=torch.bool)  # 2 groups: outputs 0-1 see inputs 0-2, outputs 2-3 inputs 3-5
    mask[0, 0] = mask[1, 0] = mask[2, 0] = True
    assert empty_units(mask, groups=2) == (1, 4)


@pytest.mark.parametrize(
    ("mask", "groups", "message"),
    [
        (torch.ones(3).bool(), 1, "at least 2 axes"),
        (torch.ones(3, 3), 1, "must be bool"),
        (torch.ones(3, 3).bool(), 2, "groups must divide the 3 outputs"),
        (torch.ones(3, 3).bool(), 0, "groups must divide"),
    ],
)
def test_empty_units_misuse(mask, groups, message):
    with pytest.raises(SpecError, match=message):
        empty_units(mask, groups)
