"""Toy image sets and tensors made for what methods need, and the smallest loop that trains a method on them."""

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.nn.encoder import Encoder, Features
from autossl.pretext import METHODS, Pretext
from autossl.pretext.batch import Batch
from autossl.views.images import Views
from autossl.views.presets import Preset
from autossl.views.volumes import views_for

SIDE = 20
DEEP = 32  # slices of a stack
LETTERS = (
    "11111 10000 11110 10000 10000",  # F
    "10000 10000 10000 10000 11111",  # L
    "11110 10001 11110 10000 10000",  # P
    "00011 00001 00001 10001 01110",  # J
    "11111 00010 00100 01000 10000",  # 7
    "10010 10010 11111 00010 00010",  # 4
)


def glyphs(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Upright letters (n, 1, 20, 20) of six classes: place, brightness and background vary, orientation does not."""
    generator = torch.Generator().manual_seed(seed)
    letters = torch.tensor([[[float(dot) for dot in row] for row in letter.split()] for letter in LETTERS])
    y = torch.arange(n) % len(LETTERS)
    large = F.interpolate(letters[:, None], scale_factor=2.0, mode="nearest")[y, 0]
    corner = SIDE // 2 - 5 + torch.randint(-3, 4, (n, 2), generator=generator)
    ink = 0.2 + 0.5 * torch.rand(n, generator=generator)
    images = torch.zeros(n, SIDE, SIDE)
    for image, letter, (top, left), shade in zip(images, large, corner.tolist(), ink, strict=True):
        image[top : top + 10, left : left + 10] = letter * shade
    images += 0.1 + 0.3 * torch.rand(n, 1, 1, generator=generator)
    images += 0.04 * torch.randn(images.shape, generator=generator)
    return images.clamp(0, 1)[:, None], y


def gratings(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy waves (n, 1, 20, 20) in twelve directions, the classes: what is hidden follows from what is left.

    Phase and wavelength vary and grey levels have a fixed meaning, as in computed tomography.
    """
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 12
    phase, length, height = torch.rand(3, n, 1, 1, generator=generator)
    angle = (y * math.pi / 12).view(n, 1, 1)
    place = torch.arange(float(SIDE))
    across = place * angle.cos() + place[:, None] * angle.sin()
    waves = torch.sin(2 * math.pi * (across / (5 + 2 * length) + phase))
    images = 0.5 + 0.2 * (0.7 + 0.6 * height) * waves + 0.1 * torch.randn(n, SIDE, SIDE, generator=generator)
    return images.clamp(0, 1)[:, None], y


def stains(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """The waves (n, 3, 20, 20) in colours that their directions give: hue follows from what grey shows."""
    images, y = gratings(n, seed)
    turn = 2 * math.pi * (y[:, None] / 12 + torch.arange(3) / 3)
    return (images * (1 + 0.3 * turn.cos()[..., None, None])).clamp(0, 1), y


def blobs(n: int, seed: int, side: int = SIDE) -> tuple[Tensor, Tensor]:
    """Volumes (n, 1, side, side, side) of noisy waves in six directions, the classes."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 6
    directions = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1]]).float()
    place = torch.stack(torch.meshgrid(*[torch.arange(float(side))] * 3, indexing="ij"))
    phase = torch.rand(n, 1, 1, 1, generator=generator)
    across = torch.einsum("na,adhw->ndhw", F.normalize(directions, dim=1)[y], place)
    waves = torch.sin(2 * math.pi * (across / 6 + phase))
    images = 0.5 + 0.25 * waves + 0.08 * torch.randn(waves.shape, generator=generator)
    return images.clamp(0, 1)[:, None], y


def quilts(n: int, seed: int, dims: int = 2) -> tuple[Tensor, Tensor]:
    """Images or volumes (n, 1, 20, 20[, 20]) of four columns of waves: places within one image look different.

    The class is the one of six directions that two opposite columns have; the others are drawn. Where columns meet
    varies, phase and light too.
    """
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 6
    order = torch.rand(n, 6, generator=generator).scatter(1, y[:, None], 2.0).argsort(1)[:, :2]
    chosen = torch.stack([y, order[:, 0], order[:, 1], y], 1)
    angle = chosen * math.pi / 6
    phase, light = torch.rand(n, 4, generator=generator), 0.35 + 0.3 * torch.rand(n, 1, 1, generator=generator)
    place = torch.arange(float(SIDE))
    across = place * angle.cos()[..., None, None] + place[:, None] * angle.sin()[..., None, None]
    waves = torch.sin(2 * math.pi * (across / 5 + phase[..., None, None]))
    row, column = torch.randint(8, 13, (2, n, 1, 1), generator=generator)
    quarter = 2 * (place[:, None] >= row).long() + (place >= column).long()
    images = waves.gather(1, quarter[:, None])[:, 0] * 0.25 + light
    images = images.view(n, *[1] * (dims - 2), SIDE, SIDE).expand(n, *[SIDE] * dims)
    return (images + 0.08 * torch.randn(images.shape, generator=generator)).clamp(0, 1)[:, None], y


def bodies(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Volumes (n, 1, 20, 20, 20) of waves whose direction in a slice follows from its depth, off by the class (6)."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 6
    phase, length = torch.rand(2, n, 1, 1, 1, generator=generator)
    place = torch.arange(float(SIDE))
    angle = math.radians(75) * place / SIDE + math.radians(8) * y[:, None]
    across = place * angle.cos()[..., None, None] + place[:, None] * angle.sin()[..., None, None]
    waves = torch.sin(2 * math.pi * (across / (5 + 2 * length) + phase))
    volumes = 0.5 + 0.2 * waves + 0.1 * torch.randn(waves.shape, generator=generator)
    return volumes.clamp(0, 1)[:, None], y


def stacks(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Slices (n, 1, 20, 20) of patients, DEEP of each in order: waves whose direction follows from the position.

    The classes are six parts of a stack; phase and wavelength vary, and a patient's waves are turned a little.
    """
    generator = torch.Generator().manual_seed(seed)
    _, position = company(n)
    phase, length = torch.rand(2, n, 1, 1, generator=generator)
    own = torch.rand(-(-n // DEEP), generator=generator).repeat_interleave(DEEP)[:n]
    angle = (math.radians(100) * position + math.radians(10) * own).view(n, 1, 1)
    place = torch.arange(float(SIDE))
    across = place * angle.cos() + place[:, None] * angle.sin()
    waves = torch.sin(2 * math.pi * (across / (5 + 2 * length) + phase))
    images = 0.5 + 0.2 * waves + 0.1 * torch.randn(n, SIDE, SIDE, generator=generator)
    return images.clamp(0, 1)[:, None], (6 * position).long().clamp_max(5)


def company(n: int) -> tuple[Tensor, Tensor]:
    """Patients (n,) of DEEP images each, and the positions of these in their stacks (n,)."""
    return torch.arange(n) // DEEP, (torch.arange(n) % DEEP) / (DEEP - 1)


def in_stacks(method: Pretext) -> bool:
    """Whether a method wants images with positions in stacks."""
    return "order" in method.needs and method.encoder.dims == 2


def step(
    method: Pretext, optimizer: torch.optim.Optimizer, images: Tensor, number: int, rows: Tensor | None = None
) -> Tensor:
    """One training step on images, which are `rows` of a whole stack of them; the loss before it."""
    method.generator.manual_seed(number)
    batch = Batch(images.expand(-1, method.encoder.channels, *[-1] * (images.ndim - 2)), places=rows)
    if in_stacks(method):
        rows = torch.arange(len(images)) if rows is None else rows
        groups, positions = company(int(rows.max()) + 1)
        batch = replace(batch, groups=groups[rows], positions=positions[rows])
    loss = method.loss(batch)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    method.after_step(0.0)
    return loss.detach()


def train(method: Pretext, images: Tensor, *, steps: int, batch: int, lr: float = 2e-3, seed: int = 0) -> list[float]:
    """Train on random batches of the images; the losses."""
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=lr, fused=True)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(images), (steps, batch), generator=generator)
    return [float(step(method, optimizer, images[chosen], 1000 * seed + i, chosen)) for i, chosen in enumerate(rows)]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).float()


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def encoder(channels: int = 1) -> Encoder:
    torch.manual_seed(0)
    return Encoder("test_resnet", channels, 16, model_args={"output_stride": 16})


def volume_encoder(channels: int = 1, side: int = SIDE) -> Encoder:
    """A narrow network for volumes."""
    narrow = {"block_inplanes": [8, 8, 16, 16], "conv1_t_size": 3, "no_max_pool": True}
    return Encoder("resnet10_3d", channels, side, model_args=narrow)


def fitting(name: str, channels: int, side: int = SIDE) -> Encoder:
    """The smallest encoder that serves a method, for images where it takes them: a transformer for patch tokens."""
    if 2 not in METHODS[name].dims:
        return volume_encoder(channels, side)
    if "patch tokens" in METHODS[name].needs:
        return Encoder("test_vit", channels, side, model_args={"img_size": side, "patch_size": 4})
    return Encoder("test_resnet", channels, side, model_args={"output_stride": 8} if side == 28 else {})


def still(channels: int = 1, dims: int = 2) -> Views:
    """Views that change nothing."""
    return views_for(dims)(Preset(), (0.5,) * channels, (0.25,) * channels, crop_min=1.0, jitter=0.0)


def recorded(network: Encoder) -> list[Tensor]:
    """A list that will hold every batch of images that the network is shown."""
    inputs: list[Tensor] = []
    features = network.features

    def record(images: Tensor) -> Features:
        inputs.append(images)
        return features(images)

    network.features = record  # type: ignore[method-assign]
    return inputs


def recorded_forward(network: Encoder) -> list[Tensor]:
    """A list that will hold every batch of images that the network is asked to embed."""
    inputs: list[Tensor] = []
    network.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    return inputs


class Blank(torch.nn.Module):
    """A decoder that answers zeros."""

    def forward(self, seen: Features, size: tuple[int, int]) -> Tensor:
        return seen.pyramid[0].sum() * 0 + torch.zeros(len(seen.pyramid[0]), 1, *size)


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a.double() @ b.double() / (a.double().norm() * b.double().norm()))


def binary(answer: float, right: float) -> float:
    """Binary cross-entropy of one answer."""
    p = 1 / (1 + math.exp(-answer))
    return -(right * math.log(p) + (1 - right) * math.log(1 - p))
