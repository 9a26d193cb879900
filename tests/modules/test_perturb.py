"""`Perturb`: an attack on a batch of transitions."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensordict import TensorDict
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import nn
from torchrl.modules import LSTMModule

from advwrap import (
    PGD,
    ActionShift,
    AtMost,
    Bounds,
    Gated,
    Identity,
    L2Ball,
    LinfBall,
    Noise,
    OnlyAgents,
    RandomVertex,
)
from advwrap.modules import Perturb

EPS = 0.25
vertex = RandomVertex(LinfBall(EPS))


def transitions(batch=(6,), features=4, *, clean=False):
    generator = torch.Generator().manual_seed(0)
    following = TensorDict({"observation": torch.rand(*batch, features, generator=generator)}, batch)
    data = TensorDict({"observation": torch.rand(*batch, features, generator=generator), "next": following}, batch)
    if clean:
        for part in (data, following):
            part["clean_observation"] = part["observation"] - 0.1
    return data


def shifts(data):
    return [part["observation"] - part["clean_observation"] for part in (data, data["next"])]


class Recording:
    """An attack that remembers its calls."""

    def __init__(self, attack=vertex):
        self.attack, self.calls = attack, []

    def __call__(self, clean, *, context=None, **options):
        self.calls.append((clean, context))
        return self.attack(clean, context=context, **options)


@given(st.lists(st.integers(1, 3), max_size=3), st.booleans())
def test_both_places_any_batch_size(batch, clean):
    data = transitions(tuple(batch), clean=clean)
    truth = [part["clean_observation" if clean else "observation"].clone() for part in (data, data["next"])]
    out = Perturb(vertex)(data)
    assert out is data
    for shift in shifts(out):
        torch.testing.assert_close(shift.abs(), torch.full_like(shift, EPS))
    for part, expected in zip((out, out["next"]), truth, strict=True):
        assert torch.equal(part["clean_observation"], expected)
        assert part["observation"].shape == part["clean_observation"].shape


def test_one_call_of_2b_rows():
    attack = Recording()
    data = Perturb(attack)(transitions((3, 2)))
    [(clean, _)] = attack.calls
    assert torch.equal(clean[:6], data["clean_observation"].flatten(0, 1))
    assert torch.equal(clean[6:], data["next", "clean_observation"].flatten(0, 1))


def test_twice_is_once():
    module, data = Perturb(vertex, seed=0), transitions()
    once = module(data.clone())
    twice = module(once.clone())
    for shift in shifts(twice):
        torch.testing.assert_close(shift.abs(), torch.full_like(shift, EPS))
    again = Perturb(vertex, seed=0)(twice.clone())
    assert torch.equal(again["observation"], once["observation"])
    assert torch.equal(again["clean_observation"], data["observation"])


def test_each_place_has_its_own_truth():
    """What `attacked_policy` collects: the root is perturbed and knows it, the next observation is clean."""
    data = transitions()
    data["clean_observation"] = data["observation"] + 0.5
    Perturb(Identity())(data)
    assert torch.equal(data["observation"], data["clean_observation"])
    assert torch.equal(data["next", "clean_observation"], data["next", "observation"])


def test_no_graph():
    data = transitions()
    data["observation"].requires_grad_()
    net = nn.Linear(4, 2)
    Perturb(PGD(ActionShift(net), within=LinfBall(EPS)))(data)
    assert not any(value.requires_grad for value in data.values(True, True))
    assert net.weight.grad is None


def test_root_only():
    data = Perturb(vertex, next=False)(transitions())
    assert "clean_observation" not in data["next"]
    bare = transitions().exclude("next")
    assert "clean_observation" in Perturb(vertex, next=False)(bare)
    with pytest.raises(KeyError, match=r"no 'next' among.*Fix: Perturb\(attack, next=False\)"):
        Perturb(vertex)(bare)


def test_other_keys():
    data = transitions().rename_key_("observation", "pixels")
    data["next"].rename_key_("observation", "pixels")
    out = Perturb(vertex, key="pixels", clean_key=("truth", "pixels"))(data)
    assert out["truth", "pixels"].shape == out["pixels"].shape
    with pytest.raises(KeyError, match=r"neither 'clean_observation' nor 'observation'.*Fix: Perturb\(attack, key="):
        Perturb(vertex)(out)


def test_bounds():
    data = Perturb(vertex, bounds=Bounds(0.0, 1.0))(transitions())
    assert data["observation"].min() >= 0
    assert data["observation"].max() <= 1


def agents(batch=(2,), n=3):
    def part(seed):
        x = torch.rand(*batch, n, 4, generator=torch.Generator().manual_seed(seed))
        return TensorDict({"agents": TensorDict({"observation": x}, [*batch, n])}, batch)

    data = part(0)
    data["next"] = part(1)
    return data


class TestAgents:
    def test_every_agent_is_a_row(self):
        attack = Recording(RandomVertex(L2Ball(EPS)))
        data = Perturb(attack, key=("agents", "observation"))(agents((2, 5)))
        assert attack.calls[0][0].shape == (60, 4)
        for part in (data, data["next"]):
            shift = part["agents", "observation"] - part["agents", "clean_observation"]
            torch.testing.assert_close(shift.norm(dim=-1), torch.full((2, 5, 3), EPS))

    def test_only_some_agents(self):
        attack = Gated(vertex, OnlyAgents(0, 2))
        data = Perturb(attack, key=("agents", "observation"))(agents())
        changed = (data["agents", "observation"] != data["agents", "clean_observation"]).any(-1)
        assert torch.equal(changed, torch.tensor([[True, False, True]] * 2))


class TestContext:
    def test_hidden_states_of_root_and_next(self):
        torch.manual_seed(0)
        memory = LSTMModule(
            input_size=4, hidden_size=5, in_keys=["observation", "h", "c"], out_keys=["e", ("next", "h"), ("next", "c")]
        )
        actor = TensorDictSequential(memory, TensorDictModule(nn.Linear(5, 2), ["e"], ["action"]))
        data = transitions((3, 2))
        for part in (data, data["next"]):
            part.update({name: torch.randn(3, 2, 1, 5) for name in ("h", "c")})
            part["is_init"] = torch.zeros(3, 2, 1, dtype=torch.bool)
        attack = PGD(ActionShift(actor), within=LinfBall(EPS))
        keys = ["observation", "h", "c", "is_init"]
        out = Perturb(attack, seed=0)(data.clone())
        # The same, one place after the other.
        for part, seen in ((data, out), (data["next"], out["next"])):
            rows = part.select(*keys).reshape(-1)
            score = attack.objective(rows["observation"], rows)
            shift = seen["observation"].flatten(0, 1) - rows["observation"]
            assert shift.abs().max() <= EPS + 1e-6
            assert (score(seen["observation"].flatten(0, 1)) > 0).all()
        before = {key: data[key].clone() for key in ("h", "c")}
        assert all(torch.equal(out[key], before[key]) for key in before)

    def test_a_missing_hidden_state_is_an_error(self):
        actor = TensorDictModule(nn.Linear(5, 2), ["observation", "h"], ["action"])
        with pytest.raises(KeyError, match=r"no 'h'.*Fix"):
            Perturb(PGD(ActionShift(actor), within=LinfBall(EPS)))(transitions())

    def test_counts_of_an_episode_are_not_known(self):
        with pytest.raises(ValueError, match="'attacked_steps'"):
            Perturb(Gated(vertex, AtMost(1)))(transitions())

    def test_the_truth_is_known(self):
        attack = Recording()
        Perturb(attack)(transitions())
        clean, context = attack.calls[0]
        assert torch.equal(context["clean_observation"], clean)


class TestRandomness:
    noise = Noise(LinfBall(EPS))

    def run(self, module, times=2):
        return torch.stack([module(transitions())["observation"] for _ in range(times)])

    def test_a_seed_repeats(self):
        first, second, other = (self.run(Perturb(self.noise, seed=s)) for s in (0, 0, 1))
        assert torch.equal(first, second)
        assert not torch.equal(first, other)
        assert not torch.equal(first[0], first[1])
        assert not torch.equal(self.run(Perturb(self.noise)), self.run(Perturb(self.noise)))

    def test_seed_begins_anew(self):
        module = Perturb(self.noise, seed=0)
        first = self.run(module)
        module.seed(0)
        assert torch.equal(self.run(module), first)

    def test_global_generator_is_not_touched(self):
        state = torch.get_rng_state()
        self.run(Perturb(self.noise))
        assert torch.equal(torch.get_rng_state(), state)

    def test_a_saved_state_continues(self):
        module, other = Perturb(self.noise, seed=0), Perturb(self.noise)
        self.run(module)
        saved = module.state_dict()
        expected = self.run(module)
        other.load_state_dict(saved)
        assert torch.equal(self.run(other), expected)
        assert all(isinstance(value, torch.Tensor) for value in saved.values())

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])  # noqa: S301
    def test_a_copy_continues_on_its_own(self, copied):
        module = Perturb(self.noise, seed=0)
        self.run(module)
        twin = copied(module)
        expected = self.run(module)
        assert torch.equal(self.run(twin), expected)


def test_networks_of_the_attack_are_not_parts_of_the_module():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, clean, **options):
            return clean + self.linear(clean).tanh()

    module = Perturb(Network())
    assert list(module.parameters()) == []
    module.attack = Network()
    assert list(module.parameters()) == []
    assert not any(isinstance(part, Network) for part in module.modules())


def test_keys_as_a_module():
    module = Perturb(vertex)
    assert module.in_keys == ["observation", ("next", "observation")]
    sequence = TensorDictSequential(
        Perturb(vertex, next=False), TensorDictModule(nn.Linear(4, 1), ["observation"], ["v"])
    )
    assert sequence.in_keys == ["observation"]
    assert set(sequence.out_keys) >= {"observation", "clean_observation", "v"}


def test_empty_batch():
    assert Perturb(vertex)(transitions((0,))).shape == (0,)
