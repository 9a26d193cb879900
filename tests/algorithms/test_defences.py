"""What each defence adds to a learner: who sees what, and what is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from tensordict import TensorDict

from advwrap import Corners, Gated, Noise
from advwrap.algorithms import (
    OAPI,
    PPO,
    SAC,
    TD3,
    ActionRobustTD3,
    Alternating,
    Defence,
    DiscreteSAC,
    RobustRegulariser,
    TrainingAttack,
    Undefended,
    ValtEps,
    ValtSampled,
    ValtSoft,
    Wocar,
)
from advwrap.algorithms.off_policy import OffPolicy
from advwrap.algorithms.off_policy_training import OffPolicyTraining
from advwrap.wrappers import ActionAdversary

TASK = "InvertedDoublePendulum-v5"
TINY: dict[str, Any] = {"steps": 120, "random_steps": 20, "hidden": (8, 8), "batch_size": 8}
EPSILON = 0.3
ADVERSARY = PPO(envs=2, horizon=16, epochs=1, minibatches=2)
DEFENCES: dict[str, Defence] = {
    "none": Undefended(),
    "attack training": TrainingAttack(EPSILON, ramp=(0.0, 0.1)),
    "regulariser": RobustRegulariser(EPSILON, 1.0, ramp=(0.0, 0.1)),
    "VALT-EPS": ValtEps(EPSILON, regulariser=1.0),
    "VALT-SOFT": ValtSoft(EPSILON, temperature=(100.0, 1.0), reset_every=40, regulariser=1.0),
    "sampled": ValtSampled(EPSILON, temperature=1.0, regulariser=1.0),
    "exact": ValtSampled(EPSILON, temperature=1.0, exact=True),
    "learned, exact": ValtSoft(EPSILON, temperature=1.0, reset_every=40, exact=True),
    "alternating": Alternating(EPSILON, ADVERSARY, adversary_steps=1.0, regulariser=1.0),
    "WocaR": Wocar(EPSILON),
    "OA-PI": OAPI(EPSILON, ramp=(0.0, 0.0)),
}


class Doubled(gym.Wrapper):
    """A task that takes float64."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        box = env.action_space
        self.action_space = gym.spaces.Box(box.low.astype(np.float64), box.high.astype(np.float64), dtype=np.float64)


VIRTUAL = ("VALT-EPS", "VALT-SOFT", "sampled")


def prepared(defence: Defence) -> TensorDict:
    """A batch as the losses see it, late in a training."""
    training = OffPolicyTraining(SAC(TASK, defence, **TINY))
    for schedule in training.hardening.schedules:
        schedule.t = 120
    generator = torch.Generator().manual_seed(0)

    def raw() -> torch.Tensor:
        return torch.randn(200, 9, generator=generator)

    after = {"raw_observation": raw(), "reward": torch.zeros(200, 1), "terminated": torch.zeros(200, 1).bool()}
    batch = TensorDict({"raw_observation": raw(), "next": TensorDict(after, [200])}, [200])
    for stage in training.update.prepare:
        batch = stage(batch)
    return batch


def moved(part: TensorDict) -> float:
    return float((part["observation"] - part["clean_observation"]).abs().max())


@pytest.mark.parametrize(
    ("defence", "root", "following"),
    [
        (DEFENCES["none"], False, False),
        (DEFENCES["regulariser"], False, False),
        (DEFENCES["WocaR"], False, False),
        (DEFENCES["OA-PI"], False, False),
        (DEFENCES["attack training"], True, True),
        (DEFENCES["VALT-EPS"], True, True),
        (DEFENCES["VALT-SOFT"], True, True),
        (DEFENCES["sampled"], True, True),
        (DEFENCES["exact"], True, True),
        (DEFENCES["alternating"], True, True),
        *((replace(DEFENCES[name], evaluation=False), True, False) for name in VIRTUAL),  # type: ignore[type-var]
        *((replace(DEFENCES[name], improvement=False), False, True) for name in VIRTUAL),  # type: ignore[type-var]
    ],
    ids=str,
)
def test_which_observations_the_losses_see(defence: Defence, root: bool, following: bool) -> None:
    batch = prepared(defence)
    for part, attacked in ((batch, root), (batch["next"], following)):
        assert (moved(part) > 0.5 * EPSILON) == attacked
        assert moved(part) <= EPSILON + 1e-5


