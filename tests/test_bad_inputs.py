"""Bad inputs give an error that names the argument, the rule and the value, and mostly the fix."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn
from torchrl.envs import TransformedEnv
from torchrl.modules import ValueOperator

from advwrap import (
    FGSM,
    PGD,
    ActionSet,
    ActionShift,
    AdversarialAction,
    AdversarialObs,
    AtMost,
    AvoidAction,
    Bounds,
    Confined,
    Corners,
    CrossEntropy,
    CrossEntropyMethod,
    EveryNth,
    Gain,
    GapAbove,
    Gated,
    GaussianNoise,
    HighReward,
    Identity,
    InStd,
    L0Ball,
    L1Ball,
    L2Ball,
    Langevin,
    Learned,
    Linear,
    LinfBall,
    LowValue,
    Masked,
    Mixture,
    Noise,
    OnlyAgents,
    Perturb,
    PolicyKL,
    RandomSearch,
    RandomVertex,
    Search,
    SeekAction,
    Square,
    Stuck,
    WeightedSum,
    WholeEpisodes,
    WithProbability,
    Worst,
)
from advwrap.algorithms import OAPI, PPO, TD3
from advwrap.errors import GradientError
from advwrap.evaluation import evaluate
from advwrap.losses import RobustCriticLoss
from advwrap.randomness import Streams
from advwrap.testing.environments import SignalEnv, SignalParallelEnv, SignalTorchRLEnv, signal_vector
from advwrap.testing.stateful_victims import BatchNormPolicy
from advwrap.training import Surgery
from advwrap.transforms import AdversarialObs as ObsTransform
from advwrap.victims import Categorical, Deterministic

BALL = LinfBall(0.1)
LOW = LowValue(value=lambda o: o.sum(-1))
CLEAN = torch.zeros(2, 3)
BALLS = [LinfBall, L2Ball, L1Ball, lambda eps: L0Ball(1, eps)]


def refused(kind, message):
    return pytest.raises(kind, match=message)


# Sets


@pytest.mark.parametrize("ball", BALLS)
@pytest.mark.parametrize("eps", [-0.1, math.nan, math.inf, -math.inf, [0.1, -0.1], torch.tensor([0.1, math.nan])])
def test_radius_out_of_range(ball, eps):
    with refused(ValueError, r"`eps` must be (finite|>= 0), got"):
        ball(eps)


@pytest.mark.parametrize("ball", BALLS)
@pytest.mark.parametrize("eps", ["0.1", None, True, object()])
def test_radius_of_another_kind(ball, eps):
    with refused(TypeError, "`eps` must be a number, a tensor or a callable, got"):
        ball(eps)


@pytest.mark.parametrize("ball", BALLS)
@pytest.mark.parametrize("shape", [(2,), (4,), (3, 3), (3, 1)])
def test_radius_of_another_shape(ball, shape):
    with refused(ValueError, r"`eps` must broadcast to the feature shape \(3,\), got shape"):
        Noise(ball(torch.full(shape, 0.1)))(CLEAN)


def test_radius_in_deviations_that_nobody_measured():
    with refused(ValueError, r"`std` must return one deviation per feature, got None\. Fix: collect statistics"):
        Noise(LinfBall(InStd(0.1, lambda: None)))(CLEAN)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: L0Ball(-1, 0.1), r"`k` must be an integer >= 0, got -1\. Fix:"),
        (lambda: L0Ball(1.5, 0.1), r"`k` must be an integer >= 0, got 1\.5"),
        (lambda: Masked(BALL, torch.ones(3)), r"`mask` must be boolean .* Fix: mask\.bool"),
        (lambda: Linear(0.0, -1.0, steps=3), "`end` must be >= 0, got -1"),
        (lambda: Linear(0.0, 1.0, steps=0), "`steps` must be >= 1, got 0"),
        (lambda: InStd(-1.0, torch.ones(3)), "`eps` must be >= 0, got -1"),
        (lambda: Bounds(1.0, 0.0), "`low` must be <= `high`, got"),
        (lambda: Bounds(math.nan, 0.0), "`low` and `high` must not be NaN"),
        (lambda: ActionSet(0), "`actions` must hold at least one action, got 0"),
        (lambda: ActionSet(torch.zeros(0, 2)), "`actions` must hold at least one action"),
    ],
)
def test_sets(make, message):
    with refused(ValueError, message):
        make()


def test_actions_of_another_shape():
    with refused(ValueError, r"`actions` must have the shape \(3,\) of one action, got \(2,\)"):
        Noise(ActionSet(torch.zeros(4, 2)))(CLEAN)


# Attacks


@pytest.mark.parametrize("within", ["linf", 0.1, None, LinfBall, ActionSet], ids=repr)
@pytest.mark.parametrize(
    "attack",
    [
        Noise,
        RandomVertex,
        lambda within: GaussianNoise(1.0, within),
        lambda within: PGD(LOW, within=within),
        lambda within: Search(LOW, within=within),
        lambda within: Confined(Identity(), within),
    ],
)
def test_unknown_norm(attack, within):
    """There are no names of norms: a set is an object. Said when the attack is made, not in the first step."""
    with refused(TypeError, r"`within` must be a perturbation set, got .* Fix: LinfBall\(0\.1\)"):
        attack(within)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PGD(LOW, within=BALL, steps=0), r"`steps` must be an integer >= 1, got 0\. Fix: use Identity"),
        (lambda: PGD(LOW, within=BALL, steps=2.5), r"`steps` must be an integer >= 1, got 2\.5"),
        (lambda: PGD(LOW, within=BALL, steps=True), "`steps` must be an integer >= 1, got True"),
        (lambda: PGD(LOW, within=BALL, step_size=0), r"`step_size` must be > 0 .*, got 0\. Fix: leave it out"),
        (lambda: PGD(LOW, within=BALL, step_size=-1.0), "`step_size` must be > 0"),
        (lambda: PGD(LOW, within=BALL, step_size=math.nan), "`step_size` must be > 0"),
        (lambda: PGD(LOW, within=BALL, restarts=0), "`restarts` must be an integer >= 1, got 0"),
        (lambda: PGD(LOW, within=BALL, random_start=1.5), r"`random_start` must be in \[0, 1\], got 1\.5"),
        (lambda: Langevin(LOW, within=BALL, steps=0), "`steps` must be an integer >= 1, got 0"),
        (lambda: Langevin(LOW, within=BALL, step_size=0.0), r"`step_size` must be > 0 .*, got 0\.0"),
        (lambda: Langevin(LOW, within=BALL, beta=0.0), r"`beta` must be > 0, got 0\.0\. Fix: float\('inf'\)"),
        (lambda: GaussianNoise(-1.0, BALL), r"`std` must be finite and >= 0, got -1\.0"),
        (lambda: Square(tries=0), "`tries` must be an integer >= 1, got 0"),
        (lambda: Square(share=0.0), r"`share` must be in \(0, 1\], got 0\.0"),
        (lambda: RandomSearch(0), "`tries` must be an integer >= 1, got 0"),
        (lambda: CrossEntropyMethod(rounds=0), "`rounds` must be an integer >= 1, got 0"),
        (lambda: CrossEntropyMethod(elite=1), "`elite` must be an integer >= 2, got 1"),
        (lambda: CrossEntropyMethod(elite=17), r"`elite` must be <= `samples` \(16\), got 17"),
        (lambda: Mixture((0.5, Identity())), r"probabilities must add up to 1, got \[0\.5\]"),
        (lambda: Mixture((-0.5, Identity()), (1.5, Identity())), r"probabilities must be in \[0, 1\]"),
        (Mixture, r"`terms` must hold at least one \(probability, attack\) pair"),
        (lambda: Worst([], LOW), "`attacks` must hold at least one attack, got none"),
        (lambda: AtMost(-1), "`n` must be .*>= 0, got -1"),
        (lambda: EveryNth(0), "`n` must be .*>= 1, got 0"),
        (lambda: EveryNth(2, offset=-1), "`offset` must be .*>= 0, got -1"),
        (lambda: WithProbability(1.5), r"`p` must be in \[0, 1\], got 1\.5"),
        (OnlyAgents, r"`agents` must name at least one agent, got none\. Fix:"),
        (lambda: OnlyAgents("agent_0"), r"`agents` must be indices >= 0, got \('agent_0',\)"),
        (lambda: OnlyAgents(-1), r"`agents` must be indices >= 0, got \(-1,\)"),
        (lambda: GapAbove(None, 0.5), r"exactly one of `victim` and `gap` must be given\. Fix:"),
        (WeightedSum, r"`terms` must hold at least one \(weight, objective\) pair"),
        (lambda: WeightedSum((math.nan, LOW)), "weights must be finite, got nan"),
        (LowValue, r"`LowValue` must get .*, got nothing\. Fix: LowValue\(policy, critic\)"),
        (lambda: LowValue(lambda o: o), r"`LowValue` must get .*, got \['policy'\]"),
        (lambda: HighReward(value=lambda o: o, critic=lambda o, a: a), r"`HighReward` must get"),
    ],
)
def test_attacks_and_objectives(make, message):
    with refused(ValueError, message):
        make()


CRITIC = nn.Linear(4, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gated(AtMost(3), Stuck()), r"`attack` must be an attack, got the budget AtMost\(n=3\)\. Fix: Gated"),
        (lambda: Gain(0.5, features=1), "`features` must be a list of indices, got 1"),
        (lambda: OAPI(0.1, strategy="Corners"), "`strategy` must be a search, got 'Corners'"),
        (lambda: PPO("Pendulum-v1", advantage=0.2), r"`advantage` must be a RobustAdvantage, got 0\.2"),
        (
            lambda: RobustCriticLoss(None, CRITIC, within=BALL, next_action=lambda after: after["action"]),
            "`qvalue` must read a tensordict, got Linear",
        ),
        (
            lambda: RobustCriticLoss(None, ValueOperator(CRITIC), within=BALL, bounds=(-1, 1)),
            r"`bounds` must be Bounds, got \(-1, 1\)",
        ),
        (lambda: evaluate(lambda o: o, "Pendulum-v1", Stuck(), channel="action"), "`channel` must be a wrapper"),
        (
            lambda: AdversarialAction(gym.make("CartPole-v1"), Gated(Noise(BALL), AtMost(1))),
            r"the action is Discrete\(2\), whose indices no ball can move, got LinfBall",
        ),
    ],
)
def test_arguments_of_another_kind(make, message):
    with refused(TypeError, message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OAPI(0.1, ramp=0.5), r"`ramp` must rise within \[0, 1\], got 0\.5"),
        (lambda: TD3("Pendulum-v1", steps="100"), "`steps` must be an integer >= 1, got '100'"),
        (lambda: PPO("Pendulum-v1", envs=1.5), "`envs` must be an integer >= 1, got 1.5"),
        (lambda: Surgery("loss_actor", "loss_actor"), "`first` and `second` must be two terms"),
    ],
)
def test_numbers_of_trainings(make, message):
    with refused(ValueError, message):
        make()


def test_too_many_corners():
    with refused(ValueError, r"`Corners` enumerates 2\^n corners and allows n <= 10 features, got 20\. Fix: Square"):
        Search(LOW, within=BALL, strategy=Corners())(torch.zeros(1, 20))


COUNTED = {
    "episode_step": EveryNth(2),
    "attacked_steps": AtMost(1),
    "agent_index": OnlyAgents(0),
    "episode_key": WholeEpisodes(0.5),
}


@pytest.mark.parametrize(("name", "budget"), COUNTED.items())
def test_budget_that_nobody_counts(name, budget):
    with refused(ValueError, rf"needs '{name}' in the `context`, .* Fix: use it in AdversarialObs"):
        Gated(Identity(), budget)(CLEAN)


@pytest.mark.parametrize(
    "attack", [Noise(BALL), FGSM(LOW, within=BALL), Gated(Noise(BALL), AtMost(1)), Worst([Noise(BALL)], LOW)]
)
def test_clean_that_is_no_batch(attack):
    with refused(ValueError, r"`clean` must have a batch axis, got a scalar\. Fix: clean\.unsqueeze"):
        attack(torch.tensor(1.0))
    with refused(TypeError, r"`clean` must be a tensor, got ndarray\. Fix: torch\.as_tensor"):
        attack(np.zeros((2, 3)))


@pytest.mark.parametrize(
    "attack", [Noise(BALL), FGSM(LOW, within=BALL), Search(LOW, within=BALL), Learned(lambda o: o, within=BALL)]
)
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_integers_in_a_ball(attack, dtype):
    with refused(TypeError, rf"`clean` must be floating point .*, got {dtype}\. Fix: .*ActionSet"):
        attack(torch.zeros(2, 3, dtype=dtype))


@pytest.mark.parametrize("generator", [0, "seed", np.random.default_rng(0)], ids=["integer", "text", "NumPy"])
def test_generator_of_another_kind(generator):
    with refused(TypeError, r"`generator` must be a torch\.Generator, advwrap Streams or None, got"):
        Noise(BALL)(CLEAN, generator=generator)


def test_streams_for_another_batch():
    with refused(ValueError, r"`generator` has 3 streams, but the batch has shape \(2, 3\)\. Fix:"):
        Noise(BALL)(CLEAN, generator=Streams.seeded([0, 1, 2]))


def test_adversary_of_another_shape():
    with refused(ValueError, r"`adversary` must return a perturbation of shape \(2, 3\), got \(2, 2\)"):
        Learned(lambda o: o[:, :2], within=BALL)(CLEAN)


# Victims


@pytest.mark.parametrize(
    "policy",
    [
        lambda o: o.detach(),
        lambda o: o.argmax(-1, keepdim=True).float(),
        lambda o: torch.ones(len(o), 1),
        lambda o: torch.from_numpy(o.detach().numpy() * 2),
    ],
    ids=["detached", "argmax", "constant", "numpy"],
)
def test_policy_without_gradient(policy):
    with refused(
        GradientError, r"no gradient .* Fix: remove detach\(\), no_grad, argmax or numpy .* Search\(objective"
    ):
        PGD(ActionShift(policy), within=BALL)(CLEAN)


@pytest.mark.parametrize(
    "output",
    ["left", None, {"action": CLEAN}, [CLEAN, CLEAN, CLEAN], 3.0, np.zeros((2, 1))],
    ids=lambda o: type(o).__name__,
)
def test_policy_output_of_another_kind(output):
    with refused(
        TypeError, r"victim must return a tensor, a \(loc, scale\) pair or a distribution, got .* Fix: wrap it in"
    ):
        ActionShift(lambda o: output)(CLEAN)


@pytest.mark.parametrize("policy", [None, "policy", 3])
def test_policy_of_another_kind(policy):
    with refused(TypeError, "`policy` must be a module, a callable, .*, got"):
        ActionShift(policy)


@pytest.mark.parametrize("critic", ["critic", 3])
def test_critic_of_another_kind(critic):
    with refused(TypeError, "`critic` must be a TorchRL loss, .* got"):
        LowValue(lambda o: o, critic)


def test_critic_that_is_a_table():
    with refused(TypeError, r"a critic must return one value per row .*, got \(2, 4\)\. Fix: .*TabularCritic"):
        LowValue(value=nn.Linear(3, 4))(CLEAN)(CLEAN)


def test_action_attack_without_a_state():
    with refused(
        ValueError, r"needs the state in `context\['observation'\]`, got None\. Fix: use it in AdversarialAction"
    ):
        FGSM(LowValue(critic=lambda o, a: a.sum(-1)), within=BALL)(CLEAN)


def test_target_that_is_not_given():
    with refused(ValueError, r"`target` must be given for a continuous policy, got None\. Fix: SeekAction"):
        SeekAction(lambda o: o)(CLEAN)


def test_gap_of_a_continuous_policy():
    with refused(TypeError, r"`victim` must be a discrete policy for a preference gap, got a continuous one\. Fix:"):
        GapAbove(lambda o: o, 0.5)(CLEAN, None, Streams.seeded([0, 1]))


@pytest.mark.parametrize("objective", [ActionShift, PolicyKL, CrossEntropy, AvoidAction])
def test_victim_on_another_device(objective):
    victim = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).to("meta")
    with refused(ValueError, r"parameters are on `meta`, but its input is on `cpu`\. Fix:"):
        objective(Categorical(victim))(CLEAN)


def test_victim_in_train_mode_acts_as_in_eval_mode():
    """No error is needed where nothing is wrong: noise and statistics are switched off for the attack."""
    victim = BatchNormPolicy(3, 2)
    attack = PGD(ActionShift(Deterministic(victim)), within=BALL)
    results = [attack(CLEAN, generator=Streams.seeded([0, 1])) for victim in (victim.train(), victim.eval())]
    assert torch.equal(*results)


# Environments


@pytest.mark.parametrize("wrap", [AdversarialObs, AdversarialAction])
@pytest.mark.parametrize("env", [None, "Hopper-v5", SignalEnv, object()], ids=["None", "name", "class", "object"])
def test_environment_of_another_kind(wrap, env):
    with refused(TypeError, r"`env` must be .*(Gymnasium|gymnasium).*got"):
        wrap(env, attack=Noise(BALL))


@pytest.mark.parametrize("wrap", [AdversarialObs, AdversarialAction])
@pytest.mark.parametrize("attack", [None, 0.1, LinfBall(0.1), Noise], ids=["None", "number", "set", "class"])
@pytest.mark.parametrize(
    "make", [SignalEnv, lambda: signal_vector(2), SignalParallelEnv, lambda: SignalTorchRLEnv(rows=2)]
)
def test_attack_of_another_kind(make, attack, wrap):
    with refused(TypeError, "`attack` must be"):
        wrap(make(), attack=attack)


@pytest.mark.parametrize(
    "space",
    [gym.spaces.Discrete(3), gym.spaces.Text(5), gym.spaces.MultiBinary(3), gym.spaces.Tuple([gym.spaces.Discrete(2)])],
    ids=lambda s: type(s).__name__,
)
def test_observation_without_numbers(space):
    env = SignalEnv()
    env.observation_space = space
    with refused(TypeError, "observation"):
        AdversarialObs(env, attack=Noise(BALL))


def test_observation_in_a_dict_needs_a_key():
    box = gym.spaces.Box(-2, 2, (2,))
    env = SignalEnv(gym.spaces.Dict(a=box, b=box))
    with refused(ValueError, r"`key` must .*'a'.*'b'"):
        AdversarialObs(env, attack=Noise(BALL))
    with refused(ValueError, r"`key` must .*'c'"):
        AdversarialObs(env, attack=Noise(BALL), key="c")


def test_key_that_torchrl_does_not_have():
    with refused(KeyError, "`key`"):
        TransformedEnv(SignalTorchRLEnv(), ObsTransform(Noise(BALL), key="pixels")).reset()


def test_key_that_a_batch_does_not_have():
    from tensordict import TensorDict

    with refused(KeyError, "observation"):
        Perturb(Noise(BALL), next=False)(TensorDict(state=CLEAN, batch_size=2))


def broken_at(step):
    class Broken(SignalEnv):
        def _observe(self):
            return super()._observe() * (np.nan if self.signal.time == step else 1.0)

    return Broken


@pytest.mark.parametrize("step", [0, 2])
def test_observation_that_is_nan(step):
    env = AdversarialObs(broken_at(step)(), attack=Noise(BALL))
    with refused(ValueError, "observation.*NaN"):
        env.reset(seed=0)
        for _ in range(step):
            env.step(env.action_space.sample())


def test_row_that_is_nan_is_named():
    envs = AdversarialObs(gym.vector.SyncVectorEnv([SignalEnv, SignalEnv, broken_at(0)]), attack=Noise(BALL))
    with refused(ValueError, r"NaN.*(row|environment)s? .*2"):
        envs.reset(seed=0)


def test_image_of_bytes_and_a_radius_for_unit_images():
    """A radius of 0.1 moves no byte, and would silently do nothing."""

    class Picture(gym.Env):
        observation_space = gym.spaces.Box(0, 255, (4, 4, 3), np.uint8)
        action_space = gym.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return self.observation_space.sample(), {}

    with refused(ValueError, r"`eps` must be >= 1 for integers .*, got 0\.1: .* Fix: .* 25\.5 for 0\.1 of 255"):
        AdversarialObs(Picture(), attack=Noise(LinfBall(0.1)))
    AdversarialObs(Picture(), attack=Noise(LinfBall(8.0))).reset(seed=0)


def test_vector_environment_in_the_wrapper_of_single_ones():
    from advwrap.wrappers.gymnasium import AdversarialObs as Single

    with refused(TypeError, r"`env` must be a gymnasium\.Env, got .* Fix: advwrap\.AdversarialObs"):
        Single(signal_vector(2), attack=Noise(BALL))


def test_transform_in_two_environments():
    transform = ObsTransform(Noise(BALL))
    first = TransformedEnv(SignalTorchRLEnv(), transform)
    with refused(AttributeError, r"Call `transform\.clone\(\)`"):
        TransformedEnv(SignalTorchRLEnv(), transform)
    assert transform.container is first


@pytest.mark.parametrize("agent", [2, 7])
def test_agent_that_is_not_there(agent):
    env = AdversarialObs(SignalParallelEnv(2), attack=Gated(Noise(BALL), OnlyAgents(0, agent)))
    with refused(
        ValueError,
        rf"`agents` must be indices of the 2 agents of the environment, got \(0, {agent}\)\. Fix: count from 0",
    ):
        env.reset(seed=0)


def test_half_a_checkpoint():
    env = AdversarialObs(SignalEnv(), attack=Noise(BALL))
    state = env.state_dict()
    state.pop(next(iter(state)))
    with refused(ValueError, r"`state` must hold"):
        env.load_state_dict(state)


def test_checkpoint_of_another_number_of_rows():
    two, three = (AdversarialObs(signal_vector(n), attack=Noise(BALL)) for n in (2, 3))
    with refused(ValueError, r"must have shape .* Fix: load into an environment with as many rows"):
        three.load_state_dict(two.state_dict())
