"""The twenty properties P1 to P20, each in tests named after it, over random attacks, sets, inputs and environments.

The contracts of `advwrap.testing` state most of them per block; here whatever is drawn has to keep them, and the
properties of whole environments are added.
"""

import copy
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from hypothesis import given
from hypothesis import strategies as st

from advwrap import (
    FGSM,
    PGD,
    ActionShift,
    AdversarialAction,
    AdversarialObs,
    AtMost,
    Gated,
    GaussianNoise,
    Identity,
    L1Ball,
    L2Ball,
    Langevin,
    Learned,
    LinfBall,
    LowValue,
    Masked,
    Mixture,
    Noise,
    OnlyAgents,
    RandomVertex,
    Search,
    Square,
    Worst,
)
from advwrap.randomness import Streams
from advwrap.testing import strategies
from advwrap.testing.contracts.rules import assert_untouched, global_randomness_untouched, same_bits, snapshot
from advwrap.testing.environments import (
    SIGNAL,
    SignalEnv,
    SignalParallelEnv,
    SignalTorchRLEnv,
    signal_aec,
    signal_vector,
)
from advwrap.testing.stateful_victims import BatchNormPolicy, gru_actor, lstm_actor, recurrent_context
from advwrap.testing.victims import ElementwisePolicy, LinearValue

WEIGHT = torch.tensor([1.0, -2.0, 0.5])
VICTIM = ElementwisePolicy(WEIGHT, torch.tensor([0.1, 0.0, -0.3]))


def value(observation):
    """Feature by feature, so that a row's bits do not depend on the batch."""
    w = WEIGHT.to(observation)
    y = observation.flatten(1) * w[: observation[0].numel()] if len(observation) else observation.flatten(1)
    return sum(y[:, j] * (1 + 0.1 * y[:, j]) for j in range(y.shape[1]))


LOW, SHIFT = LowValue(value=value), ActionShift(VICTIM)
ATTACKS = {
    "noise": Noise,
    "gaussian": lambda within: GaussianNoise(0.3, within),
    "vertex": RandomVertex,
    "fgsm": lambda within: FGSM(LOW, within=within),
    "pgd": lambda within: PGD(SHIFT, within=within, steps=2),
    "best pgd": lambda within: PGD(LOW, within=within, steps=2, restarts=2, best=True),
    "langevin": lambda within: Langevin(SHIFT, within=within, steps=2),
    "square": lambda within: Search(LOW, within=within, strategy=Square(tries=4)),
    "learned": lambda within: Learned(VICTIM, within=within),
    "mixture": lambda within: Mixture((0.4, Noise(within)), (0.6, FGSM(LOW, within=within))),
    "worst": lambda within: Worst([Noise(within), FGSM(LOW, within=within)], LOW),
    "gated": lambda within: Gated(Noise(within), AtMost(1)),
}
attacks = st.sampled_from(list(ATTACKS.values()))
sets = strategies.sets(shape=(3,))


def cleans(rows=None, dtypes=strategies.FLOATS, **options):
    return strategies.dtypes(among=dtypes).flatmap(
        lambda dtype: strategies.observations(shape=(3,), rows=rows, dtype=dtype, **options)
    )


def run(attack, clean, *, seed=0, **options):
    context = {"attacked_steps": torch.zeros(len(clean), dtype=torch.int64)}
    return attack(clean, context=context, generator=Streams.seeded(range(seed, seed + len(clean))), **options)


# P1 to P10: one attack call


@given(attacks, sets, cleans(), st.one_of(st.none(), strategies.bounds(shape=(3,))))
def test_p01_ball(make, within, clean, bounds):
    adv = run(make(within), clean, **({} if bounds is None else {"bounds": bounds}))
    assert within.contains(adv.double() - clean.double()).all()