@pytest.mark.parametrize("name", ["exact", "learned, exact"])
def test_the_exact_target_pays_for_the_choice(name: str) -> None:
    """eq. 26: gamma alpha KL on top of the reward where the episode goes on; not in eq. 54."""
    generator = torch.Generator().manual_seed(0)

    def rewards(defence: Defence) -> torch.Tensor:
        torch.manual_seed(0)
        training = OffPolicyTraining(SAC(TASK, defence, **TINY))
        for loss in (training.learner.loss, getattr(training.hardening.after, "loss", None)):
            for network in () if loss is None else loss.parameters():
                network.data.mul_(3.0)  # values and adversaries with something to choose
        after = {"raw_observation": torch.randn(64, 9, generator=generator), "reward": torch.zeros(64, 1)}
        after["terminated"] = torch.arange(64)[:, None] < 8
        batch = TensorDict({"raw_observation": torch.randn(64, 9), "next": TensorDict(after, [64])}, [64])
        for stage in training.update.prepare:
            batch = stage(batch)
        return batch["next", "reward"].squeeze(-1)

    paid, plain = rewards(DEFENCES[name]), rewards(replace(DEFENCES[name], exact=False))  # type: ignore[type-var]
    assert (plain == 0).all()
    assert (paid[:8] == 0).all()
    assert float(paid[8:].abs().min()) > 0
    assert float(paid[8:].mean()) > 0


@pytest.mark.parametrize(
    ("defence", "share"),
    [
        (ValtEps(EPSILON, adversarial_ratio=0.0), 0.0),
        (ValtEps(EPSILON, adversarial_ratio=0.5), 0.5),
        (ValtSoft(EPSILON, temperature=1.0, adversarial_ratio=1.0), 1.0),
        (ValtSampled(EPSILON, temperature=1.0, adversarial_ratio=1.0), 1.0),
        (Alternating(EPSILON, ADVERSARY, adversarial_ratio=0.5), 0.5),
        (DEFENCES["regulariser"], 0.0),
    ],
    ids=str,
)
def test_how_often_the_behaviour_policy_is_attacked(defence: Defence, share: float) -> None:
    training = OffPolicyTraining(SAC(TASK, defence, **TINY))
    steps = training.trainer.collector.env.rollout(100, break_when_any_done=False)
    attacked = (steps["observation"] != steps["clean_observation"]).any(-1).float().mean()
    assert abs(float(attacked) - share) < 0.1


def test_the_worst_case_grows_with_the_schedule() -> None:
    """At kappa = 0 VALT-EPS sees uniform noise, at kappa = 1 PGD, which moves most features to the border."""
    training = OffPolicyTraining(SAC(TASK, ValtEps(EPSILON), **TINY))
    (kappa,) = training.hardening.schedules
    shares = []
    for t in (0, 48, 96):
        kappa.t = t
        batch = TensorDict({"observation": torch.randn(400, 9)}, [400])
        batch["next"] = batch.clone()
        out = training.hardening.perturb(batch)  # type: ignore[misc]
        border = (out["observation"] - out["clean_observation"]).abs() > 0.999 * EPSILON
        shares.append(float(border.float().mean()))
    assert shares[0] < 0.01
    assert shares[2] > 0.7
    assert 0.4 < shares[1] / shares[2] < 0.6


