"""TorchRL actors as policies: `ProbabilisticActor`, `QValueActor`, recurrent and plain TensorDict actors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import (
    ProbabilisticTensorDictModule,
    TensorDictModule,
    TensorDictModuleBase,
    TensorDictSequential,
)
from tensordict.utils import NestedKey
from torch import Tensor
from torch.distributions import Distribution

from advwrap.errors import check
from advwrap.victims.heads import CategoricalHead, DeterministicHead, DistributionHead, Head, NormalHead
from advwrap.victims.laws import Law
from advwrap.victims.network import Network
from advwrap.victims.policy import Context, Forward, Policy
from advwrap.victims.quiet import mode_dependent, quietly


def from_actor(
    actor: TensorDictModuleBase, *, key: NestedKey | None = None, agents: int = 1, fast: bool = True
) -> Policy:
    """A TensorDict actor as a policy.

    The actor never sees the caller's tensordict: it runs on one made from the observation and the context, without its
    sampling step. Where the actor is one network from the observation to the parameters of a known distribution,
    no tensordict is made at all.

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
    *body, last = list(actor) if isinstance(actor, TensorDictSequential) else [actor]
    head, outputs = _head_and_outputs(last)
    if head is None:
        body, head, outputs = [*body, last], DeterministicHead(), [actor.out_keys[0]]
    network = _network(body, key, outputs) if fast and agents == 1 else None
    if network is not None:
        return Policy(network, head, read=lambda out: _first(out, len(outputs)))
    return Policy(_through_tensordict(body, actor, key, outputs, head, agents), head)


def _observation_key(actor: TensorDictModuleBase, key: NestedKey | None) -> NestedKey:
    keys = list(actor.in_keys)
    if key is not None:
        check(key in keys, f"`key` must be one of the actor's in_keys {keys}, got {key!r}.")
        return key
    names = [k for k in keys if (k if isinstance(k, str) else k[-1]) == "observation"]
    chosen = names if len(names) == 1 else keys
    check(len(chosen) == 1, f"`key` must say which of the actor's in_keys {keys} is the observation.", fix="key=...")
    return chosen[0]


def _head_and_outputs(last: TensorDictModuleBase) -> tuple[Head | None, list[NestedKey]]:
    """The head for the actor's last module, and the keys that it reads; no head if that is not a sampling step."""
    if isinstance(last, ProbabilisticTensorDictModule):
        names = dict(last.dist_params_keys) if isinstance(last.dist_params_keys, dict) else {}
        names = names or {key: key for key in last.in_keys}
        return _distribution_head(last, list(names)), list(names.values())
    if hasattr(last, "action_value_key"):  # torchrl's QValueModule: greedy on action values
        return CategoricalHead(), [last.action_value_key]
    return None, []


def _distribution_head(module: ProbabilisticTensorDictModule, names: Sequence[str]) -> Head:
    family, options = module.distribution_class, dict(module.distribution_kwargs or {})
    kind = getattr(family, "__name__", "")
    plain_pair = list(names) == ["loc", "scale"]
    if kind == "TanhNormal" and plain_pair and not options.get("tanh_loc"):
        # The transform depends on the options alone, so one distribution serves to get it.
        squash = family(torch.zeros(1), torch.ones(1), **options)
        return NormalHead(squash=squash.transforms[0])
    if kind in ("Normal", "IndependentNormal") and plain_pair and not options.get("tanh_loc"):
        return NormalHead()
    if kind in ("OneHotCategorical", "Categorical") and list(names) == ["logits"] and not options:
        return CategoricalHead()
    return _Built(family, options, names)


class _Built:
    """Any other distribution class: built from its parameters at every call."""

    def __init__(self, family: Callable[..., Distribution], options: dict[str, Any], names: Sequence[str]) -> None:
        self.family, self.options, self.names = family, options, names
        self.reader = DistributionHead()

    def mean(self, output: Any) -> Tensor:
        return self.reader.mean(self._build(output))

    def law(self, output: Any) -> Law:
        return self.reader.law(self._build(output))

    def _build(self, output: Any) -> Distribution:
        values = (output,) if isinstance(output, Tensor) else output
        return self.family(**dict(zip(self.names, values, strict=True)), **self.options)


def _network(body: Sequence[TensorDictModuleBase], key: NestedKey, outputs: Sequence[NestedKey]) -> Network | None:
    """The network itself, where the body is one module from the observation to exactly these outputs."""
    if len(body) != 1 or not isinstance(body[0], TensorDictModule):
        return None
    module = body[0]
    if list(module.in_keys) != [key] or list(module.out_keys)[: len(outputs)] != list(outputs):
        return None
    return Network(module.module)


def _first(out: Any, count: int) -> Any:
    """The first outputs of a network that may have more."""
    if not isinstance(out, tuple):
        return out
    return out[:count] if count > 1 else out[0]


def _through_tensordict(
    body: Sequence[TensorDictModuleBase],
    actor: TensorDictModuleBase,
    key: NestedKey,
    outputs: Sequence[NestedKey],
    head: Head,
    agents: int,
) -> Forward:
    modal = [m for module in body for m in mode_dependent(module)]
    needed = [k for k in actor.in_keys if k != key]
    reference = next((p for p in actor.parameters() if p.is_floating_point()), None)

    def forward(observation: Tensor, context: Context | None) -> Any:
        dtype = observation.dtype if reference is None else reference.dtype
        x = observation.to(dtype) if observation.is_floating_point() else observation
        rows = x.shape[0]
        data = TensorDict({}, batch_size=[rows // agents], device=x.device)
        for name in needed:
            data.set(name, _entry(context, name, actor, rows // agents))
        data.set(key, x.unflatten(0, (rows // agents, agents)) if agents > 1 else x)
        with quietly(modal):
            for module in body:
                data = module(data)
        found = [data.get(name) for name in outputs]
        found = [value.flatten(0, 1) for value in found] if agents > 1 else found
        return found[0] if len(found) == 1 else tuple(found)

    return forward


def _entry(context: Context | TensorDictBase | None, name: NestedKey, actor: TensorDictModuleBase, rows: int) -> Any:
    value = None if context is None else context.get(name, None)  # type: ignore[arg-type]
    if value is None:
        # Without it a recurrent actor would silently start from a zero state, and the attack would be wrong.
        available = [] if context is None else sorted(map(str, context.keys()))
        raise KeyError(
            f"the actor reads {list(actor.in_keys)}, but the attack's `context` has no {name!r} (it has {available}). "
            "Fix: put the transform after InitTracker and the primer, or pass context=tensordict."
        )
    return value
