"""What every TorchRL transform with an attack owes to the actor and to the environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor

from advwrap.attacks import Attack, Identity
from advwrap.testing.contracts.channels import ActionRules, ObservationRules, RowRules
from advwrap.testing.contracts.histories import Commands, History
from advwrap.testing.contracts.played import Played
from advwrap.testing.contracts.rollouts import SpecSpace, told
from advwrap.testing.contracts.rules import global_randomness_untouched, same_bits, seeds
from advwrap.testing.environments import SignalEnv

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from torchrl.envs import EnvBase, Transform


class TransformContract(Played):
    """What both channels owe; inherit `ObservationTransformContract` or `ActionTransformContract` instead."""

    def make_env(self) -> EnvBase:
        """The environment beneath; by default two rows of `SignalTorchRLEnv`."""
        from advwrap.testing.environments import SignalTorchRLEnv

        return SignalTorchRLEnv(rows=2)

    def make_single(self, row: int) -> gym.Env[Any, Any] | None:
        """The environment of one row, as a Gymnasium environment; None if it cannot be had."""
        return SignalEnv()

    def make_transform(self, attack: Attack) -> Transform:
        """The transform, with this attack."""
        raise NotImplementedError("override make_transform(attack)")

    @seeds
    def test_identity_changes_nothing(self, seed: int) -> None:
        """With `Identity` every key of the bare environment is as it was."""
        actions = self._actions(seed)
        bare, wrapped = (
            self._rollout(self.make_env(), actions, seed),
            self._rollout(self._env(Identity()), actions, seed),
        )
        for key in bare.keys(True, True):
            assert same_bits(bare[key], wrapped[key]), f"{key!r} must be that of the bare environment."

    @seeds
    def test_seed_decides(self, seed: int) -> None:
        """`set_seed` reaches the attack, and no global generator is advanced while it acts."""
        actions = self._actions(seed)
        first, second = (self._rollout(self._env(), actions, seed) for _ in range(2))
        other = self._rollout(self._env(), actions, seed + 1000)
        self._equal(first, second, "one seed must give one run.")
        env = self._env()
        env.set_seed(seed)
        with global_randomness_untouched():
            self._rollout(env, actions, None)
        differ = any(not same_bits(first[k], other[k]) for k in first.keys(True, True))
        assert differ or not self.random, "seeds must differ."

    def test_check_env_specs_passes(self) -> None:
        """TorchRL's own checker: keys, shapes, dtypes, devices and bounds."""
        from torchrl.envs import check_env_specs

        check_env_specs(self._env())

    def test_two_environments_need_two_transforms(self) -> None:
        """The same object in two environments is refused."""
        from torchrl.envs import TransformedEnv

        transform = self.make_transform(self.make_attack())
        first = TransformedEnv(self.make_env(), transform)
        with pytest.raises((AttributeError, RuntimeError, ValueError)):
            TransformedEnv(self.make_env(), transform)
        assert transform.container is first, "the first environment must keep its transform."

    @seeds
    def test_clones_have_their_own_state(self, seed: int) -> None:
        """What a clone does, does not change what the original does next."""
        from torchrl.envs import TransformedEnv

        actions = self._actions(seed)
        alone, original = self._env(), self._env()
        self._rollout(alone, actions, seed)
        self._rollout(original, actions, seed)
        twin = TransformedEnv(self.make_env(), original.transform.clone())
        self._rollout(twin, actions, seed + 1)
        self._equal(
            self._rollout(alone, actions, None), self._rollout(original, actions, None), "clones must share nothing."
        )

    @seeds
    def test_checkpoint_continues(self, seed: int) -> None:
        """Loading the `state_dict` goes on with the noise that would have come."""
        actions = self._actions(seed)
        original, restored = self._env(), self._env()
        self._rollout(original, actions, seed)
        self._rollout(restored, actions, seed + 1)
        restored.transform.load_state_dict(original.transform.state_dict())
        restored.base_env.set_seed(seed)
        self._rollout(restored.base_env, actions, None)
        self._equal(
            self._rollout(original, actions, None), self._rollout(restored, actions, None), "the noise must go on."
        )

    # What the rules use

    def _env(self, attack: Attack | None = None) -> Any:
        return self._around(self.make_env(), attack or self.make_attack())

    def _actions(self, seed: int) -> list[Tensor]:
        """For less than an episode of `SignalTorchRLEnv`."""
        return self._batches(self._commands(self.make_env(), seed))[:3]

    def _batches(self, commands: Commands) -> list[Tensor]:
        """The commands of all rows, in the shape of the environment's batch."""
        shape = self.make_env().action_spec.shape
        return [torch.from_numpy(np.stack(rows)).reshape(shape) for rows in zip(*commands, strict=True)]

    def _rollout(self, env: EnvBase, actions: list[Tensor], seed: int | None) -> TensorDictBase:
        if seed is not None:
            with torch.random.fork_rng(devices=[]):  # set_seed seeds torch's global generator
                env.set_seed(seed)
        queue = iter(actions)

        def act(tensordict: TensorDictBase) -> TensorDictBase:
            return tensordict.set(env.action_key, next(queue).clone())

        return env.rollout(len(actions), policy=act, break_when_any_done=False)

    # What the rules of all frameworks ask for

    def _worlds(self) -> Sequence[Callable[[], Any]]:
        return [self.make_env]

    def _around(self, env: Any, attack: Attack) -> Any:
        from torchrl.envs import TransformedEnv

        return TransformedEnv(env, self.make_transform(attack))

    def _play(self, env: Any, commands: Commands, seed: int | None) -> list[History]:
        data = self._rollout(env, self._batches(commands), seed)
        return [told(row, i) for i, row in enumerate(data.reshape(len(commands), -1))]

    def _spaces(self, env: Any) -> dict[str, list[Any]]:
        specs = {"action": env.action_spec, "observation": env.observation_spec["observation"]}
        rows = range(env.batch_size.numel())
        return {name: [SpecSpace(s[i] if env.batch_size else s) for i in rows] for name, s in specs.items()}

    def _equal(self, a: TensorDictBase, b: TensorDictBase, message: str) -> None:
        for key in a.keys(True, True):
            assert same_bits(a[key], b[key]), f"{message} {key!r} differs."


