"""`advwrap train`: one agent, plain or under attack."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from advwrap.algorithms import SAC, TrainingAttack
from advwrap.attacks import PGD
from advwrap.cli.play import mean_return
from advwrap.objectives import LowValue
from advwrap.progress import progress
from advwrap.sets import LinfBall
from advwrap.training import TrainedAgent, load_agent, save_agent
from advwrap.training.agent_file import Score


def train(
    env: str = "InvertedDoublePendulum-v5",
    out: Path = Path("runs/agent"),
    epsilon: float = 0.0,
    start: Path | None = None,
    steps: int = 20_000,
    seed: int = 0,
) -> None:
    """Train SAC, and write agent.safetensors and agent.json.

    Args:
        env: Id of a Gymnasium task with vector observations and box actions.
        out: Folder for the files.
        epsilon: Radius of the attack on the normalised observations while training; 0 trains plain SAC.
        start: Folder of an agent to go on from; without it the networks begin at random.
        steps: Environment steps.
        seed: Of everything random.
    """
    config = SAC(env, attack=TrainingAttack(epsilon) if epsilon else None, steps=steps, seed=seed)
    agent = run(config, out, start=None if start is None else load_agent(start))
    Console().print(f"kept the weights of step {agent.card['kept']} of {steps}: {out}")


def run(config: SAC, out: Path, *, start: TrainedAgent | None = None) -> TrainedAgent:
    """Train with a progress bar and the score that suits the configuration, and save."""
    with progress(f"training on {config.env}", total=config.steps) as advance:
        agent = config.train(start, score=scoring(config), advance=advance)
    save_agent(out, agent)
    return agent


def scoring(config: SAC) -> Score:
    """What the kept weights are chosen by: the natural return, and for robust agents the return under PGD on Q.

    Measured on 10 episodes from seeds that no evaluation uses, with two thirds of the radius of the training.
    """
    if config.attack is None:
        return mean_return
    epsilon = 2 * config.attack.epsilon / 3

    def attacked(agent: TrainedAgent) -> float:
        attack = PGD(LowValue(agent.policy, list(agent.critics)), within=LinfBall(epsilon), steps=10)
        return mean_return(agent, attack)

    return attacked


def smaller(config: SAC, *, steps: int) -> SAC:
    """The same training with fewer steps, every interval shortened alike."""
    share = steps / config.steps
    return replace(
        config,
        steps=steps,
        random_steps=max(int(config.random_steps * share), config.frames_per_batch),
        evaluate_every=max(int(config.evaluate_every * share), config.frames_per_batch),
    )
