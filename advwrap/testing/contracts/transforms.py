"""What every TorchRL transform with an attack owes to the actor and to the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from advwrap.attacks import Attack, Identity, Noise
from advwrap.sets import LinfBall
from advwrap.testing.contracts.rules import global_randomness_untouched, same_bits, seeds

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from torchrl.envs import EnvBase, Transform


class TransformContract:
    """What both channels owe; inherit `ObservationTransformContract` or `ActionTransformContract` instead."""

    radius: float = 0.1
    """Of the noise that the rules use."""

    def make_env(self) -> EnvBase:
        """The environment beneath; by default two rows of `SignalTorchRLEnv`."""
        from advwrap.testing.environments import SignalTorchRLEnv

        return SignalTorchRLEnv(rows=2)

    def make_transform(self, attack: Attack) -> Transform:
        """The transform, with this attack."""
        raise NotImplementedError("override make_transform(attack)")

    @seeds
    def test_identity_changes_nothing(self, seed: int) -> None:
        """With `Identity` every key of the bare environment is as it was."""
        actions = self._actions(seed)
        bare, wrapped = self._play(self.make_env(), actions, seed), self._play(self._env(Identity()), actions, seed)
        for key in bare.keys(True, True):
            assert same_bits(bare[key], wrapped[key]), f"{key!r} must be that of the bare environment."

    @seeds
    def test_seed_decides(self, seed: int) -> None:
        """`set_seed` reaches the attack, and no global generator is advanced while it acts."""
        actions = self._actions(seed)
        first, second = (self._play(self._env(), actions, seed) for _ in range(2))
        other = self._play(self._env(), actions, seed + 1000)
        self._equal(first, second, "one seed must give one run.")
        env = self._env()
        env.set_seed(seed)
        with global_randomness_untouched():
            self._play(env, actions, None)
        assert any(not same_bits(first[k], other[k]) for k in first.keys(True, True)), "seeds must differ."

    def test_check_env_specs_passes(self) -> None:
        """TorchRL's own checker: keys, shapes, dtypes, devices and bounds."""
        from torchrl.envs import check_env_specs

        check_env_specs(self._env())

    def test_two_environments_need_two_transforms(self) -> None:
        """The same object in two environments is refused."""
        from torchrl.envs import TransformedEnv

        transform = self.make_transform(Noise(LinfBall(self.radius)))
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
        twin = TransformedEnv(self.make_env(), original.transform.clone())
        self._play(alone, actions, seed)
        self._play(original, actions, seed)
        self._play(twin, actions, seed + 1)
        self._equal(self._play(alone, actions, None), self._play(original, actions, None), "clones must share nothing.")

    @seeds
    def test_checkpoint_continues(self, seed: int) -> None:
        """Loading the `state_dict` goes on with the noise that would have come."""
        actions = self._actions(seed)
        original, restored = self._env(), self._env()
        self._play(original, actions, seed)
        self._play(restored, actions, seed + 1)
        restored.transform.load_state_dict(original.transform.state_dict())
        restored.base_env.set_seed(seed)
        self._play(restored.base_env, actions, None)
        self._equal(self._play(original, actions, None), self._play(restored, actions, None), "the noise must go on.")

    # What the rules use

    def _env(self, attack: Attack | None = None) -> Any:
        from torchrl.envs import TransformedEnv

        return TransformedEnv(self.make_env(), self.make_transform(attack or Noise(LinfBall(self.radius))))

    def _actions(self, seed: int) -> list[Tensor]:
        """For less than an episode of `SignalTorchRLEnv`."""
        spec = self.make_env().action_spec
        generator = torch.Generator().manual_seed(seed)
        unit = [torch.rand(spec.shape, generator=generator, dtype=spec.dtype) for _ in range(3)]
        return [spec.space.low + u * (spec.space.high - spec.space.low) for u in unit]

    def _play(self, env: EnvBase, actions: list[Tensor], seed: int | None) -> TensorDictBase:
        if seed is not None:
            with torch.random.fork_rng(devices=[]):  # set_seed seeds torch's global generator
                env.set_seed(seed)
        queue = iter(actions)

        def act(tensordict: TensorDictBase) -> TensorDictBase:
            return tensordict.set(env.action_key, next(queue).clone())

        return env.rollout(len(actions), policy=act, break_when_any_done=False)

    def _equal(self, a: TensorDictBase, b: TensorDictBase, message: str) -> None:
        for key in a.keys(True, True):
            assert same_bits(a[key], b[key]), f"{message} {key!r} differs."


class ObservationTransformContract(TransformContract):
    """Inherit it in a test class named ``Test...`` and override `make_transform`: for attacked observations.

    Example:
        >>> from advwrap.transforms import AdversarialObs
        >>> class TestMyTransform(ObservationTransformContract):
        ...     def make_transform(self, attack):
        ...         return AdversarialObs(attack)
        >>> TestMyTransform().test_two_environments_need_two_transforms()
    """

    @seeds
    def test_only_the_observation_changes(self, seed: int) -> None:
        """The truth lies beside it, and everything else is as if nobody attacked."""
        actions = self._actions(seed)
        bare, wrapped = self._play(self.make_env(), actions, seed), self._play(self._env(), actions, seed)
        for group in ((), ("next",)):
            truth, seen = wrapped[(*group, "clean_observation")], wrapped[(*group, "observation")]
            assert same_bits(truth, bare[(*group, "observation")]), "clean_observation must be the true one."
            moved = (seen.double() - truth.double()).abs()
            assert (moved <= self.radius).all(), f"the actor must see at most {self.radius} off, got {moved.max()}."
            assert (moved > 0).any(-1).all(), "the attack must act, from the first observation on."
        for key in bare.keys(True, True):
            if "observation" not in key:
                assert same_bits(bare[key], wrapped[key]), f"{key!r} must be that of the bare environment."


class ActionTransformContract(TransformContract):
    """Inherit it in a test class named ``Test...`` and override `make_transform`: for attacked actions.

    Example:
        >>> from advwrap.transforms import AdversarialAction
        >>> class TestMyTransform(ActionTransformContract):
        ...     def make_transform(self, attack):
        ...         return AdversarialAction(attack)
        >>> TestMyTransform().test_two_environments_need_two_transforms()
    """

    @seeds
    def test_the_environment_gets_the_executed_action(self, seed: int) -> None:
        """Replaying ``"executed_action"`` without an attack gives the same run."""
        actions = self._actions(seed)
        wrapped = self._play(self._env(), actions, seed)
        intended, executed = wrapped["action"], wrapped["executed_action"]
        assert same_bits(intended, torch.stack(actions, -2)), "'action' must be what the agent chose."
        moved = (executed.double() - intended.double()).abs()
        assert (moved <= self.radius).all(), f"the action may move {self.radius}, got {moved.max()}."
        assert (moved > 0).any(-1).all(), "the attack must act, from the first action on."
        replayed = self._play(self.make_env(), list(executed.unbind(-2)), seed)
        for key in replayed.keys(True, True):
            if key != "action":
                assert same_bits(replayed[key], wrapped[key]), f"{key!r} must follow from the executed action."
