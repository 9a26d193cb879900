"""Training: what joins the parts to TorchRL's `Trainer`, and files of trained agents."""

from advwrap.training.agent_file import AgentFileError, TrainedAgent, load_agent, save_agent
from advwrap.training.agent_networks import KINDS, Kind
from advwrap.training.checkpoint import Checkpoint, CheckpointError, GlobalRandomness
from advwrap.training.collector_state import CollectorState
from advwrap.training.hooks import KeepBest, advance_schedule, perturb_batches
from advwrap.training.logbook import LogBook
from advwrap.training.minibatches import Minibatches
from advwrap.training.normaliser import Normaliser
from advwrap.training.prioritised import ProportionalSampler
from advwrap.training.replayable import Replayable
from advwrap.training.returns import EpisodeReturns, ReturnScale
from advwrap.training.running_normaliser import NormaliseRunning, RunningNormaliser, normalise_batch
from advwrap.training.running_rows import Running, RunningRows
from advwrap.training.surgery import Surgery, pcgrad, protect_first
from advwrap.training.update import Update
from advwrap.training.vector_env import VectorGymEnv

__all__ = [
    "KINDS",
    "AgentFileError",
    "Checkpoint",
    "CheckpointError",
    "CollectorState",
    "EpisodeReturns",
    "GlobalRandomness",
    "KeepBest",
    "Kind",
    "LogBook",
    "Minibatches",
    "NormaliseRunning",
    "Normaliser",
    "ProportionalSampler",
    "Replayable",
    "ReturnScale",
    "Running",
    "RunningNormaliser",
    "RunningRows",
    "Surgery",
    "TrainedAgent",
    "Update",
    "VectorGymEnv",
    "advance_schedule",
    "load_agent",
    "normalise_batch",
    "pcgrad",
    "perturb_batches",
    "protect_first",
    "save_agent",
]
