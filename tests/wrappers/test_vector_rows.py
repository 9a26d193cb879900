"""P16 and P18 with whatever seed, radius, horizon, budget and autoreset mode Hypothesis draws."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from hypothesis import given
from hypothesis import strategies as st

from advwrap import AdversarialObs, AtMost, EveryNth, Gated, L2Ball, LinfBall, Noise, RandomVertex, WithProbability
from advwrap.attacks import Attack
from advwrap.testing.environments import SignalEnv, signal_vector

seeds = st.integers(0, 2**31 - 10)
radii = st.sampled_from([0.0, 1e-6, 0.1, 0.7])
horizons = st.integers(1, 4)
modes = st.sampled_from(list(AutoresetMode))
ROWS, STEPS = 3, 9


@st.composite
def attacks(draw: st.DrawFn) -> Attack:
    ball = draw(st.sampled_from([LinfBall, L2Ball]))(draw(radii))
    attack = draw(st.sampled_from([Noise, RandomVertex]))(ball)
    budgets = [AtMost(2), EveryNth(2), WithProbability(0.5), EveryNth(3) | AtMost(1)]
    budget = draw(st.none() | st.sampled_from(budgets))
    return attack if budget is None else Gated(attack, budget)


def pushes(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (STEPS, ROWS, 2)).astype(np.float32)


def alone(attack: Attack, row: int, seed: int, horizon: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Seen and true observations of one environment that is reset by hand when an episode ends."""
    env = AdversarialObs(SignalEnv(horizon=horizon), attack=attack)
    seen, info = env.reset(seed=seed + row)
    shown = [(seen, info["clean_observation"])]
    for action in pushes(seed)[:, row]:
        seen, _, terminated, truncated, info = env.step(action)
        shown.append((seen, info["clean_observation"]))
        if terminated or truncated:
            seen, info = env.reset()
            shown.append((seen, info["clean_observation"]))
    return shown


def together(attack: Attack, seed: int, horizon: int, mode: AutoresetMode) -> list[list[Any]]:
    """The same for every row of a vector environment, by its autoreset mode."""
    env = AdversarialObs(signal_vector(ROWS, autoreset=mode, horizon=horizon), attack=attack)
    seen, infos = env.reset(seed=seed)
    shown: list[list[Any]] = [[(seen[row].copy(), infos["clean_observation"][row])] for row in range(ROWS)]
    for actions in pushes(seed):
        seen, _, terminated, truncated, infos = env.step(actions)
        over = terminated | truncated
        for row in range(ROWS):
            if over[row] and mode is AutoresetMode.SAME_STEP:
                shown[row].append((None, infos["final_obs"][row]))  # the last observation stays clean
            shown[row].append((seen[row].copy(), infos["clean_observation"][row]))
        if not over.any() or mode is AutoresetMode.SAME_STEP:
            continue
        if mode is AutoresetMode.NEXT_STEP:
            seen, *_, infos = env.step(actions)  # ignored by rows that reset
        else:
            seen, infos = env.reset(options={"reset_mask": over})
        for row in range(ROWS):
            shown[row].append((seen[row].copy(), infos["clean_observation"][row]))
    return shown


@given(attack=attacks(), seed=seeds, horizon=horizons, mode=modes)
def test_every_row_is_the_environment_alone(attack: Attack, seed: int, horizon: int, mode: AutoresetMode) -> None:
    """P16 and P18: rows of one horizon end together, so every mode runs through the same observations."""
    rows = together(attack, seed, horizon, mode)
    for row in range(ROWS):
        for (seen, truth), (mine, my_truth) in zip(rows[row], alone(attack, row, seed, horizon), strict=False):
            np.testing.assert_array_equal(truth, my_truth)
            if seen is not None:
                np.testing.assert_array_equal(seen, mine)
