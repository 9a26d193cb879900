"""The exact soft value through an unmodified loss: the price of the adversary's choice in the reward."""

import pytest
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.modules import MLP, ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import SACLoss, SoftUpdate

from advwrap import UNBOUNDED, L2Ball, Learned, Linear, LinfBall, Noise, Streams
from advwrap.modules import GaussianAdversary, Perturb
from advwrap.targets import SoftBackup, SoftWorst
from advwrap.victims import Deterministic
from advwrap.victims.tensordict_critic import LossCritic
from tests.targets.test_soft_value import ACTIONS, FEATURES

ROWS, GAMMA, ALPHA = 6, 0.9, 0.3
BALL = LinfBall(0.25)


def transitions(rows=ROWS):
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(rows, *shape, generator=generator)

    ended = torch.zeros(rows, 1, dtype=torch.bool)
    ended[-1] = True
    flags = {"done": ended, "terminated": ended}
    following = TensorDict({"observation": draw(FEATURES), "reward": draw(1), **flags}, [rows])
    action = draw(ACTIONS).tanh()
    return TensorDict(
        {
            "observation": draw(FEATURES),
            "action": action,
            "next": following,
            **{k: torch.zeros_like(v) for k, v in flags.items()},
        },
        [rows],
    )


def blind(*values):
    """A soft-worst attack whose candidates have these values, for every row."""
    return SoftWorst(
        nn.Identity(),
        lambda obs, act: torch.tensor(values).repeat_interleave(len(obs) // len(values)),
        within=BALL,
        temperature=ALPHA,
        samples=len(values),
    )


def test_the_price_is_gamma_alpha_kl_unless_the_task_ended():
    attack, batch = blind(0.0, 1.0, 2.0), transitions()
    _, divergence = attack.with_divergence(batch["observation"])
    out = SoftBackup(attack, gamma=GAMMA)(batch.clone())
    paid = (out["next", "reward"] - batch["next", "reward"]).squeeze(-1)
    torch.testing.assert_close(paid[:-1], GAMMA * ALPHA * divergence[:-1])
    assert paid[-1] == 0
    assert torch.equal(out["next", "clean_reward"], batch["next", "reward"])


def test_perturbs_like_perturb():
    attack = SoftWorst(nn.Identity(), lambda obs, act: act.sum(-1), within=BALL, temperature=ALPHA)
    ours, plain = SoftBackup(attack, gamma=GAMMA, seed=3)(transitions()), Perturb(attack, seed=3)(transitions())
    for key in ("observation", "clean_observation", ("next", "observation"), ("next", "clean_observation")):
        assert torch.equal(ours[key], plain[key])


def test_twice_is_once():
    module = SoftBackup(blind(0.0, 1.0, 2.0), gamma=GAMMA)
    once = module(transitions())
    twice = module(once.clone())
    torch.testing.assert_close(twice["next", "reward"], once["next", "reward"])
    assert torch.equal(twice["next", "clean_reward"], transitions()["next", "reward"])


def decided(*, linear=False):
    """A SAC loss without entropy and without noise in its actions, and its policy; of linear parts, if asked."""
    torch.manual_seed(0)
    deep = nn.Sequential(nn.Linear(FEATURES, 8), nn.Tanh(), nn.Linear(8, ACTIONS))
    net = nn.Linear(FEATURES, ACTIONS) if linear else deep
    body = TensorDictModule(lambda obs: (net(obs), torch.full_like(net(obs), 1e-7)), ["observation"], ["loc", "scale"])
    actor = ProbabilisticActor(body, ["loc", "scale"], distribution_class=TanhNormal, return_log_prob=True)
    hidden = [] if linear else [16]
    critic = ValueOperator(MLP(FEATURES + ACTIONS, 1, num_cells=hidden), in_keys=["clean_observation", "action"])
    loss = SACLoss(actor, critic, num_qvalue_nets=2, target_entropy=-2.0, alpha_init=1e-9, fixed_alpha=True)
    loss.make_value_estimator(gamma=GAMMA)
    SoftUpdate(loss, tau=0.1)
    policy = Deterministic(lambda obs: net(obs).tanh())
    return loss, policy


def test_the_unmodified_loss_bootstraps_equation_26():
    """Its targets, averaged over the adversary's choice, are r + gamma (1 - d) (-alpha log mean exp(-V / alpha)).

    By enumerating all candidates, each with its weight, and reading the targets off the loss.
    """
    batch = transitions()
    loss, policy = decided()
    critic = LossCritic(loss, target=True)  # what the loss bootstraps from
    attack = SoftWorst(policy, critic, within=BALL, temperature=ALPHA, samples=5, entropy=0.0)
    out = SoftBackup(attack, gamma=GAMMA, seed=0)(batch.clone())

    # The candidates and the soft value of ("next", "observation"), once more from the same streams.
    clean = torch.cat([batch["observation"], batch["next", "observation"]])
    value = attack.value(clean, generator=Perturb(attack, seed=0).streams(2 * ROWS))[ROWS:]
    _, x, energy, _ = attack._candidates(clean, None, UNBOUNDED, Perturb(attack, seed=0).streams(2 * ROWS))
    weights = (-energy).softmax(0)[:, ROWS:]

    target = torch.zeros(ROWS, dtype=torch.float64)
    for weight, seen in zip(weights, x[:, ROWS:], strict=True):
        out["next", "observation"] = seen
        target += weight * targets_of(loss, out).double()
    going_on = ~batch["next", "terminated"].squeeze(-1)
    expected = batch["next", "reward"].squeeze(-1) + GAMMA * going_on * value
    torch.testing.assert_close(target, expected.double(), rtol=1e-4, atol=1e-4)


def targets_of(loss, data):
    """The targets y of the loss: what its value estimator hands to the critics."""
    seen = []
    estimator = loss.value_estimator
    original = estimator.value_estimate

    def listen(*args, **options):
        seen.append(original(*args, **options))
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimator, "value_estimate", listen)
        loss(data.clone())
    [target] = seen
    return target.reshape(-1)


