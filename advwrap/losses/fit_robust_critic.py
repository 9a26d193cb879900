"""Robust critics of a policy that somebody else trained: what the worst executed action is searched on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor, nn
from torchrl.modules import MLP, ValueOperator
from torchrl.objectives import SoftUpdate

from advwrap.errors import check, check_fraction, check_integer
from advwrap.losses.robust_critic import RobustCriticLoss, Solver
from advwrap.progress import progress
from advwrap.sets import Bounds, PerturbationSet
from advwrap.victims import AnyPolicy, as_policy
from advwrap.victims.tensordict_critic import LossCritic


@dataclass(frozen=True)
class RobustCriticTraining:
    """How long and how fast robust critics are fitted.

    Args:
        batches: How many batches of transitions to take.
        updates: Gradient steps on all of them together.
        batch_size: Transitions per step.
        learning_rate: Of Adam.
        gamma: Discount per step.
        tau: Share of the new weights in the target critics per update.
        hidden: Units of the hidden layers.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> RobustCriticTraining(updates=100).batches
        10
    """

    batches: int = 10
    updates: int = 4_000
    batch_size: int = 256
    learning_rate: float = 1e-3
    gamma: float = 0.99
    tau: float = 0.005
    hidden: tuple[int, ...] = (128, 128)

    def __post_init__(self) -> None:
        for name in ("batches", "updates", "batch_size"):
            check_integer(name, getattr(self, name), least=1)
        check(self.learning_rate > 0, f"`learning_rate` must be > 0, got {self.learning_rate}.")
        check(0 < self.tau <= 1, f"`tau` must be in (0, 1], got {self.tau}.")
        check_fraction("gamma", self.gamma)
        check(all(units >= 1 for units in self.hidden), f"`hidden` must hold sizes >= 1, got {self.hidden}.")


def fit_robust_critic(
    batches: Iterator[TensorDict],
    policy: AnyPolicy,
    *,
    within: PerturbationSet,
    bounds: Bounds,
    training: RobustCriticTraining | None = None,
    solver: Solver | None = None,
    seed: int = 0,
) -> LossCritic:
    """Evaluate a frozen policy against the optimal adversary of its actions.

    The operator of `RobustCriticLoss`, iterated on replayed transitions; the policy does not learn. Its own critics, if
    it has any, know nothing of an adversary, and those of another policy make a transfer attack.

    Source: Min-OA-Q of OA-PI, arXiv 2507.03372, for policies that have no such critic of their own.

    Args:
        batches: Transitions with executed actions from all over the set: `sarsa_batches` of the policy with noise.
        policy: Anything that `advwrap.victims.as_policy` takes, played by its mean within `bounds`; frozen.
        within: Where the perturbation may live, in units of the action.
        bounds: The valid range of executed actions.
        training: The schedule.
        solver: Makes the adversary that the targets expect from the critics; by default `worst_action`. With
            ``lambda critic: Identity()`` it is plain policy evaluation: Q(s, a) of the agent, for Min-Q.
        seed: Of the initial weights, the samples and the searches.

    Returns:
        Twin critics for `worst_action`, ``critic(observation, action) -> [2, B]``.

    Raises:
        ValueError: If there are no batches.

    Example:
        >>> import gymnasium as gym
        >>> from advwrap.losses import sarsa_batches
        >>> from advwrap.sets import LinfBall
        >>> net = nn.Sequential(nn.Linear(3, 1), nn.Tanh())
        >>> played = sarsa_batches(lambda: gym.make("Pendulum-v1"), lambda obs: 2 * obs[:, 1:2], frames=64)
        >>> short = RobustCriticTraining(batches=1, updates=2, batch_size=16, hidden=(8,))
        >>> critic = fit_robust_critic(played, net, within=LinfBall(0.5), bounds=Bounds(-2.0, 2.0), training=short)
        >>> critic(torch.zeros(4, 3), torch.zeros(4, 1)).shape
        torch.Size([2, 4])
    """
    plan = RobustCriticTraining() if training is None else training
    taken = list(islice(batches, plan.batches))
    check(len(taken) > 0, "`batches` must hold at least one batch, got none.", fix="sarsa_batches(make_env, policy).")
    data = TensorDict.cat(taken)
    generator = torch.Generator().manual_seed(seed)
    like, features = data["action"], data["observation"].shape[-1] + data["action"].shape[-1]
    victim = as_policy(policy)
    low, high = (torch.as_tensor(limit).to(like) for limit in (bounds.low, bounds.high))

    def next_action(following: TensorDictBase) -> Tensor:
        return victim.mean(following["observation"]).clamp(low, high)

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed those of the GPUs, too
        twins = [MLP(features, 1, num_cells=plan.hidden, activation_class=nn.ReLU).to(like) for _ in range(2)]
        loss = RobustCriticLoss(
            None,
            [ValueOperator(network, in_keys=["observation", "action"]) for network in twins],
            within=within,
            bounds=bounds,
            solver=solver,
            next_action=next_action,
            gamma=plan.gamma,
            seed=seed,
        )
    params = list(loss.qvalue_network_params.parameters())
    optimiser, updater = torch.optim.Adam(params, lr=plan.learning_rate), SoftUpdate(loss, tau=plan.tau)
    with progress("robust critic", total=plan.updates) as advance:
        for _ in range(plan.updates):
            rows = torch.randint(len(data), (plan.batch_size,), generator=generator)
            error = loss(data[rows.to(like.device)])["loss_robust_qvalue"]
            gradients = torch.autograd.grad(error, params)
            for p, gradient in zip(params, gradients, strict=True):
                p.grad = gradient
            optimiser.step()
            updater.step()
            advance(1)
    return LossCritic(loss)
