"""Budgets: when may the adversary act, and on whom?

A budget is a pure function of what it is shown; it counts nothing itself. The counts of the episode come in the
context, from the wrapper that owns the episode, so one attack object serves any number of environments at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from advwrap.errors import check, check_fraction, check_integer
from advwrap.randomness import Streams, fold
from advwrap.victims import AnyPolicy, Context, as_policy
from advwrap.victims.context import CLEAN_ACTION, state_beside
from advwrap.victims.laws import CategoricalLaw

_EPISODE = 1 << 34
"""Folded into the keys of episodes, whose own streams are the attacks'."""


class Budget:
    """``budget(clean, context, streams) -> bool [B]``: who may be attacked now. Combine with ``&`` and ``|``.

    Example:
        >>> from advwrap import AtMost, EveryNth
        >>> EveryNth(2) & AtMost(3)
        (EveryNth(n=2, offset=0) & AtMost(n=3))
    """

    def __call__(self, clean: Tensor, context: Context | None, streams: Streams) -> Tensor:
        """Who may be attacked now, shape [B]."""
        raise NotImplementedError

    def __and__(self, other: Budget) -> Budget:
        return _Both(self, other, torch.logical_and, "&")

    def __or__(self, other: Budget) -> Budget:
        return _Both(self, other, torch.logical_or, "|")


@dataclass(frozen=True, repr=False)
class _Both(Budget):
    first: Budget
    second: Budget
    join: Callable[[Tensor, Tensor], Tensor]
    sign: str

    def __call__(self, clean: Tensor, context: Context | None, streams: Streams) -> Tensor:
        return self.join(self.first(clean, context, streams), self.second(clean, context, streams))

    def __repr__(self) -> str:
        return f"({self.first} {self.sign} {self.second})"


@dataclass(frozen=True)
class Always(Budget):
    """Every row, every step.

    Example:
        >>> import torch
        >>> from advwrap import Always, Streams
        >>> Always()(torch.zeros(2, 3), None, Streams.seeded([0, 1]))
        tensor([True, True])
    """

    def __call__(self, clean: Tensor, context: Context | None, streams: Streams) -> Tensor:
        """All true."""
        return torch.ones(clean.shape[0], dtype=torch.bool, device=clean.device)


@dataclass(frozen=True)
class WithProbability(Budget):
    """Each row with probability p, independently at every step.

    Args:
        p: In [0, 1].

    Raises:
        ValueError: If `p` is not in [0, 1].

    Example:
        >>> import torch
        >>> from advwrap import Streams, WithProbability
        >>> chosen = WithProbability(0.5)(torch.zeros(1000, 3), None, Streams.seeded(range(1000)))
        >>> 400 < int(chosen.sum()) < 600
        True
    """

    p: float

    def __post_init__(self) -> None:
        check_fraction("p", self.p)

    def __call__(self, clean: Tensor, context: Context | None, streams: Streams) -> Tensor:
        """A coin per row."""
        return streams.chance(self.p).to(clean.device)


@dataclass(frozen=True)
class WholeEpisodes(Budget):
    """Whole episodes, each with probability p: all of their steps, or none. Agents of one episode draw on their own.

    Args:
        p: In [0, 1].

    Raises:
        ValueError: If `p` is not in [0, 1]; when called, if nobody tells one episode from another.

    Example:
        >>> import gymnasium
        >>> from advwrap import AdversarialObs, Gated, LinfBall, Noise, WholeEpisodes
        >>> env = AdversarialObs(gymnasium.make("Pendulum-v1"), Gated(Noise(LinfBall(0.1)), WholeEpisodes(0.5)))
        >>> def attacked(seed):
        ...     seen, info = env.reset(seed=seed)
        ...     return bool((seen != info["clean_observation"]).any())
        >>> 30 < sum(attacked(seed) for seed in range(100)) < 70
        True
    """

    p: float

    def __post_init__(self) -> None:
        check_fraction("p", self.p)

    def __call__(self, clean: Tensor, context: Context | None, streams: Streams) -> Tensor:
        """A coin per episode, the same at each of its steps."""
        key = count(context, "episode_key", self)
        keys = key.numpy() if key.device.type == "cpu" else key
        return Streams(fold(keys, _EPISODE)).chance(self.p).to(clean.device)


