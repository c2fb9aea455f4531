"""Tokens, masks and sparse convolutions: what is dropped or hidden never reaches what comes out."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from autossl.errors import UserError
from autossl.nn.encoder import Encoder, fit_to_size
from autossl.nn.sparse import resized, sparse
from autossl.nn.tokens import TokenDecoder, has_tokens, normalised, patches, positions, taken, tokens
from autossl.pretext.batch import Batch
from autossl.pretext.cnn_mae import block_mask
from autossl.pretext.dense import dense_level, map_sides
from autossl.pretext.ibot import IBOT, block_masks, masked_answers
from autossl.pretext.ijepa import IJEPA, blocks_of, rectangle
from autossl.pretext.mae import MAE, split
from autossl.pretext.needs import lacking
from autossl.pretext.spark import SparK, evened
from autossl.run.asked import Asked
from autossl.run.settings import _served
from tests.pretext_toys import encoder, fitting, normal, recorded, still, uniform


def vit(name: str = "test_vit", **model_args: Any) -> Encoder:
    torch.manual_seed(0)
    return Encoder(name, 1, 20, model_args={"img_size": 20, "patch_size": 4, **model_args}).eval()


# class token; registers and mean; registers and attention pooling; two class tokens
PLAIN = ["test_vit", "test_vit2", "test_vit3", "deit_tiny_distilled_patch16_224"]


@pytest.mark.parametrize("name", PLAIN)
@torch.no_grad()
def test_all_tokens_are_those_of_the_plain_pass(name: str) -> None:
    network = vit(name, **({"depth": 2} if "tiny" in name else {}))
    assert has_tokens(network)
    x = normal(2, 1, 20, 20)
    keys, plain = list(network.state_dict()), network(x)
    found, everything = tokens(network, x), tokens(network, x, keep=torch.arange(25).expand(2, -1))
    assert torch.allclose(found.pooled, plain, atol=1e-5)
    assert torch.allclose(found.patches.mT.reshape(2, -1, 5, 5), network.pyramid(x)[0], atol=1e-5)
    assert torch.allclose(found.patches, everything.patches, atol=1e-5)
    assert torch.equal(network(x), plain)
    assert list(network.state_dict()) == keys


@pytest.mark.parametrize("name", PLAIN[:3])
@torch.no_grad()
def test_dropped_and_hidden_patches_have_no_influence(name: str) -> None:
    network, x = vit(name), normal(3, 1, 20, 20)
    seen, masked = split(3, 25, 0.6, torch.Generator().manual_seed(1))
    mask = torch.zeros(3, 25).scatter(1, masked, 1.0).bool()
    pixels = F.interpolate(mask.view(3, 1, 5, 5).float(), (20, 20), mode="nearest")
    other = torch.where(pixels > 0, normal(3, 1, 20, 20, seed=5), x)
    token = normal(network.dim, seed=2)
    for options in ({"keep": seen}, {"mask": mask, "token": token}):
        one, two = tokens(network, x, **options), tokens(network, other, **options)
        assert torch.equal(one.pooled, two.pooled)
        assert torch.equal(one.patches, two.patches)
    assert tokens(network, x, keep=seen).patches.shape == (3, seen.shape[1], network.dim)
    assert not torch.allclose(tokens(network, x).pooled, tokens(network, other).pooled)


@pytest.mark.parametrize(
    ("name", "size", "lacks"),
    [
        ("resnet10t", 28, {"patch tokens"}),
        ("vit_tiny_patch16_224", 28, {"convolutions", "mean pooling"}),
        ("vit_medium_patch16_rope_reg1_gap_256", 32, {"patch tokens", "convolutions"}),
        ("mobilenetv3_small_050", 64, {"patch tokens", "mean pooling"}),
        ("test_convnext", 64, {"patch tokens", "convolutions"}),
        ("vit_tiny_patch16_224", 32, {"convolutions", "mean pooling"}),
        ("test_byobnet", 32, {"patch tokens"}),
    ],
)
def test_what_an_encoder_offers(name: str, size: int, lacks: set[str]) -> None:
    model_args, upsample = fit_to_size(name, 1, size)
    assert lacking(Encoder(name, 1, size, model_args=model_args, upsample=upsample)) == lacks


@pytest.mark.parametrize(
    ("name", "size", "cells"),
    [
        ("vit_tiny_patch16_224", 28, 7),
        ("vit_tiny_patch16_224", 32, 8),
        ("vit_tiny_patch16_224", 50, 10),
        ("vit_tiny_patch16_224", 64, 8),
        ("vit_tiny_patch16_224", 96, 6),  # its own
        ("vit_tiny_patch16_224", 47, 2),  # its own: no patch divides it
    ],
)
def test_a_small_image_is_cut_into_patches_of_about_an_eighth(name: str, size: int, cells: int) -> None:
    model_args, upsample = fit_to_size(name, 1, size)
    network = Encoder(name, 1, size, model_args=model_args, upsample=upsample)
    assert network.cells == (cells, cells)
    assert upsample == 1


def test_what_a_transformer_was_made_for_is_left_as_it_is() -> None:
    assert fit_to_size("vit_tiny_patch16_224", 1, 224) == ({}, 1)
    assert fit_to_size("test_vit", 1, 160) == ({}, 1)


def test_the_default_backbone_is_matched_on_its_second_map_at_28_px() -> None:
    network = Encoder("resnet10t", 1, 28, model_args={"output_stride": 16})
    assert map_sides(network) == [7, 4, 2, 2]
    assert dense_level(network) == 1


@given(st.integers(4, 200), st.floats(0.01, 0.99), st.integers(0, 99))
def test_every_patch_is_either_seen_or_masked(n: int, ratio: float, seed: int) -> None:
    seen, masked = split(4, n, ratio, torch.Generator().manual_seed(seed))
    assert abs(masked.shape[1] - ratio * n) <= 1
    assert torch.equal(torch.cat([seen, masked], 1).sort(1).values, torch.arange(n).expand(4, -1))


@given(st.integers(4, 16), st.integers(1, 4), st.floats(0.1, 0.25), st.integers(0, 99))
def test_context_and_targets_never_share_a_patch(side: int, targets: int, area: float, seed: int) -> None:
    context, blocks = blocks_of(6, (side, side), targets, area, torch.Generator().manual_seed(seed))
    assert blocks.shape[:2] == (targets, 6)
    assert 1 <= blocks.shape[2] <= max(1, area * side * side)
    if targets * area < 1:
        for image in range(6):
            assert not set(context[image].tolist()) & set(blocks[:, image].flatten().tolist())
    assert all(len(set(row.tolist())) == context.shape[1] for row in context)
    for block in blocks.flatten(0, 1):
        rows, columns = block // side, block % side
        high, wide = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
        assert high * wide == block.shape[0]


def test_a_block_has_the_share_and_shape_asked_for() -> None:
    assert rectangle((14, 14), 0.2, 1.0) == (6, 6)
    assert rectangle((14, 14), 0.2, 1.5) == (8, 4)
    assert rectangle((4, 4), 1.0, 1.0) == (4, 4)


@given(st.integers(4, 14), st.floats(0.15, 0.6), st.integers(0, 99))
def test_half_of_the_views_are_masked_around_the_ratio(side: int, ratio: float, seed: int) -> None:
    mask = block_masks(7, (side, side), ratio, torch.Generator().manual_seed(seed))
    counts = mask.sum(1)
    assert int((counts > 0).sum()) == 4
    shares = counts[counts > 0] / side**2
    assert (shares >= ratio / 3 - 1 / side**2).all()
    assert (shares <= ratio * 5 / 3 + 1 / side**2).all()


def test_patches_are_cut_row_by_row_and_normalised() -> None:
    x = normal(2, 3, 8, 12)
    cut = patches(x, (2, 3))
    assert torch.equal(cut[1, 4], x[1, :, 4:8, 4:8].permute(1, 2, 0).flatten())
    even = normalised(5 * cut + 7)
    assert torch.allclose(even.mean(2), torch.zeros(2, 6), atol=1e-5)
    assert torch.allclose(even.var(2), torch.ones(2, 6), atol=1e-3)


def test_places_are_told_apart() -> None:
    found = positions((5, 4), 32)
    assert found.shape == (20, 32)
    assert torch.cdist(found, found).add(torch.eye(20) * 9).min() > 0.1
    assert float(found[6, 0]) == pytest.approx(np.sin(1))  # row 1, column 2: rows come first
    assert float(found[6, 16]) == pytest.approx(np.sin(2))


def silence(decoder: TokenDecoder) -> None:
    """Let a decoder answer zeros."""
    for parameter in decoder.leave.parameters():
        torch.nn.init.zeros_(parameter)


def test_mae_restores_masked_pixels_only_and_sees_none_of_them() -> None:
    """The loss against an answer of zeros is the mean square of the normalised pixels of masked patches."""
    method = MAE(fitting("mae", 1), still(), ratio=0.5)
    x = uniform(4, 1, 20, 20)
    method.views.weak(x, method.generator.manual_seed(3))
    _, masked = split(4, 25, 0.5, method.generator)
    silence(method.decoder)
    wanted = normalised(patches(still().standardise(x), (5, 5)))
    expected = np.mean([float(wanted[i, j].square().mean()) for i in range(4) for j in masked[i].tolist()])
    method.generator.manual_seed(3)
    assert float(method.loss(Batch(x)).detach()) == pytest.approx(expected, rel=1e-4)


def test_ibot_patches() -> None:
    """Equation 2 of Zhou et al. 2022 less the teacher's entropy; of the views only two have a mask."""
    mask = torch.tensor([[True, False, True], [False, False, False], [False, True, False]])
    student, teacher = normal(3, 6), normal(3, 6, seed=1)
    target, predicted = (teacher / 0.1).softmax(1).numpy(), (student / 0.2).softmax(1).numpy()
    each = [(target[i] * np.log(target[i] / predicted[i])).sum() for i in range(3)]
    expected = ((each[0] + each[1]) / 2 + each[2]) / 3
    assert float(masked_answers(student, teacher, mask, 0.2, 0.1)) == pytest.approx(expected, rel=1e-4)
    none = masked_answers(student[:0], teacher[:0], torch.zeros(3, 3, dtype=torch.bool), 0.2, 0.1)
    assert float(none) == 0


