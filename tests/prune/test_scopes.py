from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prune_cases import LENET, LENET_ROLES, SHAPES, counts, normal, ones, total

from overparam.errors import SpecError
from overparam.prune import ERK, SCOPES, Global, PerLayer, Uniform, new_masks

RESNET_LIKE = {
    "conv1": (16, 3, 3, 3),
    "conv2": (32, 16, 3, 3),
    "conv3": (64, 32, 3, 3),
    "shortcut": (64, 32, 1, 1),
    "fc": (10, 64),
}


def sizes(shapes):
    return {name: mask.numel() for name, mask in ones(shapes).items()}


def kept(shapes, **options):
    return counts(new_masks(normal(shapes), ones(shapes), **options))


def erk_of_the_paper(shapes, density):
    """The loop of Evci et al.: give the densest layers density 1 until none exceeds it; returns ideal counts."""
    size = sizes(shapes)
    dense = set()
    while True:
        rest = [name for name in shapes if name not in dense]
        raw = {name: sum(shapes[name]) / size[name] for name in rest}
        spare = density * sum(size.values()) - sum(size[name] for name in dense)
        epsilon = spare / sum(raw[name] * size[name] for name in rest)
        worst = max(raw.values()) * epsilon
        if worst <= 1:
            return {name: size[name] * (1 if name in dense else epsilon * raw[name]) for name in shapes}
        dense |= {name for name in rest if raw[name] == max(raw.values())}


@pytest.mark.parametrize("shapes", [RESNET_LIKE, LENET], ids=["conv", "linear"])
@pytest.mark.parametrize("density", [0.9, 0.5, 0.2, 0.1, 0.02])
def test_erk_is_the_formula_of_the_paper(shapes, density):
    found = kept(shapes, density=density, scope="erk")
    ideal = erk_of_the_paper(shapes, density)
    assert sum(found.values()) == int(density * sum(sizes(shapes).values()) + 0.5)
    assert all(abs(found[name] - ideal[name]) < 1.5 for name in shapes)  # total and counts are rounded


def test_erk_by_hand():
    # (10 + 90) / 900 and (5 + 5) / 25 are in the proportion 100 : 10 as counts; 11 weights per unit of 110
    assert kept({"a": (10, 90), "b": (5, 5)}, density=Fraction(110, 925), scope="erk") == {"a": 100, "b": 10}
    # 275: b can keep 25 = all, so a keeps the other 250
    assert kept({"a": (10, 90), "b": (5, 5)}, density=Fraction(330, 925), scope="erk") == {"a": 305, "b": 25}


def test_uniform_is_one_density():
    assert kept({"a": (10, 90), "b": (10, 10)}, density=0.3, scope="uniform") == {"a": 270, "b": 30}


def test_uniform_gives_the_others_what_a_thin_layer_cannot_keep():
    masks = ones({"a": (10, 10), "b": (10, 10), "c": (10, 10)})
    masks["a"][1:] = False  # 10 left of 100
    found = new_masks(normal(dict.fromkeys(masks, (10, 10))), masks, density=0.5, scope="uniform")
    assert counts(found) == {"a": 10, "b": 70, "c": 70}


def test_per_layer_takes_the_same_share_of_what_is_left():
    masks = ones({"a": (10, 10), "b": (10, 10)})
    masks["a"][5:] = False  # 50 left
    found = new_masks(normal(dict.fromkeys(masks, (10, 10))), masks, fraction=0.2, scope="per-layer")
    assert counts(found) == {"a": 40, "b": 80}


def test_fractional_parts_go_to_the_largest_remainders():
    # 20 % of 12 + 13 + 14 = 39 is 7.8, so 8 go: 2.4, 2.6, 2.8 by layer and 2.46, 2.67, 2.87 of 8
    shapes = {"a": (12, 1), "b": (13, 1), "c": (14, 1)}
    assert kept(shapes, fraction=0.2, scope="per-layer") == {"a": 10, "b": 10, "c": 11}
    # equal layers, 7.2 -> 7 go, 7/3 each: the first by name loses the third
    equal = dict.fromkeys("cab", (12, 1))
    assert kept(equal, fraction=0.2, scope="per-layer") == {"a": 9, "b": 10, "c": 10}


def test_lottery_ticket_densities():
    """Frankle & Carbin 2019: 20 % per round, the output layer at half that, give the densities printed there."""
    scope, masks, densities = PerLayer(rates={"output": 0.5}), ones(LENET), {}
    scores = normal(LENET)
    for level in range(1, 25):
        masks = new_masks(scores, masks, LENET_ROLES, fraction=0.2, scope=scope)
        densities[level] = total(masks) / 266_200
        assert abs(total(masks) - (265_200 * 0.8**level + 1_000 * 0.9**level)) < 3
        assert abs(counts(masks)["fc3.weight"] - 1_000 * 0.9**level) < 3.5
    printed = {3: 51.3, 7: 21.1, 9: 13.5, 12: 7.0, 15: 3.6, 16: 2.9, 18: 1.9}
    assert {level: round(100 * densities[level], 1) for level in printed} == printed


