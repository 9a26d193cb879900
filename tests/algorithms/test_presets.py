"""The named trainings have the numbers of the papers' tables."""

from __future__ import annotations

from dataclasses import replace

import pytest

from advwrap.algorithms import (
    OAPI,
    SAC,
    TD3,
    ActionRobustTD3,
    DiscreteSAC,
    RobustAdvantage,
    RobustRegulariser,
    Undefended,
    ValtEps,
    ValtSoft,
    Wocar,
    preset,
)
from advwrap.algorithms.presets import TRAININGS
from advwrap.training import Running


@pytest.mark.parametrize(
    ("env", "epsilon", "steps", "robust", "eps", "soft"),
    [  # Tables 3, 5 and 6: kappa_reg; adversarial ratio and kappa_reg; ratio, alpha_attk, reset and kappa_reg
        ("HalfCheetah-v5", 0.15, 1_000_000, 300.0, (0.5, 30.0), (1.0, 8.0, 2000, 1.0)),
        ("Hopper-v5", 0.075, 500_000, 300.0, (0.5, 3.0), (0.5, 2.0, 2000, 3.0)),
        ("Walker2d-v5", 0.05, 1_500_000, 10.0, (0.5, 0.0), (0.5, 4.0, 2000, 0.0)),
        ("Ant-v5", 0.15, 3_000_000, 30.0, (1.0, 30.0), (0.5, 4.0, 1000, 30.0)),
    ],
)
def test_tables(
    env: str,
    epsilon: float,
    steps: int,
    robust: float,
    eps: tuple[float, float],
    soft: tuple[float, float, int, float],
) -> None:
    plain = preset("sac", env)
    assert isinstance(plain, SAC)
    assert plain.steps == steps
    assert (plain.hidden, plain.learning_rate, plain.batch_size, plain.gamma, plain.tau) == (
        (256, 256), 3e-4, 256, 0.99, 0.005,
    )  # fmt: skip
    assert plain.huber
    assert plain.prioritised
    assert (plain.reward_scale, plain.capacity) == (1.0, 1_000_000)
    assert plain.target_entropy == (0.2 if env == "Hopper-v5" else None)
    regulariser = preset("robust", env).defence
    assert isinstance(regulariser, RobustRegulariser)
    assert (regulariser.epsilon, regulariser.coefficient, regulariser.steps) == (epsilon, robust, 5)
    valt = preset("valt-eps", env).defence
    assert isinstance(valt, ValtEps)
    assert (valt.epsilon, valt.steps, (valt.adversarial_ratio, valt.regulariser)) == (epsilon, 2, eps)
    assert valt.kappa == 1.0
    learned = preset("valt-soft", env).defence
    assert isinstance(learned, ValtSoft)
    numbers = (learned.adversarial_ratio, learned.temperature, learned.reset_every, learned.regulariser)
    assert (learned.epsilon, numbers, learned.learning_rate) == (epsilon, soft, 3e-4)


LAST = [("HalfCheetah-v5", 0.8e6), ("Hopper-v5", 0.4e6), ("Walker2d-v5", 1.3e6), ("Ant-v5", 2.7e6)]
"""After how many steps the schedules have reached their end."""


@pytest.mark.parametrize(("env", "last"), LAST)
@pytest.mark.parametrize("name", ["robust", "valt-eps", "valt-soft", "valt-sampled", "sac-ppo"])
def test_the_radius_of_the_regulariser_grows_from_a_hundred_thousand_steps_on(name: str, env: str, last: float) -> None:
    config = preset(name, env)
    ramp = getattr(config.defence, "ramp" if name == "robust" else "regulariser_ramp")
    assert [config.steps * share for share in ramp] == pytest.approx([1e5, last])


@pytest.mark.parametrize(("env", "last"), LAST)
def test_valt_eps_is_wholly_adversarial_where_the_regulariser_is_whole(env: str, last: float) -> None:
    """Table 5: kappa grows from the first step on."""
    config = preset("valt-eps", env)
    assert [config.steps * share for share in config.defence.ramp] == pytest.approx([0, last])


@pytest.mark.parametrize(("env", "last"), LAST)
def test_wocar_in_both_forms(env: str, last: float) -> None:
    """Eq. 60, and eq. 61, which the paper's figure 3 shows; kappa 0.4, the middle one of the three that it tries."""
    mixture, mean = preset("wocar", env), preset("wocar-mean", env)
    assert isinstance(mixture.defence, Wocar)
    assert not mixture.defence.mean_action
    assert mean == replace(mixture, defence=replace(mixture.defence, mean_action=True))
    assert (mixture.defence.kappa, mixture.defence.ramp[0]) == (0.4, 0.0)
    assert mixture.steps * mixture.defence.ramp[1] == pytest.approx(last)


