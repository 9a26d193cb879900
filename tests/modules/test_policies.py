"""Acting under attack, in this process and in others; actors that declare further keys."""

import copy

import pytest
import torch
from tensordict import TensorDict
from tensordict.nn import NormalParamExtractor, TensorDictModule, TensorDictSequential
from torch import nn
from torchrl.collectors import Collector, MultiSyncCollector
from torchrl.envs import GymEnv, TransformedEnv
from torchrl.envs.utils import ExplorationType, set_exploration_type
from torchrl.modules import ProbabilisticActor, TanhNormal

from advwrap import FGSM, ActionShift, Identity, LinfBall, LowValue, RandomVertex
from advwrap.modules import attacked_policy, reads_also
from advwrap.transforms import AdversarialObs

EPS = 0.125
QUIET = {"auto_register_policy_transforms": False}


def gaussian(features=3):
    net = nn.Sequential(nn.Linear(features, 2), NormalParamExtractor())
    body = TensorDictModule(net, ["observation"], ["loc", "scale"])
    return ProbabilisticActor(body, ["loc", "scale"], distribution_class=TanhNormal, return_log_prob=True)


def push(actor):
    """To the side where the first action is low: which side depends on the weights."""
    return FGSM(LowValue(actor, first_action), within=LinfBall(EPS))


def first_action(state, action):
    return action[:, 0]


def data(rows=4):
    return TensorDict({"observation": torch.zeros(rows, 3)}, [rows])


def test_the_actor_acts_on_what_it_sees():
    torch.manual_seed(0)
    actor = gaussian()
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        out = attacked_policy(actor, push(actor))(data())
        expected = actor(TensorDict({"observation": out["observation"]}, [4]))
    assert (out["observation"].abs() == EPS).all()
    assert (out["clean_observation"] == 0).all()
    assert torch.equal(out["action"], expected["action"])
    assert torch.equal(out["loc"], expected["loc"])


def test_the_log_probability_is_that_of_the_perturbed_observation():
    torch.manual_seed(0)
    actor = gaussian()
    out = attacked_policy(actor, push(actor))(data())
    law = actor.get_dist(out.select("observation"))
    torch.testing.assert_close(law.log_prob(out["action"]), out["action_log_prob"], rtol=1e-3, atol=1e-3)


def test_new_weights_are_attacked():
    torch.manual_seed(0)
    actor = gaussian()
    policy = attacked_policy(actor, push(actor))
    before = policy(data())["observation"]
    with torch.no_grad():
        actor[0].module[0].weight.neg_()
    assert torch.equal(policy(data())["observation"], -before)


def test_a_copy_attacks_itself():
    torch.manual_seed(0)
    policy = attacked_policy(actor := gaussian(), push(actor))
    twin = copy.deepcopy(policy)
    before = policy(data())["observation"]
    with torch.no_grad():
        twin[1][0].module[0].weight.neg_()
    assert torch.equal(policy(data())["observation"], before)
    assert torch.equal(twin(data())["observation"], -before)


def test_the_parameters_are_those_of_the_actor():
    actor = gaussian()
    policy = attacked_policy(actor, push(actor))
    assert {id(p) for p in policy.parameters()} == {id(p) for p in actor.parameters()}


def env():
    return TransformedEnv(GymEnv("Pendulum-v1"), AdversarialObs(Identity()))


def side(batch):
    """The share of perturbations to the positive side of the first feature."""
    return float((batch["observation"] > batch["clean_observation"])[..., 0].float().mean())


@torch.no_grad()
def point(actor, sign):
    """Weights of one sign: the attack pushes to the other side."""
    for p in actor.parameters():
        p.zero_()
    actor[0].module[0].weight[0, 0] = sign


def test_collector():
    actor = gaussian()
    point(actor, 1.0)
    collector = Collector(env, attacked_policy(actor, push(actor)), frames_per_batch=10, total_frames=20, **QUIET)
    batches = iter(collector)
    first = next(batches).clone()
    point(actor, -1.0)
    second = next(batches).clone()
    collector.shutdown()
    assert (side(first), side(second)) == (0.0, 1.0)
    assert torch.equal(first["next", "clean_observation"][:-1], first["clean_observation"][1:])
    # What the actor did not act on is as the environment gave it.
    assert torch.equal(first["next", "observation"], first["next", "clean_observation"])


@pytest.mark.slow
def test_collectors_in_other_processes_follow_the_weights():
    actor = gaussian()
    point(actor, 1.0)
    collector = MultiSyncCollector(
        [env, env],
        attacked_policy(actor, push(actor)),
        frames_per_batch=20,
        total_frames=80,
        cat_results="stack",
        **QUIET,
    )
    batches = iter(collector)
    first = side(next(batches))
    point(actor, -1.0)
    collector.update_policy_weights_()
    second = side(next(batches))
    collector.shutdown()
    assert (first, second) == (0.0, 1.0)


class TestReadsAlso:
    def test_a_sequence_is_changed_in_place(self):
        actor = gaussian()
        assert reads_also(actor, "clean_observation") is actor
        assert actor.in_keys == ["observation", "clean_observation"]
        out = actor(data())
        assert "clean_observation" not in out

    def test_a_bare_module_is_wrapped(self):
        actor = TensorDictModule(nn.Linear(3, 2), ["observation"], ["action"])
        wrapped = reads_also(actor, "clean_observation")
        assert isinstance(wrapped, TensorDictSequential)
        assert actor.in_keys == ["observation"]
        assert torch.equal(wrapped(data())["action"], actor(data())["action"])

    def test_twice_is_once(self):
        actor = reads_also(reads_also(gaussian(), "clean_observation"), "clean_observation", ("agents", "state"))
        assert actor.in_keys == ["observation", "clean_observation", ("agents", "state")]

    def test_it_can_still_be_attacked(self):
        actor = reads_also(gaussian(), "clean_observation")
        attack = RandomVertex(LinfBall(EPS))
        assert attacked_policy(actor, attack)(data())["action"].shape == (4, 1)
        assert ActionShift(actor)(torch.zeros(4, 3))(torch.ones(4, 3)).shape == (4,)
