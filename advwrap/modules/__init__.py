"""TensorDict modules: attacks on tensordicts, and policies that act under attack."""

from advwrap.modules.adversary import GaussianAdversary
from advwrap.modules.perturb import Perturb
from advwrap.modules.policies import attacked_policy, reads_also

__all__ = ["GaussianAdversary", "Perturb", "attacked_policy", "reads_also"]
