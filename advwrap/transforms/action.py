"""A TorchRL environment that executes perturbed actions."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDictBase
from tensordict.utils import NestedKey, unravel_key
from torch import Tensor

from advwrap.attacks import Attack
from advwrap.clock import ACTIONS
from advwrap.modules.rows import Rows, beside, group_of
from advwrap.sets import Bounds
from advwrap.sets.rows import per_row
from advwrap.transforms.collector import OnCollectedPolicy
from advwrap.transforms.encoding import Encoding, encoding_of
from advwrap.transforms.injecting import Injecting
from advwrap.transforms.limits import Facts, facts_of, spec_of
from advwrap.transforms.reach import env_of
from advwrap.victims.context import CLEAN_ACTION, FIRST_ACTION


class AdversarialAction(Injecting):
    """The environment executes a perturbed action instead of the one that the agent chose.

    The radius is in the units of the action that reaches this transform: put it behind
    `ActionScaling` for those of the policy, before it for those of the environment. Discrete
    actions, one-hot or not, are attacked as indices: ``Noise(ActionSet(n))``, and the critic of
    ``LowValue(critic=q)`` gets the index. An action that the environment's mask forbids is never
    chosen by the attack.

    The k-th action of an episode is attacked as step k. Seeds are those of `AdversarialObs`, but the
    noise is another one. Put it around a `SerialEnv` or `ParallelEnv`: what happens inside has no
    way to tell what was executed.

    Args:
        attack: What perturbs; `Identity()` for nothing; `OnCollectedPolicy` for the policy of the
            collector. May be replaced at any time.
        key: The action. In a group of agents, ``("agents", "action")``, every agent is a row.
        executed_key: Where the executed action is written; by default beside `key`.
        observation_key: What the critic reads, as ``context["observation"]``: its clean entry where
            there is one. By default ``"observation"`` beside `key`.
        bounds: The valid range of executed actions, by default that of the action spec. An intended
            action that is outside is attacked at the limit; where nothing is done to it, it stays.
        salt: Another number is other noise for the same seed.

    Reads: `key`, and as context everything beside it.

    Writes: `executed_key`, at root, beside `key`, which stays what the agent intended.

    Raises:
        ValueError: If an action holds NaN.
        RuntimeError: If it is placed inside a `SerialEnv` or `ParallelEnv`.

    Example:
        >>> from torchrl.envs import GymEnv, TransformedEnv
        >>> from advwrap import LinfBall, RandomVertex
        >>> attack = RandomVertex(LinfBall(0.5))
        >>> env = TransformedEnv(GymEnv("Pendulum-v1"), AdversarialAction(attack))
        >>> step = env.rollout(1)[0]
        >>> bool((step["executed_action"] != step["action"]).all())
        True
    """

    def __init__(
        self,
        attack: Attack | OnCollectedPolicy,
        *,
        key: NestedKey = "action",
        executed_key: NestedKey | None = None,
        observation_key: NestedKey | None = None,
        bounds: Bounds | None = None,
        salt: int = 0,
    ) -> None:
        name = unravel_key(key)
        super().__init__(attack, name, bounds=bounds, salt=ACTIONS + salt)
        self.executed_key = beside(name, "executed_") if executed_key is None else unravel_key(executed_key)
        group = group_of(name)
        state = (*group, "observation") if observation_key is None else observation_key
        self.observation_key = unravel_key(state)
        self._executed: Tensor | None = None
        self._encoding: Encoding | None = None

    def read_specs(self) -> Facts:
        """From the action spec beneath."""
        env = self.parent
        return facts_of(env, env.full_action_spec, self.key, "action")

    def encoding(self) -> Encoding:
        """How the actions beneath are encoded."""
        if self._encoding is None:
            self._encoding = encoding_of(spec_of(self.parent.full_action_spec, self.key, "action"))
        return self._encoding

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        self.begin_episodes(tensordict, tensordict_reset.batch_size.numel())
        return tensordict_reset

    def _reset_on_native_autoreset(
        self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase
    ) -> TensorDictBase:
        return self._reset(tensordict, tensordict_reset)

    def _inv_call(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Replace the action on its way to the environment."""
        if env_of(self) is None:  # in a replay buffer
            return tensordict
        clock, mask = self.in_episodes(tensordict, tensordict.batch_size.numel())
        encoding = self.encoding()
        rows = Rows([tensordict], self.key)
        intended = encoding.decode(rows.flat(self.key, [tensordict.get(self.key)]))
        # What the task makes of an action outside its limits: a perturbation beyond them would be lost there.
        valid = self._known().bounds.clip(intended) if intended.is_floating_point() else intended
        executed = self.inject(
            clock, tensordict, valid, extra=self._beside(rows, valid), mask=mask, settle=self._allowed
        )
        left_alone = (executed == valid).reshape(len(valid), -1).all(1)
        executed = torch.where(per_row(left_alone, valid), intended, executed)
        self._executed = rows.unflat(encoding.encode(executed))[0]
        tensordict.set(self.key, self._executed)
        return tensordict

    def _beside(self, rows: Rows, intended: Tensor) -> dict[Any, Tensor]:
        """What the attack reads: the true observation, under the names that critics read, and what may be chosen."""
        known = {CLEAN_ACTION: intended}
        for key in (beside(self.observation_key, "clean_"), self.observation_key):
            value = rows.get(key)
            if value is not None:
                known |= {"observation": value, "clean_observation": value}
                break
        mask = rows.get(unravel_key((*group_of(self.key), "action_mask")))
        if mask is not None and self.encoding().indices is not None:
            known |= {"action_mask": mask, FIRST_ACTION: torch.zeros_like(intended)}
        return known

    def _allowed(self, chosen: Tensor, intended: Tensor, context: Rows) -> Tensor:
        mask = context.get("action_mask") if FIRST_ACTION in context else None
        return chosen if mask is None else self.encoding().allowed(chosen, intended, mask)

    def begin(self) -> None:
        """Before a step: nothing is executed yet."""
        self._executed = None

    def report(self, tensordict: TensorDictBase) -> None:
        """After a step: what was executed, at root."""
        executed = self._executed
        tensordict.set(
            self.executed_key,
            tensordict.get(self.key).clone() if executed is None else executed.clone(),
        )

    def transform_fake_tensordict(self, fake_tensordict: TensorDictBase) -> TensorDictBase:
        """Tell the collectors of the executed action."""
        fake_tensordict.set(self.executed_key, fake_tensordict.get(self.key).clone())
        return fake_tensordict

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Nothing to do in a replay buffer: the executed action is in the data."""
        return tensordict

    def _check_batched_worker_compat(self) -> None:
        raise RuntimeError(
            "AdversarialAction cannot be inside a SerialEnv or ParallelEnv, whose workers have no "
            "way to tell what was executed. Fix: put it around, "
            "TransformedEnv(ParallelEnv(n, make_env), AdversarialAction(attack))."
        )

    def set_container(self, container: Any) -> None:
        """Attach to an environment."""
        self._encoding = None
        super().set_container(container)
