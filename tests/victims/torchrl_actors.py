"""TorchRL actors of every kind, and what TorchRL itself says about them."""

from collections.abc import Callable

import torch
from tensordict import TensorDict
from tensordict.nn import AddStateIndependentNormalScale, NormalParamExtractor, TensorDictModule, TensorDictSequential
from torch import Tensor, nn
from torchrl.data import Categorical, OneHot
from torchrl.modules import (
    MLP,
    ActorValueOperator,
    Delta,
    EGreedyModule,
    IndependentNormal,
    MaskedCategorical,
    OneHotCategorical,
    ProbabilisticActor,
    QValueActor,
    TanhDelta,
    TanhNormal,
    ValueOperator,
)

FEATURES, ACTIONS = 5, 3


def mlp(outputs: int, activation: type[nn.Module] = nn.ReLU, inputs: int = FEATURES) -> MLP:
    return MLP(inputs, outputs, num_cells=[16, 16], activation_class=activation)


def normal(family: type = TanhNormal, activation: type[nn.Module] = nn.ReLU, **options: object) -> ProbabilisticActor:
    net = nn.Sequential(mlp(2 * ACTIONS, activation), NormalParamExtractor())
    body = TensorDictModule(net, ["observation"], ["loc", "scale"])
    return ProbabilisticActor(body, ["loc", "scale"], distribution_class=family, distribution_kwargs=options)


def constant_scale() -> ProbabilisticActor:
    net = nn.Sequential(mlp(ACTIONS, nn.Tanh), AddStateIndependentNormalScale(ACTIONS))
    body = TensorDictModule(net, ["observation"], ["loc", "scale"])
    return ProbabilisticActor(body, ["loc", "scale"], distribution_class=IndependentNormal)


def renamed() -> ProbabilisticActor:
    net = nn.Sequential(mlp(2 * ACTIONS), NormalParamExtractor())
    body = TensorDictModule(net, ["observation"], [("stats", "mu"), ("stats", "sigma")])
    keys = {"loc": ("stats", "mu"), "scale": ("stats", "sigma")}
    return ProbabilisticActor(body, keys, distribution_class=TanhNormal)


def delta(family: type = TanhDelta, **options: object) -> ProbabilisticActor:
    body = TensorDictModule(mlp(ACTIONS), ["observation"], ["param"])
    return ProbabilisticActor(body, ["param"], distribution_class=family, distribution_kwargs=options)


def trunk() -> ProbabilisticActor:
    common = TensorDictModule(mlp(8, nn.Tanh), ["observation"], ["hidden"])
    head = TensorDictModule(
        nn.Sequential(nn.Linear(8, 2 * ACTIONS), NormalParamExtractor()), ["hidden"], ["loc", "scale"]
    )
    policy = ProbabilisticActor(head, ["loc", "scale"], distribution_class=TanhNormal)
    value = ValueOperator(nn.Linear(8, 1), ["hidden"])
    return ActorValueOperator(common, policy, value).get_policy_operator()


def categorical(family: type = OneHotCategorical) -> ProbabilisticActor:
    body = TensorDictModule(mlp(ACTIONS), ["observation"], ["logits"])
    return ProbabilisticActor(body, ["logits"], distribution_class=family)


def masked() -> ProbabilisticActor:
    body = TensorDictModule(mlp(ACTIONS), ["observation"], ["logits"])
    keys = {"logits": "logits", "mask": "action_mask"}
    return ProbabilisticActor(body, keys, distribution_class=MaskedCategorical)


def greedy(mask: str | None = None) -> QValueActor:
    return QValueActor(mlp(ACTIONS), in_keys=["observation"], spec=OneHot(ACTIONS), action_mask_key=mask)


def exploring() -> TensorDictSequential:
    spec = Categorical(ACTIONS)
    actor = QValueActor(mlp(ACTIONS), in_keys=["observation"], spec=spec)
    return TensorDictSequential(actor, EGreedyModule(spec, eps_init=1.0, eps_end=1.0))


LOW = torch.tensor([-2.0, -1.0, 0.0])
HIGH = torch.tensor([1.0, 1.0, 0.5])

CONTINUOUS: dict[str, Callable[[], TensorDictSequential]] = {
    "TanhNormal": normal,
    "TanhNormal of tanh": lambda: normal(activation=nn.Tanh),
    "TanhNormal of another activation": lambda: normal(activation=nn.ELU),
    "TanhNormal in limits": lambda: normal(low=-2.0, high=3.0),
    "TanhNormal in limits per feature": lambda: normal(low=LOW, high=HIGH),
    "TanhNormal with a limited loc": lambda: normal(tanh_loc=True),
    "TanhNormal with a limited loc in limits": lambda: normal(tanh_loc=True, upscale=2.0, low=LOW, high=HIGH),
    "TanhNormal, not safe": lambda: normal(safe_tanh=False),
    "Normal": lambda: normal(IndependentNormal),
    "Normal with a limited loc": lambda: normal(IndependentNormal, tanh_loc=True),
    "Normal of constant scale": constant_scale,
    "renamed parameters": renamed,
    "a trunk shared with the critic": trunk,
    "TanhDelta": delta,
    "TanhDelta in limits": lambda: delta(low=LOW, high=HIGH),
    "Delta": lambda: delta(Delta),
}

DISCRETE: dict[str, Callable[[], TensorDictSequential]] = {
    "OneHotCategorical": categorical,
    "Categorical": lambda: categorical(torch.distributions.Categorical),
    "MaskedCategorical": masked,
    "QValueActor": greedy,
    "QValueActor with a mask": lambda: greedy("action_mask"),
    "exploring QValueActor": exploring,
}

ACTORS = CONTINUOUS | DISCRETE


def observations(rows: int = 7, seed: int = 1) -> Tensor:
    return 3 * torch.randn(rows, FEATURES, generator=torch.Generator().manual_seed(seed))


def context(rows: int = 7) -> dict[str, Tensor]:
    mask = torch.ones(rows, ACTIONS, dtype=torch.bool)
    mask[::2, 1] = False
    return {"action_mask": mask}


def torchrl_says(actor: TensorDictSequential, observation: Tensor) -> Tensor:
    """The deterministic action, or the probabilities, without any code of ours."""
    rows = observation.shape[0]
    data = TensorDict({"observation": observation, **context(rows)}, [rows])
    if hasattr(actor, "get_dist"):
        law = actor.get_dist(data)
        return law.probs if hasattr(law, "probs") else law.deterministic_sample
    greedy_part = actor if isinstance(actor, QValueActor) else actor[0]
    return greedy_part(data)["action_value"].softmax(-1)
