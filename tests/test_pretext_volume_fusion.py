"""Volume fusion: boxes painted one after the other, partners, and the loss written naively."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autossl.errors import UserError
from autossl.nn.encoder import Features
from autossl.pretext.batch import Batch
from autossl.pretext.volume_fusion import MOST, SMALLEST, VolumeFusion, dice, painted
from tests.pretext_toys import encoder, normal, recorded, still, uniform, volume_encoder


@given(
    st.lists(st.integers(3, 12), min_size=2, max_size=3),
    st.integers(1, MOST),
    st.integers(1, 6),
    st.floats(SMALLEST, 1),
    st.integers(0, 99),
)
@settings(max_examples=40)
def test_classes_are_boxes_painted_over_each_other(
    size: list[int], boxes: int, levels: int, side: float, seed: int
) -> None:
    dims = len(size)
    u, count = uniform(3, boxes, 1 + 2 * dims, seed=seed), torch.tensor([0, (boxes + 1) // 2, boxes])
    found = painted(u, count, levels, side, *size)
    for image in range(3):
        expected = np.zeros(size)
        for numbers in u[image, : int(count[image])]:
            place = []
            for axis, length in enumerate(size):
                share = (SMALLEST + (side - SMALLEST) * numbers[1 + axis]) * length
                span = max(round(float(share)), 1)
                start = int(numbers[1 + dims + axis] * (length - span + 1))
                place.append(slice(start, start + span))
            expected[tuple(place)] = 1 + int(numbers[0] * levels)
        assert np.array_equal(found[image].numpy(), expected)


def test_the_highest_of_all_boxes_is_found_exactly() -> None:
    whole = torch.zeros(1, MOST, 5)
    whole[..., 1:3] = 1
    whole[0, :, 0] = (torch.arange(MOST) + 0.5) / MOST
    for count in (1, 2, 31, MOST - 1, MOST):
        assert (painted(whole, torch.tensor([count]), MOST, 1.0, 4, 6) == count).all()


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("batch", [2, 5])
def test_a_partner_is_another_image_of_the_batch(dims: int, batch: int) -> None:
    method = VolumeFusion(encoder() if dims == 2 else volume_encoder(), still(), levels=4)
    x = torch.arange(1.0, batch + 1).view(-1, *[1] * (dims + 1)).expand(-1, 1, *[20] * dims).contiguous()
    seen = set()
    for seed in range(12):
        method.generator.manual_seed(seed)
        fused, classes = method.fused(x)
        assert classes.shape == (batch, *[20] * dims)
        pure = [set(fused[i, 0][classes[i] == 4].tolist()) for i in range(batch)]
        assert all(len(values) <= 1 for values in pure)
        partners = {i: round(values.pop()) - 1 for i, values in enumerate(pure) if values}
        assert all(i != partner for i, partner in partners.items())
        seen |= set(partners.items())
        for i, partner in partners.items():
            share = classes[i] / 4
            assert torch.allclose(fused[i, 0], (1 - share) * x[i, 0] + share * x[partner, 0], atol=1e-5)
    assert len({partner for i, partner in seen if i == 0}) == batch - 1


def test_an_image_alone_is_its_own_partner() -> None:
    x = uniform(1, 1, 16, 16)
    assert torch.allclose(VolumeFusion(encoder(), still()).fused(x)[0], x, atol=1e-6)


def test_the_number_of_boxes_is_a_quarter_to_all() -> None:
    method = VolumeFusion(encoder(), still(), levels=1, boxes=40, side=SMALLEST)
    area = method.fused(torch.zeros(400, 1, 16, 16))[1].sum((1, 2))  # boxes of one pixel, few of them on one place
    assert 5 <= int(area.min()) <= 10
    assert 32 <= int(area.max()) <= 40


class Answers(torch.nn.Module):
    """A decoder that gives fixed answers."""

    def __init__(self, answers: Tensor) -> None:
        super().__init__()
        self.answers = answers

    def forward(self, seen: Features, size: tuple[int, ...]) -> Tensor:
        return self.answers


def test_the_loss_is_cross_entropy_plus_dice() -> None:
    """Over all pixels, and over the classes; the Dice coefficient of a class over the whole batch."""
    method = VolumeFusion(encoder(), still(), levels=3, boxes=6)
    inputs = recorded(method.encoder)
    x, answers = uniform(4, 1, 16, 16), normal(4, 4, 16, 16)
    method.decoder = Answers(answers)  # type: ignore[assignment]
    found = float(method.loss(Batch(x)))
    method.generator.manual_seed(0)
    method.views.weak(x, method.generator)
    fused, classes = method.fused(still().standardise(x))
    assert torch.allclose(inputs[0], fused, atol=1e-5)
    entropy, right = 0.0, 0
    overlap, total = np.zeros(4), np.zeros(4)
    for i, row, column in np.ndindex(4, 16, 16):
        raised = [math.exp(float(value)) for value in answers[i, :, row, column]]
        shares, label = np.array(raised) / sum(raised), int(classes[i, row, column])
        entropy -= math.log(shares[label]) / (4 * 16 * 16)
        right += int(shares.argmax()) == label
        overlap[label] += shares[label]
        total += shares
        total[label] += 1
    assert found == pytest.approx(entropy + 1 - np.mean(2 * overlap / total), rel=1e-4)
    assert method.accuracy is not None
    assert float(method.accuracy) == pytest.approx(right / (4 * 16 * 16))


def test_right_answers_have_no_dice_loss_even_where_a_class_is_missing() -> None:
    classes = torch.randint(3, (2, 5, 5), generator=torch.Generator().manual_seed(0))
    sure = 50 * torch.nn.functional.one_hot(classes, 4).permute(0, 3, 1, 2).float()
    assert float(dice(sure[:, :3], classes)) == pytest.approx(0, abs=1e-5)
    assert float(dice(sure, classes)) == pytest.approx(0.25, abs=1e-5)  # one empty class of four


@pytest.mark.parametrize("boxes", [0, MOST + 1])
def test_too_many_boxes_are_refused(boxes: int) -> None:
    with pytest.raises(UserError, match="boxes were wanted"):
        VolumeFusion(encoder(), still(), boxes=boxes)
