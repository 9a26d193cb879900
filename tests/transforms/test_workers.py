"""Transforms in worker processes, where an attack is a copy."""

import warnings

import pytest
import torch
from torch import nn
from torchrl.envs import GymEnv, ParallelEnv, TransformedEnv

from advwrap import PGD, ActionShift, LinfBall, Noise
from advwrap.attacks.copies import FrozenCopyWarning
from advwrap.transforms import AdversarialObs, OnCollectedPolicy

learning = PGD(ActionShift(nn.Linear(3, 1)), within=LinfBall(0.1))


def attacked(attack):
    return TransformedEnv(GymEnv("Pendulum-v1"), AdversarialObs(attack))


def test_in_this_process_nothing_is_a_copy():
    attacked(learning).rollout(2)


def as_a_worker(monkeypatch):
    monkeypatch.setattr("multiprocessing.parent_process", object)


def test_a_copied_victim_is_told_of_once(monkeypatch):
    as_a_worker(monkeypatch)
    env = attacked(learning)
    with pytest.warns(FrozenCopyWarning, match=r"own copy of PGD.*Fix: put the transform around the ParallelEnv"):
        env.reset()
    env.reset()


def test_what_cannot_grow_stale_is_fine(monkeypatch):
    as_a_worker(monkeypatch)
    attacked(Noise(LinfBall(0.1))).reset()
    with pytest.raises(RuntimeError, match="policy of a collector"):
        attacked(OnCollectedPolicy(lambda policy: learning)).reset()


class Told(TransformedEnv):
    """Shows whether this process was warned."""

    def _reset(self, tensordict=None, **options):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            data = super()._reset(tensordict, **options)
        told = any(w.category is FrozenCopyWarning for w in caught)
        return data.set("observation", torch.full_like(data["observation"], float(told)))


def make_told():
    return Told(GymEnv("Pendulum-v1"), AdversarialObs(learning))


@pytest.mark.slow
def test_in_a_real_worker():
    env = ParallelEnv(2, make_told)
    assert (env.reset()["observation"] == 1).all()
    env.close()
