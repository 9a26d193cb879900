"""Training: what joins the parts to TorchRL's `Trainer`, and files of trained agents."""

from advwrap.training.agent_file import AgentFileError, TrainedAgent, load_agent, save_agent
from advwrap.training.gaussian_agent import GaussianAgent
from advwrap.training.hooks import KeepBest, advance_schedule, perturb_batches
from advwrap.training.minibatches import Minibatches
from advwrap.training.normaliser import Normaliser
from advwrap.training.returns import EpisodeReturns, ReturnScale
from advwrap.training.running_rows import Running, RunningRows
from advwrap.training.vector_env import VectorGymEnv

__all__ = [
    "AgentFileError",
    "EpisodeReturns",
    "GaussianAgent",
    "KeepBest",
    "Minibatches",
    "Normaliser",
    "ReturnScale",
    "Running",
    "RunningRows",
    "TrainedAgent",
    "VectorGymEnv",
    "advance_schedule",
    "load_agent",
    "perturb_batches",
    "save_agent",
]
