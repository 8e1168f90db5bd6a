"""From a module whose forward is known to one that computes the same batch-last.

torch.fx records which operations the module's ``forward`` calls, and runs the graph that is made of them here: sparse
layers that follow each other, and ReLUs after them, as one operation; modules on batch-last tiles where they can be.
What cannot be is a *fallback*: torch's own on the batch-first tensor.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from overparam.sparse.networks.judge import AXES
from overparam.sparse.networks.tiles import NATIVE, BatchFirst, Elementwise, FusedLayers, OnTiles


def fused(model: nn.Module, sparse: Collection[str]) -> tuple[fx.GraphModule, tuple[str, ...]]:
    """Return a module, of the same modules, that computes what ``model`` does, and its fallbacks.

    The layers at the paths ``sparse`` will be sparse ones before it runs.
    """
    builder = _Builder(model, sparse)
    for node in fx.Tracer().trace(model).nodes:
        builder.take(node)
    return fx.GraphModule(builder.operations, builder.graph), tuple(dict.fromkeys(builder.fallbacks))


class _Builder:
    def __init__(self, model: nn.Module, sparse: Collection[str]) -> None:
        self.model, self.sparse = model, sparse
        self.graph = fx.Graph()
        self.operations: dict[str, nn.Module] = {}
        self.made: dict[fx.Node, fx.Node] = {}  # by node of the module's own graph
        self.last: set[fx.Node] = set()  # those that are tiles, as far as can be told
        self.fallbacks: list[str] = []

    def take(self, node: fx.Node) -> None:
        """Add what a node of the module's own graph becomes."""
        if node.op == "placeholder":
            self.made[node] = self.graph.placeholder(str(node.target))
        elif node.op == "output":
            self.graph.output(self._output(node.args[0]))
        elif node.op == "call_module":
            self.made[node] = self._module(node, str(node.target), self.model.get_submodule(str(node.target)))
        elif not self._takes_relu(node, is_relu=node.target in (F.relu, torch.relu)):
            function: Any = node.target  # in forwards that are known these are elementwise: F.relu and a sum
            given = [self.made[each] for each in node.all_input_nodes]
            self.made[node] = self._add(Elementwise(function), *given, last=all(each in self.last for each in given))

    def _module(self, node: fx.Node, path: str, module: nn.Module) -> fx.Node:
        given = self.made[node.args[0]]  # type: ignore[index]
        if path in self.sparse:
            before = self._open(node)
            if before is None or type(before.layers[0]) is not type(module):
                return self._add(FusedLayers(module), given, last=True)
            before.layers.append(module)
            before.relus.append(False)
            return given
        if self._takes_relu(node, is_relu=type(module) is nn.ReLU):
            return given
        last = given in self.last
        unable = type(module) not in NATIVE and type(module) not in AXES
        if unable and (last or any(True for _ in module.parameters())):
            self.fallbacks.append(f"{path}: {type(module).__name__}")
        return self._add(OnTiles(module), given, last=last and type(module) in NATIVE)

    def _open(self, node: fx.Node) -> FusedLayers | None:
        """Return the fused layers whose output goes to ``node`` and nowhere else, if its input are such."""
        (before, *more) = node.all_input_nodes
        operation = self.operations.get(str(self.made[before].target))
        return operation if isinstance(operation, FusedLayers) and not more and len(before.users) == 1 else None

    def _takes_relu(self, node: fx.Node, is_relu: bool) -> bool:
        """Tell whether a node is a ReLU that fused layers before it do, and let them."""
        before = self._open(node) if is_relu else None
        if before is None or before.relus[-1]:
            return False
        before.relus[-1] = True
        self.made[node] = self.made[node.all_input_nodes[0]]
        return True

    def _output(self, node: Any) -> fx.Node:
        given = self.made[node]
        operation = self.operations.get(str(given.target))
        if isinstance(operation, FusedLayers) and len(node.users) == 1:
            operation.first = True
            return given
        return self._add(BatchFirst(), given, last=False)

    def _add(self, operation: nn.Module, *given: fx.Node, last: bool) -> fx.Node:
        name = f"operation{len(self.operations)}"
        self.operations[name] = operation
        made = self.graph.call_module(name, given)
        if last:
            self.last.add(made)
        return made
