"""Patient positives: who is whose partner, what the base method is shown, and how batches hold pairs together."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from autossl.errors import UserError
from autossl.pretext.batch import Batch
from autossl.pretext.patient_positives import BASES, PatientPositives, partners
from autossl.pretext.simclr import nt_xent
from autossl.run.settings import _lacks
from autossl.train.pool import places
from autossl.trials.fitted import served
from autossl.trials.space import read_space
from autossl.views.presets import preset
from autossl.views.volumes import views_for
from tests.pretext_toys import encoder, recorded_forward, still, uniform, volume_encoder

GROUPS = st.lists(st.integers(0, 6), min_size=1, max_size=40)


@given(GROUPS)
def test_a_partner_is_another_image_of_the_patient_where_there_is_one(groups: list[int]) -> None:
    found = partners(torch.tensor(groups)).tolist()
    assert sorted(found) == list(range(len(groups)))
    count = Counter(groups)
    for image, partner in enumerate(found):
        assert groups[image] == groups[partner]
        assert (image == partner) == (count[groups[image]] == 1)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_second_view_shows_the_partner(known: bool, share: float) -> None:
    method = PatientPositives(encoder(), still(), share=share).eval()
    inputs = recorded_forward(method.encoder)
    x, groups = uniform(6, 1, 16, 16), torch.tensor([4, 2, 4, 4, 7, 2])
    found = float(method.loss(Batch(x, groups if known else None)).detach())
    second = [2, 5, 3, 0, 4, 1] if known and share else list(range(6))
    shown = still().standardise(x)
    assert torch.allclose(inputs[0], torch.cat([shown, shown[second]]), atol=1e-5)
    z = method.base.projector(method.encoder(torch.cat([shown, shown[second]])))  # type: ignore[operator]
    expected = float(nt_xent(z, 0.5, groups if known else None).detach())
    assert found == pytest.approx(expected, rel=1e-5)


def test_same_patients_are_never_negatives() -> None:
    """Images that all show one patient have no negative: the loss is zero whatever the embeddings."""
    method = PatientPositives(encoder(), still())
    assert float(method.loss(Batch(uniform(6, 1, 16, 16), torch.zeros(6, dtype=torch.long))).detach()) == 0
    assert float(method.loss(Batch(uniform(6, 1, 16, 16), torch.arange(6))).detach()) > 0


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("base", BASES)
def test_every_base_trains(base: str, dims: int) -> None:
    network = encoder() if dims == 2 else volume_encoder()
    views = views_for(dims)(preset("grey", 1), (0.5,), (0.25,))
    method = PatientPositives(network, views, base=base, share=0.5)
    method.loss(Batch(uniform(6, 1, *network.size), torch.arange(6) // 2)).backward()  # type: ignore[no-untyped-call]
    method.after_step(0.1)
    stem = next(method.encoder.parameters())
    assert stem.grad is not None
    assert stem.grad.any()
    assert not any(key.startswith("base.encoder.") for key in method.state_dict())


def test_views_of_volumes_are_those_of_the_volumes_of_a_patient() -> None:
    views = views_for(3)(preset("mr", 1), (0.5,), (0.25,))
    method = PatientPositives(volume_encoder(), views)
    inputs = recorded_forward(method.encoder)
    x = uniform(4, 1, 20, 20, 20)
    method.generator.manual_seed(1)
    method.loss(Batch(x, torch.tensor([0, 0, 1, 1])))
    method.generator.manual_seed(1)
    torch.rand(4, generator=method.generator)  # which images are shown a partner
    both = torch.cat([x, x[[1, 0, 3, 2]]])
    assert torch.allclose(inputs[0], views(both, method.generator), atol=1e-6)


def test_the_accuracy_of_the_base_is_passed_on() -> None:
    method = PatientPositives(encoder(), still())
    assert method.accuracy is None
    method.base.accuracy = torch.tensor(0.75)  # as a base with right answers would leave it
    method.loss(Batch(uniform(4, 1, 16, 16)))
    assert method.accuracy is method.base.accuracy


def test_an_unknown_base_is_refused() -> None:
    with pytest.raises(UserError, match="two views was wanted"):
        PatientPositives(encoder(), still(), base="rotation")


@given(GROUPS, st.integers(1, 12), st.integers(0, 5))
def test_paired_epochs_show_every_image_once_and_patients_side_by_side(
    groups: list[int], batch: int, seed: int
) -> None:
    n, patients = len(groups), np.array(groups)
    steps = -(-2 * n // batch)
    seen = np.concatenate([places(step, batch, n, seed, patients) for step in range(steps)])[: 2 * n]
    for epoch in (seen[:n], seen[n:]):
        assert sorted(epoch.tolist()) == list(range(n))
        same = patients[epoch][1:] == patients[epoch][:-1]
        assert same.sum() >= sum(count // 2 for count in Counter(groups).values())


def test_most_images_of_a_batch_have_a_partner_where_a_random_batch_has_few() -> None:
    patients = np.repeat(np.arange(500), 4)
    shares = []
    for known in (patients, None):
        drawn = patients[places(3, 128, 2000, 0, known)]
        shares.append(np.mean([np.sum(drawn == patient) > 1 for patient in drawn]))
    assert shares[0] > 0.98
    assert shares[1] < 0.35


def test_data_without_patients_leaves_the_method_out_with_the_reason() -> None:
    kept, left_out = served(read_space(), frozenset({"patients"}))
    assert "patient_positives" not in kept
    assert left_out == {"patient_positives": "these images have no patients with several images"}


@pytest.mark.parametrize(
    ("groups", "lacking_patients"),
    [(np.arange(40), True), (np.arange(40) // 2, False), (np.r_[np.arange(36), [0] * 4], True)],
)
def test_patients_are_lacking_where_hardly_an_image_shares_one(
    groups: NDArray[np.int64], lacking_patients: bool
) -> None:
    source = SimpleNamespace(groups=groups, slices=None, channels=3)
    found = _lacks(preset("histology", 3), source, encoder(3))  # type: ignore[arg-type]
    assert ("patients" in found) == lacking_patients
    assert "colour" not in found
    grey = SimpleNamespace(groups=groups, slices=None, channels=1)
    assert "colour" in _lacks(preset("histology", 1), grey, encoder())  # type: ignore[arg-type]