@given(
    st.sampled_from([Noise, RandomVertex, ATTACKS["fgsm"], ATTACKS["best pgd"]]),
    sets,
    cleans(dtypes=(torch.float16, torch.bfloat16), largest=1e4),
)
def test_p01_ball_in_short_dtypes(make, within, clean):
    adv = run(make(within), clean)
    assert adv.dtype == clean.dtype
    assert within.contains(adv.double() - clean.double()).all()


@given(
    st.sampled_from([LinfBall, L2Ball, L1Ball]),
    st.floats(0.01, 1.0),
    cleans(rows=2, dtypes=strategies.ALL_FLOATS, largest=2.0),
)
def test_p01_ball_is_used(ball, eps, clean):
    """Rounding inwards costs the last digits, not the perturbation: the largest noise reaches the border."""
    adv = run(RandomVertex(ball(eps)), clean)
    delta = (adv.double() - clean.double()).abs()
    size = {LinfBall: delta.amin(1), L2Ball: delta.norm(dim=1), L1Ball: delta.sum(1)}[ball]
    digit = torch.finfo(clean.dtype).eps * 4  # two steps of the numbers up to 4, in three features
    assert (size >= eps - 3 * digit).all()


@given(attacks, sets, cleans(), strategies.bounds(shape=(3,)))
def test_p02_space(make, within, clean, bounds):
    """Within the bounds where the clean value is; never further out than it."""
    adv = run(make(within), clean, bounds=bounds)
    low, high = (torch.as_tensor(limit).double() for limit in (bounds.low, bounds.high))
    inside = (clean.double() >= low) & (clean.double() <= high)
    assert ((adv.double() >= low) & (adv.double() <= high))[inside].all()
    distance = torch.maximum(low - clean.double(), clean.double() - high)
    moved = torch.maximum(low - adv.double(), adv.double() - high)
    assert (moved <= distance.clamp_min(0)).all()
    assert (adv.shape, adv.dtype, adv.device) == (clean.shape, clean.dtype, clean.device)
    assert adv.is_contiguous()


class Drawn(gym.Env):
    """Shows members of any space."""

    action_space = gym.spaces.Discrete(2)

    def __init__(self, space):
        self.observation_space = space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed if seed is not None else int(self.np_random.integers(2**31)))
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


def box_in(space):
    """The path to some Box of a Dict, or None for a Box itself."""
    path = []
    while isinstance(space, gym.spaces.Dict):
        name = min(space.spaces)
        path.append(name)
        space = space[name]
    return tuple(path) or None


@given(strategies.spaces(), strategies.seeds(), st.sampled_from([LinfBall, L2Ball, L1Ball]), st.floats(0, 20))
def test_p02_members_of_the_space(space, seed, ball, eps):
    env = AdversarialObs(Drawn(space), attack=RandomVertex(ball(eps)), key=box_in(space))
    observation, info = env.reset(seed=seed)
    for _ in range(2):
        assert observation in env.observation_space
        assert info["clean_observation"] in space
        observation, *_, info = env.step(0)


@given(attacks, strategies.sets(shape=(3,), eps=st.just(0.0)), cleans(infinities=True))
def test_p03_no_radius_no_change(make, within, clean):
    assert same_bits(run(make(within), clean), clean)


@given(strategies.sets(shape=(3,), sparse=False), *[cleans(rows=2, dtypes=[torch.float64])] * 2)
def test_p04_projection(within, a, b):
    """Idempotent and not spreading; nearness and the agreement with a QP solver are in tests/sets."""
    pa, pb = within.project(a), within.project(b)
    assert torch.allclose(within.project(pa), pa, atol=1e-9)
    assert ((pa - pb).norm(dim=1) <= (a - b).norm(dim=1) + 1e-9).all()
    assert within.contains(pa * (1 - 1e-9)).all()


@given(attacks, sets, cleans(rows=2))
def test_p05_clean_is_unchanged_and_not_aliased(make, within, clean):
    before = clean.clone()
    adv = run(make(within), clean)
    assert same_bits(clean, before)
    adv.fill_(7.0)
    assert same_bits(clean, before)


