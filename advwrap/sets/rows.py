"""Reductions over the features of a row: everything but the first axis."""

from __future__ import annotations

import torch
from torch import Tensor


def flat(x: Tensor) -> Tensor:
    """[B, ...] -> [B, features]."""
    return x.reshape(x.shape[0], x[:1].numel() if x.shape[0] else x.shape[1:].numel())


def all_features(condition: Tensor) -> Tensor:
    """[B, ...] -> [B], true where it holds for every feature."""
    return condition.all() if condition.ndim == 0 else flat(condition).all(1)


def per_row(values: Tensor, like: Tensor) -> Tensor:
    """[B] -> [B, 1, ..., 1], so that one value per row broadcasts over the features of `like`."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def divide(numerator: Tensor, denominator: Tensor | float) -> Tensor:
    """Numerator / denominator with 0 / 0 = 0: a feature of radius 0 that did not move."""
    quotient = numerator / denominator
    return torch.where(numerator == 0, torch.zeros_like(quotient), quotient)
