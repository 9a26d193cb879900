"""`AdversarialAction` in TorchRL: what was intended, what was executed, and what the attack knows."""

import pytest
import torch
from tensordict import TensorDict
from torch import nn
from torchrl.data import (
    Bounded,
    Categorical,
    Composite,
    LazyTensorStorage,
    MultiCategorical,
    MultiOneHot,
    OneHot,
    ReplayBuffer,
    Unbounded,
)
from torchrl.envs import (
    ActionScaling,
    Compose,
    EnvBase,
    GymEnv,
    SerialEnv,
    TransformedEnv,
    VmasEnv,
    check_env_specs,
)

from advwrap import (
    FGSM,
    PGD,
    ActionSet,
    AtMost,
    Bounds,
    Corners,
    Gated,
    LinfBall,
    LowValue,
    Noise,
    OnlyAgents,
    RandomVertex,
    Search,
)
from advwrap.testing.environments import SignalTorchRLEnv
from advwrap.transforms import AdversarialAction, AdversarialObs
from advwrap.victims import TabularCritic

EPS = 0.25
vertex = RandomVertex(LinfBall(EPS))


class Echo(EnvBase):
    """Shows the action that it received; any action spec."""

    def __init__(self, action_spec, batch=(), mask=None):
        super().__init__(batch_size=batch)
        received = Unbounded((*action_spec.shape,), dtype=action_spec.dtype)
        self.observation_spec = Composite(observation=Unbounded((*batch, 2)), received=received, shape=batch)
        self.mask = mask
        if mask is not None:
            self.observation_spec["action_mask"] = Unbounded(mask.shape, dtype=torch.bool)
        self.action_spec = action_spec
        self.reward_spec = Unbounded((*batch, 1))

    def _set_seed(self, seed):
        pass

    def _pack(self, received):
        flags = {name: torch.zeros(*self.batch_size, 1, dtype=torch.bool) for name in ("done", "terminated")}
        data = {"observation": torch.full((*self.batch_size, 2), self.t), "received": received, **flags}
        if self.mask is not None:
            data["action_mask"] = self.mask
        return TensorDict(data, self.batch_size)

    def _reset(self, tensordict=None, **_):
        self.t = 0.0
        return self._pack(torch.zeros_like(self.action_spec.rand()))

    def _step(self, tensordict):
        self.t += 1.0
        return self._pack(tensordict["action"]).set("reward", torch.zeros(*self.batch_size, 1))


class Recording:
    def __init__(self, attack=vertex):
        self.attack, self.contexts, self.batches = attack, [], []

    def __call__(self, clean, *, context=None, **options):
        self.contexts.append(dict(context.items()))
        self.batches.append(clean.clone())
        return self.attack(clean, context=context, **options)


def echo(attack, spec=None, batch=(), mask=None, **options):
    spec = Bounded(-1.0, 1.0, (*batch, 2)) if spec is None else spec
    return TransformedEnv(Echo(spec, batch, mask), AdversarialAction(attack, **options))


def chosen(env, steps=4, action=None):
    """A rollout with a fixed action."""

    def act(tensordict):
        return tensordict.set("action", env.full_action_spec["action"].rand() if action is None else action.clone())

    return env.rollout(steps, act, break_when_any_done=False)


