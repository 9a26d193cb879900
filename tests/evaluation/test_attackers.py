"""Learned attackers find the best perturbation where it is known, and a scan reports the strongest of them."""

import sys
import types
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from advwrap import Identity, LinfBall
from advwrap.algorithms.ppo import PPO
from advwrap.evaluation import PAAD, SARL, RayExecutor, evaluate, grid, scan_attackers, train_attacker
from advwrap.testing.contracts.rules import assert_untouched, snapshot
from advwrap.victims import Gaussian

EPS = 0.3
WEIGHT = torch.tensor([[1.0, -0.5], [0.25, 1.0]])


class Signed(gym.Env):
    """The reward is s_0 * (u_0 - u_1): what helps the victim in one half of the states hurts in the other.

    Against u = W s the worst perturbation is -eps sign(s_0) sign(w_0 - w_1), which takes eps |s_0| |w_0 - w_1|_1.
    """

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._look(), {}

    def step(self, action):
        self.t += 1
        reward = float(self.seen[0] * (action[0] - action[1]))
        return self._look(), reward, False, self.t >= 8, {}

    def _look(self):
        self.seen = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self.seen.copy()


def linear():
    net = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        net.weight.copy_(WEIGHT)
    return net


LEARNER = PPO(steps=8_192, envs=16, horizon=32, epochs=4, minibatches=4, learning_rate=1e-2, gamma=0.1)
TINY = PPO(steps=64, envs=2, horizon=16, epochs=1, minibatches=2)


def loss_of_return(attack, episodes=40):
    """How much the attack takes per step, and how much the best one would."""
    seen = []

    def task():
        class Recorder(Signed):
            def _look(self):
                observation = super()._look()
                seen.append(abs(float(self.seen[0])))
                return observation

        return Recorder()

    victim = linear()
    natural, attacked = (evaluate(victim, task, a, episodes=episodes) for a in (None, attack))
    taken = (natural.mean_return - attacked.mean_return) / 8
    return taken, EPS * 0.5 * (WEIGHT[0] - WEIGHT[1]).abs().sum().item()


@pytest.mark.parametrize("stochastic", [False, True])
def test_sarl_finds_the_worst_perturbation(stochastic):
    victim = Gaussian(linear(), 0.2)
    attacker = train_attacker(victim, Signed, within=LinfBall(EPS), algorithm=LEARNER, stochastic=stochastic)
    taken, best = loss_of_return(attacker.attack)
    assert 0.9 * best < taken < 1.1 * best
    s = torch.tensor([[0.5, 0.1], [-0.5, 0.1]])
    expected = s - EPS * s[:, :1].sign() * (WEIGHT[0] - WEIGHT[1]).sign()
    torch.testing.assert_close(attacker.attack(s), expected, atol=0.06, rtol=0)


@pytest.mark.parametrize(("steps", "reference_sign", "share"), [(3, False, 0.7), (1, True, 0.4)])
def test_paad_directs_the_action_where_it_hurts(steps, reference_sign, share):
    kind = PAAD(steps=steps, reference_sign=reference_sign)
    attacker = train_attacker(linear(), Signed, within=LinfBall(EPS), kind=kind, algorithm=LEARNER)
    taken, best = loss_of_return(attacker.attack)
    assert taken > share * best
    # The worst direction is -sign(s_0) (1, -1); through the turned generator the director learns the opposite.
    s = torch.tensor([[0.8, 0.0], [-0.8, 0.0]])
    heading = attacker.agent.act(s)
    along = heading @ torch.tensor([1.0, -1.0])
    assert (torch.sign(along) == torch.tensor([-1.0, 1.0]) * (-1 if reference_sign else 1)).all()


def test_the_victim_is_frozen_and_the_seed_decides():
    torch.manual_seed(0)
    victim = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    before = snapshot([victim])
    one, other = (train_attacker(victim, Signed, within=LinfBall(EPS), algorithm=TINY) for _ in range(2))
    assert_untouched([victim], before)
    assert all(p.grad is None for p in victim.parameters())
    s = torch.randn(5, 2)
    assert torch.equal(one.attack(s), other.attack(s))


def test_progress_is_reported():
    units = []
    train_attacker(linear(), Signed, within=LinfBall(EPS), algorithm=TINY, advance=units.append)
    assert units == [32, 32]


