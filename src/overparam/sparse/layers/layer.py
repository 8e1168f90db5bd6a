"""What layers share whose weight is a list of nonzeros: memory and time of training are of order of the nonzeros.

A layer holds the nonzeros' ``values`` (what is trained) and their flat ``indices`` into the dense weight; the zeros
exist nowhere, neither in the weight nor in its gradient nor in the state of an optimiser.
"""

from __future__ import annotations

import inspect
import math
import warnings
import weakref
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, ClassVar, NoReturn, Self

import torch
from torch import Tensor, nn

from overparam.errors import SpecError, in_words
from overparam.prune.counts import exact_count, exact_density
from overparam.sparse.kernels.structure import LARGEST, Indices, Structure
from overparam.sparse.layers.autograd import DTYPES, Link, forget_programs
from overparam.sparse.layers.dense_copies import DenseCopy, check_dense
from overparam.sparse.layers.nonzeros import Family, Made, check_indices, checksum_of, is_mixed, random_indices, version

Dense = nn.Linear | nn.Conv1d | nn.Conv2d
KEPT_STRUCTURES = 8  # input sizes that a layer remembers the lists of


class SparseLayer(nn.Module):
    """Base of layers with a sparse weight; make one with a subclass or with :meth:`from_dense`.

    Attributes:
        values: the nonzeros, (1, 1, nonzeros), in the order of the dense weight's flattened elements. Some may be 0: a
            nonzero is a weight that is there and is trained. It has three axes so that rules for parameters of two or
            more, such as weight decay, hold for it as for the dense weight, and those for matrices, such as Muon, not.
        bias: (outputs,), or None.
        indices: flat indices of the nonzeros into the dense weight, (nonzeros,), int64, ascending; in the state_dict,
            but no buffer, which would be averaged. Not to be changed in place.
        checksum: of shape and indices, (32,), float32, each -1 or 1: a buffer, so that it goes wherever values are
            copied or averaged, and tells if they were mixed with those of other nonzeros.
        shape: of the dense weight, (outputs, inputs / groups, *kernel).

    Loading a state_dict with other nonzeros changes the layer's; an optimiser's state is then to be loaded too. To
    change them during training see :func:`overparam.sparse.rewire`. It computes in float32 or float64, on the CPU.
    """

    DENSE: ClassVar[type[Any]]
    kinds: ClassVar[dict[type[nn.Module], type[SparseLayer]]] = {}
    values: nn.Parameter
    bias: nn.Parameter | None
    checksum: Tensor
    shape: tuple[int, ...]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "DENSE" in vars(cls):
            SparseLayer.kinds[cls.DENSE] = cls

    def __init__(
        self,
        *arguments: Any,
        density: float | Fraction | None = None,
        indices: Tensor | None = None,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **named: Any,
    ) -> None:
        super().__init__()
        dtype = dtype or torch.get_default_dtype()
        if dtype not in DTYPES:
            raise SpecError(f"dtype must be torch.float32 or torch.float64, got {dtype}")
        device = torch.device(device or torch.get_default_device())
        if device.type not in ("cpu", "meta"):
            raise SpecError(f"device must be 'cpu' or 'meta', as sparse layers compute on the CPU, got '{device}'")
        dense = self._dense(*arguments, **named)
        for name in self.DENSE.__constants__:
            setattr(self, name, getattr(dense, name))
        self.shape = shape = tuple(dense.weight.shape)
        size = math.prod(shape)
        if (density is None) == (indices is None):
            raise SpecError("give either density (for a random structure) or indices (of the nonzeros), not both")
        if density is not None:
            count = exact_count(exact_density(density), size)
        elif indices is not None:
            check_indices(indices, size)
            count = len(indices)
        if count > LARGEST:
            raise SpecError(f"a sparse layer can have {LARGEST:,} nonzeros, got {count:,}; use a lower density")
        self._keep(random_indices(count, size, generator) if indices is None else indices.clone())
        self.values = nn.Parameter(torch.empty(1, 1, count, device=device, dtype=dtype))
        bias = None if dense.bias is None else nn.Parameter(torch.empty(shape[0], device=device, dtype=dtype))
        self.register_parameter("bias", bias)
        self.register_buffer("checksum", checksum_of(self._places, shape).to(device))
        self._structures = Made()
        self._family = Family([self])
        self.reset_parameters(generator)

    @classmethod
    def _dense(cls, *arguments: Any, **named: Any) -> Any:
        """Return a dense layer of these arguments, without memory."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns that there is nothing to draw for a weight of no elements
            try:
                dense = cls.DENSE(*arguments, **named, device="meta")
            except (TypeError, ValueError, RuntimeError, ZeroDivisionError) as error:
                raise SpecError(f"{cls.__name__}: {in_words(error)}") from error
        cls._check(dense)
        return dense

    @classmethod
    def _check(cls, dense: Any) -> None:
        """Raise SpecError if there is no sparse layer like a dense one."""

    @classmethod
    def _arguments(cls, layer: Any) -> dict[str, Any]:
        """Return what a layer, dense or sparse, was made with, but for the bias."""
        return {name: getattr(layer, name) for name in inspect.signature(cls.DENSE).parameters if name in vars(layer)}

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw values and bias anew, as torch does but with the inputs that each unit has on average.

        Values are uniform within ``1 / sqrt(fan_in * density)``, where ``fan_in * density`` (at least 1) is the mean
        number of nonzeros of the layer's rows; the bias is uniform within ``1 / sqrt(fan_in)``, as in torch. So
        activations keep the size that they have in a dense network. One bound serves the whole layer; the reference
        also has one for each unit.

        Reference: Evci et al., Gradient Flow in Sparse Neural Networks, AAAI 2022, https://arxiv.org/abs/2010.03533
        """
        fan_in = math.prod(self.shape[1:])
        mean = max(self.nonzeros / max(self.shape[0], 1), 1.0)
        with torch.no_grad():
            self.checksum.copy_(checksum_of(self._places, self.shape))
            self.values.uniform_(-1 / math.sqrt(mean), 1 / math.sqrt(mean), generator=generator)
            if self.bias is not None:
                bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
                self.bias.uniform_(-bound, bound, generator=generator)

    @property
    def indices(self) -> Tensor:
        """Flat indices of the nonzeros, (nonzeros,), int64, ascending."""
        return self._indices

    @property
    def nonzeros(self) -> int:
        """Number of weights that are there."""
        return len(self._indices)

    @property
    def density(self) -> float:
        """Nonzeros divided by the size of the dense weight; 1 if that has no elements."""
        size = math.prod(self.shape)
        return self.nonzeros / size if size else 1.0

    def mask(self) -> Tensor:
        """Return where the nonzeros are: bool, of the dense shape (which it allocates)."""
        return self.spread(torch.ones(self.nonzeros, dtype=torch.bool, device="cpu"))

    @property
    def weight(self) -> DenseCopy:
        """``weight()`` returns the dense weight, 0 where there is no nonzero; a copy, without gradient."""
        return DenseCopy(self._weight)

    def _weight(self) -> Tensor:
        self.check_nonzeros()
        return self.spread(self.values.detach())

    def spread(self, numbers: Tensor) -> Tensor:
        """Return a tensor of the dense shape with ``numbers``, one for each nonzero, in their places, else 0."""
        found = numbers.new_zeros(math.prod(self.shape))
        found[self._indices.to(found.device)] = numbers.reshape(-1)
        return found.reshape(self.shape)

    def gather(self, dense: Tensor) -> Tensor:
        """Return the elements at the nonzeros of a tensor of the dense shape, in the form of ``values``."""
        return dense.reshape(-1)[self._indices.to(dense.device)].view(1, 1, -1)

    @classmethod
    def from_dense(cls, layer: Dense, mask: Tensor | None = None) -> Self:
        """Return a sparse copy of a dense layer: its weights where ``mask`` (bool, the weight's shape) is True.

        Without a mask these are the weights other than 0. Values and bias keep their bits and dtype. Called on
        :class:`SparseLayer` the kind of layer decides; on a subclass the layer must be of that kind.

        Raises :class:`SpecError` for another kind of layer, a wrong mask, a padding mode other than zeros, a dtype
        other than float32 and float64, or a device other than the CPU; and for what a copy would lose: hooks, a
        parametrisation, a ``forward`` of its own.
        """
        kinds = {dense: sparse for dense, sparse in SparseLayer.kinds.items() if issubclass(sparse, cls)}
        for dense, sparse in kinds.items():
            if isinstance(layer, dense):
                check_dense(layer, dense)
                return sparse._copied(layer, mask)
        names = " or ".join(f"nn.{dense.__name__}" for dense in kinds)
        raise SpecError(f"layer must be an {names}, got {type(layer).__name__}")

    @classmethod
    def _copied(cls, layer: Any, mask: Tensor | None) -> Self:
        weight = layer.weight.detach()
        if mask is None:
            mask = weight != 0
        elif mask.dtype != torch.bool or mask.shape != weight.shape:
            raise SpecError(
                f"mask must be a bool tensor of shape {tuple(weight.shape)}, got {mask.dtype} of {tuple(mask.shape)}"
            )
        # a generator of its own: values are overwritten, and the global one must not notice
        options = {
            "generator": torch.Generator(),
            "device": "cpu",
            "dtype": weight.dtype,
            "bias": layer.bias is not None,
        }
        made = cls(**cls._arguments(layer), indices=mask.reshape(-1).nonzero().reshape(-1).cpu(), **options)
        made.values.data = made.gather(weight)
        made.values.requires_grad_(layer.weight.requires_grad)
        if layer.bias is not None and made.bias is not None:
            made.bias.data = layer.bias.detach().clone()
            made.bias.requires_grad_(layer.bias.requires_grad)
        return made.train(layer.training)

    def to_dense(self) -> Any:
        """Return the dense layer (nn.Linear, nn.Conv1d or nn.Conv2d) with this weight, +0.0 where there is no nonzero.

        Values and bias are copies and keep their bits; so do ``requires_grad`` and ``training``.
        """
        made = self._dense(**self._arguments(self), bias=self.bias is not None)
        made.weight = nn.Parameter(self.weight(), requires_grad=self.values.requires_grad)
        if self.bias is not None:
            made.bias = nn.Parameter(self.bias.detach().clone(), requires_grad=self.bias.requires_grad)
        return made.train(self.training)

    def replace_nonzeros(self, indices: Tensor, values: Tensor) -> None:
        """Give the layer other nonzeros: flat ``indices`` (int64, ascending) and as many ``values``, which it keeps.

        The parameter stays the same object, its gradient becomes None. Optimisers' states and averages do not follow:
        :func:`overparam.sparse.rewire` carries them along. Raises :class:`SpecError` for others, or if something else
        than the layer makes its values.
        """
        check_indices(indices, math.prod(self.shape))
        if values.shape not in ((len(indices),), (1, 1, len(indices))) or values.dtype != self.values.dtype:
            raise SpecError(
                f"values must be {self.values.dtype} of shape {tuple(indices.shape)} like indices, "
                f"got {values.dtype} of {tuple(values.shape)}"
            )
        if "values" not in self._parameters:
            remedy = "call torch.nn.utils.prune.remove(layer, 'values') first"
            raise SpecError(f"nonzeros cannot be replaced while torch.nn.utils.prune makes its values; {remedy}")
        self.values.grad = None
        self.values.data = values.detach().reshape(1, 1, -1).contiguous()
        self._keep(indices.clone())
        with torch.no_grad():
            self.checksum.copy_(checksum_of(self._places, self.shape))
        for old in self._structures.values():  # at once, so that a backward under way notices
            old.current = False
            forget_programs(old)
        self._structures.clear()

    def _keep(self, indices: Tensor) -> None:
        """Keep indices as a tensor and, for what may run under torch.func, as an array of the same memory."""
        self._indices = indices
        self._places: Indices = indices.numpy()

    def copies(self) -> list[SparseLayer]:
        """Return what is left of the layers that are copies of this one, or the other way round, with its nonzeros."""
        family = [each for each in self._family if isinstance(each, SparseLayer) and each is not self]
        return [each for each in family if torch.equal(each.indices, self._indices)]

    def link(self, inputs: Sequence[int], relu: bool = False) -> Link:
        """Return what a row of layers needs of this one; ``inputs`` are the sizes (*positions, features) of an input.

        Raises :class:`SpecError` if the layer does not take such inputs.
        """
        raise NotImplementedError

    def _structure(self, positions: tuple[int, ...]) -> Structure:
        """Return the lists for images of these sizes, built if they are new."""
        now = version(self.checksum), version(self._indices)
        seen = self._structures.seen
        if seen is None or seen[0]() is not self.checksum or seen[1] != now:
            self.check_nonzeros()
            self._structures.seen = weakref.ref(self.checksum), now
        if positions not in self._structures:
            if len(self._structures) == KEPT_STRUCTURES:
                forget_programs(self._structures.pop(next(iter(self._structures))))
            self._structures[positions] = self._build(positions)
        found: Structure = self._structures[positions]
        return found

    def check_nonzeros(self) -> None:
        """Raise :class:`SpecError` if the values may be those of other nonzeros, as its ``checksum`` tells."""
        if is_mixed(self.checksum, self._places, self.shape):
            raise SpecError(
                "the layer's values and nonzeros do not belong together: values were averaged with or copied from a "
                "layer of other nonzeros, or indices changed in place; change nonzeros with rewire(layer, ..., "
                "averages=[...]), which takes averages along, and copy with load_state_dict"
            )

    def _build(self, positions: tuple[int, ...]) -> Structure:
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Describe the layer in its repr."""
        return f"{self.DENSE.extra_repr(self)}, nonzeros={self.nonzeros}"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_structures": Made()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._keep(self._indices)
        self._family.add(self)

    def __delattr__(self, name: str) -> None:
        if name == "values" and name in self._parameters:  # torch fails halfway: its ModuleDict has such a method
            raise SpecError(
                "the values of a sparse layer can be neither deleted nor parametrised; parametrise a dense layer, as "
                "to_dense() returns it, or change values after each step of the optimiser"
            )
        super().__delattr__(name)

    def __prepare_scriptable__(self) -> NoReturn:
        raise SpecError(
            "a sparse layer cannot be scripted; take torch.export, torch.jit.trace, or script its to_dense()"
        )

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}indices"] = self._indices.clone()  # what averages it in place does no harm

    def _load_from_state_dict(self, state_dict: Any, prefix: str, metadata: Any, strict: bool, *lists: Any) -> None:
        missing, unexpected, errors = lists
        name = f"{prefix}indices"
        if name in state_dict:
            given = [state_dict.get(f"{prefix}{each}") for each in ("indices", "checksum", "values")]
            try:
                self._take_indices(*given)
            except SpecError as error:
                errors.append(f"{name}, values and checksum do not fit {self}: {error}")
                return
        elif strict:
            missing.append(name)
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, *lists)
        if name in unexpected:  # to torch, which knows parameters and buffers
            unexpected.remove(name)

    def _take_indices(self, indices: Tensor, checksum: Tensor | None, values: Tensor | None) -> None:
        """Take the indices of a state_dict, whose values are about to be loaded."""
        check_indices(indices, math.prod(self.shape))
        if checksum is not None and is_mixed(checksum, indices.numpy(), self.shape):
            raise SpecError("they are an average over layers of other nonzeros, or of their indices")
        if values is not None and values.shape != (1, 1, len(indices)):
            raise SpecError(f"values must be of shape {(1, 1, len(indices))}, got {tuple(values.shape)}")
        if not torch.equal(indices, self._indices):
            self.replace_nonzeros(indices, self.values.new_empty(len(indices)))
