"""Attack some agents of a PettingZoo environment and see what it costs the team.

python examples/pettingzoo_attack.py --episodes 50
"""

import numpy as np
import tyro
from mpe2 import simple_spread_v3

from advwrap import ActionSet, AdversarialAction, AdversarialObs, EveryNth, Gated, LinfBall, Noise, RandomVertex


def nearest_landmark(seen: np.ndarray) -> int:
    """Walk to the nearest of the three landmarks: 1 left, 2 right, 3 down, 4 up."""
    x, y = min(seen[4:10].reshape(3, 2), key=np.linalg.norm)
    return (1 if x < 0 else 2) if abs(x) > abs(y) else (3 if y < 0 else 4)


def team_return(env, episodes: int, seed: int) -> float:
    total = 0.0
    for episode in range(episodes):
        observations, _ = env.reset(seed=seed + episode)
        while env.agents:
            actions = {agent: nearest_landmark(observations[agent]) for agent in env.agents}
            observations, rewards, _, _, _ = env.step(actions)
            total += sum(rewards.values())
    return total / episodes


def main(episodes: int = 5, eps: float = 0.5, seed: int = 0) -> None:
    """Run the example.

    Args:
        episodes: Episodes per row of the table, the same start states in each.
        eps: Radius of the attack on observations.
        seed: Of the first episode.
    """
    vertex = RandomVertex(LinfBall(eps))
    clumsy = Gated(Noise(ActionSet(5)), EveryNth(2))
    rows = {
        "natural": lambda env: env,
        "all agents misled": lambda env: AdversarialObs(env, attack=vertex),
        "one agent misled": lambda env: AdversarialObs(env, attack=vertex, agents=["agent_0"]),
        "one agent clumsy": lambda env: AdversarialAction(env, attack=clumsy, agents=["agent_0"]),
    }
    for name, wrap in rows.items():
        print(f"{name:18} {team_return(wrap(simple_spread_v3.parallel_env()), episodes, seed):8.1f}")


if __name__ == "__main__":
    tyro.cli(main)
