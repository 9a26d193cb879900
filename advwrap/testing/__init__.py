"""The public test kit: contracts, strategies, victims and environments to test a block of your own.

* `contracts`: test classes to inherit; one factory method gives every rule that a block must keep.
* `strategies`: what Hypothesis draws: observations, radii, sets, bounds, spaces, seeds, tensordicts.
* `victims` and `stateful_victims`: policies and critics whose worst case is known, or that are easily disturbed.
* `worst_case`: that worst case, in closed form and by brute force.
* `environments`: one known observation in Gymnasium, vector, PettingZoo and TorchRL.

It needs the extra ``advwrap[testing]`` (pytest and Hypothesis). Nothing else in advwrap imports it.
"""

from importlib.util import find_spec

for _library in ("hypothesis", "pytest"):
    if find_spec(_library) is None:
        raise ImportError(f"advwrap.testing needs {_library}. Fix: pip install 'advwrap[testing]'.")

from advwrap.testing.contracts import (  # noqa: E402 - says first what is missing
    ActionAECContract,
    ActionParallelContract,
    ActionTransformContract,
    ActionVectorContract,
    ActionWrapperContract,
    AECContract,
    AttackContract,
    LossContract,
    ObjectiveContract,
    ObservationAECContract,
    ObservationParallelContract,
    ObservationTransformContract,
    ObservationVectorContract,
    ObservationWrapperContract,
    ParallelContract,
    SetContract,
    TransformContract,
    VectorContract,
    WrapperContract,
)

__all__ = [
    "AECContract",
    "ActionAECContract",
    "ActionParallelContract",
    "ActionTransformContract",
    "ActionVectorContract",
    "ActionWrapperContract",
    "AttackContract",
    "LossContract",
    "ObjectiveContract",
    "ObservationAECContract",
    "ObservationParallelContract",
    "ObservationTransformContract",
    "ObservationVectorContract",
    "ObservationWrapperContract",
    "ParallelContract",
    "SetContract",
    "TransformContract",
    "VectorContract",
    "WrapperContract",
]
