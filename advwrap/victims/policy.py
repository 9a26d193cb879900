"""A victim policy as the objectives see it: pure tensor functions of the observation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from advwrap.victims.chain import Pullback
from advwrap.victims.context import Context
from advwrap.victims.heads import CategoricalHead, DeterministicHead, Head, Normal, NormalHead, OutputHead
from advwrap.victims.laws import Law
from advwrap.victims.network import Network

Score = Callable[[Tensor], Tensor]
"""``f(x [B, ...]) -> [B]``, row by row."""

Forward = Callable[[Tensor, Any], Any]


class Policy:
    """A victim policy: a pure function of the observation, and a head that reads its output.

    Args:
        forward: ``forward(observation, context) -> output``, or a `Network` of the observation alone.
        head: How the output becomes an action and a distribution.
        read: Applied to the output before the head.
        acting: A network of the observation alone whose output is the mean, where one is known.

    Shapes: observations [B, ...] -> mean [B, A] (or probabilities [B, n]).

    Example:
        >>> import torch
        >>> policy = Policy(lambda obs, context: obs * 2, DeterministicHead())
        >>> policy.mean(torch.ones(1, 3))
        tensor([[2., 2., 2.]])
    """

    def __init__(
        self,
        forward: Forward | Network,
        head: Head,
        *,
        read: Callable[[Any], Any] | None = None,
        acting: Network | None = None,
    ) -> None:
        self.network = forward if isinstance(forward, Network) else None
        self._forward = None if isinstance(forward, Network) else forward
        self.head = head
        self.read = read
        self.acting = acting

    def output(self, observation: Tensor, context: Context | None = None) -> Any:
        """What the head reads."""
        if self.network is not None:
            return self._read(self.network(observation))
        return self._read(self._forward(observation, context))  # type: ignore[misc]

    def mean(self, observation: Tensor, context: Context | None = None) -> Tensor:
        """The deterministic action [B, A] of a continuous policy, the probabilities [B, n] of a discrete one."""
        if self.acting is not None:
            return self.acting(observation)  # type: ignore[no-any-return]
        return self.head.mean(self.output(observation, context))

    def law(self, observation: Tensor, context: Context | None = None) -> Law:
        """The action distribution, before a tanh where there is one."""
        return self.head.law(self.output(observation, context))

    def draw(self, observation: Tensor, normal: Normal, context: Context | None = None) -> tuple[Tensor, Tensor]:
        """A random action [B, A] and its log-density [B]; a discrete policy's probabilities and minus its entropy.

        Args:
            observation: What the policy sees, [B, ...].
            normal: Returns numbers from N(0, 1) in the shape of its argument: `Streams.normal`, say. The action is a
                differentiable function of them, of the observation and of the policy's parameters.
            context: What else the policy reads.
        """
        return self.head.draw(self.output(observation, context), normal)

    def then(self, read: Callable[[Any], Any], score: Callable[[Any], Tensor], context: Context | None = None) -> Score:
        """The score x -> score(read(output at x)), known as a chain where the network is one.

        Args:
            read: From the policy's output to what is scored: `head.mean`, say.
            score: From there to one number per row.
            context: What else the policy reads.
        """
        network = self.network
        if self.acting is not None and self.acting.chain is not None and read == self.head.mean:
            return Chained(self.acting, self.acting.finish if self.acting.rest else None, score)
        if network is not None and network.chain is not None:
            return Chained(network, lambda y: read(self._read(network.finish(y))), score)
        return lambda x: score(read(self.output(x, context)))

    def _read(self, output: Any) -> Any:
        return output if self.read is None else self.read(output)

    def __repr__(self) -> str:
        return f"Policy({self.head})"


class Chained:
    """A score f(x) = score(read(chain(x))), which is differentiated without a graph through the chain.

    Args:
        network: A network whose `chain` is known.
        read: From the chain's output to what is scored; None where that is the output itself.
        score: From there to one number per row; its method `gradient`, if it has one, is its derivative.

    Example:
        >>> import torch
        >>> net = torch.nn.Linear(3, 2)
        >>> score = Chained(Network(net), None, lambda y: y.sum(-1))
        >>> y, pull = score.linearize(torch.zeros(5, 3))
        >>> torch.allclose(pull(torch.ones(5, 2)), net.weight.sum(0).expand(5, 3))
        True
    """

    def __init__(self, network: Network, read: Callable[[Tensor], Any] | None, score: Callable[[Any], Tensor]) -> None:
        self.network = network
        self.read = read
        self.score = score
        self._plain: bool | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """The score of every row."""
        return self.after(self.network.chained(x))

    def linearize(self, x: Tensor) -> tuple[Tensor, Pullback]:
        """The chain's output y at x, and the pullback of a gradient from there to x."""
        return self.network.linearize(x)

    def after(self, y: Tensor) -> Tensor:
        """The score as a function of the chain's output."""
        return self.score(y if self.read is None else self.read(y))

    def known_gradient(self, y: Tensor) -> Tensor | None:
        """The derivative of `after` where it is known in closed form."""
        derivative = getattr(self.score, "gradient", None)
        if derivative is None:
            return None
        if self._plain is None:
            self._plain = self.read is None or self.read(y) is y
        return derivative(y) if self._plain else None


def Deterministic(net: Callable[..., Any]) -> Policy:  # noqa: N802 - reads as the kind of policy that it makes
    """A network or callable whose output is the action itself, shape [B, A].

    Example:
        >>> import torch
        >>> from torch import nn
        >>> Deterministic(nn.Linear(3, 2)).mean(torch.zeros(1, 3)).shape
        torch.Size([1, 2])
    """
    return Policy(Network(net), DeterministicHead())


def Categorical(net: Callable[..., Any]) -> Policy:  # noqa: N802
    """A network or callable whose output is logits, or action values, shape [B, n].

    Example:
        >>> import torch
        >>> from torch import nn
        >>> bool(Categorical(nn.Linear(3, 2)).mean(torch.zeros(1, 3)).sum() - 1 < 1e-6)
        True
    """
    return Policy(Network(net), CategoricalHead())


def Gaussian(  # noqa: N802
    net: Callable[..., Any],
    std: Tensor | float | None = None,
    *,
    squash: Callable[[Tensor], Tensor] | None = None,
) -> Policy:
    """A network or callable whose output is (loc, scale), or loc alone with a given `std`.

    Args:
        net: observation [B, ...] -> (loc, scale), each [B, A]; or loc.
        std: The standard deviation where the network gives only loc: a number or one per action feature.
        squash: The map from the normal variable to the action, such as `torch.tanh`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> Gaussian(nn.Linear(3, 2), std=0.5, squash=torch.tanh).law(torch.zeros(1, 3)).scale
        tensor([[0.5000, 0.5000]])
    """
    return Policy(Network(net), NormalHead(squash, std))


def any_output(net: Callable[..., Any]) -> Policy:
    """A policy from a bare module or callable: what a call returns decides how it is read."""
    return Policy(Network(net), OutputHead())
