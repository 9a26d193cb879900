"""What the transforms of observations and of actions share: an attack, and a clock."""

from __future__ import annotations

import copy
import multiprocessing
import os
import weakref
from collections.abc import Callable
from typing import Any, Self

import torch
from tensordict import TensorDictBase
from tensordict.utils import NestedKey, unravel_key
from torch import Tensor
from torchrl.envs import EnvBase, Transform, TransformedEnv

from advwrap.attacks import Attack
from advwrap.attacks.copies import warn_of_copies
from advwrap.clock import EpisodeClock
from advwrap.errors import check
from advwrap.modules.rows import Rows
from advwrap.randomness import entropy
from advwrap.sets import Bounds
from advwrap.transforms.agents import Mask, apart
from advwrap.transforms.collector import OnCollectedPolicy
from advwrap.transforms.limits import Facts
from advwrap.transforms.reach import beneath, env_of, listed, reach

Settle = Callable[[Tensor, Tensor, Rows], Tensor]
"""``settle(attacked, clean, context) -> rows``: what becomes of attacked rows."""


class Clocked(Transform):  # type: ignore[misc]
    """A transform with an attack, whose randomness and counts come from an `EpisodeClock`.

    The clock has one row per environment and agent. ``env.set_seed(s)`` seeds row i with s + i, and
    the next reset begins episode 0: what ``reset(seed=s)`` does in Gymnasium, so that one seed
    gives one perturbation. Inside a `SerialEnv` or `ParallelEnv` each transform gets the seed that
    TorchRL gives to its environment.

    Args:
        attack: The attack, or how to make it from the collector's policy.
        key: The entry that is attacked.
        bounds: Its valid range; None for that of the spec.
        salt: Added to the salt of the clock.
        keys: For `Transform`.
    """

    def __init__(
        self,
        attack: Attack | OnCollectedPolicy,
        key: NestedKey,
        *,
        bounds: Bounds | None,
        salt: int = 0,
        **keys: Any,
    ) -> None:
        super().__init__(**keys)
        if isinstance(attack, type) or not (callable(attack) or isinstance(attack, OnCollectedPolicy)):
            raise TypeError(
                f"`attack` must be an attack, got {attack!r}. Fix: Noise(LinfBall(0.1)), or Identity() for none."
            )
        self.attack = attack
        self.key = unravel_key(key)
        self.given_bounds = bounds
        self.salt = salt
        self._seed = entropy()
        self._clock: EpisodeClock | None = None
        self._saved: dict[str, Tensor] = {}  # counts of a checkpoint, until there is a clock
        self._made: tuple[Any, Attack] | None = None
        self._depth: tuple[Attack, int] | None = None
        self._facts: Facts | None = None
        self._process: int | None = None
        self._home: weakref.ref[EnvBase] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("attack", "_made", "_depth"):
            # Networks inside an attack must not become parts of the environment.
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def read_specs(self) -> Facts:
        """What the specs say about the attacked entry."""
        raise NotImplementedError

    def _known(self) -> Facts:
        if self._facts is None:
            facts = self.read_specs()
            given = self.given_bounds
            self._facts = facts if given is None else Facts(facts.agents, given)
        return self._facts

    def _salt(self) -> int:
        """Stacked attacks draw different noise; groups of agents differ by the agents' numbers."""
        env = env_of(self)
        alike = (other for other in beneath(self) if type(other) is type(self))
        return self.salt + sum(not apart(env, self.key, other.key) for other in alike)

    def seed(self, seed: int | None) -> None:
        """Seed row i with `seed` + i (with fresh entropy for None); the next reset is episode 0."""
        self._seed = entropy() if seed is None else int(seed) % 2**63
        self._saved = {}
        if self._clock is not None:
            self._restart(self._clock)

    def clock_for(self, rows: int) -> EpisodeClock:
        """The clock, a new one if there is none yet for so many environments."""
        if self._clock is None or self._clock.rows != rows:
            agents = self._known().agents.total
            self._clock = EpisodeClock(rows, salt=self._salt(), agents=agents)
            self._restart(self._clock)
        if self._saved:
            self._clock.load_state_dict(self._saved)
            self._saved = {}
        return self._clock

    def begin_episodes(self, tensordict: TensorDictBase, rows: int) -> tuple[EpisodeClock, Mask | None]:
        """Let the clock begin the episodes of a reset; the mask says whose, None for all."""
        self._check_process()
        clock, mask = self.clock_for(rows), None
        for key in self.container.reset_keys:
            value = tensordict.get(key, None)
            if value is not None:
                mask = some(value, rows)
                break
        clock.start(slice(None) if mask is None else mask)
        return clock, mask

    def _check_process(self) -> None:
        """Warn once in a worker process, where the attack is a copy."""
        if self._process == os.getpid():
            return
        self._process = os.getpid()
        known_here = isinstance(self.attack, OnCollectedPolicy)
        if multiprocessing.parent_process() is not None and not known_here:
            warn_of_copies(
                [self.attack],
                fix="put the transform around the ParallelEnv; in a collector with several "
                "processes, use advwrap.modules.attacked_policy(policy, attack) or the attack "
                "OnCollectedPolicy(lambda policy: ...).",
                stacklevel=3,
            )

    def in_episodes(self, tensordict: TensorDictBase, rows: int) -> tuple[EpisodeClock, Mask | None]:
        """The clock of a step; the mask says which environments make it, None for all.

        Raises:
            ValueError: If other environments were reset.
        """
        known = len(self._saved.get("seeds", ())) if self._clock is None else self._clock.rows
        check(
            known == rows,
            f"the step has {rows} environments, but {known} were reset.",
            fix="reset the environment with the batch that is stepped.",
        )
        acting = tensordict.get("_step", None)
        return self.clock_for(rows), None if acting is None else some(acting, rows)

    def _restart(self, clock: EpisodeClock) -> None:
        clock.seed([self._seed + row for row in range(clock.rows)])
        # Every reset begins the next episode, and the first one shall be episode 0.
        clock.episode -= 1

    def set_container(self, container: Transform | TransformedEnv) -> None:
        """Attach to an environment, and let its `set_seed` reach this transform.

        Raises:
            AttributeError: If it is in another environment already, also as a part of a `Compose`.
        """
        super().set_container(container)
        self._facts = None
        env = env_of(self)
        if isinstance(env, TransformedEnv):
            self._move_to(env)
            reach(env, self)

    def _move_to(self, env: TransformedEnv) -> None:
        """TorchRL refuses a transform a second environment, but moves a `Compose` there without a word."""
        home = None if self._home is None else self._home()
        if home is not None and home is not env and self in listed(home.transform):
            home.transform.reset_parent()
            home.transform.set_container(home)  # as it was
            raise AttributeError(
                f"{type(self).__name__} is in another environment already, and its clock counts the steps of that one. "
                "Fix: `transform.clone()` for the second environment, of the whole Compose where it is in one."
            )
        self._home = weakref.ref(env)

    def __getstate__(self) -> dict[str, Any]:
        """Without the reference to the environment, which cannot be pickled."""
        return {**super().__getstate__(), "_home": None}

    def empty_cache(self) -> None:
        """Forget what was read from the specs."""
        super().empty_cache()
        self._facts = None

    def clone(self) -> Self:
        """A copy with the same attack and a clock of its own."""
        twin = super().clone()
        twin._clock = copy.deepcopy(self._clock)
        return twin  # type: ignore[no-any-return]

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}seed"] = torch.tensor(self._seed)
        counts = self._saved if self._clock is None else self._clock.state_dict()
        destination.update({f"{prefix}clock.{name}": count for name, count in counts.items()})

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        metadata: Any,
        strict: bool,
        missing: list[str],
        unexpected: list[str],
        errors: list[str],
    ) -> None:
        own = [k for k in state_dict if k == f"{prefix}seed" or k.startswith(f"{prefix}clock.")]
        others = {key: value for key, value in state_dict.items() if key not in own}
        super()._load_from_state_dict(others, prefix, metadata, strict, missing, unexpected, errors)
        if f"{prefix}seed" not in own:
            missing.append(f"{prefix}seed")
            return
        self._seed, self._clock = int(state_dict[f"{prefix}seed"]), None
        start = f"{prefix}clock."
        self._saved = {k.removeprefix(start): state_dict[k] for k in own if k.startswith(start)}


def some(value: Tensor, rows: int) -> Mask | None:
    """A flag per environment, of any shape behind that; None where all are set."""
    mask: Mask = value.reshape(rows, -1).any(1).numpy(force=True)
    return None if mask.all() else mask
