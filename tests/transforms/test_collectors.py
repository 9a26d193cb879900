"""Attacks on the policy of a collector, and collectors over attacked environments."""

import pytest
import torch
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.collectors import Collector, MultiSyncCollector
from torchrl.envs import Compose, GymEnv, TransformedEnv

from advwrap import FGSM, UNBOUNDED, LinfBall, LowValue, Noise
from advwrap.transforms import AdversarialAction, AdversarialObs, OnCollectedPolicy

QUIET = {"auto_register_policy_transforms": False}
EPS = 0.125


def first_action(state, action):
    return action[:, 0]


def push(policy):
    return FGSM(LowValue(policy, first_action), within=LinfBall(EPS))


def env():
    """Seeded: where the pendulum turns at its limit, 8, nothing can be pushed further."""
    made = TransformedEnv(GymEnv("Pendulum-v1"), AdversarialObs(OnCollectedPolicy(push)))
    made.set_seed(0)
    return made


def actor():
    return TensorDictModule(nn.Linear(3, 1), ["observation"], ["action"])


@torch.no_grad()
def point(policy, sign):
    for p in policy.parameters():
        p.zero_()
    policy.module.weight[0, 2] = sign


def side(batch):
    """The share of perturbations to the positive side of the third feature."""
    return float((batch["observation"] > batch["clean_observation"])[..., 2].float().mean())


def test_the_policy_of_the_collector_is_attacked():
    policy = actor()
    point(policy, 1.0)
    collector = Collector(env, policy, frames_per_batch=10, total_frames=20, **QUIET)
    batches = iter(collector)
    first = side(next(batches))
    point(policy, -1.0)
    second = next(batches)[1:]  # its first observation was attacked before
    collector.shutdown()
    assert (first, side(second)) == (0.0, 1.0)


@pytest.mark.slow
def test_in_other_processes():
    policy = actor()
    point(policy, 1.0)
    collector = MultiSyncCollector(
        [env, env], policy, frames_per_batch=20, total_frames=80, cat_results="stack", **QUIET
    )
    batches = iter(collector)
    first = side(next(batches))
    point(policy, -1.0)
    collector.update_policy_weights_()
    second = side(next(batches)[:, 1:])
    collector.shutdown()
    assert (first, second) == (0.0, 1.0)


def test_without_a_collector_there_is_no_policy():
    with pytest.raises(RuntimeError, match=r"attacks the policy of a collector.*Fix: run it in a collector"):
        env().reset()


def test_both_channels_in_a_collector():
    attack = Noise(LinfBall(EPS))
    attacked = TransformedEnv(GymEnv("Pendulum-v1"), Compose(AdversarialObs(attack), AdversarialAction(attack)))
    policy = actor()
    point(policy, 0.1)  # far from the limits of the torque, where noise would be cut
    collector = Collector(attacked, policy, frames_per_batch=250, total_frames=500, **QUIET)
    for batch in collector:
        assert batch["executed_action"].shape == batch["action"].shape
        assert (batch["executed_action"] != batch["action"]).any(-1).float().mean() > 0.9
        assert (batch["next", "observation"] != batch["next", "clean_observation"]).any(-1).all()
        inside = ~batch["next", "done"][:-1].squeeze(-1)
        assert torch.equal(batch["next", "observation"][:-1][inside], batch["observation"][1:][inside])
    collector.shutdown()


@pytest.mark.parametrize("device", [None, "cpu"])
def test_what_was_executed_belongs_to_this_step(device):
    """An environment that names its device steps a copy of the collector's data."""
    attacked = TransformedEnv(GymEnv("Pendulum-v1", device=device), AdversarialAction(Noise(LinfBall(0.01))))
    collector = Collector(attacked, actor(), frames_per_batch=10, total_frames=20, **QUIET)
    for batch in collector:
        executed, intended = (batch[key].clamp(-2.0, 2.0) for key in ("executed_action", "action"))
        moved = (executed - intended).abs()
        assert 0 < moved.max() <= 0.01
    collector.shutdown()


def test_a_collector_seeds_the_attack():
    def collect():
        attack = AdversarialObs(Noise(LinfBall(EPS)), bounds=UNBOUNDED)
        attacked = TransformedEnv(GymEnv("Pendulum-v1"), attack)
        policy = actor()
        point(policy, 0.5)
        collector = Collector(attacked, policy, frames_per_batch=10, total_frames=10, **QUIET)
        collector.set_seed(3)
        [batch] = list(collector)
        collector.shutdown()
        # The collector had reset the environment before it was seeded.
        return (batch["next", "observation"] - batch["next", "clean_observation"])[1:]

    torch.testing.assert_close(collect(), collect(), atol=1e-6, rtol=0)
