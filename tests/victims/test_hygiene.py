"""An attack leaves no trace in its victim: not after success, not after an exception half-way."""

import copy
import io
import pickle
from contextlib import nullcontext

import pytest
import torch
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import nn
from torchrl.modules import MLP, GRUModule, LSTMModule, ValueOperator
from torchrl.objectives import SACLoss, SoftUpdate

from advwrap import FGSM, PGD, ActionShift, LinfBall, LowValue, PolicyKL
from advwrap.victims import as_policy
from tests.victims.torchrl_actors import ACTIONS, FEATURES, context, greedy, masked, mlp, normal, observations, trunk


def normalised():
    net = nn.Sequential(nn.Linear(FEATURES, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, ACTIONS))
    return TensorDictModule(net, ["observation"], ["action"])


def recurrent(layer, states):
    memory = layer(
        input_size=FEATURES,
        hidden_size=8,
        in_keys=["observation", *states],
        out_keys=["embedding", *(("next", state) for state in states)],
    )
    return TensorDictSequential(memory, TensorDictModule(nn.Linear(8, ACTIONS), ["embedding"], ["action"]))


VICTIMS = {
    "TanhNormal": normal,
    "trunk": trunk,
    "MaskedCategorical": masked,
    "QValueActor": greedy,
    "BatchNorm and Dropout": normalised,
    "BatchNorm, no TensorDict": lambda: normalised().module,
    "GRU": lambda: recurrent(GRUModule, ["h"]),
    "LSTM": lambda: recurrent(LSTMModule, ["h", "c"]),
    "MLP": lambda: MLP(
        FEATURES, ACTIONS, num_cells=[8], dropout=0.5, norm_class=nn.LayerNorm, norm_kwargs={"normalized_shape": 8}
    ),
}
every_victim = pytest.mark.parametrize("name", VICTIMS)


def made(name):
    torch.manual_seed(0)
    return VICTIMS[name]()


def given():
    generator = torch.Generator().manual_seed(3)
    hidden = {name: torch.randn(7, 1, 8, generator=generator) for name in ("h", "c")}
    return {**context(), **hidden, "is_init": torch.zeros(7, 1, dtype=torch.bool)}


