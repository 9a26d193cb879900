"""Evaluate every agent under every attack at every epsilon: curves of return against epsilon."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from gymnasium.envs.registration import EnvSpec

from advwrap.errors import check
from advwrap.evaluation.acting import Agent
from advwrap.evaluation.results import NATURAL, Results
from advwrap.evaluation.rollouts import Channel, EnvSource, evaluate
from advwrap.progress import progress
from advwrap.provenance import Provenance
from advwrap.wrappers import AdversarialObs

A = TypeVar("A")


def evaluate_grid(
    agents: Mapping[str, A],
    env: EnvSource,
    attacks: Mapping[str, Callable[[A, float], Any]],
    epsilons: Sequence[float],
    *,
    episodes: int = 20,
    seed: int = 0,
    num_envs: int | None = None,
    channel: Channel = AdversarialObs,
    command: str | None = None,
) -> Results:
    """Every agent without an attack once, then under every attack at every epsilon.

    All cells share their start states: episode i begins with ``reset(seed=seed + i)`` in each.

    Args:
        agents: Name to an `Agent`, or to anything that can play (see `evaluate`); the attacks are
            made from it.
        env: The task: an id, a spec or a function that makes an environment.
        attacks: Name to a function of the agent and epsilon that makes the attack, for example
            ``lambda agent, eps: PGD(LowValue(agent.policy, agent.critic), within=LinfBall(eps))``.
        epsilons: Radii; 0 is the natural row, which is always there.
        episodes: Episodes per cell.
        seed: Reset seed of the first episode of every cell.
        num_envs: Environments that run together.
        channel: Where the attacks are injected (see `evaluate`).
        command: What to type to measure this again; by default the command line of this process.

    Raises:
        ValueError: If there is no agent, a radius is negative or repeated, or an attack is called
            "natural".

    Example:
        >>> rest = lambda observation: observation[:, :1] * 0
        >>> results = evaluate_grid({"rest": rest}, "Pendulum-v1", {}, [], episodes=2)
        >>> [(cell.agent, cell.attack, cell.epsilon) for cell in results.cells]
        [('rest', 'natural', 0.0)]
    """
    check(len(agents) > 0, "`agents` must hold at least one agent, got none.")
    check(
        NATURAL not in attacks,
        f"`attacks` must not use the name {NATURAL!r}, got {sorted(attacks)}.",
    )
    radii = [float(epsilon) for epsilon in epsilons if epsilon != 0]
    check(all(radius > 0 for radius in radii), f"`epsilons` must be >= 0, got {list(epsilons)}.")
    check(len(set(radii)) == len(radii), f"`epsilons` must all differ, got {list(epsilons)}.")

    def rows(agent: A) -> Iterator[tuple[str, float, Any | None]]:
        yield NATURAL, 0.0, None
        for name, attack in attacks.items():
            for radius in radii:
                yield name, radius, attack(agent, radius)

    cells = []
    total = len(agents) * (1 + len(attacks) * len(radii)) * episodes
    with progress("evaluating", total=total) as advance:
        for agent_name, agent in agents.items():
            for attack_name, radius, attack in rows(agent):
                cell = evaluate(
                    agent.policy if isinstance(agent, Agent) else agent,
                    env,
                    attack,
                    agent=agent_name,
                    name=attack_name,
                    epsilon=radius,
                    episodes=episodes,
                    seed=seed,
                    num_envs=num_envs,
                    channel=channel,
                    advance=advance,
                )
                cells.append(cell)
    return Results(tuple(cells), Provenance.here(_name(env), seed=seed, command=command))


def _name(env: EnvSource) -> str:
    if isinstance(env, str):
        return env
    if isinstance(env, EnvSpec):
        return env.id
    return str(getattr(env, "__name__", type(env).__name__))
