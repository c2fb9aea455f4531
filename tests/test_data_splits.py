"""Parts are whole patients, hold every class where possible, and never touch an official test part."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from autossl.data.draw import draw, groups_per_class, merge
from autossl.data.parts import DROPPED, NO_SPLIT, OFFICIAL_TEST, PROBE, SELECTION, TEST, TRAIN, VAL
from autossl.data.splits import Split, split
from autossl.errors import UserError

Ints = NDArray[np.int64]
Images = tuple[Ints, Ints, NDArray[np.int8]]


def parts_of(images: Images, classes: int, max_labels: int | None = None, seed: int = 0) -> Split:
    labels, groups, official = images
    return split(labels, groups, official, classes, max_labels, seed, "patients")


def without_split(labels: Ints, groups: Ints) -> Images:
    return labels, groups, np.full(len(labels), NO_SPLIT, dtype=np.int8)


@st.composite
def image_sets(draw_from: Callable[..., int], codes: tuple[int, ...] = (NO_SPLIT,)) -> Images:
    """Labels of three classes (some missing) of 10 to 60 patients with 1 to 8 images each."""
    seed = draw_from(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    patients = int(random.integers(10, 60))
    groups = np.repeat(np.arange(patients), random.integers(1, 9, patients))
    labels = random.integers(-1 if random.random() < 0.5 else 0, 3, len(groups))
    official = random.choice(np.array(codes, dtype=np.int8), len(groups))
    labels[:3], official[:3] = (0, 1, 2), codes[-1]  # no class is empty
    return labels, groups, official


def one_part_per_group(found: Split, groups: Ints) -> bool:
    used = found.part != DROPPED
    return all(len(set(found.part[used & (groups == group)].tolist())) <= 1 for group in np.unique(groups))


@given(image_sets())
def test_a_patient_is_in_one_part(images: Images) -> None:
    found = parts_of(images, 3)
    assert one_part_per_group(found, images[1])
    assert (found.part != DROPPED)[images[0] >= 0].all()
    np.testing.assert_array_equal(found.strata, images[0])


@given(image_sets())
def test_the_test_part_is_labelled_and_unlabelled_images_go_to_the_probe_part(images: Images) -> None:
    labels, groups, _ = images
    found = parts_of(images, 3)
    assert (labels[found.part == TEST] >= 0).all()
    alone = ~np.isin(groups, groups[labels >= 0])
    assert (found.part[alone] == PROBE).all()


@given(image_sets((TRAIN, VAL, OFFICIAL_TEST)))
def test_an_official_test_part_stays_and_nothing_else_joins_it(images: Images) -> None:
    labels, groups, official = images
    found = parts_of(images, 3)
    np.testing.assert_array_equal(found.part == TEST, (official == OFFICIAL_TEST) & (labels >= 0))
    assert one_part_per_group(found, groups)
    np.testing.assert_array_equal(found.strata[found.part == TEST], labels[found.part == TEST])
    tied = np.isin(groups, groups[official == OFFICIAL_TEST]) & (official != OFFICIAL_TEST)
    assert (found.part[tied] == DROPPED).all()
    assert found.left >= tied.sum()


@given(st.integers(0, 1000), st.integers(2, 8), st.integers(4, 40))
def test_every_class_with_four_images_is_in_every_part(seed: int, classes: int, fewest: int) -> None:
    random = np.random.default_rng(seed)
    counts = fewest + random.integers(0, 50, classes) * random.integers(0, 2, classes)
    labels = random.permutation(np.repeat(np.arange(classes), counts))
    images = without_split(labels, np.arange(len(labels)))
    found = parts_of(images, classes, seed=seed)
    for part in (PROBE, SELECTION, TEST):
        assert set(labels[found.part == part].tolist()) == set(range(classes))
    by_class = np.bincount(labels[found.part == TEST], minlength=classes)
    assert (np.abs(by_class - 0.2 * counts) <= 1).all()


@given(st.integers(0, 1000))
def test_every_class_with_four_patients_is_in_every_part(seed: int) -> None:
    random = np.random.default_rng(seed)
    kind = random.permutation(np.repeat(np.arange(4), [4, 5, 9, 20]))  # each patient has one class
    groups = np.repeat(np.arange(len(kind)), random.integers(1, 20, len(kind)))
    images = without_split(kind[groups], groups)
    found = parts_of(images, 4, seed=seed)
    for part in (PROBE, SELECTION, TEST):
        assert set(kind[groups[found.part == part]].tolist()) == {0, 1, 2, 3}


@given(st.integers(0, 1000))
def test_the_probe_part_has_two_patients_of_a_class_where_there_are_three(seed: int) -> None:
    random = np.random.default_rng(seed)
    kind = np.repeat(np.arange(4), [2, 3, 4, 20])  # each patient has one class
    groups = np.repeat(np.arange(len(kind)), random.integers(1, 20, len(kind)))
    found = parts_of(without_split(kind[groups], groups), 4, seed=seed)
    counts = [
        groups_per_class(kind[groups[found.part == part]], groups[found.part == part], 4).tolist()[:3]
        for part in (PROBE, SELECTION, TEST)
    ]
    assert counts == [[1, 2, 2], [0, 0, 1], [1, 1, 1]]
    official = np.where(np.isin(groups, [0, 2, 5]), OFFICIAL_TEST, TRAIN).astype(
        np.int8
    )  # one patient of three classes
    found = parts_of((kind[groups], groups, official), 4, seed=seed)
    probe = found.part == PROBE
    assert groups_per_class(kind[groups[probe]], groups[probe], 4).tolist()[:3] == [1, 2, 2]


@given(st.integers(0, 1000))
def test_shares_are_kept_by_patient(seed: int) -> None:
    random = np.random.default_rng(seed)
    groups = random.integers(0, 150, 3000)
    labels = random.choice(3, 3000, p=[0.2, 0.3, 0.5])
    out = draw(labels, groups, 3, 0.2, random)
    for index in range(3):
        assert abs(out[labels == index].mean() - 0.2) < 0.05


@given(image_sets(), st.floats(0.1, 0.9), st.integers(0, 1000))
def test_of_no_class_is_the_last_patient_taken_out(images: Images, share: float, seed: int) -> None:
    labels, groups, _ = images
    labels = np.where((labels == 2) & (groups > 1), 0, labels)  # two patients at most have class 2
    out = draw(labels, groups, 3, share, np.random.default_rng(seed))
    whole = groups_per_class(labels, groups, 3)
    left = groups_per_class(labels[~out], groups[~out], 3)
    assert (left[whole > 0] > 0).all()


@given(st.integers(0, 1000), st.integers(1, 30))
def test_a_class_of_two_patients_is_on_both_sides(seed: int, images: int) -> None:
    groups = np.repeat(np.arange(12), images)
    labels = np.array([0, 0, 1, 1, *[2] * 8])[groups]
    out = draw(labels, groups, 3, 0.15, np.random.default_rng(seed))
    assert groups_per_class(labels[out], groups[out], 3).tolist()[:2] == [1, 1]


@given(image_sets(), st.integers(0, 2**31))
def test_the_same_seed_gives_the_same_parts(images: Images, seed: int) -> None:
    first, second = parts_of(images, 3, seed=seed), parts_of(images, 3, seed=seed)
    np.testing.assert_array_equal(first.part, second.part)
    assert first.notes == second.notes


def test_another_seed_gives_other_parts() -> None:
    labels = np.arange(300) % 3
    images = without_split(labels, np.arange(300))
    assert (parts_of(images, 3, seed=1).part != parts_of(images, 3, seed=2).part).any()


def test_selection_is_a_larger_share_of_few_labels() -> None:
    for count, share in ((900, 0.3), (3000, 0.15)):
        found = parts_of(without_split(np.arange(count) % 3, np.arange(count)), 3)
        rest = (found.part == PROBE).sum() + (found.part == SELECTION).sum()
        assert abs((found.part == SELECTION).sum() / rest - share) < 0.01


def official_parts(val: int) -> Images:
    official = np.repeat([TRAIN, VAL, OFFICIAL_TEST], [200, val, 40]).astype(np.int8)
    labels = np.arange(len(official), dtype=np.int64) % 2
    return labels, np.arange(len(official)), official


def test_an_official_validation_part_of_ten_per_class_is_the_selection_part() -> None:
    images = official_parts(20)
    found = parts_of(images, 2)
    np.testing.assert_array_equal(found.part == SELECTION, images[2] == VAL)
    assert any("official validation part is the selection part" in note for note in found.notes)


def test_a_smaller_one_is_pooled_and_said_so() -> None:
    images = official_parts(18)
    found = parts_of(images, 2)
    assert (found.part == SELECTION).sum() == round(0.3 * 218 / 2) * 2
    assert any("pooled and split anew" in note for note in found.notes)


def test_ten_images_of_one_patient_are_not_ten_patients() -> None:
    labels, groups, official = official_parts(40)
    groups[official == VAL] = 1000 + groups[official == VAL] // 4
    found = parts_of((labels, groups, official), 2)
    assert not any("pooled" in note for note in found.notes)
    groups[official == VAL] = 2000 + groups[official == VAL] // 8
    found = parts_of((labels, groups, official), 2)
    assert any("pooled" in note for note in found.notes)


def test_a_patient_in_train_and_validation_leaves_train() -> None:
    labels, groups, official = official_parts(40)
    groups[200] = groups[0]
    found = parts_of((labels, groups, official), 2)
    assert found.part[0] == DROPPED
    assert found.part[200] == SELECTION
    assert found.left == 1


@given(st.integers(0, 1000), st.integers(16, 400))
def test_max_labels_keeps_exactly_so_many_images(seed: int, wanted: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.choice(8, 1000, p=[0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05])
    found = parts_of(without_split(labels, np.arange(1000)), 8, wanted, seed)
    kept = (found.strata >= 0) & (found.part != TEST)
    assert kept.sum() == min(wanted, int((found.part != TEST).sum()))
    counts = np.bincount(found.strata[kept], minlength=8)
    shares = np.bincount(labels[found.part != TEST], minlength=8) / (found.part != TEST).sum()
    assert counts.min() >= 2
    if wanted >= 80:
        assert (np.abs(counts - wanted * shares) <= 2).all()
    np.testing.assert_array_equal(found.strata[found.part == TEST], labels[found.part == TEST])
    assert (found.strata[found.part == SELECTION] >= 0).all()  # what lost its label is pixels for the probe part


@given(image_sets(), st.integers(30, 60))
def test_max_labels_keeps_whole_patients(images: Images, wanted: int) -> None:
    labels, groups, _ = images
    found = parts_of(images, 3, wanted)
    open_ = (labels >= 0) & (found.part != TEST) & (found.part != DROPPED)
    kept = open_ & (found.strata >= 0)
    assert kept.sum() <= max(wanted, 0) or kept.sum() == open_.sum()
    assert not np.intersect1d(groups[kept], groups[open_ & ~kept]).size
    if kept.sum() < open_.sum():
        smallest = min(int((open_ & (groups == group)).sum()) for group in np.unique(groups[open_ & ~kept]))
        assert kept.sum() + smallest > wanted  # no further patient would have fitted


def test_max_labels_below_two_per_class_is_refused_with_the_number_that_would_do() -> None:
    labels = np.arange(300) % 3
    with pytest.raises(UserError, match=r"found --max-labels 5 .*give --max-labels 6 or more"):
        parts_of(without_split(labels, np.arange(300)), 3, 5)


def test_max_labels_decides_whether_the_validation_part_is_large_enough() -> None:
    images = official_parts(100)
    assert not any("pooled" in note for note in parts_of(images, 2).notes)
    found = parts_of(images, 2, 40)
    assert any("pooled" in note for note in found.notes)
    assert ((found.strata >= 0) & (found.part == SELECTION)).sum() == 12


@given(st.integers(0, 1000))
def test_merging_joins_what_shares_a_set_and_nothing_else(seed: int) -> None:
    random = np.random.default_rng(seed)
    groups, sets = random.integers(0, 12, 40), random.integers(-1, 6, 40)
    merged = merge(groups, sets)
    expected = groups.copy()
    for _ in range(40):  # until nothing changes: the least group number reachable
        for by in (groups, np.where(sets >= 0, sets + 100, -1 - np.arange(40))):
            for value in np.unique(by):
                expected[by == value] = expected[by == value].min()
    same = merged[:, None] == merged[None]
    np.testing.assert_array_equal(same, expected[:, None] == expected[None])
    assert set(merged.tolist()) == set(range(len(set(merged.tolist()))))


def test_groups_per_class_counts_patients_not_images() -> None:
    labels, groups = np.array([0, 0, 0, 1, -1]), np.array([4, 4, 7, 7, 9])
    assert groups_per_class(labels, groups, 3).tolist() == [2, 1, 0]


def test_soft_strata_do_not_stand_in_the_way_of_parts() -> None:
    """Four patients of whom each has every range: of no range could a patient be spared where two stay."""
    labels, groups = np.tile(np.arange(5), 4), np.repeat(np.arange(4), 5)
    for seed in range(5):
        soft = split(*without_split(labels, groups), 5, None, seed, "patients", soft=True)
        assert {PROBE, SELECTION, TEST} == set(soft.part.tolist())
        assert one_part_per_group(soft, groups)
    many = without_split(np.arange(40) % 5, np.arange(40))
    few = split(*many, 5, 6, 0, "images", ("range", "ranges"), soft=True)
    assert (few.strata[few.part != TEST] >= 0).sum() == 6
    with pytest.raises(UserError, match="at least 2 labelled images of each of 5 ranges were wanted"):
        split(*many, 5, 6, 0, "images", ("range", "ranges"))
