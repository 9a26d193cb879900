"""Train a small Stable-Baselines3 agent, then measure what noise and a gradient attack take from it.

python examples/gymnasium_attack.py --steps 30000 --episodes 20
"""

import gymnasium as gym
import tyro
from stable_baselines3 import PPO

from advwrap import PGD, AdversarialObs, AvoidAction, LinfBall, Noise
from advwrap.evaluation import evaluate


def main(steps: int = 1_000, episodes: int = 4, eps: float = 0.1, seed: int = 0) -> None:
    """Run the example.

    Args:
        steps: Training steps.
        episodes: Episodes per evaluation.
        eps: Radius of the attack, in the units of the observation.
        seed: Of everything.
    """
    # Trained under noise: an attacked environment is an environment.
    env = AdversarialObs(gym.make("CartPole-v1"), attack=Noise(LinfBall(eps / 2)))
    model = PPO("MlpPolicy", env, n_steps=256, seed=seed, device="cpu")
    model.learn(steps)

    attacks = {
        "natural": None,
        "noise": Noise(LinfBall(eps)),
        "pgd": PGD(AvoidAction(model), within=LinfBall(eps), steps=10),
    }
    natural = None
    for name, attack in attacks.items():
        cell = evaluate(model, "CartPole-v1", attack, name=name, epsilon=eps if attack else 0.0, episodes=episodes)
        natural = natural or cell
        print(f"{name:8} return {cell.interval()}   change {cell.change(natural)}")


if __name__ == "__main__":
    tyro.cli(main)
