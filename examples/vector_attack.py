"""Attack many environments in one batched call per step, and compare the cost with one by one.

python examples/vector_attack.py --num-envs 64
"""

import time

import gymnasium as gym
import torch
import tyro
from torch import nn

from advwrap import PGD, ActionShift, AdversarialObs, AtMost, Gated, LinfBall


def main(num_envs: int = 16, steps: int = 50, budget: int = 20, eps: float = 0.1, seed: int = 0) -> None:
    """Run the example.

    Args:
        num_envs: Environments that run together.
        steps: Steps of each.
        budget: At most so many attacked steps per episode.
        eps: Radius of the attack.
        seed: Of the environments and the attack; row i is seeded with seed + i.
    """
    torch.manual_seed(seed)
    policy = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Linear(64, 1), nn.Tanh())
    attack = Gated(PGD(ActionShift(policy), within=LinfBall(eps), steps=10), AtMost(budget))

    for rows in (1, num_envs):
        envs = gym.make_vec("Pendulum-v1", num_envs=rows, vectorization_mode="sync")
        envs = AdversarialObs(envs, attack=attack)
        seen, infos = envs.reset(seed=seed)
        attacked = (seen != infos["clean_observation"]).any(1).astype(int)
        start = time.perf_counter()
        for _ in range(steps):
            with torch.no_grad():
                actions = 2 * policy(torch.from_numpy(seen)).numpy()
            seen, _, _, _, infos = envs.step(actions)
            attacked += (seen != infos["clean_observation"]).any(1)
        took = (time.perf_counter() - start) / (steps * rows)
        print(f"{rows:4} environments: {1e6 * took:.0f} us per environment and step, {attacked.max()} steps attacked")


if __name__ == "__main__":
    tyro.cli(main)
