"""Arrays and data sets in memory: what NumPy cannot hold and what a data set raises is named with its row."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import TensorDataset

from autossl.data import open_data
from autossl.errors import UserError


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


class Items:
    """A map-style data set of these items; those that are exceptions are raised."""

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, row: int) -> Any:
        if isinstance(self.items[row], BaseException):
            raise self.items[row]
        return self.items[row]


def pairs(*labels: Any) -> Items:
    return Items(*[(noise(12, 12), label) for label in labels])


def test_items_without_a_label_are_unlabelled() -> None:
    source = open_data(pairs(0, 1, None, 0, 1, float("nan"), np.int64(0), torch.tensor([1])))
    assert source.truth.strata.tolist() == [0, 1, -1, 0, 1, -1, 0, 1]
    assert source.notes == ("2 of 8 images have no label",)


def test_labels_in_a_masked_array() -> None:
    labels = np.ma.masked_equal([0, 1, 9, 0, 1, 9], 9)
    assert open_data(noise(6, 12, 12), labels=labels).truth.strata.tolist() == [0, 1, -1, 0, 1, -1]


@pytest.mark.parametrize(
    "labels", [torch.tensor([0, 1] * 3), [torch.tensor(0), torch.tensor(1)] * 3, np.array([[0], [1]] * 3)]
)
def test_tensors_and_columns_as_labels(labels: Any) -> None:
    source = open_data(noise(6, 12, 12), labels=labels)
    assert source.truth.names == ("0", "1")
    assert source.truth.strata.tolist() == [0, 1] * 3


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (3, "sequence of 6 labels, one per image, was wanted, found int as labels="),
        ("ababab", "found str as labels="),
        ({0: 1}, "found dict as labels="),
        ([0, 1, 0, 1, 0], "6 entries in labels, one per image, were wanted, found 5"),
        ([0, 1, 0, 1, 0, {}], "a number or a text was wanted as label, found dict in entry 5 of the given labels"),
        ([0, 1, 0, 1, 0, object()], "found object in entry 5"),
        (
            [0, 1, 0, 1, 0, [1, 2]],
            "as many labels for every image were wanted, found 1 and 2, the first such in entry 5",
        ),
        (np.array([0, 1, 0, 1, 0, {}], dtype=object), "found dict in entry 5"),
        (np.eye(6), "one column of classes was wanted, found 6 columns of labels in the given array"),
    ],
)
def test_labels_that_are_none(labels: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_data(noise(6, 12, 12), labels=labels)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ((noise(12, 12), {"a": 1}), "a number or a text was wanted as label, found dict in item 2 of the given Items"),
        ((noise(12, 12), object()), "found object in item 2 of the given Items"),
        ((noise(12, 12), [0, 1]), "found 1 and 2, the first such in entry 2 of the labels of the given Items"),
        ((None, 0), "an image was wanted, found NoneType as item 2"),
        (("a.png", 0), "an image was wanted, found str as item 2"),
        ({"image": noise(12, 12), "label": 0}, "an image was wanted, found dict as item 2"),
        ((), "found an empty tuple as item 2"),
        (([[1, 2], [3]], 0), r"found list \(ValueError\) as item 2"),
        (RuntimeError("broken\nhere"), r"found RuntimeError in item 2 of the given Items \(broken\\nhere\); mend it"),
        (OSError("gone"), "found OSError in item 2"),
        (ValueError(), "found ValueError in item 2"),
        (KeyError("x"), "found no item 2 in the given Items"),
    ],
)
def test_items_that_are_none(item: Any, message: str) -> None:
    good = (noise(12, 12), 0)
    with pytest.raises(UserError, match=message) as caught:
        open_data(Items(good, good, item, good))
    assert "\n" not in str(caught.value)


def test_a_data_set_without_a_length() -> None:
    class Endless(Items):
        def __len__(self) -> int:
            raise NotImplementedError

    with pytest.raises(UserError, match=r"knows its length was wanted, found none in the given Endless \(NotImpl"):
        open_data(Endless())


def test_interrupts_are_not_swallowed() -> None:
    with pytest.raises(KeyboardInterrupt):
        open_data(Items((noise(12, 12), 0), KeyboardInterrupt()))


IMAGES = torch.from_numpy(np.random.default_rng(0).random((6, 1, 12, 12)))


@pytest.mark.parametrize(
    "images",
    [
        IMAGES.float().requires_grad_(),
        IMAGES.to(torch.bfloat16),
        IMAGES.to(torch.float16),
        [image.to_sparse() for image in IMAGES.float()],
    ],
)
def test_tensors_of_any_kind_are_read(images: Any) -> None:
    labels = torch.tensor([0, 1] * 3)
    dataset = (
        TensorDataset(images, labels) if isinstance(images, torch.Tensor) else Items(*zip(images, labels, strict=True))
    )
    source = open_data(dataset)
    assert source.read(0).shape == (12, 12, 1)
    assert (
        np.abs(np.stack([source.read(row)[..., 0] for row in range(6)]) / 65535 - IMAGES[:, 0].numpy()).max() < 1 / 250
    )


@pytest.mark.parametrize("mode", ["P", "CMYK", "YCbCr"])
def test_pillow_images_are_read_as_colours(mode: str) -> None:
    image = Image.new("RGB", (12, 12), (255, 0, 0)).convert(mode)
    source = open_data(Items(*[(image, at % 2) for at in range(4)]))
    np.testing.assert_array_equal(source.read(0), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["HSV", "LAB"])
def test_pillow_images_of_other_colours_are_refused(mode: str) -> None:
    with pytest.raises(UserError, match=f"item 0 of the given Items: colours in the form {mode} are not read"):
        open_data(Items(*[(Image.new(mode, (12, 12)), at % 2) for at in range(4)]))
