"""OA-PI: what its critics learn, where its actor is improved, and what its adversary executes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from gymnasium import spaces
from tensordict import TensorDict
from torch import nn
from torchjd.aggregation import Sum, UPGrad

from advwrap import CrossEntropyMethod, Search
from advwrap.algorithms import (
    OAPI,
    SAC,
    TD3,
    DiscreteSAC,
    Undefended,
)
from advwrap.algorithms.description import described
from advwrap.algorithms.off_policy import OffPolicy
from advwrap.algorithms.off_policy_training import OffPolicyTraining, kept
from advwrap.training import TrainedAgent
from advwrap.training.surgery import pcgrad, protect_first
from advwrap.victims.tensordict_critic import LossCritic

TASK = "InvertedDoublePendulum-v5"
TINY: dict[str, Any] = {"steps": 120, "random_steps": 20, "hidden": (8, 8), "batch_size": 8}
EPSILON = 0.3
oapi = partial(OAPI, ramp=(0.0, 0.0))
"""The whole radius from the first step on."""


def replayed(features: int, action: torch.Tensor) -> TensorDict:
    """Replayed transitions, a quarter of which end their episode."""
    rows, generator = len(action), torch.Generator().manual_seed(0)
    state, following = (torch.randn(rows, features, generator=generator) for _ in "12")
    ended = torch.arange(rows)[:, None] % 4 == 0
    reward = torch.randn(rows, 1, generator=generator)
    after = {"raw_observation": following, "reward": reward, "terminated": ended, "done": ended}
    return TensorDict({"raw_observation": state, "action": action, "next": TensorDict(after, [rows])}, [rows])


def test_the_robust_target_is_around_the_smoothed_target_action() -> None:
    """TD3: the robust critics bootstrap the *target* actor's noisy action."""
    training = OffPolicyTraining(TD3(TASK, oapi(EPSILON), **TINY))
    (robust,) = training.hardening.losses
    training.learner.loss.target_actor_network_params.data.apply_(torch.zeros_like)  # its action is 0 everywhere
    following = TensorDict({"observation": torch.randn(2000, 9), "clean_observation": torch.randn(2000, 9)}, [2000])
    noise = robust.next_action(following)
    assert float(noise.std()) == pytest.approx(0.2, rel=0.1)
    assert float(noise.abs().max()) <= 0.5
    plain = OffPolicyTraining(TD3(TASK, oapi(EPSILON, smoothed=False), **TINY))
    assert plain.hardening.losses[0].next_action is None  # the actor's own


def test_what_the_search_misses_is_logged_now_and_then(tmp_path: Path) -> None:
    training = OffPolicyTraining(TD3(TASK, oapi(EPSILON), **TINY), out=tmp_path)
    gap: Any = training.hardening.after
    gap.every = 50
    training.run()
    lines = (tmp_path / "log" / "scalars" / "search_gap_p95.csv").read_text().splitlines()
    assert [int(line.split(",")[0]) for line in lines] == [80, 120]  # rounds end at 40, 80, 120
    assert all(0 <= float(line.split(",")[1]) <= 1 for line in lines)
    assert (tmp_path / "log" / "scalars" / "search_gap_mean.csv").exists()
    assert (tmp_path / "log" / "scalars" / "action_damage.csv").exists()


@pytest.mark.parametrize(("ramp", "radii"), [((0.5, 1.0), [0.0, 0.0, 0.25, 0.5]), ((0.0, 0.0), [0.5, 0.5, 0.5, 0.5])])
def test_the_radius_of_oa_pi_grows(ramp: tuple[float, float], radii: list[float]) -> None:
    """In the units of the action, whose range is [-2, 2]."""
    training = OffPolicyTraining(TD3("Pendulum-v1", oapi(0.25, ramp=ramp), **TINY))
    (radius,), (robust,) = training.hardening.schedules, training.hardening.losses
    found = []
    for fraction in (0.0, 0.5, 0.75, 1.0):
        radius.t = int(fraction * training.config.steps)
        found.append(float(robust.within.radius))
    assert found == radii


