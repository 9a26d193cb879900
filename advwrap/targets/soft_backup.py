"""The exact soft-worst target: the price of the adversary's choice, paid into the reward."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from tensordict.utils import NestedKey, unravel_key
from torch import Tensor

from advwrap.errors import check, check_fraction
from advwrap.modules import Perturb
from advwrap.modules.rows import beside
from advwrap.randomness import Streams
from advwrap.sets import UNBOUNDED, Bounds
from advwrap.sets.coefficient import Coefficient, check_coefficient, present
from advwrap.victims import Context


class Divergent(Protocol):
    """An attack that knows how far its distribution is from the uniform one."""

    def with_divergence(
        self,
        clean: Tensor,
        *,
        context: Context | None = None,
        bounds: Bounds = UNBOUNDED,
        generator: Streams | torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The perturbed batch, and an estimate of KL(nu || p) per row, [B]."""
        ...


class SoftBackup(TensorDictModuleBase):  # type: ignore[misc]
    """`Perturb` with the whole soft-worst value: the divergence of the adversary is paid into the reward.

    r' <- r + gamma (1 - terminated) alpha KL(nu(.|s') || p)

    so that a one-step target, unmodified, bootstraps eq. 26::

        y = r + gamma (1 - terminated) (V(s', s~') + alpha KL)

        E_nu[V + alpha KL] = -alpha log E_p[exp(-V / alpha)]

    Without it (`Perturb` alone) the target is eq. 54, which the paper's appendix C implements: the value under the
    soft-worst adversary, without the price of its choice. That target is lower by alpha KL, so its agent is more
    pessimistic, and its operator is not the one whose contraction theorem 4.8 proves.

    The true reward is kept beside, as ``("next", "clean_reward")``, and always started from: twice is once.

    Source: VALT, eq. 7, 26, 27 against eq. 54. Only for targets of one step (`TD0Estimator`, the default of `SACLoss`):
        n-step and lambda returns would discount the price again.

    Args:
        attack: An adversary that knows its divergence: `SoftWorst`, or a `Learned` one that acts stochastically.
        gamma: The discount of the loss.
        temperature: alpha_attk; that of the attack where it has one.
        key: What the victim reads.
        clean_key: Where the truth is; by default beside `key`, with ``clean_`` before its name.
        reward_key: The reward.
        terminated_key: The end of the task.
        bounds: The valid range of the observation.
        seed: Of the random streams, fresh entropy by default; their state is in `state_dict`.

    Shapes: any batch size; one reward per row of observations.

    Reads: `clean_key` or `key` at root and under ``"next"``, the reward, the end; what the victim reads besides.

    Writes: what `Perturb` writes, `reward_key`, and the true reward beside it.

    Raises:
        TypeError: If the attack does not know its divergence.
        ValueError: If `gamma` is not in [0, 1], or there is no temperature.

    Example:
        >>> from tensordict import TensorDict
        >>> from advwrap import LinfBall
        >>> from advwrap.targets import SoftWorst
        >>> attack = SoftWorst(
        ...     torch.tanh, lambda obs, act: act.sum(-1), within=LinfBall(0.5), temperature=0.1, samples=8
        ... )
        >>> following = {"observation": torch.zeros(3, 1), "reward": torch.zeros(3, 1)}
        >>> following["terminated"] = torch.tensor([[False], [False], [True]])
        >>> batch = TensorDict({"observation": torch.zeros(3, 1), "next": TensorDict(following, [3])}, [3])
        >>> (SoftBackup(attack, gamma=0.99)(batch)["next", "reward"] > 0).squeeze(-1)
        tensor([ True,  True, False])
    """

    def __init__(
        self,
        attack: Divergent,
        *,
        gamma: float,
        temperature: Coefficient | None = None,
        key: NestedKey = "observation",
        clean_key: NestedKey | None = None,
        reward_key: NestedKey = ("next", "reward"),
        terminated_key: NestedKey = ("next", "terminated"),
        bounds: Bounds = UNBOUNDED,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        if not hasattr(attack, "with_divergence"):
            raise TypeError(
                f"`attack` must know its divergence, got {type(attack).__name__}. "
                "Fix: SoftWorst(...) or Learned(adversary, sample=True, ...); Perturb(attack) for any other."
            )
        check_fraction("gamma", gamma)
        alpha = getattr(attack, "temperature", None) if temperature is None else temperature
        check(alpha is not None, f"`temperature` must be given for a {type(attack).__name__}, which has none.")
        check_coefficient("temperature", alpha, positive=True)
        self.gamma = float(gamma)
        self.temperature = alpha
        self._heard = _Heard(attack)
        self.perturb = Perturb(self._heard, key, clean_key, bounds=bounds, seed=seed)
        self.reward_key, self.terminated_key = unravel_key(reward_key), unravel_key(terminated_key)
        self.clean_reward_key = beside(self.reward_key, "clean_")
        self.in_keys = [*self.perturb.in_keys, self.reward_key, self.terminated_key]
        self.out_keys = [*self.perturb.out_keys, self.reward_key, self.clean_reward_key]

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Perturb and pay in place, and return the tensordict."""
        tensordict = self.perturb(tensordict)
        of_next = self._heard.divergence().chunk(2)[1]
        reward = tensordict.get(self.clean_reward_key, None)
        if reward is None:
            reward = tensordict.get(self.reward_key)
        going_on = ~tensordict.get(self.terminated_key)
        price = self.gamma * present(self.temperature) * going_on * of_next.to(reward.dtype).reshape(reward.shape)  # type: ignore[arg-type]
        tensordict.set(self.clean_reward_key, reward)
        tensordict.set(self.reward_key, reward + price)
        return tensordict

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._heard.attack!r}, gamma={self.gamma})"


class _Heard:
    """The attack as `Perturb` calls it, which keeps what it says about its divergence until it is asked."""

    def __init__(self, attack: Divergent) -> None:
        self.attack = attack
        self.last: Tensor | None = None

    def __call__(self, clean: Tensor, **options: Any) -> Tensor:
        seen, self.last = self.attack.with_divergence(clean, **options)
        return seen

    def divergence(self) -> Tensor:
        """Of the last call; then it is forgotten."""
        last, self.last = self.last, None
        assert last is not None  # noqa: S101 - `Perturb` has just called the attack
        return last