def trace(module, surroundings):
    """Everything that an attack might have changed, as bytes and flags."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    values = {name: value.detach().clone() for name, value in tensors.items()}
    grads = {name: None if p.grad is None else p.grad.clone() for name, p in module.named_parameters()}
    flags = [(p.requires_grad, p.is_leaf) for p in module.parameters()], [m.training for m in module.modules()]
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in module.modules()]
    return values, grads, flags, hooks, {k: v.clone() for k, v in surroundings.items()}, torch.get_rng_state()


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


MODES = {"plain": nullcontext, "no_grad": torch.no_grad, "inference_mode": torch.inference_mode}


@every_victim
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("training", [True, False])
def test_no_trace_and_the_same_result_in_every_mode(name, mode, training):
    victim, x = made(name).train(training), observations()
    for p in victim.parameters():
        p.grad = torch.ones_like(p)
    surroundings = given()
    before = trace(victim, surroundings)
    attack = PGD(ActionShift(victim), within=LinfBall(0.3), steps=3)
    with MODES[mode]():
        inside = attack(x.clone(), context=given(), generator=torch.Generator().manual_seed(0))
    outside = attack(x, context=surroundings, generator=torch.Generator().manual_seed(0))
    assert torch.equal(inside, outside)
    assert (outside != x).any()
    assert not outside.requires_grad
    assert equal(trace(victim, surroundings), before)


@every_victim
def test_no_trace_after_an_exception_half_way(name):
    victim, x, surroundings = made(name).train(), observations(), given()
    calls = []

    def interrupt(module, inputs, output):
        calls.append(module)
        if len(calls) == 3:
            raise ZeroDivisionError

    layer = [m for m in victim.modules() if isinstance(m, (nn.Linear, nn.RNNBase))][-1]
    handle = layer.register_forward_hook(interrupt)
    before = trace(victim, surroundings)
    with pytest.raises(ZeroDivisionError):
        PGD(ActionShift(victim), within=LinfBall(0.3))(x, context=surroundings)
    assert equal(trace(victim, surroundings), before)
    handle.remove()


def test_a_frozen_victim_stays_frozen():
    victim = made("TanhNormal").requires_grad_(False)
    PGD(PolicyKL(victim), within=LinfBall(0.3))(observations())
    assert not any(p.requires_grad for p in victim.parameters())


def test_eval_mode_is_what_is_attacked():
    victim, x = made("BatchNorm and Dropout"), observations()
    attack = PGD(ActionShift(victim), within=LinfBall(0.3), steps=3)
    results = []
    for training in (True, False):
        victim.train(training)
        results.append(attack(x, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(*results)


def test_partly_trained_victims_keep_their_modes():
    victim = made("BatchNorm and Dropout").train()
    victim.module[1].eval()
    modes = [m.training for m in victim.modules()]
    FGSM(LowValue(victim, lambda s, a: a.sum(-1)), within=LinfBall(0.3))(observations())
    assert [m.training for m in victim.modules()] == modes


def twin_loss():
    torch.manual_seed(0)
    q = ValueOperator(mlp(1, inputs=FEATURES + ACTIONS), in_keys=["observation", "action"])
    loss = SACLoss(normal(), q, num_qvalue_nets=2, target_entropy=-3.0)
    SoftUpdate(loss, tau=0.1)
    return loss


@pytest.mark.parametrize("mode", MODES)
def test_no_trace_in_a_loss(mode):
    loss, x = twin_loss(), observations()
    for p in loss.parameters():
        p.grad = torch.ones_like(p)
    before = trace(loss, {})
    attack = PGD(LowValue(loss.actor_network, loss), within=LinfBall(0.3), steps=3)
    with MODES[mode]():
        attack(x.clone())
    assert equal(trace(loss, {}), before)


class TestCopies:
    """A copy of an attack attacks the copied victim; nothing of it holds on to the original."""

    @every_victim
    def test_deepcopy_follows_the_copy(self, name):
        victim, x = made(name), observations()
        attack, twin = copy.deepcopy((PGD(ActionShift(victim), within=LinfBall(0.3)), victim))
        before = attack(x, context=given(), generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            for p in victim.parameters():
                p.zero_()
        after = attack(x, context=given(), generator=torch.Generator().manual_seed(0))
        assert torch.equal(before, after)
        with torch.no_grad():
            for p in twin.parameters():
                p.add_(torch.linspace(-1, 1, p.numel()).view_as(p))
        assert not torch.equal(attack.objective.policy.mean(x, given()), as_policy(victim).mean(x, given()))
        after = attack(x, context=given(), generator=torch.Generator().manual_seed(0))
        assert not torch.equal(before, after)

    @every_victim
    def test_pickle_gives_the_same_bits(self, name):
        victim, x = made(name), observations()
        attack = PGD(ActionShift(victim), within=LinfBall(0.3))
        twin = pickle.loads(pickle.dumps(attack))  # noqa: S301 - our own bytes
        numbers = [f(x, context=given(), generator=torch.Generator().manual_seed(0)) for f in (attack, twin)]
        assert torch.equal(*numbers)

    def test_a_loss_and_its_attack(self):
        loss, x = twin_loss(), observations()
        attack = PGD(LowValue(loss.actor_network, loss), within=LinfBall(0.3))
        twin, loss_twin = copy.deepcopy((attack, loss))
        before = twin(x, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            for p in loss.parameters():
                p.zero_()
        assert torch.equal(twin(x, generator=torch.Generator().manual_seed(0)), before)
        with torch.no_grad():
            for p in loss_twin.parameters():
                p.mul_(-2)
        assert not torch.equal(twin(x, generator=torch.Generator().manual_seed(0)), before)

    def test_weights_that_are_swapped_for_others(self):
        """What collectors do while they send a policy to another process."""
        victim, x = made("TanhNormal"), observations()
        policy = as_policy(victim)
        here = policy.mean(x)
        state = {name: p.detach().clone() for name, p in victim.named_parameters()}
        victim.to("meta")
        buffer = io.BytesIO()
        torch.save(policy, buffer)
        buffer.seek(0)
        there = torch.load(buffer, weights_only=False)
        for module in (victim, there.network.module):
            names = [name.removeprefix("module.0.module.") for name in state]
            own = dict(zip(names, state.values(), strict=True))
            target = module if module is not victim else victim.module[0].module
            for name, value in own.items():
                owner = target.get_submodule(name.rpartition(".")[0])
                setattr(owner, name.rpartition(".")[2], nn.Parameter(value))
        assert torch.equal(policy.mean(x), here)
        assert torch.equal(there.mean(x), here)


def test_a_network_of_another_task_is_named() -> None:
    """The commonest mistake; torch would speak of mat1 and mat2."""
    observation = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"of the victim or of its critic takes 4 features, got 3\. Fix: the network"):
        PGD(ActionShift(nn.Linear(4, 1)), within=LinfBall(0.1))(observation)
    with pytest.raises(ValueError, match="takes 4 features, got 5"):
        PGD(LowValue(nn.Linear(3, 2), nn.Linear(4, 1)), within=LinfBall(0.1))(observation)
