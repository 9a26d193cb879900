"""OA-PPO: the advantage under the worst execution in closed form, how it is mixed, and what it changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from tensordict import TensorDict

from advwrap import AdversarialAction, AdversarialObs, Bounds, Corners, Identity, LinfBall, Noise, RandomSearch
from advwrap.algorithms import PPO, RobustAdvantage
from advwrap.algorithms.oa_ppo import RobustAdvantages
from advwrap.algorithms.ppo_training import PPOTraining
from advwrap.attacks import Strategy

SHORT: dict[str, Any] = {"steps": 256, "envs": 2, "horizon": 32, "epochs": 1, "minibatches": 4}


class Cliff(gym.Env[np.ndarray, np.ndarray]):
    """One step: the reward rises with the action up to a cliff at 0.9, behind which it is -5."""

    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Nothing is random."""
        return np.zeros(1, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """The task clips, as they all do."""
        executed = float(np.clip(action[0], -1, 1))
        return np.zeros(1, np.float32), executed if executed <= 0.9 else -5.0, True, False, {}


def linear(*, seed: int = 0, **options: Any) -> tuple[PPOTraining, RobustAdvantages]:
    """U(s, a) = s_0 + 2 a_0 - a_1, for both twins."""
    torch.manual_seed(0)
    plain: dict[str, Any] = {"epsilon": 0.25, "actions": 4000, "ramp": (0.0, 0.0), "adversarial_ratio": 0.0}
    config = RobustAdvantage(**{**plain, **options})
    training = PPOTraining(PPO("HalfCheetah-v5", hidden=(), advantage=config, seed=seed, **SHORT))
    assert training.robust is not None
    for params in (training.robust.loss.qvalue_network_params, training.robust.loss.target_qvalue_network_params):
        weight = params.data["module", "0", "weight"]
        weight.zero_()
        weight[..., 0], weight[..., 17], weight[..., 18] = 1.0, 2.0, -1.0
        params.data["module", "0", "bias"].zero_()
    return training, training.robust


def steps(state: torch.Tensor, action: torch.Tensor, following: torch.Tensor, shift: float = 0.0) -> TensorDict:
    """Reward 0.5 at each; the last one ends its episode, and time ends that of the first. The agent sees more."""
    now, after = ({"observation": x + shift, "clean_observation": x} for x in (state, following))
    n = len(state)
    first, last = ((torch.arange(n) == i)[:, None] for i in (0, n - 1))
    after = TensorDict({**after, "reward": torch.full((n, 1), 0.5), "terminated": last, "done": first | last}, [n])
    return TensorDict({**now, "action": action, "executed_action": action, "next": after}, [n])


@pytest.mark.parametrize(("at_worst", "strategy"), [(True, None), (True, Corners()), (False, None)])
def test_the_advantage_in_closed_form(at_worst: bool, strategy: Strategy | None) -> None:
    """The worst execution is (a_0 - eps, a_1 + eps), within the box: it takes 3 eps where there is room.

    What is valued is the truth; the policy acts on what it sees, which is something else here.
    """
    training, robust = linear(at_worst=at_worst, strategy=strategy, **({"actions": 500} if strategy else {}))
    training.scale.state_independent_scale.data.fill_(-2.0)  # a narrow policy, around 0
    training.policy[0].weight.data.mul_(5.0)
    state, following = torch.randn(2, 3, 17)
    action = torch.zeros(3, 6)
    action[:, 0] = torch.tensor([0.1, -0.5, -0.9])
    found = robust.advantages(steps(state, action, following, shift=0.8))

    def obeyed(truth: torch.Tensor) -> torch.Tensor:
        mean = training.actor.get_dist(TensorDict({"observation": truth + 0.8}, [3])).mean.detach()
        assert float(mean.abs().max()) < 0.3
        return truth[:, 0] + 2 * mean[:, 0] - mean[:, 1]

    expected = 0.5 + 0.99 * torch.tensor([1.0, 1.0, 0.0]) * (obeyed(following) - 3 * 0.25)
    if at_worst:  # of the last, -0.9 - 0.25 is behind the limit -1
        taken = torch.tensor([3 * 0.25, 3 * 0.25, 2 * 0.1 + 0.25])
        expected += -taken - (obeyed(state) - 3 * 0.25)
    else:
        expected -= obeyed(state)
    torch.testing.assert_close(found, expected, atol=0.03, rtol=0)


def test_what_is_seen_says_only_what_the_policy_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """A blind policy has the same advantage whatever is shown, also where the adversary takes more in some states."""
    training, robust = linear()
    training.policy[0].weight.data.zero_()
    monkeypatch.setattr(robust, "_worst", lambda state, action: robust._obeyed(state, action) - state[:, 0].square())
    (state, following), action, found = torch.randn(2, 3, 17), torch.zeros(3, 6), []
    for shift in (0.0, 0.8):
        torch.manual_seed(0)
        found.append(robust.advantages(steps(state, action, following, shift)))
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("at_worst", [True, False])
def test_what_the_adversary_took_is_not_taken_twice(at_worst: bool) -> None:
    """Executed at its worst, a step shows what the worst execution is worth; half of the way, half is missing.

    Of what the agent did the plain reading does not blame it for any of that.
    """
    _, robust = linear(at_worst=at_worst)
    state, action, worst = torch.randn(3, 17), torch.zeros(3, 6), torch.zeros(3, 6)
    worst[:, 0], worst[:, 1] = -0.25, 0.25
    batch = steps(state, action, state)
    found = []
    for share in (0.0, 0.5, 1.0):
        batch["executed_action"] = share * worst
        torch.manual_seed(0)
        found.append(robust.advantages(batch))
    torch.testing.assert_close(found[1] - found[0], torch.full((3,), 0.5 * 3 * 0.25))
    torch.testing.assert_close(found[2] - found[0], torch.full((3,), 3 * 0.25))


def test_the_adversary_acts_in_some_copies() -> None:
    """In the first of two, on what is executed of the policy's action; the critics learn from that."""
    training, robust = linear(adversarial_ratio=0.5, updates=1, actions=2)
    training.scale.state_independent_scale.data.fill_(1.0)  # many actions beyond the limits
    batch = next(iter(training.trainer.collector))
    intended, executed = batch["action"].clamp(-1.0, 1.0), batch["executed_action"]
    assert torch.equal(executed[1], batch["action"][1])
    expected = intended[0].clone()
    expected[:, 0], expected[:, 1] = (expected[:, 0] - 0.25).clamp(min=-1), (expected[:, 1] + 0.25).clamp(max=1)
    torch.testing.assert_close(executed[0].clamp(-1.0, 1.0), expected)
    with torch.no_grad():
        training.gae(batch)
    robust(batch)
    torch.testing.assert_close(robust.buffer[:]["action"], executed.reshape(-1, 6).clamp(-1.0, 1.0))


def test_the_radius_grows() -> None:
    training, robust = linear(ramp=(0.25, 0.75), updates=1, actions=2)
    batch = next(iter(training.trainer.collector))
    with torch.no_grad():
        training.gae(batch)
    radii = []
    for _ in range(4):
        robust(batch)
        radii.append(float(robust.radius()))
    assert radii == [0.0, 0.125, 0.25, 0.25]


def test_the_radius_is_in_units_of_half_the_range() -> None:
    """Of each action, also where it is not around 0: an untrained U without hidden layers falls to one side in both."""
    training, _ = linear()
    low, high = torch.tensor([-1.0, 0.0]), torch.tensor([3.0, 1.0])
    config = RobustAdvantage(0.25, ramp=(0.0, 0.0))
    robust = config.estimator(
        training.actor, box=Bounds(low, high), sizes=(3, 2), gamma=0.99, steps=64, compile=False, seed=0
    )
    state, middle = torch.zeros(5, 3), ((low + high) / 2).expand(5, 2)
    executed = robust.search(middle, context={"observation": state}, bounds=robust.box)
    torch.testing.assert_close((executed - middle).abs(), torch.tensor([0.5, 0.125]).expand(5, 2))


def test_the_worst_execution_is_that_of_the_least_critic() -> None:
    """The first of the twins falls to the one side, by little, the second to the other, by much."""
    _, robust = linear(at_worst=True)
    weight = robust.loss.qvalue_network_params.data["module", "0", "weight"]
    weight.zero_()
    weight[0, ..., 17], weight[1, ..., 17] = 0.1, -2.0
    state, action = torch.randn(5, 17), torch.zeros(5, 6)
    found = robust._worst(state, action)
    torch.testing.assert_close(found, torch.full((5,), -2.0 * 0.25))
    assert (found <= robust.loss.robust(state, action).amin(0)).all()


def test_searches_are_random_by_the_seed_and_go_on_from_a_checkpoint() -> None:
    """With a search that draws: one seed finds one action, another one another, a restored training the next."""
    state, action = torch.zeros(5, 17), torch.zeros(5, 6)

    def search(robust: RobustAdvantages) -> list[float]:
        return [float(robust._worst(state, action).sum()) for _ in range(2)]

    draws: dict[str, Any] = {"strategy": RandomSearch(tries=4)}
    robust = linear(**draws)[1]
    first, found = search(robust), robust.state_dict()
    later = search(robust)
    again = linear(**draws)[1]
    assert search(again) == first
    assert len({*first, *later}) == 4
    again = linear(**draws)[1]
    again.load_state_dict(found)
    assert search(again) == later
    assert search(linear(seed=1, **draws)[1]) != first


def test_episodes_begin_by_the_seed() -> None:
    """Beside the weights, whose generator is another one."""

    def first(seed: int) -> torch.Tensor:
        training = PPOTraining(PPO("Pendulum-v1", seed=seed, **SHORT))
        return next(iter(training.trainer.collector))["observation"][:, 0].clone()

    assert torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1))


