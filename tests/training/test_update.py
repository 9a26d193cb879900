"""The training step: a pure function of a batch, equal to what the losses say, eager and compiled."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import nn

from advwrap import LinfBall, RandomVertex
from advwrap.algorithms import OAPI, SAC, TD3, Defence, ValtEps
from advwrap.algorithms.off_policy_training import OffPolicyTraining
from advwrap.modules import Perturb
from advwrap.training.surgery import Surgery
from advwrap.training.update import Update


class Two(nn.Module):
    """Two terms with one parameter each, and something for the log."""

    def __init__(self, name: str = "") -> None:
        super().__init__()
        self.name = name
        self.a, self.b = (nn.Parameter(torch.tensor([1.0, 2.0])) for _ in range(2))

    def forward(self, batch: TensorDict) -> TensorDict:
        seen = batch["observation"].mean(0)
        batch["scratch"] = seen.expand(batch.shape[0], 2)
        values = {"loss_a": (self.a * seen).sum(), "loss_b": (self.b**2).sum(), "entropy": self.a.sum()}
        return TensorDict({name + self.name: value for name, value in values.items()})


def batch() -> TensorDict:
    return TensorDict({"observation": torch.tensor([[1.0, 3.0], [3.0, 5.0]])}, [2])


def stepped(**options: object) -> tuple[Two, TensorDict]:
    loss = Two()
    update = Update([loss], torch.optim.SGD(loss.parameters(), lr=1.0), **options)  # type: ignore[arg-type]
    return loss, update(batch())


def test_a_step_follows_the_sum_of_the_terms() -> None:
    loss, values = stepped()
    assert loss.a.tolist() == [1.0 - 2.0, 2.0 - 4.0]  # d/da sum(a * seen) = seen = (2, 4)
    assert loss.b.tolist() == [1.0 - 2.0, 2.0 - 4.0]  # d/db sum(b^2) = 2 b
    assert values["loss_a"] == 10.0
    assert values["entropy"] == 3.0
    assert not any(value.requires_grad for value in values.values())


def test_coefficients_multiply_terms_and_may_change() -> None:
    schedule = iter([3.0, 0.0])
    loss = Two()
    update = Update([loss], torch.optim.SGD(loss.parameters(), lr=1.0), weights={"loss_a": lambda: next(schedule)})
    update(batch())
    assert loss.a.tolist() == [1.0 - 6.0, 2.0 - 12.0]
    update(batch())
    assert loss.a.tolist() == [1.0 - 6.0, 2.0 - 12.0]


def test_a_delayed_term_moves_its_parameters_in_every_nth_step_only() -> None:
    loss = Two()
    update = Update([loss], torch.optim.Adam(loss.parameters()), every={"loss_a": 3})
    seen = []
    for _ in range(6):
        update(batch())
        seen.append(loss.a.tolist())
    assert seen[0] == seen[1] == [1.0, 2.0]
    assert seen[2] != seen[1]
    assert seen[3] == seen[4] == seen[2]
    assert seen[5] != seen[4]


def test_what_rests_keeps_its_last_value() -> None:
    """A log averages over updates, so every one has it; a checkpoint too."""
    loss = Two()
    update = Update([loss], torch.optim.SGD(loss.parameters(), lr=1.0), every={"loss_a": 2})
    assert [float(update(batch())["loss_a"]) for _ in range(4)] == [0.0, 10.0, 10.0, -10.0]
    resumed = Update([loss], torch.optim.SGD(loss.parameters(), lr=1.0), every={"loss_a": 2})
    resumed.load_state_dict(update.state_dict())
    assert float(resumed(batch())["loss_a"]) == -10.0


@pytest.mark.parametrize(
    ("argument", "value"),
    [("every", {"loss_c": 2}), ("weights", {"loss_c": 2.0}), ("surgery", Surgery("loss_a", "loss_c"))],
)
def test_a_name_that_is_no_value(argument: str, value: Any) -> None:
    loss = Two()
    update = Update([loss], torch.optim.SGD(loss.parameters(), lr=1.0), **{argument: value})
    with pytest.raises(ValueError, match=rf"`{argument}` must name values of the losses, .*loss_a.*, got loss_c"):
        update(batch())


def test_two_losses_with_one_name() -> None:
    """The first one's term would be lost without a word."""
    losses = Two(), Two()
    optimiser = torch.optim.SGD([p for loss in losses for p in loss.parameters()], lr=1.0)
    with pytest.raises(ValueError, match="`losses` must return different names, got loss_a, loss_b, entropy twice"):
        Update(losses, optimiser)(batch())


def test_nothing_of_a_resting_actor_is_left() -> None:
    """What is logged has to be computed: a compiled graph would search for the actor's worst action in vain."""
    training = OffPolicyTraining(TD3("Pendulum-v1", OAPI(0.3, ramp=(0.0, 0.0)), hidden=(8,), seed=0))
    everything, resting = (
        set(training.update.gradients(transitions(0), tuple(names))[1]) for names in ((), training.update.every)
    )
    assert everything - resting == {"loss_actor", "loss_robust_actor", "robust_value", "gradient_cosine"}
    assert resting == {"loss_qvalue", "loss_robust_qvalue", "td_error"}