def test_the_share_of_replaced_actions_grows() -> None:
    training = OffPolicyTraining(DiscreteSAC("CartPole-v1", oapi(0.25, ramp=(0.5, 1.0)), **TINY))
    (share,), (robust,) = training.hardening.schedules, training.hardening.losses
    share.t = int(0.75 * training.config.steps)
    assert robust.probability() == 0.125


def test_what_is_executed_in_the_collection_is_what_the_learner_is_told() -> None:
    """In 0.3 of four environments, two, to the worst of the ball, and the replay buffer has what was executed."""
    config = TD3("Pendulum-v1", oapi(0.25, adversarial_ratio=0.3), **{**TINY, "random_steps": 0})
    training = OffPolicyTraining(config)
    batch = next(iter(training.trainer.collector))
    executed, intended = batch["executed_action"], batch["action"]
    moved = (executed - intended).abs()
    assert len(moved) == 4
    assert (moved[:2] > 0).all()
    assert not moved[2:].any()
    assert moved.max() <= 0.5  # of a torque in [-2, 2]
    torch.testing.assert_close(kept(batch)["action"], executed)
    (robust,) = training.hardening.losses
    rows = {name: batch[name].reshape(-1, batch[name].shape[-1]) for name in ("clean_observation", "action")}
    value = robust.robust(rows["clean_observation"], rows["action"]).amin(0)
    found = robust.robust(rows["clean_observation"], executed.reshape(-1, 1)).amin(0)
    assert (found <= value).all()
    assert (found < value)[moved.flatten() > 0].all()


@pytest.mark.parametrize("lower", [0, 1])
def test_what_is_executed_in_the_collection_is_worst_by_both_robust_critics(lower: int) -> None:
    """The lower of the live twins falls to the right, the other one to the left; their targets the other way."""
    config = TD3("Pendulum-v1", oapi(0.25, adversarial_ratio=1.0), **{**TINY, "random_steps": 0, "hidden": ()})
    training = OffPolicyTraining(config)
    (robust,) = training.hardening.losses
    for params, sign in ((robust.qvalue_network_params, 1.0), (robust.target_qvalue_network_params, -1.0)):
        params.data.apply_(torch.zeros_like)
        weight, bias = (params.data["module", "0", name] for name in ("weight", "bias"))
        weight[:, 0, -1], weight[lower, 0, -1], bias[lower] = sign, -sign, -10.0
    batch = next(iter(training.trainer.collector))
    torch.testing.assert_close(batch["executed_action"], (batch["action"] + 0.5).clamp(max=2.0))


RULES = {"pcgrad": pcgrad, "nominal": protect_first, "none": torch.add}


@pytest.mark.parametrize("at_worst", [True, False])
@pytest.mark.parametrize("surgery", RULES)
def test_the_gradient_of_oa_pis_actor(surgery: str, at_worst: bool) -> None:
    """rule(omega grad of -Q_1(s, mu), (1 - omega) grad of -U_1(s, mu + d)), of two objectives that disagree."""
    omega = 0.3
    config = TD3(TASK, oapi(EPSILON, omega=omega, surgery=surgery, at_worst=at_worst), **TINY)
    training = OffPolicyTraining(config)
    (robust,) = training.hardening.losses
    weights = robust.qvalue_network_params.data
    weights.apply_(lambda weight: weight + 0.1 * torch.randn_like(weight))
    weights["module", "4"].apply_(torch.neg)  # about -Q
    batch = replayed(9, torch.rand(32, 1))
    found, _ = training.update.gradients(batch)
    every = {id(p): g for p, g in zip(training.update.params, found, strict=True)}
    actor = list(training.learner.actor.parameters())
    for stage in training.update.prepare:
        batch = stage(batch)
    state, intended = batch["clean_observation"], training.learner.actor(batch.copy())["action"]
    executed = intended
    if at_worst:
        worst = robust.attack(intended.detach(), context={"observation": state}, bounds=robust.bounds)
        executed = torch.where(worst.abs() < 1, intended + (worst - intended).detach(), worst)
        assert not torch.allclose(executed, intended)
    nominal = -LossCritic(training.learner.loss, member=0)(state, intended).mean()
    opposed = -LossCritic(robust, member=0)(state, executed).mean()
    g, h = (
        torch.cat([part.flatten() for part in torch.autograd.grad(term, actor, retain_graph=True)])
        for term in (omega * nominal, (1 - omega) * opposed)
    )
    assert -0.999 < float(torch.cosine_similarity(g, h, dim=0)) < -0.1
    torch.testing.assert_close(torch.cat([every[id(p)].flatten() for p in actor]), RULES[surgery](g, h))