class TestBothAreThere:
    def test_intended_beside_executed(self):
        env = echo(vertex)
        data = chosen(env, action=torch.tensor([0.5, 0.0]))
        assert torch.equal(data["action"], torch.tensor([[0.5, 0.0]] * 4))
        assert torch.equal(data["executed_action"], data["next", "received"])
        torch.testing.assert_close((data["executed_action"] - data["action"]).abs(), torch.full((4, 2), EPS))

    def test_after_a_single_step(self):
        env = echo(vertex)
        data = env.reset().set("action", torch.zeros(2))
        out = env.step(data)
        assert out is data
        assert torch.equal(out["executed_action"], out["next", "received"])

    def test_in_both_kinds_of_rollout_and_in_step_and_maybe_reset(self):
        for stop in (True, False):
            env = TransformedEnv(SignalTorchRLEnv(rows=2, horizon=3), AdversarialAction(vertex))
            data = env.rollout(3, break_when_any_done=stop)
            assert data["executed_action"].shape == (2, 3, 2)
        env = TransformedEnv(SignalTorchRLEnv(rows=2, horizon=2), AdversarialAction(vertex))
        data = env.reset().set("action", torch.zeros(2, 2))
        out, _ = env.step_and_maybe_reset(data)
        assert (out["executed_action"] != 0).all()

    def test_the_specs_of_the_agent_stay(self):
        base = GymEnv("Pendulum-v1")
        env = TransformedEnv(base, AdversarialAction(vertex))
        assert env.action_spec == base.action_spec
        assert list(env.full_action_spec.keys()) == ["action"]
        assert "executed_action" in env.fake_tensordict()

    def test_another_key(self):
        data = chosen(echo(vertex, executed_key=("faults", "action")))
        assert torch.equal(data["faults", "action"], data["next", "received"])

    def test_around_another_transform(self):
        """Stacked transforms of TorchRL see what reaches them."""
        attack = Recording()
        env = TransformedEnv(GymEnv("Pendulum-v1"), Compose(ActionScaling(), AdversarialAction(attack)))
        check_env_specs(env)
        data = env.rollout(5)
        assert data["executed_action"].abs().max() <= 1
        inner = TransformedEnv(GymEnv("Pendulum-v1"), Compose(AdversarialAction(attack), ActionScaling()))
        inner.rollout(50)
        assert torch.stack(attack.batches[-50:]).abs().max() > 1  # in the units of the environment


class TestLimits:
    def test_of_the_action_spec(self):
        data = chosen(echo(vertex), action=torch.tensor([1.0, -0.9]))
        assert data["executed_action"].abs().max() <= 1

    def test_given(self):
        data = chosen(echo(vertex, bounds=Bounds(-0.1, 0.1)), action=torch.zeros(2))
        torch.testing.assert_close(data["executed_action"].abs(), torch.full((4, 2), 0.1))

    def test_an_action_outside_is_attacked_at_the_limit(self):
        """What the task makes of 1.5 is 1; 0.25 less than 1.5 it would not notice."""
        data = chosen(echo(vertex), steps=20, action=torch.tensor([1.5, 0.0]))
        assert data["executed_action"][:, 0].unique().tolist() == [0.75, 1.0]
        assert (data["action"][:, 0] == 1.5).all()


class TestKnowledge:
    def test_the_true_observation(self):
        attack = Recording()
        env = TransformedEnv(SignalTorchRLEnv(rows=2), Compose(AdversarialObs(vertex), AdversarialAction(attack)))
        data = env.rollout(3)
        for t, context in enumerate(attack.contexts):
            assert torch.equal(context["observation"], data["clean_observation"][:, t])
            assert torch.equal(context["clean_observation"], data["clean_observation"][:, t])
            assert "action" not in context

    def test_without_an_attack_on_observations(self):
        attack = Recording()
        data = chosen(echo(attack))
        assert torch.equal(torch.cat([c["observation"] for c in attack.contexts]), data["observation"])

    def test_another_observation(self):
        attack = Recording()
        chosen(echo(attack, observation_key="received"))
        assert attack.contexts[0]["observation"].shape == (1, 2)

    def test_lowers_the_critic(self):
        torch.manual_seed(0)
        critic = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))
        env = echo(PGD(LowValue(critic=critic), within=LinfBall(EPS), best=True))
        data = chosen(env)
        with torch.no_grad():
            before, after = (
                critic(torch.cat([data["observation"], data[k]], -1)) for k in ("action", "executed_action")
            )
        assert (after <= before).all()
        assert (after < before).any()

    def test_recorded_steps(self):
        attack = Recording(Gated(vertex, AtMost(2)))
        env = echo(attack)
        for _ in range(2):
            data = chosen(env)
            changed = (data["action"] != data["executed_action"]).any(-1)
            assert changed.tolist() == [True, True, False, False]
        assert [c["episode_step"].item() for c in attack.contexts] == [0, 1, 2, 3] * 2


