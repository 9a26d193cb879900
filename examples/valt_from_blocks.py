"""VALT-EPS from public parts, in a plain loop: for people who have a trainer of their own.

    python examples/valt_from_blocks.py [--steps 20000]

What turns SAC into VALT-EPS are the lines marked with an arrow; TorchRL's `SACLoss` is unmodified. `advwrap train
valt-eps` has the same targets on TorchRL's trainer, compiled and with checkpoints, and what the paper has besides:
running statistics, prioritised replay, the Huber loss, the schedule of the regulariser's radius.
"""

from __future__ import annotations

import torch
import tyro
from tensordict.nn import NormalParamExtractor, TensorDictModule
from torch import nn
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.envs import Compose, DoubleToFloat, EnvBase, GymEnv, ObservationNorm, RewardScaling, TransformedEnv
from torchrl.envs.utils import ExplorationType, set_exploration_type
from torchrl.modules import MLP, ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import SACLoss, SoftUpdate

from advwrap import (
    PGD,
    AdversarialObs,
    Attack,
    Gated,
    Identity,
    Linear,
    LinfBall,
    LowValue,
    Noise,
    Perturb,
    WithProbability,
)
from advwrap.losses import SmoothPolicy
from advwrap.targets import epsilon_worst


def environment(task: str, attack: Attack, norm: ObservationNorm) -> EnvBase:
    """The task, normalised, then attacked: the radius is in normalised units."""
    env = TransformedEnv(GymEnv(task), Compose(DoubleToFloat(), RewardScaling(0.0, 0.1), norm.clone()))
    return AdversarialObs(env, attack=attack)  # <-


def normaliser(task: str) -> ObservationNorm:
    """Statistics of random actions."""
    env = TransformedEnv(GymEnv(task), Compose(DoubleToFloat(), ObservationNorm(in_keys=["observation"])))
    env.set_seed(0)
    env.transform[1].init_stats(2_000, reduce_dim=0, cat_dim=0)
    fitted: ObservationNorm = env.transform[1].clone()
    fitted.scale.data.clamp_(max=1e3)  # features that never move
    return fitted


def networks(env: EnvBase, hidden: tuple[int, ...]) -> tuple[ProbabilisticActor, SACLoss]:
    """A squashed Gaussian policy of what is seen, and SAC's loss with critics of the truth."""
    features, size = env.observation_spec["observation"].shape[0], env.action_spec.shape[0]
    network = nn.Sequential(MLP(features, 2 * size, num_cells=hidden, activation_class=nn.ReLU), NormalParamExtractor())
    actor = ProbabilisticActor(
        TensorDictModule(network, ["observation"], ["loc", "scale"]),
        in_keys=["loc", "scale"],
        distribution_class=TanhNormal,
        distribution_kwargs={"low": env.action_spec.space.low, "high": env.action_spec.space.high},
        return_log_prob=False,
    )
    critic = MLP(features + size, 1, num_cells=hidden, activation_class=nn.ReLU)
    loss = SACLoss(
        actor,
        ValueOperator(critic, in_keys=["clean_observation", "action"]),  # <-
        num_qvalue_nets=2,
        target_entropy=-float(size),
    )
    loss.make_value_estimator(gamma=0.99)
    return actor, loss


def mean_return(env: EnvBase, actor: ProbabilisticActor, episodes: int = 5) -> float:
    """Of the mean action, in the units of the scaled reward."""
    env.set_seed(1_000)
    with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
        returns = [env.rollout(1_000, actor)["next", "reward"].sum() for _ in range(episodes)]
    return float(torch.stack(returns).mean())


def main(task: str = "InvertedDoublePendulum-v5", steps: int = 20_000, epsilon: float = 0.03, seed: int = 0) -> None:
    """Train, and compare the natural return with that under attack.

    Args:
        task: Id of a Gymnasium task with vector observations and box actions.
        steps: Environment steps.
        epsilon: Radius, in normalised units.
        seed: Of everything random.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    norm = normaliser(task)
    ball = LinfBall(epsilon)
    kappa = Linear(0.0, 1.0, steps=int(0.8 * steps))
    env = environment(task, Gated(Noise(ball), WithProbability(0.5)), norm)  # <-
    env.set_seed(seed)
    actor, loss = networks(env, (64, 64))
    perturb = Perturb(epsilon_worst(actor, loss, within=ball, kappa=kappa), seed=seed)  # <-
    smooth = SmoothPolicy.sgld(actor, within=ball, coefficient=1.0, seed=seed)  # <-

    optimiser = torch.optim.Adam(loss.parameters(), lr=1e-3)
    updater = SoftUpdate(loss, tau=0.005)
    buffer = TensorDictReplayBuffer(storage=LazyTensorStorage(steps), batch_size=256)
    collector = Collector(env, actor, frames_per_batch=50, total_frames=steps, init_random_frames=1_000)
    for data in collector:
        buffer.extend(data.reshape(-1))
        if len(buffer) < 1_000:
            continue
        for _ in range(data.numel()):
            batch = perturb(buffer.sample())  # <-
            losses = {**loss(batch), **smooth(batch)}  # <-
            optimiser.zero_grad()
            sum(value for name, value in losses.items() if name.startswith("loss_")).backward()
            optimiser.step()
            updater.step()
        kappa.advance(data.numel())  # <-

    worst = PGD(LowValue(actor, loss), within=ball, steps=10)
    for name, attack in (("natural", Identity()), ("PGD on Q", worst)):
        print(f"{name:10} {mean_return(environment(task, attack, norm), actor):8.1f}")


if __name__ == "__main__":
    tyro.cli(main)