@pytest.mark.parametrize("learner", [SAC, TD3, DiscreteSAC])
def test_the_robust_critics_discount_as_the_learner_does(learner: type[OffPolicy]) -> None:
    """Reward 1, nothing now and 10 later whatever is executed: an error of 1 + 10 gamma, or 1 at the end."""
    discrete = learner is DiscreteSAC
    training = OffPolicyTraining(learner("CartPole-v1" if discrete else TASK, oapi(EPSILON), gamma=0.5, **TINY))
    (robust,) = training.hardening.losses
    for params, level in ((robust.qvalue_network_params, 0.0), (robust.target_qvalue_network_params, 10.0)):
        params.data.apply_(torch.zeros_like)
        params.data["module", "4", "bias"].fill_(level)
    batch = replayed(4, torch.eye(2).repeat(16, 1)) if discrete else replayed(9, torch.rand(32, 1))
    batch["next", "reward"].fill_(1.0)
    for stage in training.update.prepare:
        batch = stage(batch)
    error = robust(batch)["loss_robust_qvalue"].detach()
    torch.testing.assert_close(error, torch.tensor(2 * (0.75 * 6.0**2 + 0.25 * 1.0**2)))  # of two critics


def test_any_rule_for_the_gradients() -> None:
    config = TD3(TASK, oapi(EPSILON, surgery=torch.add), **TINY)
    assert OffPolicyTraining(config).update.surgery.combine is torch.add
    assert described(config)["defence"]["surgery"] == {"function": "add"}


@pytest.mark.parametrize(
    ("rule", "ours", "atol"),
    [
        pytest.param(Sum(), torch.add, 1e-6, id="sum"),
        # UPGrad is half of PCGrad, which Adam hardly sees: the same training but for rounding, of steps of 0.001.
        pytest.param(UPGrad(), "pcgrad", 1e-3, id="upgrad"),
    ],
)
def test_the_rule_may_be_an_aggregator_of_torchjd(rule: nn.Module, ours: Any, atol: float) -> None:
    asked: list[int] = []
    rule.register_forward_hook(lambda *_: asked.append(1))
    agents = [TD3(TASK, oapi(EPSILON, surgery=by), **{**TINY, "steps": 40}).train() for by in (ours, rule)]
    expected, found = (nn.utils.parameters_to_vector(agent.actor.parameters()) for agent in agents)
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)
    assert len(asked) == 20  # the actor learns in every second update


@pytest.mark.parametrize("learner", [SAC, TD3, DiscreteSAC])
def test_the_robust_critics_begin_as_the_nominal_ones(learner: type[OffPolicy]) -> None:
    """Of an agent that goes on as well: their term has half of the weight at once."""
    config = learner("CartPole-v1" if learner is DiscreteSAC else TASK, oapi(EPSILON), **TINY)
    for start in (None, replace(config, defence=Undefended()).train()):
        training = OffPolicyTraining(config, start=start)
        pair = training.learner.loss, training.hardening.losses[0]
        nominal, robust = (part.qvalue_network_params.data.flatten_keys() for part in pair)
        assert all(torch.equal(nominal[key], robust[key]) for key in nominal.keys())  # noqa: SIM118 - a TensorDict


