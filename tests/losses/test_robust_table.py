"""OA-PI for discrete actions: target and actor's term in closed form, and the fixed point on a random MDP."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torchrl.modules import MLP, MaskedCategorical, ProbabilisticActor, QValueActor, ValueOperator
from torchrl.objectives import SoftUpdate

from advwrap.losses import RobustTableLoss
from advwrap.testing.contracts import LossContract
from advwrap.testing.tabular import TabularMDP
from advwrap.victims import Categorical, Gaussian

STATES, ACTIONS, ROWS = 4, 3, 24


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batch() -> TensorDict:
    """One-hot states and actions."""
    generator = torch.Generator().manual_seed(5)

    def states() -> Tensor:
        return torch.eye(STATES, dtype=torch.float64)[torch.randint(STATES, (ROWS,), generator=generator)]

    action = torch.eye(ACTIONS, dtype=torch.float64)[torch.randint(ACTIONS, (ROWS,), generator=generator)]
    ended = torch.rand(ROWS, 1, generator=generator) < 0.3
    after = {"observation": states(), "reward": draw(ROWS, 1, seed=6), "terminated": ended, "done": ended}
    return TensorDict({"observation": states(), "action": action, "next": TensorDict(after, [ROWS])}, [ROWS])


def make(probability: float = 0.25, **options: Any) -> RobustTableLoss:
    """Linear in one-hot states: a table of logits and twin tables of values, other ones in the target."""
    torch.manual_seed(0)
    actor = Categorical(nn.Linear(STATES, ACTIONS, bias=False, dtype=torch.float64))
    tables = nn.Sequential(nn.Linear(STATES, ACTIONS, bias=False, dtype=torch.float64))
    operator = ValueOperator(tables, in_keys=["clean_observation"], out_keys=["action_value"])
    loss = RobustTableLoss(actor, operator, probability=probability, num_qvalue_nets=2, **options)
    SoftUpdate(loss, tau=0.25)
    for params, seed in ((loss.qvalue_network_params, 1), (loss.target_qvalue_network_params, 2)):
        params.data["module", "0", "weight"].copy_(draw(2, ACTIONS, STATES, seed=seed))
    return loss


def greedy_on_itself(probability: float = 0.25, **options: Any) -> RobustTableLoss:
    """A Q-network whose agent takes the best of its own values."""
    torch.manual_seed(0)
    tables = nn.Sequential(nn.Linear(STATES, ACTIONS, bias=False, dtype=torch.float64))
    actor = QValueActor(tables, in_keys=["observation"], action_space="one-hot")
    operator = ValueOperator(tables, in_keys=["clean_observation"], out_keys=["action_value"])
    loss = RobustTableLoss(actor, operator, probability=probability, greedy=True, **options)
    SoftUpdate(loss, tau=0.25)
    return loss


class TestRobustTableLoss(LossContract):
    def make_loss(self) -> RobustTableLoss:
        return make()

    def make_batch(self) -> TensorDict:
        return batch()


@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
def test_closed_form(p: float) -> None:
    loss, data = make(p, gamma=0.9), batch()
    online, target = (draw(2, ACTIONS, STATES, seed=seed).mT for seed in (1, 2))  # [E, S, A]
    s, following = (part["observation"].argmax(-1) for part in (data, data["next"]))
    a = data["action"].argmax(-1)
    probs = loss.policy.law(torch.eye(STATES, dtype=torch.float64)).probs.detach()
    least = target.amin(0)
    worth = (1 - p) * (probs * least).sum(1) + p * least.amin(1)
    aim = data["next", "reward"][:, 0] + 0.9 * (~data["next", "terminated"][:, 0]) * worth[following]
    found = loss(data)
    expected = (online[:, s, a] - aim).square().sum(0).mean()
    torch.testing.assert_close(found["loss_robust_qvalue"].detach(), expected)
    played = (probs * online.amin(0)).sum(1)[s]
    torch.testing.assert_close(found["loss_robust_actor"].detach(), -(1 - p) * played.mean())
    torch.testing.assert_close(found["action_damage"], (played - online.amin(0).amin(1)[s]).mean())


def test_forbidden_actions_are_no_worst_case() -> None:
    """Each state forbids another action, the one with the least value: neither target nor damage know of it."""
    p = 0.25
    net = TensorDictModule(nn.Linear(STATES, ACTIONS, bias=False, dtype=torch.float64), ["observation"], ["logits"])
    keys = {"logits": "logits", "mask": "action_mask"}
    actor = ProbabilisticActor(net, in_keys=keys, distribution_class=MaskedCategorical)
    tables = nn.Sequential(nn.Linear(STATES, ACTIONS, bias=False, dtype=torch.float64))
    operator = ValueOperator(tables, in_keys=["observation"], out_keys=["action_value"])
    loss = RobustTableLoss(actor, operator, probability=p, gamma=0.9, num_qvalue_nets=2)
    SoftUpdate(loss, tau=0.25)
    forbidden, worths, data = {}, {}, batch()
    for name, seed in (("qvalue_network_params", 1), ("target_qvalue_network_params", 2)):
        values = draw(2, ACTIONS, STATES, seed=seed)
        getattr(loss, name).data["module", "0", "weight"].copy_(values)
        worths[name] = values.amin(0).mT  # [S, A]
        forbidden[name] = worths[name].argmin(1)
    for part, name in ((data, "qvalue_network_params"), (data["next"], "target_qvalue_network_params")):
        state = part["observation"].argmax(-1)
        part["action_mask"] = ~nn.functional.one_hot(forbidden[name], ACTIONS).bool()[state]

    def worth(part: TensorDict, name: str) -> tuple[Tensor, Tensor]:
        state, mask = part["observation"].argmax(-1), part["action_mask"]
        probs = net.module.weight.detach().mT[state].masked_fill(~mask, -torch.inf).softmax(-1)
        least = worths[name][state]
        return (probs * least).sum(1), torch.where(mask, least, torch.inf).amin(1)

    obeyed, replaced = worth(data["next"], "target_qvalue_network_params")
    aim = data["next", "reward"][:, 0] + 0.9 * ~data["next", "terminated"][:, 0] * ((1 - p) * obeyed + p * replaced)
    executed = draw(2, ACTIONS, STATES, seed=1).mT[:, data["observation"].argmax(-1), data["action"].argmax(-1)]
    found = loss(data)
    torch.testing.assert_close(found["loss_robust_qvalue"].detach(), (executed - aim).square().sum(0).mean())
    played, worst = worth(data, "qvalue_network_params")
    torch.testing.assert_close(found["action_damage"], (played - worst).mean())


def test_the_policy_learns_what_it_can_decide() -> None:
    """The actor's gradient is that of the expectation alone, times 1 - p; the critics get none from it."""
    loss, data = make(0.25), batch()
    loss(data)["loss_robust_actor"].backward()
    (logits,) = loss.actor_network.parameters()
    found = logits.grad.clone()
    assert all(p.grad is None or not p.grad.any() for p in loss.qvalue_network_params.parameters())
    other = make(0.0)
    other(data)["loss_robust_actor"].backward()
    (plain,) = other.actor_network.parameters()
    torch.testing.assert_close(found, 0.75 * plain.grad)
    assert found.abs().max() > 0.01


