"""What other libraries call the tensors of a network, and what timm calls them."""

import io
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import redirect_stdout

from torch import Tensor, nn

from autossl.nn.networks import REFUSED

STEM = "_conv_stem.weight"  # of EfficientNet-PyTorch
OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
INVERTED = {
    **{"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"},
    **{"_project_conv": "conv_pwl", "_bn2": "bn3"},
}


def forms(state: Mapping[str, Tensor], network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """What the tensors of `network` may be in `state`: below each prefix that enough names share, as they are called
    there and as timm's own function for this family of networks renames and resamples them."""
    wanted = network.state_dict()
    for prefix in _prefixes(state, len(wanted) // 2):
        bare = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        yield bare
        yield _of_efficientnet_pytorch(bare, wanted) if STEM in bare else _of_family(bare, network)


def _prefixes(state: Iterable[str], enough: int) -> list[str]:
    """Beginnings up to a dot that so many names share; a teacher's come first: it is what a method hands on."""
    shared = Counter(name[:dot] for name in state for dot in (0, *(at.end() for at in re.finditer(r"\.", name))))
    found = [prefix for prefix, names in shared.items() if names >= enough] or [""]
    return sorted(found, key=lambda prefix: (not re.search("teacher|ema", prefix), len(prefix)))


def _of_family(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The tensors by timm's names, where timm has a function for checkpoints of this family."""
    modules = (sys.modules[cls.__module__] for cls in type(network).__mro__)
    convert = next((found for module in modules if (found := getattr(module, "checkpoint_filter_fn", None))), None)
    if convert is None:
        return state
    try:
        with redirect_stdout(io.StringIO()):  # timm prints the name of each bias that a network has not
            return dict(convert(dict(state), network))
    except REFUSED:  # not a checkpoint of this family
        return state


def _of_efficientnet_pytorch(state: Mapping[str, Tensor], wanted: Iterable[str]) -> dict[str, Tensor]:
    """The tensors of EfficientNet-PyTorch, which counts its blocks through, by the names of timm."""
    blocks = list(dict.fromkeys(found[0] for name in wanted if (found := re.match(r"blocks\.\d+\.\d+\.", name))))
    return {_renamed(name, blocks): value for name, value in state.items()}


def _renamed(name: str, blocks: list[str]) -> str:
    found = re.match(r"_blocks\.(\d{1,3})\.", name)
    if found is None:
        module, _, rest = name.partition(".")
        return f"{OUTSIDE.get(module, module)}.{rest}"
    module, _, rest = name[found.end() :].partition(".")
    at = int(found[1])
    names = INVERTED if at else SEPARABLE  # the first block widens nothing
    return f"{blocks[at] if at < len(blocks) else found[0]}{names.get(module, module)}.{rest}"