def test_an_algorithm_that_asks_for_an_id_and_normalises():
    from dataclasses import dataclass

    from advwrap.training.normaliser import Normaliser

    made = []

    class Agent:
        policy = Gaussian(lambda z: z, 1.0)
        normaliser = Normaliser(np.array([1.0, 2.0]), np.array([2.0, 4.0]))

    @dataclass(frozen=True)
    class Foreign:
        env: str = ""

        def train(self, *, advance):
            env = gym.make(self.env)
            env.reset(seed=0)
            made.append((self.env, env.action_space.shape, env.step(np.zeros(2, np.float32))[1]))
            return Agent()

    attacker = train_attacker(linear(), Signed, within=LinfBall(1.0), algorithm=Foreign(), stochastic=False)
    name, shape, reward = made[0]
    assert shape == (2,)
    assert reward != 0
    assert name not in gym.registry
    torch.testing.assert_close(attacker.attack(torch.tensor([[2.0, 0.0]])), torch.tensor([[2.5, -0.5]]))


@pytest.mark.parametrize("stochastic", [True, False])
def test_the_kind_is_asked_for_the_environment_and_for_the_attack(stochastic):
    asked = []

    class Kind:
        def around(self, env, victim, *, within, stochastic):
            asked.append((within, stochastic))
            return SARL().around(env, victim, within=within, stochastic=stochastic)

        def attack(self, adversary, victim, *, within):
            return Identity()

    ball = LinfBall(EPS)
    attacker = train_attacker(
        linear(), Signed, within=ball, kind=Kind(), algorithm=TINY, stochastic=stochastic, watch_every=10
    )
    assert asked == [(ball, stochastic)]
    assert isinstance(attacker.attack, Identity)


def trainings():
    return grid(TINY, learning_rate=[1e-3, 1e-2], seed=[0, 1])


def scan(executor=None, **options):
    task = {"within": LinfBall(EPS), "algorithms": trainings(), "episodes": 3, "seed": 5, "epsilon": EPS, **options}
    return scan_attackers(linear(), Signed, executor=executor, **task)


def test_a_scan_reports_the_minimum_over_all_kinds_and_configurations():
    found = scan(kinds=[SARL(), PAAD()])
    assert len(found.trials) == 8
    means = [cell.mean_return for cell in found.cells]
    assert found.best.cell.mean_return == min(means) < max(means)
    assert {cell.seeds for cell in found.cells} == {(5, 6, 7)}
    assert {cell.epsilon for cell in found.cells} == {EPS}
    names = [cell.attack for cell in found.cells]
    assert names[:2] == ["SARL, PPO, learning_rate=0.001, seed=0", "SARL, PPO, learning_rate=0.001, seed=1"]
    assert len(set(names)) == 8
    # What was measured can be measured again.
    again = evaluate(linear(), Signed, found.best.attacker.attack, episodes=3, seed=5)
    assert again.returns == found.best.cell.returns


def test_threads_give_the_same_scan():
    with ThreadPoolExecutor(1) as executor:
        assert [c.returns for c in scan(executor).cells] == [c.returns for c in scan().cells]


@pytest.mark.slow
def test_processes_give_the_same_scan():
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        assert [c.returns for c in scan(executor).cells] == [c.returns for c in scan().cells]


def test_what_cannot_be_sent_to_a_process_is_an_error_with_the_fix():
    with ProcessPoolExecutor(1) as executor, pytest.raises(TypeError, match="top of a module"):
        scan_attackers(lambda s: s, Signed, within=LinfBall(EPS), algorithms=[TINY], executor=executor)


def test_nothing_to_train():
    with pytest.raises(ValueError, match="at least one"):
        scan(algorithms=[])


class TestRay:
    def test_without_ray_the_error_says_how_to_get_it(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "ray", None)
        with pytest.raises(ModuleNotFoundError, match=r"advwrap\[ray\]"):
            RayExecutor()

    def test_calls_become_tasks(self, monkeypatch):
        """A stand-in with Ray's interface: what is remote runs at once."""
        ray, calls = types.ModuleType("ray"), []
        started = []

        class Reference:
            def __init__(self, value):
                self.value = value

            def future(self):
                future = Future()
                future.set_result(self.value)
                return future

        def remote(**resources):
            def decorate(function):
                def call(*args, **kwargs):
                    calls.append(resources)
                    return Reference(function(*args, **kwargs))

                return types.SimpleNamespace(remote=call)

            return decorate

        ray.remote = remote
        ray.init = lambda **options: started.append(options)
        ray.is_initialized = lambda: bool(started)
        ray.shutdown = started.clear
        monkeypatch.setitem(sys.modules, "ray", ray)
        with RayExecutor(num_cpus=2) as executor:
            assert started
            assert [c.returns for c in scan(executor).cells] == [c.returns for c in scan().cells]
        assert not started
        assert calls == [{"num_cpus": 2, "num_gpus": 0.0}] * 4

    @pytest.mark.slow
    def test_with_ray(self):
        pytest.importorskip("ray")
        with RayExecutor() as executor:
            assert executor.submit(pow, 2, 5).result() == 32
            assert [c.returns for c in scan(executor).cells] == [c.returns for c in scan().cells]


def test_identity_takes_nothing():
    assert loss_of_return(Identity(), episodes=3)[0] == 0
