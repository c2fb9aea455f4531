"""An encoder or model as a folder that timm or MONAI loads: safetensors, config.json, model card, metrics."""

import copy
import json
import logging
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from timm.models._hub import save_for_hf
from torch import Tensor, nn

from autossl.data import KEPT, Fresh, read_images
from autossl.errors import UserError
from autossl.errors.keywords import path_in, path_of
from autossl.model import recipe
from autossl.model.card import Preprocessing, card, steps_of
from autossl.model.export_volumes import read_head, read_tensors, write_network
from autossl.nn.encoder import Encoder
from autossl.nn.networks import create
from autossl.record.folder import Folder, machine_faults
from autossl.record.stored import Damaged, read_json
from autossl.targets import Head
from autossl.train.pool import at_a_time

log = logging.getLogger("autossl")

PACKAGES = ("torch", "timm", "monai", "optuna", "numpy", "scikit-learn")

ORIGIN = ("tag", "origin_url", "license", "paper_ids", "paper_name", "notes", "description")  # of timm's weights


class Exported(Encoder):
    """An exported encoder: called on standardised tensors it equals the plain model; `embed` starts from pixels."""

    preprocessing: Preprocessing
    classes: tuple[str, ...] = ()
    linear: nn.Linear  # the head of a network for volumes; one for images carries it

    def read(self, data: Any, **columns: Any) -> Fresh:
        """Images in any supported form, resized and scaled as those of the study; UserError for what it cannot take."""
        p = self.preprocessing
        return read_images(
            path_in(data, "the data"), p.image_size, self.channels, p.scale, dims=self.dims, window=p.window,
            depth=p.depth, floats=p.floats, **columns,
        )  # fmt: skip

    def embed(self, data: Any, batch: int = 512) -> NDArray[np.float32]:
        """Embeddings (n, d) of images or volumes as they are: of any size, in the values of the study's own.

        `data`: a path, a folder, a CSV, a Pillow image, an array (n, h, w[, c]) or (n, d, h, w[, c]), a tensor
        (n, c, h, w) or (n, c, d, h, w) of whole numbers, or a list of paths or images. They are resized and scaled
        as the study did; what is changed for the encoder's sake is logged. UserError for other values, channels or
        shapes than the study's images had.
        """
        return self.embed_stored(self._told(data), batch)

    def logits(self, data: Any, batch: int = 512) -> NDArray[np.float32]:
        """Class scores (n, classes) of an adapted model for what `embed` takes; UserError without a head."""
        self._check_head()
        return self.logits_stored(self._told(data), batch)

    def embed_stored(self, images: NDArray[np.unsignedinteger], batch: int = 512) -> NDArray[np.float32]:
        """Embeddings (n, d) of images (n, *space, c) that have the study's size and scale already."""
        return _batched(self.forward, self.standardise, images, batch)

    def logits_stored(self, images: NDArray[np.unsignedinteger], batch: int = 512) -> NDArray[np.float32]:
        """Class scores (n, classes) of images that have the study's size and scale already."""
        self._check_head()
        classifier = self._classifier()

        def head(x: Tensor) -> Tensor:
            return cast(Tensor, classifier(self(x)))

        return _batched(head, self.standardise, images, batch)

    def _told(self, data: Any) -> NDArray[np.unsignedinteger]:
        found = self.read(data)
        for note in found.notes:
            log.warning("%s", note)
        return found.images

    def _check_head(self) -> None:
        if not self.classes:
            raise UserError(
                "a model with a head was wanted, found an encoder without one; load the study's model/ folder"
            )

    @property
    def head(self) -> Head:
        """The head of an adapted model."""
        layer = self._classifier()
        return Head(layer.weight.detach().cpu().numpy().T.copy(), layer.bias.detach().cpu().numpy().copy(), 0.0)

    def _classifier(self) -> Any:
        return self.linear if self.dims == 3 else cast(Any, self.backbone).get_classifier()

    def forward(self, images: Tensor) -> Tensor:
        """Pooled embedding (b, d), also where the model carries a head."""
        if self.dims == 3:
            return self.features(images).pooled
        model = cast(Any, self.backbone)
        return cast(Tensor, model.forward_head(model.forward_features(self._enlarged(images)), pre_logits=True))

    def standardise(self, images: NDArray[np.unsignedinteger]) -> Tensor:
        """Images (b, *space, c) as stored to tensors (b, c, *space)."""
        p = self.preprocessing
        mean, std = (torch.tensor(v, dtype=torch.float32).view(-1, *[1] * self.dims) for v in (p.mean, p.std))
        x = torch.from_numpy(images.astype(np.float32) / np.float32(p.scale)).movedim(-1, 1)
        device = next(self.parameters()).device
        return ((x - mean) / std).to(device)


def _batched(function: Any, standardise: Any, images: NDArray[Any], batch: int) -> NDArray[np.float32]:
    batch = at_a_time(images, batch)
    with torch.inference_mode():
        parts = [
            function(standardise(images[i : i + batch])).float().cpu().numpy() for i in range(0, len(images), batch)
        ]
    return np.concatenate(parts)


