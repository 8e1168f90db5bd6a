"""The contract of every pair of a criterion and a scope, and the rules on counts, exclusions and misuse."""

from __future__ import annotations

import pytest
import torch
from prune_cases import LENET, LENET_ROLES, OF_WEIGHTS, SHAPES, counts, moments, normal, ones, roots, same, total

from overparam.errors import SpecError
from overparam.prune import CRITERIA, SCOPES, Evidence, Scores, new_masks


def scores_of(criterion, shapes, seed=0, draw=0):
    seen = Evidence(
        normal(shapes),
        normal(shapes, seed=1),
        seed,
        draw,
        curvature=normal(shapes, seed=2),
        **{what: normal(shapes, seed=3) for what in ("hessian_gradient", "flow", "initial")},
        moments=moments(shapes),
        roots=roots(shapes),
    )
    return dict(Scores.of(CRITERIA.resolve(criterion)(seen)).scores)


def shrinks(new, old):
    return all(not (new[name] & ~old[name]).any() for name in old)


CASES = [(name, shape) for name in OF_WEIGHTS for shape in SHAPES if (name, shape) != ("obs", "very unequal")]
"""Each criterion on each shape, but for one that inverts a matrix of 2,000 weights."""


@pytest.mark.parametrize(("criterion", "shape"), CASES)
@pytest.mark.parametrize("scope", list(SCOPES))
class TestContract:
    def test_density_is_exact_and_masks_shrink(self, criterion, scope, shape):
        masks, scores = ones(SHAPES[shape]), scores_of(criterion, SHAPES[shape])
        size, least = total(masks), sum(mask.numel() > 0 for mask in masks.values())
        for percent in (100, 77, 50, 31, 10):
            wanted = (2 * percent * size + 100) // 200  # rounded, halves up
            if wanted < least:
                with pytest.raises(SpecError, match="empty a tensor"):
                    new_masks(scores, masks, density=percent / 100, scope=scope)
                wanted_masks = new_masks(scores, masks, density=percent / 100, scope=scope, allow_empty=True)
                assert total(wanted_masks) == wanted
                continue
            smaller = new_masks(scores, masks, density=percent / 100, scope=scope)
            assert total(smaller) == wanted
            assert shrinks(smaller, masks)
            assert all(smaller[name].any() for name in masks if masks[name].any())
            masks = smaller

    def test_density_one_and_fraction_zero_change_nothing(self, criterion, scope, shape):
        masks, scores = ones(SHAPES[shape]), scores_of(criterion, SHAPES[shape])
        assert same(new_masks(scores, masks, density=1, scope=scope), masks)
        assert same(new_masks(scores, masks, fraction=0, scope=scope), masks)
        thin = new_masks(scores, masks, density=0.6, scope=scope, allow_empty=True)
        other = scores_of("random", SHAPES[shape], seed=8)
        assert same(new_masks(other, thin, fraction=0.0, scope=scope), thin)

    def test_same_seed_same_masks_in_any_order_of_layers(self, criterion, scope, shape):
        masks, scores = ones(SHAPES[shape]), scores_of(criterion, SHAPES[shape])
        found = new_masks(scores, masks, density=0.6, scope=scope, allow_empty=True)
        again = new_masks(scores_of(criterion, SHAPES[shape]), masks, density=0.6, scope=scope, allow_empty=True)
        turned = new_masks(
            dict(reversed(scores.items())),
            dict(reversed(masks.items())),
            density=0.6,
            scope=scope,
            allow_empty=True,
        )
        assert same(found, again)
        assert list(turned) == list(reversed(found))
        assert same(found, {name: turned[name] for name in found})

    def test_equal_scores_are_still_exact(self, criterion, scope, shape):
        masks = ones(SHAPES[shape])
        zeros = {name: torch.zeros(mask.shape) for name, mask in masks.items()}
        found = new_masks(zeros, masks, density=0.6, scope=scope, allow_empty=True)
        assert total(found) == (12 * total(masks) + 10) // 20


def test_random_masks_differ_between_seeds_and_draws():
    masks = ones(LENET)
    found = [new_masks(scores_of("random", LENET, *key), masks, density=0.5) for key in ((0, 0), (1, 0), (0, 1))]
    assert not same(found[0], found[1])
    assert not same(found[0], found[2])


