"""TorchRL actors as policies: `ProbabilisticActor`, `QValueActor`, recurrent and plain TensorDict actors."""

from __future__ import annotations

from collections.abc import Sequence

from tensordict.nn import TensorDictModule, TensorDictModuleBase, TensorDictSequential
from tensordict.utils import NestedKey
from torch import nn

from advwrap.errors import check
from advwrap.victims.chain import Layer, altered
from advwrap.victims.heads import DeterministicHead
from advwrap.victims.network import Network
from advwrap.victims.policy import Policy
from advwrap.victims.squash import FirstHalf
from advwrap.victims.tensordict_forward import ThroughTensorDict
from advwrap.victims.tensordict_heads import Reader, reader_of


def from_actor(
    actor: TensorDictModuleBase, *, key: NestedKey | None = None, agents: int = 1, fast: bool = True
) -> Policy:
    """A TensorDict actor as a policy.

    The actor never sees the caller's tensordict: its modules run on one made from the observation and the context,
    without the sampling step and without modules that explore. Where they are networks one after the other, from the
    observation to the parameters of the distribution, no tensordict is made at all.

    Args:
        actor: Any actor that reads an observation: probabilistic, greedy on action values, recurrent, plain.
        key: Which of its in_keys is the observation; found by itself where that is clear.
        agents: Agents per environment for an actor of many agents: rows [B * agents, ...] are given to it as
            [B, agents, ...].
        fast: Whether to look for the path without tensordicts; False serves comparisons.

    Raises:
        ValueError: If `key` is not among the in_keys, or no single one of them is the observation.
    """
    key = _observation_key(actor, key)
    body = _flat(actor)
    while len(body) > 1 and type(body[-1]).__module__ == "torchrl.modules.tensordict_module.exploration":
        body.pop()
    reader = reader_of(body[-1])
    if reader is None:
        reader = Reader(DeterministicHead(), [_action_key(body[-1])])
    else:
        body.pop()
    network = _network(body, key, reader.keys) if fast and agents == 1 else None
    if network is None:
        return Policy(ThroughTensorDict(body, key, reader.keys, agents=agents), reader.head, read=reader)
    return Policy(network, reader.head, read=reader, acting=_acting(network, reader))


def _observation_key(actor: TensorDictModuleBase, key: NestedKey | None) -> NestedKey:
    keys = list(actor.in_keys)
    if key is not None:
        check(key in keys, f"`key` must be one of the actor's in_keys {keys}, got {key!r}.")
        return key
    names = [k for k in keys if _name(k) == "observation"]
    chosen = names if len(names) == 1 else keys
    check(len(chosen) == 1, f"`key` must say which of the actor's in_keys {keys} is the observation.", fix="key=...")
    return chosen[0]


def _action_key(module: TensorDictModuleBase) -> NestedKey:
    keys = list(module.out_keys)
    return next((key for key in keys if _name(key) == "action"), keys[0])


def _name(key: NestedKey) -> str:
    return key if isinstance(key, str) else key[-1]


def _flat(module: TensorDictModuleBase) -> list[TensorDictModuleBase]:
    """The modules that a sequence applies one after the other, those of sequences inside it too."""
    if not isinstance(module, TensorDictSequential):
        return [module]
    return [inner for child in module for inner in _flat(child)]


def network_of(module: TensorDictModuleBase) -> nn.Module | None:
    """What a `TensorDictModule` applies to its in_keys in their order, if it does no more than that."""
    plain = isinstance(module, TensorDictModule) and type(module).forward is TensorDictModule.forward
    if not plain or altered(module) or getattr(module, "_kwargs", None) is not None:
        return None
    return module.module if isinstance(module.module, nn.Module) else None


def _network(body: Sequence[TensorDictModuleBase], key: NestedKey, outputs: Sequence[NestedKey]) -> Network | None:
    """The networks inside, where each reads just what the one before wrote, from the observation to `outputs`."""
    networks: list[nn.Module] = []
    given: list[NestedKey] = [key]
    for module in body:
        network = network_of(module)
        if network is None or len(given) != 1 or list(module.in_keys) != given:
            return None
        networks.append(network)
        given = list(module.out_keys)
    if not networks or given[: len(outputs)] != list(outputs):
        return None
    return Network(networks[0] if len(networks) == 1 else nn.Sequential(*networks))


def _acting(network: Network, reader: Reader) -> Network | None:
    """The network followed by what makes the mean action of its output, as one chain."""
    if network.chain is None or reader.acting is None or any(map(altered, network.rest)):
        return None
    kinds = tuple(f"{type(module).__module__}.{type(module).__qualname__}" for module in network.rest)
    first: list[Layer] = [FirstHalf()] if kinds == (_EXTRACTOR,) else []
    if kinds in ((_EXTRACTOR,), (_CONSTANT_SCALE,)) or (not kinds and len(reader.keys) == 1):
        return network.through([*first, *reader.acting.layers])
    return None


_EXTRACTOR = "tensordict.nn.distributions.continuous.NormalParamExtractor"
_CONSTANT_SCALE = "tensordict.nn.distributions.continuous.AddStateIndependentNormalScale"
