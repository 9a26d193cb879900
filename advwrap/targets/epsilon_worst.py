"""The epsilon-worst adversary of VALT-EPS: the worst case with probability kappa, uniform noise otherwise."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from advwrap.attacks import PGD, Attack, Mixture, Noise
from advwrap.attacks.ascent import StepSize
from advwrap.attacks.region import AnySet
from advwrap.objectives import LowValue
from advwrap.victims import AnyCritic, AnyPolicy


def epsilon_worst(
    policy: AnyPolicy,
    critic: AnyCritic,
    *,
    within: AnySet,
    kappa: float | Callable[[], float | Tensor],
    steps: int = 2,
    step_size: StepSize | None = None,
) -> Attack:
    """The epsilon-worst distribution: a row is the worst one with probability kappa, uniform in the set otherwise.

    nu(s~ | s) = kappa delta(s~ - s*) + (1 - kappa) U(s~; s + D)

    with s* = argmin over s + D of mean_i Q_i(s, mu(s~)), searched by PGD from a random start: the true state in Q, the
    action mu that the victim takes when it sees s~, the mean of the twin critics, no entropy. In a batch for
    `Perturb`, the unmodified `SACLoss` then bootstraps V_nu(s') = kappa V(s', s*) + (1 - kappa) E_U[V(s', s~)].

    Source: VALT, eq. 12 and 45, Algorithm 2, appendices C.1 and D.2. The paper does not say its step size; PGD's own
        (2.5 / steps of the radius) reaches every vertex of the box in two steps. The paper writes delta(s*) for the
        point that PGD finds; it is the worst one only where the objective has a single slope.

    Args:
        policy: The victim.
        critic: Q(s, a); a TorchRL loss for its live twin critics.
        within: Where the perturbation may live.
        kappa: The probability of the worst case; the paper's schedule is ``Linear(0.0, 1.0, steps=...)``.
        steps: Gradients of PGD.
        step_size: Of PGD, a fraction of the radius; 2.5 / steps by default.

    Returns:
        ``Mixture((kappa, PGD(LowValue(policy, critic), ...)), (None, Noise(within)))``.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> import torch
        >>> from advwrap import LinfBall
        >>> attack = epsilon_worst(torch.tanh, lambda obs, act: act.sum(-1), within=LinfBall(0.5), kappa=0.5)
        >>> seen = attack(torch.zeros(1000, 1), generator=torch.Generator().manual_seed(0))
        >>> 450 < int((seen == -0.5).sum()) < 550
        True
    """
    worst = PGD(LowValue(policy, critic), within=within, steps=steps, step_size=step_size)
    return Mixture((kappa, worst), (None, Noise(within)))
