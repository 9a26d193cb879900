"""OA-DQN from public parts, in a plain loop: a Q-network that expects its actions to be replaced by the worst.

    python examples/oa_dqn_from_blocks.py [--steps 8000] [--expected 0.0]

The task is the cliff walk: thirteen steps along the edge, or seventeen at a distance. With `--expected 0` this is
double Q-learning, which walks along the edge; with the default it keeps away. The minimum over finitely many actions is
exact and costs nothing.
"""

from __future__ import annotations

import torch
import tyro
from tensordict.nn import TensorDictSequential
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.envs import Compose, DTypeCastTransform, EnvBase, GymEnv, InitTracker, StepCounter, TransformedEnv
from torchrl.modules import MLP, EGreedyModule, QValueActor, ValueOperator
from torchrl.objectives import SoftUpdate

from advwrap import AdversarialAction, Attack, Gated, Identity, LowValue, Noise, Search, WithProbability
from advwrap.losses import RobustTableLoss
from advwrap.sets import ActionSet
from advwrap.training import Update

TASK, PATIENCE = "CliffWalking-v1", 100


def environment(attack: Attack | None = None) -> EnvBase:
    """The task, with one-hot states; where it is attacked, something else is executed than what the agent does."""
    floats = DTypeCastTransform(torch.int64, torch.float32, in_keys=["observation"])
    env = TransformedEnv(GymEnv(TASK), Compose(InitTracker(), StepCounter(PATIENCE), floats))
    return env if attack is None else AdversarialAction(env, attack=attack)


def mean_return(env: EnvBase, actor: QValueActor, episodes: int = 20) -> float:
    """Of the greedy agent, within its patience."""
    env.set_seed(1_000)
    with torch.no_grad():
        returns = [env.rollout(PATIENCE, actor)["next", "reward"].sum() for _ in range(episodes)]
    return float(torch.stack(returns).mean())


def main(steps: int = 8_000, expected: float = 0.1, suffered: float = 0.1, seed: int = 0) -> None:
    """Train, and compare the natural return with that under attack.

    Args:
        steps: Environment steps.
        expected: Share of the steps in which the agent expects the worst action to be executed.
        suffered: Share of the steps in which something else is executed when it is measured.
        seed: Of everything random.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    env = environment()
    env.set_seed(seed)
    states, n = env.observation_spec["observation"].shape[0], env.action_spec.shape[-1]
    network = MLP(states, n, depth=0, bias_last_layer=False)  # of one-hot states: a table
    actor = QValueActor(network, in_keys=["observation"], spec=env.action_spec)
    tables = ValueOperator(network, ["observation"], ["action_value"])
    loss = RobustTableLoss(actor, tables, probability=expected, gamma=0.98, greedy=True)
    update = Update([loss], torch.optim.Adam(network.parameters(), lr=0.1))
    target = SoftUpdate(loss, tau=0.05)
    buffer = TensorDictReplayBuffer(storage=LazyTensorStorage(steps), batch_size=128)
    greedy = EGreedyModule(env.action_spec, eps_init=0.5, eps_end=0.1, annealing_num_steps=steps // 2)
    for data in Collector(env, TensorDictSequential(actor, greedy), frames_per_batch=50, total_frames=steps):
        buffer.extend(data.reshape(-1))
        greedy.step(data.numel())
        for _ in range(data.numel() if len(buffer) >= 500 else 0):
            update(buffer.sample())
            target.step()

    worst = Search(LowValue(critic=loss), within=ActionSet(n))
    share = WithProbability(suffered)
    attacks = {"natural": Identity(), "random": Gated(Noise(ActionSet(n)), share), "worst": Gated(worst, share)}
    for name, attack in attacks.items():
        print(f"{name:10} {mean_return(environment(attack), actor):8.1f}")


if __name__ == "__main__":
    tyro.cli(main)
