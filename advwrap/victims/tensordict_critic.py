"""TorchRL critics: value operators, and the live critics inside a TorchRL loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModuleBase, TensorDictParams
from tensordict.utils import NestedKey
from torch import Tensor, nn
from torch.func import functional_call
from torchrl.objectives import LossModule

from advwrap.victims.chain import Chain, Weights, split_chain
from advwrap.victims.context import Context
from advwrap.victims.critic import Critic, ensemble, value_of
from advwrap.victims.network import Network, adapted, reference_of, sequence_of
from advwrap.victims.quiet import mode_dependent, quietly
from advwrap.victims.tensordict_policy import network_of

_NETWORKS = ("qvalue_network", "value_network", "critic_network")
_ACTIONS = ("action", "executed_action")
_VALUES = ("state_action_value", "state_value", "action_value")


class OperatorCritic:
    """A TensorDict critic (`ValueOperator`, `QValueActor`'s network, ...) evaluated on tensors.

    Its in_keys decide what it gets: the first that is not the action is the observation.

    Args:
        operator: The critic; a plain `TensorDictModule` is evaluated without tensordicts.
        fast: Whether to do so; False serves comparisons.

    Raises:
        KeyError: If it reads a key that is neither the observation, the action nor in the context.
    """

    def __init__(self, operator: TensorDictModuleBase, *, fast: bool = True) -> None:
        self.operator = operator
        inner = network_of(operator) if fast and len(operator.out_keys) == 1 else None
        self.network = None if inner is None else Network(inner)
        self.modal = mode_dependent(operator)
        self.reference = reference_of(operator)

    def __call__(self, observation: Tensor, action: Tensor | None = None, context: Context | None = None) -> Tensor:
        """Values, shape [E, B]."""
        keys = self.operator.in_keys
        inputs = _arrange(keys, observation, action, context)
        if self.network is not None:
            return _per_action(self.network(*inputs), keys, action)
        data = TensorDict({}, batch_size=observation.shape[:1], device=observation.device)
        for key, value in zip(keys, inputs, strict=True):
            data.set(key, adapted(value, self.reference))
        with quietly(self.modal):
            return _per_action(self.operator(data).get(_value_key(self.operator)), keys, action)


class LossCritic:
    """The critics that a TorchRL loss trains, read live: the module that was passed to the loss is only a template.

    With twin critics the passed module keeps its initial weights for ever; the trained ones are stacked in the loss's
    own parameters (`loss.qvalue_network_params`), which this reads at every call, so the attack always sees the present
    critic, also after ``loss.load_state_dict`` or ``loss.to``.

    Args:
        loss: A TorchRL loss with a `qvalue_network`, `value_network` or `critic_network`.
        target: Whether to read the target network instead.
        member: Which one of an ensemble to read, alone; all by default.
        fast: Whether to look for the stacked raw-tensor path; False serves comparisons.

    Raises:
        ValueError: If the loss has none of these networks.
    """

    def __init__(self, loss: LossModule, *, target: bool = False, member: int | None = None, fast: bool = True) -> None:
        names = [name for name in _NETWORKS if getattr(loss, f"{name}_params", None) is not None]
        if not names:
            raise ValueError(
                f"the {type(loss).__name__} has no critic (none of {', '.join(_NETWORKS)}). "
                "Fix: pass the critic module itself."
            )
        # The loss is not registered anywhere: only read.
        self.loss, self.name, self.prefix, self.member = loss, names[0], "target_" if target else "", member
        self.template: TensorDictModuleBase = getattr(loss, self.name)
        self.modal = mode_dependent(self.template)
        self.chain = self._stacked() if fast else None

    @property
    def params(self) -> TensorDictParams:
        """The present parameters, stacked [E, ...] for an ensemble."""
        return getattr(self.loss, f"{self.prefix}{self.name}_params")

    @property
    def members(self) -> int:
        """How many critics are read."""
        stacked = getattr(self.loss, f"{self.name}_params").batch_size  # those of the targets may not be asked for yet
        return stacked[0] if stacked and self.member is None else 1

    def __call__(self, observation: Tensor, action: Tensor | None = None, context: Context | None = None) -> Tensor:
        """Values, shape [E, B]."""
        keys = self.template.in_keys
        inputs = _arrange(keys, observation, action, context)
        if self.chain is not None:
            return _per_action(self._through_chain(inputs), keys, action)
        return _per_action(self._through_tensordict(inputs), keys, action)

    def apart(self, observation: Tensor, action: Tensor | None = None, context: Context | None = None) -> Tensor:
        """Values of E B rows, each by one member: the first B by the first one. Shape [E B]."""
        keys, n = self.template.in_keys, self.members
        if n == 1:
            return self(observation, action, context)[0]
        inputs = [torch.unflatten(value, 0, (n, -1)) for value in _arrange(keys, observation, action, context)]
        values = self._through_chain(inputs) if self.chain is not None else self._through_tensordict(inputs, rows=0)
        return _per_action(values.flatten(0, 1).unsqueeze(0), keys, action)[0]

    def _through_chain(self, inputs: Sequence[Tensor]) -> Tensor:
        assert self.chain is not None
        joined = torch.cat(list(inputs), -1) if len(inputs) > 1 else inputs[0]
        return self.chain(joined.to(self.chain.dtype))

    def _through_tensordict(self, inputs: Sequence[Tensor], rows: int | None = None) -> Tensor:
        """The members' values; `rows` is the axis of the inputs that has a batch per member, if one has."""
        params = self.params.data
        stacked = bool(params.batch_size)
        weights = dict(params.flatten_keys(".").items())
        if stacked and self.member is not None:
            weights = {name: weight[self.member] for name, weight in weights.items()}
        dtype = next(p.dtype for p in weights.values() if p.is_floating_point())
        inputs = [value.to(dtype) if value.is_floating_point() else value for value in inputs]
        out = _value_key(self.template)

        def run(member: dict[str, Tensor], *given: Tensor) -> Any:
            data = TensorDict({}, batch_size=given[0].shape[:1], device=given[0].device)
            for key, value in zip(self.template.in_keys, given, strict=True):
                data.set(key, value)
            # Unlike tensordict's `to_module`, it gives the module its own parameters back also after an exception.
            return functional_call(self.template, member, (data,)).get(out)

        each: Any = run
        if stacked and self.member is None:
            each = torch.vmap(run, in_dims=(0, *[rows] * len(inputs)), randomness="different")
        with quietly(self.modal):
            values: Tensor = each(weights, *inputs)
        return values

    def _stacked(self) -> Chain | None:
        module = network_of(self.template)
        modules = sequence_of(module) if module is not None else None
        if modules is None or len(self.template.out_keys) != 1:
            return None
        paths = {id(m): tuple(name.split(".")) for name, m in self.template.named_modules()}

        def weights_of(layer: nn.Linear) -> Weights:
            return _Stack(self, paths[id(layer)])

        layers, known = split_chain(modules, weights_of)
        return Chain(layers) if known == len(modules) and layers else None


@dataclass(frozen=True, eq=False)
class _Stack:
    """The weights that one layer of the loss's critics has at the time of the call."""

    critic: LossCritic
    path: tuple[str, ...]

    def __call__(self) -> tuple[Tensor, Tensor | None]:
        params, member = self.critic.params, self.critic.member
        weight, bias = params.get((*self.path, "weight")), params.get((*self.path, "bias"), None)
        if member is None or not params.batch_size:
            return weight, bias
        return weight[member], None if bias is None else bias[member]


def from_module(module: TensorDictModuleBase | LossModule) -> Critic:
    """The critic adapter for a TensorDict module or a TorchRL loss."""
    return LossCritic(module) if isinstance(module, LossModule) else OperatorCritic(module)


def _arrange(
    keys: Sequence[NestedKey], observation: Tensor, action: Tensor | None, context: Context | None
) -> list[Tensor]:
    """The inputs in the order of the keys."""
    known = {key: None if context is None else context.get(key, None) for key in keys}
    acts = {key for key in keys if action is not None and _name(key) in _ACTIONS}
    states = [key for key in keys if key not in acts]
    named = [key for key in states if "observation" in _name(key)]
    # The observation is what is called so, else what the context does not have.
    state = next(iter([*named, *(key for key in states if known[key] is None), *states]), None)
    inputs: list[Tensor] = []
    for key in keys:
        if key not in acts and key != state and known[key] is None:
            raise KeyError(f"the critic reads {list(keys)}, but the attack's `context` has no {key!r}.")
        given: Any = action if key in acts else observation if key == state else known[key]
        inputs.append(given)
    return inputs


def _value_key(module: TensorDictModuleBase) -> NestedKey:
    keys = list(module.out_keys)
    return next((key for key in keys if _name(key) in _VALUES), keys[0])


def _per_action(values: Tensor, keys: Sequence[NestedKey], action: Tensor | None) -> Tensor:
    """A table of action values [.., B, n] becomes the value of the action; anything else is [E, B] already."""
    reads_action = any(_name(key) in _ACTIONS for key in keys)
    if reads_action or values.shape[-1] == 1:
        return ensemble(values, values.shape[-2])
    stacked = values if values.ndim == 3 else values.unsqueeze(0)
    if action is None:
        return stacked.amax(-1)
    return torch.stack([value_of(table, action) for table in stacked])


def _name(key: NestedKey) -> str:
    return key if isinstance(key, str) else key[-1]
