from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from overparam import Chain, Measure, Network, Prune, Redense, SpecError, Study, Train, World
from overparam.lab import Reporter
from overparam.streams import torch_stream
from overparam.worlds import LabelNoise
from small import CONV, MLP, begin, bits, built, context_of, half_pruned, images, same_bits, vectors, zeros_are_clean

TRAIN = Train(epochs=2, batch_size=16)


@given(fraction=st.floats(0, 0.6), rounds=st.integers(1, 5), seed=st.integers(0, 3))
@settings(max_examples=25)
def test_rounds_prune_a_fraction_of_what_is_left_exactly(fraction: float, rounds: int, seed: int) -> None:
    data = built(vectors())
    checkpoint = begin(MLP, data, seed)
    context = context_of(MLP, data, seed)
    for level in range(1, rounds + 1):
        before = checkpoint
        try:
            checkpoint = Prune(fraction=fraction, allow_empty=True).run(before, context).checkpoint
        except SpecError:  # the same number as before: nothing to prune
            assert round(fraction * before.kept) in (0, before.kept)
            return
        assert checkpoint.level == level
        gone = before.kept - checkpoint.kept
        assert abs(gone - fraction * before.kept) <= 0.5 + 1e-9
        assert all(not (mask & ~before.masks[name]).any() for name, mask in checkpoint.masks.items()), "none comes back"


def test_iterative_pruning_looks_at_the_weights_anew_each_round() -> None:
    """Pruned at once and pruned with training between differ; without training between they are the same."""
    data = built(vectors())
    context = context_of(MLP, data)
    start = TRAIN.run(begin(MLP, data), context).checkpoint
    once = Prune(density=0.25).run(start, context).checkpoint
    halved = Prune(fraction=0.5).run(start, context).checkpoint
    at_once = Prune(density=0.25).run(halved, context).checkpoint
    retrained = TRAIN.run(halved, context).checkpoint
    between = Prune(density=0.25).run(retrained, context).checkpoint
    assert once.kept == at_once.kept == between.kept
    assert same_bits(once.masks, at_once.masks)
    assert not same_bits(once.masks, between.masks)
    weights = torch.cat([retrained.state[name].abs().flatten() for name in retrained.masks])
    kept = torch.cat([between.masks[name].flatten() for name in retrained.masks])
    assert weights[kept].min() >= weights[~kept].max(), "the largest of the retrained weights stay"


@pytest.mark.parametrize("exclude", [("output",), ("conv",), ("5.*",), ("conv", "output")])
@pytest.mark.parametrize("criterion", ["magnitude", "gradient", "random"])
def test_what_is_excluded_is_not_pruned(criterion: str, exclude: tuple[str, ...]) -> None:
    data = built(images())
    start = begin(CONV, data)
    step = Prune(criterion, fraction=0.5, exclude=exclude)
    pruned = step.run(start, context_of(CONV, data)).checkpoint
    for name, mask in pruned.masks.items():
        spared = start.roles[name] in exclude or (name.startswith("5.") and "5.*" in exclude)
        assert bool(mask.all()) == spared, name
    for name, tensor in pruned.state.items():
        if name not in pruned.masks:
            assert bits(tensor) == bits(start.state[name]), "biases and norms never are"


def test_the_gradient_criterion_sees_the_noisy_labels_of_a_batch_drawn_from_its_stream() -> None:
    noisy = built(vectors(), label_noise=LabelNoise("symmetric", 0.5))
    clean = built(vectors())
    assert torch.equal(noisy.train.inputs, clean.train.inputs)
    start = TRAIN.run(begin(MLP, noisy), context_of(MLP, noisy)).checkpoint
    step = Prune("gradient", fraction=0.5, batch_size=20)
    found = step.run(start, context_of(MLP, noisy)).checkpoint
    assert same_bits(found.masks, step.run(start, context_of(MLP, noisy)).checkpoint.masks), "reproducible"
    assert not same_bits(found.masks, step.run(start, context_of(MLP, clean)).checkpoint.masks), "noisy labels"
    assert not same_bits(found.masks, step.run(start, context_of(MLP, noisy, seed=9)).checkpoint.masks)

    batch = torch.randperm(len(noisy.train), generator=torch_stream(0, "prune-batch", 0))[:20]
    module = start.load_into(MLP.build(noisy.input_shape, noisy.classes, 0)).train()
    cross_entropy(module(noisy.train.inputs[batch]), noisy.train.targets[batch]).backward()
    scores = torch.cat([(start.state[n] * module.get_parameter(n).grad).abs().flatten() for n in start.masks])
    kept = torch.cat([mask.flatten() for mask in found.masks.values()])
    assert scores[kept].min() >= scores[~kept].max()


