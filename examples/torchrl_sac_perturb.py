"""SAC on replayed transitions that an adversary perturbs: TorchRL's loss, unmodified.

python examples/torchrl_sac_perturb.py --frames 20000
"""

import torch
import tyro
from tensordict.nn import TensorDictModule
from tensordict.nn.distributions import NormalParamExtractor
from torch import nn
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.envs import GymEnv
from torchrl.modules import MLP, ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import SACLoss, SoftUpdate

from advwrap import PGD, AdversarialObs, Identity, LinfBall, LowValue
from advwrap.modules import Perturb


def main(frames: int = 300, batch: int = 64, eps: float = 0.05, seed: int = 0) -> None:
    """Run the example.

    Args:
        frames: Environment steps, one update each after the first 100.
        batch: Transitions per update.
        eps: Radius of the attack.
        seed: Of everything.
    """
    torch.manual_seed(seed)
    env = AdversarialObs(GymEnv("Pendulum-v1"), attack=Identity())  # writes "clean_observation" beside "observation"
    env.set_seed(seed)
    net = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 2), NormalParamExtractor())
    head = {"distribution_class": TanhNormal, "distribution_kwargs": {"low": -2.0, "high": 2.0}}
    actor = ProbabilisticActor(
        TensorDictModule(net, ["observation"], ["loc", "scale"]), in_keys=["loc", "scale"], return_log_prob=True, **head
    )
    qvalue = ValueOperator(MLP(in_features=4, out_features=1, num_cells=[64]), ["clean_observation", "action"])
    loss = SACLoss(actor, qvalue, action_spec=env.action_spec)
    targets, optimizer = SoftUpdate(loss, tau=0.005), torch.optim.Adam(loss.parameters(), lr=1e-3)

    perturb = Perturb(PGD(LowValue(actor, loss), within=LinfBall(eps), steps=2), seed=seed)
    replay = TensorDictReplayBuffer(storage=LazyTensorStorage(frames), batch_size=batch)
    collector = Collector(env, actor, frames_per_batch=50, total_frames=frames, init_random_frames=100)
    for data in collector:
        replay.extend(data)
        for _ in range(len(data) if len(replay) > 100 else 0):
            losses = loss(perturb(replay.sample()))
            optimizer.zero_grad()
            sum(value for name, value in losses.items() if name.startswith("loss_")).backward()
            optimizer.step()
            targets.step()
        print(f"{len(replay):6} frames   reward {data['next', 'reward'].mean():6.2f}")
    collector.shutdown()


if __name__ == "__main__":
    tyro.cli(main)
