"""`AdversarialObs` in TorchRL: resets, steps, states, agents, and what it refuses."""

import copy
import gc

import numpy as np
import pytest
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import nn
from torchrl.data import Bounded, Composite, ReplayBuffer, Unbounded
from torchrl.data.replay_buffers import LazyTensorStorage
from torchrl.envs import (
    Compose,
    EnvBase,
    GymWrapper,
    InitTracker,
    PendulumEnv,
    RenameTransform,
    SerialEnv,
    TensorDictPrimer,
    TransformedEnv,
    VmasEnv,
)
from torchrl.modules import GRUModule

from advwrap import (
    PGD,
    ActionShift,
    AtMost,
    EveryNth,
    Gated,
    Identity,
    LinfBall,
    Noise,
    OnlyAgents,
    RandomVertex,
    WithProbability,
)
from advwrap.testing.environments import SignalTorchRLEnv
from advwrap.transforms import AdversarialObs
from tests.wrappers.environments import Still

EPS = 0.25
vertex = RandomVertex(LinfBall(EPS))


def rows(n=3, horizon=100, attack=vertex, **options):
    return TransformedEnv(SignalTorchRLEnv(rows=n, horizon=horizon), AdversarialObs(attack, **options))


def step(env, data, mask=None):
    data["action"] = torch.zeros(*env.batch_size, 2)
    if mask is not None:
        data["_step"] = mask
    return env.step_mdp(env.step(data))


def shift(data, key="observation", clean="clean_observation"):
    return data[key] - data[clean]


@pytest.fixture
def without_gradients():
    with torch.no_grad():
        yield


class Recording:
    def __init__(self):
        self.contexts, self.batches = [], []

    def __call__(self, clean, *, context=None, bounds=None, generator=None):
        self.contexts.append(dict(context.items()))
        self.batches.append(clean.clone())
        return clean + EPS


class TestResetsAndSteps:
    def test_one_attack_per_reset_and_step(self):
        attack = Recording()
        env = rows(attack=attack)
        env.rollout(4)
        assert [c["episode_step"].tolist() for c in attack.contexts] == [[t] * 3 for t in range(5)]

    def test_the_next_root_is_the_next_observation(self):
        data = rows().rollout(4)
        for key in ("observation", "clean_observation"):
            assert torch.equal(data["next", key][:, :-1], data[key][:, 1:])

    def test_only_the_reset_environments_are_attacked_anew(self):
        attack = Recording()
        env = rows(attack=attack)
        env.set_seed(0)
        data = step(env, env.reset())
        before = data.clone()
        mask = torch.tensor([[False], [True], [False]])
        data["_reset"] = mask
        data = env.reset(data)
        assert attack.batches[-1].shape == (1, 3)
        assert attack.contexts[-1]["episode_step"].tolist() == [0]
        assert torch.equal(data["observation"][[0, 2]], before["observation"][[0, 2]])
        assert torch.equal(data["clean_observation"][[0, 2]], before["clean_observation"][[0, 2]])
        torch.testing.assert_close(shift(data), torch.full((3, 3), EPS))
        step(env, data)
        assert attack.contexts[-1]["episode_step"].tolist() == [2, 1, 2]

    def test_a_row_does_not_depend_on_the_resets_of_others(self):
        noise = Noise(LinfBall(EPS))
        runs = []
        for horizon in (3, 100):
            env = rows(2, attack=noise)
            env.base_env.signals[1].horizon = horizon
            env.set_seed(0)
            data = env.rollout(8, break_when_any_done=False)
            runs.append((data["observation"] - data["clean_observation"])[0])
        torch.testing.assert_close(*runs, atol=1e-6, rtol=0)

    def test_a_second_episode_draws_other_noise(self):
        env = rows(attack=Noise(LinfBall(EPS)))
        env.set_seed(0)
        assert not torch.allclose(shift(env.reset()), shift(env.reset()), atol=1e-3)

    def test_an_environment_that_rests_shows_what_it_showed(self):
        attack = Recording()
        env = TransformedEnv(SerialEnv(3, lambda: SignalTorchRLEnv(horizon=100)), AdversarialObs(attack))
        before = env.reset()
        mask = torch.tensor([True, False, True])
        after = step(env, before.clone(), mask)
        for key in ("observation", "clean_observation"):
            assert torch.equal(after[key][1], before[key][1])
        assert attack.batches[-1].shape == (2, 3)
        torch.testing.assert_close(shift(after), torch.full((3, 3), EPS))
        step(env, after.exclude("_step"))
        assert attack.contexts[-1]["episode_step"].tolist() == [2, 1, 2]

    def test_rollouts_until_all_are_done(self):
        env = TransformedEnv(SerialEnv(2, lambda: SignalTorchRLEnv(horizon=4)), AdversarialObs(vertex))
        data = env.rollout(9, break_when_any_done=False, break_when_all_done=True)
        assert data.shape == (2, 4)

    def test_nothing_is_attacked_when_nothing_is_reset(self):
        attack = Recording()
        env = rows(attack=attack)
        data = step(env, env.reset())
        calls = len(attack.batches)
        data["_reset"] = torch.zeros(3, 1, dtype=torch.bool)
        env.reset(data)
        assert sum(len(batch) for batch in attack.batches[calls:]) == 0


