"""What attack libraries and noise wrappers do with the inputs of reinforcement learning: the promises of the README.

    python benchmarks/promises.py

PGD-10 in the L-infinity ball, eps 0.05, on an MLP with 17 inputs, by ours, foolbox, torchattacks and ART; and the
wrappers of noisyenv beside ours. Every probe is made in the same way for all, and its finding is printed, an error by
its kind and first line. A peer that is not installed is left out. `make bench` installs all but noisyenv, which brings
a package `tests` that would stand beside ours:

    pip install --no-deps --target build/noisyenv noisyenv==0.1.1
    PYTHONPATH=build/noisyenv python benchmarks/promises.py
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor, nn

from advwrap import PGD, AdversarialObs, AvoidAction, GaussianNoise, LinfBall
from advwrap.victims import Categorical

EPS, STEPS, FEATURES, ACTIONS = 0.05, 10, 17, 6

Attack = Callable[[nn.Module, Tensor, Any], Tensor]
"""``attack(net, clean, eps) -> perturbed``."""


def ours(net: nn.Module, clean: Tensor, eps: Any) -> Tensor:
    """advwrap.PGD, as random as a user leaves it."""
    return PGD(AvoidAction(Categorical(net)), within=LinfBall(eps), steps=STEPS)(clean)


def with_foolbox(net: nn.Module, clean: Tensor, eps: Any) -> Tensor:
    """foolbox.attacks.LinfPGD."""
    import foolbox

    model = foolbox.PyTorchModel(net, bounds=(0, 1))
    attack = foolbox.attacks.LinfPGD(rel_stepsize=2.5 / STEPS, steps=STEPS, random_start=True)
    return attack(model, clean, label(net, clean), epsilons=eps)[1]


def with_torchattacks(net: nn.Module, clean: Tensor, eps: Any) -> Tensor:
    """torchattacks.PGD."""
    import torchattacks

    attack = torchattacks.PGD(net, eps=eps, alpha=2.5 * eps / STEPS, steps=STEPS, random_start=True)
    return attack(clean, label(net, clean))


def with_art(net: nn.Module, clean: Tensor, eps: Any) -> Tensor:
    """art.attacks.evasion.ProjectedGradientDescentPyTorch."""
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    eps = eps.numpy() if isinstance(eps, Tensor) else eps  # it takes arrays
    model = PyTorchClassifier(net, loss=nn.CrossEntropyLoss(), input_shape=(FEATURES,), nb_classes=ACTIONS)
    attack = ProjectedGradientDescentPyTorch(
        model, eps=eps, eps_step=2.5 * eps / STEPS, max_iter=STEPS, num_random_init=1, verbose=False
    )
    return torch.from_numpy(attack.generate(clean.numpy()))


def label(net: nn.Module, clean: Tensor) -> Tensor:
    """The clean action, which our peers are told and ours finds out."""
    with torch.no_grad():
        return net(clean).argmax(1)


def inside() -> Tensor:
    """64 observations in [0.2, 0.8], which every peer accepts."""
    return 0.2 + 0.6 * torch.rand(64, FEATURES, generator=torch.Generator().manual_seed(0))


def ball(attack: Attack, net: nn.Module) -> str:
    """How far the result is outside the ball, in float32."""
    clean = inside()
    excess = ((attack(net, clean, EPS) - clean).abs().max() - torch.tensor(EPS)).item()
    return f"outside by {excess:.1e}" if excess > 0 else "inside"


def any_range(attack: Attack, net: nn.Module) -> str:
    """How far observations of unit deviation are moved."""
    clean = torch.randn(64, FEATURES, generator=torch.Generator().manual_seed(0))
    return f"moved by {(attack(net, clean, EPS) - clean).abs().max():.3g}"


def per_feature(attack: Attack, net: nn.Module) -> str:
    """Radii from 0.01 to 0.05, one per feature."""
    eps, clean = torch.linspace(0.01, EPS, FEATURES), inside()
    shift = (attack(net, clean, eps) - clean).abs().amax(0)
    return "respected" if bool((shift <= eps + 1e-6).all()) else "not respected"


def without_gradients(attack: Attack, net: nn.Module) -> str:
    """In the two contexts in which agents act."""
    with torch.no_grad():
        attack(net, inside(), EPS)
    with torch.inference_mode():
        attack(net, inside(), EPS)
    return "works"


def victim(attack: Attack, net: nn.Module) -> str:
    """What has changed in a network that was in train()."""
    net.train()
    attack(net, inside(), EPS)
    left = [".grad"] if any(p.grad is not None for p in net.parameters()) else []
    return ", ".join(left + ([] if net.training else ["eval()"])) or "as before"


def negative(attack: Attack, net: nn.Module) -> str:
    """A radius of -0.1."""
    attack(net, inside(), -0.1)
    return "accepted"


def randomness(attack: Attack, net: nn.Module) -> str:
    """Whether the global generators are as before."""
    before, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    attack(net, inside(), EPS)
    same = torch.equal(before, torch.get_rng_state()) and (numbers == np.random.get_state()[1]).all()  # noqa: NPY002
    return "untouched" if same else "advanced"


PROMISES: dict[str, Callable[[Attack, nn.Module], str]] = {
    "in the ball, in its dtype": ball,
    "inputs of any range": any_range,
    "a radius per feature": per_feature,
    "in no_grad and inference_mode": without_gradients,
    "the victim": victim,
    "a negative radius": negative,
    "global generators": randomness,
}

Wrap = Callable[[Any], Any]


def one_seed(wrap: Wrap) -> str:
    """Two resets with one seed."""
    env = wrap(gym.make("Pendulum-v1"))
    first, second = (env.reset(seed=0)[0] for _ in range(2))
    return "same observation" if (first == second).all() else "different observations"


def dict_observation(wrap: Wrap) -> str:
    """An observation with an entry per sensor."""
    env = wrap(gym.wrappers.TransformObservation(gym.make("Pendulum-v1"), lambda obs: {"angle": obs}, SENSORS))
    return f"works: {sorted(env.reset(seed=0)[0])}"


def vector(wrap: Wrap) -> str:
    """Two environments at once."""
    env = wrap(gym.make_vec("Pendulum-v1", num_envs=2, vectorization_mode="sync"))
    return f"works: {env.reset(seed=0)[0].shape}"


def spec(wrap: Wrap) -> str:
    """An environment that is made again from its `spec`."""
    return f"works: {gym.make(wrap(gym.make('Pendulum-v1')).spec).reset(seed=0)[0].shape}"


SENSORS = gym.spaces.Dict(angle=gym.make("Pendulum-v1").observation_space)
CHANNELS: dict[str, Callable[[Wrap], str]] = {
    "one seed": one_seed,
    "Dict observations": dict_observation,
    "vector environments": vector,
    "spec": spec,
}


def noisyenv(env: Any) -> Any:
    """Gaussian noise at every step."""
    from noisyenv.wrappers import RandomNormalNoisyObservation

    return RandomNormalNoisyObservation(env, noise_rate=1.0, scale=0.1)


def our_noise(env: Any) -> Any:
    """The same in advwrap, which is told the entry of a Dict."""
    key = "angle" if isinstance(env.observation_space, gym.spaces.Dict) else None
    return AdversarialObs(env, attack=GaussianNoise(0.1, within=LinfBall(0.3)), key=key)


def finding(probe: Callable[[], str]) -> str:
    """What the probe says, or its error."""
    try:
        return probe()
    except ImportError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a peer raises is the finding
        return f"{type(error).__name__}: {(str(error) or '(no message)').splitlines()[0][:60]}"


def compared(title: str, promises: dict[str, Any], peers: dict[str, Any], *victims: nn.Module) -> Table:
    """A row for every promise, a column for every peer that is installed."""
    columns: dict[str, list[str]] = {}
    for name, peer in peers.items():
        try:
            columns[name] = [finding(partial(probe, peer, *copy.deepcopy(victims))) for probe in promises.values()]
        except ImportError as missing:
            Console().print(f"{name} left out: {missing}")
    table = Table("promise", *columns, title=title, show_lines=True)
    for row, promise in enumerate(promises):
        table.add_row(promise, *(escape(findings[row]) for findings in columns.values()))
    return table


def main() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(FEATURES, 64), nn.Tanh(), nn.Linear(64, ACTIONS)).eval()
    libraries = {"advwrap": ours, "foolbox": with_foolbox, "torchattacks": with_torchattacks, "ART": with_art}
    console = Console()
    console.print(compared("PGD-10, L-infinity, eps 0.05, 17 inputs", PROMISES, libraries, net))
    console.print(compared("Noise on observations", CHANNELS, {"advwrap": our_noise, "noisyenv": noisyenv}))


if __name__ == "__main__":
    tyro.cli(main)
