"""PPO round by round, on TorchRL's loss, advantages and trainer: collect, estimate, learn."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import AddStateIndependentNormalScale, TensorDictModule
from torch import Tensor, nn
from torchrl.collectors import Collector
from torchrl.envs import EnvBase, TransformedEnv
from torchrl.modules import IndependentNormal, ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE
from torchrl.trainers import OptimizationStepper, Trainer

from advwrap.algorithms.description import named
from advwrap.algorithms.learned_agent import twins
from advwrap.algorithms.oa_ppo import RobustAdvantages
from advwrap.errors import check
from advwrap.sets import Bounds
from advwrap.training.agent_file import TrainedAgent
from advwrap.training.agent_networks import tanh_mlp
from advwrap.training.checkpoint import Stateful
from advwrap.training.collector_state import CollectorState
from advwrap.training.minibatches import Minibatches
from advwrap.training.normaliser import Normaliser
from advwrap.training.replayable import Replayable
from advwrap.training.returns import EpisodeReturns, ReturnScale
from advwrap.training.running_rows import Running, RunningRows
from advwrap.training.update import Update
from advwrap.training.vector_env import VectorGymEnv, layers, side_by_side
from advwrap.transforms import AdversarialAction as ActionTransform
from advwrap.wrappers.vector.action import AdversarialAction
from advwrap.wrappers.vector.attacker import AttackerEnv

if TYPE_CHECKING:
    from advwrap.algorithms.ppo import PPO, AnyVectorEnv


class PPOTraining:
    """PPO round by round: whoever calls decides what happens between two rounds.

    Its `actor` is always the present one. It draws from the global generators of torch and NumPy; with those, its
    `state_dict` is all that it needs to go on bit for bit.

    Source: Schulman et al. 2017, as `PPO`, which trains this to the end.

    Args:
        config: What to train. Its `steps` only say over how many rounds the learning rates fall.

    Example:
        >>> from advwrap.algorithms import PPO
        >>> training = PPOTraining(PPO("Pendulum-v1", steps=128, envs=2, horizon=32, epochs=1, minibatches=4))
        >>> training.round()
        >>> training.frames
        64
        >>> training.close()
    """

    def __init__(self, config: PPO) -> None:
        self.config = config
        self.frames = 0
        """Environment steps so far."""
        self.history: list[tuple[int, float]] = []
        """After how many steps which mean return of the episodes that ended in a round."""
        self.tasks, tasks = _tasks(config)
        self.running = RunningRows(tasks) if isinstance(config.normaliser, Running) else None
        self.env = VectorGymEnv(_wrapped(config, tasks if self.running is None else self.running))
        self.env.set_seed(config.seed)
        features, actions = self.env.observation_spec["observation"].shape[-1], self.env.action_spec.shape[-1]
        self.policy = tanh_mlp(features, actions, config.hidden, last=0.01)
        self.scale = AddStateIndependentNormalScale(actions, scale_mapping="exp")
        self.scale.state_independent_scale.data.fill_(math.log(config.initial_std))
        self.value = tanh_mlp(features, 1, config.hidden, last=1.0)
        self.actor = ProbabilisticActor(
            TensorDictModule(nn.Sequential(self.policy, self.scale), ["observation"], ["loc", "scale"]),
            in_keys=["loc", "scale"],
            distribution_class=IndependentNormal,
            return_log_prob=True,
        )
        critic = ValueOperator(self.value, in_keys=["clean_observation"])
        self.loss = ClipPPOLoss(
            self.actor,
            critic,
            clip_epsilon=config.clip,
            entropy_bonus=config.entropy > 0,
            entropy_coeff=config.entropy,
            critic_coeff=0.5,
            loss_critic_type="l2",
            normalize_advantage=True,
            clip_value=True,
        )
        # The loss branches on its value, which a compiled graph could not do on a buffer.
        del self.loss.clip_value
        self.loss.clip_value = config.clip
        self.gae = GAE(gamma=config.gamma, lmbda=config.gae_lambda, value_network=critic)
        space = self.env.envs.single_action_space
        self.robust: RobustAdvantages | None = None
        if config.advantage is not None:
            self.robust = config.advantage.estimator(
                self.actor,
                box=Bounds(torch.from_numpy(space.low), torch.from_numpy(space.high)),
                sizes=(features, actions, *config.hidden),
                gamma=config.gamma,
                steps=config.steps,
                compile=config.compile,
                seed=config.seed,
            )
        self.optimizer = self._optimizer()
        self.update = Update([self.loss], self.optimizer, compile=config.compile)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda done: max(0.0, 1 - done / config.rounds) if config.anneal else 1.0
        )
        self.episodes = EpisodeReturns(config.envs)
        self.rewards = ReturnScale(config.envs, gamma=config.gamma) if config.scale_rewards else None
        self.stepper = _Silent(self.update)
        self.trainer = self._trainer()
        self._batches = iter(self.trainer.collector)

    def _optimizer(self) -> torch.optim.Optimizer:
        config = self.config
        value_rate = config.learning_rate if config.value_learning_rate is None else config.value_learning_rate
        policy = [p for name, p in self.loss.named_parameters() if name.startswith("actor")]
        value = [p for name, p in self.loss.named_parameters() if name.startswith("critic")]
        groups = [{"params": policy, "lr": config.learning_rate}, {"params": value, "lr": value_rate}]
        optimizer = torch.optim.Adam(groups, eps=1e-5, fused=True)
        if (longest := config.max_grad_norm) is not None:
            # Each network on its own: a large value loss must not slow the policy down.
            def shorten(*_: Any) -> None:
                for group in optimizer.param_groups:
                    nn.utils.clip_grad_norm_(group["params"], longest)

            optimizer.register_step_pre_hook(shorten)
        return optimizer

    def round(self) -> None:
        """Collect one batch with the present policy, and learn from it."""
        batch = self._prepare(next(self._batches))
        self.frames += batch.numel()
        self.trainer.optim_steps(batch)
        self.schedule.step()
        if self.episodes.ended:
            self.history.append((self.frames, self.episodes.take()))

    def logged(self) -> dict[str, float | Tensor]:
        """The numbers of the last round: its last losses, the spread of the policy, the return of ended episodes.

        And those of the robust critics, where there are any (`RobustAdvantages.logged`).
        """
        values = {name: value for name, value in self.stepper.values.items() if value.numel() == 1}
        spread = self.scale.state_independent_scale.detach().exp().mean()
        ended = bool(self.history) and self.history[-1][0] == self.frames
        returns = {"return_while_learning": self.history[-1][1]} if ended else {}
        robust = {} if self.robust is None else self.robust.logged
        return {**values, **robust, "policy_std": spread, **returns}

    def close(self) -> None:
        """Close the environments."""
        self.trainer.collector.shutdown()

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimiser, statistics of the rewards, and where the environments stand."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return {"frames": self.frames, "history": [list(pair) for pair in self.history], **parts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self.frames = int(state["frames"])
        self.history = [(int(frames), float(mean)) for frames, mean in state["history"]]
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Stateful]:
        return {
            "loss": self.loss,
            "update": self.update,
            "schedule": self.schedule,
            "episodes": self.episodes,
            **({} if self.rewards is None else {"rewards": self.rewards}),
            **({} if self.robust is None else {"robust advantage": self.robust}),
            "collector": CollectorState(self.trainer.collector, self.tasks),
        }

    def _prepare(self, batch: TensorDictBase) -> TensorDictBase:
        """Count the episodes, scale the rewards, estimate the advantages: once per batch."""
        reward, done = batch["next", "reward"], batch["next", "done"]
        self.episodes.add(reward, done)
        if self.rewards is not None:
            batch["next", "reward"] = self.rewards(reward, done)
        with torch.no_grad():
            self.gae(batch)
        if self.robust is not None:
            self.robust(batch, 1.0 if self.rewards is None else float(self.rewards.std))
        return batch.select(
            "observation", "clean_observation", "action", "action_log_prob", "advantage", "value_target", "state_value",
            ("next", "reward"), ("next", "done"), ("next", "terminated"),
        )  # fmt: skip

    def _environment(self) -> EnvBase:
        """The tasks; of OA-PPO with the adversary of the actions in some of them."""
        if self.robust is None:
            return self.env
        env = TransformedEnv(self.env, ActionTransform(self.robust.execution, bounds=self.robust.box))
        env.set_seed(self.config.seed)
        return env

    def _trainer(self) -> Trainer:
        """TorchRL's trainer, for its epochs of minibatches."""
        config = self.config
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchRL calls its trainers a prototype
            trainer = Trainer(
                collector=Collector(self._environment(), self.actor, frames_per_batch=config.batch, total_frames=-1),
                total_frames=config.rounds * config.batch,
                frame_skip=1,
                optim_steps_per_batch=config.minibatches,
                num_epochs=config.epochs,
                loss_module=self.loss,
                optimization_stepper=self.stepper,
                progress_bar=False,
                auto_log_optim_steps=False,
                clip_grad_norm=False,
            )
        Minibatches(config.minibatches).register(trainer)
        return trainer

    def agent(self) -> TrainedAgent:
        """The present networks, copied."""
        config, space = self.config, self.env.envs.single_action_space
        networks = nn.Sequential(self.policy, self.scale), self.value
        actor, value = (copy.deepcopy(network).requires_grad_(False) for network in networks)
        known = config.normaliser
        frozen = known if self.running is None else self.running.frozen()
        assert not isinstance(frozen, Running)  # noqa: S101 - then `running` is there
        low, high = (torch.tensor(limit, dtype=torch.float32) for limit in (space.low, space.high))
        card = {**config.card(), "history": [list(pair) for pair in self.history], "kept": self.frames}
        # The actions of an attacker are none of the task's, whatever the task is.
        task = config.env if isinstance(config.env, str) else named(config.env)["function"]
        same = isinstance(config.env, str) and not isinstance(self.env.envs, AttackerEnv)
        env = task if same else f"{task} (no id)"
        features = self.env.observation_spec["observation"].shape[-1]
        robust = () if self.robust is None else twins(self.robust.loss, "free-scale", features, len(low), config.hidden)
        return TrainedAgent(env, actor, (value,), frozen, low, high, card, robust)


