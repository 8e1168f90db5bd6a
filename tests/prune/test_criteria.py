from __future__ import annotations

import dataclasses

import pytest
import torch
from prune_cases import OF_UNITS, moments, normal, roots, same

from overparam.errors import SpecError
from overparam.prune import CRITERIA, Evidence, Gradient, Magnitude, Random, Scores, keep_top

SAMPLES = {
    "magnitude": {},
    "gradient": {},
    "gradient-magnitude": {},
    "random": {},
    "obd": {"draws": 3},
    "snip": {},
    "grasp": {"temperature": 3.0},
    "synflow": {},
    "norm-scale": {},
    "reversed": {"criterion": {"obd": {"draws": 2}}},
    "taylor": {},
    "standardised-magnitude": {},
    "large-final": {},
    "small-final": {},
    "large-init": {},
    "small-init": {},
    "large-init-large-final": {},
    "small-init-small-final": {},
    "magnitude-increase": {},
    "movement": {},
    "large-final-same-sign": {},
    "large-final-different-sign": {},
    "obs": {"damping": 0.1},
    "exact-obs": {},
    "l-obs": {},
    "sparsegpt": {},
    "refit": {"of": {"obd": {"draws": 2}}},
    "woodfisher": {"block": 5},
}
"""A row for each registered criterion: fields to make one with."""


def criterion(name):
    return CRITERIA.resolve({name: SAMPLES[name]})


def scored(name, seen):
    """The scores of single weights."""
    return dict(Scores.of(criterion(name)(seen)).scores)


def test_there_is_a_row_for_every_criterion():
    assert set(SAMPLES) == set(CRITERIA)


WHOLE = {"obs"}
"""Criteria that look at all tensors together."""

SHAPES = {"b": (3, 4), "a": (3, 4), "conv": (2, 3, 3, 3), "none": (0, 2)}


def evidence(**changes):
    given = {
        "weights": normal(SHAPES),
        "gradients": normal(SHAPES, seed=1),
        "curvature": normal(SHAPES, seed=2),
        "hessian_gradient": normal(SHAPES, seed=3),
        "flow": normal(SHAPES, seed=4),
        "initial": normal(SHAPES, seed=3),
        "moments": moments(SHAPES),
        "roots": roots(SHAPES),
        "seed": 5,
        "draw": 2,
    } | changes
    return Evidence(**given)


@pytest.mark.parametrize("name", list(CRITERIA))
class TestContract:
    def test_has_a_line_for_the_list(self, name):
        assert 10 < len(CRITERIA.summary(name)) < 100

    def test_scores_have_the_shape_of_the_weights_and_are_finite(self, name):
        scores = scored(name, evidence())
        assert {key: tuple(value.shape) for key, value in scores.items()} == ({} if name in OF_UNITS else SHAPES)
        assert all(value.isfinite().all() and value.is_floating_point() for value in scores.values())

    def test_same_evidence_same_scores_in_any_order_of_tensors(self, name):
        seen = evidence()
        turned = evidence(weights=dict(reversed(seen.weights.items())))
        scores = scored(name, seen)
        assert same(scores, scored(name, seen))
        assert same(scores, dict(sorted(scored(name, turned).items(), key=lambda kv: list(scores).index(kv[0]))))

    def test_other_tensors_do_not_matter(self, name):
        alone = evidence(weights={"a": evidence().weights["a"]})
        assert name in WHOLE.union(OF_UNITS) or torch.equal(scored(name, alone)["a"], scored(name, evidence())["a"])

    def test_leaves_the_evidence_alone(self, name):
        seen = evidence()
        criterion(name)(seen)
        assert same(seen.weights, evidence().weights)
        assert same(seen.gradients, evidence().gradients)

    @pytest.mark.parametrize("value", [0.0, -1.5])
    @pytest.mark.parametrize("slope", [0.0, 2.0])
    def test_weights_and_slopes_that_are_all_equal(self, name, value, slope):
        """As in a layer that is pruned away, one that was never trained, or one that gets no gradient."""
        weights = {key: torch.full(shape, value) for key, shape in SHAPES.items()}
        flat = {key: torch.full(shape, slope) for key, shape in SHAPES.items()}
        seen = evidence(weights=weights, gradients=flat, curvature=flat, hessian_gradient=flat, flow=flat)
        scores = scored(name, seen)
        assert all(found.isfinite().all() for found in scores.values())
        masks = {key: torch.ones(SHAPES[key], dtype=torch.bool) for key in scores}
        kept = keep_top(scores, masks, 20) if scores else {"none": torch.ones(20, dtype=torch.bool)}
        assert sum(int(mask.sum()) for mask in kept.values()) == 20

    def test_frozen_and_equal_by_value(self, name):
        assert criterion(name) == criterion(name)
        with pytest.raises(dataclasses.FrozenInstanceError):
            criterion(name).rate = 1

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
    def test_other_dtypes(self, name, dtype):
        seen = Evidence(
            {key: value.to(dtype) for key, value in evidence().weights.items()},
            {key: value.to(dtype) for key, value in evidence().gradients.items()},
            curvature={key: value.to(dtype) for key, value in evidence().curvature().items()},
            hessian_gradient={key: value.to(dtype) for key, value in evidence().hessian_gradient().items()},
            flow={key: value.to(dtype) for key, value in evidence().flow.items()},
            initial=evidence().initial,
            moments=moments(SHAPES),
            roots=roots(SHAPES),
        )
        assert all(value.isfinite().all() for value in scored(name, seen).values())


