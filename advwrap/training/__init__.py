"""Training: what joins the parts to TorchRL's `Trainer`, and files of trained agents."""

from advwrap.training.agent_file import AgentFileError, TrainedAgent, load_agent, save_agent
from advwrap.training.hooks import KeepBest, advance_schedule, perturb_batches
from advwrap.training.normaliser import Normaliser

__all__ = [
    "AgentFileError",
    "KeepBest",
    "Normaliser",
    "TrainedAgent",
    "advance_schedule",
    "load_agent",
    "perturb_batches",
    "save_agent",
]
