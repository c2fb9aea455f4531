"""The losses against those of lightly, on the same tensors; skipped where lightly is not installed."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.pretext.barlow import barlow_twins
from autossl.pretext.byol import byol
from autossl.pretext.contrast import info_nce
from autossl.pretext.dcl import dcl
from autossl.pretext.dino import dino
from autossl.pretext.simclr import nt_xent
from autossl.pretext.simsiam import simsiam
from autossl.pretext.swav import swav
from autossl.pretext.vicreg import vicreg
from tests.pretext_toys import normal

lightly: Any = pytest.importorskip("lightly.loss", reason="lightly, whose losses serve as reference, is not installed")

SHAPES = [(8, 4), (33, 64)]


def equal(ours: Tensor, theirs: Tensor) -> None:
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5, abs=1e-5)


def pair(shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Two batches that agree in part."""
    first = normal(*shape)
    return first, first + 0.7 * normal(*shape, seed=1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_simclr(shape: tuple[int, int], temperature: float) -> None:
    first, second = pair(shape)
    equal(nt_xent(torch.cat([first, second]), temperature), lightly.NTXentLoss(temperature)(first, second))


@pytest.mark.parametrize("shape", SHAPES)
def test_info_nce_of_moco(shape: tuple[int, int]) -> None:
    first, second = pair(shape)
    reference = lightly.NTXentLoss(0.2, memory_bank_size=(50, shape[1]))
    reference(second.clone().requires_grad_(True), first)  # the bank begins with noise and takes in one batch
    bank = reference.memory_bank.bank.clone()
    assert bank.shape == (50, shape[1])
    equal(info_nce(first, second, bank, 0.2), reference(first, second))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.filterwarnings("ignore:To copy construct from a tensor")  # lightly's weights
def test_dcl(shape: tuple[int, int], weighted: bool) -> None:
    first, second = pair(shape)
    reference = lightly.DCLWLoss(0.1, 0.5) if weighted else lightly.DCLLoss(0.1)
    equal(dcl(torch.cat([first, second]), 0.1, weighted), reference(first, second))


@pytest.mark.parametrize("shape", SHAPES)
def test_byol_and_simsiam(shape: tuple[int, int]) -> None:
    first, second = pair(shape)
    theirs = lightly.NegativeCosineSimilarity()(first, second)
    equal(simsiam(first, second), theirs)
    equal(byol(first, second), 2 + 2 * theirs)


@pytest.mark.parametrize("shape", SHAPES)
def test_vicreg(shape: tuple[int, int]) -> None:
    first, second = (0.4 * z for z in pair(shape))
    equal(vicreg(first, second, 20, 15, 2), lightly.VICRegLoss(20, 15, 2)(first, second))


@pytest.mark.parametrize("shape", SHAPES)
def test_barlow_twins(shape: tuple[int, int]) -> None:
    first, second = pair(shape)
    equal(barlow_twins(first, second, 0.01), lightly.BarlowTwinsLoss(0.01)(first, second))


@pytest.mark.parametrize("shape", SHAPES)
def test_swav(shape: tuple[int, int]) -> None:
    scores = [F.normalize(z, dim=1) for z in pair(shape)]
    equal(swav(scores[0], scores[1], 0.1, 0.05), lightly.SwaVLoss(0.1, 3, 0.05)(scores, []))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("crops", [2, 5])
def test_dino(shape: tuple[int, int], crops: int) -> None:
    """Two batches one after the other: the centre of the second comes from the first."""
    reference = lightly.DINOLoss(shape[1], teacher_temp=0.04, warmup_teacher_temp=0.04, student_temp=0.1)
    centre = torch.zeros(shape[1])
    for number in range(2):
        student, teacher = normal(crops, *shape, seed=number), normal(2, *shape, seed=9 + number)
        equal(dino(student, teacher - centre, 0.1, 0.04), reference(list(teacher), list(student)))
        centre = 0.9 * centre + 0.1 * teacher.mean((0, 1))
