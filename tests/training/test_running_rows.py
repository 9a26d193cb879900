"""Running normalisation of the rows of a vector environment: every observation counts once."""

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from advwrap.training.running_normaliser import RunningNormaliser
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


def test_statistics_of_somebody_else_are_read_as_they_are_and_never_changed():
    """Neither the number of rows nor their values matter to them; loading the state leaves them alone too."""
    shared = RunningNormaliser(3)
    shared.update(torch.tensor([[0.0, 10.0, -1.0], [2.0, 30.0, 1.0]]))
    before = {name: value.clone() for name, value in shared.state_dict().items()}
    makes = [lambda: Walk(length=3), lambda: Walk(length=9)]
    plain, running = (SyncVectorEnv(makes, autoreset_mode=AutoresetMode.DISABLED) for _ in range(2))
    running = RunningRows(running, shared)
    truth, shown = plain.reset(seed=0)[0], running.reset(seed=0)[0]
    np.testing.assert_allclose(shown, (truth - [1.0, 20.0, 0.0]) / [1.0, 10.0, 1.0], rtol=1e-6)
    running.load_state_dict(running.state_dict())
    for name, value in before.items():
        assert torch.equal(shared.state_dict()[name], value)
    shared.update(torch.full((100, 3), 50.0))
    truth, shown = plain.step(np.ones((2, 2), np.float32))[0], running.step(np.ones((2, 2), np.float32))[0]
    np.testing.assert_allclose(shown, (truth - shared.mean.numpy()) / shared.std.numpy(), rtol=1e-5)
    assert shared.count == 102
