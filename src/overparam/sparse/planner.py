"""From a user's module to the steps of its plan.

torch.fx records which operations the module's ``forward`` calls. Each becomes a step: the same operation on batch-last
tiles if there is one, else torch's own on the batch-first tensor, a *fallback*. Sparse layers that follow each other
become one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from overparam.errors import SpecError, in_words
from overparam.sparse import batch_last
from overparam.sparse.hooks import has_hooks
from overparam.sparse.plan import (
    PLACE_OF,
    PLAIN,
    Function,
    Input,
    Method,
    Named,
    Part,
    Plan,
    Step,
    Value,
    call_first,
    call_masked,
    mapped,
    same,
)

AXES: dict[type[nn.Module], int] = {nn.Linear: 0, nn.Conv1d: 1, nn.Conv2d: 2}
"""Layers that can be sparse, with the number of their spatial axes."""

# operations that are the same on every element, in any layout
_UNARY = """
    relu relu6 leaky_relu elu selu celu gelu silu mish hardswish hardsigmoid hardtanh sigmoid tanh softplus softsign
    logsigmoid tanhshrink softshrink hardshrink threshold abs absolute exp exp2 log log2 log10 log1p expm1 sqrt rsqrt
    square neg negative pos sin cos tan asin acos atan sinh cosh asinh acosh atanh erf erfc clamp clamp_min clamp_max
    clip sign sgn reciprocal round floor ceil trunc frac nan_to_num detach isnan isinf isfinite logical_not
"""
_BINARY = """
    add sub subtract mul multiply div divide truediv true_divide floordiv floor_divide mod remainder fmod pow
    float_power rsub maximum minimum fmax fmin lerp where masked_fill addcmul addcdiv atan2 hypot logaddexp xlogy
    copysign gt lt ge le eq ne greater less greater_equal less_equal logical_and logical_or logical_xor and_ or_
"""
_IN_PLACE = """
    relu_ leaky_relu_ elu_ selu_ celu_ hardtanh_ sigmoid_ tanh_ threshold_ abs_ exp_ log_ sqrt_ square_ neg_ clamp_
    clamp_min_ clamp_max_ add_ sub_ mul_ div_ pow_ iadd isub imul itruediv masked_fill_
"""
ELEMENTWISE = frozenset((_UNARY + _BINARY + _IN_PLACE).split())
ELEMENTWISE_MODULES: tuple[type[nn.Module], ...] = (
    *(nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.LogSigmoid),
    *(nn.Tanhshrink, nn.Softshrink, nn.Hardshrink, nn.Threshold),
)
POOLS = {f"{kind}_pool{axes}d": axes + 2 for kind in ("max", "avg", "adaptive_avg", "adaptive_max") for axes in (1, 2)}
POOL_MODULES: dict[type[nn.Module], int] = {
    **{nn.MaxPool1d: 3, nn.AvgPool1d: 3, nn.AdaptiveAvgPool1d: 3, nn.AdaptiveMaxPool1d: 3},
    **{nn.MaxPool2d: 4, nn.AvgPool2d: 4, nn.AdaptiveAvgPool2d: 4, nn.AdaptiveMaxPool2d: 4},
}
DROPOUTS: dict[str, int | None] = {"dropout": None, "dropout1d": 3, "dropout2d": 4}
REDUCTIONS = ("mean", "sum", "amax", "amin")
ATTRIBUTES = ("shape", "ndim", "dtype", "device", "requires_grad", "is_cuda")


class State(NamedTuple):
    """How a value is at hand: batch-last, batch-first, or something that is not a batch; and its rank if known."""

    kind: Literal["last", "first", "other"]
    rank: int | None = None


OTHER = State("other")


class Move(NamedTuple):
    """How a node is computed batch-last: what to call, with which arguments (nodes still inside), the result's rank."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    rank: int


@dataclass(frozen=True)
class Layers:
    """What is decided about a module before its steps are planned.

    Attributes:
        sparse: paths of layers that become sparse.
        plain: paths of linear layers and convolutions that stay dense on purpose.
        masked: names of parameters that are dense under a mask.
    """

    sparse: frozenset[str]
    plain: frozenset[str]
    masked: frozenset[str]


