"""Another attack at root than under "next"."""

import torch

from advwrap import Identity, LinfBall, Noise, RandomVertex
from advwrap.targets import PerturbPlaces
from tests.modules.test_perturb import EPS, shifts, transitions, vertex


def test_every_place_has_its_attack():
    out = PerturbPlaces(root=vertex, next=Identity())(transitions())
    root, following = shifts(out)
    torch.testing.assert_close(root.abs(), torch.full_like(root, EPS))
    assert (following == 0).all()
    root, following = shifts(PerturbPlaces(root=Identity(), next=RandomVertex(LinfBall(2 * EPS)))(transitions()))
    assert (root == 0).all()
    torch.testing.assert_close(following.abs(), torch.full_like(following, 2 * EPS))


def test_what_the_behaviour_policy_saw_does_not_matter():
    """A place without an attack shows the truth, not what was stored."""
    data = transitions(clean=True)
    out = PerturbPlaces(root=Identity(), next=Identity())(data.clone())
    for part, given in ((out, data), (out["next"], data["next"])):
        assert torch.equal(part["observation"], given["clean_observation"])


def test_seeds():
    noise = Noise(LinfBall(EPS))
    first, second, other = (PerturbPlaces(root=noise, next=noise, seed=s)(transitions()) for s in (0, 0, 1))
    for a, b, c in zip(shifts(first), shifts(second), shifts(other), strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)
    root, following = shifts(first)
    assert not torch.equal(root, following)
    module, copy = PerturbPlaces(root=noise, next=noise), PerturbPlaces(root=noise, next=noise)
    module(transitions())
    copy.load_state_dict(module.state_dict())
    for a, b in zip(shifts(copy(transitions())), shifts(module(transitions())), strict=True):
        assert torch.equal(a, b)


def test_keys():
    module = PerturbPlaces(root=vertex, next=Identity(), key=("agents", "observation"))
    assert module.in_keys == [("agents", "observation"), ("next", "agents", "observation")]
    assert ("next", "agents", "clean_observation") in module.out_keys
    assert "Identity()" in repr(module)
