"""Soft actor-critic, plain or trained under observation attack: TorchRL's loss and trainer, our attack around them.

Under attack, the environment shows perturbed observations while collecting (`AdversarialObs`), and every sampled batch
is perturbed again with the present networks before the unmodified loss (`Perturb`): the actor reads "observation",
the critics read "clean_observation".

Source: Haarnoja et al., *Soft actor-critic algorithms and applications*, 2018; training under a mixture of value attack
and uniform noise as in Pattanaik et al. 2018 and the epsilon-worst mixture of VALT, with a single step.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.envs import (
    Compose,
    DoubleToFloat,
    EnvBase,
    GymEnv,
    ObservationNorm,
    RewardScaling,
    SerialEnv,
    TransformedEnv,
)
from torchrl.modules import MLP, ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import SACLoss, SoftUpdate

from advwrap.attacks import PGD, Attack, Identity, Mixture, Noise
from advwrap.errors import check
from advwrap.modules import Perturb
from advwrap.objectives import LowValue
from advwrap.sets import Linear, LinfBall
from advwrap.training import KeepBest, Normaliser, TrainedAgent, advance_schedule, perturb_batches
from advwrap.training.agent_file import Score, actor_network, critic_network
from advwrap.transforms import AdversarialObs


@dataclass(frozen=True)
class TrainingAttack:
    """What the agent suffers while it learns: one step of the value attack, or uniform noise.

    Each row suffers with probability `kappa` one full step down the mean of the twin critics from a random start, and
    uniform noise otherwise, in an L-infinity ball (in units of the normalised observation) whose radius grows from 0.

    Source: Pattanaik et al., *Robust deep reinforcement learning with adversarial attacks*, AAMAS 2018; the mixture
        as in VALT-EPS, with a single step.

    Args:
        epsilon: The final radius.
        kappa: The share of value attacks.
        ramp: The radius grows between these fractions of the training.

    Example:
        >>> TrainingAttack(0.03).kappa
        0.75
    """

    epsilon: float
    kappa: float = 0.75
    ramp: tuple[float, float] = (0.1, 0.5)

    def __post_init__(self) -> None:
        check(self.epsilon > 0, f"`epsilon` must be > 0, got {self.epsilon}.", fix="attack=None for plain SAC.")
        check(0 <= self.kappa <= 1, f"`kappa` must be in [0, 1], got {self.kappa}.")
        check(0 <= self.ramp[0] < self.ramp[1] <= 1, f"`ramp` must rise within [0, 1], got {self.ramp}.")

    def radius(self, steps: int) -> Linear:
        """The schedule of the radius over a training of so many environment steps."""
        begin, end = (int(fraction * steps) for fraction in self.ramp)
        return Linear(0.0, self.epsilon, end - begin, begin=begin)

    def against(self, actor: nn.Module, loss: SACLoss, radius: Linear) -> Attack:
        """The attack on these live networks."""
        ball = LinfBall(radius)
        value_attack = PGD(LowValue(actor, loss), within=ball, steps=1, step_size=1.0)
        return Mixture((self.kappa, value_attack), (1 - self.kappa, Noise(ball)))


@dataclass(frozen=True)
class SAC:
    """Soft actor-critic with TorchRL's `SACLoss` and `SACTrainer`.

    Source: Haarnoja et al., *Soft actor-critic algorithms and applications*, 2018.

    Args:
        env: Id of a Gymnasium task with vector observations and box actions.
        attack: What the agent suffers while it learns; None for plain SAC.
        steps: Environment steps, one update each.
        envs: Environments that collect together.
        frames_per_batch: Environment steps between two rounds of updates.
        random_steps: First steps with random actions.
        hidden: Units of the hidden layers of all networks.
        learning_rate: Of all networks and the temperature.
        batch_size: Transitions per update.
        gamma: Discount.
        tau: Share of the new weights in the target critics per update.
        reward_scale: Factor on the rewards that the critics learn.
        evaluate_every: Steps between two measurements of the agent, for keeping the best weights.
        seed: Of everything random.

    Example:
        >>> SAC("InvertedDoublePendulum-v5", attack=TrainingAttack(0.03)).steps
        20000
    """

    env: str
    attack: TrainingAttack | None = None
    steps: int = field(default=20_000, kw_only=True)
    envs: int = field(default=4, kw_only=True)
    frames_per_batch: int = field(default=40, kw_only=True)
    random_steps: int = field(default=1_000, kw_only=True)
    hidden: tuple[int, ...] = field(default=(64, 64), kw_only=True)
    learning_rate: float = field(default=1e-3, kw_only=True)
    batch_size: int = field(default=256, kw_only=True)
    gamma: float = field(default=0.99, kw_only=True)
    tau: float = field(default=0.005, kw_only=True)
    reward_scale: float = field(default=0.1, kw_only=True)
    evaluate_every: int = field(default=2_500, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("steps", "envs", "frames_per_batch", "batch_size", "evaluate_every"):
            check(getattr(self, name) >= 1, f"`{name}` must be >= 1, got {getattr(self, name)}.")
        check(
            self.frames_per_batch % self.envs == 0,
            f"`frames_per_batch` must be a multiple of `envs` ({self.envs}), got {self.frames_per_batch}.",
        )
        check(0 < self.gamma < 1, f"`gamma` must be in (0, 1), got {self.gamma}.")

    def train(
        self,
        start: TrainedAgent | None = None,
        *,
        score: Score | None = None,
        advance: Callable[[int], object] = lambda frames: None,
    ) -> TrainedAgent:
        """Train to the end.

        Args:
            start: An agent of the same task and sizes to go on from: its networks, temperature and normaliser. The
                replay buffer and the optimiser begin anew.
            score: Measures the agent every `evaluate_every` steps; the best weights are returned. Without it, the last.
            advance: Called with the number of new environment steps.

        Raises:
            TypeError: If the task has no vector observations or no box actions.
        """
        torch.manual_seed(self.seed)
        np.random.seed(self.seed)  # noqa: NPY002 - TorchRL's samplers and gymnasium tasks may read it
        parts = _Parts(self, start)
        trainer = parts.trainer()
        trainer.register_op("post_steps", lambda: advance(self.frames_per_batch))
        if parts.perturb is not None:
            perturb_batches(trainer, parts.perturb)
            advance_schedule(trainer, parts.radius)
        best = None
        if score is not None:
            best = KeepBest(parts.loss, lambda: score(parts.agent()), every=self.evaluate_every)
            best.register(trainer)
        trainer.train()
        if best is not None:
            best.restore()
        return parts.agent(history=[] if best is None else best.history, kept=self.steps if best is None else best.at)


class _Parts:
    """The pieces of one training, put together."""

    def __init__(self, config: SAC, start: TrainedAgent | None = None) -> None:
        self.config = config
        probe = gym.make(config.env)
        observations, actions = probe.observation_space, probe.action_space
        probe.close()
        if not (isinstance(observations, gym.spaces.Box) and len(observations.shape) == 1):
            raise TypeError(f"`env` must have vector observations, got {observations} in {config.env}.")
        if not isinstance(actions, gym.spaces.Box):
            raise TypeError(f"`env` must have box actions, got {actions} in {config.env}.")
        self.low, self.high = torch.as_tensor(actions.low), torch.as_tensor(actions.high)
        if start is None:
            self.normaliser = Normaliser.fit(lambda: gym.make(config.env), steps=5_000, seed=config.seed)
        else:
            self.normaliser = start.normaliser
        features, size = observations.shape[0], actions.shape[0]
        self.actor = ProbabilisticActor(
            TensorDictModule(actor_network(features, size, config.hidden), ["observation"], ["loc", "scale"]),
            in_keys=["loc", "scale"],
            distribution_class=TanhNormal,
            distribution_kwargs={"low": self.low, "high": self.high},
            return_log_prob=False,
        )
        critic = MLP(features + size, 1, num_cells=config.hidden, activation_class=nn.ReLU)
        qvalue = ValueOperator(critic, in_keys=["clean_observation", "action"])
        self.loss = SACLoss(self.actor, qvalue, num_qvalue_nets=2, loss_function="l2", target_entropy=-float(size))
        self.loss.make_value_estimator(gamma=config.gamma)
        self.updater = SoftUpdate(self.loss, tau=config.tau)
        if start is not None:
            self.take_over(start)
        self.radius = Linear(0.0, 0.0, 1) if config.attack is None else config.attack.radius(config.steps)
        self.attack = Identity() if config.attack is None else config.attack.against(self.actor, self.loss, self.radius)
        self.perturb = None if config.attack is None else Perturb(self.attack, seed=config.seed)

    def take_over(self, start: TrainedAgent) -> None:
        """Begin with the networks and the temperature of another agent.

        Raises:
            ValueError: If its task or its networks are others.
        """
        config = self.config
        check(start.env == config.env, f"`start` must be an agent for {config.env}, got one for {start.env}.")
        hidden = tuple(start.card["config"]["hidden"])
        check(hidden == config.hidden, f"`start` must have hidden layers {config.hidden}, got {hidden}.")
        self.actor[0].module.load_state_dict(start.actor.state_dict())
        for name, value in self.loss.qvalue_network_params.data["module"].flatten_keys(".").items():
            value.copy_(torch.stack([critic.state_dict()[name] for critic in start.critics]))
        self.loss.target_qvalue_network_params.data.copy_(self.loss.qvalue_network_params.data)
        self.loss.log_alpha.data.fill_(math.log(start.card["temperature"]))

    def environment(self) -> EnvBase:
        """The tasks, normalised, with the attack around them."""
        tasks = SerialEnv(self.config.envs, lambda: GymEnv(self.config.env))
        mean, std = (torch.as_tensor(x, dtype=torch.float32) for x in (self.normaliser.mean, self.normaliser.std))
        env = TransformedEnv(
            tasks,
            Compose(
                DoubleToFloat(),
                RewardScaling(0.0, self.config.reward_scale),
                ObservationNorm(loc=mean, scale=std, in_keys=["observation"], standard_normal=True),
                AdversarialObs(self.attack),
            ),
        )
        env.set_seed(self.config.seed)
        return env

    def trainer(self) -> Any:
        """TorchRL's trainer, with one update per environment step."""
        from torchrl.trainers.algorithms import SACTrainer

        config = self.config
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchRL calls its trainers a prototype
            return SACTrainer(
                collector=Collector(
                    self.environment(),
                    self.actor,
                    frames_per_batch=config.frames_per_batch,
                    total_frames=config.steps,
                    init_random_frames=config.random_steps,
                ),
                total_frames=config.steps,
                frame_skip=1,
                optim_steps_per_batch=config.frames_per_batch,
                loss_module=self.loss,
                optimizer=torch.optim.Adam(self.loss.parameters(), lr=config.learning_rate, fused=True),
                replay_buffer=TensorDictReplayBuffer(
                    storage=LazyTensorStorage(config.steps), batch_size=config.batch_size
                ),
                target_net_updater=self.updater,
                progress_bar=False,
                enable_logging=False,
                auto_log_optim_steps=False,
                clip_grad_norm=False,
            )

    def agent(self, **scores: Any) -> TrainedAgent:
        """The present networks, copied."""
        # The twins that the loss trains are stacked, [2, ...], under the names of the MLP's own parameters.
        stacked = self.loss.qvalue_network_params.data["module"].flatten_keys(".")
        critics = []
        for i in range(2):
            critic = critic_network(len(self.normaliser.mean), len(self.low), self.config.hidden)
            critic.load_state_dict({name: value[i] for name, value in stacked.items()})
            critics.append(critic.requires_grad_(False))
        actor = copy.deepcopy(self.actor[0].module).requires_grad_(False)
        temperature = self.loss.log_alpha.exp().item()
        card = {"algorithm": "SAC", "config": asdict(self.config), "temperature": temperature, **scores}
        return TrainedAgent(self.config.env, actor, tuple(critics), self.normaliser, self.low, self.high, card)