@dataclass(frozen=True)
class EveryNth(Budget):
    """Steps `offset`, `offset` + n, `offset` + 2n, ... of the episode; step 0 is the observation of the reset.

    Args:
        n: The period.
        offset: The first step attacked.

    Raises:
        ValueError: If `n` is no integer >= 1 or `offset` none >= 0; when called, if nobody counts the steps.

    Example:
        >>> import torch
        >>> from advwrap import EveryNth, Streams
        >>> steps = {"episode_step": torch.arange(5)}
        >>> EveryNth(2, offset=1)(torch.zeros(5, 3), steps, Streams.seeded(range(5)))
        tensor([False,  True, False,  True, False])
    """

    n: int
    offset: int = 0

    def __post_init__(self) -> None:
        check_integer("n", self.n, least=1)
        check_integer("offset", self.offset, least=0)

    def __call__(self, clean: Tensor, context: Context | None, streams: Streams) -> Tensor:
        """By the step of the episode."""
        step = count(context, "episode_step", self) - self.offset
        return (step >= 0) & (step % self.n == 0)


@dataclass(frozen=True)
class After(Budget):
    """From step n of the episode on: a machine that breaks, say.

    Args:
        n: The first step attacked; step 0 is the observation of the reset, or the first action.

    Raises:
        ValueError: If `n` is no integer >= 0; when called, if nobody counts the steps.

    Example:
        >>> import torch
        >>> from advwrap import After, Streams
        >>> After(2)(torch.zeros(4, 3), {"episode_step": torch.arange(4)}, Streams.seeded(range(4)))
        tensor([False, False,  True,  True])
    """

    n: int

    def __post_init__(self) -> None:
        check_integer("n", self.n, least=0)

    def __call__(self, clean: Tensor, context: Context | None, streams: Streams) -> Tensor:
        """By the step of the episode."""
        return count(context, "episode_step", self) >= self.n


@dataclass(frozen=True)
class AtMost(Budget):
    """At most n attacked steps per episode and row: a step counts when what the victim sees really differs.

    Args:
        n: The number of steps; 0 is no attack.

    Raises:
        ValueError: If `n` is no integer >= 0; when called, if nobody counts the attacked steps.

    Example:
        >>> import torch
        >>> from advwrap import AtMost, Streams
        >>> AtMost(2)(torch.zeros(4, 3), {"attacked_steps": torch.arange(4)}, Streams.seeded(range(4)))
        tensor([ True,  True, False, False])
    """

    n: int

    def __post_init__(self) -> None:
        check_integer("n", self.n, least=0)

    def __call__(self, clean: Tensor, context: Context | None, streams: Streams) -> Tensor:
        """By the number of attacked steps so far."""
        return count(context, "attacked_steps", self) < self.n


@dataclass(frozen=True)
class OnlyAgents(Budget):
    """Some agents of a multi-agent environment.

    Args:
        agents: Their indices in the environment's order of agents.

    Raises:
        ValueError: If there is none, or one is no index; when called, if the environment has fewer agents.

    Example:
        >>> import torch
        >>> from advwrap import OnlyAgents, Streams
        >>> OnlyAgents(0, 2)(torch.zeros(3, 2), {"agent_index": torch.arange(3)}, Streams.seeded(range(3)))
        tensor([ True, False,  True])
    """

    agents: tuple[int, ...]

    def __init__(self, *agents: int) -> None:
        check(len(agents) > 0, "`agents` must name at least one agent, got none.", fix="OnlyAgents(0, 2).")
        check(all(isinstance(i, int) and i >= 0 for i in agents), f"`agents` must be indices >= 0, got {agents}.")
        object.__setattr__(self, "agents", agents)

    def __call__(self, clean: Tensor, context: Context | None, streams: Streams) -> Tensor:
        """By the index of the agent."""
        index = count(context, "agent_index", self)
        total = None if context is None else context.get("agent_count", None)
        if total is not None and len(total):
            agents = int(total[0])
            check(
                max(self.agents) < agents,
                f"`agents` must be indices of the {agents} agents of the environment, got {self.agents}.",
                fix="count from 0, in the environment's order of agents.",
            )
        return torch.isin(index, torch.tensor(self.agents, device=index.device))

    def __repr__(self) -> str:
        return f"OnlyAgents({', '.join(map(str, self.agents))})"


