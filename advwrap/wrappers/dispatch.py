"""`AdversarialObs` and `AdversarialAction` for any kind of environment: the same kind comes back.

PettingZoo and TorchRL are not imported: an environment of theirs can only come from someone who has.
"""

from __future__ import annotations

import sys
from typing import Any, overload

import gymnasium
from gymnasium.vector import VectorEnv

from advwrap.attacks import Attack
from advwrap.wrappers import gymnasium as single
from advwrap.wrappers import vector

AnyEnv = gymnasium.Env[Any, Any]
AnyVectorEnv = VectorEnv[Any, Any, Any]


@overload
def AdversarialObs(env: AnyEnv, attack: Attack, **options: Any) -> single.AdversarialObs: ...
@overload
def AdversarialObs(env: AnyVectorEnv, attack: Attack, **options: Any) -> vector.AdversarialObs: ...
@overload
def AdversarialObs(env: Any, attack: Any, **options: Any) -> Any: ...
def AdversarialObs(env: Any, attack: Any, **options: Any) -> Any:  # noqa: N802 - makes one
    """Let the agent see perturbed observations, in any kind of environment.

    Writes: the true observation, as ``info["clean_observation"]`` (Gymnasium, per agent in
    PettingZoo) or as the key "clean_observation" (TorchRL).

    Args:
        env: A Gymnasium environment or vector environment, a PettingZoo parallel or AEC
            environment, or a TorchRL environment.
        attack: What perturbs; for PettingZoo also a mapping from agent to attack.
        options: `key`, `bounds`, `device`; for PettingZoo `agents`. Those of the class for this
            kind of environment.

    Returns:
        An environment of the same kind.

    Raises:
        TypeError: If `env` is none of these.

    Example:
        >>> from advwrap import Identity
        >>> AdversarialObs(gymnasium.make("CartPole-v1"), attack=Identity())
        <AdversarialObs<TimeLimit<OrderEnforcing<PassiveEnvChecker<CartPoleEnv<CartPole-v1>>>>>>
    """
    return _wrap("AdversarialObs", env, attack, options)


@overload
def AdversarialAction(env: AnyEnv, attack: Attack, **options: Any) -> single.AdversarialAction: ...
@overload
def AdversarialAction(env: AnyVectorEnv, attack: Attack, **options: Any) -> vector.AdversarialAction: ...
@overload
def AdversarialAction(env: Any, attack: Any, **options: Any) -> Any: ...
def AdversarialAction(env: Any, attack: Any, **options: Any) -> Any:  # noqa: N802 - makes one
    """Let the environment execute perturbed actions, in any kind of environment.

    Writes: "action", what the agent intended, and "executed_action", what the environment
    received: entries of the info (per agent in PettingZoo), keys in TorchRL.

    Args:
        env: A Gymnasium environment or vector environment, a PettingZoo parallel or AEC
            environment, or a TorchRL environment.
        attack: What perturbs; for PettingZoo also a mapping from agent to attack.
        options: `key`, `bounds`, `device`; for PettingZoo `agents`. Those of the class for this
            kind of environment.

    Returns:
        An environment of the same kind.

    Raises:
        TypeError: If `env` is none of these.

    Example:
        >>> from advwrap import ActionSet, Noise
        >>> AdversarialAction(gymnasium.make("CartPole-v1"), attack=Noise(ActionSet(2)))
        <AdversarialAction<TimeLimit<OrderEnforcing<PassiveEnvChecker<CartPoleEnv<CartPole-v1>>>>>>
    """
    return _wrap("AdversarialAction", env, attack, options)


def _wrap(name: str, env: Any, attack: Any, options: dict[str, Any]) -> Any:
    if isinstance(env, gymnasium.Env):
        return getattr(single, name)(env, attack, **options)
    if isinstance(env, VectorEnv):
        return getattr(vector, name)(env, attack, **options)
    if _is(env, "pettingzoo.utils.env", "ParallelEnv"):
        from advwrap.wrappers.pettingzoo import parallel

        return getattr(parallel, name)(env, attack, **options)
    if _is(env, "pettingzoo.utils.env", "AECEnv"):
        from advwrap.wrappers.pettingzoo import aec

        return getattr(aec, name)(env, attack, **options)
    if _is(env, "torchrl.envs", "EnvBase"):
        from torchrl.envs import TransformedEnv

        from advwrap import transforms

        # One list of transforms, so that what was executed can be told at its end.
        return TransformedEnv(env, getattr(transforms, name)(attack, **options), auto_unwrap=True)
    raise TypeError(
        "`env` must be a gymnasium.Env, a gymnasium.vector.VectorEnv, a PettingZoo AECEnv or "
        f"ParallelEnv, or a torchrl.envs.EnvBase, got {env!r}. Fix: {name}(gymnasium.make(id), "
        "attack=...)."
    )


def _is(env: object, library: str, kind: str) -> bool:
    """An isinstance that does not import the library: if it is not imported, `env` is not its."""
    module = sys.modules.get(library)
    return module is not None and isinstance(env, getattr(module, kind))