def test_the_adversary_is_forgotten_and_learned_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every round begins with new weights and an optimiser without a past (Algorithm 3)."""
    config = SAC(TASK, ValtSoft(EPSILON, temperature=0.1, reset_every=40), **TINY)
    training = OffPolicyTraining(config)
    relearning: Any = training.hardening.after
    begun, taken = [], relearning.update.__call__

    def watched(batch: TensorDict) -> TensorDict:
        if relearning.update.steps % 40 == 0:
            weights = torch.cat([p.detach().flatten().clone() for p in relearning.adversary.parameters()])
            state = relearning.update.optimizer.state.values()
            begun.append((weights, sum(float(m.abs().sum()) for s in state for m in s.values())))
        return taken(batch)

    monkeypatch.setattr(relearning, "update", _Watched(relearning.update, watched))
    training.run()
    assert relearning.rounds == 3
    assert relearning.update.steps == 120
    last = torch.cat([p.detach().flatten() for p in relearning.adversary.parameters()])
    assert len(begun) == 3
    for i, (weights, memory) in enumerate(begun):
        assert memory == 0.0
        assert not any(torch.equal(weights, other) for other, _ in begun[:i])
        assert not torch.equal(weights, last)
        assert float((weights - begun[0][0]).abs().max()) > 0.05 or i == 0  # new ones, not the trained ones


def test_what_the_adversary_learned_is_logged(tmp_path: Path) -> None:
    """Whether it is more than noise (a divergence of 0) stands in the log, once per round."""
    config = SAC(TASK, ValtSoft(EPSILON, temperature=0.1, reset_every=40), **TINY)
    OffPolicyTraining(config, out=tmp_path).run()
    for name in ("adversary_value", "adversary_kl", "adversary_soft_value"):
        lines = (tmp_path / "log" / "scalars" / f"{name}.csv").read_text().splitlines()
        assert [int(line.split(",")[0]) for line in lines] == [40, 80, 120]


def test_parts_of_one_training_do_not_share_random_numbers() -> None:
    """One seed drives all of them: virtual adversary, regulariser and the adversary's own learning."""
    hardening = OffPolicyTraining(SAC(TASK, DEFENCES["VALT-SOFT"], **TINY)).hardening
    regulariser: Any = hardening.losses[0]
    parts = hardening.perturb.streams, regulariser.perturb.streams, hardening.after.loss.streams  # type: ignore[union-attr]
    drawn = torch.stack([streams(5000).uniform(torch.empty(5000, dtype=torch.float64)) for streams in parts])
    assert float((torch.corrcoef(drawn) - torch.eye(3)).abs().max()) < 0.05


def test_both_forms_of_wocar() -> None:
    """eq. 60 mixes both values at one action; eq. 61 weighs the nominal loss with 1 - kappa and adds kappa U(mean)."""
    for mean_action, weight in ((False, 1.0), (True, 0.75)):
        training = OffPolicyTraining(SAC(TASK, Wocar(EPSILON, kappa=0.25, mean_action=mean_action), **TINY))
        for schedule in training.hardening.schedules:
            schedule.t = 120
        generator = torch.Generator().manual_seed(0)
        state, following = (torch.randn(16, 9, generator=generator) for _ in "12")
        flags = {name: torch.zeros(16, 1, dtype=torch.bool) for name in ("done", "terminated")}
        after = TensorDict({"raw_observation": following, "reward": torch.zeros(16, 1), **flags}, [16])
        batch = TensorDict({"raw_observation": state, "action": torch.zeros(16, 1), "next": after}, [16])

        def gradient(weights: dict[str, float], training: Any = training, batch: TensorDict = batch) -> torch.Tensor:
            torch.manual_seed(1)  # the same random actions
            prepared = batch.copy()
            for stage in training.update.prepare:
                prepared = stage(prepared)
            values = {name: value for loss in training.update.losses for name, value in loss(prepared).items()}
            terms = sum(weight * values[name] for name, weight in weights.items())
            actor = list(training.learner.actor.parameters())
            return torch.cat([g.flatten() for g in torch.autograd.grad(terms, actor)])

        torch.manual_seed(1)
        found, _ = training.update.gradients(batch)
        kept = {id(p): g for p, g in zip(training.update.params, found, strict=True)}
        actual = torch.cat([kept[id(p)].flatten() for p in training.learner.actor.parameters()])
        expected = gradient({"loss_actor": weight, "loss_worst_actor": 1.0})
        torch.testing.assert_close(actual, expected)
        assert float((actual - gradient({"loss_actor": 1.0})).abs().max()) > 0