def trace(model: nn.Module, training: bool) -> fx.Graph:
    """Return the graph of ``model`` in one mode; raises SpecError if torch.fx cannot follow it. Flags stay as they are.

    The two modes are traced one by one as ``F.dropout(x, training=self.training)`` enters a graph as a constant.
    """
    modes = [(part, part.training) for part in model.modules()]
    try:
        model.train(training)
        graph = fx.Tracer().trace(model)
    except Exception as error:
        raise SpecError(
            f"model: torch.fx cannot trace {type(model).__name__} ({in_words(error)}); replace its layers one by one "
            "with overparam.sparse.replace_layers(model, masks), which needs no trace"
        ) from error
    finally:
        for part, mode in modes:
            part.training = mode
    return graph


def example_ranks(model: nn.Module, graph: fx.Graph, example: Tensor) -> dict[str, int]:
    """Return how many dimensions the tensors of a graph have for an example; raises SpecError if it does not fit.

    ``model`` must be a copy; it is left in evaluation mode.
    """
    ranks: dict[str, int] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, node: fx.Node) -> Any:
            result = super().run_node(node)
            if isinstance(result, Tensor):
                ranks[node.name] = result.dim()
            return result

    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            Recorder(fx.GraphModule(model.eval(), graph)).run(example)
        except Exception as error:
            raise SpecError(
                f"example: the model fails on a batch of shape {tuple(example.shape)} and dtype {example.dtype}: "
                f"{in_words(error)}"
            ) from error
    return ranks


def plan(
    model: nn.Module, graph: fx.Graph, layers: Layers, ranks: Mapping[str, int], fallbacks: Sequence[str] = ()
) -> Plan:
    """Return the steps of a graph; ``ranks`` are those found with an example, or none.

    ``fallbacks`` come before those that the plan has itself.
    """
    return _Planner(model, layers, ranks, fallbacks).plan(graph)