def test_the_batch_stays_as_it_is() -> None:
    given = batch()
    loss = Two()
    perturb = Perturb(RandomVertex(LinfBall(0.5)), next=False, seed=0)
    Update([loss], torch.optim.SGD(loss.parameters(), lr=1.0), prepare=[perturb])(given)
    assert set(given.keys()) == {"observation"}
    assert torch.equal(given["observation"], batch()["observation"])


def test_no_loss() -> None:
    with pytest.raises(ValueError, match="`losses` must hold at least one"):
        Update([], torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0))


def sac(*, compile: bool) -> OffPolicyTraining:  # noqa: A002
    """A small VALT-EPS with all of its parts, in the middle of its schedules."""
    valt = ValtEps(0.3, regulariser=2.0)
    config = SAC("Pendulum-v1", valt, hidden=(16, 16), steps=400, random_steps=40, compile=compile, seed=0)
    training = OffPolicyTraining(config)
    for schedule in training.hardening.schedules:
        schedule.t = 200
    return training


def transitions(seed: int) -> TensorDict:
    generator = torch.Generator().manual_seed(seed)
    rows = 32

    def draw(size: int) -> torch.Tensor:
        return torch.randn(rows, size, generator=generator)

    flags = {name: torch.zeros(rows, 1, dtype=torch.bool) for name in ("done", "terminated")}
    following = TensorDict({"raw_observation": draw(3), "reward": draw(1), **flags}, [rows])
    return TensorDict({"raw_observation": draw(3), "action": draw(1).tanh(), "next": following}, [rows])


def test_gradients_are_those_of_backward() -> None:
    other, training = sac(compile=False), sac(compile=False)  # the same weights and random streams
    torch.manual_seed(1)
    found, _ = other.update.gradients(transitions(0))
    torch.manual_seed(1)
    prepared = transitions(0)
    for stage in training.update.prepare:
        prepared = stage(prepared)
    total = sum(
        value for loss in training.update.losses for name, value in loss(prepared).items() if name.startswith("loss_")
    )
    total.backward()  # type: ignore[union-attr]
    for p, grad in zip(training.update.params, found, strict=True):
        torch.testing.assert_close(p.grad, grad)


@pytest.mark.slow
def test_one_compiled_graph_begins_as_the_eager_update() -> None:
    """With SAC, whose actions are drawn; without chance the steps are compared below."""
    eager, compiled = sac(compile=False), sac(compile=True)
    for training in (eager, compiled):
        torch.manual_seed(1)
        training.values = [training.update(transitions(i)) for i in range(3)]  # type: ignore[attr-defined]
    # Actions are drawn from another generator inside a graph: what does not depend on them must agree.
    theirs, ours = ([step["smooth_divergence"] for step in t.values] for t in (eager, compiled))  # type: ignore[attr-defined]
    torch.testing.assert_close(theirs[0], ours[0], rtol=1e-4, atol=1e-6)
    assert compiled.update.steps == 3
    for p in compiled.update.params:
        assert p.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "defence", [OAPI(0.3, ramp=(0.0, 0.0)), ValtEps(0.3, ramp=(0.0, 0.0))], ids=["OA-PI", "VALT-EPS"]
)
def test_a_compiled_update_takes_the_same_steps(defence: Defence) -> None:
    """Searches, robust critics, surgery, the delayed actor and what moves with time; on TD3 without noise, no chance.

    There are two graphs, with the actor and without it: neither is compiled again, whatever the losses learn of
    themselves when they are first called.
    """
    learned, graphs = [], torch._dynamo.utils.counters["stats"]
    for compiled in (False, True):
        config = TD3("Pendulum-v1", defence, hidden=(16, 16), target_noise=0.0, compile=compiled, seed=0)
        training, before, values = OffPolicyTraining(config), graphs["unique_graphs"], []
        for i in range(4):
            values.append(training.update(transitions(i)))
            training.hardening.schedules[0].t = i
        assert graphs["unique_graphs"] - before == 2 * compiled
        learned.append((values[-1].to_dict(), [p.detach().clone() for p in training.update.params]))
    (ours, weights), (theirs, compiled_weights) = learned
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-3, atol=1e-4, msg=name)
    for p, other in zip(weights, compiled_weights, strict=True):
        torch.testing.assert_close(p, other, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_one_process_has_room_for_many_compiled_updates() -> None:
    """Of trainings that differ: torch gives up after eight graphs of one function by default."""
    for number in range(1, 11):
        losses = [Two(f"_{i}") for i in range(number)]
        params = [p for loss in losses for p in loss.parameters()]
        update = Update(losses, torch.optim.SGD(params, lr=1.0), compile=True)
        update(batch())
        torch.testing.assert_close(losses[-1].b.data, torch.tensor([-1.0, -2.0]))


class Factor(nn.Module):
    """A term with a number that somebody may change."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.factor = nn.Parameter(torch.ones(())), 2.0

    def forward(self, batch: TensorDict) -> TensorDict:
        return TensorDict({"loss_a": self.factor * self.a})


def test_a_compiled_update_sees_what_changes_in_its_losses() -> None:
    """A number in a loss is a constant of the graph, and a change of it makes another one."""
    loss = Factor()
    update = Update([loss], torch.optim.SGD(loss.parameters(), lr=1.0), compile=True)
    found = []
    for loss.factor in (2.0, 3.0):
        update(batch())
        found.append(loss.a.item())
    assert found == [-1.0, -4.0]
