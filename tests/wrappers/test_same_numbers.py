"""One seed, one sequence of perturbations, in every framework.

The environment shows zeros and the agents do nothing, so observations and executed actions are the
noise itself. Episodes last three steps; the sequences go through three of them.
"""

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from pettingzoo.utils import aec_to_parallel, parallel_to_aec

from advwrap import (
    AdversarialAction,
    AdversarialObs,
    AtMost,
    EveryNth,
    Gated,
    LinfBall,
    Mixture,
    Noise,
    RandomVertex,
    WholeEpisodes,
    WithProbability,
)
from tests.wrappers.environments import Still, StillTogether

ATTACKS = {
    "noise": Noise(LinfBall(0.5)),
    "vertex": RandomVertex(LinfBall(0.5)),
    "coins": Gated(Noise(LinfBall(0.5)), WithProbability(0.5)),
    "coins per episode": Gated(Noise(LinfBall(0.5)), WholeEpisodes(0.5)),
    "budget": Gated(Noise(LinfBall(0.5)), AtMost(2) | EveryNth(3)),
    "mixture": Mixture((0.3, Noise(LinfBall(0.5))), (0.7, RandomVertex(LinfBall(0.1)))),
}
SEED, EPISODES = 17, 3
NOTHING = np.zeros(4)


def single(wrap, seed=SEED):
    """Three episodes of observations [4, 4] and executed actions [3, 4]."""
    env = wrap(Still())
    seen, executed = [], []
    for episode in range(EPISODES):
        observation, _ = env.reset(seed=seed if episode == 0 else None)
        seen.append([observation])
        executed.append([])
        for _ in range(3):
            observation, *_, info = env.step(NOTHING)
            seen[-1].append(observation)
            executed[-1].append(info.get("executed_action", NOTHING))
    return np.array(seen), np.array(executed)


def vector(wrap, mode, row):
    """The same of one row of a vector environment."""
    envs = wrap(SyncVectorEnv([Still] * 3, autoreset_mode=mode))
    nothing = np.zeros((3, 4))
    seen, executed = [], []
    observations, _ = envs.reset(seed=SEED - row)
    for _ in range(EPISODES):
        seen.append([observations[row].copy()])
        executed.append([])
        for step in range(3):
            observations, *_, infos = envs.step(nothing)
            final = step == 2 and mode is AutoresetMode.SAME_STEP
            seen[-1].append(observations[row] * np.nan if final else observations[row])
            executed[-1].append(infos.get("executed_action", nothing)[row])
        if mode is AutoresetMode.NEXT_STEP:
            observations, *_ = envs.step(nothing)
        if mode is AutoresetMode.DISABLED:
            observations, _ = envs.reset(options={"reset_mask": np.ones(3, np.bool_)})
    return np.array(seen), np.array(executed)


def together(wrap, agent, agents=2):
    """The same of one agent of a parallel environment."""
    env = wrap(StillTogether(agents))
    seen, executed = [], []
    for episode in range(EPISODES):
        observations, _ = env.reset(seed=SEED if episode == 0 else None)
        seen.append([observations[agent]])
        executed.append([])
        while env.agents:
            observations, *_, infos = env.step(dict.fromkeys(env.agents, NOTHING))
            seen[-1].append(observations[agent])
            executed[-1].append(infos[agent].get("executed_action", NOTHING))
    return np.array(seen), np.array(executed)


def in_turns(wrap, agent, agents=2):
    """The same of one agent of an AEC environment."""
    env = wrap(parallel_to_aec(StillTogether(agents)))
    seen, executed = [], []
    for episode in range(EPISODES):
        env.reset(seed=SEED if episode == 0 else None)
        seen.append([])
        executed.append([])
        for acting in env.agent_iter():
            observation, _, terminated, truncated, info = env.last()
            over = terminated or truncated
            if acting == agent:
                seen[-1].append(observation)
                if len(seen[-1]) > 1:
                    executed[-1].append(info.get("executed_action", NOTHING))
            env.step(None if over else NOTHING)
    return np.array(seen), np.array(executed)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("channel", [AdversarialObs, AdversarialAction])