@pytest.mark.parametrize("omega", [1.0, 0.3, 0.0])
def test_both_are_mixed_in_their_own_units(omega: float, monkeypatch: pytest.MonkeyPatch) -> None:
    training, robust = linear(omega=omega, updates=1, actions=8)
    robust.update.optimizer.param_groups[0]["lr"] = 0.0
    batch = next(iter(training.trainer.collector))
    with torch.no_grad():
        training.gae(batch)
    nominal, again = batch["advantage"].clone(), batch.clone()
    robust.streams.seed(5), torch.manual_seed(1)
    own = robust.advantages(again).reshape(nominal.shape)
    monkeypatch.setattr(robust, "advantages", lambda *_: own)
    robust(batch)
    expected = omega * nominal + (1 - omega) * own
    torch.testing.assert_close(batch["advantage"], expected)
    assert own.std() > 0.01


def test_the_targets_follow_the_critics() -> None:
    """By the share tau after each of three updates, here of critics that stay where they are."""
    training, robust = linear(updates=3, actions=2, tau=0.25)
    robust.update.optimizer.param_groups[0]["lr"] = 0.0
    batch = next(iter(training.trainer.collector))
    with torch.no_grad():
        training.gae(batch)
    critics, targets = robust.loss.qvalue_network_params.data, robust.loss.target_qvalue_network_params.data
    expected = critics + 0.75**3
    targets.apply_(lambda weight: weight + 1.0)
    robust(batch)
    torch.testing.assert_close(dict(targets.flatten_keys()), dict(expected.flatten_keys()))