def write(
    encoder: Encoder,
    path: Path,
    preprocessing: Preprocessing,
    facts: Mapping[str, Any],
    head: Head | None = None,
    classes: tuple[str, ...] = (),
) -> None:
    """Write an encoder (with `head`: a classifier) to `path`, whole or not at all."""
    part = path.with_name(f".{path.name[:50]}.part")
    with machine_faults():
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        if encoder.dims == 3:
            write_network(encoder, part, _model_config(encoder, preprocessing, classes, head), head)
        else:
            _write_timm(encoder, part, preprocessing, head, classes)
        metrics = {**facts, "versions": {name: version(name) for name in PACKAGES}, "python": platform.python_version()}
        (part / "metrics.json").write_text(json.dumps(metrics, indent=1))
        (part / "README.md").write_text(card(encoder, preprocessing, metrics, classes if head is not None else ()))
        for weights in part.glob("*.safetensors"):  # written for its owner alone, unlike the files beside it
            weights.chmod((part / "README.md").stat().st_mode)
        shutil.rmtree(path, ignore_errors=True)
        part.rename(path)


def _write_timm(
    encoder: Encoder, part: Path, preprocessing: Preprocessing, head: Head | None, classes: tuple[str, ...]
) -> None:
    model: Any = copy.deepcopy(encoder.backbone if head is None else _with_head(encoder, head))
    model.pretrained_cfg = {k: v for k, v in model.pretrained_cfg.items() if k not in ORIGIN}
    save_for_hf(
        model.cpu().to(memory_format=torch.contiguous_format),
        str(part),
        model_config=_model_config(encoder, preprocessing, classes, head),
        model_args=encoder.model_args,
        safe_serialization=True,
        data_config={
            "input_size": (encoder.channels, *(2 * (preprocessing.image_size * encoder.upsample,))),
            "mean": preprocessing.mean,
            "std": preprocessing.std,
            "interpolation": "bicubic",
            "crop_mode": "border",  # the whole image, padded
            "crop_pct": 1.0,
        },
    )


def _with_head(encoder: Encoder, head: Head) -> Any:
    classes = head.weights.shape[1]
    model: Any = create(encoder.name, encoder.channels, encoder.image_size, encoder.model_args, classes=classes)
    model.load_state_dict(encoder.backbone.state_dict(), strict=False)
    with torch.no_grad():
        model.get_classifier().weight.copy_(torch.from_numpy(head.weights.T.copy()))
        model.get_classifier().bias.copy_(torch.from_numpy(head.intercept.copy()))
    return model.eval()


def _model_config(
    encoder: Encoder, preprocessing: Preprocessing, classes: tuple[str, ...], head: Head | None
) -> dict[str, Any]:
    steps = recipe.words(steps_of(encoder, preprocessing))
    config: dict[str, Any] = {"autossl": {**asdict(preprocessing), "upsample": encoder.upsample, "recipe": steps}}
    if head is not None:
        config["label_names"] = list(classes)
    return config


def load(path: str | Path) -> Exported:
    """An exported encoder or model, or that of a study folder, ready to embed (evaluation mode, CPU).

    Raises UserError if there is none at `path`.
    """
    root = _exported(path)
    config_file, weights = root / "config.json", root / "model.safetensors"
    config = read_json(config_file)
    own = config["autossl"]
    channels = len(own["mean"])
    args = {
        k: v for k, v in config.get("model_args", {}).items() if k not in ("num_classes", "in_chans", "global_pool")
    }
    encoder = Exported(
        config["architecture"], channels, own["image_size"], model_args=args, upsample=own["upsample"],
        where=config_file,
    )  # fmt: skip
    state = read_tensors(weights)
    if config["num_classes"]:
        if encoder.dims == 3:
            encoder.linear = read_head(root)
        else:
            cast(Any, encoder.backbone).reset_classifier(config["num_classes"])
        encoder.classes = tuple(config["label_names"])
    try:
        encoder.backbone.load_state_dict(state)
    except RuntimeError:  # torch lists every name that it misses
        raise Damaged(weights, f"its tensors are not those of {encoder.name}") from None
    encoder.preprocessing = Preprocessing(
        own["image_size"], own["scale"], tuple(own["mean"]), tuple(own["std"]), own.get("dims", 2),
        own.get("window", KEPT), own.get("depth", ""), own.get("floats", False),
    )  # fmt: skip
    return encoder.eval()


def _exported(path: str | Path) -> Path:
    """The folder of an exported encoder or model at `path`, which may be a study's; UserError if there is none."""
    root = Path(path_of(path, "the folder of an encoder"))
    folder = Folder(root)
    if (folder.encoder / "config.json").is_file():
        root = folder.encoder
    if not all((root / name).is_file() for name in ("config.json", "model.safetensors")):
        raise UserError(
            f"an exported encoder (config.json, model.safetensors) or a finished study was wanted, none is at {path};"
            " give the folder that autossl export or --out named"
        )
    return root