@pytest.mark.parametrize("name", [IBOT, IJEPA])
def test_the_teacher_sees_whole_images(name: type[IBOT | IJEPA]) -> None:
    """Changing only what the student cannot see changes the loss: it is the target."""
    method = name(fitting("ijepa", 1), still()).eval()
    x = uniform(4, 1, 20, 20)
    losses = []
    for image in (x, x.roll(1, 0)):
        method.generator.manual_seed(3)
        losses.append(float(method.loss(Batch(image)).detach()))
    assert losses[0] != losses[1]
    assert not any(p.requires_grad for p in method.teacher.parameters())


def test_ijepa_is_the_smooth_distance_to_normalised_tokens() -> None:
    method = IJEPA(fitting("ijepa", 1), still(), targets=2).eval()
    silence(method.predictor)
    x = uniform(3, 1, 20, 20)
    method.views.weak(x, method.generator.manual_seed(3))
    _, blocks = blocks_of(3, (5, 5), 2, 0.2, method.generator)
    found = tokens(method.encoder, still().standardise(x)).patches.detach()
    wanted = torch.stack([taken(F.layer_norm(found, found.shape[2:]), block) for block in blocks]).abs()
    expected = float(torch.where(wanted < 1, wanted.square() / 2, wanted - 0.5).mean())
    method.generator.manual_seed(3)
    assert float(method.loss(Batch(x)).detach()) == pytest.approx(expected, rel=1e-4)


