"""The task as its attacker meets it: who sees what, who acts, what is rewarded; and that any library trains in it."""

import pickle
import warnings
from functools import partial

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorWrapper
from hypothesis import given
from hypothesis import strategies as st
from tensordict.nn import NormalParamExtractor, TensorDictModule
from torch import nn
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.envs import GymWrapper
from torchrl.modules import MLP, ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import SACLoss, SoftUpdate

from advwrap import AdversarialObs, L2Ball, Learned, LinfBall
from advwrap.attacks import Steered, policy_direction
from advwrap.evaluation import evaluate
from advwrap.testing.contracts.rules import assert_untouched, global_randomness_untouched, snapshot
from advwrap.testing.victims import ElementwisePolicy
from advwrap.victims import Categorical, Gaussian
from advwrap.wrappers import ActionAdversary, NoisyAdversary, PAADAttacker, ProbabilisticAdversary, SARLAttacker
from advwrap.wrappers.gymnasium import AttackerEnv
from tests.wrappers.environments import Discrete, Walk

BALL = LinfBall(0.2)


class Two(nn.Module):
    """Two actions from three features, computed feature by feature: the same bits in every batch."""

    def __init__(self):
        super().__init__()
        self.first = ElementwisePolicy(torch.tensor([1.0, -2.0, 0.5]))

    def forward(self, observation):
        y = self.first(observation)
        return torch.stack([y[:, 0] + y[:, 1], y[:, 2] - 0.3 * y[:, 1]], 1).tanh()


VICTIM = Two()
RANDOM = Gaussian(VICTIM, 0.3)
KINDS = {
    "SA-RL": SARLAttacker,
    "PA-AD": PAADAttacker,
    "PA-AD, reference sign": partial(PAADAttacker, reference_sign=True),
}


def sharing(kind, env, victim, *, within, stochastic=True):
    return kind.around(env, victim, within=within, stochastic=stochastic)


KINDS |= {
    type(kind).__name__: partial(sharing, kind)
    for kind in (ActionAdversary(), NoisyAdversary(0.3), ProbabilisticAdversary(0.5))
}


def walk(**options):
    return Walk(length=4, **options)


def rollout(env, commands, *, seed=0):
    """Observations, rewards, what the victim saw and did."""
    found = [env.reset(seed=seed)[0].copy()]
    for command in commands:
        observation, reward, terminated, truncated, info = env.step(command)
        found += [observation.copy(), reward, info["victim_observation"], info["victim_action"]]
        if terminated or truncated:
            found.append(env.reset()[0].copy())
    return found


@given(seed=st.integers(0, 2**62), eps=st.floats(0, 2), data=st.data())
def test_the_victim_sees_the_push_and_acts_and_the_reward_is_minus_its_own(seed, eps, data):
    floats = st.lists(st.floats(-2, 2, width=32), min_size=3, max_size=3)
    env = SARLAttacker(walk(), VICTIM, within=LinfBall(eps), stochastic=False)
    own = walk()
    observation, _ = env.reset(seed=seed)
    np.testing.assert_array_equal(observation, own.reset(seed=seed)[0])
    for _ in range(3):
        command, clean = np.float32(data.draw(floats)), observation.copy()
        observation, reward, *_, info = env.step(command)
        np.testing.assert_allclose(info["victim_observation"], clean + eps * command.clip(-1, 1), atol=1e-6)
        seen = torch.from_numpy(info["victim_observation"])[None]
        np.testing.assert_array_equal(info["victim_action"], VICTIM(seen)[0].detach())
        # The task itself, driven with the victim's actions.
        other, victims_reward, *_ = own.step(info["victim_action"])
        np.testing.assert_array_equal(observation, other)
        assert reward == -victims_reward


