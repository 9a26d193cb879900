"""What the transforms of observations and of actions share: an attack, and a clock."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDictBase
from tensordict.utils import NestedKey, unravel_key
from torch import Tensor
from torchrl.envs import Transform, TransformedEnv

from advwrap.attacks import Attack
from advwrap.clock import EpisodeClock
from advwrap.errors import check
from advwrap.modules.rows import Rows
from advwrap.randomness import entropy
from advwrap.sets import Bounds
from advwrap.transforms.collector import OnCollectedPolicy
from advwrap.transforms.limits import check_no_nan
from advwrap.transforms.reach import beneath, env_of, reach

Mask = NDArray[np.bool_]
"""Which of the environments (or rows) are meant."""


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
        if not callable(attack) and not isinstance(attack, OnCollectedPolicy):
            raise TypeError(
                f"`attack` must be an attack, got {attack!r}. Fix: Noise(LinfBall(0.1)), or Identity() for none."
            )
        self.attack = attack
        self.key = unravel_key(key)
        self.given_bounds = bounds
        self.salt = salt
        self._seed = entropy()
        self._clock: EpisodeClock | None = None
        self._made: tuple[Any, Attack] | None = None
        self._facts: tuple[int, Bounds] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("attack", "_made"):
            # Networks inside an attack must not become parts of the environment.
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def read_specs(self) -> tuple[int, Bounds]:
        """How many agents share the attacked entry, and its valid range."""
        raise NotImplementedError

    def current_attack(self) -> Attack:
        """The attack, made from the collector's policy where it depends on that."""
        if not isinstance(self.attack, OnCollectedPolicy):
            return self.attack
        env = env_of(self)
        collector = None if env is None else env.collector
        policy = None if collector is None else collector.policy
        if policy is None:
            raise RuntimeError(
                f"{type(self).__name__} attacks the policy of a collector, but its environment is "
                "in none. Fix: run it in a collector, or give the transform the attack itself."
            )
        if self._made is None or self._made[0] is not policy:
            self._made = policy, self.attack.make(policy)
        return self._made[1]

    def inject(
        self,
        clock: EpisodeClock,
        data: TensorDictBase,
        clean: Tensor,
        *,
        extra: Mapping[Any, Tensor] | None = None,
        mask: Mask | None = None,
        others: Tensor | None = None,
    ) -> Tensor:
        """One attack call, counted by the clock.

        Args:
            clock: Whose rows they are.
            data: What the attack may read.
            clean: The true rows, [N, ...].
            extra: More that it may read, [N, ...].
            mask: Which environments take part; all by default.
            others: The rows of those that do not; by default the clean ones.
        """
        _, bounds = self._known()
        who = mask if mask is None or clock.agents == 1 else mask.repeat(clock.agents)
        chosen = None if who is None else torch.from_numpy(who).to(clean.device)
        rows = clean if chosen is None else clean[chosen]
        known: dict[Any, Any] = dict(clock.context(who))
        for name, value in ({} if extra is None else extra).items():
            known[name] = value if chosen is None else value[chosen]
        context = Rows([data], self.key, who=who, extra=known)
        if rows.is_floating_point() and bool(torch.isnan(rows).any()):
            check_no_nan(rows, self._over(context), self.key)
        seen = self.current_attack()(rows, context=context, bounds=bounds, generator=clock.streams(who))
        changed = (seen != rows).reshape(rows.shape[0], -1).any(1).numpy(force=True)
        if chosen is None:
            clock.record(changed)
            return seen
        attacked = np.zeros_like(who)
        attacked[who] = changed
        clock.record(attacked, who)
        merged = (clean if others is None else others).clone()
        merged[chosen] = seen
        return merged

    def _over(self, context: Rows) -> Tensor | None:
        """Which rows belong to an episode that has ended."""
        over = None
        for key in self.container.done_keys:
            done = context.get(key)
            if done is not None:
                done = done.reshape(done.shape[0], -1).any(1)
                over = done if over is None else over | done
        return over

    def _known(self) -> tuple[int, Bounds]:
        if self._facts is None:
            agents, bounds = self.read_specs()
            self._facts = agents, bounds if self.given_bounds is None else self.given_bounds
        return self._facts

    def seed(self, seed: int | None) -> None:
        """Seed row i with `seed` + i (with fresh entropy for None); the next reset is episode 0."""
        self._seed = entropy() if seed is None else int(seed) % 2**63
        if self._clock is not None:
            self._restart(self._clock)

    def clock_for(self, rows: int) -> EpisodeClock:
        """The clock, a new one if there is none yet for so many environments."""
        if self._clock is None or self._clock.rows != rows:
            agents, _ = self._known()
            self._clock = EpisodeClock(rows, salt=self.salt + beneath(self), agents=agents)
            self._restart(self._clock)
        return self._clock

    def begin_episodes(self, tensordict: TensorDictBase, rows: int) -> tuple[EpisodeClock, Mask | None]:
        """Let the clock begin the episodes of a reset; the mask says whose, None for all."""
        clock, mask = self.clock_for(rows), None
        for key in self.container.reset_keys:
            value = tensordict.get(key, None)
            if value is not None:
                mask = some(value, rows)
                break
        clock.start(slice(None) if mask is None else mask)
        return clock, mask

    def in_episodes(self, tensordict: TensorDictBase, rows: int) -> tuple[EpisodeClock, Mask | None]:
        """The clock of a step; the mask says which environments make it, None for all.

        Raises:
            ValueError: If other environments were reset.
        """
        known = 0 if self._clock is None else self._clock.rows
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
        """Attach to an environment, and let its `set_seed` reach this transform."""
        super().set_container(container)
        self._facts = None
        env = env_of(self)
        if isinstance(env, TransformedEnv):
            reach(env, self)

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
        counts = {} if self._clock is None else self._clock.state_dict()
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
        counts = {k.removeprefix(start): state_dict[k] for k in own if k.startswith(start)}
        if counts:
            env = env_of(self)
            locked = env is not None and env.batch_locked
            rows = env.batch_size.numel() if locked else len(counts["seeds"])
            self.clock_for(rows).load_state_dict(counts)


def some(value: Tensor, rows: int) -> Mask | None:
    """A flag per environment, of any shape behind that; None where all are set."""
    mask: Mask = value.reshape(rows, -1).any(1).numpy(force=True)
    return None if mask.all() else mask