def holes(seed: int = 0) -> Tensor:
    """A mask (4, 1, 4, 4) of which 1 is visible."""
    return (uniform(4, 1, 4, 4, seed=seed).flatten(1).argsort(1) < 6).view(4, 1, 4, 4)


def test_hidden_cells_stay_empty_in_every_map() -> None:
    network, visible, x = encoder(), holes(), normal(4, 1, 16, 16)
    keys = list(network.state_dict())
    with torch.no_grad(), sparse(network.train(), visible):
        maps = network.pyramid(x * resized(visible, (16, 16)))
    assert (4, 4) in {tuple(m.shape[2:]) for m in maps}
    for found in maps:
        seen = resized(visible, (found.shape[2], found.shape[3]))
        assert not found.masked_select(~seen).any()
        assert found.masked_select(seen).any()
    assert list(network.state_dict()) == keys
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_batch_norms_take_their_statistics_from_visible_cells() -> None:
    network, visible = encoder(), holes()
    stem = next(m for m in network.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d))
    inputs: list[Tensor] = []
    handle = stem.register_forward_pre_hook(lambda _m, args: inputs.append(args[0]))
    x = normal(4, 1, 16, 16) + 3
    with torch.no_grad(), sparse(network.train(), visible):
        network(x * resized(visible, (16, 16)))
    handle.remove()
    (seen,) = inputs
    cells = resized(visible, (seen.shape[2], seen.shape[3]))[:, 0]
    rows = seen.permute(0, 2, 3, 1)[cells]
    assert stem.running_mean is not None
    assert torch.allclose(stem.running_mean, 0.1 * rows.mean(0), atol=1e-5)