def test_each_round_of_random_pruning_draws_anew() -> None:
    data = built(vectors(width=30))
    start = begin(MLP, data)
    step, context = Prune("random", fraction=0.5), context_of(MLP, data)
    first = step.run(start, context).checkpoint
    assert same_bits(first.masks, step.run(start, context).checkpoint.masks)
    assert not same_bits(first.masks, step.run(start.counted("prune"), context).checkpoint.masks)


def test_pruned_weights_given_back_are_zero_and_train_on() -> None:
    data, network = built(vectors()), Network(nn.Linear, {"in_features": 4, "out_features": 3})
    context = context_of(network, data)
    pruned = half_pruned(TRAIN.run(begin(network, data), context).checkpoint, 0.3).counted("prune")
    given_back = Redense().run(pruned, context).checkpoint
    assert same_bits(given_back.state, pruned.state)
    assert given_back.density == 1.0
    assert given_back.level == 1
    trained = Train(epochs=3, batch_size=16, optimizer={"sgd": {"momentum": 0.9}}).run(given_back, context).checkpoint
    assert all((trained.state[name][~mask] != 0).all() for name, mask in pruned.masks.items())


def test_finetuning_goes_on_from_the_final_weights() -> None:
    data = built(vectors())
    context = context_of(MLP, data)
    pruned = Prune(fraction=0.5).run(TRAIN.run(begin(MLP, data), context).checkpoint, context).checkpoint
    tuned = Train(called="finetune", epochs=1, batch_size=16, lr=1e-9).run(pruned, context).checkpoint
    for name, tensor in pruned.state.items():
        torch.testing.assert_close(tuned.state[name], tensor, rtol=0, atol=1e-7)
    assert zeros_are_clean(tuned)
    same_settings = {"epochs": 2, "batch_size": 16, "lr": 0.05}
    one = Train(called="finetune", **same_settings).run(pruned, context).checkpoint
    two = Train(**same_settings).run(pruned, context).checkpoint
    assert same_bits(one.state, two.state), "a finetune is a training under another name"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"either fraction .* or density"),
        ({"fraction": 0.2, "density": 0.1}, r"either fraction .* or density"),
        ({"pattern": "2:4", "rounds": 3}, "pattern 2:4 says how many weights stay, at once; leave rounds"),
        ({"fraction": 1}, r"Prune.fraction: .*less than 1"),
        ({"density": 0}, r"Prune.density: .*greater than 0"),
        ({"fraction": 0.2, "criterion": "magnitud"}, r"did you mean 'magnitude'"),
        ({"fraction": 0.2, "scope": "layer"}, r"unknown scope 'layer'"),
        ({"fraction": 0.2, "rates": {"output": 0.5}}, r"Prune.rates: no such field any more: they belong to the scope"),
    ],
)
def test_wrong_prunings_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Prune(**given)


def test_pruning_to_more_than_there_is_says_so() -> None:
    data = built(vectors())
    pruned = half_pruned(begin(MLP, data), 0.3)
    with pytest.raises(SpecError):
        Prune(density=0.9).run(pruned, context_of(MLP, data))


def test_rates_prune_layers_at_different_speeds() -> None:
    data, network = built(vectors(width=40)), Network("mlp", {"hidden": [50]})
    step = Prune(fraction=0.4, scope={"per-layer": {"rates": {"output": 0.5}}})
    pruned = step.run(begin(network, data), context_of(network, data)).checkpoint
    densities = {pruned.roles[name]: mask.float().mean().item() for name, mask in pruned.masks.items()}
    assert densities == pytest.approx({"linear": 0.6, "output": 0.8}, abs=0.01)


def test_a_layer_that_keeps_almost_nothing_is_told_by_the_run_and_kept_in_the_record(tmp_path: Path) -> None:
    told: list[str] = []

    class Told(Reporter):
        def note(self, text: str) -> None:
            told.append(text)

    chain = Chain(Prune(density=0.6, scope={"per-layer": {"rates": {"fc1.weight": 0}}}), Measure())
    study = Study("few", World(vectors()), MLP, chain, probes=["accuracy"], sweep={"seed": [0, 1]})
    study.run(tmp_path, jobs=1, threads=1, reporter=Told())
    few = [text for text in told if "prune: at level 1 'output.weight' keeps 2 of 24 weights; use a scope" in text]
    assert len(few) == 1, "both seeds say the same"
    records = [path for path in tmp_path.rglob("*.json") if "keeps 2 of 24 weights" in path.read_text()]
    assert len(records) == 2