class TestDiscrete:
    @pytest.mark.parametrize(
        "spec",
        [
            OneHot(4),
            OneHot(4, dtype=torch.int64),
            Categorical(4),
            MultiCategorical((2, 3)),
            MultiOneHot((2, 3)),
        ],
        ids=["one-hot", "one-hot integers", "index", "indices", "one-hots"],
    )
    def test_every_encoding(self, spec):
        several = isinstance(spec, (MultiCategorical, MultiOneHot))
        actions = ActionSet(torch.cartesian_prod(torch.arange(2), torch.arange(3))) if several else ActionSet(4)
        attack = Recording(Noise(actions))
        env = echo(attack, spec)
        check_env_specs(env)
        data = chosen(env, 30)
        executed = data["executed_action"]
        assert torch.equal(executed, data["next", "received"])
        assert executed.dtype == spec.dtype
        assert all(spec.is_in(action) for action in executed)
        assert (executed != data["action"]).any()
        assert attack.batches[0].shape == ((1, 2) if several else (1,))  # indices, however they are encoded

    @pytest.mark.parametrize("spec", [OneHot(3), Categorical(3)])
    def test_the_worst_action_of_a_table(self, spec):
        critic = TabularCritic(lambda obs: torch.tensor([[1.0, -2.0, 0.0]]))
        env = echo(Search(LowValue(critic=critic), within=ActionSet(3), strategy=Corners()), spec)
        executed = chosen(env)["executed_action"]
        index = executed if executed.ndim == 1 else executed.int().argmax(-1)
        assert index.tolist() == [1] * 4

    @pytest.mark.parametrize("spec", [OneHot(4), Categorical(4)])
    def test_forbidden_actions_are_never_executed(self, spec):
        mask = torch.tensor([True, False, True, False])
        env = echo(Gated(Noise(ActionSet(4)), AtMost(10)), spec, mask=mask)
        intended = torch.tensor(0) if isinstance(spec, Categorical) and not isinstance(spec, OneHot) else None
        intended = torch.tensor([True, False, False, False]) if intended is None else intended
        env.set_seed(0)
        data = chosen(env, 100, intended)
        executed = data["executed_action"]
        index = executed if executed.ndim == 1 else executed.int().argmax(-1)
        assert set(index.tolist()) == {0, 2}
        assert (index == 2).sum() == 10  # those that were turned down do not count


class TestRows:
    def test_only_acting_environments(self):
        attack = Recording()
        env = TransformedEnv(SerialEnv(3, lambda: SignalTorchRLEnv(horizon=100)), AdversarialAction(attack))
        data = env.reset().set("action", torch.zeros(3, 2))
        data["_step"] = torch.tensor([True, False, True])
        out = env.step(data)
        assert (out["executed_action"] != 0).all(-1).tolist() == [True, False, True]
        data = env.step_mdp(out.exclude("_step")).set("action", torch.zeros(3, 2))
        env.step(data)
        assert attack.contexts[-1]["episode_step"].tolist() == [1, 0, 1]

    def test_partial_resets(self):
        attack = Recording()
        env = TransformedEnv(SignalTorchRLEnv(rows=2, horizon=100), AdversarialAction(attack))
        env.base_env.signals[1].horizon = 2
        env.rollout(4, break_when_any_done=False)
        steps = [c["episode_step"].tolist() for c in attack.contexts]
        assert steps == [[0, 0], [1, 1], [2, 0], [3, 1]]

    def test_agents(self):
        env = VmasEnv("navigation", num_envs=2, seed=0)
        attack = Recording(Gated(vertex, OnlyAgents(1)))
        env = TransformedEnv(env, AdversarialAction(attack, key=("agents", "action")))
        data = env.rollout(3)
        changed = (data["agents", "action"] != data["agents", "executed_action"]).any(-1)
        assert torch.equal(changed[..., 1], torch.ones(2, 3, dtype=torch.bool))
        assert not changed[..., [0, 2]].any()
        assert torch.equal(attack.contexts[0]["observation"], data["agents", "observation"][:, 0].flatten(0, 1))


def test_nan_is_an_error():
    env = echo(vertex)
    with pytest.raises(ValueError, match=r"'action' must not hold NaN, but its rows \[0\]"):
        env.step(env.reset().set("action", torch.tensor([0.0, torch.nan])))


def test_nothing_happens_in_a_replay_buffer():
    buffer = ReplayBuffer(storage=LazyTensorStorage(10), batch_size=4, transform=AdversarialAction(vertex))
    data = chosen(echo(vertex))
    buffer.extend(data)
    sample = buffer.sample()
    moved = (sample["executed_action"] - sample["action"]).abs()
    assert (moved > 0).all()
    assert set(sample["action"].flatten().tolist()) <= set(data["action"].flatten().tolist())


def test_a_gradient_attack_in_one_step():
    attack = FGSM(LowValue(critic=lambda s, a: a.sum(-1)), within=LinfBall(EPS))
    data = chosen(echo(attack), action=torch.zeros(2))
    assert torch.equal(data["executed_action"], torch.full((4, 2), -EPS))