def test_the_reward_is_scaled():
    def of(scale):
        env = SARLAttacker(walk(), VICTIM, within=BALL, stochastic=False, reward_scale=scale)
        env.reset(seed=0)
        return env.step(np.ones(3, np.float32))[1]

    assert of(1.0) != 0
    assert of(0.25) == 0.25 * of(1.0)


@pytest.mark.parametrize("stochastic", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_vector_rows_are_single_environments(kind, stochastic):
    """Bit for bit, across episodes, with the victim's samples."""
    attacker = partial(KINDS[kind], victim=RANDOM, within=BALL, stochastic=stochastic)
    size = attacker(walk()).action_space.shape[0]
    commands = np.random.default_rng(0).uniform(-1, 1, (11, 3, size)).astype(np.float32)
    tasks = [partial(Walk, length=length) for length in (4, 3, 5)]
    alone = [rollout(attacker(tasks[row]()), commands[:, row], seed=7 + row) for row in range(3)]
    envs = attacker(Garbled(SyncVectorEnv(tasks, autoreset_mode=AutoresetMode.DISABLED)))
    together = rollout_of_rows(envs, commands, seed=7)
    for row in range(3):
        for one, other in zip(alone[row], together[row], strict=True):
            np.testing.assert_array_equal(one, other)
    assert not np.array_equal(alone[0][1], alone[1][1])


class Garbled(VectorWrapper):
    """Rows that a reset leaves alone show nothing of use."""

    def reset(self, *, seed=None, options=None):
        observations, infos = self.env.reset(seed=seed, options=dict(options) if options else None)
        if options:
            observations[~options["reset_mask"]] = -1e6
        return observations, infos


def rollout_of_rows(envs, commands, *, seed):
    observations, _ = envs.reset(seed=seed)
    found = [[row.copy()] for row in observations]
    for command in commands:
        observations, rewards, terminated, truncated, infos = envs.step(command)
        for i, rows in enumerate(found):
            seen, played = infos["victim_observation"][i].copy(), infos["victim_action"][i].copy()
            rows += [observations[i].copy(), rewards[i], seen, played]
        if (over := terminated | truncated).any():
            observations, _ = envs.reset(options={"reset_mask": over})
            for i in np.flatnonzero(over):
                found[i].append(observations[i].copy())
    return found


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_the_episodes_of_a_vector_that_resets_by_itself_are_the_same(mode):
    attacker = partial(SARLAttacker, victim=RANDOM, within=BALL)
    commands = np.random.default_rng(0).uniform(-1, 1, (10, 2, 3)).astype(np.float32)
    envs = attacker(SyncVectorEnv([walk] * 2, autoreset_mode=mode))
    envs.reset(seed=0)
    played = []
    for t, command in enumerate(commands):
        infos = envs.step(command)[-1]
        if not (mode is AutoresetMode.NEXT_STEP and t % 5 == 4):  # a step that only resets
            played.append(infos["victim_action"][1])
    own = attacker(walk())
    steps = [c for t, c in enumerate(commands) if not (mode is AutoresetMode.NEXT_STEP and t % 5 == 4)]
    expected = [step for step in rollout(own, [c[1] for c in steps], seed=1) if np.shape(step) == (2,)]
    np.testing.assert_array_equal(played, expected)


@pytest.mark.parametrize("kind", ["SA-RL", "PA-AD"])
def test_an_adversary_meets_in_evaluation_what_it_was_trained_in(kind):
    """The same trajectory under `AdversarialObs`, random start of the generator included."""
    torch.manual_seed(0)
    size = {"SA-RL": 3, "PA-AD": 2}[kind]
    adversary = ElementwisePolicy(torch.tensor([2.0, -1.0, 3.0]))

    def nu(observation):
        return adversary(observation)[:, :size]

    attack = {
        "SA-RL": Learned(nu, within=BALL),
        "PA-AD": Steered(nu, policy_direction(VICTIM, within=BALL)),
    }[kind]
    inside = KINDS[kind](walk(), VICTIM, within=BALL, stochastic=False)
    outside = AdversarialObs(walk(), attack)
    for seed in (3, None):  # two episodes
        clean, _ = inside.reset(seed=seed)
        seen, info = outside.reset(seed=seed)
        over = False
        while not over:
            np.testing.assert_array_equal(clean, info["clean_observation"])
            shown = seen.copy()
            with torch.no_grad():
                command, action = nu(torch.from_numpy(clean)[None])[0], VICTIM(torch.from_numpy(seen)[None])[0]
            clean, reward, _, over, inner = inside.step(command.numpy())
            seen, victims_reward, *_, info = outside.step(action.numpy())
            np.testing.assert_array_equal(inner["victim_observation"], shown)
            assert reward == -victims_reward


@pytest.mark.parametrize("kind", ["SA-RL", "PA-AD"])
def test_without_a_radius_the_episodes_are_the_victims_own(kind):
    torch.manual_seed(0)
    victim = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    env = KINDS[kind](gymnasium.make("Pendulum-v1"), victim, within=LinfBall(0.0), stochastic=False)
    cell = evaluate(victim, "Pendulum-v1", episodes=1, seed=5)
    env.reset(seed=5)
    env.action_space.seed(0)
    total, over = 0.0, False
    while not over:
        _, reward, _, over, _ = env.step(env.action_space.sample())
        total += reward
    assert total == pytest.approx(-cell.returns[0], abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_the_victim_and_no_global_generator_changes(kind):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 2))
    before = snapshot([net])
    with global_randomness_untouched():
        env = KINDS[kind](walk(), Gaussian(net, 0.5), within=BALL)
        env.reset(seed=0)
        for _ in range(3):
            env.step(np.ones(env.action_space.shape, np.float32))
    assert_untouched([net], before)
    assert all(p.grad is None for p in net.parameters())


