"""Training of robust Sarsa critics, and the scan over their two settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from tensordict import TensorDictBase
from torch import nn
from torchrl.modules import MLP, ValueOperator

from advwrap.errors import check
from advwrap.losses.robust_sarsa import RobustSarsa
from advwrap.progress import progress
from advwrap.sets import Linear

Settings = tuple[float, float]
"""(eps, reg): the radius of the bounds, and the weight of the regulariser."""


@dataclass(frozen=True)
class SarsaTraining:
    """How long and how fast a robust Sarsa critic is trained.

    One iteration takes a new batch of transitions and goes `epochs` times over it. The radius of the bounds is 0 in the
    first third of the training, grows in the second and stays in the last; the learning rate is constant for two thirds
    and falls to 0 in the last.

    Source: Zhang et al. 2020 and the schedule of its reference code, with batches of 2048 steps.

    Args:
        iterations: How many batches to take.
        epochs: Passes over each of them.
        minibatches: Updates per pass.
        learning_rate: Of Adam; the reference takes that of the victim's value function: HalfCheetah 1e-4,
            Hopper 2.5e-4, Walker2d 3e-4, Ant 1e-5.
        gamma: Discount per step.
        hidden: Sizes of the tanh layers; their initial weights are orthogonal.

    Raises:
        ValueError: If a number is below 1.

    Example:
        >>> SarsaTraining(iterations=10).learning_rate_factor(8)
        0.6
    """

    iterations: int = 30
    epochs: int = 10
    minibatches: int = 32
    learning_rate: float = 1e-4
    gamma: float = 0.99
    hidden: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        for name in ("iterations", "epochs", "minibatches"):
            check(getattr(self, name) >= 1, f"`{name}` must be >= 1, got {getattr(self, name)}.")

    def growth(self) -> Linear:
        """From 0 to 1 in the second third of all updates; one step per update."""
        third = max(self.iterations * self.epochs * self.minibatches // 3, 1)
        return Linear(0.0, 1.0, third, begin=third)

    def learning_rate_factor(self, iteration: int) -> float:
        """1, then down to 0 in the last third."""
        return round(min(1.0, 3 * (1 - iteration / self.iterations)), 12)


def fit_robust_sarsa(
    batches: Iterable[TensorDictBase],
    *,
    eps: float = 0.02,
    reg: float = 0.1,
    kind: type[RobustSarsa] = RobustSarsa,
    training: SarsaTraining | None = None,
    seed: int = 0,
) -> nn.Module:
    """Train the critic of the robust Sarsa attack on a policy.

    ::

        critic = fit_robust_sarsa(sarsa_batches(make_env, policy), eps=0.02, reg=0.1)
        attack = PGD(LowValue(policy, critic), within=LinfBall(0.1), steps=10, step_size=0.1, random_start=0.1)

    The attack of the reference: steps of a tenth of the radius, from a start as far away.

    Args:
        batches: Transitions (s, a, r, s', a'), one batch per iteration: `sarsa_batches`, or your own.
        eps: Final radius of the bounds.
        reg: Weight of the regulariser.
        kind: `RobustSarsa`, or `ShuffledSarsa` for the critic of the published tables.
        training: The schedule; that of the papers by default.
        seed: Of the initial weights and the order of the transitions.

    Returns:
        The critic, ``critic(observation, action) -> [B, 1]``.

    Raises:
        ValueError: If there are fewer batches than iterations.
    """
    (critic,) = scan_robust_sarsa(batches, eps=[eps], reg=[reg], kind=kind, training=training, seed=seed).values()
    return critic


def scan_robust_sarsa(
    batches: Iterable[TensorDictBase],
    *,
    eps: Sequence[float] = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3),
    reg: Sequence[float] = (0.1, 0.3, 1.0, 3.0, 10.0),
    kind: type[RobustSarsa] = RobustSarsa,
    training: SarsaTraining | None = None,
    seed: int = 0,
) -> dict[Settings, nn.Module]:
    """Train one critic per pair of settings, all at once on the same transitions.

    They share each minibatch and nothing else, in one stack of networks, which costs little more than the training of
    one. The papers report the lowest return over such a scan (`lowest_over_scan`); the defaults are its settings.

    Args:
        batches: Transitions, one batch per iteration.
        eps: Radii of the bounds.
        reg: Weights of the regulariser.
        kind: `RobustSarsa` or `ShuffledSarsa`.
        training: The schedule; that of the papers by default.
        seed: Of the initial weights and the order of the transitions.

    Returns:
        The critics by (eps, reg).

    Raises:
        ValueError: If there are fewer batches than iterations.

    Example:
        >>> import gymnasium as gym
        >>> from advwrap.losses import sarsa_batches
        >>> batches = sarsa_batches(lambda: gym.make("Pendulum-v1"), lambda obs: obs[:, :1], frames=64)
        >>> short = SarsaTraining(iterations=3, epochs=1, minibatches=4)
        >>> critics = scan_robust_sarsa(batches, eps=[0.1, 0.2], reg=[1.0], training=short)
        >>> list(critics), critics[0.1, 1.0](torch.zeros(5, 3), torch.zeros(5, 1)).shape
        ([(0.1, 1.0), (0.2, 1.0)], torch.Size([5, 1]))
    """
    plan = SarsaTraining() if training is None else training
    settings = list(product(eps, reg))
    check(len(settings) > 0, "`eps` and `reg` must each hold a number, got none.")
    source = iter(batches)
    batch = _next(source, 0, plan)
    like, features = batch["observation"], batch["observation"].shape[-1] + batch["action"].shape[-1]
    generator = torch.Generator().manual_seed(seed)
    networks = [_network(features, plan.hidden, generator).to(like) for _ in settings]
    operators = [ValueOperator(network, in_keys=["observation", "action"]) for network in networks]
    radii, weights = torch.tensor(settings).T.to(like)
    growth = plan.growth()
    loss = kind(operators, eps=lambda: radii * growth(), coefficient=weights, gamma=plan.gamma)
    optimiser = torch.optim.Adam(loss.parameters(), lr=plan.learning_rate, eps=1e-5)
    decay = torch.optim.lr_scheduler.LambdaLR(optimiser, plan.learning_rate_factor)
    with progress("robust Sarsa", total=plan.iterations * plan.epochs) as advance:
        for i in range(plan.iterations):
            batch = batch if i == 0 else _next(source, i, plan)
            for _ in range(plan.epochs):
                order = torch.randperm(len(batch), generator=generator).to(like.device)
                for rows in order.tensor_split(plan.minibatches):
                    growth.advance()
                    optimiser.zero_grad()
                    out = loss(batch[rows])
                    (out["loss_sarsa"] + out["loss_interval"]).backward()
                    optimiser.step()
                advance(1)
            decay.step()
    _unstack(loss, networks)
    return dict(zip(settings, networks, strict=True))


@dataclass(frozen=True)
class LowestOverScan:
    """What a scan found.

    Args:
        settings: (eps, reg) of the strongest critic.
        value: What was measured with it.
        values: All measurements.

    Example:
        >>> LowestOverScan((0.1, 1.0), 250.0, {(0.1, 1.0): 250.0, (0.2, 1.0): 900.0}).settings
        (0.1, 1.0)
    """

    settings: Settings
    value: float
    values: Mapping[Settings, float]


def lowest_over_scan(critics: Mapping[Settings, nn.Module], measure: Callable[[nn.Module], float]) -> LowestOverScan:
    """The lowest of the scan: how the papers report the robust Sarsa attack.

    Args:
        critics: What `scan_robust_sarsa` returns; of two scans, ``{**a, **b}``.
        measure: The mean return under the attack with a critic.

    Example:
        >>> critics = {(0.1, 1.0): nn.Linear(1, 1), (0.2, 1.0): nn.Linear(2, 1)}
        >>> found = lowest_over_scan(critics, lambda critic: -critic.in_features)
        >>> found.settings, found.value
        ((0.2, 1.0), -2)
    """
    check(len(critics) > 0, "`critics` must hold at least one critic, got none.")
    values = {settings: measure(critic) for settings, critic in critics.items()}
    best = min(values, key=lambda settings: values[settings])
    return LowestOverScan(best, values[best], values)


def _next(source: Iterator[TensorDictBase], i: int, plan: SarsaTraining) -> TensorDictBase:
    batch = next(source, None)
    if batch is None:
        raise ValueError(f"`batches` must hold one batch for each of {plan.iterations} iterations, got {i}.")
    return batch.reshape(-1)


def _network(features: int, hidden: Sequence[int], generator: torch.Generator) -> MLP:
    """A tanh network with orthogonal weights of gain sqrt(2), 1 at the end, and no bias."""
    with torch.random.fork_rng(devices=[]):  # its own initial weights are replaced
        network = MLP(features, 1, num_cells=list(hidden), activation_class=nn.Tanh)
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    for layer in layers:
        gain = 1.0 if layer is layers[-1] else 2**0.5
        nn.init.orthogonal_(layer.weight, gain, generator=generator)
        nn.init.zeros_(layer.bias)
    return network


def _unstack(loss: RobustSarsa, networks: Sequence[MLP]) -> None:
    """Give each network the weights of its member, as constants."""
    params = loss.qvalue_network_params.data["module"]
    for i, network in enumerate(networks):
        mine = params[i] if len(networks) > 1 else params
        network.load_state_dict({name: value.clone() for name, value in mine.flatten_keys(".").items()})
        network.requires_grad_(False)