def test_learned_adversaries_pay_their_price_too():
    """One sample of log nu - log p; on average the divergence of its squashed normal from the uniform density."""
    torch.manual_seed(0)
    adversary = GaussianAdversary(FEATURES, hidden=(8,))
    attack = Learned(adversary, within=BALL, sample=True)
    batch = transitions(20_000)
    out = SoftBackup(attack, gamma=GAMMA, temperature=ALPHA, seed=0)(batch.clone())
    paid = (out["next", "reward"] - batch["next", "reward"]).squeeze(-1)[:-1] / (GAMMA * ALPHA)
    _, divergence = attack.with_divergence(batch["next", "observation"], generator=Streams.seeded(range(20_000)))
    error = 4 * float(paid.std()) / len(paid) ** 0.5
    assert float(paid.mean()) == pytest.approx(float(divergence.mean()), abs=2 * error)
    assert float(divergence.mean()) > 0


def test_temperature_on_a_schedule():
    schedule = Linear(1.0, 3.0, steps=1)
    module = SoftBackup(blind(0.0, 1.0), gamma=GAMMA, temperature=schedule)
    first = (module(transitions())["next", "reward"] - transitions()["next", "reward"])[0]
    schedule.advance()
    second = (module(transitions())["next", "reward"] - transitions()["next", "reward"])[0]
    torch.testing.assert_close(second, 3 * first)


def test_keys_and_state():
    module = SoftBackup(blind(0.0, 1.0), gamma=GAMMA, seed=0)
    assert module.in_keys == ["observation", ("next", "observation"), ("next", "reward"), ("next", "terminated")]
    assert ("next", "clean_reward") in module.out_keys
    assert "gamma=0.9" in repr(module)
    module(transitions())
    other = SoftBackup(blind(0.0, 1.0), gamma=GAMMA)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(transitions())["observation"], module(transitions())["observation"])


def test_what_is_refused():
    with pytest.raises(TypeError, match=r"`attack` must know its divergence, got Noise. Fix: SoftWorst"):
        SoftBackup(Noise(BALL), gamma=GAMMA)
    with pytest.raises(ValueError, match=r"`gamma` must be in \[0, 1\], got 1.5"):
        SoftBackup(blind(0.0), gamma=1.5)
    adversary = GaussianAdversary(FEATURES, hidden=(8,))
    with pytest.raises(ValueError, match="`temperature` must be given for a Learned"):
        SoftBackup(Learned(adversary, within=BALL, sample=True), gamma=GAMMA)
    unknown = SoftBackup(Learned(adversary, within=L2Ball(0.1), sample=True), gamma=GAMMA, temperature=1.0)
    with pytest.raises(ValueError, match=r"the density of Learned.*Fix: Learned\(adversary, within=LinfBall"):
        unknown(transitions())