class TestBudgets:
    def test_counted_per_environment_and_reset_with_the_episode(self):
        env = rows(2, horizon=4, attack=Gated(vertex, AtMost(2)))
        env.base_env.signals[1].horizon = 3
        data = env.rollout(8, break_when_any_done=False)
        changed = (shift(data) != 0).any(-1).int()
        assert changed.tolist() == [[1, 1, 0, 0, 1, 1, 0, 0], [1, 1, 0, 1, 1, 0, 1, 1]]

    def test_every_nth(self):
        data = rows(1, attack=Gated(vertex, EveryNth(3, offset=1))).rollout(7)
        assert (shift(data) != 0).any(-1)[0].int().tolist() == [0, 1, 0, 0, 1, 0, 0]

    def test_with_probability(self):
        env = rows(8, attack=Gated(vertex, WithProbability(0.5)))
        env.set_seed(0)
        share = (shift(env.rollout(50)) != 0).any(-1).float().mean()
        assert 0.4 < share < 0.6

    def test_agents(self):
        env = VmasEnv("navigation", num_envs=2, seed=0)
        key = ("agents", "observation")
        env = TransformedEnv(env, AdversarialObs(Gated(vertex, OnlyAgents(0, 2)), key=key))
        data = env.rollout(3)
        changed = (data[key] != data["agents", "clean_observation"]).any(-1)
        assert torch.equal(changed[..., 0] & changed[..., 2] & ~changed[..., 1], torch.ones(2, 3, dtype=torch.bool))


@pytest.mark.usefixtures("without_gradients")
class TestRecurrent:
    def actor(self):
        torch.manual_seed(0)
        memory = GRUModule(input_size=3, hidden_size=4, in_keys=["observation", "h"], out_keys=["e", ("next", "h")])
        return memory, TensorDictSequential(memory, TensorDictModule(nn.Linear(4, 2), ["e"], ["action"]))

    def test_the_attack_reads_the_state_of_the_policy(self):
        memory, actor = self.actor()
        attack = Recording()
        transforms = Compose(InitTracker(), memory.make_tensordict_primer(), AdversarialObs(attack))
        env = TransformedEnv(SignalTorchRLEnv(rows=2, horizon=4), transforms)
        data = env.rollout(7, actor, break_when_any_done=False)
        for t, context in enumerate(attack.contexts[:5]):
            expected = data["h"][:, t] if t < 4 else data["next", "h"][:, 3]
            assert torch.equal(context["h"], expected)
        assert (attack.contexts[5]["h"] == 0).all()  # the reset
        assert attack.contexts[5]["is_init"].all()
        assert len({float(c["h"].abs().sum()) for c in attack.contexts[:5]}) == 5

    def test_a_gradient_attack(self):
        memory, actor = self.actor()
        attack = PGD(ActionShift(actor), within=LinfBall(EPS))
        transforms = Compose(InitTracker(), memory.make_tensordict_primer(), AdversarialObs(attack))
        data = TransformedEnv(SignalTorchRLEnv(rows=2), transforms).rollout(4, actor)
        assert (shift(data) != 0).any(-1).all()

    def test_the_wrong_order_is_an_error(self):
        memory, actor = self.actor()
        attack = PGD(ActionShift(actor), within=LinfBall(EPS))
        transforms = Compose(InitTracker(), AdversarialObs(attack), memory.make_tensordict_primer())
        env = TransformedEnv(SignalTorchRLEnv(rows=2), transforms)
        with pytest.raises(KeyError, match=r"no 'h'.*Fix: put the transform after InitTracker and the primer"):
            env.reset()

    def test_a_primer_without_batch_axis(self):
        _, actor = self.actor()
        primer = TensorDictPrimer(h=Unbounded((1, 4)), default_value=0.0, expand_specs=True)
        attack = PGD(ActionShift(actor), within=LinfBall(EPS))
        env = TransformedEnv(SignalTorchRLEnv(), Compose(InitTracker(), primer, AdversarialObs(attack)))
        assert (shift(env.rollout(4, actor)) != 0).any(-1).all()


