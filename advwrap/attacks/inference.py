"""Gradients inside `torch.inference_mode`: step out of it, with ordinary copies of the tensors."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor


def differentiable(call: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Let a gradient attack work for callers in `torch.inference_mode` and for tensors that were made there.

    Autograd refuses both; a copy made outside is an ordinary tensor. Costs two look-ups where nothing is to be done.
    """

    @wraps(call)
    def outside(attack: Any, clean: Tensor, *, context: Any = None, **options: Any) -> Tensor:
        if torch.compiler.is_compiling():  # a graph has no inference mode to step out of
            return call(attack, clean, context=context, **options)
        if not (torch.is_inference_mode_enabled() or (isinstance(clean, Tensor) and clean.is_inference())):
            return call(attack, clean, context=context, **options)
        with torch.inference_mode(False):
            return call(attack, clean.clone(), context=_ordinary(context), **options)

    return outside


def _ordinary(context: Any) -> Any:
    if context is None or not isinstance(context, dict):
        return None if context is None else context.clone()
    return {key: value.clone() if isinstance(value, Tensor) else value for key, value in context.items()}