def test_global_keeps_the_best_overall():
    scores = {"a": torch.tensor([[5.0, 1.0]]), "b": torch.tensor([[4.0, 3.0, 2.0]])}
    masks = {name: torch.ones_like(value).bool() for name, value in scores.items()}
    found = new_masks(scores, masks, fraction=0.4)
    assert {name: mask.tolist() for name, mask in found.items()} == {
        "a": [[True, False]],
        "b": [[True, True, False]],
    }


# Level -> prunable weights kept on LeNet-300-100 with its 1,000 output weights excluded and 20 % per level, counted
# the way of the code of He et al., ICML 2022. These are 266,200 * 0.8^L, rounded, less the 1,000.
PAPER = {8: 43_661, 10: 27_583, 12: 17_293, 14: 10_708, 16: 6_493, 18: 3_795, 20: 2_069, 22: 964, 24: 257}
# The rule itself, ceil(0.2 * left) level after level, in whole weights.
RULE = {8: 43_660, 10: 27_582, 12: 17_292, 14: 10_706, 16: 6_491, 18: 3_793, 20: 2_067, 22: 962, 24: 255}


def test_counting_rule_of_sparse_double_descent_level_after_level():
    masks, scores, found = ones(LENET), normal(LENET), {}
    options = {"fraction": 0.2, "exclude": ["output"], "counting": "all"}
    for level in range(1, 25):
        masks = new_masks(scores, masks, LENET_ROLES, **options)
        found[level] = total(masks) - 1_000
        assert masks["fc3.weight"].all()
    assert {level: found[level] for level in RULE} == RULE
    assert all(abs(found[level] - PAPER[level]) <= 2 for level in PAPER)
    with pytest.raises(SpecError, match=r"0\.2 of all 1,004 weights left is 201, but only 4"):
        new_masks(scores, new_masks(scores, masks, LENET_ROLES, **options), LENET_ROLES, **options)


def test_counting_rule_of_sparse_double_descent_in_one_shot():
    for level, kept in PAPER.items():
        found = new_masks(
            normal(LENET), ones(LENET), LENET_ROLES, density=0.8**level, exclude=["output"], counting="all"
        )
        assert total(found) - 1_000 == kept


def test_clean_counting_is_of_the_prunable_weights():
    masks, scores = ones(LENET), normal(LENET)
    for level in range(1, 29):
        masks = new_masks(scores, masks, LENET_ROLES, fraction=0.2, exclude=["output"])
        assert abs(total(masks) - 1_000 - 265_200 * 0.8**level) < 2.5  # each level rounds by at most a half


def test_both_countings_agree_where_nothing_is_excluded():
    for fraction in (0.2, 0.5):  # 0.2 of 266,200 is whole
        one, other = (
            new_masks(normal(LENET), ones(LENET), fraction=fraction, counting=counting)
            for counting in ("prunable", "all")
        )
        assert same(one, other)


def test_prunable_rounds_to_nearest_and_all_rounds_up():
    masks, scores = ones({"a": (11, 1)}), normal({"a": (11, 1)})
    assert total(new_masks(scores, masks, fraction=0.2)) == 9  # 2.2 -> 2 go
    assert total(new_masks(scores, masks, fraction=0.2, counting="all")) == 8  # 2.2 -> 3 go


@pytest.mark.parametrize(
    ("exclude", "spared"),
    [
        (["output"], {"fc3.weight"}),
        ("output", {"fc3.weight"}),
        (["fc1.weight"], {"fc1.weight"}),
        (["fc[12].*"], {"fc1.weight", "fc2.weight"}),
        (["conv", "bias", "norm", "embedding"], set()),
        (("output", "fc1.*"), {"fc1.weight", "fc3.weight"}),
        ((), set()),
    ],
)
def test_excluded_tensors_stay_and_need_no_scores(exclude, spared):
    masks = ones(LENET)
    scores = {name: value for name, value in normal(LENET).items() if name not in spared}
    found = new_masks(scores, masks, LENET_ROLES, fraction=0.5, exclude=exclude)
    before = counts(masks)
    assert {name for name, count in counts(found).items() if count == before[name]} == spared
    half = sum(before[name] for name in before if name not in spared) // 2
    assert total(found) == half + sum(before[name] for name in spared)


def test_an_entry_may_name_a_parameter_without_a_mask():
    roles = {**LENET_ROLES, "fc1.bias": "bias"}
    found = new_masks(normal(LENET), ones(LENET), roles, fraction=0.5, exclude=["*.bias", "fc1.bias"])
    assert total(found) == 133_100