@pytest.mark.parametrize("learner", [TD3, SAC, DiscreteSAC], ids=lambda kind: kind.__name__)
def test_the_agent_keeps_its_robust_critics(learner: type[OffPolicy]) -> None:
    """Those that were trained, beside the nominal ones."""
    training = OffPolicyTraining(learner("CartPole-v1" if learner is DiscreteSAC else TASK, OAPI(0.2), **TINY))
    agent = training.run()
    robust = training.hardening.losses[0]
    features = training.learner.features
    state = torch.randn(5, features)
    action = agent.act(state)
    torch.testing.assert_close(agent.robust_critic(state, action), LossCritic(robust)(state, action))
    assert not torch.allclose(agent.robust_critic(state, action), agent.critic(state, action))
    assert not any(p.requires_grad for network in agent.robust_critics for p in network.parameters())
    assert not OffPolicyTraining(replace(training.config, defence=Undefended())).run().robust_critics


def test_the_best_weights_come_with_the_robust_critics_of_their_time() -> None:
    """Of three measurements the first one is the best."""
    seen: list[TrainedAgent] = []

    def score(agent: TrainedAgent) -> float:
        seen.append(agent)
        return -float(len(seen))

    config = TD3(TASK, OAPI(0.2), evaluate_every=40, **TINY)
    agent = config.train(score=score)
    assert len(seen) == 3
    assert agent.digest() == seen[0].digest() != seen[-1].digest()
    assert torch.equal(agent.robust_critics[0][0].weight, seen[0].robust_critics[0][0].weight)
    assert not torch.equal(agent.robust_critics[0][0].weight, seen[-1].robust_critics[0][0].weight)


def test_sac_bootstraps_its_robust_value_at_sampled_actions() -> None:
    training = OffPolicyTraining(SAC(TASK, oapi(EPSILON), **TINY))
    following = TensorDict({"observation": torch.zeros(400, 9)}, [400])
    sampled = training.hardening.losses[0].next_action(following)
    law = training.learner.actor.get_dist(following)
    assert float(sampled.std()) == pytest.approx(float(law.sample().std()), rel=0.2)
    assert len(sampled.unique()) == 400


def test_the_radius_is_in_units_of_half_the_range() -> None:
    """Of each action, also where it is not around 0: untrained critics without hidden layers fall to one side."""
    low, high = torch.tensor([-1.0, 0.0]), torch.tensor([3.0, 1.0])
    config = TD3(TASK, oapi(0.25), **{**TINY, "hidden": ()})
    learner = config.learner(spaces.Box(-1.0, 1.0, (3,)), spaces.Box(low.numpy(), high.numpy()))
    (robust,) = config.defence.harden(learner, steps=config.steps, seed=0).losses
    state, middle = torch.zeros(5, 3), ((low + high) / 2).expand(5, 2)
    executed = robust.attack(middle, context={"observation": state}, bounds=robust.bounds)
    torch.testing.assert_close((executed - middle).abs(), torch.tensor([0.5, 0.125]).expand(5, 2))


def test_oa_pi_searches_by_its_strategy() -> None:
    """In the target, where the actor is improved, and in the collection; not by a gradient."""
    strategy = CrossEntropyMethod(rounds=2, samples=4, elite=2)
    defence = oapi(0.25, strategy=strategy, adversarial_ratio=0.5)
    training = OffPolicyTraining(TD3(TASK, defence, **{**TINY, "steps": 40}))
    (loss,) = training.hardening.losses
    for attack in (loss.target_attack, loss.attack, training.hardening.execution.attack):
        assert isinstance(attack, Search)
        assert attack.strategy == strategy
    assert training.run().card["kept"] == 40
