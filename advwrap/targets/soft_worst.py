"""The soft-worst adversary of VALT by sampling: no network, no gradients, one batched evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from advwrap.attacks.copied_rows import CopiedContext, copies, streams_of_copies
from advwrap.attacks.region import AnySet, Region, check_set, region
from advwrap.errors import check_integer
from advwrap.randomness import Streams, as_streams
from advwrap.sets import UNBOUNDED, Bounds
from advwrap.sets.coefficient import Coefficient, check_coefficient, present
from advwrap.targets.soft_value import SoftValue
from advwrap.victims import AnyCritic, AnyPolicy, Context


@dataclass(frozen=True, eq=False)
class SoftWorst:
    """The soft-worst adversary by sampling: n uniform candidates per row, one of them chosen by its badness.

    s~_k ~ U(s + D), k = 1..n,    w_k = softmax_k(-V(s, s~_k) / alpha),    s~ = s~_k with probability w_k

    where V(s, s~) is the value of the state s for a victim that sees s~ (`SoftValue`) and alpha the temperature: 0 is
    the worst of the candidates, infinity uniform noise. As n grows, s~ follows eq. 9, nu(s~|s) = p(s~|s)
    exp(-V(s, s~) / alpha) / Z; for n = 1 it is uniform noise. All n B candidates go through the networks together.

    Source: VALT, eq. 9, 10 and 26. The paper fits a network to eq. 9 (`GaussianAdversary`, `AdversaryLoss`); drawing
        from it by self-normalised importance sampling with the prior as the proposal is an extension of ours. It needs
        no training and follows every change of the critics at once; it costs n forward passes per row, and where the
        worst states are a small part of the set it misses them (the estimate of eq. 26 is too high).

    Args:
        policy: The victim.
        critic: Q(s, a), anything that `advwrap.victims.as_critic` takes; a TorchRL loss for its live critics.
        within: Where the perturbation may live; the prior p is uniform there.
        temperature: alpha_attk > 0, in the units of the value: a number or a schedule.
        samples: Candidates n per row.
        entropy: alpha_ent; None reads it live from a TorchRL loss given as `critic`, and is 0 for any other critic.
        actions: Random actions per candidate, in pairs of opposite noise; 0 takes the mean action and leaves the
            entropy out. The candidates of a row share their noise, else the one with the luckiest action would be
            chosen.

    Shapes: [B, ...] -> [B, ...].

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> import torch
        >>> from advwrap import LinfBall
        >>> attack = SoftWorst(
        ...     lambda obs: obs, lambda obs, act: act.sum(-1), within=LinfBall(1.0), temperature=0.1, samples=64
        ... )
        >>> clean = torch.zeros(4000, 1)
        >>> seen = attack(clean, generator=torch.Generator().manual_seed(0))
        >>> round(float(seen.mean()), 1)  # eq. 9 is an exponential from -1 upwards, with mean -1 + alpha
        -0.9
        >>> round(float(attack.value(clean, generator=torch.Generator().manual_seed(0)).mean()), 1)
        -0.7
    """

    policy: AnyPolicy
    critic: AnyCritic
    within: AnySet = field(kw_only=True)
    temperature: Coefficient = field(kw_only=True)
    samples: int = field(default=16, kw_only=True)
    entropy: Coefficient | None = field(default=None, kw_only=True)
    actions: int = field(default=2, kw_only=True)

    def __post_init__(self) -> None:
        check_set(self.within)
        check_coefficient("temperature", self.temperature, positive=True)
        check_integer("samples", self.samples, least=1)
        soft = SoftValue(self.policy, self.critic, entropy=self.entropy, actions=self.actions)
        for name in ("policy", "critic", "entropy"):
            object.__setattr__(self, name, getattr(soft, name))
        object.__setattr__(self, "_soft", soft)

    def __call__(
        self,
        clean: Tensor,
        *,
        context: Context | None = None,
        bounds: Bounds = UNBOUNDED,
        generator: Streams | torch.Generator | None = None,
    ) -> Tensor:
        """Perturb a batch."""
        area, x, energy, streams = self._candidates(clean, context, bounds, generator)
        return _chosen(area, x, _weights(energy), streams)

    def with_divergence(
        self,
        clean: Tensor,
        *,
        context: Context | None = None,
        bounds: Bounds = UNBOUNDED,
        generator: Streams | torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The perturbed batch, and the estimate of KL(nu || p) that belongs to it: sum_k w_k log(n w_k), [B].

        It lies between 0 and log n, and E_w[V] + alpha KL is exactly `value`.
        """
        area, x, energy, streams = self._candidates(clean, context, bounds, generator)
        weights = _weights(energy)
        divergence = torch.special.xlogy(weights, self.samples * weights).sum(0)
        return _chosen(area, x, weights, streams), _as(clean, divergence)

    def value(
        self,
        clean: Tensor,
        *,
        context: Context | None = None,
        bounds: Bounds = UNBOUNDED,
        generator: Streams | torch.Generator | None = None,
    ) -> Tensor:
        """The soft worst-case value of every row, eq. 26: -alpha log mean_k exp(-V(s, s~_k) / alpha), [B].

        Never below the least V of the candidates and never above their mean; on average too high by Jensen's
        inequality, less so with more samples.
        """
        _, _, energy, _ = self._candidates(clean, context, bounds, generator)
        # Small differences at high temperatures, and large ones at low temperatures, both keep their digits.
        least = energy.amin(0)
        mean = torch.expm1(least - energy).mean(0)
        return _as(clean, (least - torch.log1p(mean)) * present(self.temperature))

    @torch.no_grad()
    def _candidates(
        self,
        clean: Tensor,
        context: Context | None,
        bounds: Bounds,
        generator: Streams | torch.Generator | None,
    ) -> tuple[Region, Tensor, Tensor, Streams]:
        """The region, the candidates [n, B, ...], V / alpha of each [n, B] in float64, and the rows' streams."""
        area = region(clean, self.within, bounds, context)
        streams = as_streams(generator, area.clean)
        n, rows = self.samples, area.clean.shape[0]
        many, truth = streams_of_copies(streams, n), copies(area.clean, n)
        given = None if context is None else CopiedContext(context, n)
        x = region(truth, self.within, bounds, given).sample(many)
        soft: SoftValue = self._soft  # type: ignore[attr-defined]

        def normal(like: Tensor) -> Tensor:
            # One action noise for all candidates of a row: with one each, the luckiest noise would be chosen.
            return copies(streams.normal(like[:rows]), n)

        value = soft(truth, x, normal, given)
        energy = value.double().reshape(n, rows) / present(self.temperature)
        return area, x.reshape(n, *area.clean.shape), energy, streams


def _as(clean: Tensor, numbers: Tensor) -> Tensor:
    """In the dtype of the rows, unless these are indices."""
    return numbers.to(clean.dtype if clean.is_floating_point() else torch.get_default_dtype())


def _weights(energy: Tensor) -> Tensor:
    """softmax(-V / alpha) over the candidates; those whose value is not a number are never chosen."""
    limits = torch.finfo(energy.dtype)
    return (-energy).nan_to_num(nan=limits.min, posinf=limits.max, neginf=limits.min).softmax(0)


def _chosen(area: Region, x: Tensor, weights: Tensor, streams: Streams) -> Tensor:
    """One candidate per row, by the inverse of its cumulative weights."""
    rows = area.clean.shape[0]
    dice = streams.uniform(torch.empty(rows, dtype=weights.dtype, device=weights.device))
    choice = (weights.cumsum(0) <= dice).sum(0).clamp_max(weights.shape[0] - 1)
    return area.seal(x[choice, torch.arange(rows, device=x.device)])
