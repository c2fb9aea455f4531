"""Dense and token methods against lightly's pieces, on the same tensors; skipped where lightly is not installed."""

from typing import Any

import pytest
import torch
from torch import Tensor

from autossl.nn.encoder import Encoder
from autossl.nn.tokens import normalised, patches, taken, tokens
from autossl.pretext.contrast import info_nce
from autossl.pretext.densecl import most_alike
from autossl.pretext.ibot import masked_answers
from autossl.pretext.vicreg import vicreg
from autossl.pretext.vicregl import VICRegL, vicregl
from autossl.views.images import Views
from autossl.views.presets import Preset
from tests.pretext_toys import normal, uniform

lightly: Any = pytest.importorskip("lightly.loss", reason="lightly, whose losses serve as reference, is not installed")
parts: Any = pytest.importorskip("lightly.models.utils", reason="lightly is not installed")


def equal(ours: Tensor, theirs: Tensor) -> None:
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5, abs=1e-5)


def test_densecl_and_its_gradient() -> None:
    features, other = normal(4, 9, 16), normal(4, 9, 16, seed=1)
    query, key = normal(4, 9, 8, seed=2).requires_grad_(), normal(4, 9, 8, seed=3)
    reference = lightly.NTXentLoss(0.2, memory_bank_size=(50, 8))
    reference(key[:, 0].clone().requires_grad_(True), query.detach()[:, 0])  # the bank takes in one batch
    bank = reference.memory_bank.bank.clone()
    theirs = reference(query.flatten(0, 1), parts.select_most_similar(features, other, key).flatten(0, 1))
    (their_gradient,) = torch.autograd.grad(theirs, query)
    positive = taken(key, most_alike(features, other))
    ours = info_nce(query.flatten(0, 1), positive.flatten(0, 1), bank, 0.2)
    (gradient,) = torch.autograd.grad(ours, query)
    equal(ours.detach(), theirs.detach())
    assert torch.allclose(gradient, their_gradient, atol=1e-6)


def test_vicregl() -> None:
    whole = 0.4 * normal(6, 10), 0.4 * normal(6, 10, seed=1)
    local = 0.4 * normal(6, 3, 3, 8, seed=2), 0.4 * normal(6, 3, 3, 8, seed=3)
    grids = 9 * uniform(6, 3, 3, 2), 9 * uniform(6, 3, 3, 2, seed=1)
    reference = lightly.VICRegLLoss(25, 20, 2, alpha=0.75, num_matches=(4, 4))
    theirs = reference(list(zip(whole, local, strict=True)), list(grids))
    coefficients = (25.0, 20.0, 1.0)  # half of their weight of the covariance: VICRegL's differs from VICReg's by two
    cells, places = [z.flatten(1, 2) for z in local], [grid.flatten(1, 2) for grid in grids]
    dense = vicregl(cells[0], cells[1], places[0], places[1], 4, coefficients)
    equal(0.75 * vicreg(*whole, 25, 20, 1) + 0.25 * dense, theirs)
    network = Encoder("test_resnet", 1, 32, model_args={"output_stride": 8})
    views = Views(Preset(), (0.5,), (0.25,))
    assert VICRegL(network, views, invariance=25.0, variance=20.0, covariance=2.0).coefficients == coefficients


def test_ibot() -> None:
    """lightly's cross-entropy less the teacher's entropy, centre and all; one view is not masked."""
    mask = uniform(5, 3, 3) < 0.4
    mask[:, 0, 0] = True
    mask[3] = False
    count = int(mask.sum())
    student, teacher = normal(count, 7), normal(count, 7, seed=1)
    reference = lightly.IBOTPatchLoss(7, teacher_temp=0.04, student_temp=0.1)
    reference(teacher, student, mask)  # moves its centre on
    centred = teacher - 0.1 * teacher.mean(0)
    flat = mask.flatten(1)
    weights = (1 / flat.sum(1, keepdim=True)).expand_as(flat)[flat] / 5
    logs = (centred / 0.04).log_softmax(1)
    uncertainty = -((logs.exp() * logs).sum(1) * weights).sum()
    equal(masked_answers(student, centred, flat, 0.1, 0.04) + uncertainty, reference(teacher, student, mask))


def test_patches_and_their_normalisation() -> None:
    x = normal(3, 2, 12, 12)
    cut = patches(x, (3, 3))
    assert torch.equal(cut, parts.patchify(x, 4))
    assert torch.allclose(normalised(cut), parts.normalize_mean_var(cut), atol=1e-5)


@torch.no_grad()
def test_tokens_of_mae_and_ijepa() -> None:
    modules = pytest.importorskip("lightly.models.modules", reason="lightly is not installed")
    encoder = Encoder("test_vit", 1, 20, model_args={"img_size": 20, "patch_size": 4}).eval()
    network = modules.MaskedVisionTransformerTIMM(encoder.backbone, weight_initialization="skip", mask_token=None)
    x, keep = normal(3, 1, 20, 20), torch.tensor([[0, 3, 7], [1, 2, 24], [5, 6, 8]])
    prefix = torch.zeros(3, 1, dtype=torch.long)
    theirs = network.encode(x, idx_keep=torch.cat([prefix, keep + 1], 1))
    found = tokens(encoder, x, keep=keep)
    assert torch.allclose(found.patches, theirs[:, 1:], atol=1e-5)
    assert torch.allclose(found.pooled, theirs[:, 0], atol=1e-5)