class _Watched:
    """An update whose calls somebody sees."""

    def __init__(self, update: Any, call: Any) -> None:
        self.update, self.call = update, call

    def __call__(self, batch: TensorDict) -> TensorDict:
        return self.call(batch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.update, name)


@pytest.mark.parametrize("defence", [ValtSoft, ValtSampled])
def test_the_temperature_of_the_adversary_falls(defence: type[ValtSoft | ValtSampled]) -> None:
    """The schedule that the paper found for Ant: from noise to the worst within nine tenths of the training."""
    training = OffPolicyTraining(SAC(TASK, defence(EPSILON, temperature=(1000.0, 4.0)), **TINY))
    (temperature,) = training.hardening.schedules
    attack = training.hardening.perturb.attack  # type: ignore[union-attr]
    asked = attack if defence is ValtSampled else training.hardening.after.loss  # type: ignore[union-attr]
    assert asked.temperature is temperature
    found = []
    for temperature.t in (0, 54, 108, 120):
        found.append(temperature())
    assert found == [1000.0, 502.0, 4.0, 4.0]


@pytest.mark.parametrize("defence", ["none", "regulariser", "WocaR", "VALT-EPS", "OA-PI"])
def test_a_delayed_actor_rests_from_every_term(defence: str) -> None:
    """TD3: in every second update neither the actor nor a target network moves, whatever the defence adds.

    In the others the targets of every loss, not only the learner's, come closer by the share tau.
    """
    training = OffPolicyTraining(TD3(TASK, DEFENCES[defence], tau=0.25, **TINY))
    for schedule in training.hardening.schedules:
        schedule.t = 120
    generator = torch.Generator().manual_seed(0)
    flags = {name: torch.zeros(32, 1, dtype=torch.bool) for name in ("done", "terminated")}
    following = TensorDict(
        {"raw_observation": torch.randn(32, 9, generator=generator), "reward": torch.randn(32, 1), **flags}, [32]
    )
    actions = torch.rand(32, 1, generator=generator)
    batch = TensorDict({"raw_observation": torch.randn(32, 9), "action": actions, "next": following}, [32])

    def state() -> list[torch.Tensor]:
        parts = training.learner.actor.parameters(), training.learner.loss.qvalue_network_params.parameters()
        return [torch.cat([p.detach().flatten().clone() for p in part]) for part in parts]

    def targets() -> list[tuple[torch.Tensor, torch.Tensor]]:
        """What each target follows, and the target."""
        every = [loss.state_dict() for loss in (training.learner.loss, *training.hardening.losses)]
        names = [(own, name) for own in every for name in own if name.startswith("target_")]
        return [(own[name.removeprefix("target_")], own[name].clone()) for own, name in names]

    moves = []
    for share in (0.0, 0.25, 0.0, 0.25):
        before, old = state(), targets()
        training.update(batch)
        training._move_targets()
        moves.append([not torch.equal(*pair) for pair in zip(before, state(), strict=True)])
        for (_, then), (live, now) in zip(old, targets(), strict=True):
            torch.testing.assert_close(now, then.lerp(live, share), rtol=0, atol=1e-6)
    assert moves == [[False, True], [True, True]] * 2


@pytest.mark.parametrize(
    ("learner", "defence"),
    [(SAC, OAPI(EPSILON)), (TD3, OAPI(EPSILON)), (DiscreteSAC, OAPI(EPSILON)), (SAC, Wocar(EPSILON))],
)
def test_both_kinds_of_critics_learn_by_the_same_distance(learner: type[OffPolicy], defence: Defence) -> None:
    task = "CartPole-v1" if learner is DiscreteSAC else TASK
    for huber, distance in ((True, "smooth_l1"), (False, "l2")):
        training = OffPolicyTraining(learner(task, defence, huber=huber, **TINY))
        assert training.hardening.losses[0].loss_function == training.learner.loss.loss_function == distance


