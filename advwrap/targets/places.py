"""Different attacks at the two ends of a transition: the ablations of VALT."""

from __future__ import annotations

from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from tensordict.utils import NestedKey, unravel_key

from advwrap.attacks import Attack, Identity
from advwrap.modules import Perturb
from advwrap.modules.streams import salted
from advwrap.sets import UNBOUNDED, Bounds


class PerturbPlaces(TensorDictModuleBase):  # type: ignore[misc]
    """`Perturb` with one attack at root and another under ``"next"``.

    In an actor-critic loss the root observation is where the policy improves, the next one where its value is
    bootstrapped, so `Identity` at one of them takes the adversary out of one of the two steps:

    * ``PerturbPlaces(root=attack, next=Identity())``: *without policy evaluation* (w/o PE), clean targets;
    * ``PerturbPlaces(root=Identity(), next=attack)``: *without policy improvement* (w/o PI), a clean actor loss.

    Both places are rewritten from the truth, so what the behaviour policy saw while it collected the batch does not
    matter. The same attack at both places is one call of `Perturb`, at half the cost.

    Source: VALT, appendix E.2, Tables 8 and 9.

    Args:
        root: The attack on `key`.
        next: The attack on ``("next", key)``.
        key: What the victim reads.
        clean_key: Where the truth is; by default beside `key`, with ``clean_`` before its name.
        bounds: The valid range of the observation.
        seed: Of the random streams, fresh entropy by default; their state is in `state_dict`.

    Reads / Writes: as `Perturb`.

    Example:
        >>> import torch
        >>> from tensordict import TensorDict
        >>> from advwrap import Identity, LinfBall, RandomVertex
        >>> following = TensorDict({"observation": torch.zeros(4, 3)}, [4])
        >>> batch = TensorDict({"observation": torch.zeros(4, 3), "next": following}, [4])
        >>> out = PerturbPlaces(root=RandomVertex(LinfBall(0.1)), next=Identity())(batch)
        >>> out["observation"].abs().max(), out["next", "observation"].abs().max()
        (tensor(0.1000), tensor(0.))
    """

    def __init__(
        self,
        *,
        root: Attack,
        next: Attack,  # noqa: A002 - the name of the entry
        key: NestedKey = "observation",
        clean_key: NestedKey | None = None,
        bounds: Bounds = UNBOUNDED,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.root = Perturb(root, key, clean_key, next=False, bounds=bounds, seed=seed)
        self.following = Perturb(next, key, clean_key, next=False, bounds=bounds, seed=salted(seed, "next"))
        self.in_keys = [*self.root.in_keys, *(unravel_key(("next", k)) for k in self.root.in_keys)]
        self.out_keys = [*self.root.out_keys, *(unravel_key(("next", k)) for k in self.root.out_keys)]

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Perturb in place, and return the tensordict."""
        self.root(tensordict)
        self.following(tensordict.get("next"))
        return tensordict

    def __repr__(self) -> str:
        return f"{type(self).__name__}(root={self.root.attack!r}, next={self.following.attack!r})"


def at_places(attack: Attack, *, root: bool, next: bool, seed: int) -> Perturb | PerturbPlaces:  # noqa: A002
    """The same attack at both places or at one of them.

    Example:
        >>> from advwrap import LinfBall, RandomVertex
        >>> at_places(RandomVertex(LinfBall(0.1)), root=True, next=False, seed=0)
        PerturbPlaces(root=RandomVertex(within=LinfBall(eps=0.1)), next=Identity())
    """
    if root and next:
        return Perturb(attack, seed=seed)
    return PerturbPlaces(root=attack if root else Identity(), next=attack if next else Identity(), seed=seed)
