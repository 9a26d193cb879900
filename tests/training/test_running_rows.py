"""Running normalisation of the rows of a vector environment: every observation counts once."""

import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from advwrap.training.running_rows import RunningRows
from tests.wrappers.environments import Walk


def test_every_observation_is_counted_once():
    plain, running = (
        SyncVectorEnv([lambda: Walk(length=3), lambda: Walk(length=9)], autoreset_mode=AutoresetMode.DISABLED)
        for _ in range(2)
    )
    running = RunningRows(running)
    seen = [*plain.reset(seed=0)[0].copy()]
    shown, _ = running.reset(seed=0)
    for t in range(7):
        actions = np.full((2, 2), 0.3 * t, np.float32)
        seen += [*plain.step(actions)[0].copy()]
        shown = running.step(actions)[0]
        if t in (2, 5):  # the first row begins anew
            mask = np.array([True, False])
            seen.append(plain.reset(options={"reset_mask": mask})[0][0].copy())
            shown, _ = running.reset(options={"reset_mask": mask})
    frozen = running.frozen()
    np.testing.assert_allclose(frozen.mean, np.mean(seen, 0), rtol=1e-6)
    np.testing.assert_allclose(frozen.std, np.std(seen, 0), rtol=1e-5)
    np.testing.assert_allclose(shown[1], frozen(seen[-1]), rtol=1e-5)
    assert shown.dtype == np.float32
    assert running.single_observation_space.contains(shown[0])