@dataclass(frozen=True, eq=False)
class GapAbove(Budget):
    """Strategically timed: only where the victim cares much about what it does.

    c(s) = max_a pi(a|s) - min_a pi(a|s) > threshold, over the actions that no mask forbids

    Source: Lin et al., *Tactics of adversarial attack on deep reinforcement learning agents*, IJCAI 2017.

    Args:
        victim: A discrete policy; or any callable ``(observation, context) -> [B]`` wrapped in `gap=`.
        threshold: How large the gap must be.
        gap: A gap of your own, such as the range of Q over a batch of actions.

    Raises:
        ValueError: If both or none of `victim` and `gap` are given.
        TypeError: When called, if the victim is no discrete policy.

    Example:
        >>> import torch
        >>> from advwrap import GapAbove, Streams
        >>> from advwrap.victims import Categorical
        >>> cares = GapAbove(Categorical(lambda obs: obs), 0.5)
        >>> cares(torch.tensor([[0.0, 3.0], [0.0, 0.1]]), None, Streams.seeded([0, 1]))
        tensor([ True, False])
    """

    victim: AnyPolicy | None
    threshold: float
    gap: Callable[[Tensor, Context | None], Tensor] | None = None

    def __post_init__(self) -> None:
        check(
            (self.victim is None) != (self.gap is None),
            "exactly one of `victim` and `gap` must be given.",
            fix="GapAbove(policy, 0.5), or GapAbove(None, 0.5, gap=my_function).",
        )
        if self.victim is not None:
            object.__setattr__(self, "victim", as_policy(self.victim))

    def __call__(self, clean: Tensor, context: Context | None, streams: Streams) -> Tensor:
        """By the gap at the clean observation."""
        observation = self._observation(clean, context)
        with torch.no_grad():
            gap = self.gap(observation, context) if self.gap is not None else self._preference(observation, context)
            return gap > self.threshold

    def _observation(self, clean: Tensor, context: Context | None) -> Tensor:
        """What the victim decides by: the attacked rows, or what lies beside them where these are actions."""
        if context is None or CLEAN_ACTION not in context:
            return clean
        state = state_beside(context)
        if state is None:
            raise ValueError(
                f"{self} needs the state in `context['observation']` where actions are attacked, got none. "
                "Fix: AdversarialAction(..., key=...), the entry of the observation that the victim reads."
            )
        return state

    def _preference(self, clean: Tensor, context: Context | None) -> Tensor:
        law = as_policy(self.victim).law(clean, context)
        if not isinstance(law, CategoricalLaw):
            raise TypeError(
                "`victim` must be a discrete policy for a preference gap, got a continuous one. "
                "Fix: GapAbove(None, threshold, gap=lambda observation, context: ...)."
            )
        probs = law.probs
        return probs.amax(-1) - probs.masked_fill(~law.allowed, torch.inf).amin(-1)


def count(context: Context | None, name: str, budget: Budget) -> Tensor:
    """A count of the episode from the context.

    Raises:
        ValueError: If nobody counts.
    """
    value = None if context is None else context.get(name, None)
    check(
        value is not None,
        f"{budget} needs {name!r} in the `context`, which only an environment can count.",
        fix="use it in AdversarialObs or AdversarialAction, or pass context={'" + name + "': ...}.",
    )
    return torch.as_tensor(value)
