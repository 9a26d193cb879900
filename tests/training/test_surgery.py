"""Gradient surgery: projections, what they promise to first order, and the update that uses them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensordict import TensorDict
from torch import nn
from torchjd.aggregation import MGDA, PCGrad, UPGrad

from advwrap.training.surgery import Surgery, pcgrad, protect_first
from advwrap.training.update import Update


def vectors(seed: int, n: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, generator=generator).double(), torch.randn(n, generator=generator).double()


@given(st.integers(0, 10_000), st.floats(0.01, 100.0))
def test_the_step_harms_neither(seed: int, factor: float) -> None:
    g, h = vectors(seed)
    step = pcgrad(g, h)
    assert torch.dot(step, g) >= -1e-9
    assert torch.dot(step, h) >= -1e-9
    if torch.dot(g, h) >= 0:
        assert torch.equal(step, g + h)
    torch.testing.assert_close(pcgrad(h, g), step)
    # What is cut off does not depend on the weights.
    along = [pcgrad(factor * g, h) - pcgrad(g, h), (factor - 1) * (g - torch.dot(g, h).clamp(max=0) / (h @ h) * h)]
    torch.testing.assert_close(*along, rtol=1e-6, atol=1e-9)


@given(st.integers(0, 10_000))
def test_the_first_is_protected(seed: int) -> None:
    g, h = vectors(seed)
    step = protect_first(g, h)
    assert torch.dot(step, g) >= torch.dot(g, g) * (1 - 1e-9)


@given(st.integers(0, 10_000))
def test_torchjd_agrees(seed: int) -> None:
    """Its PCGrad is written for any number of tasks."""
    g, h = vectors(seed)
    torch.testing.assert_close(PCGrad()(torch.stack([g, h])), pcgrad(g, h))


def test_an_aggregator_of_torchjd() -> None:
    """The step of least norm in the hull of both gradients: it is no worse for either of them."""
    surgery = Surgery("first", "second", MGDA())
    g, h = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([-1.0, 1.0, 0.0])
    (step,), cosine = surgery([g], [h], [torch.zeros(3)])
    assert step is not None
    torch.testing.assert_close(step, torch.tensor([0.2, 0.6, 0.0]))
    assert float(cosine) == pytest.approx(-(0.5**0.5))


@given(st.integers(0, 10_000))
def test_upgrad_is_half_of_pcgrad(seed: int) -> None:
    """Of two gradients: it projects each onto the cone that harms neither, and averages. (Its solver regularises.)"""
    g, h = vectors(seed)
    found = 2 * UPGrad()(torch.stack([g, h]))
    torch.testing.assert_close(found, pcgrad(g, h), rtol=0, atol=1e-3 * float(g.norm() + h.norm()))


def test_opposite_gradients_cancel() -> None:
    g = torch.tensor([1.0, -2.0, 0.5])
    assert not pcgrad(g, -g).any()
    torch.testing.assert_close(protect_first(g, -3 * g), g)


def test_no_gradient_is_no_conflict() -> None:
    g, zero = torch.tensor([1.0, 2.0]), torch.zeros(2)
    assert torch.equal(pcgrad(g, zero), g)
    assert torch.equal(protect_first(zero, g), g)


class Conflict(nn.Module):
    """Two terms that pull at `a`, one of them also at `b`, and a third that pulls at `b` and `c`."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(torch.zeros(2)) for _ in range(3))

    def forward(self, batch: TensorDict) -> TensorDict:
        return TensorDict(
            {
                "loss_actor": self.a @ torch.tensor([1.0, 0.0]),
                "loss_robust": self.a @ torch.tensor([-1.0, 1.0]) + self.b.sum(),
                "loss_critic": 5 * self.b.sum() + 7 * self.c.sum(),
            }
        )


def gradients(**options: object) -> tuple[list[list[float]], dict[str, torch.Tensor]]:
    loss = Conflict()
    update = Update([loss], torch.optim.SGD(loss.parameters(), lr=1.0), **options)  # type: ignore[arg-type]
    found, values = update.gradients(TensorDict({}, [1]))
    return [[] if g is None else g.tolist() for g in found], values


def test_only_the_two_terms_are_combined() -> None:
    """Of g = (1, 0 | 0, 0) and h = (-1, 1 | 1, 1) over (a | b); the third term is added as it is."""
    found, values = gradients(surgery=Surgery("loss_actor", "loss_robust"))
    first = torch.tensor([1.0, 0.0, 0.0, 0.0]) + torch.tensor([-1.0, 1.0, 1.0, 1.0]) / 4
    expected = first + torch.tensor([0.0, 1.0, 1.0, 1.0])
    torch.testing.assert_close(torch.tensor(found[0] + found[1]), expected + torch.tensor([0.0, 0.0, 5.0, 5.0]))
    assert found[2] == [7.0, 7.0]
    assert float(values["gradient_cosine"]) == pytest.approx(-0.5)
    plain, others = gradients()
    assert plain == [[0.0, 1.0], [6.0, 6.0], [7.0, 7.0]]
    assert "gradient_cosine" not in others


def test_weights_count_before_the_surgery() -> None:
    found, _ = gradients(surgery=Surgery("loss_actor", "loss_robust", protect_first), weights={"loss_robust": 2.0})
    assert found[:2] == [[1.0, 2.0], [7.0, 7.0]]


def test_a_term_that_rests_has_no_conflict() -> None:
    loss = Conflict()
    update = Update([loss], torch.optim.SGD(loss.parameters()), surgery=Surgery("loss_actor", "loss_robust"))
    found, values = update.gradients(TensorDict({}, [1]), ("loss_actor", "loss_robust"))
    assert found[0] is None
    assert found[1] is not None
    assert found[1].tolist() == [5.0, 5.0]
    assert "gradient_cosine" not in values


def test_the_cosine_stays_while_a_term_rests() -> None:
    """A log averages over updates, so every one has it; a checkpoint too."""

    def make() -> Update:
        loss, surgery = Conflict(), Surgery("loss_actor", "loss_robust")
        return Update([loss], torch.optim.SGD(loss.parameters(), lr=0.0), surgery=surgery, every={"loss_actor": 2})

    update, batch = make(), TensorDict({}, [1])
    values = [update(batch) for _ in range(3)]
    assert [float(v["gradient_cosine"]) for v in values] == pytest.approx([0.0, -0.5, -0.5])
    assert [float(v["gradient_conflict"]) for v in values] == [0.0, 1.0, 1.0]
    resumed = make()
    resumed.load_state_dict(update.state_dict())
    resumed.steps = 0  # so that it rests
    assert float(resumed(batch)["gradient_cosine"]) == pytest.approx(-0.5)


@pytest.mark.slow
def test_compiled_is_the_same() -> None:
    eager, compiled = Conflict(), Conflict()
    for loss, compile_ in ((eager, False), (compiled, True)):
        surgery = Surgery("loss_actor", "loss_robust")
        update = Update([loss], torch.optim.SGD(loss.parameters(), lr=0.1), surgery=surgery, compile=compile_)
        update(TensorDict({"x": torch.zeros(1)}, [1]))
    for one, other in zip(eager.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(one, other)