def test_what_bounds_continuous_actions_has_no_discrete_name() -> None:
    names = {name for name in TRAININGS if name.endswith("discrete-sac")}
    assert {"valt-eps-discrete-sac", "oa-discrete-sac"} <= names
    assert not names & {"wocar-discrete-sac", "wocar-mean-discrete-sac", "oa-paper-discrete-sac"}


def test_every_name_is_a_learner_with_a_defence() -> None:
    learners = {"sac": SAC, "td3": TD3, "discrete-sac": DiscreteSAC}
    for name in TRAININGS:
        config = preset(name, "InvertedDoublePendulum-v5")
        (expected,) = [
            learners[key]
            for key in learners
            if name == key or (name.endswith("-" + key) and (key != "sac" or not name.endswith("discrete-sac")))
        ]
        game = name in ("nr-td3", "pr-td3")
        if "oa" in name.split("-"):
            paper = OAPI(0.2, omega=0.5, at_worst=False, steps=20, ramp=(0.0, 0.0), adversarial_ratio=0.0)
            measured = OAPI(0.2, omega=0.6, ramp=(0.5, 0.75), adversarial_ratio=0.25)
            assert config.defence == (paper if "paper" in name else measured), name
        assert type(config) is (ActionRobustTD3 if game else expected), name
        assert isinstance(config.defence, Undefended) == (game or name in learners)


def test_ppo() -> None:
    plain, robust = preset("ppo", "Hopper-v5", seed=4), preset("oa-ppo", "Hopper-v5", seed=4)
    assert (plain.steps, plain.learning_rate, plain.normaliser, plain.advantage) == (500_000, 3e-4, Running(), None)
    assert robust == replace(plain, advantage=RobustAdvantage(0.2))
    assert preset("ppo", "Pendulum-v1").steps == 100_000
    assert preset("ppo", "Pendulum-v1", steps=7).steps == 7


def test_the_games_of_the_actuators() -> None:
    noisy, probabilistic = (preset(name, "Hopper-v5") for name in ("nr-td3", "pr-td3"))
    assert (noisy.game, probabilistic.game) == ("noisy", "probabilistic")  # type: ignore[attr-defined]


def test_other_arguments_win() -> None:
    config = preset("valt-soft", "HalfCheetah-v5", steps=7, seed=3)
    assert (config.steps, config.seed) == (7, 3)


@pytest.mark.parametrize(
    ("other", "name"),
    [
        ("oa", "oa-td3"),
        ("valt-eps", "valt-eps-sac"),
        ("sac-ppo", "alternating-sac"),
        ("pa-sac-ppo", "pa-alternating-sac"),
    ],
)
def test_other_words_for_a_name(other: str, name: str) -> None:
    assert preset(other, "Ant-v5", seed=1) == preset(name, "Ant-v5", seed=1)


def test_an_unknown_name_suggests_those_that_are_close() -> None:
    with pytest.raises(ValueError, match=r"must be that of a training, got 'valt'\. Fix: valt-eps or valt"):
        preset("valt", "Hopper-v5")
    with pytest.raises(ValueError, match=r"got 'sac-pp'\. Fix: sac-ppo"):
        preset("sac-pp", "Hopper-v5")


def test_an_unknown_name_like_none_lists_them_all() -> None:
    with pytest.raises(ValueError, match=r"got 'xyz'\. Fix: sac, .*, oa-ppo\.$"):
        preset("xyz", "Hopper-v5")


@pytest.mark.parametrize("env", ["HalfCheetah", "HalfCheetah-v4"])
def test_the_numbers_are_those_of_every_version_of_a_task(env: str) -> None:
    assert replace(preset("valt-soft", env), env="HalfCheetah-v5") == preset("valt-soft", "HalfCheetah-v5")


def test_a_short_training_learns_too() -> None:
    """Of few steps, at most a tenth is random; where somebody asks for more random steps than steps, it is refused."""
    assert preset("sac", "HalfCheetah-v5").random_steps == 5_000
    assert preset("sac", "HalfCheetah-v5", steps=2_000).random_steps == 200
    assert preset("td3", "Pendulum-v1", steps=2_000).random_steps == 200
    assert preset("td3", "Pendulum-v1", steps=2_000, random_steps=7).random_steps == 7
    with pytest.raises(ValueError, match=r"nothing would be learned. Fix: random_steps=50"):
        SAC("Pendulum-v1", steps=500)