class _Silent(OptimizationStepper):  # type: ignore[misc]
    """An update whose losses the trainer does not see: it would average them all, at a tenth of the update's cost."""

    def __init__(self, update: Update) -> None:
        self.update = update
        self.values = TensorDict()
        """Of the last update."""

    def step(self, trainer: Any, sub_batch: TensorDictBase) -> TensorDict:
        """One update."""
        self.values = self.update.step(trainer, sub_batch)
        return TensorDict()


def _tasks(config: PPO) -> tuple[list[Replayable], AnyVectorEnv]:
    """The copies of the task, and all of them together."""
    env, normaliser = config.env, config.normaliser
    check(env is not None, "`env` must be the id of a task or a function that makes one, got None.")
    tasks = [Replayable(gym.make(env) if isinstance(env, str) else env()) for _ in range(config.envs)]  # type: ignore[misc]

    envs: AnyVectorEnv = side_by_side([normaliser.wrap(t) if isinstance(normaliser, Normaliser) else t for t in tasks])
    if not (
        isinstance(envs.single_observation_space, gym.spaces.Box) and len(envs.single_observation_space.shape) == 1
    ):
        raise TypeError(f"`env` must have vector observations, got {envs.single_observation_space}.")
    return tasks, envs


def _wrapped(config: PPO, envs: AnyVectorEnv) -> AnyVectorEnv:
    envs = envs if config.wrap is None else config.wrap(envs)
    actions = envs.single_action_space
    if not (isinstance(actions, gym.spaces.Box) and len(actions.shape) == 1):
        raise TypeError(
            f"`env` must have box actions, got {actions}. Fix: DiscreteSAC (on the command line: discrete-sac)."
        )
    check(
        config.advantage is None or not any(isinstance(layer, AdversarialAction) for layer in layers(envs)),
        "`wrap` must leave the actions alone beside an `advantage`, got an AdversarialAction: the robust critics learn "
        "from what was executed, and PPO knows what it intended.",
        fix="leave it out; the adversary of the actions is in the advantage.",
    )
    return envs
