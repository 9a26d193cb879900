"""What every loss owes to the optimiser, the replay buffer and the checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from advwrap.testing.contracts.rules import assert_untouched, same_bits, snapshot

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from torchrl.objectives import LossModule


class LossContract:
    """Inherit it in a test class named ``Test...`` and override `make_loss` and `make_batch`.

    Example:
        >>> from tensordict import TensorDict
        >>> from tensordict.nn import TensorDictModule
        >>> from torchrl.modules import ValueOperator
        >>> from torchrl.objectives import DDPGLoss
        >>> class TestMyLoss(LossContract):
        ...     def make_loss(self):
        ...         actor = TensorDictModule(nn.Linear(3, 1), in_keys=["observation"], out_keys=["action"])
        ...         critic = ValueOperator(nn.Bilinear(3, 1, 1), in_keys=["observation", "action"])
        ...         return DDPGLoss(actor, critic, delay_value=False)
        ...     def make_batch(self):
        ...         return TensorDict(
        ...             observation=torch.randn(5, 3),
        ...             action=torch.randn(5, 1),
        ...             next=TensorDict(
        ...                 observation=torch.randn(5, 3),
        ...                 reward=torch.randn(5, 1),
        ...                 done=torch.zeros(5, 1, dtype=torch.bool),
        ...                 terminated=torch.zeros(5, 1, dtype=torch.bool),
        ...                 batch_size=5,
        ...             ),
        ...             batch_size=5,
        ...         )
        >>> TestMyLoss().test_losses_are_finite_scalars()
    """

    def make_loss(self) -> LossModule:
        """A new loss with new networks."""
        raise NotImplementedError("override make_loss()")

    def make_batch(self) -> TensorDictBase:
        """A sample as the replay buffer or the collector gives it."""
        raise NotImplementedError("override make_batch()")

    def others(self, loss: LossModule) -> Sequence[nn.Module]:
        """Modules that the loss uses and must not train: victims, the critics of an attack; none by default."""
        return ()

    def test_losses_are_finite_scalars(self) -> None:
        """Everything named ``loss_...`` is a finite scalar with a gradient, and `out_keys` says so."""
        loss, batch = self.make_loss(), self.make_batch()
        out = self._call(loss, batch)
        names = [key for key in out.keys() if key.startswith("loss_")]  # noqa: SIM118 - a TensorDict
        assert names, f"a loss must return 'loss_...' keys, got {list(out.keys())}."
        undeclared, missing = set(names) - set(loss.out_keys), set(loss.out_keys) - set(out.keys())
        assert not undeclared, f"every 'loss_...' key must be in `out_keys`, which lacks {undeclared}."
        assert not missing, f"every key of `out_keys` must be returned, missing {missing}."
        for name in names:
            assert out[name].shape == (), f"{name!r} must be a scalar, got {out[name].shape}."
            assert out[name].isfinite(), f"{name!r} must be finite, got {out[name]}."
            assert out[name].requires_grad, f"{name!r} must have a gradient."

    def test_gradients_reach_its_parameters_and_nothing_else(self) -> None:
        """Every trainable parameter gets a finite gradient; targets, victims and the batch get none."""
        loss, batch = self.make_loss(), self.make_batch()
        others = self.others(loss)
        before, kept = snapshot(others), batch.clone()
        total = self._total(self._call(loss, batch))
        for key in kept.keys(True, True):
            assert same_bits(batch[key], kept[key]), f"the loss must not change {key!r} of the batch."
        torch.autograd.backward(total)
        trained = {name: p for name, p in loss.named_parameters() if p.requires_grad}
        assert trained, "a loss must expose the parameters that it trains (a network in a dataclass is invisible)."
        for name, p in trained.items():
            assert p.grad is not None, f"{name!r} is a parameter of the loss, but gets no gradient."
            assert p.grad.isfinite().all(), f"the gradient of {name!r} must be finite."
            assert "target" not in name, f"{name!r} is a target and must not be trained."
        assert_untouched(others, before)

    def test_in_keys_are_enough(self) -> None:
        """The loss reads nothing that it does not declare."""
        loss, batch = self.make_loss(), self.make_batch()
        state = copy.deepcopy(loss.state_dict())
        full = self._total(self._call(loss, batch.clone()))
        loss.load_state_dict(state, strict=False)  # a loss that attacks draws from streams of its own
        lean = self._total(self._call(loss, batch.select(*loss.in_keys, strict=False)))
        assert same_bits(full, lean), "a key that is not in `in_keys` must not be read."

    def test_state_dict_is_everything(self) -> None:
        """A new loss with the loaded state gives the same numbers."""
        first, second, batch = self.make_loss(), self.make_loss(), self.make_batch()
        second.load_state_dict(first.state_dict())
        a, b = (self._total(self._call(loss, batch.clone())) for loss in (first, second))
        assert same_bits(a, b), "`state_dict` must hold everything that the loss depends on."

    def _call(self, loss: LossModule, batch: TensorDictBase) -> Any:
        # Losses may sample actions from torch's global generator: always from the same state here.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return loss(batch)

    def _total(self, out: Any) -> Tensor:
        return torch.stack([out[key] for key in out.keys() if key.startswith("loss_")]).sum()  # noqa: SIM118