def test_the_victims_samples_are_not_the_noise_of_the_attack():
    drawn = []

    def noise(clean, *, context=None, bounds=None, generator=None):
        drawn.append(generator.normal(torch.empty(1, 2, dtype=torch.float64)))
        return clean.clone()

    commands = spaces.Box(-1, 1, (1,), np.float32)
    victim = Gaussian(lambda s: torch.zeros(len(s), 2, dtype=torch.float64), 1.0)
    env = AttackerEnv(walk(), victim, attack=noise, commands=commands)
    env.reset(seed=0)
    played = [env.step(np.zeros(1, np.float32))[-1]["victim_action"] for _ in range(3)]
    assert len(np.unique([*played, *(d.numpy()[0] for d in drawn)])) == 12


def test_commands_are_clipped_to_their_space():
    given = []

    def spy(clean, *, context=None, bounds=None, generator=None):
        given.append(context["adversary_action"].tolist())
        return clean.clone()

    env = AttackerEnv(walk(), VICTIM, attack=spy, commands=spaces.Box(-1, 1, (2,), np.float32))
    env.reset(seed=0)
    command = np.array([5.0, -0.25], np.float32)
    env.step(command)
    assert given == [[[1.0, -0.25]]]
    assert command.tolist() == [5.0, -0.25]


@pytest.mark.parametrize("stochastic", [True, False])
def test_discrete_victims(stochastic):
    class Recorder(Discrete):
        pass

    # The third action wherever the first feature is above a threshold, else the first.
    logits = Categorical(lambda s: torch.stack([0.5 - s[:, 0], s[:, 0] * 0 - 9, s[:, 0] - 0.5], 1) * 1e4)
    task = Recorder(spaces.Discrete(3, start=5))
    env = SARLAttacker(task, logits, within=LinfBall(10.0), stochastic=stochastic)
    env.reset(seed=0)
    for push, action in ((1.0, 7), (-1.0, 5)):
        env.step(np.full(3, push, np.float32))
        assert task.received == action
    director = PAADAttacker(task, logits, within=LinfBall(0.1))
    assert director.action_space == spaces.Box(-1, 1, (3,), np.float32)


