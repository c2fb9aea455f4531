"""The model card of an exported encoder: how to load it, what it takes, how it was found and tested."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autossl.data import KEPT
from autossl.errors.printable import markdown
from autossl.model import recipe, seeing
from autossl.model.entrants import NAMES, measure, measures
from autossl.model.export_volumes import called, network_lines, usage
from autossl.model.front import FEATURES, front
from autossl.nn.encoder import Encoder
from autossl.nn.sight import PLAIN, Sight
from autossl.proxies import Metric
from autossl.targets.readout import Readout

USE_OF_SEVERAL = (
    "import autossl",
    "",
    'model = autossl.load("PATH")         # model.predict(DATA): paths, folders, arrays, Pillow images of any size',
    'one = autossl.load("PATH/network-1")  # each is whole by itself; its own card says how timm or MONAI loads it',
)
LIMITS: tuple[str, ...] = (
    "One training seed stands behind these weights unless replicates are listed.",
    "Found for the data set named here; other scanners, stains or populations need a new evaluation.",
    "For research; not a medical device.",
)
STARTED = "What the given weights were trained on is not known here; if on images of the test part, scores flatter."


@dataclass(frozen=True)
class Preprocessing:
    """From stored pixels to what the encoder takes: resize to `image_size`, x / scale, (x - mean) / std."""

    image_size: int
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dims: int = 2  # 3: volumes
    window: str = KEPT  # how the values of volumes and of DICOM become whole numbers
    depth: str = ""  # of the study's pixels: uint8 or uint16
    floats: bool = False  # the study's pixels were given as floats in [0, 1]
    cut: bool = False  # answers are told of windows of this size, at the resolution that images have


def card(
    encoder: Encoder,
    p: Preprocessing,
    facts: Mapping[str, Any],
    classes: tuple[str, ...] = (),
    readout: Readout | None = None,
    members: Sequence[str] = (),
    hub: str = FEATURES,
) -> str:
    """The model card (Markdown with the header that model hubs read) of an encoder, or of a model with a readout.

    `members`: networks that answer together. `hub`: what model hubs call such a model.
    """
    sight = PLAIN if readout is None else readout.sight
    own = len(classes) if sight == PLAIN else 0  # of the plain library's classifier
    start = " from given weights" if "sha256" in facts.get("start", {}) else ""
    kind = f"An encoder, pretrained without labels{start}" if readout is None else "An encoder with a readout"
    kind = "An encoder with a classification head" if classes else kind
    library, use = ("monai", usage) if encoder.dims == 3 else ("timm", _timm_usage)
    steps = steps_of(encoder, p)
    told = [*USE_OF_SEVERAL] if members else [*use(encoder, own)]
    if members:
        kind = f"{len(members)} networks ({', '.join(members)}) whose answers are averaged"
    tested = "winner" if readout is None else (facts.get("test") or {}).get("chosen", "winner")
    lines = [
        *front(library, hub, encoder.name, facts, tested),
        f"# {markdown(facts.get('data', {}).get('name', 'AutoSSL'))} — {encoder.name}", "",
        f"{kind}, found and trained by AutoSSL. Research use; not a medical device.", "",
        *([f"Its answers are those of {readout.told(encoder.dims)}.", ""] if readout and not members else []),
        "## Use", "", "```python", *told, "```", "",
        "## Input", "", *(f"{at}. {step}" for at, step in enumerate(recipe.words(steps), 1)), "",
        *(_alone(encoder, steps, readout) if not members else ["`autossl.load` does all of this, for each network."]),
    ]  # fmt: skip
    if classes:
        lines += ["", "## Classes", "", ", ".join(map(markdown, classes))]
    for title in ("candidate", "start", "test", "data", "seeds", "limits", "versions"):
        if title in facts:
            told = _tested(facts[title]) if title == "test" else _listed(facts[title])
            lines += ["", f"## {title.capitalize()}", "", *told]
    return "\n".join(lines) + "\n\n`metrics.json` holds all of this in full.\n"


def _alone(encoder: Encoder, steps: recipe.Steps, readout: Readout | None) -> list[str]:
    """How a single network is used without AutoSSL."""
    sight = PLAIN if readout is None else readout.sight
    words = "`autossl.load` does all of this. Without AutoSSL, from a file to its embedding:"
    if readout is not None and sight.maps:
        words, sight = f"`autossl.load` does all of this: {readout.use}. " + words[36:], PLAIN
    answers = _answers(readout) if readout and sight != PLAIN else []
    return [words, "", "```python", *recipe.code(steps, *_plain_model(encoder, sight)), *answers, "```"]


def steps_of(encoder: Encoder, p: Preprocessing) -> recipe.Steps:
    """What the recipe of preprocessing depends on."""
    return recipe.Steps(
        p.image_size, encoder.channels, p.scale, p.mean, p.std, encoder.dims, p.window, encoder.upsample, p.cut
    )


def _plain_model(encoder: Encoder, sight: Sight) -> tuple[list[str], str]:
    """Lines that make the network without AutoSSL, and its call for an embedding."""
    if encoder.dims == 3:
        lines, call = network_lines(encoder), called(encoder)
    else:
        made = 'model = timm.create_model("local-dir:PATH", pretrained=True).eval()'
        lines, call = ["import timm", "", made], "model.forward_head(model.forward_features(x), pre_logits=True)"
    return [*lines, *seeing.code(encoder, sight, call)], f"{call if sight == PLAIN else 'look(x)'}[0]"


def _answers(readout: Readout) -> list[str]:
    """Lines from an embedding to the answer of a linear readout."""
    scaled = ' * head["spread"] + head["mean"]' if "spread" in readout.state_dict() else ""
    return [
        "from safetensors.torch import load_file",
        "",
        'head = load_file("PATH/readout.safetensors")',
        f'answer = (head["linear.weight"] @ embedding + head["linear.bias"]){scaled}',
    ]


def _timm_usage(encoder: Encoder, classes: int) -> list[str]:
    """Lines of a model card: how AutoSSL and how timm load the network."""
    given = {"num_classes": classes, "in_chans": encoder.channels, **encoder.model_args}
    arguments = ", ".join(f"{key}={value!r}" for key, value in given.items())
    return [
        "import autossl, timm",
        "",
        'encoder = autossl.load("PATH")       # encoder.embed(DATA): paths, folders, arrays, Pillow images of any size',
        'model = timm.create_model("local-dir:PATH", pretrained=True)  # the same network in timm; or, in full',
        f'model = timm.create_model({encoder.name!r}, checkpoint_path="PATH/model.safetensors", {arguments})',
        "# without these arguments timm takes the weights too, but computes something else",
    ]


def _tested(test: Mapping[str, Any]) -> list[str]:
    """The scores of a test as a table."""
    metrics, own, gaps = measures(test), measure(test), test["differences"]
    lines = [
        f"On {test['images']} labelled images that no training and no choice has seen; heads were fitted on "
        f"{test['labels']} labels. {_intervals(test)}ifferences ({own.words}) are paired.",
        "",
        f"| network | {' | '.join(metric.words for metric in metrics)} | winner minus this |",
        "|---" * (len(metrics) + 2) + "|",
    ]
    for name, found in test["entrants"].items():
        cells = [_score(metric, found[metric.name], found["interval"].get(metric.name)) for metric in metrics]
        gap = _signed(own, gaps[name]) if name in gaps else ""
        lines.append(f"| {NAMES.get(name, name)} | {' | '.join(cells)} | {gap} |")
    return lines


def _intervals(test: Mapping[str, Any]) -> str:
    if few := test.get("few"):
        return f"There are no intervals, for {few}: the scores cannot be measured. D"
    return "Brackets are 95 % intervals, d"


def _signed(metric: Metric, gap: Mapping[str, float]) -> str:
    ends = [metric.text(gap[end], signed=True) for end in ("low", "high") if end in gap]
    return metric.text(gap["value"], signed=True) + (f" [{', '.join(ends)}]" if ends else "")


def _score(metric: Metric, value: float, ends: Sequence[float] | None) -> str:
    return metric.text(value) + (f" [{', '.join(map(metric.text, ends))}]" if ends else "")


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
