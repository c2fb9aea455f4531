"""What other libraries call the tensors of a network, and what timm calls them."""

import io
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import redirect_stdout

import torch
from torch import Tensor, nn

from autossl.nn.networks import REFUSED

STEM = "_conv_stem.weight"  # of EfficientNet-PyTorch
OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
INVERTED = {
    **{"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"},
    **{"_project_conv": "conv_pwl", "_bn2": "bn3"},
}
# of networks in Hugging Face's transformers (DINOv3, DINOv2, ViT), and what their authors call them
PATCHES = "embeddings.patch_embeddings."
TRANSFORMERS = (
    (r"^embeddings\.patch_embeddings\.(projection\.)?", "patch_embed.proj."),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.register_tokens$", "storage_tokens"),
    (r"^embeddings\.", ""),
    (r"^(encoder\.|model\.)?layer\.", "blocks."),
    (r"\.attention\.(o_proj|output\.dense)\.", ".attn.proj."),
    (r"\.attention\.(attention\.)?(q_proj|query)\.", ".attn.q."),
    (r"\.attention\.(attention\.)?(k_proj|key)\.", ".attn.k."),
    (r"\.attention\.(attention\.)?(v_proj|value)\.", ".attn.v."),
    (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"\.mlp\.weights_in\.", ".mlp.w12."),
    (r"\.mlp\.weights_out\.", ".mlp.w3."),
    (r"^layernorm\.", "norm."),
)
GATED = {"gate_proj": "w1", "up_proj": "w2", "down_proj": "w3"}
PLAIN = {"up_proj": "fc1", "down_proj": "fc2"}


def forms(state: Mapping[str, Tensor], network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """What the tensors of `network` may be in `state`: below each prefix that enough names share, as they are called
    there and as timm's own function for this family of networks renames and resamples them."""
    wanted = network.state_dict()
    for prefix in _prefixes(state, len(wanted) // 2):
        bare = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        yield bare
        if any(name.startswith(PATCHES) for name in bare):
            bare = _of_transformers(bare)
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


def _of_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a network of Hugging Face's transformers by the names that its authors published."""
    layers = GATED if any(".gate_proj." in name for name in state) else PLAIN
    found = {_as_published(name, layers): value for name, value in state.items()}
    if "pos_embed" in found and "storage_tokens" in found:  # DINOv2's registers
        found["register_tokens"] = found.pop("storage_tokens")
    for attention in [name.removesuffix("q.weight") for name in found if name.endswith(".attn.q.weight")]:
        found |= _joined(found, attention)
    return found


def _joined(found: Mapping[str, Tensor], attention: str) -> dict[str, Tensor]:
    """Queries, keys and values of an attention as one layer; none where one of them is not there."""
    weights = [found[name] for part in "qkv" if (name := f"{attention}{part}.weight") in found]
    biases = [found.get(f"{attention}{part}.bias") for part in "qkv"]
    if len(weights) < len(biases):
        return {}
    joined = {f"{attention}qkv.weight": torch.cat(weights)}
    if any(bias is not None for bias in biases):  # DINOv3 has none for keys, which would change nothing
        there = [w.new_zeros(len(w)) if b is None else b for w, b in zip(weights, biases, strict=True)]
        joined[f"{attention}qkv.bias"] = torch.cat(there)
    return joined


def _as_published(name: str, layers: Mapping[str, str]) -> str:
    for pattern, ours in TRANSFORMERS:
        name = re.sub(pattern, ours, name)
    return re.sub(r"\.mlp\.(\w+_proj)\.", lambda at: f".mlp.{layers.get(at[1], at[1])}.", name)


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
