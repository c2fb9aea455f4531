"""An exported model as one ONNX file that other programs run: from stored values to embeddings and raw answers."""

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autossl.errors import UserError
from autossl.errors.machine import replace_file
from autossl.model import recipe
from autossl.model.card import steps_of
from autossl.model.ensemble import Ensemble
from autossl.model.model import Model

CLOSE = 1e-4  # of the largest value: how far what ONNX Runtime gives may be from what torch gives
TRACED, CHECKED = 2, 3  # images that it is made with and checked with: a file takes any number


class Whole(nn.Module):
    """From images (b, c, *space) of the encoder's size in the study's values to (b, d), and to raw answers."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        p = model.preprocessing
        for name, values in (("mean", p.mean), ("std", p.std)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, *[1] * model.dims))
        self.mean: Tensor
        self.std: Tensor

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """The embedding, and what the readout makes of the same images where there is one."""
        x = (images / self.model.preprocessing.scale - self.mean) / self.std
        embedding = self.model.encoder(x)
        return embedding if self.model.readout is None else (embedding, self.model.answer(x))


def write_onnx(model: Model, path: Path) -> Path:
    """Write the file, once ONNX Runtime has given the same for it.

    Raises UserError without the extra, for several models that answer together, and where the results differ.
    """
    try:
        import onnx
        import onnxruntime
    except ModuleNotFoundError as missing:
        raise UserError(
            f"an ONNX file was wanted, but {missing.name} is not installed; pip install 'autossl-imaging[onnx]'"
        ) from None
    if isinstance(model, Ensemble):
        raise UserError(
            "a single network was wanted for an ONNX file, found several that answer together; export the model to a "
            "folder and each of its networks by write_onnx(autossl.load(FOLDER/network-1), PATH)"
        )
    whole, p = Whole(model).eval(), model.preprocessing
    size = (CHECKED, model.encoder.channels, *(p.image_size,) * model.dims)
    images = p.scale * torch.rand(size, generator=torch.Generator().manual_seed(0))
    names = ["embedding"] if model.readout is None else ["embedding", "answer"]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "model.onnx"
        _export(whole, images[:TRACED], place, names)
        made = onnx.load(place)
        made.metadata_props.add(key="input", value="\n".join(recipe.words(steps_of(model.encoder, p))))
        content = made.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    _check(whole, images, session.run(None, {"images": images.numpy()}))
    replace_file(path, lambda file: file.write(content))
    return path


def _export(whole: Whole, images: Tensor, place: Path, names: list[str]) -> None:
    """By torch's exporter that traces: the newer one fixed the number of images at that of the example, and is slow."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # it announces its end, and speaks of every Python number that it meets
        torch.onnx.export(
            whole, (images,), str(place), input_names=["images"], output_names=names, dynamo=False,
            dynamic_axes={name: {0: "n"} for name in ("images", *names)},
        )  # fmt: skip


def _check(whole: Whole, images: Tensor, found: Sequence[Any]) -> None:
    with torch.inference_mode():
        wanted = whole(images)
    for own, other in zip(wanted if isinstance(wanted, tuple) else (wanted,), found, strict=True):
        values = own.numpy()
        gap = float(np.abs(values - other).max() / max(1e-6, float(np.abs(values).max())))
        if not gap <= CLOSE:
            raise UserError(
                f"an ONNX file that computes the same was wanted, found results that differ by {gap:.1g} of the "
                "largest; export the folder instead, which timm or MONAI loads"
            )
