"""One attack call of a TorchRL environment: the rows of a tensordict in, rows out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDictBase
from torch import Tensor

from advwrap.attacks import Attack
from advwrap.attacks.copies import memory
from advwrap.clock import EpisodeClock
from advwrap.modules.rows import Rows, group_of
from advwrap.transforms.agents import Mask
from advwrap.transforms.clocked import Clocked
from advwrap.transforms.collector import OnCollectedPolicy
from advwrap.transforms.limits import check_no_nan
from advwrap.transforms.reach import env_of

Settle = Callable[[Tensor, Tensor, Rows], Tensor]
"""``settle(attacked, clean, context) -> rows``: what becomes of attacked rows."""


class Injecting(Clocked):
    """A transform that attacks the rows of an entry; see `Clocked` for the arguments."""

    def current_attack(self) -> Attack:
        """The attack, made from the collector's policy where it depends on that."""
        if not isinstance(self.attack, OnCollectedPolicy):
            return self.attack
        env = env_of(self)
        collector = None if env is None else env.collector
        policy = None if collector is None else collector.policy
        if policy is None:
            raise RuntimeError(
                f"{type(self).__name__} attacks the policy of a collector, but its environment is "
                "in none. Fix: run it in a collector, or give the transform the attack itself."
            )
        if self._made is None or self._made[0] is not policy:
            self._made = policy, self.attack.make(policy)
        return self._made[1]

    def inject(
        self,
        clock: EpisodeClock,
        data: TensorDictBase,
        clean: Tensor,
        *,
        extra: Mapping[Any, Tensor] | None = None,
        mask: Mask | None = None,
        others: Tensor | None = None,
        settle: Settle | None = None,
    ) -> Tensor:
        """One attack call, counted by the clock.

        Args:
            clock: Whose rows they are.
            data: What the attack may read.
            clean: The true rows, [N, ...].
            extra: More that it may read, [N, ...].
            mask: Which environments take part; all by default.
            others: The rows of those that do not; by default the clean ones.
            settle: What becomes of the attacked rows before they are counted.
        """
        facts = self._known()
        who = self._who(data, mask, len(facts.agents.numbers))
        streams = facts.agents.streams(clock.rows, who)
        others = clean if others is None else others
        if who is not None and not who.any():
            return others
        chosen = None if who is None else torch.from_numpy(who).to(clean.device)
        rows = clean if chosen is None else clean[chosen]
        counts = clock.context(streams)
        attack = self.current_attack()
        if depth := self._looks_back(attack):
            past = clock.past_of("rows", depth, rows.numpy(force=True))
            looked = slice(None) if streams is None else streams
            counts |= past.context(looked)
        known: dict[Any, Any] = {name: value.to(clean.device) for name, value in counts.items()}
        for name, value in ({} if extra is None else extra).items():
            known[name] = value if chosen is None else value[chosen]
        context = Rows([data], self.key, who=who, extra=known)
        if rows.is_floating_point() and bool(torch.isnan(rows).any()):
            check_no_nan(rows, self._over(context), self.key)
        seen = attack(rows, context=context, bounds=facts.bounds, generator=clock.streams(streams))
        seen = seen if settle is None else settle(seen, rows, context)
        if depth:
            past.push(rows.numpy(force=True), seen.numpy(force=True), looked)
        count(clock, (seen != rows).reshape(rows.shape[0], -1).any(1), streams)
        if chosen is None:
            return seen
        merged = others.clone()
        merged[chosen] = seen
        return merged

    def _looks_back(self, attack: Attack) -> int:
        """How many steps; asked of a new attack only, since it walks through its parts."""
        if self._depth is None or self._depth[0] is not attack:
            self._depth = attack, memory(attack)
        return self._depth[1]

    def _who(self, data: TensorDictBase, mask: Mask | None, agents: int) -> Mask | None:
        """Which rows are attacked: of the environments in the mask, the agents that are alive."""
        who = mask if mask is None or agents == 1 else mask.repeat(agents)
        group = group_of(self.key)
        alive = data.get((*group, "mask"), None) if group else None
        if alive is None or bool(alive.all()):
            return who
        living: Mask = alive.reshape(-1).numpy(force=True)
        return living if who is None else who & living

    def _over(self, context: Rows) -> Tensor | None:
        """Which rows belong to an episode that has ended."""
        over = None
        for key in self.container.done_keys:
            done = context.get(key)
            if done is not None:
                done = done.reshape(done.shape[0], -1).any(1)
                over = done if over is None else over | done
        return over


def count(clock: EpisodeClock, changed: Tensor, streams: NDArray[np.int64] | None) -> None:
    """Count an attack call on some streams of a clock, or on all."""
    perturbed: Mask = changed.numpy(force=True)
    if streams is None:
        clock.record(perturbed)
        return
    attacked, acted = np.zeros((2, len(clock.agent)), dtype=np.bool_)
    attacked[streams], acted[streams] = perturbed, True
    clock.record(attacked, acted)
