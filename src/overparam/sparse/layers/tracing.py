"""What looks at operations of torch as they happen, and does not see compiled kernels."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad

P = ParamSpec("P")
R = TypeVar("R")


def is_traced() -> bool:
    """Tell whether only torch's own operations will do: under torch.func, export, make_fx, jit.trace, forward_ad."""
    private: Any = torch._C
    return bool(
        private._are_functorch_transforms_active()
        or private._len_torch_dispatch_stack()
        or private._get_tracing_state() is not None
        or forward_ad._current_level >= 0
    )


def is_differentiated(errors: Tensor) -> bool:
    """Tell, on the way back, whether gradients will be differentiated again, or are batched, many in one."""
    functorch: Any = torch._C._functorch
    return torch.is_grad_enabled() or is_traced() or functorch.is_legacy_batchedtensor(errors)


def uncompiled(function: Callable[P, R]) -> Callable[P, R]:
    """Let torch.compile call a function as it is, between the parts that it compiles."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.compiler.is_dynamo_compiling():
            own: Any = torch._dynamo
            own.graph_break(msg="sparse layers call kernels that are compiled already; compile without fullgraph=True")
            found: R = own.disable(function)(*args, **kwargs)
            return found
        return function(*args, **kwargs)

    return call