def test_first_and_last_values_by_hand():
    first = {"w": torch.tensor([1.0, -2.0, 3.0, -4.0, 0.5])}
    last = {"w": torch.tensor([2.0, 1.0, -1.5, -4.5, 0.0])}
    masks = {"w": torch.tensor([True, True, True, True, False])}

    def scores(name):
        return criterion(name)(Evidence(last, initial=first, masks=masks))["w"].tolist()[:4]

    assert scores("large-final") == [2, 1, 1.5, 4.5]
    assert scores("small-final") == [-2, -1, -1.5, -4.5]
    assert scores("large-init") == [1, 2, 3, 4]
    assert scores("small-init") == [-1, -2, -3, -4]
    assert scores("magnitude-increase") == [1, -1, -1.5, 0.5]
    assert scores("movement") == [1, 3, 4.5, 0.5]
    assert scores("large-final-same-sign") == [2, 0, 0, 4.5]
    assert scores("large-final-different-sign") == [0, 1, 1.5, 0]
    # ranks of |w0|: 0 1 2 3, of |w|: 2 0 1 3, in quarters
    assert scores("large-init-large-final") == [0, 0, 0.25, 0.75]
    assert scores("small-init-small-final") == [-0.5, -0.25, -0.5, -0.75]


@pytest.mark.parametrize(("name", "against"), [("large-init-large-final", 1), ("small-init-small-final", -1)])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_of_two_magnitudes_as_many_lie_above_one_threshold_in_both(name, against, share):
    """The paper's way: a share of each magnitude is above its threshold, and what is in both stays."""
    first, last = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    scores = criterion(name)(Evidence({"w": last}, initial={"w": first}))["w"]
    threshold = [(against * each.abs()).quantile(1 - share) for each in (first, last)]
    both = (against * first.abs() > threshold[0]) & (against * last.abs() > threshold[1])
    assert torch.equal(both, keep_top({"w": scores}, {"w": torch.ones(4000).bool()}, int(both.sum()))["w"])


def test_magnitude_by_hand():
    scores = Magnitude()(Evidence({"a": torch.tensor([[-3.0, 0.5], [-0.0, 2.0]])}))
    assert scores["a"].tolist() == [[3.0, 0.5], [0.0, 2.0]]


def test_standardised_magnitude_by_hand():
    layers = {"a": [1.0, -1.0, 3.0, -3.0], "pruned": [0.0, 2.0, 0.0, 6.0], "equal": [5.0, 5.0], "none": [0.0, 0.0]}
    scores = CRITERIA.resolve("standardised-magnitude")(Evidence({n: torch.tensor(w) for n, w in layers.items()}))
    root = 5**0.5  # the mean square of a, whose mean is 0
    assert scores["a"].tolist() == pytest.approx([1 / root, 1 / root, 3 / root, 3 / root])
    assert scores["pruned"].tolist() == [0.0, 1.0, 0.0, 3.0], "2 and 6 lie 2 from their mean"
    assert scores["equal"].tolist() == [5.0, 5.0]
    assert scores["none"].tolist() == [0.0, 0.0]


def test_gradient_by_hand():
    weights, gradients = {"a": torch.tensor([2.0, -3.0, 0.0])}, {"a": torch.tensor([-0.5, -1.0, 7.0])}
    assert Gradient()(Evidence(weights, gradients))["a"].tolist() == [1.0, 3.0, 0.0]


def test_gradient_in_half_precision_keeps_small_products():
    tiny = {"a": torch.tensor([1e-4, 2e-4], dtype=torch.float16)}
    scores = Gradient()(Evidence(tiny, tiny))["a"]  # 1e-8 and 4e-8; both are 0 in float16
    assert 0 < scores[0] < scores[1]


@pytest.mark.parametrize("gradients", [None, {}, {"b": torch.ones(2)}])
def test_missing_gradients_are_named(gradients):
    with pytest.raises(SpecError, match=r"needs the gradient.*Evidence.gradients="):
        Gradient()(Evidence({"a": torch.ones(2)}, gradients))


def test_random_draws_differ_by_tensor_seed_and_draw():
    scores = Random()(evidence()).scores
    assert not torch.equal(scores["a"], scores["b"])  # equal shapes
    assert not torch.equal(scores["a"], Random()(evidence(seed=6)).scores["a"])
    assert not torch.equal(scores["a"], Random()(evidence(draw=3)).scores["a"])
    assert torch.equal(scores["a"], Random()(evidence(gradients=None, weights=normal(SHAPES, seed=9))).scores["a"])


def test_random_is_uniform():
    scores = Random()(Evidence({"a": torch.zeros(100_000)})).scores["a"]
    assert 0 <= scores.min() < 1e-3
    assert 1 - 1e-3 < scores.max() < 1
    assert abs(scores.mean() - 0.5) < 5 * 12**-0.5 / 100_000**0.5  # five standard errors
    assert len(scores.unique()) == 100_000


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("magnitud", "did you mean 'magnitude'"),
        (3, "criterion must be one of .*magnitude.* a function or an object that maps Evidence to"),
        ({"magnitude": {"power": 2}}, "criterion 'magnitude' has no field 'power'"),
        ({"magnitude": {}, "random": {}}, "a criterion with fields is written {name: {fields}}, with one name, got 2"),
    ],
)
def test_what_is_no_criterion(given, message):
    with pytest.raises(SpecError, match=message):
        CRITERIA.resolve(given)
