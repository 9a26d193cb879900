"""`advwrap train`: agents by name, plain or robust; a killed training goes on where it stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from advwrap.algorithms import OAPI, PPO, ActionRobustTD3, OffPolicy, preset
from advwrap.algorithms.recipe import Training, from_json, with_options
from advwrap.errors import check
from advwrap.evaluation import ActionSuite, LowestValue
from advwrap.evaluation.selection import mean_return
from advwrap.progress import Advance, progress
from advwrap.training import TrainedAgent, load_agent, save_agent
from advwrap.training.agent_file import Score
from advwrap.wrappers import AdversarialAction


def train(
    name: Annotated[str, tyro.conf.Positional] = "sac",
    env: str = "InvertedDoublePendulum-v5",
    out: Path = Path("runs/agent"),
    epsilon: float | None = None,
    start: Path | None = None,
    steps: int | None = None,
    seed: tuple[int, ...] | None = None,
    like: Path | None = None,
    best: bool = False,
    device: str | None = None,
    compile: tyro.conf.DisallowNone[bool | None] = None,  # noqa: A002 - the field's word; None: the preset's
    checkpoint_every: int | None = None,
    options: Annotated[tuple[str, ...], tyro.conf.arg(name="set")] = (),
) -> None:
    """Train an agent, and write agent.safetensors, agent.json and the log.

    Called again with the same arguments, a training that was stopped goes on from its last checkpoint.

    Args:
        name: A learner (sac, td3, discrete-sac), behind a defence or alone: attacked-sac, robust-sac, wocar-sac,
            wocar-mean-sac, valt-eps-sac, valt-soft-sac, valt-sampled-sac, alternating-sac, pa-alternating-sac, oa-sac,
            oa-paper-sac, and the same with td3 and, but for wocar, wocar-mean and oa-paper, discrete-sac; nr-td3 and
            pr-td3; ppo and oa-ppo. Behind a defence "-sac" may be left out: valt-eps is valt-eps-sac (but oa is oa-td3,
            oa-paper oa-paper-td3). The papers' words sac-ppo and pa-sac-ppo are alternating-sac and pa-alternating-sac.
        env: Id of a Gymnasium task with vector observations.
        out: Folder for the files; with several seeds, of one folder for each.
        epsilon: Radius of the defence on the normalised observations, of oa in units of half the range of each action,
            of nr-td3 and pr-td3 the adversary's share; by default the paper's for HalfCheetah, Hopper, Walker2d and
            Ant, elsewhere 0.05; of oa 0.2, of nr-td3 and pr-td3 0.1.
        start: Folder of an agent to go on from; without it the networks begin at random.
        steps: Environment steps; by default the paper's for those four tasks, elsewhere 20000, of PPO 100000.
        seed: Of everything random; several are trained one after the other. By default 0.
        like: An agent.json: train as that agent was trained, task and seed included; the other arguments change that.
        best: Keep the weights that did best, on episodes that no evaluation uses: by the natural return, and for
            robust agents by the return under PGD on Q (for oa under Min-Q on actions). By default the last ones are
            kept, as in the papers.
        device: Where networks and replay buffer live: cpu, cuda, cuda:1.
        compile: Compile the update into one graph, or not: slow to begin, then about twice as fast. By default it is
            compiled for the tasks of the paper and for no others.
        checkpoint_every: Environment steps between two checkpoints: what a kill can cost. By default 5000; of PPO,
            50000.
        options: Any other number, as NAME=VALUE with the names of agent.json: batch_size=128 defence.temperature=2
            defence.ramp='[0.2, 0.8]'.
    """
    given = {"steps": steps, "compile": compile, "device": device, "checkpoint_every": checkpoint_every}
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    config: Training = preset(name, env) if like is None else from_json(like.read_text(encoding="utf-8"))
    if isinstance(config, PPO):
        other = [word for word, value in {"start": start, "best": best, "device": device}.items() if value]
        check(
            not other, f"`{'`, `'.join(other)}` must be left out: PPO trains on the CPU, from the beginning to the end."
        )
    config = preset(name, env, **changes) if like is None else replace(config, **changes)
    if epsilon is not None:
        config = with_radius(config, epsilon)
    config = with_options(config, options)
    first = None if start is None else load_agent(start)
    seeds = (config.seed,) if seed is None else seed
    for number in seeds:
        folder = out / f"seed-{number}" if len(seeds) > 1 else out
        agent = run(replace(config, seed=number), folder, start=first, best=best)
        Console().print(f"the weights of step {agent.card['kept']}: {folder}")


def with_radius(config: Training, epsilon: float) -> Training:
    """The same training with another radius of what defends it; of the games of the actuators, another share."""
    if isinstance(config, ActionRobustTD3):
        return replace(config, alpha=epsilon)
    part = "advantage" if isinstance(config, PPO) else "defence"
    held = getattr(config, part)
    check(
        hasattr(held, "epsilon"), "`epsilon` must be left out where nothing defends the agent.", fix="valt-eps, oa-ppo"
    )
    return replace(config, **{part: replace(held, epsilon=epsilon)})


def run(config: Training, out: Path, *, start: TrainedAgent | None = None, best: bool) -> TrainedAgent:
    """Train with a progress bar, and save the last weights or the best by the score that suits the configuration."""
    with progress(f"training on {config.env}", total=config.steps) as bar:
        advance = telling(bar, out, config.steps) if (out / "last.pt").exists() else bar
        if isinstance(config, PPO):
            agent = config.train(out=out, advance=advance)
        else:
            agent = config.train(start, out=out, score=scoring(config) if best else None, advance=advance)
    save_agent(out, agent)
    return agent


def telling(bar: Advance, out: Path, steps: int) -> Advance:
    """The same bar; of a training that goes on, the first report is where it was, which is worth a line."""
    told = False

    def advance(units: int) -> None:
        nonlocal told
        if not told:
            told = True
            Console().print(f"finished before: {out}" if units >= steps else f"going on from step {units}: {out}")
        bar(units)

    return advance


def scoring(config: OffPolicy) -> Score:
    """What the kept weights are chosen by: the natural return, and for robust agents the return under attack.

    PGD on Q, or for OA-PI Min-Q on actions. Measured on 10 episodes from seeds that no evaluation uses, with two thirds
    of the radius of the training.
    """
    radius = getattr(config.defence, "epsilon", None)
    if radius is None:
        return mean_return
    epsilon = 2 * radius / 3

    def attacked(agent: TrainedAgent) -> float:
        if isinstance(config.defence, OAPI):
            attack = ActionSuite(learned=()).attacks(agent)["Min-Q"](agent, epsilon)
            return mean_return(agent, attack, channel=AdversarialAction)
        return mean_return(agent, LowestValue()(agent, epsilon))

    return attacked


def smaller(config: OffPolicy, *, steps: int) -> OffPolicy:
    """The same training with fewer steps, every interval shortened alike."""
    share = steps / config.steps
    return replace(
        config,
        steps=steps,
        random_steps=min(max(int(config.random_steps * share), config.frames_per_batch), steps),
        evaluate_every=max(int(config.evaluate_every * share), config.frames_per_batch),
        evaluate_from=int(config.evaluate_from * share),
    )
