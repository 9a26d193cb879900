"""Attacks on whatever policy a collector runs: made in the process where that policy lives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from advwrap.attacks import Attack


@dataclass(frozen=True, eq=False)
class OnCollectedPolicy:
    """Instead of an attack: how a transform makes one from the policy of the collector around it.

    In a `MultiSyncCollector` every process makes the attack from its own copy of the policy, the
    one whose weights the collector updates. For a `ParallelEnv`, put the transform outside it.

    Args:
        make: From the policy to the attack; called once per policy.

    Example:
        >>> import torch
        >>> from tensordict.nn import TensorDictModule
        >>> from torchrl.collectors import Collector
        >>> from torchrl.envs import GymEnv
        >>> from advwrap import PGD, ActionShift, AdversarialObs, LinfBall
        >>> attack = OnCollectedPolicy(lambda policy: PGD(ActionShift(policy), within=LinfBall(0.1)))
        >>> policy = TensorDictModule(torch.nn.Linear(3, 1), ["observation"], ["action"])
        >>> env = AdversarialObs(GymEnv("Pendulum-v1"), attack=attack)
        >>> collector = Collector(
        ...     env, policy, frames_per_batch=4, total_frames=4, auto_register_policy_transforms=False
        ... )
        >>> batch = next(iter(collector))
        >>> bool((batch["observation"] != batch["clean_observation"]).any(-1).all())
        True
        >>> collector.shutdown()
    """

    make: Callable[[Any], Attack]
