"""The released HalfCheetah victims and the recorded attacks, read from the folder that ADVWRAP_GROUND_TRUTH names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from safetensors.torch import load_file
from torch import Tensor, nn

EPS = 0.15
"""Radius in normalised units."""


def ground_truth() -> Path:
    """The folder with the reference data, or skip the test with the reason."""
    folder = os.environ.get("ADVWRAP_GROUND_TRUTH")
    if not folder:
        pytest.skip("ADVWRAP_GROUND_TRUTH is not set: the released victims are not part of the project")
    path = Path(folder).resolve()
    if not (path / "golden").is_dir():
        pytest.skip(f"ADVWRAP_GROUND_TRUTH={folder} has no folder 'golden'")
    return path


def mlp(tensors: dict[str, Tensor], prefix: str, last: str) -> nn.Sequential:
    """f(x) = W_out tanh(W_1 tanh(W_0 x + b_0) + b_1) + b_out."""
    layers: list[nn.Module] = []
    for name in (f"{prefix}.affine_layers.0", f"{prefix}.affine_layers.1", f"{prefix}.{last}"):
        weight = tensors[f"{name}.weight"]
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": weight, "bias": tensors[f"{name}.bias"]})
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


class Victim(NamedTuple):
    """A released agent; its networks read z = clip((o - mean) / (std + 1e-8), -10, 10)."""

    policy: nn.Sequential
    value: nn.Sequential
    std: Tensor
    adversary: nn.Sequential
    obs_mean: np.ndarray
    obs_std: np.ndarray

    def normalise(self, observation: np.ndarray) -> np.ndarray:
        """What the victim reads."""
        z = (observation - self.obs_mean) / (self.obs_std + 1e-8)
        return np.clip(z, -10, 10).astype(np.float32)


def victim(name: str) -> Victim:
    """The PPO ("ppo") or SA-PPO ("sappo") agent and the learned adversary found against it."""
    stem = {"ppo": "ppo-halfcheetah", "sappo": "sappo-convex-halfcheetah"}[name]
    folder = ground_truth() / "halfcheetah" / name
    model = load_file(folder / f"model-{stem}.safetensors")
    attack = load_file(folder / f"attack-{stem}.safetensors")
    return Victim(
        policy=mlp(model, "policy", "final_mean"),
        value=mlp(model, "value", "final"),
        std=model["policy.log_stdev"].exp(),
        adversary=mlp(attack, "adversary_policy", "final_mean"),
        obs_mean=model["obs_norm.mean"].numpy(),
        obs_std=model["obs_norm.std"].numpy(),
    )


def recorded() -> dict[str, Tensor]:
    """Inputs, random draws and outputs of the reference attacks."""
    return load_file(ground_truth() / "golden" / "atla_halfcheetah.safetensors")


def rs_mad_ratio() -> float:
    """The weight r that the recording of RS+MAD used."""
    text = (ground_truth() / "golden" / "atla_halfcheetah.json").read_text()
    return float(json.loads(text)["rs_mad_ratio"])
