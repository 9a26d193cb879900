"""SAC: what its parts are, that the attack reaches the actor alone, and that it learns (slow)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from advwrap.algorithms import SAC, TD3, TrainingAttack
from advwrap.algorithms.off_policy_training import OffPolicyTraining
from advwrap.cli.demo import EPSILONS, PLAIN, UNDER_ATTACK
from advwrap.cli.train import scoring
from advwrap.evaluation import GradientSuite
from advwrap.evaluation.selection import mean_return

TASK = "InvertedDoublePendulum-v5"
TINY = {"steps": 120, "random_steps": 40, "hidden": (8, 8), "batch_size": 16}


def test_neighbouring_seeds_share_no_episode() -> None:
    """A vector of environments counts the seeds of its rows up: those of seeds 0 and 1 must lie apart."""
    first = [OffPolicyTraining(SAC(TASK, seed=seed, **TINY)).environment().reset() for seed in (0, 1)]
    rows = torch.cat([reset["raw_observation"] for reset in first])
    assert len(rows.unique(dim=0)) == len(rows)


@pytest.mark.parametrize(("given", "expected"), [(0.2, 0.2), (None, -6.0)])
def test_the_entropy_that_the_temperature_aims_at(given: float | None, expected: float) -> None:
    """Minus the number of actions by default, of which HalfCheetah has six."""
    training = OffPolicyTraining(SAC("HalfCheetah-v5", target_entropy=given, **TINY))
    assert float(training.learner.loss.target_entropy) == pytest.approx(expected)


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second = (SAC(TASK, TrainingAttack(0.1), seed=3, **TINY).train() for _ in range(2))
    for name, weight in first.actor.state_dict().items():
        assert torch.equal(weight, second.actor.state_dict()[name]), name


def test_another_seed_gives_others() -> None:
    first, second = (SAC(TASK, seed=seed, **TINY).train() for seed in (0, 1))
    assert any(
        not torch.equal(weight, second.actor.state_dict()[name]) for name, weight in first.actor.state_dict().items()
    )


def test_the_environment_shows_the_attack_to_the_actor_and_the_truth_beside_it() -> None:
    parts = OffPolicyTraining(SAC(TASK, TrainingAttack(0.1, ramp=(0.0, 1e-9 + 1 / 120)), **TINY))
    parts.hardening.schedules[0].t = 120
    steps = parts.environment().rollout(10, break_when_any_done=False)
    delta = steps["observation"] - steps["clean_observation"]
    assert delta.abs().max() <= 0.1 + 1e-6
    assert delta.abs().amax(-1).min() > 0


def test_the_agent_has_the_critics_that_the_loss_trains() -> None:
    parts = OffPolicyTraining(SAC(TASK, **TINY))
    parts.run()
    agent = parts.agent()
    z, action = torch.randn(5, 9), torch.rand(5, 1)
    with torch.no_grad():
        ours = torch.stack([critic(torch.cat([z, action], 1)).squeeze(1) for critic in agent.critics])
    from advwrap.victims import as_critic

    torch.testing.assert_close(ours, as_critic(parts.learner.loss)(z, action))
    template = parts.learner.loss.qvalue_network(z, action).squeeze(1)
    assert not torch.allclose(ours[0], template)


def test_a_task_without_box_actions() -> None:
    with pytest.raises(TypeError, match="must have box actions"):
        SAC("CartPole-v1", **TINY).train()


@pytest.mark.parametrize(
    ("options", "said"),
    [({"steps": 0}, "`steps`"), ({"gamma": 1.0}, "`gamma`"), ({"frames_per_batch": 7}, "`frames_per_batch`")],
)
def test_bad_numbers(options: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SAC(TASK, **options)


@pytest.mark.parametrize("options", [{"epsilon": 0.0}, {"epsilon": 0.1, "kappa": 2.0}])
def test_bad_attacks(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        TrainingAttack(**options)


@pytest.mark.slow
def test_it_learns_and_training_under_attack_protects() -> None:
    returns, agent = [], None
    for config in (PLAIN, UNDER_ATTACK):
        agent = config.train(agent, score=scoring(config))
        attacks = GradientSuite().attacks(agent).values()
        worst = min(mean_return(agent, attack(agent, EPSILONS[-1]), episodes=20) for attack in attacks)
        returns.append((mean_return(agent, episodes=20), worst))
    (natural, fallen), (_, kept) = returns
    assert natural > 9000
    assert fallen < natural / 2
    assert kept > 2 * fallen


def test_going_on_from_an_agent_begins_with_its_networks() -> None:
    first = SAC(TASK, **TINY).train()
    parts = OffPolicyTraining(SAC(TASK, TrainingAttack(0.1), seed=1, **TINY), first)
    second = parts.agent()
    for ours, theirs in zip((second.actor, *second.critics), (first.actor, *first.critics), strict=True):
        for name, weight in ours.state_dict().items():
            assert torch.equal(weight, theirs.state_dict()[name]), name
    assert parts.learner.loss.log_alpha.exp().item() == pytest.approx(first.card["temperature"])
    targets, live = parts.learner.loss.target_qvalue_network_params, parts.learner.loss.qvalue_network_params
    assert bool((targets.data == live.data).all())


def test_going_on_from_an_agent_of_other_sizes() -> None:
    first = SAC(TASK, **TINY).train()
    with pytest.raises(ValueError, match="`start` must have hidden layers"):
        SAC(TASK, steps=120, random_steps=20).train(first)


def test_going_on_from_an_agent_of_another_kind() -> None:
    first = TD3(TASK, **TINY).train()
    with pytest.raises(ValueError, match="`start` must have a gaussian policy, got a deterministic one"):
        SAC(TASK, **TINY).train(first)


def test_going_on_from_an_agent_that_reads_what_the_task_shows() -> None:
    first = replace(SAC(TASK, **TINY).train(), normaliser=None)
    with pytest.raises(ValueError, match="`start` must read normalised observations"):
        SAC(TASK, **TINY).train(first)


@pytest.mark.parametrize("prioritised", [False, True])
def test_batches_are_drawn_after_what_was_collected(prioritised: bool) -> None:
    """As many as there are updates, from all that is known; one by one where every update moves the priorities."""
    training = OffPolicyTraining(SAC(TASK, prioritised=prioritised, **TINY))
    drawn: list[tuple[int, int]] = []
    sample = training.buffer.sample

    def listen(rows: int) -> object:
        drawn.append((rows, len(training.buffer)))
        return sample(rows)

    training.buffer.sample = listen  # type: ignore[method-assign, assignment]
    training.run()
    together = 1 if prioritised else 10
    assert drawn == [(16 * together, known) for known in (40, 80, 120) for _ in range(40 // together)]