@pytest.mark.parametrize("unit", [1.0, 4.0])
def test_replayed_rewards_are_in_the_present_unit(unit: float) -> None:
    """PPO divides its rewards by a deviation that moves; the buffer keeps what the task gave."""
    training, robust = linear(updates=1, actions=2)
    batch = next(iter(training.trainer.collector))
    with torch.no_grad():
        training.gae(batch)
    seen: list[torch.Tensor] = []
    robust.update.prepare = [lambda sample: (seen.append(sample["next", "reward"]), sample)[1]]
    robust(batch, unit)
    kept = robust.buffer[:]["next", "reward"]
    torch.testing.assert_close(kept, unit * batch["next", "reward"].reshape(-1, 1))
    assert set((seen[0] * unit).flatten().tolist()) <= set(kept.flatten().tolist())


def test_ppo_says_what_the_present_unit_is() -> None:
    """Of every round another one: what is kept are the rewards of the task all the same."""
    training, robust = linear(updates=1, actions=2)
    batches = iter(training.trainer.collector)
    given, units = [], []
    for _ in range(2):
        batch = next(batches)
        given.append(batch["next", "reward"].reshape(-1, 1).clone())
        training._prepare(batch)
        units.append(training.rewards.std)
    assert len({1.0, *units}) == 3
    torch.testing.assert_close(robust.buffer[:]["next", "reward"], torch.cat(given))


def test_what_is_replayed_is_what_was_executed() -> None:
    """The policy's normal variable leaves the box, the task clips it."""
    training, robust = linear(updates=1, actions=2)
    batch = next(iter(training.trainer.collector))
    with torch.no_grad():
        training.gae(batch)
    intended = batch["action"].reshape(-1, 6)
    robust(batch)
    torch.testing.assert_close(robust.buffer[:]["action"], intended.clamp(-1.0, 1.0))
    assert float(intended.abs().max()) > 1.1


def test_the_target_bootstraps_at_sampled_actions() -> None:
    """As the policy plays them, and as the task executes them."""
    training, robust = linear()
    following = TensorDict({"observation": torch.zeros(4000, 17)}, [4000])
    for scale in (0.1, 2.0):
        training.scale.state_independent_scale.data.fill_(np.log(scale))
        torch.manual_seed(0)
        expected = training.actor.get_dist(following).sample().clamp(-1.0, 1.0)
        torch.manual_seed(1)  # other samples of the same law
        found = robust.loss.next_action(following)
        torch.testing.assert_close(found.mean(0), expected.mean(0), atol=0.1 * scale, rtol=0)
        torch.testing.assert_close(found.std(0), expected.std(0), atol=0, rtol=0.1)
        assert float(found.abs().max()) <= 1.0