class ObservationTransformContract(TransformContract, ObservationRules, RowRules):
    """Inherit it in a test class named ``Test...`` and override `make_transform`: for attacked observations.

    Example:
        >>> from advwrap.transforms import AdversarialObs
        >>> class TestMyTransform(ObservationTransformContract):
        ...     def make_transform(self, attack):
        ...         return AdversarialObs(attack)
        >>> TestMyTransform().test_two_environments_need_two_transforms()
    """

    @seeds
    def test_all_other_keys_stay(self, seed: int) -> None:
        """With the same actions they are as if nobody attacked."""
        actions = self._actions(seed)
        bare, wrapped = self._rollout(self.make_env(), actions, seed), self._rollout(self._env(), actions, seed)
        for key in bare.keys(True, True):
            if "observation" not in key:
                assert same_bits(bare[key], wrapped[key]), f"{key!r} must be that of the bare environment."


class ActionTransformContract(TransformContract, ActionRules, RowRules):
    """Inherit it in a test class named ``Test...`` and override `make_transform`: for attacked actions.

    Example:
        >>> from advwrap.transforms import AdversarialAction
        >>> class TestMyTransform(ActionTransformContract):
        ...     def make_transform(self, attack):
        ...         return AdversarialAction(attack)
        >>> TestMyTransform().test_two_environments_need_two_transforms()
    """

    # A rollout hands nobody's arrays over.
    test_commands_stay_the_callers = None  # type: ignore[assignment]

    @seeds
    def test_all_keys_follow_from_the_executed_action(self, seed: int) -> None:
        """Replaying ``"executed_action"`` without an attack gives the same run."""
        actions = self._actions(seed)
        wrapped = self._rollout(self._env(), actions, seed)
        replayed = self._rollout(self.make_env(), [*wrapped["executed_action"].unbind(wrapped.ndim - 1)], seed)
        for key in replayed.keys(True, True):
            if key != "action":
                assert same_bits(replayed[key], wrapped[key]), f"{key!r} must follow from the executed action."