class TestSameNumbers:
    def test_vector(self, channel, name):
        def wrap(env):
            return channel(env, attack=ATTACKS[name])

        seen, executed = single(wrap)
        assert np.any(seen) or np.any(executed)
        for mode in AutoresetMode:
            for row in (0, 2):
                rows = vector(wrap, mode, row)
                told = ~np.isnan(rows[0])  # final observations stay clean in SAME_STEP
                np.testing.assert_array_equal(rows[0][told], seen[told])
                np.testing.assert_array_equal(rows[1], executed)

    def test_pettingzoo(self, channel, name):
        def wrap(env):
            return channel(env, attack=ATTACKS[name])

        for play in (together, in_turns):
            first = play(wrap, "agent_0")
            for numbers, same in zip(single(wrap), first, strict=True):
                np.testing.assert_array_equal(same, numbers)
            other = play(wrap, "agent_1")
            assert not all(np.array_equal(*both) for both in zip(first, other, strict=True))
        for one, other in zip(together(wrap, "agent_1"), in_turns(wrap, "agent_1"), strict=True):
            np.testing.assert_array_equal(one, other)


def test_neighbours_do_not_matter():
    def wrap(env):
        return AdversarialObs(env, attack=ATTACKS["noise"])

    np.testing.assert_array_equal(together(wrap, "agent_1", 2)[0], together(wrap, "agent_1", 5)[0])


def test_attacks_on_two_levels_draw_different_noise():
    """A vector wrapper around single wrappers, a parallel one around an AEC one."""
    attack = RandomVertex(LinfBall(0.5))
    rows = SyncVectorEnv([lambda: AdversarialObs(Still(), attack=attack)] * 2)
    seen, infos = AdversarialObs(rows, attack=attack).reset(seed=0)
    in_turns = AdversarialObs(parallel_to_aec(StillTogether()), attack=attack)
    together, _ = AdversarialObs(aec_to_parallel(in_turns), attack=attack).reset(seed=0)
    for noise in (seen, [*together.values()]):
        assert set(np.abs(noise).ravel()) == {0.0, 1.0}
    assert not infos["clean_observation"].any()


def test_the_numbers_do_not_change_between_versions():
    """What a seed draws is part of a published result."""
    env = AdversarialObs(Still(), attack=Noise(LinfBall(1.0)))
    first, _ = env.reset(seed=0)
    second, *_ = env.step(NOTHING)
    again, _ = env.reset()
    frozen = [
        [0.9162048200857311, 0.1866236951132183, -0.10074143138087566, -0.7261266227426784],
        [0.7248758234331749, -0.5950644091552908, -0.3421650880379954, 0.894354669306429],
        [0.4341055619662222, 0.3863698569997105, 0.09468384478187297, -0.12828883695184112],
    ]
    np.testing.assert_allclose([first, second, again], frozen, rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("channel", [AdversarialObs, AdversarialAction])
def test_torchrl(channel, name):
    envs = pytest.importorskip("torchrl.envs")
    env = channel(envs.GymWrapper(Still()), attack=ATTACKS[name])
    env.set_seed(SEED)
    seen, executed = [], []
    for _ in range(EPISODES):
        data = env.reset()
        seen.append([data["observation"].numpy()])
        executed.append([])
        for _ in range(3):
            data["action"] = torch.zeros(4, dtype=torch.float64)
            data = env.step(data)
            done = data.get("executed_action", torch.zeros(4, dtype=torch.float64))
            data = data["next"]
            seen[-1].append(data["observation"].numpy())
            executed[-1].append(done.numpy())
    same, same_executed = single(lambda env: channel(env, attack=ATTACKS[name]))
    np.testing.assert_array_equal(seen, same)
    np.testing.assert_array_equal(executed, same_executed)