def test_a_mask_over_nothing_changes_nothing() -> None:
    network, x = encoder().eval(), normal(4, 1, 16, 16)
    with torch.no_grad(), sparse(network, torch.ones(4, 1, 4, 4)):
        maps = network.pyramid(x)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(maps, network.pyramid(x), strict=True))


def test_spark_restores_hidden_pixels_of_even_patches() -> None:
    x = normal(3, 2, 16, 16)
    expected = normalised(patches(x, (4, 4)))
    found = patches(evened(x, 4), (4, 4))
    unbiased = (expected.shape[2] / (expected.shape[2] - 1)) ** 0.5
    assert torch.allclose(found, expected * unbiased, atol=1e-3)


def test_spark_shows_the_encoder_nothing_that_is_hidden_and_learns_what_to_put_there() -> None:
    method = SparK(encoder(), still(), ratio=0.5)
    inputs, x = recorded(method.encoder), uniform(4, 1, 16, 16)
    method.views.weak(x, method.generator.manual_seed(3))
    masked = F.interpolate(block_mask(4, method.grid, 0.5, method.generator), (16, 16), mode="nearest")
    losses = []
    for image in (x, torch.where(masked > 0, uniform(4, 1, 16, 16, seed=9), x)):
        method.generator.manual_seed(3)
        losses.append(method.loss(Batch(image)))
    assert torch.allclose(inputs[0], still().standardise(x) * (1 - masked), atol=1e-4)
    assert torch.allclose(inputs[1], inputs[0], atol=1e-4)
    assert float(losses[0].detach()) != float(losses[1].detach())
    losses[0].backward()  # type: ignore[no-untyped-call]
    assert method.tokens[0].grad is not None
    assert method.tokens[0].grad.any()


def test_a_study_leaves_out_what_its_backbone_cannot_serve_and_says_why() -> None:
    network = Encoder("test_resnet", 1, 28, model_args={"output_stride": 8})
    lacks = lacking(network)
    tried, left_out = _served(Asked(), "grey", 1, lacks)
    assert {"densecl", "pixpro", "vicregl", "spark"} <= set(tried)
    for name in ("mae", "ibot", "ijepa"):
        assert left_out[name] == "this encoder has no patch tokens"
    with pytest.raises(UserError, match="has no patch tokens"):
        _served(Asked(methods="mae"), "grey", 1, lacks)