class Restarting(EnvBase):
    """Rows that begin anew within the step that ends their episode."""

    def __init__(self, horizon=3, **options):
        super().__init__(batch_size=[2], **options)
        self.observation_spec = Composite(observation=Unbounded((2, 1)), shape=[2])
        self.action_spec = Bounded(-1, 1, (2, 1))
        self.reward_spec = Unbounded((2, 1))
        self.horizon = torch.tensor([[horizon], [100]])

    def _set_seed(self, seed):
        pass

    def _reset(self, tensordict=None, **_):
        self.t = torch.zeros(2, 1)
        return TensorDict({"observation": self.t.clone(), "done": self.t > 1e9, "terminated": self.t > 1e9}, [2])

    def _step(self, tensordict):
        self.t = self.t + 1
        over = self.t >= self.horizon
        self.t = torch.where(over, torch.zeros(()), self.t)
        data = {"observation": self.t.clone(), "reward": self.t.clone(), "done": over, "terminated": over.clone()}
        return TensorDict(data, [2])


@pytest.mark.parametrize("native", [True, False])
def test_environments_that_reset_themselves(native):
    """Both of TorchRL's ways to deal with them."""
    attack = Recording()
    base = Restarting() if native else Restarting(auto_reset=True, auto_reset_replace=True)
    env = TransformedEnv(base, AdversarialObs(attack))
    if native:
        env._torchrl_native_autoreset = True
    data = env.rollout(7, break_when_any_done=False)
    torch.testing.assert_close(shift(data), torch.full((2, 7, 1), EPS))
    assert data["clean_observation"][0, :, 0].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert data["clean_observation"][1, :, 0].tolist() == [0, 1, 2, 3, 4, 5, 6]
    begun = [c["episode_step"].tolist() for c in attack.contexts if len(c["episode_step"]) == 1]
    assert begun == [[0], [0]]
    assert attack.contexts[-1]["episode_step"].tolist() == [1, 7]


class TestErrors:
    def test_not_an_attack(self):
        with pytest.raises(TypeError, match=r"`attack` must be an attack.*Fix"):
            AdversarialObs(0.1)

    def test_unknown_key(self):
        env = TransformedEnv(SignalTorchRLEnv(rows=1), AdversarialObs(vertex, key="pixels"))
        with pytest.raises(KeyError, match=r"must name an observation of the environment, got 'pixels'.*observation"):
            env.reset()

    def test_nan(self):
        env = rows()
        data = env.reset()
        env.base_env.signals[1].state[:] = np.nan
        with pytest.raises(ValueError, match=r"'observation' must not hold NaN, but its rows \[1\] do. Fix"):
            step(env, data)

    def test_nan_after_the_end_is_a_placeholder(self):
        env = rows(horizon=1)
        data = env.reset()
        env.base_env.signals[1].state[:] = np.nan
        data["action"] = torch.zeros(3, 2)
        data = env.step(data)
        assert data["next", "observation"][1].isnan().any()
        assert data["next", "observation"][0].isfinite().all()

    def test_two_environments(self):
        transform = AdversarialObs(vertex)
        first = TransformedEnv(SignalTorchRLEnv(rows=1), transform)
        with pytest.raises(AttributeError, match="already set"):
            TransformedEnv(SignalTorchRLEnv(rows=1), transform)
        assert transform.container is first

    @pytest.mark.parametrize("nest", [Compose, lambda part: Compose(InitTracker(), Compose(part))])
    def test_two_environments_with_one_compose(self, nest):
        def seeded(env):
            env.set_seed(3)
            data = env.reset()
            return torch.stack([data["observation"], step(env, data)["observation"]])

        part = AdversarialObs(vertex)
        shared = nest(part)
        first = TransformedEnv(SignalTorchRLEnv(rows=2), shared)
        expected = seeded(first)
        with pytest.raises(AttributeError, match=r"AdversarialObs is in another environment already.*Fix: `transform"):
            TransformedEnv(SignalTorchRLEnv(rows=1), shared)
        # The first one is as it was, and a clone is welcome in the second.
        assert part.container is first
        assert torch.equal(seeded(first), expected)
        second = TransformedEnv(SignalTorchRLEnv(rows=2), shared.clone())
        assert torch.equal(seeded(second), expected)
        assert part.container is first

    def test_a_compose_may_move_on(self):
        """From an environment that is gone, or that has got other transforms, or to a copy of the environment."""
        shared = Compose(AdversarialObs(vertex))
        first = TransformedEnv(SignalTorchRLEnv(rows=1), shared)
        copied = copy.deepcopy(first)
        assert copied.transform[0].container is copied
        first.transform = Compose()
        second = TransformedEnv(SignalTorchRLEnv(rows=1), shared)
        assert shared[0].container is second
        second.append_transform(InitTracker())
        assert shared[0].container is second
        del second
        gc.collect()
        third = TransformedEnv(SignalTorchRLEnv(rows=1), shared)
        assert shared[0].container is third

    def test_a_step_without_reset(self):
        env = rows()
        data = env.fake_tensordict().exclude("next")
        with pytest.raises(ValueError, match="the step has 3 environments, but 0 were reset"):
            step(env, data)


