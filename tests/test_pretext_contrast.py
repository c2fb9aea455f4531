"""Contrastive losses against the papers' formulas written naively; queues, neighbours, and who is no negative."""

import copy
import math
from collections import deque

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from autossl.pretext.base import Pretext
from autossl.pretext.batch import Batch
from autossl.pretext.contrast import Queue, info_nce, kin
from autossl.pretext.dcl import dcl, von_mises_weights
from autossl.pretext.moco import MoCo, keys
from autossl.pretext.mocov3 import MoCoV3, mocov3
from autossl.pretext.nnclr import NNCLR, neighbours
from autossl.pretext.ressl import ReSSL, ressl
from autossl.train.loop import Run, Settings
from tests.pretext_toys import cosine, encoder, normal, still, uniform

PATIENTS = [0, 0, 1, 2, 1, 3]


def nce(query: Tensor, positive: Tensor, negatives: list[Tensor], temperature: float) -> float:
    """InfoNCE of one query."""
    terms = [math.exp(cosine(query, z) / temperature) for z in [positive, *negatives]]
    return -math.log(terms[0] / sum(terms))


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_info_nce(temperature: float) -> None:
    """Equation 1 of He et al. 2020, in which the sum runs over one positive and the negatives."""
    query, positive, others = normal(4, 5), normal(4, 5, seed=1), normal(7, 5, seed=2)
    excluded = uniform(4, 7) < 0.4
    expected = [
        nce(query[i], positive[i], [others[j] for j in range(7) if not excluded[i, j]], temperature) for i in range(4)
    ]
    assert float(info_nce(query, positive, others, temperature, excluded)) == pytest.approx(np.mean(expected), rel=1e-5)
    assert float(info_nce(query, positive, others[:0], temperature)) == 0


@pytest.mark.parametrize("groups", [None, PATIENTS])
@pytest.mark.parametrize("owners", [None, [], [1, 5, -1, 0]])
def test_kin_are_the_image_itself_and_its_patient(groups: list[int] | None, owners: list[int] | None) -> None:
    found = kin(
        6,
        None if groups is None else torch.tensor(groups),
        None if owners is None else torch.tensor(owners, dtype=torch.long),
        like=torch.zeros(1),
    )
    columns = (groups or []) + (owners or [])
    for i, j in np.ndindex(6, 6 + len(owners or [])):
        assert bool(found[i, j]) == (i == j or (groups is not None and groups[i] == columns[j]))


@pytest.mark.parametrize("groups", [None, PATIENTS])
@pytest.mark.parametrize("weighted", [False, True])
def test_dcl(groups: list[int] | None, weighted: bool) -> None:
    """Equation 6 of Yeh et al. 2022, plain and weighted: neither the image nor its other view is in a denominator."""
    b, temperature = 6, 0.2
    z = normal(2 * b, 5)
    patient = groups or list(range(b))
    similar = [cosine(z[i], z[i + b]) for i in range(b)]
    mean = float(np.mean([math.exp(s / 0.5) for s in similar]))
    losses = []
    for i in range(2 * b):
        weight = 2 - math.exp(similar[i % b] / 0.5) / mean if weighted else 1.0
        others = [k for k in range(2 * b) if patient[k % b] != patient[i % b]]
        denominator = sum(math.exp(cosine(z[i], z[k]) / temperature) for k in others)
        losses.append(-weight * similar[i % b] / temperature + math.log(denominator))
    found = dcl(z, temperature, weighted, None if groups is None else torch.tensor(groups))
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-5)


def test_dcl_pulls_where_there_is_no_negative() -> None:
    z = normal(8, 5)
    similar = [cosine(z[i], z[i + 4]) for i in range(4)]
    loss = dcl(z.requires_grad_(True), 0.1, groups=torch.zeros(4, dtype=torch.long))
    loss.backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()
    assert float(loss.detach()) == pytest.approx(-np.mean(similar) / 0.1, rel=1e-5)


def test_von_mises_weights_have_mean_one_and_fall() -> None:
    weights = von_mises_weights(torch.linspace(-1, 1, 9))
    assert float(weights.mean()) == pytest.approx(1)
    assert (weights.diff() < 0).all()