def test_excluded_masks_are_copies():
    masks = ones(LENET)
    new_masks(normal(LENET), masks, LENET_ROLES, fraction=0.5, exclude="output")["fc3.weight"].zero_()
    assert masks["fc3.weight"].all()


def test_pruning_a_share_that_rounds_to_nothing():
    masks = ones({"a": (2, 1)})
    assert same(new_masks(normal({"a": (2, 1)}), masks, fraction=0.2), masks)


def test_the_present_density_is_allowed():
    masks = new_masks(normal(LENET), ones(LENET), density=0.3)
    assert same(new_masks(normal(LENET), masks, density=0.3), masks)


MISUSE = {
    "neither": ({}, "either fraction .* or density .*, got neither"),
    "both": ({"fraction": 0.2, "density": 0.5}, "got both"),
    "fraction one": ({"fraction": 1}, r"fraction must be in \[0, 1\).*got 1"),
    "negative fraction": ({"fraction": -0.1}, r"fraction must be in \[0, 1\)"),
    "percent": ({"fraction": 20}, r"fraction must be in \[0, 1\)"),
    "nan": ({"fraction": float("nan")}, "fraction must be a finite number"),
    "text": ({"fraction": "0.2"}, "fraction must be a number, got '0.2'"),
    "truth": ({"density": True}, "density must be a number, got True"),
    "density zero": ({"density": 0}, r"density must be in \(0, 1\].*got 0"),
    "density above one": ({"density": 1.5}, r"density must be in \(0, 1\].*got 1.5"),
    "empties layers": (
        {"density": 5e-6},
        "keeping 1 of the weights would empty a tensor, since 3 tensors still have some",
    ),
    "unknown scope": ({"fraction": 0.2, "scope": "globl"}, "unknown scope 'globl'; did you mean 'global'"),
    "unknown counting": ({"fraction": 0.2, "counting": "every"}, "counting must be 'prunable' or 'all', got 'every'"),
    "unknown role": ({"fraction": 0.2, "exclude": ["outputs"]}, "'outputs' is no role.*mean 'output'.*fc1.weight"),
    "unknown name": (
        {"fraction": 0.2, "exclude": ["fc9.*"]},
        r"exclude: 'fc9\.\*' is no role and matches no parameter",
    ),
    "no name": ({"fraction": 0.2, "exclude": [3]}, "exclude must hold roles or parameter names, got 3"),
    "all excluded": ({"fraction": 0.2, "exclude": ["output", "linear"]}, "of 3 tensors with a mask all are excluded"),
    "excluded too large": (
        {"density": 0.1, "exclude": ["fc1.weight"], "counting": "all"},
        "density 0.1 of all tensors is 26,620 weights, but the excluded ones hold 235,200",
    ),
}


@pytest.mark.parametrize("case", MISUSE)
def test_misuse(case):
    options, message = MISUSE[case]
    with pytest.raises(SpecError, match=message) as caught:
        new_masks(normal(LENET), ones(LENET), LENET_ROLES, **options)
    assert "\n" not in str(caught.value)


def test_density_above_the_present_one():
    masks = new_masks(normal(LENET), ones(LENET), density=0.3)
    with pytest.raises(SpecError, match=r"density 0\.4 is 106,480 weights, but only 79,860 are left; pruning never"):
        new_masks(normal(LENET), masks, density=0.4)


def test_no_masks():
    with pytest.raises(SpecError, match="nothing is left to prune"):
        new_masks({}, {}, fraction=0.2)


def test_roles_must_cover_the_masks():
    with pytest.raises(SpecError, match=r"roles lack fc3.weight"):
        new_masks(normal(LENET), ones(LENET), {"fc1.weight": "linear", "fc2.weight": "linear"}, fraction=0.2)


def test_allow_empty_may_empty_a_layer():
    scores = {"big": torch.arange(10.0) + 5, "small": torch.ones(2)}
    masks = {"big": torch.ones(10).bool(), "small": torch.ones(2).bool()}
    assert counts(new_masks(scores, masks, fraction=0.5)) == {"big": 5, "small": 1}
    assert counts(new_masks(scores, masks, fraction=0.5, allow_empty=True)) == {"big": 6, "small": 0}
