"""One seed gives the perturbations of the Gymnasium and PettingZoo wrappers, and of the clock used by hand."""

import gymnasium
import numpy as np
import pytest
import torch
from torchrl.envs import Compose, EnvBase, GymWrapper, PettingZooWrapper, SerialEnv, TransformedEnv

import advwrap
from advwrap import AtMost, EveryNth, Gated, LinfBall, Mixture, Noise, RandomVertex, WholeEpisodes, WithProbability
from advwrap.clock import ACTIONS, EpisodeClock
from advwrap.modules.rows import beside
from advwrap.transforms import AdversarialAction, AdversarialObs
from tests.wrappers.environments import Still, StillTogether
from tests.wrappers.test_same_numbers import single, together

ATTACKS = {
    "noise": Noise(LinfBall(0.5)),
    "vertex": RandomVertex(LinfBall(0.5)),
    "coins": Gated(Noise(LinfBall(0.5)), WithProbability(0.5)),
    "coins per episode": Gated(Noise(LinfBall(0.5)), WholeEpisodes(0.5)),
    "budget": Gated(Noise(LinfBall(0.5)), AtMost(2) | EveryNth(3)),
    "mixture": Mixture((0.3, Noise(LinfBall(0.5))), (0.7, RandomVertex(LinfBall(0.1)))),
}
SEED, EPISODES, STEPS = 17, 3, 3
pytestmark = pytest.mark.filterwarnings("ignore:PettingZoo in TorchRL is tested using:UserWarning")
every_attack = pytest.mark.parametrize("name", ATTACKS)


def play(env: EnvBase, seed: int = SEED, action="action", observation="observation"):
    """Three episodes: observations [..., episodes, 4, 4] and executed actions [..., episodes, 3, 4]."""
    env.set_seed(seed)
    executed_key = beside(action, "executed_")
    seen, executed = [], []
    for _ in range(EPISODES):
        data = env.reset()
        seen.append([data[observation]])
        executed.append([])
        for _ in range(STEPS):
            data[action] = torch.zeros_like(env.full_action_spec[action].rand())
            data = env.step(data)
            executed[-1].append(data.get(executed_key, data[action]))
            data = env.step_mdp(data)
            seen[-1].append(data[observation])
    return tuple(torch.stack([torch.stack(e) for e in x]).numpy() for x in (seen, executed))


def torchrl(channel, attack, env):
    return TransformedEnv(env, channel(attack))


CHANNELS = {"AdversarialObs": AdversarialObs, "AdversarialAction": AdversarialAction}


