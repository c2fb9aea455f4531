"""An exported encoder, with the readout that labels gave it where they did: from pixels to embeddings and answers."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autossl.data import Fresh, Source, read_images
from autossl.data.fresh import opened
from autossl.data.given import Kind
from autossl.data.truth import FORMS, Truth
from autossl.errors import UserError
from autossl.errors.keywords import path_in
from autossl.model import coco, masks, restored
from autossl.model.card import Preprocessing
from autossl.model.masks import Said
from autossl.model.sliding import slid
from autossl.nn.encoder import Encoder
from autossl.nn.sight import taken
from autossl.targets import Judged, target_class
from autossl.targets.base import DRAWN
from autossl.targets.readout import Readout
from autossl.targets.readouts import Retriever
from autossl.train.pool import at_a_time

log = logging.getLogger("autossl")

Floats = NDArray[np.float32]
Stored = NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class Meaning:
    """What the answers of a readout stand for: the task, and what is known of its labels (`Truth.about`)."""

    task: str
    form: str
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def truth(self) -> Truth:
        """The terms in which labels of new images are told."""
        return FORMS[self.form].nothing(0, self.about)


class Model(nn.Module):
    """An encoder and how it is fed; called on standardised tensors it equals the plain network.

    `readout` and `meaning` are None where no labels were seen.
    """

    def __init__(
        self,
        encoder: Encoder,
        preprocessing: Preprocessing,
        readout: Readout | None = None,
        meaning: Meaning | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.preprocessing = encoder, preprocessing
        self.readout, self.meaning = readout, meaning

    @property
    def dim(self) -> int:
        """Width of an embedding."""
        return self.encoder.dim

    @property
    def dims(self) -> int:
        """2 for images, 3 for volumes."""
        return self.encoder.dims

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes that a classifier tells; empty for other models."""
        return tuple(self.meaning.about.get("classes", ())) if self.meaning else ()

    @property
    def target(self) -> Judged:
        """What the answers of its readout are told by."""
        assert self.meaning is not None, "a model without a readout"
        found = target_class(self.meaning.task)(self.meaning.about)
        assert isinstance(found, Judged)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Pooled embedding (b, d), also where there is a readout."""
        return cast(Tensor, self.encoder(images))

    def read(self, data: Any, **columns: Any) -> Fresh:
        """Images in any supported form, resized and scaled as those of the study; UserError for what it cannot take."""
        p = self.preprocessing
        return read_images(
            path_in(data, "the data"), p.image_size, self.encoder.channels, p.scale, dims=self.dims, window=p.window,
            depth=p.depth, floats=p.floats, **columns,
        )  # fmt: skip

    def embed(self, data: Any, batch: int = 512) -> Floats:
        """Embeddings (n, d) of images or volumes as they are: of any size, in the values of the study's own.

        `data`: a path, a folder, a CSV, a Pillow image, an array (n, h, w[, c]) or (n, d, h, w[, c]), a tensor
        (n, c, h, w) or (n, c, d, h, w) of whole numbers, or a list of paths or images. They are resized and scaled
        as the study did; what is changed for the encoder's sake is logged. UserError for other values, channels or
        shapes than the study's images had.
        """
        return self.embed_stored(self._read(data).images, batch)

    def answers(self, data: Any, batch: int = 512) -> Floats:
        """Raw answers (n, ...) of the readout for what `embed` takes; UserError without one."""
        self._check_readout()
        if self.cut:
            raise UserError("a model of whole images was wanted, found one that sees windows of them; call masks")
        return self.answers_stored(self._read(data).images, batch)

    def predict(self, data: Any, batch: int = 512) -> dict[str, list[Any]]:
        """A table of answers for what `embed` takes: the column image, then those of the target, n cells each.

        UserError without a readout.
        """
        self._check_readout()
        if self.cut:
            return masks.table([(said.name, self._shares(said)) for said in self._segmented(data, batch)])
        found = self._read(data)
        return self.target.table(self.answers_stored(found.images, batch), found)

    def coco(self, data: Any, batch: int = 512) -> dict[str, Any]:
        """The boxes of what `embed` takes in the form of COCO: images, categories, annotations with scores.

        UserError for a model that finds no objects.
        """
        if self.meaning is None or self.target.figure != "boxes":
            raise self._other("that finds objects")
        found = self._read(data)
        table = self.target.table(self.answers_stored(found.images, batch), found)
        return coco.written(table, found, self.target.parts)

    def masks(self, data: Any, batch: int = 512) -> list[NDArray[Any]]:
        """A mask of each image of what `embed` takes, of its own size, in the values of the study's masks.

        UserError for a model that does not segment.
        """
        return [masks.restored(said, self._values) for said in self._segmented(data, batch)]

    def write_masks(self, data: Any, folder: Path, batch: int = 512) -> dict[str, list[Any]]:
        """Write these masks into a folder, PNG or NIfTI; a table of their names and of the shares of structures."""
        said = enumerate(self._segmented(data, batch))
        written = [(each, masks.write(each, self._values, folder, row)) for row, each in said]
        return masks.table([(each.name, {"mask": [name]} | self._shares(each)) for each, name in written])

    def _shares(self, said: Said) -> dict[str, list[Any]]:
        return self.target.answer(said.shares[None])

    def restored(self, data: Any) -> list[NDArray[Any]]:
        """Each image of what `embed` takes, restored: of its own size ([d,] h, w, c), in its own values.

        UserError for a model that does not restore.
        """
        source, p = self._restoring(data), self.preprocessing
        found = [restored.restored(self.slid, p, source, row) for row in range(source.n)]
        return [(each / source.white[row]).astype(np.float32) if p.floats else each for row, each in enumerate(found)]

    def answer(self, images: Tensor) -> Tensor:
        """The readout's raw answers to standardised images (b, c, *space)."""
        assert self.readout is not None
        return cast(Tensor, self.readout(taken(self.encoder, images, self.readout.sight)))

    def slid(self, source: Source, row: int) -> Floats:
        """The answer to an image of a source, at its own size, window by window."""
        return slid(self._told, self.preprocessing, source, row)

    def _told(self, images: Tensor) -> NDArray[Any]:
        assert self.readout is not None
        return self.readout.kept(self.answer(images))

    def _restoring(self, data: Any) -> Source:
        if self.meaning is None or self.target.figure != "pairs":
            raise self._other("that restores images")
        return self._opened(data)

    def _opened(self, data: Any) -> Source:
        p = self.preprocessing
        return opened(path_in(data, "the data"), self.encoder.channels, Kind(self.dims, p.window, p.depth, p.floats))

    def write_answers(self, data: Any, folder: Path) -> dict[str, list[Any]]:
        """Write what a model says that draws, masks or restored images, into a folder; a table of their names."""
        if self.meaning is not None and self.target.figure == "pairs":
            return restored.write(self.slid, self.preprocessing, self._restoring(data), folder)
        return self.write_masks(data, folder)

    def _segmented(self, data: Any, batch: int) -> Iterator[Said]:
        """What is said of each image; one after the other where it is seen in windows."""
        if self.meaning is None or self.target.figure != "masks":
            raise self._other("that segments")
        if self.cut:
            yield from masks.of_windows(self.slid, self._opened(data))
            return
        fresh = self._read(data)
        raw = self.answers_stored(fresh.images, batch)
        yield from (Said(*each) for each in zip(fresh.names, fresh.given, raw, strict=True))

    @property
    def _values(self) -> tuple[int, ...]:
        """Of the masks of the study, by structure."""
        assert self.meaning is not None
        return tuple(self.meaning.about["values"])

    @property
    def cut(self) -> bool:
        """Whether masks are told window by window, at the resolution that images have."""
        return self.meaning is not None and bool(self.meaning.about.get("cut"))

    def _other(self, wanted: str) -> UserError:
        found = "an encoder" if self.meaning is None else f"one of {self.meaning.task}"
        return UserError(f"a model {wanted} was wanted, found {found}; call predict or embed")

    @property
    def draws(self) -> bool:
        """Whether its answers are images: masks, or restored ones."""
        return self.meaning is not None and self.target.figure in DRAWN

    def neighbours(self, gallery: Any, queries: Any, k: int = 10) -> dict[str, list[Any]]:
        """The k images of a gallery that are most like each query: a table of image, rank, neighbour, similarity.

        By the cosine of what a model for retrieval searches, else of embeddings less the gallery's mean. A query that
        is in the gallery itself is its own first neighbour.
        """
        there, asked = self._read(gallery), self._read(queries)
        z, q = (self._searched(found.images) for found in (there, asked))
        if not isinstance(self.readout, Retriever):
            mean = z.mean(0)
            z, q = z - mean, q - mean
        each = [(row, *found) for row, one in enumerate(q) for found in _nearest(z, one, k)]
        return {
            "image": [asked.names[row] for row, *_ in each],
            "rank": [rank for _, rank, _, _ in each],
            "neighbour": [there.names[at] for _, _, at, _ in each],
            "similarity": [round(alike, 4) for *_, alike in each],
        }

    def _searched(self, images: Stored) -> Floats:
        """What is compared of images that have the study's size and scale already, (n, width)."""
        if not isinstance(self.readout, Retriever):
            return self.embed_stored(images)
        return self.answers_stored(images)[:, : self.readout.arguments["width"]]

    def logits(self, data: Any, batch: int = 512) -> Floats:
        """Class scores (n, classes) of a classifier for what `embed` takes; UserError for another model."""
        if self.readout is not None and not self.classes:
            task = self.meaning.task if self.meaning else "another task"
            raise UserError(f"a model of classes was wanted, found one of {task}; call answers")
        return self.answers(data, batch)

    def embed_stored(self, images: Stored, batch: int = 512) -> Floats:
        """Embeddings (n, d) of images (n, *space, c) that have the study's size and scale already."""
        return self._batched(lambda x: self.encoder(x).float().cpu().numpy(), images, batch)

    def answers_stored(self, images: Stored, batch: int = 512) -> Floats:
        """Raw answers (n, ...) for images that have the study's size and scale already."""
        self._check_readout()
        return self._batched(self._told, images, batch)

    def standardise(self, images: Stored) -> Tensor:
        """Images (b, *space, c) as stored to tensors (b, c, *space)."""
        p = self.preprocessing
        mean, std = (torch.tensor(v, dtype=torch.float32).view(-1, *[1] * self.dims) for v in (p.mean, p.std))
        x = torch.from_numpy(images.astype(np.float32) / np.float32(p.scale)).movedim(-1, 1)
        device = next(self.parameters()).device
        return ((x - mean) / std).to(device)

    def _read(self, data: Any) -> Fresh:
        found = self.read(data)
        for note in found.notes:
            log.warning("%s", note)
        return found

    def _check_readout(self) -> None:
        if self.readout is None:
            raise UserError(
                "a model with a head was wanted, found an encoder without one; load the study's model/ folder"
            )

    def _batched(self, function: Callable[[Tensor], NDArray[Any]], images: Stored, batch: int) -> NDArray[Any]:
        batch = at_a_time(images, batch, self.encoder.upsample)
        with torch.inference_mode():
            parts = [function(self.standardise(images[i : i + batch])) for i in range(0, len(images), batch)]
        return np.concatenate(parts)


def _nearest(z: Floats, query: Floats, k: int) -> list[tuple[int, int, float]]:
    """Rank, place and cosine of the k of z (n, d) that are most like a query (d,); of equal ones the first."""
    lengths = np.linalg.norm(z, axis=1) * np.linalg.norm(query)
    alike = (z @ query) / np.maximum(lengths, 1e-12)
    order = np.argsort(-alike, kind="stable")[:k]
    return [(rank, at, float(alike[at])) for rank, at in enumerate(order.tolist(), 1)]
