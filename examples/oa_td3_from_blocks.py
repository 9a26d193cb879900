"""OA-TD3 from public parts, in a plain loop: for people who have a trainer of their own.

    python examples/oa_td3_from_blocks.py [--steps 15000]

What turns TD3 into OA-TD3 are the lines marked with an arrow; TorchRL's `TD3Loss` is unmodified. `advwrap train oa-td3`
is on TorchRL's trainer, with checkpoints and running statistics; there the radius grows, and the adversary acts in a
quarter of the environments that collect.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import tyro
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import nn
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.envs import Compose, DoubleToFloat, EnvBase, GymEnv, InitTracker, RewardScaling, TransformedEnv
from torchrl.modules import MLP, AdditiveGaussianModule, TanhModule, ValueOperator
from torchrl.objectives import SoftUpdate, TD3Loss

from advwrap import AdversarialAction, Attack, Bounds, Identity, LinfBall, RandomVertex
from advwrap.losses import RobustCriticLoss
from advwrap.targets import worst_action
from advwrap.training import Surgery, Update

REWARD_SCALE = 0.1
"""So that the critics begin near their values."""


def environment(task: str, attack: Attack | None = None) -> EnvBase:
    """The task; where it is attacked, something else is executed than what the actor does."""
    env = TransformedEnv(GymEnv(task), Compose(InitTracker(), DoubleToFloat(), RewardScaling(0.0, REWARD_SCALE)))
    return env if attack is None else AdversarialAction(env, attack=attack)


def smoothed(loss: TD3Loss, low: torch.Tensor, high: torch.Tensor) -> Callable[[TensorDictBase], torch.Tensor]:
    """The noisy action of TD3's target actor, around which the robust target looks for the worst."""

    def action(following: TensorDictBase) -> torch.Tensor:
        with loss.target_actor_network_params.to_module(loss.actor_network):
            mean = loss.actor_network(following.select("observation"))["action"]
        return (mean + (0.2 * torch.randn_like(mean)).clamp(-0.5, 0.5)).clamp(low, high)

    return action


def mean_return(env: EnvBase, actor: TensorDictSequential, episodes: int = 5) -> float:
    """Of the deterministic policy, in the units of the task."""
    env.set_seed(1_000)
    with torch.no_grad():
        returns = [env.rollout(1_000, actor)["next", "reward"].sum() for _ in range(episodes)]
    return float(torch.stack(returns).mean()) / REWARD_SCALE


def main(
    task: str = "InvertedDoublePendulum-v5",
    steps: int = 15_000,
    epsilon: float = 0.2,
    omega: float = 0.5,
    seed: int = 0,
) -> None:
    """Train, and compare the natural return with that under attack.

    Args:
        task: Id of a Gymnasium task with vector observations and box actions.
        steps: Environment steps.
        epsilon: Radius, in units of half the range of each action.
        omega: Weight of the nominal objective.
        seed: Of everything random.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    env = environment(task)
    env.set_seed(seed)
    low, high = env.action_spec.space.low, env.action_spec.space.high
    features, size = env.observation_spec["observation"].shape[0], len(low)
    actor = TensorDictSequential(
        TensorDictModule(
            MLP(features, size, num_cells=(64, 64), activation_class=nn.ReLU), ["observation"], ["action"]
        ),
        TanhModule(in_keys=["action"], spec=env.action_spec),
    )

    def critic() -> ValueOperator:
        return ValueOperator(
            MLP(features + size, 1, num_cells=(64, 64), activation_class=nn.ReLU), ["observation", "action"]
        )

    loss = TD3Loss(actor, critic(), bounds=(low, high), num_qvalue_nets=2, delay_actor=True)
    loss.make_value_estimator(gamma=0.99)
    within, box = LinfBall(epsilon * (high - low) / 2), Bounds(low, high)  # <-
    next_action = smoothed(loss, low, high)  # <-
    robust = RobustCriticLoss(  # <-
        actor, critic(), within=within, bounds=box, next_action=next_action, num_qvalue_nets=2, seed=seed
    )
    params = {id(p): p for module in (loss, robust) for p in module.parameters() if p.requires_grad}
    update = Update(
        [loss, robust],  # <-
        torch.optim.Adam(params.values(), lr=1e-3),
        weights={"loss_actor": omega, "loss_robust_actor": 1 - omega},  # <-
        surgery=Surgery("loss_actor", "loss_robust_actor"),  # <-
        every={"loss_actor": 2, "loss_robust_actor": 2, "robust_value": 2},
    )
    targets = SoftUpdate(loss, tau=0.005), SoftUpdate(robust, tau=0.005)  # <-
    buffer = TensorDictReplayBuffer(storage=LazyTensorStorage(steps), batch_size=256)
    explore = TensorDictSequential(actor, AdditiveGaussianModule(env.action_spec, sigma_init=0.1, sigma_end=0.1))
    for data in Collector(env, explore, frames_per_batch=50, total_frames=steps, init_random_frames=1_000):
        buffer.extend(data.reshape(-1))
        if len(buffer) < 1_000:
            continue
        for _ in range(data.numel()):
            update(buffer.sample())
            if update.steps % 2 == 0:
                for target in targets:
                    target.step()

    attacks = {
        "natural": Identity(),
        "random vertex": RandomVertex(within),
        "Min-Q": worst_action(loss, within=within),
        "Min-OA-Q": worst_action(robust, within=within),
    }
    for name, attack in attacks.items():
        print(f"{name:14} {mean_return(environment(task, attack), actor):8.1f}")


if __name__ == "__main__":
    tyro.cli(main)
