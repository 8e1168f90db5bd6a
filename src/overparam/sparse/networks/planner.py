"""From a module whose forward is known to the steps of its plan.

torch.fx records which operations the module's ``forward`` calls. Each becomes a step: the same operation on batch-last
tiles if there is one, else torch's own on the batch-first tensor, a *fallback*. Sparse layers that follow each other
become one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from overparam.errors import SpecError, in_words
from overparam.sparse.networks import batch_last
from overparam.sparse.networks.judge import AXES
from overparam.sparse.networks.plan import Part, Plan, Step, Value, call_first

ELEMENTWISE: tuple[type[nn.Module], ...] = (
    *(nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.LogSigmoid),
    *(nn.Tanhshrink, nn.Softshrink, nn.Hardshrink, nn.Threshold),
)
"""Modules that do the same to every element, in any layout."""

POOLS: dict[type[nn.Module], int] = {
    **{nn.MaxPool1d: 3, nn.AvgPool1d: 3, nn.AdaptiveAvgPool1d: 3, nn.AdaptiveMaxPool1d: 3},
    **{nn.MaxPool2d: 4, nn.AvgPool2d: 4, nn.AdaptiveAvgPool2d: 4, nn.AdaptiveMaxPool2d: 4},
}


class State(NamedTuple):
    """How a value is at hand: batch-last or batch-first; and its rank if known."""

    kind: Literal["last", "first"]
    rank: int | None = None


class Move(NamedTuple):
    """How a module is computed batch-last: what to call, with which arguments (nodes inside), the result's rank."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    rank: int


def example_ranks(model: nn.Module, graph: fx.Graph, example: Tensor) -> dict[str, int]:
    """Return how many dimensions the tensors of a graph have for an example; raises SpecError if it does not fit."""
    ranks: dict[str, int] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, node: fx.Node) -> Any:
            result = super().run_node(node)
            if isinstance(result, Tensor):
                ranks[node.name] = result.dim()
            return result

    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            Recorder(fx.GraphModule(copy.deepcopy(model).eval(), graph)).run(example)
        except Exception as error:
            raise SpecError(
                f"example: the model fails on a batch of shape {tuple(example.shape)} and dtype {example.dtype}: "
                f"{in_words(error)}"
            ) from error
    return ranks


def plan(model: nn.Module, sparse: Collection[str], example: Tensor | None) -> Plan:
    """Return the steps of a module whose forward is known; the layers at the paths ``sparse`` will be sparse ones."""
    graph = fx.Tracer().trace(model)
    return _Planner(model, sparse, {} if example is None else example_ranks(model, graph, example)).plan(graph)