@pytest.mark.parametrize("name", ATTACKS)
def test_p05_buffers_of_the_environment(name):
    """An environment that shows its own state sees nobody write to it."""

    class Open(SignalEnv):
        def reset(self, **options):
            super().reset(**options)
            self.state = np.ones(3, np.float32)
            return self.state, {}

        def step(self, action):
            return self.state, 0.0, False, False, {}

    env = AdversarialObs(Open(), attack=ATTACKS[name](LinfBall(0.5)))
    observation, info = env.reset(seed=0)
    for _ in range(3):
        observation[:] = 9.0
        observation, *_, info = env.step(env.action_space.sample())
        assert (env.unwrapped.state == 1).all()
        assert (info["clean_observation"] == 1).all()


@given(attacks, sets, cleans(), strategies.seeds())
def test_p06_seed(make, within, clean, seed):
    attack = make(within)
    with global_randomness_untouched():
        first, second = run(attack, clean, seed=seed), run(attack, clean, seed=seed)
    assert same_bits(first, second)


@pytest.mark.parametrize("name", ATTACKS)
def test_p06_other_seeds_differ(name):
    attack, clean = ATTACKS[name](LinfBall(0.5)), torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    # These end at one vertex, whatever the start was.
    deterministic = name in ("fgsm", "learned", "best pgd", "worst")
    assert torch.equal(run(attack, clean, seed=0), run(attack, clean, seed=100)) == deterministic


@given(strategies.seeds(), st.integers(1, 7))
def test_p06_generators_of_the_environment(seed, steps):
    """The environment's own generator is not advanced: attacked and clean episodes begin alike."""
    attacked, bare = AdversarialObs(SignalEnv(), attack=Noise(LinfBall(0.1))), SignalEnv()
    for env in (attacked, bare):
        env.reset(seed=seed)
        for _ in range(steps):
            env.step(np.zeros(2, np.float32))
    assert attacked.np_random.bit_generator.state == bare.np_random.bit_generator.state


VICTIMS = {
    "batch norm": (lambda: BatchNormPolicy(3, 2), None),
    "GRU": (lambda: gru_actor(3, 2), recurrent_context),
    "LSTM": (lambda: lstm_actor(3, 2), recurrent_context),
}


@pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad, torch.inference_mode], ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", VICTIMS)
def test_p07_victim_is_untouched(name, mode, context):
    make, state = VICTIMS[name]
    victim = make().train(mode)
    victim.requires_grad_(mode)
    for p in victim.parameters():
        p.grad = torch.ones_like(p)
    around = {} if state is None else dict(state(victim, 4))
    kept, before = copy.deepcopy(around), snapshot([victim])
    with context():
        for attack in (
            PGD(ActionShift(victim), within=LinfBall(0.1), steps=2),
            FGSM(ActionShift(victim), within=L2Ball(0.1)),
        ):
            adv = attack(torch.ones(4, 3), context=around)
            assert adv.isfinite().all()
    assert_untouched([victim], before)
    for key, tensor in kept.items():
        assert torch.equal(around[key], tensor)


@pytest.mark.parametrize("call", [1, 2, 3, 5])
@pytest.mark.parametrize("name", VICTIMS)
def test_p07_victim_is_untouched_by_a_failure(name, call):
    """An exception at the n-th forward pass, in the middle of the network."""
    make, state = VICTIMS[name]
    victim = make().train()
    calls = []

    def fail(module, arguments):
        calls.append(module)
        if len(calls) == call:
            raise ZeroDivisionError("half-way")

    last = [m for m in victim.modules() if isinstance(m, torch.nn.Linear)][-1]
    hook = last.register_forward_pre_hook(fail)
    before, grad_mode = snapshot([victim]), torch.is_grad_enabled()
    attack = PGD(ActionShift(victim), within=LinfBall(0.1), steps=5, best=True)
    with pytest.raises(ZeroDivisionError):
        attack(torch.ones(4, 3), context=None if state is None else state(victim, 4))
    hook.remove()
    assert_untouched([victim], before)
    assert torch.is_grad_enabled() == grad_mode


