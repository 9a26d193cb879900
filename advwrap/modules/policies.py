"""Small changes to an actor: let it act under attack, let a loss keep more keys for it."""

from __future__ import annotations

from tensordict.nn import TensorDictModuleBase, TensorDictSequential
from tensordict.utils import NestedKey, unravel_key

from advwrap.attacks import Attack
from advwrap.modules.perturb import Perturb
from advwrap.sets import UNBOUNDED, Bounds


def attacked_policy(
    actor: TensorDictModuleBase,
    attack: Attack,
    *,
    key: NestedKey = "observation",
    clean_key: NestedKey | None = None,
    bounds: Bounds = UNBOUNDED,
    seed: int | None = None,
) -> TensorDictSequential:
    """The actor, attacked just before it acts: collect under attack while the weights change.

    The attack travels inside the policy, so a collector in another process (`MultiSyncCollector`)
    updates both with one message; a policy in the closure of an environment would be a dead copy
    there. The attack's victim must be `actor` itself::

        policy = attacked_policy(actor, PGD(ActionShift(actor), within=LinfBall(0.1)))

    Only what the actor acts on is perturbed: ``("next", "observation")`` stays clean. Nobody counts
    the steps of an episode here: `AtMost` and `EveryNth` need `AdversarialObs`. Value networks read
    ``("next", "clean_observation")`` too: let the environment write both keys, as
    ``AdversarialObs(env, attack=Identity())`` does.

    Args:
        actor: Any TensorDict actor.
        attack: The attack.
        key: What the actor reads.
        clean_key: Where the truth is written; by default beside `key`.
        bounds: The valid range of the observation.
        seed: Of the random streams.

    Reads: `clean_key`, else `key`.

    Writes: `key`, `clean_key`, and what the actor writes.

    Example:
        >>> import torch
        >>> from tensordict import TensorDict
        >>> from tensordict.nn import TensorDictModule
        >>> from advwrap import FGSM, LinfBall, LowValue
        >>> actor = TensorDictModule(torch.nn.Identity(), ["observation"], ["action"])
        >>> attack = FGSM(LowValue(actor, lambda obs, act: act.sum(-1)), within=LinfBall(0.5))
        >>> out = attacked_policy(actor, attack)(TensorDict({"observation": torch.ones(1, 1)}, [1]))
        >>> out["clean_observation"], out["action"]
        (tensor([[1.]]), tensor([[0.5000]]))
    """
    perturb = Perturb(attack, key, clean_key, next=False, bounds=bounds, seed=seed)
    return TensorDictSequential(perturb, actor)


def reads_also(actor: TensorDictModuleBase, *keys: NestedKey) -> TensorDictModuleBase:
    """Declare further keys that a loss must keep beside the actor's, such as its critic's.

    `TD3Loss`, `TD3BCLoss`, `REDQLoss` and `CQLLoss` select the actor's keys from the batch before
    they call the critic on the rest; so does every loss that is called with keyword arguments.
    Call it before the loss is built.

    A sequence of modules (`ProbabilisticActor`, `TensorDictSequential`) is changed in place: its
    in_keys only say what is read. Those of a bare `TensorDictModule` are its arguments, so it is
    wrapped in a sequence.

    Args:
        actor: The actor.
        keys: The keys to declare.

    Returns:
        The actor, or the sequence around it.

    Example:
        >>> from tensordict.nn import TensorDictModule
        >>> from torch import nn
        >>> actor = TensorDictModule(nn.Linear(3, 1), ["observation"], ["action"])
        >>> reads_also(actor, "clean_observation").in_keys
        ['observation', 'clean_observation']
    """
    sequence = actor if isinstance(actor, TensorDictSequential) else TensorDictSequential(actor)
    known = list(sequence.in_keys)
    new = [unravel_key(key) for key in keys]
    sequence.in_keys = [*known, *(key for key in new if key not in known)]
    return sequence