def test_going_on_from_an_agent_takes_its_target_networks_along() -> None:
    agent = TD3(TASK, **TINY).train()
    loss = OffPolicyTraining(TD3(TASK, **TINY), start=agent).learner.loss
    for name in ("actor_network_params", "qvalue_network_params"):
        own, target = (getattr(loss, prefix + name).data.flatten_keys() for prefix in ("", "target_"))
        assert all(torch.equal(own[key], target[key]) for key in own.keys())  # noqa: SIM118 - a TensorDict


@pytest.mark.parametrize("learner", [SAC, TD3])
def test_actions_without_limits_are_refused(learner: type[OffPolicy]) -> None:
    task = gym.make("Pendulum-v1")
    free = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    with pytest.raises(ValueError, match=r"must have actions with limits.*RescaleAction"):
        learner("Pendulum-v1").learner(task.observation_space, free)  # type: ignore[arg-type]


def test_noise_is_in_units_of_half_the_range() -> None:
    """Pendulum's torque lies in [-2, 2]."""
    learner = OffPolicyTraining(TD3("Pendulum-v1", **TINY)).learner
    learner.loss.target_actor_network_params.data.apply_(torch.zeros_like)
    batch = TensorDict({"observation": torch.zeros(4000, 3), "clean_observation": torch.zeros(4000, 3)}, [4000])
    noise = learner.next_action(batch)  # type: ignore[misc]
    assert float(noise.std()) == pytest.approx(0.4, rel=0.1)
    assert float(noise.abs().max()) == pytest.approx(1.0)
    explored, own = (policy(batch.copy())["action"].detach() for policy in (learner.explore, learner.actor))
    assert float((explored - own).std()) == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize(
    ("defence", "steps"),
    [
        (RobustRegulariser(EPSILON, 1.0, steps=7), 7),
        (ValtEps(EPSILON, regulariser=1.0), 2),
        (ValtSoft(EPSILON, temperature=1.0, regulariser=1.0), 2),
        (Alternating(EPSILON, ADVERSARY, regulariser=1.0), 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_gradients_of_the_regulariser(defence: Defence, steps: int) -> None:
    """Tables 4 to 6: two of Langevin where the regulariser stands beside a virtual adversary."""
    *_, regulariser = OffPolicyTraining(SAC(TASK, defence, **TINY)).hardening.losses
    assert regulariser.perturb.attack.steps == steps


def test_what_defences_hand_on() -> None:
    (worst,) = OffPolicyTraining(SAC(TASK, Wocar(EPSILON, steps=7), **TINY)).hardening.losses
    assert worst.steps == 7
    behaviour = OffPolicyTraining(SAC(TASK, ValtEps(EPSILON), **TINY)).hardening.behaviour
    assert isinstance(behaviour, Gated)
    assert isinstance(behaviour.attack, Noise)


def test_priorities_are_the_errors_of_the_last_update() -> None:
    """And the correction of their bias grows from 0.4 to 1 over the training."""
    training = OffPolicyTraining(SAC(TASK, prioritised=True, **{**TINY, "steps": 240}))
    seen, found = {}, []
    remember, sampler = training.buffer.update_priority, training.buffer.sampler

    def listen(index: torch.Tensor, error: torch.Tensor) -> None:
        remember(index, error)
        found.append((training.trainer.collected_frames, sampler.beta()))
        for i, size in zip(index.tolist(), error.detach().abs().flatten().tolist(), strict=True):
            seen.setdefault(i, set()).add(size)
        mass = sampler.mass.flatten()[index]
        # Of a transition that was drawn twice in one batch either error may stand.
        once = torch.tensor([(index == i).sum() == 1 for i in index])
        torch.testing.assert_close(
            mass[once], (error.detach().abs().flatten()[once].double() + 1e-6) ** 0.6, rtol=1e-5, atol=1e-9
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.buffer, "update_priority", listen)
        training.run()
    assert len(found) >= 200
    assert all(beta == pytest.approx(0.4 + 0.6 * frames / 240, abs=0.11) for frames, beta in found)
    assert found[0][1] < 0.6 < 0.85 < found[-1][1]
    assert sum(len(sizes) > 1 for sizes in seen.values()) > 50


@pytest.mark.parametrize("learner", [SAC, TD3, DiscreteSAC], ids=lambda kind: kind.__name__)
def test_importance_weights_reach_the_critics(learner: type[OffPolicy]) -> None:
    """With all the weight on one transition its error is the loss."""
    config = learner("CartPole-v1" if learner is DiscreteSAC else TASK, prioritised=True, **TINY)
    training = OffPolicyTraining(config)
    training.run()
    loss, batch = training.learner.loss, next(training.batches(1))
    found = []
    for weight, reduction in ((torch.eye(len(batch))[3], "mean"), (torch.ones(len(batch)), "none")):
        batch["priority_weight"], loss.reduction = weight, reduction
        torch.manual_seed(0)
        found.append(loss(batch.copy())["loss_qvalue"].detach())
    weighted, rows = found
    torch.testing.assert_close(weighted, rows[3])


def test_the_replay_buffer_forgets() -> None:
    training = OffPolicyTraining(SAC(TASK, prioritised=True, capacity=60, **TINY))
    training.run()
    assert len(training.buffer) == 60


@pytest.mark.parametrize("config", [SAC, TD3, lambda env, **o: TD3(env, OAPI(0.1), **o)], ids=["SAC", "TD3", "OA-TD3"])
def test_a_box_of_doubles(config: Any) -> None:
    """Torques of simulators are often float64, networks are not."""
    name = "advwrap-tests/Doubles-v0"
    gym.register(name, lambda: Doubled(gym.make("Pendulum-v1")), max_episode_steps=20)
    try:
        agent = config(name, **TINY).train()
        assert agent.low.dtype == torch.float32
        env = agent.make_env()
        observation, _ = env.reset(seed=0)
        assert env.action_space.dtype == np.float64
        env.step(agent.act(torch.from_numpy(observation).unsqueeze(0))[0].numpy())
    finally:
        gym.registry.pop(name)


@pytest.mark.parametrize("defence", [name for name in DEFENCES if name != "none"])
@pytest.mark.parametrize("learner", [TD3, DiscreteSAC], ids=lambda kind: kind.__name__)
def test_every_defence_hardens_every_learner(learner: type[OffPolicy], defence: str) -> None:
    config = learner("CartPole-v1" if learner is DiscreteSAC else TASK, DEFENCES[defence], **TINY)
    if learner is DiscreteSAC and defence == "WocaR":
        with pytest.raises(TypeError, match="`Wocar` bounds continuous actions"):
            config.train()
        return
    agent = replace(config, steps=60, frames_per_batch=20).train()
    env = agent.make_env()
    observation, _ = env.reset(seed=0)
    action = agent.act(torch.from_numpy(observation).unsqueeze(0))[0].numpy()
    assert env.action_space.contains(action)
    values = agent.critic(torch.zeros(3, len(observation)), agent.policy.mean(torch.zeros(3, len(observation))))
    assert values.shape == (2, 3)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ValtEps(0.0), "`epsilon` must be > 0"),
        (lambda: ValtEps(0.1, adversarial_ratio=1.5), "`adversarial_ratio`"),
        (lambda: ValtEps(0.1, kappa=-1.0), "`kappa`"),
        (lambda: ValtSoft(-0.1, temperature=1.0), "`epsilon`"),
        (lambda: ValtSampled(0.1, temperature=1.0, adversarial_ratio=2.0), "`adversarial_ratio`"),
        (lambda: ValtSoft(0.1, temperature=1.0, reset_every=0), "`reset_every`"),
        (lambda: RobustRegulariser(0.1, -1.0), "`coefficient`"),
        (lambda: Wocar(0.1, kappa=2.0), "`kappa`"),
        (lambda: Wocar(0.1, steps=0), "`steps` must be an integer >= 1"),
        (lambda: OAPI(0.0), "`epsilon` must be > 0"),
        (lambda: OAPI(0.1, omega=1.5), "`omega` must be in"),
        (lambda: OAPI(0.1, surgery="projection"), "`surgery` must be one of pcgrad, nominal, none"),
        (lambda: OAPI(0.1, steps=0), "`steps` must be an integer >= 1"),
        (lambda: OAPI(0.1, adversarial_ratio=1.5), "`adversarial_ratio` must be in"),
        (
            lambda: DiscreteSAC("CartPole-v1", OAPI(0.1, adversarial_ratio=0.5), **TINY).train(),
            "`adversarial_ratio` must be left out where actions are discrete, got 0.5",
        ),
        (
            lambda: DiscreteSAC("CartPole-v1", OAPI.paper(0.1), **TINY).train(),
            "`at_worst` must be left out where actions",
        ),
        (
            lambda: DiscreteSAC("a", **TINY).learner(gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(3, start=-1)),
            "`env` must have actions that begin at 0, got Discrete",
        ),
        (lambda: OAPI(0.1, ramp=(0.8, 0.5)), "`ramp` must rise within"),
        (lambda: OAPI(0.1, steps=4, strategy=Corners()), "`steps` must be left out beside a `strategy`, got 4"),
        (lambda: OAPI(0.1, restarts=0), "`restarts` must be an integer >= 1"),
        (lambda: DiscreteSAC("CartPole-v1", OAPI(1.5), **TINY).train(), "`epsilon` must be <= 1"),
        (lambda: Alternating(0.1, kind=ActionAdversary()), "`kind` must perturb observations"),
        (lambda: ActionRobustTD3(TASK, OAPI(0.1)), "`defence` must leave the actions"),
        (lambda: ValtSoft(0.1, temperature=0.0), "`temperature` must be > 0"),
        (lambda: ValtSoft(0.1, temperature=(1000.0, -4.0)), "`temperature` must be > 0"),
        (lambda: ValtSoft(0.1, temperature=1.0, learning_rate=0.0), "`learning_rate` must be > 0"),
        (lambda: ValtSampled(0.1, temperature=-1.0), "`temperature` must be > 0"),
        (lambda: ValtSampled(0.1, temperature=(2.0, -1.0)), "`temperature` must be > 0"),
        (lambda: ValtSampled(0.1, temperature=1.0, samples=0), "`samples` must be an integer >= 1"),
        (lambda: ValtSampled(0.1, temperature=1.0, exact=True, evaluation=False), "`exact` must be False"),
        (lambda: ValtSoft(0.1, temperature=1.0, exact=True, improvement=False), "`exact` must be False"),
        (lambda: ValtEps(0.1, regulariser=-1.0), "`regulariser` must be >= 0"),
        (lambda: ValtEps(0.1, regulariser_ramp=(0.5, 0.2)), "`regulariser_ramp` must rise"),
        (lambda: ValtEps(0.1, ramp=(0.5, 2.0)), "`ramp` must rise"),
        (lambda: SAC(TASK, tau=2.0), "`tau` must be in"),
        (lambda: SAC(TASK, learning_rate=-1.0), "`learning_rate` must be > 0"),
        (lambda: SAC(TASK, hidden=(0,)), "`hidden` must hold sizes >= 1"),
        (lambda: SAC(TASK, random_steps=-5), "`random_steps` must be >= 0"),
        (lambda: SAC(TASK, seed=-1), "`seed` must be in"),
        (lambda: SAC(TASK, capacity=0), "`capacity` must be an integer >= 1"),
        (lambda: TD3(TASK, delay=0), "`delay` must be an integer >= 1"),
        (lambda: TD3(TASK, exploration=-1.0), "`exploration` must be >= 0"),
        (lambda: DiscreteSAC("CartPole-v1", entropy_share=5.0), "`entropy_share`"),
    ],
)
def test_bad_numbers(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_a_kind_of_adversary_is_an_object() -> None:
    with pytest.raises(TypeError, match="`kind` must be SARL"):
        Alternating(0.1, kind="sarl")  # type: ignore[arg-type]