@given(
    st.integers(1, 12), st.one_of(st.none(), st.integers(0, 30)), st.lists(st.integers(1, 9), max_size=8), st.booleans()
)
def test_a_queue_holds_the_newest_up_to_half_of_the_population(
    size: int, population: int | None, batches: list[int], known: bool
) -> None:
    queue = Queue(size, 3)
    limit = size if population is None else min(size, population // 2)
    expected: deque[tuple[tuple[float, ...], int]] = deque(maxlen=limit)
    for number, b in enumerate(batches):
        z, groups = F.normalize(normal(b, 3, seed=number), dim=1), torch.arange(b) + 10 * number
        queue.push(z, groups if known else None, population)
        expected.extend(zip(map(tuple, z.tolist()), groups.tolist() if known else [-1] * b, strict=True))
    embeddings, patients = queue.entries(population)
    assert len(embeddings) == len(patients) == len(expected) <= limit
    found = sorted(zip(map(tuple, embeddings.tolist()), patients.tolist(), strict=True))
    for (z_found, patient), (z_wanted, wanted) in zip(found, sorted(expected), strict=True):
        assert z_found == pytest.approx(z_wanted, abs=1e-6)
        assert patient == wanted


@pytest.mark.parametrize("method", [MoCo, NNCLR, ReSSL])
def test_a_queue_survives_a_checkpoint_and_never_outgrows_half_of_the_pool(
    method: type[MoCo | NNCLR | ReSSL],
) -> None:
    pretext = method(encoder(), still(), queue=16)
    pretext.population = 20
    for number, held in enumerate((6, 10, 10)):
        pretext.loss(Batch(uniform(6, 1, 16, 16, seed=number), torch.arange(6) + 6 * number))
        assert len(pretext.queue.entries(20)[0]) == held
    assert set(pretext.queue.patients.tolist()) == {-1, *range(8, 18)}
    again = method(encoder(), still(), queue=16)
    again.load_state_dict(copy.deepcopy(pretext.state_dict()))
    assert all(torch.equal(a, b) for a, b in zip(pretext.queue.entries(20), again.queue.entries(20), strict=True))


def test_a_run_tells_its_method_how_many_images_there_are() -> None:
    class Images(list[int]):
        """A pool of which only the length counts."""

    pretext = MoCo(encoder(), still())
    Run(pretext, Settings(), Images(range(30)), 0, 0, 1)  # type: ignore[arg-type]
    assert pretext.population == 30


def test_moco_is_info_nce_over_the_batch_and_the_queue_less_the_guess() -> None:
    pretext = MoCo(encoder(), still(), queue=8).eval()
    x, groups = uniform(6, 1, 16, 16), torch.tensor(PATIENTS)
    shown = pretext.views.standardise(x)
    stored, owners = normal(5, 128), torch.tensor([0, 7, 2, 8, 1])
    pretext.queue.push(stored, owners, None)
    with torch.no_grad():
        query, key = pretext.projector(pretext.encoder(shown)), pretext.teacher(shown)
    expected = []
    for i in range(6):
        negatives = [key[j] for j in range(6) if PATIENTS[j] != PATIENTS[i]]
        negatives += [stored[j] for j in range(5) if int(owners[j]) != PATIENTS[i]]
        expected.append(nce(query[i], key[i], negatives, 0.2) - math.log(1 + len(negatives)))
    assert float(pretext.loss(Batch(x, groups)).detach()) == pytest.approx(np.mean(expected), abs=1e-4)


@pytest.mark.parametrize("method", [MoCo, ReSSL])
def test_what_is_remembered_of_the_same_patient_has_no_part(method: type[MoCo | ReSSL]) -> None:
    x, groups = uniform(6, 1, 16, 16), torch.full((6,), 4)

    def loss(owner: int, seed: int) -> float:
        pretext = method(encoder(), still(), queue=8)
        pretext.queue.push(normal(8, 128, seed=seed), torch.full((8,), owner), None)
        return float(pretext.loss(Batch(x, groups)).detach())

    assert loss(4, 1) == loss(4, 2)
    assert loss(5, 1) != loss(5, 2)


def test_keys_come_back_in_their_order() -> None:
    pretext = MoCo(encoder(), still()).eval()
    x = uniform(11, 1, 16, 16)
    assert torch.allclose(keys(pretext.teacher, x, pretext.generator), pretext.teacher(x), atol=1e-5)


def moved(pretext: Pretext, teacher: torch.nn.Module, progress: float) -> float:
    """Which share of the way to the student a step takes the teacher."""
    mine, theirs = next(pretext.encoder.parameters()), next(teacher.parameters())
    with torch.no_grad():
        mine.copy_(theirs + 1)
    before = theirs.clone()
    pretext.after_step(progress)
    return float((theirs - before).mean())


def test_averages_move_as_stated() -> None:
    """MoCo's at one rate, those of MoCo v3 and ReSSL along a cosine to rest."""
    moco = MoCo(encoder(), still(), teacher_rate=0.1)
    assert moved(moco, moco.teacher, 0.0) == pytest.approx(0.1, abs=1e-5)
    assert moved(moco, moco.teacher, 1.0) == pytest.approx(0.1, abs=1e-5)
    for pretext in (MoCoV3(encoder(), still(), teacher_rate=0.1), ReSSL(encoder(), still(), teacher_rate=0.1)):
        assert moved(pretext, pretext.teacher, 0.0) == pytest.approx(0.1, abs=1e-5)
        assert moved(pretext, pretext.teacher, 0.5) == pytest.approx(0.05, abs=1e-5)
        assert moved(pretext, pretext.teacher, 1.0) == 0


def test_mocov3() -> None:
    """Algorithm 1 of Chen et al. 2021, without the keys of the query's own patient."""
    query, key = normal(6, 5), normal(6, 5, seed=1)
    expected = [nce(query[i], key[i], [key[j] for j in range(6) if PATIENTS[j] != PATIENTS[i]], 0.3) for i in range(6)]
    excluded = kin(6, torch.tensor(PATIENTS), like=query)
    assert float(mocov3(query, key, 0.3, excluded)) == pytest.approx(0.6 * np.mean(expected), rel=1e-5)


def test_neighbours_are_the_nearest_that_are_allowed() -> None:
    z, support, barred = normal(5, 4), F.normalize(normal(9, 4, seed=1), dim=1), uniform(5, 9) < 0.5
    barred[3] = True
    found = neighbours(z, support, barred)
    for i in range(5):
        allowed = [j for j in range(9) if not barred[i, j]]
        expected = support[max(allowed, key=lambda j: cosine(z[i], support[j]))] if allowed else z[i]
        assert torch.equal(found[i], expected)
    assert torch.equal(neighbours(z, support[:0], barred[:, :0]), z)


@pytest.mark.parametrize("groups", [None, PATIENTS])
def test_nnclr_takes_both_directions_and_remembers_one(groups: list[int] | None) -> None:
    """The loss of Dwibedi et al. 2021, symmetrised; the own patient gives neither a neighbour nor a negative."""
    pretext = NNCLR(encoder(), still(), temperature=0.3, queue=8).eval()
    x, patient = uniform(6, 1, 16, 16), groups or list(range(6))
    stored, owners = F.normalize(normal(8, 128), dim=1), torch.tensor([0, 1, 2, 3, 0, 1, 2, 9])
    pretext.queue.push(stored, owners if groups else None, None)
    with torch.no_grad():
        z = pretext.projector(pretext.encoder(pretext.views.standardise(x)))
        p = pretext.predictor(z)
    expected = []
    for i in range(6):
        allowed = [s for s, owner in zip(stored, owners.tolist(), strict=True) if not groups or owner != patient[i]]
        near = max(allowed, key=lambda s: cosine(z[i], s))
        expected.append(nce(near, p[i], [p[j] for j in range(6) if patient[j] != patient[i]], 0.3))
    found = pretext.loss(Batch(x, None if groups is None else torch.tensor(groups)))
    assert float(found.detach()) == pytest.approx(np.mean(expected), rel=1e-3)
    assert torch.allclose(pretext.queue.entries(None)[0][:6], F.normalize(z, dim=1), atol=1e-4)


def test_ressl() -> None:
    """The cross-entropy of Zheng et al. 2021 less the teacher's entropy; what is excluded has no share."""
    student, teacher, others = normal(4, 5), normal(4, 5, seed=1), normal(7, 5, seed=2)
    excluded = uniform(4, 7) < 0.3
    losses = []
    for i in range(4):
        seen = np.array([cosine(student[i], others[j]) / 0.1 for j in range(7) if not excluded[i, j]])
        meant = np.array([cosine(teacher[i], others[j]) / 0.04 for j in range(7) if not excluded[i, j]])
        p, q = np.exp(meant) / np.exp(meant).sum(), np.exp(seen) / np.exp(seen).sum()
        losses.append(-(p * np.log(q)).sum() + (p * np.log(p)).sum())
    found = ressl(student, teacher, others, 0.1, 0.04, excluded)
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-4)
    assert float(ressl(student, teacher, others, 0.1, 0.04, torch.ones_like(excluded))) == 0