@given(attacks, cleans(rows=2, dtypes=[torch.float32]))
def test_p08_without_gradients(make, clean):
    attack = make(LinfBall(0.3))
    usual = run(attack, clean)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert same_bits(run(attack, clean), usual)
            assert same_bits(run(attack, clean.clone()), usual)


def test_p08_compile():
    """Traced as far as torch can, the numbers stay: checked without a compiler for the generated code."""
    attack = FGSM(LowValue(value=torch.nn.Linear(3, 1)), within=LinfBall(0.1))
    clean = torch.ones(2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(attack, backend="eager")(clean)
    assert torch.equal(compiled, attack(clean))


@given(attacks, sets, cleans(rows=3), st.permutations(range(3)))
def test_p09_rows(make, within, clean, order):
    attack, order = make(within), torch.tensor(order)
    whole = run(attack, clean)
    alone = torch.cat([run(attack, clean[i : i + 1], seed=i) for i in range(3)])
    context = {"attacked_steps": torch.zeros(3, dtype=torch.int64)}
    moved = attack(clean[order], context=context, generator=Streams.seeded(order.tolist()))
    assert same_bits(whole, alone)
    assert same_bits(moved, whole[order])
    assert run(attack, clean[:0]).shape == (0, 3)


@given(sets, cleans(dtypes=[torch.float64]), st.integers(1, 4))
def test_p10_best_iterate(within, clean, steps):
    """Never worse than no attack, nor than a shorter search."""
    few, more = (PGD(LOW, within=within, steps=n, step_size=0.6, best=True) for n in (steps, steps + 2))
    score = LOW(clean)
    before, short, long = (score(x) for x in (clean, run(few, clean), run(more, clean)))
    slack = 1e-9 * (1 + before.abs())  # the result is rounded into the set
    assert (short >= before - slack).all()
    assert (long >= short - slack).all()


@given(cleans(dtypes=[torch.float64]), st.tuples(st.floats(0, 2), st.floats(0, 2)).map(sorted))
def test_p10_nested_balls(clean, radii):
    v = LinearValue(WEIGHT.double())
    for ball in (LinfBall, L2Ball, L1Ball):
        small, large = (v(FGSM(LowValue(value=v), within=ball(eps))(clean)) for eps in radii)
        assert (large <= small + 1e-9).all()
        exact = v.lowest(clean, ball(radii[1]))
        assert torch.allclose(large, exact, atol=1e-9)


# P11 to P18: environments


def play(env, actions, seed):
    steps = [(*env.reset(seed=seed), 0.0, False, False)]
    for action in actions:
        if steps[-1][3] or steps[-1][4]:
            steps.append((*env.reset(), 0.0, False, False))
        observation, reward, terminated, truncated, info = env.step(action)
        steps.append((observation, info, reward, terminated, truncated))
    return steps


plans = st.lists(st.tuples(*[st.floats(-1, 1, width=32)] * 2).map(lambda a: np.array(a, np.float32)), max_size=7)


@given(attacks, plans, strategies.seeds())
def test_p11_only_the_observation_changes(make, actions, seed):
    bare = play(SignalEnv(), actions, seed)
    attacked = play(AdversarialObs(SignalEnv(), attack=make(LinfBall(0.2))), actions, seed)
    for a, b in zip(bare, attacked, strict=True):
        assert a[2:] == b[2:]
        assert np.array_equal(a[0], b[1]["clean_observation"])


@given(plans, strategies.seeds())
def test_p11_paired_episodes_run_alike_under_action_attacks(actions, seed):
    """Replaying the executed actions is the same run."""
    env = AdversarialAction(SignalEnv(), attack=Noise(LinfBall(0.2)))
    attacked = play(env, actions, seed)
    executed = [step[1]["executed_action"] for step in attacked if "executed_action" in step[1]]
    for a, b in zip(play(SignalEnv(), executed, seed), attacked, strict=True):
        assert np.array_equal(a[0], b[0])
        assert a[2:] == b[2:]


@given(st.floats(0, 0.5), st.floats(0, 0.5), strategies.seeds())
def test_p12_stacked_budgets_add_up(inner, outer, seed):
    env = AdversarialObs(SignalEnv(), attack=RandomVertex(LinfBall(inner)))
    env = AdversarialObs(env, attack=RandomVertex(LinfBall(outer)))
    for observation, info, *_ in play(env, [np.zeros(2, np.float32)] * 4, seed):
        moved = np.abs(observation.astype(np.float64) - info["clean_observation"])
        assert (moved <= np.float64(inner) + np.float64(outer)).all()


@given(strategies.seeds())
def test_p12_identity_is_neutral(seed):
    once = AdversarialObs(SignalEnv(), attack=Noise(LinfBall(0.2)))
    around = AdversarialObs(AdversarialObs(SignalEnv(), attack=Noise(LinfBall(0.2))), attack=Identity())
    for a, b in zip(play(once, [], seed), play(around, [], seed), strict=True):
        assert np.array_equal(a[0], b[0])
        assert np.array_equal(a[1]["clean_observation"], b[1]["clean_observation"])


@given(cleans(dtypes=[torch.float64]), strategies.masks(shape=(3,)))
def test_p12_disjoint_masks_commute(clean, mask):
    """Where the victim's features do not interact, two attacks on different ones may come in any order."""
    v = LowValue(value=LinearValue(WEIGHT.double()))
    one, other = (FGSM(v, within=Masked(LinfBall(0.3), m)) for m in (mask, ~mask))
    assert torch.equal(one(other(clean)), other(one(clean)))


@given(attacks, cleans(rows=3, infinities=True), strategies.masks(shape=(3,)))
def test_p13_protected_features_stay(make, clean, mask):
    adv = run(make(Masked(LinfBall(0.5), mask)), clean)
    assert same_bits(adv[:, ~mask], clean[:, ~mask])


@given(st.integers(0, 3), plans, strategies.seeds())
def test_p13_budget_is_never_exceeded(n, actions, seed):
    """Per episode; a reset returns it."""
    env = AdversarialObs(SignalEnv(horizon=3), attack=Gated(RandomVertex(LinfBall(0.2)), AtMost(n)))
    steps = play(env, actions, seed)
    starts = [0, *[i + 1 for i, step in enumerate(steps) if step[3]]]
    for start, stop in zip(starts, [*starts[1:], len(steps)], strict=True):
        moved = [(step[0] != step[1]["clean_observation"]).any() for step in steps[start:stop]]
        assert sum(moved) == min(n, len(moved))


@given(strategies.seeds())
def test_p13_spared_agents_stay(seed):
    env = AdversarialObs(SignalParallelEnv(3), attack=Gated(RandomVertex(LinfBall(0.2)), OnlyAgents(1)))
    seen, _ = env.reset(seed=seed)
    clean, _ = SignalParallelEnv(3).reset(seed=seed)
    assert [bool((seen[a] != clean[a]).any()) for a in sorted(clean)] == [False, True, False]


@given(attacks, sets, cleans(rows=3), strategies.masks(shape=(3,)), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_p14_broken_rows(make, within, clean, features, bad):
    broken = clean.clone()
    broken[1, features] = bad
    attack = make(within)
    adv, whole = run(attack, broken), run(attack, clean)
    assert same_bits(adv[::2], whole[::2])
    assert same_bits(adv[1, features], broken[1, features])
    assert adv[1, ~features].isfinite().all()


def test_p14_environments_refuse_nan():
    class Broken(SignalEnv):
        def _observe(self):
            return super()._observe() * np.nan

    for make in (Broken, lambda: gym.vector.SyncVectorEnv([SignalEnv, Broken])):
        with pytest.raises(ValueError, match="NaN"):
            AdversarialObs(make(), attack=Noise(LinfBall(0.1))).reset(seed=0)


@given(st.sampled_from([n for n in ATTACKS if n not in ("mixture", "worst")]), cleans(rows=2))
def test_p15_copies_of_attacks(name, clean):
    """Deep copies and pickles attack alike."""
    attack = ATTACKS[name](LinfBall(0.3))
    usual = run(attack, clean)
    assert same_bits(run(copy.deepcopy(attack), clean), usual)
    assert same_bits(run(pickle.loads(pickle.dumps(attack)), clean), usual)  # noqa: S301


@given(plans, plans, strategies.seeds())
def test_p15_checkpoint_continues(before, after, seed):
    """Saved to a file and loaded without executing code, the environment goes on bit for bit."""
    import io

    attack = Gated(Noise(LinfBall(0.2)), AtMost(4))
    first, second = (AdversarialObs(SignalEnv(horizon=100), attack=attack) for _ in range(2))
    play(first, before, seed)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.reset(seed=0)
    second.load_state_dict(torch.load(file, weights_only=True))
    second.unwrapped.signal = copy.deepcopy(first.unwrapped.signal)
    for action in after:
        a, b = first.step(action), second.step(action)
        assert np.array_equal(a[0], b[0])
        assert np.array_equal(a[4]["clean_observation"], b[4]["clean_observation"])


def gymnasium_seen(attack, actions, seed):
    return np.stack([step[0] for step in play(AdversarialObs(SignalEnv(), attack=attack), actions, seed)])


def vector_seen(attack, actions, seed):
    env = AdversarialObs(signal_vector(3), attack=attack)
    seen = [env.reset(seed=seed - 1)[0], *(env.step(np.stack([a] * 3))[0] for a in actions)]
    return np.stack(seen)[:, 1]


def parallel_seen(attack, actions, seed):
    env = AdversarialObs(SignalParallelEnv(1), attack=attack)
    steps = [env.reset(seed=seed)[0], *(env.step({"agent_0": a})[0] for a in actions)]
    return np.stack([step["agent_0"] for step in steps])


def aec_seen(attack, actions, seed):
    env = AdversarialObs(signal_aec(1), attack=attack)
    env.reset(seed=seed)
    seen = [env.last()[0]]
    for action in actions:
        env.step(action)
        seen.append(env.last()[0])
    return np.stack(seen)


def torchrl_seen(attack, actions, seed):
    env = AdversarialObs(SignalTorchRLEnv(rows=3), attack=attack)
    with torch.random.fork_rng(devices=[]):
        env.set_seed(seed - 1)
    data, seen = env.reset(), []
    for action in actions:
        seen.append(data["observation"][1])
        data = env.step(data.set("action", torch.from_numpy(np.stack([action] * 3))))["next"]
    return torch.stack([*seen, data["observation"][1]]).numpy()


FOUR = [np.array([0.1 * t, -0.2 * t], np.float32) for t in range(4)]


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("see", [vector_seen, parallel_seen, aec_seen, torchrl_seen], ids=lambda f: f.__name__)
def test_p16_same_numbers_in_every_framework(see, name):
    """Bit for bit, white-box attacks too: the victim's numbers do not depend on the batch."""
    attack = ATTACKS[name](LinfBall(0.2))
    np.testing.assert_array_equal(see(attack, FOUR, 1234), gymnasium_seen(attack, FOUR, 1234))


@given(attacks, strategies.seeds())
def test_p17_spec_round_trip(make, seed):
    env = AdversarialObs(gym.make(SIGNAL), attack=make(LinfBall(0.2)))
    rebuilt = gym.make(env.spec)
    for a, b in zip(play(env, FOUR, seed), play(rebuilt, FOUR, seed), strict=True):
        assert np.array_equal(a[0], b[0])


@pytest.mark.parametrize("channel", [AdversarialObs, AdversarialAction])
@pytest.mark.parametrize("name", ATTACKS)
def test_p17_checkers(channel, name):
    make = ATTACKS[name]
    if channel is AdversarialAction:  # two features
        make = {"pgd": Noise, "langevin": Noise, "learned": Noise}.get(name, make)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version")
        check_env(channel(SignalEnv(), attack=make(LinfBall(0.2))), skip_render_check=True)


@given(strategies.spaces())
def test_p17_checkers_of_any_space(space):
    env = AdversarialObs(Drawn(space), attack=RandomVertex(LinfBall(0.2)), key=box_in(space))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it recommends other spaces
        check_env(env, skip_render_check=True)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@given(seed=strategies.seeds(), horizons=st.lists(st.integers(1, 4), min_size=2, max_size=3))
def test_p18_autoreset(mode, seed, horizons):
    """Every row of a vector sees what it sees alone, in every mode; the final observation stays clean."""
    attack = Gated(Noise(LinfBall(0.2)), AtMost(2))
    envs = AdversarialObs(signal_vector(len(horizons), horizon=horizons, autoreset=mode), attack=attack)
    nothing = np.zeros((len(horizons), 2), np.float32)
    observations, infos = envs.reset(seed=seed)
    singles = [AdversarialObs(SignalEnv(horizon=h), attack=attack) for h in horizons]
    alone = [env.reset(seed=seed + i)[0] for i, env in enumerate(singles)]
    over = [False] * len(horizons)
    for _ in range(7):
        np.testing.assert_array_equal(observations, np.stack(alone))
        observations, _, terminated, _, infos = envs.step(nothing)
        for i, env in enumerate(singles):
            if mode is AutoresetMode.NEXT_STEP and over[i]:
                alone[i], over[i] = env.reset()[0], False
                continue
            alone[i], _, over[i], *_, info = env.step(nothing[i])
            assert over[i] == terminated[i]
            if mode is AutoresetMode.SAME_STEP and over[i]:
                np.testing.assert_array_equal(infos["final_obs"][i], info["clean_observation"])
                alone[i] = env.reset()[0]


@given(cleans(dtypes=[torch.float64], largest=2.0), st.sampled_from([LinfBall, L2Ball, L1Ball]))
def test_p19_float32_is_float64_up_to_rounding(clean, ball):
    """In what is drawn, and in what is reached."""
    for make in (Noise, RandomVertex):
        double, single = run(make(ball(0.3)), clean), run(make(ball(0.3)), clean.float())
        assert torch.allclose(single.double(), double, atol=1e-5)
    search = PGD(LOW, within=ball(0.3), steps=3)
    double, single = run(search, clean), run(search, clean.float())
    assert torch.allclose(LOW(clean)(double), LOW(clean)(single.double()), atol=1e-4)


@given(sets, cleans(rows=2), st.data())
def test_p20_learned_adversary(within, clean, data):
    """Whatever the network says, infinities included, the observation is in the set; NaN says nothing."""
    extreme = st.sampled_from([0.0, -1.0, 0.3, 1e30, -np.inf, np.inf, np.nan])
    said = torch.tensor(data.draw(st.lists(extreme, min_size=6, max_size=6))).reshape(2, 3)
    adv = Learned(lambda observation: said, within=within)(clean)
    assert within.contains(adv.double() - clean.double()).all()
    assert adv.isfinite().all()


def test_p20_learned_adversary_is_clipped_before_it_is_projected():
    """x = P(s + eps clip(nu, -1, 1)): a loud feature drowns the others no more than tenfold here."""
    adv = Learned(lambda observation: torch.tensor([[50.0, 0.1, 0.0]]), within=L2Ball(0.5))(torch.zeros(1, 3))
    direction = torch.tensor([1.0, 0.1, 0.0])
    assert torch.allclose(adv[0], 0.5 * direction / direction.norm())
