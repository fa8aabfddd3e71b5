"""Training steps on this machine: ours against the algorithm of pytorch/examples' dcgan, both in one run.

The peer's step is written out here from its published algorithm: NCHW float32, sigmoid and binary
cross-entropy, discriminator gradients computed and thrown away in the generator's step, three reads
of losses from the device in every step. Both sides train the same networks on the same images.

    python benchmarks/training_step.py
"""

import statistics
import time
from pathlib import Path

import torch
import yaml
from torch import nn

from kedro_dcgan.gan.architectures import network_specs
from kedro_dcgan.gan.devices import Compute, choose_compute
from kedro_dcgan.gan.networks import Discriminator, Generator
from kedro_dcgan.gan.training.state import start
from kedro_dcgan.gan.training.step import Step
from kedro_dcgan.parameters import TrainingParameters

ROUNDS, STEPS = 5, 4
BASE = Path(__file__).parents[1] / "conf/base/parameters_training.yml"


def parameters(width: int, batch: int) -> TrainingParameters:
    """Return the recipe of conf/base with the peer's options."""
    values = yaml.safe_load(BASE.read_text())["training"]
    network = {"width": width, "learning_rate": 2e-4}
    for name in ("generator", "discriminator"):
        values[name] |= network
    values["ema"]["half_life"] = None
    return TrainingParameters.model_validate({**values, "batch_size": batch})


def our_step(specs, training: TrainingParameters, compute: Compute):
    return Step(start(*specs, training, compute), training, compute)


def peer_step(specs, compute: Compute):
    generator, discriminator = Generator(specs[0]).to(compute.device), Discriminator(specs[1]).to(compute.device)
    optimisers = [torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (generator, discriminator)]
    criterion = nn.BCELoss()

    def step(images):
        real = images.to(compute.device)
        ones, zeros = torch.ones(len(real), device=real.device), torch.zeros(len(real), device=real.device)
        discriminator.zero_grad()
        real_opinion = discriminator(real).sigmoid()
        real_loss = criterion(real_opinion, ones)
        real_loss.backward()
        fake = generator(torch.randn(len(real), specs[0].latent_dim, device=real.device))
        fake_opinion = discriminator(fake.detach()).sigmoid()
        fake_loss = criterion(fake_opinion, zeros)
        fake_loss.backward()
        optimisers[1].step()
        generator.zero_grad()
        judged = discriminator(fake).sigmoid()
        loss = criterion(judged, ones)
        loss.backward()
        optimisers[0].step()
        return real_opinion.mean().item(), fake_opinion.mean().item(), loss.item()

    return step


def images_per_second(step, images):
    started = time.perf_counter()
    for _ in range(STEPS):
        step(images)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return STEPS * len(images) / (time.perf_counter() - started)


def compare(size: int, channels: int, width: int, batch: int) -> None:
    compute = choose_compute("auto", "auto")
    training = parameters(width, batch)
    specs = network_specs(size, channels, training)
    images = torch.rand(batch, channels, size, size) * 2 - 1
    sides = {"ours": our_step(specs, training, compute), "peer": peer_step(specs, compute)}
    speeds = {name: [] for name in sides}
    for _ in range(ROUNDS + 1):
        for name, step in sides.items():
            speeds[name].append(images_per_second(step, images))
    # The first round warms up; the median of ratios within a round is steady on a noisy machine.
    ratio = statistics.median(ours / peer for ours, peer in zip(speeds["ours"][1:], speeds["peer"][1:], strict=True))
    ours, peer = (statistics.median(speeds[name][1:]) for name in ("ours", "peer"))
    print(
        f"{size}x{size}x{channels} width {width} batch {batch:>3} {compute}: "
        f"{ratio:.2f}x the peer ({ours:,.0f} against {peer:,.0f} images/s)"
    )


if __name__ == "__main__":
    torch.manual_seed(0)
    compare(size=32, channels=1, width=24, batch=32)
    compare(size=64, channels=3, width=64, batch=64)
