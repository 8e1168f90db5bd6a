"""Behaviours: hooks, and how a call computes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from conformance_parts import WIDTH, Net
from conformance_weights import with_change, with_middle
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

# hooks


def forward_hook(self: Any) -> None:
    self.hidden.register_forward_hook(lambda part, args, out: 2 * out)


def hook_on_a_block(self: Any) -> None:
    self.hidden = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH))
    self.hidden.register_forward_hook(lambda part, args, out: out + args[0])


def pre_hook(self: Any) -> None:
    self.hidden.register_forward_pre_hook(lambda part, args: (args[0].sin(),))


def pre_hook_that_changes_a_weight(self: Any) -> None:
    def halve(part: Any, args: Any) -> None:
        part.weight.data.mul_(0.5)

    self.hidden.register_forward_pre_hook(halve)


def backward_hook(self: Any) -> None:
    self.hidden.register_full_backward_hook(lambda part, inputs, outputs: (inputs[0] * 0.5,))


def backward_pre_hook(self: Any) -> None:
    self.hidden.register_full_backward_pre_hook(lambda part, outputs: (outputs[0] * 0.5,))


def hook_on_the_whole(self: Any) -> None:
    self.register_forward_hook(lambda part, args, out: out * 1.5)


def hook_that_reads_weights(self: Any) -> None:
    self.register_forward_hook(lambda part, args, out: out + part.hidden.weight.sum())


def hook_of_a_weight(self: Any) -> None:
    self.hidden.weight.register_hook(lambda gradient: gradient.clamp(-0.01, 0.01))


def hook_of_a_bias(self: Any) -> None:
    self.hidden.bias.register_hook(lambda gradient: 3 * gradient)


def hook_after_accumulation(self: Any) -> None:
    def sign(parameter: Tensor) -> None:
        assert parameter.grad is not None
        parameter.grad.sign_()

    self.hidden.weight.register_post_accumulate_grad_hook(sign)


def hooks_of_all_parameters(self: Any) -> None:
    for parameter in self.parameters():
        parameter.register_hook(lambda gradient: gradient / (1e-6 + gradient.norm()))


def frozen_by_a_hook(self: Any) -> None:
    self.hidden.weight.register_hook(torch.zeros_like)


def hook_of_an_activation(self: Any, h: Tensor) -> Tensor:
    out: Tensor = self.hidden(h)
    if out.requires_grad:
        out.register_hook(lambda gradient: gradient * 0.1)
    return out


def hook_in_passing(self: Any, h: Tensor) -> Tensor:
    handle = self.hidden.register_forward_hook(lambda part, args, out: out.cos())
    out: Tensor = self.hidden(h)
    handle.remove()
    return out


def call_override(base: type[Net]) -> type[Net]:
    class Calling(base):  # type: ignore[misc,valid-type]
        def __call__(self, x: Tensor) -> Tensor:
            return 2 * super().__call__(x)

    return Calling


def decorated(forward: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(forward)
    def wrapped(self: Any, x: Tensor) -> Any:
        return forward(self, x) + 1

    return wrapped


def decorated_forward(base: type[Net]) -> type[Net]:
    class Decorated(base):  # type: ignore[misc,valid-type]
        @decorated
        def forward(self, x: Tensor) -> Any:
            return super().forward(x)

    return Decorated


def layer_by_property(base: type[Net]) -> type[Net]:
    class Property(base):  # type: ignore[misc,valid-type]
        @property
        def layer(self) -> nn.Module:
            return self.hidden

        def middle(self, h: Tensor) -> Tensor:
            return self.layer(h)

    return Property


def layer_by_getattr(base: type[Net]) -> type[Net]:
    class Getting(base):  # type: ignore[misc,valid-type]
        def __getattr__(self, name: str) -> Any:
            return super().__getattr__("hidden" if name == "secret" else name)

        def middle(self, h: Tensor) -> Tensor:
            return self.secret(h)

    return Getting


def keywords(self: Any, h: Tensor) -> Tensor:
    return self.hidden(input=h)


# how it computes


def checkpointed(self: Any, h: Tensor) -> Tensor:
    return checkpoint(lambda x: torch.relu(self.hidden(F.dropout(x, 0.2))), h, use_reentrant=False)


def reentrant(self: Any, h: Tensor) -> Tensor:
    return checkpoint(self.hidden, h, use_reentrant=True)


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.sign()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.clamp(-1, 1)


def own_gradient(self: Any, h: Tensor) -> Tensor:
    return Straight.apply(self.hidden(h))  # type: ignore[no-untyped-call,no-any-return]


def straight_through(self: Any, h: Tensor) -> Tensor:
    soft = self.hidden(h).sigmoid()
    return (soft > 0.5).float() + soft - soft.detach()


def without_gradient(self: Any, h: Tensor) -> Tensor:
    with torch.no_grad():
        shift = self.hidden(h)
    return self.hidden(h) - 0.5 * shift


def in_place(self: Any, h: Tensor) -> Tensor:
    out = self.hidden(h)
    out += 1
    out.mul_(0.5)
    out[:, 0] = 0.5
    return out.sigmoid_()


def autocast(self: Any, h: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return self.hidden(h).float()


def autocast_for_all(base: type[Net]) -> type[Net]:
    class Casting(base):  # type: ignore[misc,valid-type]
        @torch.autocast("cpu", dtype=torch.bfloat16)
        def forward(self, x: Tensor) -> Any:
            return super().forward(x).float()

    return Casting


def double_inside(base: type[Net]) -> type[Net]:
    class Double(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.hidden.double()

        def middle(self, h: Tensor) -> Tensor:
            return self.hidden(h.double()).float()

    return Double


def bfloat16_inside(base: type[Net]) -> type[Net]:
    class Half(base):  # type: ignore[misc,valid-type]
        def begin(self) -> None:
            self.hidden.bfloat16()

        def middle(self, h: Tensor) -> Tensor:
            return self.hidden(h.bfloat16()).float()

    return Half


def gradient_inside(self: Any, h: Tensor) -> Tensor:
    with torch.enable_grad():
        x = h.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.hidden(x).sin().sum(), x, create_graph=True)
    return self.hidden(h) + slope


def first_gradient_inside(self: Any, h: Tensor) -> Tensor:
    with torch.enable_grad():
        x = h.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.hidden(x).sin().sum(), x)
    return self.hidden(h) + slope


def mapped(self: Any, h: Tensor) -> Tensor:
    return torch.vmap(self.hidden)(h)


def forward_derivative(self: Any, h: Tensor) -> Tensor:
    return torch.func.jvp(self.hidden, (h,), (torch.ones_like(h),))[1] + self.hidden(h)


def one_by_one(self: Any, h: Tensor) -> Tensor:
    return torch.stack([self.hidden(each) for each in h])


def without_a_batch(self: Any, h: Tensor) -> Tensor:
    return self.hidden(h[0]) + self.hidden(h[1:2]) + self.hidden(h)


def empty_batch(self: Any, h: Tensor) -> Tensor:
    return torch.cat([self.hidden(h[:0]), self.hidden(h)])


def not_contiguous(self: Any, h: Tensor) -> Tensor:
    return self.hidden(h.t().contiguous().t()).expand(2, -1, -1).sum(0) + self.hidden(h.flip(1))


def selected(self: Any, h: Tensor) -> Tensor:
    values, places = self.hidden(h).topk(5)
    return torch.zeros_like(h).scatter(1, places, values).cumsum(1)


def products(self: Any, h: Tensor) -> Tensor:
    return torch.einsum("bi,bj->bij", self.hidden(h), h).flatten(1).unfold(1, WIDTH, WIDTH).mean(1)


def evaluating(self: Any, h: Tensor) -> Tensor:
    self.hidden.eval()
    out: Tensor = self.hidden(h)
    self.hidden.train()
    return out


def thawing(self: Any, h: Tensor) -> Tensor:
    self.hidden.requires_grad_(bool(h.sum() > 0))
    return self.hidden(h)


CALLS = {
    **{
        each.__name__.replace("_", " "): with_change(each)
        for each in (
            *(forward_hook, hook_on_a_block, pre_hook, pre_hook_that_changes_a_weight, backward_hook),
            *(backward_pre_hook, hook_on_the_whole, hook_that_reads_weights, hook_of_a_weight, hook_of_a_bias),
            *(hook_after_accumulation, hooks_of_all_parameters, frozen_by_a_hook),
        )
    },
    **{
        each.__name__.replace("_", " "): each
        for each in (
            *(call_override, decorated_forward, layer_by_property, layer_by_getattr, autocast_for_all),
            *(double_inside, bfloat16_inside),
        )
    },
    **{
        each.__name__.replace("_", " "): with_middle(each)
        for each in (
            *(hook_of_an_activation, hook_in_passing, keywords, checkpointed, reentrant, own_gradient),
            *(straight_through, without_gradient, in_place, autocast, gradient_inside, first_gradient_inside),
            *(mapped, forward_derivative, one_by_one, without_a_batch, empty_batch, not_contiguous, selected),
            *(products, evaluating, thawing),
        )
    },
}