def test_names_go_before_roles_and_later_entries_before_earlier():
    shapes = dict.fromkeys(("l1", "l2", "l3", "out"), (10, 10))
    roles = {"l1": "linear", "l2": "linear", "l3": "linear", "out": "output"}
    scope = PerLayer(rates={"l[23]": 0.5, "l3": 0.25, "linear": 1.0, "output": 0.0, "conv": 0.1})
    found = new_masks(normal(shapes), ones(shapes), roles, fraction=0.4, scope=scope)
    assert counts(found) == {"l1": 60, "l2": 80, "l3": 90, "out": 100}


def test_rates_with_a_density_set_the_proportion_of_the_loss():
    shapes = {"a": (10, 10), "b": (10, 10)}
    assert kept(shapes, density=0.7, scope=PerLayer(rates={"b": 0.5})) == {"a": 60, "b": 80}


def test_rates_do_not_stop_at_an_excluded_tensor():
    shapes = {"a": (10, 10), "b": (10, 10)}
    assert kept(shapes, fraction=0.2, scope=PerLayer(rates={"b": 0.5}), exclude="b") == {"a": 80, "b": 100}


def test_a_fully_protected_network_cannot_be_pruned():
    with pytest.raises(SpecError, match=r"20 weights per layer.*only 0"):
        kept({"a": (10, 10)}, density=0.8, scope=PerLayer(rates={"a": 0}))


@given(st.sampled_from(list(SHAPES)), st.sampled_from(list(SCOPES)), st.lists(st.floats(0, 0.6), max_size=4))
@settings(deadline=None)
def test_quotas_are_exact_level_after_level(shape, scope, fractions):
    masks, scores = ones(SHAPES[shape]), normal(SHAPES[shape])
    for fraction in fractions:
        before = counts(masks)
        gone = int(Fraction(str(fraction)) * sum(before.values()) + Fraction(1, 2))
        least = {name: min(count, 1) for name, count in before.items()}
        if sum(before.values()) - gone < sum(least.values()):
            with pytest.raises(SpecError, match="empty a tensor"):
                new_masks(scores, masks, fraction=fraction, scope=scope)
            return
        masks = new_masks(scores, masks, fraction=fraction, scope=scope)
        assert total(masks) == sum(before.values()) - gone
        assert all(least[name] <= count <= before[name] for name, count in counts(masks).items())


@pytest.mark.parametrize("name", list(SCOPES))
@pytest.mark.parametrize("shape", ["linear", "conv and linear", "very unequal"])
def test_the_worst_layer_is_not_emptied_and_what_is_excluded_is_left_alone(name, shape):
    """All scores of one layer lie below all others; one weight of each layer stays, whatever the scope."""
    shapes = SHAPES[shape]
    worst, spared = sorted(shapes)[0], sorted(shapes)[-1]
    scores = {key: value - 100 * (key == worst) for key, value in normal(shapes).items()}
    least = len(shapes) / sum(sizes(shapes).values())
    found = new_masks(scores, ones(shapes), density=least, scope=name)
    assert counts(found) == dict.fromkeys(shapes, 1)
    masks = ones(shapes)
    masks[spared].view(-1)[::2] = False
    held = masks[spared].clone()
    found = new_masks(scores, masks, fraction=0.5, scope=name, exclude=spared)
    assert torch.equal(found[spared], held)
    assert all(0 < count < sizes(shapes)[key] for key, count in counts(found).items())


@pytest.mark.parametrize("name", list(SCOPES))
def test_scope_is_a_value_with_a_line_for_the_list(name):
    assert SCOPES.resolve(name) == SCOPES.resolve(name)
    assert 10 < len(SCOPES.summary(name)) < 100


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("perlayer", "did you mean 'per-layer'"),
        ({"per-layer": {"rate": 1}}, "PerLayer.rate: no such field; did you mean 'rates'"),
        (None, "scope must be one of erk, global, per-layer, uniform"),
    ],
)
def test_what_is_no_scope(given, message):
    with pytest.raises(SpecError, match=message):
        SCOPES.resolve(given)


@pytest.mark.parametrize("rates", [{"output": 2}, {"output": -0.1}, {"output": "half"}, 0.5])
def test_rates_are_checked_when_made(rates):
    with pytest.raises(SpecError, match=r"PerLayer\.rates"):
        PerLayer(rates=rates)


def test_scopes_without_rates_do_not_take_any():
    for scope in (Global, Uniform, ERK):
        with pytest.raises(SpecError, match="rates"):
            scope(rates={"output": 0.5})


def test_unknown_rate_entry():
    with pytest.raises(SpecError, match=r"rates: 'outputs' is no role.*did you mean 'output'"):
        kept({"a": (3, 3)}, fraction=0.1, scope=PerLayer(rates={"outputs": 0.5}))