def test_other_sets():
    env = SARLAttacker(walk(), VICTIM, within=L2Ball(0.5))
    clean, _ = env.reset(seed=0)
    clean = clean.copy()
    *_, info = env.step(np.ones(3, np.float32))
    assert np.linalg.norm(info["victim_observation"] - clean) == pytest.approx(0.5, rel=1e-5)


def test_the_state_of_a_checkpoint_goes_on_bit_for_bit():
    for make in (walk, lambda: SyncVectorEnv([walk] * 2, autoreset_mode=AutoresetMode.DISABLED)):
        env, other = (SARLAttacker(make(), RANDOM, within=BALL) for _ in range(2))
        command = np.full(env.action_space.shape, 0.5, np.float32)
        for one in (env, other):
            one.reset(seed=3)
            one.step(command)
        other.step(command)
        other.load_state_dict(env.state_dict())
        np.testing.assert_array_equal(env.step(command)[-1]["victim_action"], other.step(command)[-1]["victim_action"])


class TestLibraries:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize(("task", "victim"), [("Pendulum-v1", nn.Linear(3, 1)), ("CartPole-v1", nn.Linear(4, 2))])
    def test_gymnasiums_checker_passes(self, kind, task, victim):
        if "Adversary" in kind and task == "CartPole-v1":
            with pytest.raises(TypeError, match="action must be a Box"):
                KINDS[kind](gymnasium.make(task), victim, within=BALL)
            return
        env = KINDS[kind](gymnasium.make(task, disable_env_checker=True), victim, within=BALL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about wrappers and infinite spaces
            check_env(env, skip_render_check=True)

    def test_the_spec_makes_it_again(self):
        victim = nn.Linear(3, 1)
        env = SARLAttacker(gymnasium.make("Pendulum-v1"), victim, within=BALL, stochastic=False)
        again = gymnasium.make(env.spec)
        assert isinstance(again, AttackerEnv)
        command = np.ones(3, np.float32)
        env.reset(seed=1), again.reset(seed=1)
        assert env.step(command)[1] == again.step(command)[1]

    def test_in_a_vector_environment_of_gymnasium(self):
        envs = SyncVectorEnv([lambda: SARLAttacker(walk(), RANDOM, within=BALL)] * 2)
        envs.reset(seed=4)
        alone = SARLAttacker(walk(), RANDOM, within=BALL)
        alone.reset(seed=5)
        command = np.full((2, 3), 0.7, np.float32)
        assert envs.step(command)[1][1] == alone.step(command[1])[1]

    def test_in_a_serial_environment_of_torchrl(self):
        from torchrl.envs import SerialEnv
        from torchrl.envs.utils import check_env_specs

        def make():
            return GymWrapper(PAADAttacker(gymnasium.make("Pendulum-v1"), nn.Linear(3, 1), within=BALL))

        env = SerialEnv(2, make)
        check_env_specs(env)
        assert env.rollout(5)["next", "reward"].shape == (2, 5, 1)

    def test_stable_baselines3_trains_in_it(self):
        from stable_baselines3 import PPO

        env = SARLAttacker(gymnasium.make("Pendulum-v1"), nn.Linear(3, 1), within=BALL)
        model = PPO("MlpPolicy", env, n_steps=64, batch_size=32, n_epochs=1, seed=0, device="cpu").learn(64)
        attack = Learned(model, within=BALL)
        seen = attack(torch.zeros(2, 3))
        assert (seen.abs() <= 0.2).all()

    def test_victim_and_attack_can_be_carried_to_another_process(self):
        torch.manual_seed(0)
        attack = Steered(nn.Linear(3, 2), policy_direction(nn.Linear(3, 2), within=BALL))
        clean = torch.randn(5, 3)
        one, other = (
            copy(clean, generator=torch.Generator().manual_seed(0))
            for copy in (attack, pickle.loads(pickle.dumps(attack)))  # noqa: S301 - our own
        )
        assert torch.equal(one, other)


class TestErrors:
    def test_another_kind_of_environment(self):
        for make in (SARLAttacker, PAADAttacker):
            with pytest.raises(TypeError, match=r"gymnasium\.make"):
                make("Pendulum-v1", nn.Linear(3, 1), within=BALL)

    def test_an_observation_that_is_no_box(self):
        class Cards(Walk):
            observation_space = spaces.Discrete(3)

            def __init__(self):
                super().__init__()
                self.observation_space = spaces.Discrete(3)

        with pytest.raises(TypeError, match="Box"):
            SARLAttacker(Cards(), VICTIM, within=BALL)

    @pytest.mark.parametrize(
        ("command", "message"),
        [(np.ones(2, np.float32), r"shape \(3,\)"), (np.array([0, np.nan, 0], np.float32), "finite")],
    )
    def test_a_bad_command(self, command, message):
        env = SARLAttacker(walk(), VICTIM, within=BALL)
        env.reset(seed=0)
        with pytest.raises(ValueError, match=message):
            env.step(command)

    def test_a_victim_for_another_task(self):
        env = SARLAttacker(walk(), nn.Linear(3, 5), within=BALL)
        env.reset(seed=0)
        with pytest.raises(ValueError, match=r"`victim`.*2"):
            env.step(np.ones(3, np.float32))

    def test_actions_without_a_policy_space(self):
        with pytest.raises(TypeError, match="vector or discrete"):
            PAADAttacker(Discrete(spaces.MultiBinary(3)), VICTIM, within=BALL)


class Guess(gymnasium.Env):
    """A new number in every step; the reward is minus the squared distance of the action from it."""

    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = spaces.Box(-9.0, 9.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.number(), {}

    def step(self, action):
        reward = -float((action[0] - self.shown) ** 2)
        self.steps += 1
        return self.number(), reward, False, self.steps == 20, {}

    def number(self):
        self.shown = self.np_random.uniform(-1, 1)
        return np.array([self.shown], np.float32)


def test_an_unmodified_torchrl_sac_learns_the_attack():
    """TorchRL's own parts alone; the best attack on a victim that believes its eyes pushes as far as it may."""
    torch.manual_seed(0)
    env = GymWrapper(SARLAttacker(Guess(), nn.Identity(), within=LinfBall(2.0), stochastic=False))
    env.set_seed(0)
    net = nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 2), NormalParamExtractor())
    actor = ProbabilisticActor(
        TensorDictModule(net, ["observation"], ["loc", "scale"]), ["loc", "scale"], spec=env.action_spec,
        distribution_class=TanhNormal, return_log_prob=True,
    )  # fmt: skip
    qvalue = ValueOperator(MLP(2, 1, num_cells=[32, 32]), in_keys=["observation", "action"])
    loss = SACLoss(actor, qvalue, alpha_init=0.1, fixed_alpha=True)
    loss.make_value_estimator(gamma=0.5)
    targets, optimiser = SoftUpdate(loss, tau=0.05), torch.optim.Adam(loss.parameters(), lr=3e-3)
    buffer = TensorDictReplayBuffer(storage=LazyTensorStorage(1000), batch_size=64)
    sizes = []
    collector = Collector(env, actor, frames_per_batch=40, total_frames=800, auto_register_policy_transforms=False)
    for collected in collector:
        sizes.append(float(collected["action"].abs().mean()))
        assert collected["next", "reward"].mean() > 0  # minus what the victim gets
        buffer.extend(collected)
        for _ in range(12):
            values = loss(buffer.sample())
            optimiser.zero_grad()
            sum(value for name, value in values.items() if name.startswith("loss_")).backward()
            optimiser.step()
            targets.step()
    assert sizes[0] < 0.6
    assert sizes[-1] > 0.75