class _Planner:
    def __init__(self, model: nn.Module, layers: Layers, ranks: Mapping[str, int], fallbacks: Sequence[str]) -> None:
        self.model = model
        self.layers = layers
        self.ranks = ranks
        self.states: dict[fx.Node, State] = {}
        self.slots: dict[fx.Node, int] = {}
        self.fallbacks = list(fallbacks)

    def plan(self, graph: fx.Graph) -> Plan:
        inputs: list[Input] = []
        steps: list[Step] = []
        output = None
        last_use: dict[fx.Node, fx.Node] = {}
        for node in graph.nodes:
            for used in node.all_input_nodes:
                last_use[used] = node
        for node in graph.nodes:
            if node.op == "output":
                output = self._template(node.args[0])
                continue
            self.slots[node] = len(self.slots)
            if node.op == "placeholder":
                if str(node.target).startswith("*"):
                    raise SpecError(f"model: its forward must take named arguments, got {node.target}")
                inputs.append(Input(str(node.target), self.slots[node], tuple(node.args)))
                self.states[node] = self._first(node)
                continue
            function, args, kwargs = self._node(node)
            dead = [used for used in node.all_input_nodes if last_use[used] is node] + [node] * (node not in last_use)
            steps.append(
                Step(
                    function,
                    tuple(self._template(arg) for arg in args),
                    {name: self._template(arg) for name, arg in kwargs.items()},
                    self.slots[node],
                    tuple(self.slots[used] for used in dead),
                )
            )
        steps = self._chained(steps, output)
        return Plan(tuple(inputs), tuple(steps), output, len(self.slots), tuple(dict.fromkeys(self.fallbacks)))

    def _chained(self, steps: Sequence[Step], output: Any) -> list[Step]:
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
        if step.function is not batch_last.elementwise or len(step.args) != 2 or any(step.kwargs.values()):
            return False
        function = step.args[0]
        if isinstance(function, Part):
            return type(self.model.get_submodule(function.path)) is nn.ReLU
        return isinstance(function, Function | Method) and function.name == "relu"

    def _template(self, arg: Any) -> Any:
        """Return an argument with references in the place of nodes."""
        if isinstance(arg, fx.Node):
            return Value(self.slots[arg])
        if isinstance(arg, list):  # also fx's immutable ones
            return [self._template(each) for each in arg]
        if isinstance(arg, dict):
            return {name: self._template(each) for name, each in arg.items()}
        return mapped(arg, self._template)

    def _first(self, node: fx.Node, rank: int | None = None) -> State:
        return State("first", self.ranks.get(node.name, rank))

    def _node(self, node: fx.Node) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """Return what a node's step calls, with nodes still among the arguments, and note its state."""
        if node.op == "get_attr":
            self.states[node] = OTHER
            return same, (Named(str(node.target)),), {}
        if node.op == "call_module":
            return self._module(node, str(node.target))
        return self._function(node)

    def _state(self, arg: Any) -> State:
        return self.states[arg] if isinstance(arg, fx.Node) else OTHER

    def _kinds(self, node: fx.Node) -> set[str]:
        return {self.states[used].kind for used in node.all_input_nodes}

    # modules

    def _module(self, node: fx.Node, path: str) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        module = self.model.get_submodule(path)
        single = (*node.args, *node.kwargs.values()) if len(node.args) + len(node.kwargs) == 1 else ()
        given = single[0] if single and isinstance(single[0], fx.Node) else None
        state = self._state(given)
        if path in self.layers.sparse:
            rank = AXES[type(module)] + 2
            if state.kind != "other" and state.rank in (None, rank):
                self.states[node] = State("last", rank)
                return batch_last.apply_layers, ((Part(path),), (False,), False, given), {}
            if state.kind == "last":
                self.fallbacks.append(f"{path}: {type(module).__name__} of {state.rank} dimensions")
            self.states[node] = self._first(node, state.rank)
            return call_first, (Part(path), *node.args), dict(node.kwargs)
        if path in self.layers.plain:
            if type(module) is nn.Linear and state == State("last", 2):
                self.states[node] = state
                bias = None if module.bias is None else Named(f"{path}.bias")
                return batch_last.dense_linear, (given, Named(f"{path}.weight"), bias), {}
            self.states[node] = self._first(node, state.rank or AXES[type(module)] + 2)
            return self._dense_call(node, path, module)
        hooks = has_hooks(module)
        move = None if hooks else self._native(module, path, given, state)
        if move is not None and state.kind == "last":
            self.states[node] = State("last", move.rank)
            return move.function, move.args, move.kwargs
        if (
            state.kind == "last"
            or "last" in self._kinds(node)
            or (move is None and any(True for _ in module.parameters()))
        ):
            self.fallbacks.append(f"{path}: {type(module).__name__}{' with hooks' * hooks}")
        self.states[node] = self._first(node, None if move is None or state.rank is None else move.rank)
        return self._dense_call(node, path, module)

    def _dense_call(
        self, node: fx.Node, path: str, module: nn.Module
    ) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        weights = {
            name: Named(f"{path}.{name}")
            for name, _ in module.named_parameters(remove_duplicate=False)
            if f"{path}.{name}" in self.layers.masked
        }
        if weights:
            return call_masked, (Part(path), weights, *node.args), dict(node.kwargs)
        return call_first, (Part(path), *node.args), dict(node.kwargs)

    def _native(self, module: Any, path: str, given: Any, state: State) -> Move | None:
        """Return how a module is computed batch-last for an input of this rank; None if it cannot."""
        kind, rank, one = type(module), state.rank, (Part(path), given)
        if given is None or any(f"{path}.{name}" in self.layers.masked for name, _ in module.named_parameters()):
            return None
        known = rank or 2
        if kind in ELEMENTWISE_MODULES:
            return Move(batch_last.elementwise, one, {}, known)
        if kind in POOL_MODULES:
            fits = rank in (None, POOL_MODULES[kind]) and not getattr(module, "return_indices", False)
            return Move(batch_last.pool, one, {}, POOL_MODULES[kind]) if fits else None
        if kind is nn.BatchNorm2d or (kind is nn.BatchNorm1d and rank in (None, 2, 3)):
            return Move(batch_last.batch_norm, one, {}, known)
        if kind is nn.LayerNorm:
            return Move(batch_last.layer_norm, one, {}, known) if len(module.normalized_shape) == known - 1 else None
        if kind is nn.GroupNorm:
            return Move(batch_last.group_norm, one, {}, known)
        if kind is nn.PReLU:
            return Move(batch_last.prelu, one, {}, known)
        if kind in (nn.Dropout, nn.Dropout1d, nn.Dropout2d):
            needed = {nn.Dropout1d: 3, nn.Dropout2d: 4}.get(kind, rank)
            return Move(batch_last.dropout_module, one, {}, known) if rank in (None, needed) else None
        if kind is nn.Flatten and module.start_dim == 1 and module.end_dim in (-1, known - 1):
            return Move(batch_last.flatten, (given,), {}, 2)
        if kind in (nn.Softmax, nn.LogSoftmax) and module.dim is not None:
            name = "softmax" if kind is nn.Softmax else "log_softmax"
            return self._softmax(name, given, module.dim, known)
        return None

    # functions and methods

    def _function(self, node: fx.Node) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        target: Any = node.target
        function: Callable[..., Any]
        if node.op == "call_method":
            name, function, label = str(target), Method(str(target)), f"Tensor.{target}"
        elif target in PLACE_OF:
            place, name = PLACE_OF[target]
            function, label = Function(place, name), f"{place}.{name}"
        else:
            name, function, label = getattr(target, "__name__", repr(target)), target, repr(target)
        kinds = self._kinds(node)
        if "last" not in kinds:
            self.states[node] = self._batch_first(node, name) if "first" in kinds else OTHER
            return function, node.args, dict(node.kwargs)
        state = self._state(node.args[0] if node.args else None)
        if name == "getattr" and node.args[1] in ATTRIBUTES:
            self.states[node] = OTHER
            return batch_last.attribute, node.args, {}
        if name in ("size", "dim") and node.op == "call_method":
            self.states[node] = OTHER
            return (batch_last.size, node.args, dict(node.kwargs)) if name == "size" else (same, (state.rank,), {})
        move = self._native_function(node, name, function)
        if move is not None:
            self.states[node] = State("last", move.rank)
            return move.function, move.args, move.kwargs
        in_place = name.endswith("_") and name not in ("and_", "or_", "not_")
        if name == "setitem" or in_place or node.kwargs.get("inplace"):
            raise SpecError(
                f"model: {label} changes a tensor in place, which cannot be converted; let it compute a new one"
            )
        self.fallbacks.append(f"{node.name}: {label}")
        self.states[node] = self._first(node)
        return call_first, (function, *node.args), dict(node.kwargs)

    def _batch_first(self, node: fx.Node, name: str) -> State:
        """Return the state of what torch computes from batch-first tensors, with its rank where that is plain."""
        if name == "getattr" or (node.op == "call_method" and name in ("size", "dim")):
            return OTHER
        rank = None
        if name in POOLS:
            rank = POOLS[name]
        elif name in ELEMENTWISE or name in DROPOUTS:
            found = [self.states[used] for used in node.all_input_nodes if self.states[used].kind == "first"]
            rank = found[0].rank if len({state.rank for state in found}) == 1 else None
        elif (name == "flatten" and self._flattens(node, None)) or (
            name in ("view", "reshape") and len(_sizes(node)) == 2
        ):
            rank = 2
        return self._first(node, rank)

    def _native_function(self, node: fx.Node, name: str, function: Callable[..., Any]) -> Move | None:
        """Return how a function of something batch-last is computed batch-last; None if it cannot."""
        args, kwargs = node.args, {"training" if key == "train" else key: arg for key, arg in node.kwargs.items()}
        if name in ELEMENTWISE:
            return self._elementwise(node, function)
        if name in ("cat", "concat", "concatenate"):
            return self._concatenate(*args, **kwargs)
        given = args[0] if args else None
        state = self._state(given)
        rank = state.rank
        if given is None or rank is None or node.all_input_nodes[:1] != [given] or state.kind != "last":
            return None
        if name in POOLS and len(node.all_input_nodes) == 1:
            wrong = POOLS[name] != rank or kwargs.get("return_indices") is True or True in args[6:]
            return None if wrong else Move(batch_last.pool, (function, *args), kwargs, rank)
        if name == "flatten":
            return Move(batch_last.flatten, (given,), {}, 2) if self._flattens(node, rank) else None
        if name in ("view", "reshape"):
            sizes = _sizes(node)
            fits = len(sizes) == 2 and (rank > 2 or (isinstance(sizes[0], fx.Node) and sizes[1] == -1))
            return Move(batch_last.flatten_to, (given, *sizes), {}, 2) if fits else None
        if name in REDUCTIONS:
            return self._reduction(name, rank, *args, **kwargs)
        if name in ("softmax", "log_softmax") and kwargs.get("dtype") is None:
            dim = args[1] if len(args) > 1 else kwargs.get("dim")
            return self._softmax(name, given, dim, rank) if isinstance(dim, int) and len(args) < 3 else None
        if name in DROPOUTS and DROPOUTS[name] in (None, rank):
            how = _DROPOUT | dict(zip(_DROPOUT, args[1:], strict=False)) | kwargs
            return Move(batch_last.dropout, (getattr(F, name), given, how["p"], how["training"]), {}, rank)
        return None

    def _elementwise(self, node: fx.Node, function: Callable[..., Any]) -> Move | None:
        flat = [*node.args, *node.kwargs.values()]
        nested = any(not isinstance(arg, (fx.Node, *PLAIN, torch.dtype)) for arg in flat)
        states = [self.states[used] for used in node.all_input_nodes]
        ranks = {state.rank for state in states if state.kind == "last"}
        rank = ranks.pop()
        known = [state.rank for state in states if state.rank is not None]
        if nested or ranks or rank is None or max(known) > rank or node.kwargs.get("out") is not None:
            return None
        return Move(batch_last.elementwise, (function, *node.args), dict(node.kwargs), rank)

    def _concatenate(self, values: Any = None, dim: Any = 0, **kwargs: Any) -> Move | None:
        if kwargs or not isinstance(values, Sequence) or not isinstance(dim, int):
            return None
        states = [self._state(value) for value in values]
        rank = next((state.rank for state in states if state.kind == "last"), None)
        if rank is None or any(state.kind == "other" or state.rank not in (None, rank) for state in states):
            return None
        dim = dim + rank if dim < 0 else dim
        return Move(batch_last.concatenate, (values, dim), {}, rank) if 1 <= dim < rank else None

    def _reduction(
        self, name: str, rank: int, given: Any, dim: Any = None, keepdim: Any = False, **kwargs: Any
    ) -> Move | None:
        dims = [dim] if isinstance(dim, int) else dim
        if kwargs or not dims or any(not isinstance(each, int) for each in dims) or not isinstance(keepdim, bool):
            return None
        dims = sorted({each + rank if each < 0 else each for each in dims})
        if dims[0] < 1 or dims[-1] >= rank or not (keepdim or (dims == [*range(2, rank)] and rank > 2)):
            return None
        return Move(batch_last.reduce, (name, given, dims, keepdim), {}, rank if keepdim else 2)

    def _softmax(self, name: str, given: Any, dim: int, rank: int) -> Move | None:
        dim = dim + rank if dim < 0 else dim
        return Move(batch_last.softmax, (name, given, dim), {}, rank) if 1 <= dim < rank else None

    def _flattens(self, node: fx.Node, rank: int | None) -> bool:
        """Return whether a call of flatten keeps the batch and nothing else."""
        given: dict[str, Any] = dict(zip(("start_dim", "end_dim"), node.args[1:], strict=False)) | dict(node.kwargs)
        return bool(given.get("start_dim", 0) == 1) and given.get("end_dim", -1) in (-1, rank and rank - 1)


_DROPOUT: dict[str, Any] = {"p": 0.5, "training": True}


def _sizes(node: fx.Node) -> tuple[Any, ...]:
    """Return the sizes that a call of view or reshape asks for."""
    sizes = node.args[1:] or tuple(node.kwargs.values())
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], Sequence) else tuple(sizes)