class _Planner:
    def __init__(self, model: nn.Module, sparse: Collection[str], ranks: Mapping[str, int]) -> None:
        self.model = model
        self.sparse = sparse
        self.ranks = ranks
        self.states: dict[fx.Node, State] = {}
        self.slots: dict[fx.Node, int] = {}
        self.fallbacks: list[str] = []

    def plan(self, graph: fx.Graph) -> Plan:
        steps: list[Step] = []
        last_use = {used: node for node in graph.nodes for used in node.all_input_nodes}
        for node in graph.nodes:
            if node.op == "output":
                output = self._template(node.args[0])
                continue
            self.slots[node] = len(self.slots)
            if node.op == "placeholder":
                self.states[node] = self._first(node)
                continue
            function, args = self._module(node) if node.op == "call_module" else self._function(node)
            dead = [used for used in node.all_input_nodes if last_use[used] is node]
            drops = tuple(self.slots[used] for used in dead)
            steps.append(Step(function, self._template(args), self.slots[node], drops))
        return Plan(tuple(self._chained(steps, output)), output, len(self.slots), tuple(dict.fromkeys(self.fallbacks)))

    def _chained(self, steps: Sequence[Step], output: Value) -> list[Step]:
        """Return the steps with sparse layers that follow each other, and ReLUs after them, as one step each.

        If a chain is the network's output it ends batch-first.
        """
        found: list[Step] = []
        for step in steps:
            joined = self._joined(found[-1], step) if found else None
            if joined is None:
                found.append(step)
            else:
                found[-1] = joined
        last = found[-1] if found else None
        if last is not None and last.function is batch_last.apply_layers and output == Value(last.out):
            layers, relus, _, given = last.args
            found[-1] = replace(last, args=(layers, relus, True, given))
        return found

    def _joined(self, chain: Step, step: Step) -> Step | None:
        """Return a chain with the next step as a part of it; None if it cannot be."""
        if chain.function is not batch_last.apply_layers or chain.out not in step.drops:
            return None
        layers, relus, first, given = chain.args
        if step.function is batch_last.apply_layers and step.args[3] == Value(chain.out):
            axes = {AXES[type(self.model.get_submodule(part.path))] for part in layers + step.args[0]}
            if len(axes) > 1:
                return None
            layers, relus = layers + step.args[0], relus + step.args[1]
        elif self._is_relu(step) and step.args[1] == Value(chain.out) and not relus[-1]:
            relus = (*relus[:-1], True)
        else:
            return None
        drops = (*chain.drops, *(slot for slot in step.drops if slot != chain.out))
        return replace(chain, args=(layers, relus, first, given), out=step.out, drops=drops)

    def _is_relu(self, step: Step) -> bool:
        if step.function is not batch_last.elementwise or len(step.args) != 2:
            return False
        function = step.args[0]
        return function is F.relu or (
            isinstance(function, Part) and type(self.model.get_submodule(function.path)) is nn.ReLU
        )

    def _template(self, arg: Any) -> Any:
        """Return an argument with references in the place of nodes."""
        if isinstance(arg, fx.Node):
            return Value(self.slots[arg])
        return tuple(map(self._template, arg)) if isinstance(arg, tuple) else arg

    def _first(self, node: fx.Node, rank: int | None = None) -> State:
        return State("first", self.ranks.get(node.name, rank))

    def _module(self, node: fx.Node) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return what the step of a call of a module calls, with nodes still among the arguments; note its state."""
        path = str(node.target)
        module, given = self.model.get_submodule(path), node.args[0]
        assert isinstance(given, fx.Node)
        state = self.states[given]
        first = call_first, (Part(path), given)
        if path in self.sparse:
            rank = AXES[type(module)] + 2
            if state.rank in (None, rank):
                self.states[node] = State("last", rank)
                return batch_last.apply_layers, ((Part(path),), (False,), False, given)
            self.states[node] = self._first(node, state.rank)
            if state.kind == "last":
                self.fallbacks.append(f"{path}: {type(module).__name__} of {state.rank} dimensions")
            return first
        if type(module) is nn.Linear and state == State("last", 2):
            self.states[node] = state
            return batch_last.dense_linear, (Part(path), given)
        move = self._native(module, path, given, state)
        if move is not None and state.kind == "last":
            self.states[node] = State("last", move.rank)
            return move.function, move.args
        if type(module) in AXES:
            self.states[node] = self._first(node, state.rank or AXES[type(module)] + 2)
            return first
        if state.kind == "last" or (move is None and any(True for _ in module.parameters())):
            self.fallbacks.append(f"{path}: {type(module).__name__}")
        self.states[node] = self._first(node, None if move is None or state.rank is None else move.rank)
        return first

    def _native(self, module: Any, path: str, given: fx.Node, state: State) -> Move | None:
        """Return how a module is computed batch-last for an input of this rank; None if it cannot."""
        kind, rank, one = type(module), state.rank, (Part(path), given)
        known = rank or 2
        if kind in ELEMENTWISE:
            return Move(batch_last.elementwise, one, known)
        if kind in POOLS:
            fits = rank in (None, POOLS[kind]) and not getattr(module, "return_indices", False)
            return Move(batch_last.pool, one, POOLS[kind]) if fits else None
        if kind is nn.BatchNorm2d or (kind is nn.BatchNorm1d and rank in (None, 2, 3)):
            return Move(batch_last.batch_norm, one, known)
        if kind is nn.LayerNorm:
            return Move(batch_last.layer_norm, one, known) if len(module.normalized_shape) == known - 1 else None
        if kind is nn.GroupNorm:
            return Move(batch_last.group_norm, one, known)
        if kind is nn.PReLU:
            return Move(batch_last.prelu, one, known)
        if kind in (nn.Dropout, nn.Dropout1d, nn.Dropout2d):
            needed = {nn.Dropout1d: 3, nn.Dropout2d: 4}.get(kind, rank)
            return Move(batch_last.dropout, one, known) if rank in (None, needed) else None
        if kind is nn.Flatten and module.start_dim == 1 and module.end_dim in (-1, known - 1):
            return Move(batch_last.flatten, (given,), 2)
        if kind in (nn.Softmax, nn.LogSoftmax) and module.dim is not None:
            dim = module.dim + known if module.dim < 0 else module.dim
            return Move(batch_last.softmax, (*one, dim), known) if 1 <= dim < known else None
        return None

    def _function(self, node: fx.Node) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return the same for a function: in forwards that are known these are elementwise, F.relu and a sum."""
        function: Any = node.target
        states = [self.states[used] for used in node.all_input_nodes]
        ranks = {state.rank for state in states}
        if any(state.kind == "last" for state in states):
            self.states[node] = State("last", max(rank for rank in ranks if rank is not None))
            return batch_last.elementwise, (function, *node.args)
        self.states[node] = self._first(node, ranks.pop() if len(ranks) == 1 else None)
        return function, node.args
