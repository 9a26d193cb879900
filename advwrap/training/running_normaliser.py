"""Observations in units of their running standard deviation, while an agent is trained.

The replay buffer keeps raw observations; they are normalised when they are used, with the present statistics, so that
one radius has one meaning for the whole batch.
"""

from __future__ import annotations

import numpy as np
import torch
from tensordict import TensorDictBase
from torch import Tensor, nn
from torchrl.data import Composite, Unbounded
from torchrl.envs import Transform

from advwrap.training.normaliser import Normaliser

RAW = "raw_observation"


class RunningNormaliser(nn.Module):
    """z = (o - mean) / std, with mean and std of everything seen so far.

    A feature that hardly moves (std below 1e-3) keeps its unit.

    Source: Chan, Golub, LeVeque, *Updating formulae and a pairwise algorithm for computing sample variances*, 1979.

    Args:
        features: Number of features.

    Shapes: [..., features] -> [..., features], float32.

    Example:
        >>> z = RunningNormaliser(1)
        >>> z.update(torch.tensor([[1.0], [3.0]]))
        >>> z(torch.tensor([[4.0]]))
        tensor([[2.]])
    """

    count: Tensor
    mean: Tensor
    squares: Tensor
    std: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(features, dtype=torch.float64))
        self.register_buffer("squares", torch.zeros(features, dtype=torch.float64))
        self.register_buffer("std", torch.ones(features, dtype=torch.float64))

    @torch.no_grad()
    def update(self, observation: Tensor) -> None:
        """Take in a batch, [..., features]."""
        rows = observation.reshape(-1, self.mean.numel()).to(self.mean)
        n = rows.shape[0]
        if n == 0:
            return
        centre = rows.mean(0)
        total = self.count + n
        shift = centre - self.mean
        self.squares += (rows - centre).square().sum(0) + shift.square() * (self.count * n / total)
        self.mean += shift * (n / total)
        self.count.copy_(total)
        std = (self.squares / total).sqrt()
        self.std.copy_(torch.where(std < 1e-3, 1.0, std))

    def forward(self, observation: Tensor) -> Tensor:
        """Normalise."""
        return ((observation - self.mean) / self.std).float()

    def frozen(self) -> Normaliser:
        """The present statistics, for good."""
        return Normaliser(self.mean.cpu().numpy().copy(), self.std.cpu().numpy().copy())

    def begin_with(self, known: Normaliser, count: float = 5_000.0) -> None:
        """Go on from statistics, as if they came from so many observations."""
        self.mean.copy_(torch.as_tensor(np.asarray(known.mean)))
        self.std.copy_(torch.as_tensor(np.asarray(known.std)))
        self.squares.copy_(self.std.square() * count)
        self.count.fill_(count)


class NormaliseRunning(Transform):  # type: ignore[misc]
    """Normalise the observations of an environment, and learn the statistics from them.

    Reads: ``observation``.

    Writes: ``observation``, normalised, and ``raw_observation``, both float32.

    Args:
        normaliser: The statistics; it may be shared by several environments and with `normalise_batch`.

    Example:
        >>> from torchrl.envs import GymEnv, TransformedEnv
        >>> z = RunningNormaliser(3)
        >>> data = TransformedEnv(GymEnv("Pendulum-v1"), NormaliseRunning(z)).rollout(4)
        >>> z.count.item(), data["raw_observation"].shape == data["observation"].shape
        (5.0, True)
    """

    def __init__(self, normaliser: RunningNormaliser) -> None:
        super().__init__(in_keys=["observation"], out_keys=["observation", RAW])
        self.__dict__["normaliser"] = normaliser  # shared with the losses, so not a part of this one

    def _call(self, next_tensordict: TensorDictBase) -> TensorDictBase:
        raw = next_tensordict.get("observation").float()
        self.normaliser.update(raw)
        return self._write(next_tensordict, raw)

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        raw = tensordict_reset.get("observation").float()
        which = None if tensordict is None else tensordict.get("_reset", None)
        # Environments that go on are in the tensordict too, with what they showed before.
        self.normaliser.update(raw if which is None else raw[which.squeeze(-1)])
        return self._write(tensordict_reset, raw)

    def _write(self, tensordict: TensorDictBase, raw: Tensor) -> TensorDictBase:
        return tensordict.set(RAW, raw).set("observation", self.normaliser(raw))

    def transform_observation_spec(self, observation_spec: Composite) -> Composite:
        """Unbounded, under both keys."""
        spec = observation_spec["observation"]
        for key in ("observation", RAW):
            observation_spec[key] = Unbounded(shape=spec.shape, dtype=torch.float32, device=spec.device)
        return observation_spec


def normalise_batch(normaliser: RunningNormaliser, batch: TensorDictBase) -> TensorDictBase:
    """Write what is seen and the truth, both normalised, at root and under ``next``.

    Reads: ``raw_observation``, at root and next.

    Writes: ``observation`` and ``clean_observation``, at root and next.

    Example:
        >>> from tensordict import TensorDict
        >>> z = RunningNormaliser(1)
        >>> z.update(torch.tensor([[1.0], [3.0]]))
        >>> raw = torch.tensor([[4.0]])
        >>> batch = TensorDict({RAW: raw, "next": TensorDict({RAW: raw + 1}, [1])}, [1])
        >>> batch = normalise_batch(z, batch)
        >>> batch["observation"], batch["next", "clean_observation"]
        (tensor([[2.]]), tensor([[3.]]))
    """
    for part in (batch, batch.get("next")):
        clean = normaliser(part.get(RAW))
        part.set("observation", clean).set("clean_observation", clean)
    return batch