class TestBatchesThatVary:
    """Environments without a locked batch."""

    def env(self):
        copied = RenameTransform(["th"], ["observation"], create_copy=True)
        return TransformedEnv(PendulumEnv(), Compose(copied, AdversarialObs(vertex)))

    def given(self, env, rows):
        return env.base_env.gen_params(batch_size=[rows])

    def test_any_batch(self):
        env = self.env()
        for n in (4, 2):
            data = env.reset(self.given(env, n), set_state=True)
            for _ in range(2):
                torch.testing.assert_close(shift(data).abs(), torch.full((n,), EPS))
                data["action"] = torch.zeros(n, 1)
                data = env.step_mdp(env.step(data))

    def test_another_batch_than_was_reset_is_an_error(self):
        env = self.env()
        data = env.reset(self.given(env, 4), set_state=True)
        data["action"] = torch.zeros(4, 1)
        with pytest.raises(ValueError, match="the step has 3 environments, but 4 were reset"):
            env.step(data[:3])

    def test_the_state_itself_is_refused(self):
        env = TransformedEnv(PendulumEnv(), AdversarialObs(vertex, key="th"))
        with pytest.raises(ValueError, match=r"'th' is the state that the environment reads back.*Fix: attack a copy"):
            env.reset(self.given(env, 4), set_state=True)


def test_replay_buffers_perturb_from_the_truth():
    buffer = ReplayBuffer(storage=LazyTensorStorage(20), batch_size=8, transform=AdversarialObs(vertex))
    data = rows(1).rollout(10)[0]
    buffer.extend(data)
    for _ in range(2):
        sample = buffer.sample()
        for part in (sample, sample["next"]):
            torch.testing.assert_close(shift(part).abs(), torch.full((8, 3), EPS))
    plain = ReplayBuffer(storage=LazyTensorStorage(20), batch_size=8, transform=AdversarialObs(vertex))
    plain.extend(TransformedEnv(SignalTorchRLEnv(rows=1)).rollout(5)[0])
    sample = plain.sample()
    torch.testing.assert_close(shift(sample).abs(), torch.full((8, 3), EPS))


class TestReplaced:
    def test_the_attack_may_be_replaced(self):
        env = rows(attack=Identity())
        assert (shift(env.rollout(3)) == 0).all()
        env.transform.attack = vertex
        assert (shift(env.rollout(3)) != 0).all()

    def test_networks_are_not_parts_of_the_environment(self):
        class Network(nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(3, 3)

            def forward(self, clean, **options):
                return (clean + self.linear(clean)).detach()

        env = rows(attack=Network())
        env.transform.attack = Network()
        env.rollout(2)
        assert list(env.transform.parameters()) == []
        assert not any("linear" in name for name in env.state_dict())


def test_float64_stays_float64():
    env = TransformedEnv(GymWrapper(Still()), AdversarialObs(vertex))
    data = env.reset()
    assert data["observation"].dtype == torch.float64
    assert env.observation_spec["clean_observation"].dtype == torch.float64


def test_inside_no_grad_and_inference_mode():
    net = nn.Linear(3, 2)
    for mode in (torch.no_grad, torch.inference_mode):
        env = rows(attack=PGD(ActionShift(net), within=LinfBall(EPS)))
        with mode():
            data = env.rollout(3)
        assert (shift(data) != 0).any(-1).all()
