"""A network that learns where the victim is weak: a random perturbation for every observation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from tensordict.nn import NormalParamExtractor
from torch import Tensor, nn

from advwrap.errors import check
from advwrap.victims import Gaussian, Policy


class GaussianAdversary(nn.Module):
    """A learned distribution of perturbations in a box: a squashed Gaussian in units of the radius.

    u = tanh(z),   z ~ N(loc(s), scale(s)),   s~ = s + eps u

    With `Learned` it is an attack, with `AdversaryLoss` it learns the soft-worst perturbation of VALT::

        adversary = GaussianAdversary(17)
        attack = Learned(adversary, within=LinfBall(0.15), sample=True)
        loss = AdversaryLoss(adversary, actor, sac_loss, within=LinfBall(0.15), temperature=8.0)

    As initialised it is close to uniform noise (loc near 0, scale near 1: KL 0.02 per feature).

    Source: VALT, appendix C.2 and D.2: the architecture of SAC's policy with as many outputs as observed features;
        `reset_parameters` is the reset of Algorithm 3.

    Args:
        features: Of the observation.
        hidden: Units of the hidden layers, with ReLU between them.
        generator: For the initial weights; torch's global one by default.

    Shapes: [B, features] -> loc, scale, each [B, features].

    Example:
        >>> import torch
        >>> from advwrap import Learned, LinfBall
        >>> adversary = GaussianAdversary(3, hidden=(16,))
        >>> attack = Learned(adversary, within=LinfBall(0.1), sample=True)
        >>> seen = attack(torch.zeros(5, 3), generator=torch.Generator().manual_seed(0))
        >>> bool((seen.abs() <= 0.1).all()), len(seen.unique())
        (True, 15)
    """

    def __init__(
        self, features: int, *, hidden: Sequence[int] = (256, 256), generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        check(features >= 1, f"`features` must be >= 1, got {features}.")
        check(all(units >= 1 for units in hidden), f"`hidden` must hold numbers of units >= 1, got {tuple(hidden)}.")
        self.features, self.hidden = features, tuple(hidden)
        sizes = [features, *hidden]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.Linear(sizes[-1], 2 * features), NormalParamExtractor())
        if generator is not None:
            self.reset_parameters(generator)

    @property
    def policy(self) -> Policy:
        """How attacks read it: the squashed Gaussian, with its live weights."""
        return Gaussian(self.net, squash=torch.tanh)

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """The loc and the scale before the tanh."""
        loc, scale = self.net(observation)
        return loc, scale

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights, in place: Algorithm 3 forgets the adversary and learns it again. Reset its optimiser too.

        Args:
            generator: torch's global one by default.
        """
        with torch.no_grad():
            for layer in self.net:
                if isinstance(layer, nn.Linear):
                    bound = 1.0 / math.sqrt(layer.in_features)  # torch's own initialisation
                    layer.weight.uniform_(-bound, bound, generator=generator)
                    layer.bias.uniform_(-bound, bound, generator=generator)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.features}, hidden={self.hidden})"
