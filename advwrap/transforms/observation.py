"""A TorchRL environment whose observations are attacked."""

from __future__ import annotations

from typing import Any, Self

import torch
from tensordict import TensorDictBase
from tensordict.utils import NestedKey, unravel_key
from torchrl.data import Bounded, Composite, Unbounded

from advwrap.attacks import Attack
from advwrap.clock import EpisodeClock
from advwrap.errors import check
from advwrap.modules import Perturb
from advwrap.modules.rows import Rows, beside
from advwrap.sets import UNBOUNDED, Bounds
from advwrap.transforms.agents import Mask
from advwrap.transforms.collector import OnCollectedPolicy
from advwrap.transforms.injecting import Injecting
from advwrap.transforms.limits import Facts, facts_of, spec_of


class AdversarialObs(Injecting):
    """The agent sees perturbed observations; the environment and its rewards stay as they are.

    ::

        env = TransformedEnv(
            GymEnv("Hopper-v5"),
            Compose(InitTracker(), DoubleToFloat(), ObservationNorm(...), AdversarialObs(attack)),
        )

    Normalisation, and for recurrent victims `InitTracker` and the primer of the hidden state, come
    before it: the radius is in the units of what comes out of them, and the attack reads what they
    write. All environments of a batch and all agents of a group are attacked in one call. Put it
    around a `SerialEnv` or `ParallelEnv` rather than inside.

    ``env.set_seed(s)`` seeds row i with s + i. The clock (the seeds and the counts that budgets
    read) is in the `state_dict`. Only reset and step attack; the environment's own randomness and
    the global one are not touched. Of stacked attacks on one key, each perturbs what it gets, and
    `clean_key` stays the truth.

    In a replay buffer (`forward`), root and ``"next"`` of a sample are perturbed from the clean
    key, as `Perturb` does. Do not use it there with prefetching, which runs in another thread.

    Args:
        attack: What perturbs; `Identity()` for nothing; `OnCollectedPolicy` for the policy of the
            collector. May be replaced at any time.
        key: What is attacked. In a group of agents, ``("agents", "observation")``, every agent is
            a row.
        clean_key: Where the truth is written; by default beside `key`.
        bounds: The valid range, by default that of the observation spec.
        salt: Another number is other noise for the same seed.

    Reads: `key`, and what the victim reads.

    Writes: `key`, `clean_key`, at reset and at step.

    Raises:
        KeyError: If the environment has no such observation.
        ValueError: If an observation holds NaN in the middle of an episode, or `key` is the state
            of an environment that keeps none itself.

    Example:
        >>> import torch
        >>> from torchrl.envs import GymEnv, TransformedEnv
        >>> from advwrap import LinfBall, RandomVertex
        >>> attack = RandomVertex(LinfBall(0.25))
        >>> env = TransformedEnv(GymEnv("CartPole-v1"), AdversarialObs(attack))
        >>> step = env.rollout(1)[0]
        >>> bool((step["observation"] - step["clean_observation"]).abs().max() <= 0.25)
        True
    """

    def __init__(
        self,
        attack: Attack | OnCollectedPolicy,
        *,
        key: NestedKey = "observation",
        clean_key: NestedKey | None = None,
        bounds: Bounds | None = None,
        salt: int = 0,
    ) -> None:
        name = unravel_key(key)
        self.clean_key = beside(name, "clean_") if clean_key is None else unravel_key(clean_key)
        super().__init__(
            attack,
            name,
            bounds=bounds,
            salt=salt,
            in_keys=[name],
            out_keys=[name, self.clean_key],
        )
        self._innermost = True
        self.replay = self._replay()

    def read_specs(self) -> Facts:
        """From the observation spec beneath."""
        env = self.parent
        check(
            self.key not in env.full_state_spec.keys(True, True),
            f"{self.key!r} is the state that the environment reads back at the next step: attacking "
            "it would change the environment.",
            fix="attack a copy, RenameTransform([key], ['observation'], create_copy=True).",
        )
        return facts_of(env, env.full_observation_spec, self.key, "observation")

    def transform_observation_spec(self, observation_spec: Composite) -> Composite:
        """Add the clean entry; forget the limits of the perturbed one where `bounds` differ."""
        spec = spec_of(observation_spec, self.key, "observation")
        if self.clean_key not in observation_spec.keys(True, True):
            observation_spec[self.clean_key] = spec.clone()
        if self.given_bounds is not None and isinstance(spec, Bounded):
            observation_spec[self.key] = Unbounded(shape=spec.shape, device=spec.device, dtype=spec.dtype)
        return observation_spec

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        clock, mask = self.begin_episodes(tensordict, tensordict_reset.batch_size.numel())
        # What is written for the others is not read: TorchRL keeps what they had.
        self._perturb(clock, tensordict_reset, mask)
        return tensordict_reset

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        clock, mask = self.in_episodes(tensordict, next_tensordict.batch_size.numel())
        self._perturb(clock, next_tensordict, mask)
        if mask is not None:
            # An environment that rests shows what it showed before.
            for key in (self.key, self.clean_key):
                before, after = tensordict.get(key), next_tensordict.get(key)
                acts = torch.from_numpy(mask).to(after.device).reshape(tensordict.batch_size)
                acts = acts.reshape(*acts.shape, *[1] * (after.ndim - acts.ndim))
                next_tensordict.set(key, torch.where(acts, after, before))
        return next_tensordict

    def _reset_on_native_autoreset(
        self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase
    ) -> TensorDictBase:
        """The step already brought the first observation of the next episode: attack it as such."""
        clock, mask = self.begin_episodes(tensordict, tensordict_reset.batch_size.numel())
        rows = Rows([tensordict_reset], self.key)
        seen = rows.flat(self.key, [tensordict_reset.get(self.key)])
        clean = rows.get(self.clean_key) if self._innermost else seen
        seen = self.inject(clock, tensordict_reset, clean, mask=mask, others=seen)
        tensordict_reset.set(self.key, rows.unflat(seen)[0])
        return tensordict_reset

    def _perturb(self, clock: EpisodeClock, data: TensorDictBase, mask: Mask | None) -> None:
        """Attack these environments; write both entries."""
        value = data.get(self.key, None)
        if value is None:
            raise KeyError(f"`key` must name an observation, got {self.key!r}. Fix: key=...")
        rows = Rows([data], self.key)
        clean = rows.flat(self.key, [value])
        self._innermost = data.get(self.clean_key, None) is None
        if self._innermost:
            data.set(self.clean_key, value)
        data.set(self.key, rows.unflat(self.inject(clock, data, clean, mask=mask))[0])

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Perturb a sample of a replay buffer, from the clean key."""
        self.replay.attack = self.current_attack()
        self.replay.next = tensordict.get("next", None) is not None
        return self.replay(tensordict)

    def seed(self, seed: int | None) -> None:
        """Seed row i with `seed` + i (with fresh entropy for None); the next reset is episode 0."""
        super().seed(seed)
        self.replay.seed(seed)

    def clone(self) -> Self:
        """A copy with the same attack, and with a clock of its own."""
        twin = super().clone()
        twin.replay = self._replay()
        twin.replay.streams.load_state_dict(self.replay.streams.state_dict())
        return twin

    def _replay(self) -> Perturb:
        bounds = UNBOUNDED if self.given_bounds is None else self.given_bounds
        attack: Any = self.attack
        return Perturb(attack, self.key, self.clean_key, bounds=bounds)