def test_the_robust_critics_discount_as_ppo_does() -> None:
    """Reward 1, nothing now and 10 later whatever is executed: an error of 1 + 10 gamma, or 1 at the end."""
    training = PPOTraining(PPO("Pendulum-v1", gamma=0.5, hidden=(), advantage=RobustAdvantage(0.2), **SHORT))
    assert training.robust is not None
    loss, state = training.robust.loss, torch.randn(32, 3)
    for params, level in ((loss.qvalue_network_params, 0.0), (loss.target_qvalue_network_params, 10.0)):
        params.data.apply_(torch.zeros_like)
        params.data["module", "0", "bias"].fill_(level)
    seen = {"observation": state, "clean_observation": state}
    ended = torch.arange(32)[:, None] % 4 == 0
    after = TensorDict({**seen, "reward": torch.ones(32, 1), "terminated": ended, "done": ended}, [32])
    error = loss(TensorDict({**seen, "action": torch.zeros(32, 1), "next": after}, [32]))["loss_robust_qvalue"].detach()
    torch.testing.assert_close(error, torch.tensor(2 * (0.75 * 6.0**2 + 0.25 * 1.0**2)))  # of two critics


@pytest.mark.slow
def test_it_stays_away_from_the_cliff() -> None:
    """Executed up to 0.4 further on than PPO plays is beyond the edge at 0.9, that is -5. OA-PPO keeps the distance.

    A network has no edge where the cliff has one: seeds 0 to 2 play 0.51, 0.49 and 0.53, where 0.5 is safe.
    """
    options: dict[str, Any] = {
        "steps": 12_000, "envs": 8, "horizon": 64, "epochs": 6, "minibatches": 8, "learning_rate": 3e-3,
        "initial_std": 0.5, "scale_rewards": False,
    }  # fmt: skip
    plain = PPO(Cliff, **options).train()
    robust = PPO(Cliff, advantage=RobustAdvantage(0.4, omega=0.0, updates=64), **options).train()
    played = [float(agent.act(torch.zeros(1, 1))) for agent in (plain, robust)]
    assert 0.6 < played[0] < 0.9
    assert 0.4 < played[1] < 0.55


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epsilon": 0.0}, "`epsilon` must be > 0"),
        ({"epsilon": 0.1, "omega": 2.0}, "`omega` must be in"),
        ({"epsilon": 0.1, "adversarial_ratio": 2.0}, "`adversarial_ratio` must be in"),
        ({"epsilon": 0.1, "ramp": (0.5, 0.2)}, "`ramp` must rise"),
        ({"epsilon": 0.1, "tau": 0.0}, "`tau` must be in"),
        ({"epsilon": 0.1, "updates": 0}, "`updates` must be an integer >= 1"),
        ({"epsilon": 0.1, "learning_rate": 0.0}, "`learning_rate` must be > 0"),
        ({"epsilon": 0.1, "restarts": 0}, "`restarts` must be an integer >= 1"),
        ({"epsilon": 0.1, "restarts": 4, "strategy": Corners()}, "`restarts` must be left out beside a `strategy`"),
    ],
)
def test_arguments_are_checked(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RobustAdvantage(**options)


def test_what_ppo_does_must_be_what_is_executed() -> None:
    """Also below another wrapper; attacked observations are welcome."""

    def attacked(envs: Any) -> Any:
        return AdversarialObs(AdversarialAction(envs, attack=Noise(LinfBall(0.1))), attack=Identity())

    config = PPO("Pendulum-v1", advantage=RobustAdvantage(0.2), wrap=attacked, **SHORT)
    with pytest.raises(ValueError, match="`wrap` must leave the actions alone beside an `advantage`"):
        PPOTraining(config)
    PPOTraining(replace(config, wrap=lambda envs: AdversarialObs(envs, attack=Identity()))).close()
    PPOTraining(replace(config, advantage=None)).close()


def test_an_agents_file_says_how_it_was_trained() -> None:
    agent = PPO("Pendulum-v1", advantage=RobustAdvantage(0.2, updates=1), **SHORT).train()
    assert agent.card["config"]["advantage"]["epsilon"] == 0.2


def test_the_agent_keeps_its_robust_critics() -> None:
    """Which value actions, where its own critic values observations."""
    training, _ = linear(updates=1, actions=2)
    agent, state, action = training.agent(), torch.randn(5, 17), torch.rand(5, 6) * 2 - 1
    expected = state[:, 0] + 2 * action[:, 0] - action[:, 1]
    torch.testing.assert_close(agent.robust_critic(state, action), expected.expand(2, 5))
    assert not PPOTraining(PPO("Pendulum-v1", **SHORT)).agent().robust_critics
