"""Losses: what a network minimises beside, or instead of, the losses of TorchRL."""

from advwrap.losses.smooth_policy import SmoothPolicy, kl_divergence, mean_shift

__all__ = ["SmoothPolicy", "kl_divergence", "mean_shift"]