@every_attack
@pytest.mark.parametrize("channel", CHANNELS)
class TestSameNumbers:
    def test_gymnasium(self, channel, name):
        expected = single(lambda env: getattr(advwrap, channel)(env, attack=ATTACKS[name]))
        ours = play(torchrl(CHANNELS[channel], ATTACKS[name], GymWrapper(Still())))
        for one, other in zip(ours, expected, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_rows(self, channel, name):
        """Row i of a batch has the seed s + i, as in a vector environment."""
        envs = torchrl(CHANNELS[channel], ATTACKS[name], SerialEnv(3, lambda: GymWrapper(Still())))
        rows = play(envs, SEED - 2)
        alone = play(torchrl(CHANNELS[channel], ATTACKS[name], GymWrapper(Still())))
        for one, other in zip(rows, alone, strict=True):
            np.testing.assert_array_equal(one[..., 2, :], other)
            assert not other.any() or not np.array_equal(one[..., 1, :], other)

    def test_pettingzoo(self, channel, name):
        wrapped = PettingZooWrapper(StillTogether(2), use_mask=False)
        [group] = wrapped.group_map
        transform = CHANNELS[channel](
            ATTACKS[name], key=(group, "observation" if channel == "AdversarialObs" else "action")
        )
        ours = play(TransformedEnv(wrapped, transform), action=(group, "action"), observation=(group, "observation"))
        for i, agent in enumerate(wrapped.group_map[group]):
            expected = together(lambda env: getattr(advwrap, channel)(env, attack=ATTACKS[name]), agent)
            for one, other in zip(ours, expected, strict=True):
                np.testing.assert_array_equal(one[:, :, i], other)


def test_agents_in_several_groups():
    """The numbers of an agent do not depend on how TorchRL groups the agents."""
    attack = ATTACKS["noise"]

    def played(groups):
        env = PettingZooWrapper(StillTogether(3), group_map=groups, use_mask=False)
        transforms = [AdversarialObs(attack, key=(group, "observation")) for group in groups]
        env = TransformedEnv(env, Compose(*transforms))
        env.set_seed(SEED)
        data = env.reset()
        return {name: data[group, "observation"][i] for group, names in groups.items() for i, name in enumerate(names)}

    together_ = played({"all": ["agent_0", "agent_1", "agent_2"]})
    apart = played({"b": ["agent_2", "agent_0"], "a": ["agent_1"]})
    assert all(torch.equal(together_[name], apart[name]) for name in together_)
    assert not torch.equal(apart["agent_0"], apart["agent_2"])


def test_by_hand():
    """What a seed means: keys and positions of `EpisodeClock`."""
    noise, zeros = ATTACKS["noise"], torch.zeros(2, 4, dtype=torch.float64)
    clock, acting = EpisodeClock(2), EpisodeClock(2, salt=ACTIONS)
    for c in (clock, acting):
        c.seed([SEED, SEED + 1])
    first = noise(zeros, generator=clock.streams())
    clock.record(torch.ones(2, dtype=torch.bool))
    second = noise(zeros, generator=clock.streams())
    executed = noise(zeros, generator=acting.streams())
    env = SerialEnv(2, lambda: GymWrapper(Still()))
    env = TransformedEnv(TransformedEnv(env, AdversarialAction(noise)), AdversarialObs(noise), auto_unwrap=True)
    env.set_seed(SEED)
    data = env.reset()
    assert torch.equal(data["observation"], first)
    data = env.step(data.set("action", zeros))
    assert torch.equal(data["next", "observation"], second)
    assert torch.equal(data["executed_action"], executed)


class TestStacked:
    def env(self, *attacks, channel=AdversarialObs):
        env = TransformedEnv(GymWrapper(Still()))
        for attack in attacks:
            env.append_transform(channel(attack))
        env.set_seed(SEED)
        return env

    def test_each_draws_other_noise_as_in_gymnasium(self):
        attack = ATTACKS["noise"]
        ours = play(self.env(attack, attack))
        wrap = advwrap.AdversarialObs
        expected = single(lambda env: wrap(wrap(env, attack=attack), attack=attack))
        np.testing.assert_array_equal(ours[0], expected[0])
        assert np.abs(ours[0]).max() > 0.5

    def test_the_truth_is_the_innermost(self):
        data = self.env(ATTACKS["vertex"], ATTACKS["vertex"]).reset()
        assert (data["clean_observation"] == 0).all()

    def test_the_innermost_action_is_executed(self):
        attack = ATTACKS["noise"]
        _, executed = play(self.env(attack, attack, channel=AdversarialAction))
        assert np.abs(executed).max() > 0.5
        _, once = play(self.env(attack, channel=AdversarialAction))
        assert not np.array_equal(once, executed)


def test_seeds_inside_a_serial_env_are_those_of_torchrl():
    """Inside, each environment has the seed that TorchRL gives it: the first s, the next one derived from it."""
    attack = ATTACKS["noise"]

    def make():
        return TransformedEnv(GymWrapper(Still()), AdversarialObs(attack))

    rows = play(SerialEnv(2, make))[0]
    alone = make()
    np.testing.assert_array_equal(rows[..., 0, :], play(alone)[0])
    following = alone.set_seed(SEED)
    np.testing.assert_array_equal(rows[..., 1, :], play(alone, following)[0])


def test_without_a_seed_every_run_differs():
    def run():
        return TransformedEnv(GymWrapper(Still()), AdversarialObs(ATTACKS["noise"])).reset()["observation"]

    assert not torch.equal(run(), run())


def test_neither_global_generator_nor_that_of_the_environment_moves():
    def run(*transforms):
        env = TransformedEnv(GymWrapper(gymnasium.make("CartPole-v1"), categorical_action_encoding=True))
        for transform in transforms:
            env.append_transform(transform)
        torch.manual_seed(0)
        env.set_seed(3)
        torch.manual_seed(0)
        out = env.rollout(5, lambda td: td.set("action", torch.tensor(1)))
        return out, torch.rand(())

    plain, number = run()
    attacked, other = run(AdversarialObs(Noise(LinfBall(0.1))))
    assert torch.equal(number, other)
    assert torch.equal(plain["observation"], attacked["clean_observation"])
