"""An encoder or model as a folder that timm or MONAI loads: safetensors, config.json, model card, metrics."""

import copy
import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from timm.models._hub import save_for_hf
from torch import Tensor, nn

from autossl.data import KEPT
from autossl.encoder import Encoder
from autossl.errors import UserError
from autossl.export_volumes import read_head, read_tensors, usage, write_network
from autossl.folder import Folder, machine_faults
from autossl.keywords import path_of
from autossl.networks import create
from autossl.pool import at_a_time
from autossl.printable import markdown
from autossl.stored import Damaged, read_json
from autossl.targets import Head
from autossl.verdict import METRICS, NAMES

PACKAGES = ("torch", "timm", "monai", "optuna", "numpy", "scikit-learn")

ORIGIN = ("tag", "origin_url", "license", "paper_ids", "paper_name", "notes", "description")  # of timm's weights


@dataclass(frozen=True)
class Preprocessing:
    """From stored pixels to what the encoder takes: resize to `image_size`, x / scale, (x - mean) / std."""

    image_size: int
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dims: int = 2  # 3: volumes
    window: str = KEPT  # how the values of volumes become whole numbers


class Exported(Encoder):
    """An exported encoder: called on standardised tensors it equals the plain model; `embed` starts from pixels."""

    preprocessing: Preprocessing
    classes: tuple[str, ...] = ()
    linear: nn.Linear  # the head of a network for volumes; one for images carries it

    def embed(self, images: NDArray[np.unsignedinteger], batch: int = 512) -> NDArray[np.float32]:
        """Images (n, h, w, c) or volumes (n, d, h, w, c) as stored, of the encoder's size, to embeddings (n, d)."""
        return _batched(self.forward, self.standardise, images, batch)

    def logits(self, images: NDArray[np.unsignedinteger], batch: int = 512) -> NDArray[np.float32]:
        """Class scores (n, classes) of an adapted model; UserError for an encoder without a head."""
        if not self.classes:
            raise UserError(
                "a model with a head was wanted, found an encoder without one; load the study's model/ folder"
            )

        classifier = self._classifier()

        def head(x: Tensor) -> Tensor:
            return cast(Tensor, classifier(self(x)))

        return _batched(head, self.standardise, images, batch)

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
            "interpolation": "bilinear",
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
    config: dict[str, Any] = {"autossl": {**asdict(preprocessing), "upsample": encoder.upsample}}
    if head is not None:
        config["label_names"] = list(classes)
    return config


def load(path: str | Path) -> Exported:
    """An exported encoder or model, or that of a study folder, ready to embed (evaluation mode, CPU).

    Raises UserError if there is none at `path`.
    """
    root = Path(path_of(path, "the folder of an encoder"))
    folder = Folder(root)
    if (folder.encoder / "config.json").is_file():
        root = folder.encoder
    config_file, weights = root / "config.json", root / "model.safetensors"
    if not (config_file.is_file() and weights.is_file()):
        raise UserError(
            f"an exported encoder (config.json, model.safetensors) or a finished study was wanted, none is at {path};"
            " give the folder that autossl export or --out named"
        )
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
        own.get("window", KEPT),
    )  # fmt: skip
    return encoder.eval()


def card(encoder: Encoder, preprocessing: Preprocessing, facts: Mapping[str, Any], classes: tuple[str, ...]) -> str:
    """The model card (Markdown with the header that model hubs read)."""
    size, up = preprocessing.image_size, encoder.upsample
    start = " from given weights" if "sha256" in facts.get("start", {}) else ""
    kind = "An encoder with a classification head" if classes else f"An encoder, pretrained without labels{start}"
    library, code = ("monai", usage) if encoder.dims == 3 else ("timm", _timm_usage)
    across, unit = " x ".join([str(size)] * encoder.dims), "voxels" if encoder.dims == 3 else "px"
    lines = [
        "---", f"library_name: {library}", "tags: [medical-imaging, self-supervised]", "---", "",
        f"# {markdown(facts.get('data', {}).get('name', 'AutoSSL'))} — {encoder.name}", "",
        f"{kind}, found and trained by AutoSSL. Research use; not a medical device.", "",
        "## Use", "", "```python", *code(encoder, len(classes)), "```", "", "## Input", "",
        f"{encoder.channels} channel(s), {across} {unit}, values divided by {preprocessing.scale:g}, then "
        f"standardised with mean {_short(preprocessing.mean)} and standard deviation {_short(preprocessing.std)}.",
    ]  # fmt: skip
    if up > 1:
        lines.append(
            f"The input is then enlarged {up} x (linearly); a plain {library} model must be given the enlarged image."
        )
    if classes:
        lines += ["", "## Classes", "", ", ".join(map(markdown, classes))]
    for title in ("candidate", "start", "test", "data", "seeds", "limits", "versions"):
        if title in facts:
            told = _tested(facts[title]) if title == "test" else _listed(facts[title])
            lines += ["", f"## {title.capitalize()}", "", *told]
    return "\n".join(lines) + "\n\n`metrics.json` holds all of this in full.\n"


def _timm_usage(encoder: Encoder, classes: int) -> list[str]:
    """Lines of a model card: how AutoSSL and how timm load the network."""
    given = {"num_classes": classes, "in_chans": encoder.channels, **encoder.model_args}
    arguments = ", ".join(f"{key}={value!r}" for key, value in given.items())
    return [
        "import autossl, timm",
        "",
        'encoder = autossl.load("PATH")                                # encoder.embed(images) starts from pixels',
        'model = timm.create_model("local-dir:PATH", pretrained=True)  # the same network in timm; or, in full',
        f'model = timm.create_model({encoder.name!r}, checkpoint_path="PATH/model.safetensors", {arguments})',
        "# without these arguments timm takes the weights too, but computes something else",
    ]


def _tested(test: Mapping[str, Any]) -> list[str]:
    """The scores of a test as a table."""
    metrics, gaps = (*METRICS, "accuracy"), test["differences"]
    lines = [
        f"On {test['images']} labelled images that no training and no choice has seen; heads were fitted on "
        f"{test['labels']} labels. Brackets are 95 % intervals, differences ({METRICS[test['metric']]}) are paired.",
        "",
        f"| network | {' | '.join(METRICS.get(name, name) for name in metrics)} | winner minus this |",
        "|---" * (len(metrics) + 2) + "|",
    ]
    for name, found in test["entrants"].items():
        cells = [_score(found[metric], found["interval"].get(metric)) for metric in metrics]
        gap = (
            f"{gaps[name]['value']:+.3f} [{gaps[name]['low']:+.3f}, {gaps[name]['high']:+.3f}]" if name in gaps else ""
        )
        lines.append(f"| {NAMES.get(name, name)} | {' | '.join(cells)} | {gap} |")
    return lines


def _score(value: float, ends: Sequence[float] | None) -> str:
    return f"{value:.3f}" + (f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else "")


def _listed(facts: Any) -> list[str]:
    """Facts as a list."""
    if isinstance(facts, Mapping):
        return [f"- {markdown(name.replace('_', ' '))}: {_plain(value)}" for name, value in facts.items()]
    return [f"- {_plain(value)}" for value in (facts if isinstance(facts, list | tuple) else [facts])]


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{markdown(name)} = {_plain(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(map(_plain, value))
    return f"{value:.4g}" if isinstance(value, float) else markdown(str(value))


def _short(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{v:.4f}" for v in values) + ")"