@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("greedy", [False, True])
def test_the_fixed_point_is_the_value_of_the_game(p: float, greedy: bool) -> None:
    """Fitted to every transition of a random MDP at once: U = r + gamma F W(U), solved by iteration.

    Greedy on U itself it is the max-min value; by a policy of its own, the value of that policy.
    """
    mdp = TabularMDP.random(np.random.default_rng(3), states=STATES, observations=STATES, actions=ACTIONS, gamma=0.8)
    loss = greedy_on_itself(p, gamma=0.8) if greedy else make(p, gamma=0.8)
    probs = loss.policy.law(torch.eye(STATES, dtype=torch.float64)).probs.detach().numpy()
    exact = np.zeros((STATES, ACTIONS))
    for _ in range(200):
        obeyed = exact.max(1) if greedy else (probs * exact).sum(1)
        exact = mdp.backup((1 - p) * obeyed + p * exact.min(1))
    # Every (s, a), followed by every s' with the weight F(s' | s, a).
    s, a, t = (torch.from_numpy(i.reshape(-1)) for i in np.indices((STATES, ACTIONS, STATES)))
    states, actions = torch.eye(STATES, dtype=torch.float64), torch.eye(ACTIONS, dtype=torch.float64)
    ended = torch.zeros(len(s), 1, dtype=torch.bool)
    reward = torch.from_numpy(mdp.rewards)[s, a].unsqueeze(1)
    data = TensorDict({"observation": states[s], "action": actions[a]}, [len(s)])
    after = {"observation": states[t], "reward": reward, "terminated": ended, "done": ended}
    data["next"] = TensorDict(after, [len(s)])
    data["priority_weight"] = torch.from_numpy(mdp.transitions).reshape(-1)
    params = list(loss.qvalue_network_params.parameters())
    optimiser, updater = torch.optim.Adam(params, lr=0.05), SoftUpdate(loss, tau=0.1)
    for _ in range(600):
        for param, gradient in zip(params, torch.autograd.grad(loss(data)["loss_robust_qvalue"], params), strict=True):
            param.grad = gradient
        optimiser.step()
        updater.step()
    table = loss.target_qvalue_network_params.data["module", "0", "weight"].mT
    torch.testing.assert_close(table, torch.from_numpy(exact).expand_as(table), atol=0.05, rtol=0)


def test_a_greedy_agent_has_no_actor_to_train() -> None:
    """Its term moves nothing, and what it plays is its best action, not a sample."""
    loss, data = greedy_on_itself(), batch()
    found = loss(data)
    assert not found["loss_robust_actor"].requires_grad
    table = loss.policy.law(data["observation"]).logits.detach()
    torch.testing.assert_close(found["loss_robust_actor"], -0.75 * table.amax(1).mean())
    torch.testing.assert_close(found["action_damage"], (table.amax(1) - table.amin(1)).mean())


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="`probability` must be in"):
        make(1.5)
    with pytest.raises(ValueError, match="`gamma` must be in"):
        make(gamma=2.0)
    tables = ValueOperator(MLP(3, 2, depth=0), in_keys=["clean_observation"], out_keys=["action_value"])
    loss = RobustTableLoss(Gaussian(nn.Linear(3, 2), 0.5), tables, probability=0.1)
    SoftUpdate(loss, tau=0.5)
    data = TensorDict({"observation": torch.zeros(2, 3), "action": torch.eye(2)}, [2])
    data["next"] = TensorDict({"observation": torch.zeros(2, 3), "reward": torch.zeros(2, 1)}, [2])
    data["next", "terminated"] = torch.zeros(2, 1, dtype=torch.bool)
    with pytest.raises(TypeError, match="`actor` must be categorical"):
        loss(data)
