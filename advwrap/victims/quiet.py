"""Run a victim without leaving a trace in it: no dropout noise, no BatchNorm update, no changed mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import nn

_SAME_IN_BOTH_MODES: tuple[type[nn.Module], ...] = (
    nn.Linear, nn.Identity, nn.Tanh, nn.ReLU, nn.ELU, nn.SiLU, nn.GELU, nn.LeakyReLU, nn.Sigmoid, nn.Softplus,
    nn.Mish, nn.Flatten, nn.Unflatten, nn.LayerNorm, nn.Conv1d, nn.Conv2d, nn.Embedding,
    nn.Sequential, nn.ModuleList, nn.ModuleDict,
)  # fmt: skip

# By name, so that the libraries need not be there.
_SAME_ELSEWHERE = frozenset({
    "tensordict.nn.common.TensorDictModule",
    "tensordict.nn.distributions.continuous.AddStateIndependentNormalScale",
    "tensordict.nn.distributions.continuous.NormalParamExtractor",
    "tensordict.nn.sequence.TensorDictSequential",
    "torchrl.modules.models.models.MLP",
})  # fmt: skip


def mode_dependent(module: nn.Module) -> list[nn.Module]:
    """The parts of `module` that may behave differently in train and in eval mode.

    Everything that is not known to be the same in both: BatchNorm, dropout, recurrent layers, and almost any class that
    torch does not ship.

    Example:
        >>> from torch import nn
        >>> [type(m).__name__ for m in mode_dependent(nn.Sequential(nn.Linear(2, 2), nn.Dropout()))]
        ['Dropout']
    """
    return [m for m in module.modules() if not _same_in_both_modes(type(m))]


def _same_in_both_modes(kind: type[nn.Module]) -> bool:
    return kind in _SAME_IN_BOTH_MODES or f"{kind.__module__}.{kind.__qualname__}" in _SAME_ELSEWHERE


@contextmanager
def quietly(modules: list[nn.Module]) -> Iterator[None]:
    """Put these modules in eval mode for the duration of one forward pass, whatever happens in it.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> norm = nn.BatchNorm1d(3)
        >>> with quietly([norm]):
        ...     _ = norm(torch.randn(4, 3))
        >>> norm.training, int(norm.num_batches_tracked)
        (True, 0)
    """
    training = [m for m in modules if m.training]
    # cuDNN refuses the backward pass of a recurrent layer that ran in eval mode; the native kernels do not.
    native = torch.backends.cudnn.enabled and any(isinstance(m, nn.RNNBase) for m in modules)
    for m in training:
        m.__dict__["training"] = False
    try:
        with torch.backends.cudnn.flags(enabled=False) if native else nullcontext():
            yield
    finally:
        for m in training:
            m.__dict__["training"] = True
