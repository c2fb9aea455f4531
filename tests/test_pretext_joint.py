"""DiRA and PCRL: both halves of the loss, what is disturbed, turned and mixed, and what the decoder is to restore."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from autossl.nn.encoder import Features
from autossl.pretext.batch import Batch
from autossl.pretext.dira import DiRA
from autossl.pretext.moco import queued_nce
from autossl.pretext.pcrl import PCRL, laid
from autossl.views.images import Views
from autossl.views.presets import preset
from tests.pretext_toys import Blank, encoder, normal, recorded, still, uniform


def test_dira_restores_the_crop_from_a_view_with_holes_of_noise() -> None:
    x = uniform(8, 1, 16, 16)
    losses = []
    for weight in (0.0, 2.0):
        method = DiRA(encoder(), still(), weight=weight, area=0.3)
        method.decoder = Blank()  # type: ignore[assignment]
        inputs = recorded(method.encoder)
        losses.append(float(method.loss(Batch(x)).detach()))
    clean = still().standardise(x)
    assert losses[1] - losses[0] == pytest.approx(2 * float((0.25 * clean).square().mean()), rel=1e-4)
    changed = ((inputs[0] - clean).abs() > 1e-4).float().mean()
    assert 0.15 < float(changed) < 0.32


def test_the_contrast_of_dira_is_momentum_contrast_of_the_disturbed_view() -> None:
    method = DiRA(encoder(), still(), weight=0.0).eval()
    inputs = recorded(method.encoder)
    x, groups = uniform(6, 1, 16, 16), torch.tensor([0, 0, 1, 2, 3, 4])
    found = float(method.loss(Batch(x, groups)).detach())
    again = DiRA(encoder(), still()).eval()
    again.load_state_dict(
        {key: value for key, value in method.state_dict().items() if "queue" not in key}, strict=False
    )
    query, key = again.projector(again.encoder(inputs[0])), again.teacher(still().standardise(x))
    assert found == pytest.approx(float(queued_nce(query, key, again.queue, 0.2, groups, None).detach()), rel=1e-3)
    assert int(method.queue.pushed) == 6


def test_the_target_of_dira_has_the_crop_of_the_view_but_not_its_intensities() -> None:
    views = Views(preset("xray", 1), (0.5,), (0.25,), crop_min=0.5, jitter=1.0)
    method = DiRA(encoder(), views, weight=1e4, area=0.01)
    method.decoder = Blank()  # type: ignore[assignment]
    flat = torch.full((4, 1, 16, 16), 0.75)
    # the standardised image is 1 everywhere, a quarter of the full range
    assert float(method.loss(Batch(flat)).detach()) == pytest.approx(1e4 / 16, rel=1e-2)


def test_an_image_can_be_laid_in_eight_ways() -> None:
    x = normal(1, 2, 5, 5)
    codes = torch.tensor(list(itertools.product((0.0, 1.0), repeat=3)))
    found = laid(x.expand(8, -1, -1, -1), codes)
    expected = [torch.rot90(way, turns, (1, 2)) for way in (x[0], x[0].flip(2)) for turns in range(4)]
    assert all(any(torch.equal(one, other) for other in expected) for one in found)
    assert len({tuple(one.flatten().tolist()) for one in found}) == 8
    assert torch.equal(found[4], x[0].flip(2))
    assert torch.equal(found[2], x[0].flip(1))
    assert torch.equal(found[1], x[0].transpose(1, 2))


class Kept(torch.nn.Module):
    """A decoder that keeps the maps it is given and answers zeros."""

    def forward(self, seen: Features, size: tuple[int, int]) -> Tensor:
        self.coarsest = seen.pyramid[-1]
        return torch.zeros(len(self.coarsest), 1, *size) + 0 * self.coarsest.sum()


def test_pcrl_restores_what_it_was_asked_for_from_plain_and_mixed_maps() -> None:
    method = PCRL(encoder(), still(), weight=1.0).eval()
    decoder = Kept()
    method.decoder = decoder  # type: ignore[assignment]
    x = uniform(6, 1, 16, 16)
    clean = still().standardise(x)
    found = float(method.loss(Batch(x)).detach())
    assert found == pytest.approx(float(clean.square().mean()), rel=1e-4)  # two equal views are what any mixture is
    plain, mixed = decoder.coarsest.chunk(2)
    assert torch.allclose(plain, mixed, atol=1e-4)  # teacher and student are equal at first
    with torch.no_grad():
        next(iter(method.teacher.parameters())).mul_(2)
    method.loss(Batch(x))
    plain, mixed = decoder.coarsest.chunk(2)
    assert not torch.allclose(plain, mixed, atol=1e-4)


def test_the_keys_and_maps_of_pcrl_come_back_in_their_order() -> None:
    method = PCRL(encoder(), still()).eval()
    x = uniform(11, 1, 16, 16)
    coarsest, key = method._taught(x)
    assert torch.allclose(key, method.teacher(x), atol=1e-5)
    assert torch.allclose(coarsest, method.encoder.pyramid(x)[-1], atol=1e-5)


def test_the_attention_of_pcrl_tells_the_decoder_the_transformation() -> None:
    method = PCRL(encoder(), still())
    codes = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    gates = method.attention(codes)
    assert ((gates > 0) & (gates < 1)).all()
    assert all((gates[i] - gates[j]).abs().max() > 1e-3 for i, j in ((0, 1), (0, 2), (1, 2)))
    method.loss(Batch(uniform(6, 1, 16, 16))).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.any() for p in method.attention.parameters())


@pytest.mark.parametrize("method", [DiRA, PCRL])
def test_teachers_follow_and_images_of_a_patient_are_no_negatives(method: type[DiRA | PCRL]) -> None:
    pretext = method(encoder(), still(), teacher_rate=0.5, weight=0.0)
    x = uniform(6, 1, 16, 16)
    assert float(pretext.loss(Batch(x, torch.zeros(6, dtype=torch.long))).detach()) == pytest.approx(0, abs=1e-5)
    weight, theirs = next(pretext.encoder.parameters()), next(pretext.teacher.parameters())
    before = theirs.clone()
    with torch.no_grad():
        weight.add_(1.0)
    pretext.after_step(0.0)
    assert torch.allclose(theirs, before + 0.5, atol=1e-6)
    assert F.normalize(pretext.queue.entries(None)[0], dim=1).shape == (6, 128)
