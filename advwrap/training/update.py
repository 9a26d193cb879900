"""One training step as a pure function: a batch in, gradients out; the optimiser stands outside."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor, nn
from torchrl.trainers.trainers import OptimizationStepper

from advwrap.errors import check
from advwrap.sets.coefficient import Coefficient, present
from advwrap.training.surgery import Surgery

Stage = Callable[[TensorDictBase], TensorDictBase]


class Update(OptimizationStepper):  # type: ignore[misc]
    """Prepare a batch, add up the losses, take the gradients: one function, eager or one compiled graph.

    ::

        total = sum_k c_k loss_k(prepared batch),   g = d total / d (all parameters of all losses)

    Every entry ``loss_*`` of every loss is a term, so each loss must detach what it does not train (TorchRL's do). The
    unmodified `SACLoss`, compiled with its attack in one graph, is as fast as an update written by hand.

    It is the `optimization_stepper` of a TorchRL `Trainer`, and can be called without one.

    Args:
        losses: Modules from a tensordict to scalars, named ``loss_*`` where they are to be minimised; what else is a
            scalar is for the log.
        optimizer: Over the parameters of all losses.
        prepare: What is done to a batch first: normalise, perturb.
        weights: Coefficients of terms, by name; 1 by default. A schedule is asked at every step.
        surgery: Two terms whose gradients are combined instead of added; their cosine is in the values, as
            "gradient_cosine"; "gradient_conflict" is 1 where it is negative, so that its mean is the rate of conflicts.
        every: Values that are there only in every n-th step, by name: the term of a delayed actor, whose parameters
            stay in between, and what is logged with it. In between they are what they were (0 at first), as the cosine
            is, and a compiled graph does not compute them.
        compile: Whether to compile the function into one graph; on a GPU with CUDA graphs.

    Reads: What the losses read.

    Example:
        >>> from torch import nn
        >>> class Square(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.w = nn.Parameter(torch.tensor(2.0))
        ...     def forward(self, batch):
        ...         return TensorDict({"loss_square": (self.w * batch["x"]).square().mean()})
        >>> square = Square()
        >>> update = Update([square], torch.optim.SGD(square.parameters(), lr=0.25))
        >>> update(TensorDict({"x": torch.ones(4)}, [4]))["loss_square"], square.w.data
        (tensor(4.), tensor(1.))
    """

    def __init__(
        self,
        losses: Sequence[nn.Module],
        optimizer: torch.optim.Optimizer,
        *,
        prepare: Sequence[Stage] = (),
        weights: Mapping[str, Coefficient] | None = None,
        every: Mapping[str, int] | None = None,
        surgery: Surgery | None = None,
        compile: bool = False,  # noqa: A002 - the field's word
    ) -> None:
        check(len(losses) > 0, "`losses` must hold at least one loss, got none.")
        self.losses = list(losses)
        self.optimizer = optimizer
        self.prepare = list(prepare)
        self.weights = dict(weights or {})
        self.every = dict(every or {})
        self.surgery = surgery
        self.params = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        self.steps = 0
        self.held: dict[str, Tensor] = {}
        """The last values of what rests now and then."""
        self._gradients = self.gradients
        if compile:
            for loss in self.losses:
                # TorchRL's losses work their keys out when first asked: a graph from before that is compiled again.
                getattr(loss, "in_keys", None)
            self._gradients = _one_graph(self.gradients, self.params[0].device)

    def __call__(self, batch: TensorDictBase) -> TensorDict:
        """Take one step; the values of the losses, detached."""
        self.steps += 1
        resting = tuple(sorted(name for name, n in self.every.items() if self.steps % n))
        gradients, values = self._gradients(batch, resting)
        for p, grad in zip(self.params, gradients, strict=True):
            # Adam's fused kernel on the CPU takes for granted that a gradient is laid out like its parameter.
            p.grad = None if grad is None else grad.contiguous()
        self.optimizer.step()
        for name in self._resting_sometimes():
            self.held[name] = values.setdefault(name, self.held.get(name, torch.zeros(()))).clone()
        if self.surgery is not None:
            values["gradient_conflict"] = (values["gradient_cosine"] < 0).float()
        # The next replay of a CUDA graph overwrites what this one returned.
        return TensorDict({name: value.clone() if value.is_cuda else value for name, value in values.items()})

    def gradients(
        self, batch: TensorDictBase, resting: tuple[str, ...] = ()
    ) -> tuple[list[Tensor | None], dict[str, Tensor]]:
        """The gradients of all parameters, and the values; the batch stays as it is.

        Args:
            batch: Transitions.
            resting: Names of values that are not there this time.

        Raises:
            ValueError: If `weights`, `every` or `surgery` name what no loss returns, or two return one name.
        """
        batch = batch.copy()  # networks write what they compute into their input
        for stage in self.prepare:
            batch = stage(batch)
        values: dict[str, Tensor] = {}
        for loss in self.losses:
            found = {str(name): value for name, value in loss(batch).items()}
            _check_new(found, values)
            values.update(found)
        self._check_names(values)
        values = {name: value for name, value in values.items() if name not in resting}
        terms = {name: self._weight(name) * value for name, value in values.items() if name.startswith("loss_")}
        gradients = self._resolved(terms, values)
        # What a batch contributes to a prioritised replay buffer.
        if (priority := batch.get("td_error", None)) is not None:
            values["td_error"] = priority
        shown = {name: value.detach() for name, value in values.items() if value.ndim == 0 or name == "td_error"}
        return [g if g is None else g.detach() for g in gradients], shown

    def _resolved(self, terms: dict[str, Tensor], values: dict[str, Tensor]) -> Sequence[Tensor | None]:
        """The gradients of the sum, but for those that surgery combines."""
        surgery = self.surgery
        if surgery is None or surgery.first not in terms or surgery.second not in terms:
            return _gradients(sum(terms.values()), self.params)
        first, second = (
            _gradients(terms.pop(name), self.params, keep=True) for name in (surgery.first, surgery.second)
        )
        combined, values["gradient_cosine"] = surgery(first, second, self.params)
        if not terms:
            return combined
        rest = _gradients(sum(terms.values()), self.params)
        return [g if r is None else r if g is None else g + r for g, r in zip(combined, rest, strict=True)]

    def _check_names(self, values: Mapping[str, Tensor]) -> None:
        surgery = () if self.surgery is None else (self.surgery.first, self.surgery.second)
        for argument, names in (("weights", self.weights), ("every", self.every), ("surgery", surgery)):
            unknown = [name for name in names if name not in values]
            check(
                not unknown,
                f"`{argument}` must name values of the losses, {', '.join(values)}, got {', '.join(unknown)}.",
            )

    def _resting_sometimes(self) -> list[str]:
        names = [name for name, n in self.every.items() if n > 1]
        return names if self.surgery is None else [*names, "gradient_cosine"]

    def _weight(self, name: str) -> float | Tensor:
        return present(self.weights.get(name, 1.0))

    def step(self, trainer: Any, sub_batch: TensorDictBase) -> TensorDict:
        """One step inside a TorchRL `Trainer`."""
        values = self(sub_batch)
        if "td_error" in values:
            sub_batch.set("td_error", values.pop("td_error"))
            trainer._post_loss_hook(sub_batch)  # a trainer calls it only where it computes the loss itself
        return values

    def state_dict(self) -> dict[str, Any]:
        """The optimiser's state, the number of steps, and what is held."""
        return {"optimizer": self.optimizer.state_dict(), "steps": self.steps, "held": dict(self.held)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps, self.held = int(state["steps"]), dict(state["held"])


def _check_new(found: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Of two values with one name the first would be lost, and what it trains would stay as it is."""
    twice = [name for name in found if name in values]
    check(
        not twice,
        f"`losses` must return different names, got {', '.join(twice)} twice.",
        fix="give one of them its own: class Mine(TheLoss): def forward(self, batch): rename what it returns.",
    )


def _gradients(total: Any, params: Sequence[Tensor], *, keep: bool = False) -> Sequence[Tensor | None]:
    return torch.autograd.grad(total, params, allow_unused=True, retain_graph=keep)


def _one_graph(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """The function as a single compiled graph, `torch.autograd.grad` included."""
    compiled = torch.compile(function, fullgraph=True, mode="reduce-overhead" if device.type == "cuda" else None)

    def traced(*arguments: Any) -> Any:
        # Every update of a process has its graph: the agents', their adversaries', those of several seeds.
        with (
            warnings.catch_warnings(),
            torch._dynamo.config.patch(trace_autograd_ops=True, recompile_limit=64),
        ):
            # tensordict 0.14 asks torch 2.13 for it
            warnings.filterwarnings("ignore", ".*inline_inbuilt_nn_modules", FutureWarning)
            return compiled(*arguments)

    return traced
