"""A Gymnasium environment whose observations are attacked."""

from __future__ import annotations

from typing import Any

import gymnasium
import torch

from advwrap.attacks import Attack
from advwrap.clock import EpisodeClock
from advwrap.sets import Bounds
from advwrap.wrappers.beside import Beside
from advwrap.wrappers.entry import Key, copied, entry, locate, pick, put
from advwrap.wrappers.gymnasium.attacked import Attacked
from advwrap.wrappers.injection import Injection
from advwrap.wrappers.limits import bounds_of, box_of, widened
from advwrap.wrappers.stack import beneath


class AdversarialObs(Attacked):
    """The agent sees perturbed observations; the environment and its rewards stay as they are.

    The perturbation lives in the units and the dtype of the observation: put normalising wrappers
    beneath this one for a radius in normalised units. Images of integers are attacked as floats
    in 0..255 and rounded towards the true image.

    Noise comes from the seed of ``reset(seed=...)``, never from the environment's generator, so
    that an attacked and a clean episode with one seed start from the same state.

    Reads: the entries of a Dict observation, as context of the attack.
    Writes: ``info["clean_observation"]``, the true observation, at every reset and step.

    Args:
        env: The environment.
        attack: What perturbs; `Identity()` for nothing.
        key: Which entry of a Dict observation; a tuple of keys where nested.
        bounds: The valid range of perturbed values. By default the bounds of the space; wider ones
            (`UNBOUNDED`) widen the declared space.
        device: Where the attack computes.

    Raises:
        TypeError: If the observation is no Box of numbers.
        ValueError: If `key` names no entry, or (at a step) the observation holds NaN.

    Example:
        >>> from advwrap import LinfBall, RandomVertex
        >>> env = AdversarialObs(gymnasium.make("CartPole-v1"), RandomVertex(LinfBall(0.01)))
        >>> seen, info = env.reset(seed=0)
        >>> abs(seen - info["clean_observation"]).round(4)
        array([0.01, 0.01, 0.01, 0.01], dtype=float32)
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        attack: Attack,
        *,
        key: Key = None,
        bounds: Bounds | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        Attacked.__init__(self, env, attack=attack, key=key, bounds=bounds, device=device)
        space = env.observation_space
        self._path = locate(space, key)
        box = box_of(entry(space, self._path), what="observation")
        bounds = bounds_of(box, bounds)
        grown = widened(space, self._path, bounds)
        if grown is not space:
            self.observation_space = grown
        self._beside = Beside(space, omit=self._path)
        self._clock = EpisodeClock(1, salt=beneath(env, "AdversarialObs"))
        self._injection = Injection(attack, space=box, clock=self._clock, bounds=bounds, device=device)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset; the first observation is attacked as step 0 of the episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._begin(seed)
        return self._attacked(observation, info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step; only the observation changes."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        observation, info = self._attacked(observation, info)
        return observation, reward, terminated, truncated, info

    def _attacked(self, observation: Any, info: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        path = self._path
        known = self._beside(observation, info)
        clean = self._injection.rows(pick(observation, path))
        seen = self._injection(clean[None], known).reshape(clean.shape)
        # What is beneath may be attacked as well: its clean observation is the true one.
        if "clean_observation" not in info:
            truth = put(copied(observation), path, clean) if path else clean
            info = {**info, "clean_observation": truth}
        return put(observation, path, seen), info
