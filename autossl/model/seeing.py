"""Lines of a model card that give a readout what it looks at, with timm or MONAI and torch alone."""

from autossl.nn.encoder import Encoder
from autossl.nn.sight import PLAIN, Sight, earlier
from autossl.nn.volume_networks import VOLUMES

_FLIPS = {2: "([], [2], [3], [2, 3])", 3: "([], [2], [3], [4], [2, 3], [2, 4], [3, 4], [2, 3, 4])"}


def code(encoder: Encoder, sight: Sight, call: str) -> list[str]:
    """Lines that define `look(x)` for standardised images x, whose pooled embeddings `call` gives; none for PLAIN."""
    if sight == PLAIN:
        return []
    before, body = _stages(encoder, call) if sight.stages > 1 else ([], [f"return {call}"])
    name = "seen" if sight.turned else "look"
    lines = ["", *before, f"def {name}(x):", *(f"    {line}" for line in body)]
    if sight.turned:
        sides = "x, x.mT" if encoder.dims == 2 else "x,"
        views = f"[view.flip(axes) for view in ({sides}) for axes in {_FLIPS[encoder.dims]}]"
        lines += ["", "def look(x):", f"    return torch.stack([seen(x) for x in {views}]).mean(0)"]
    return lines


def _stages(encoder: Encoder, call: str) -> tuple[list[str], list[str]]:
    """Lines before, and the body of, a function that gives the pooled embedding and the stage before the last."""
    mean = ".flatten(2).mean(2)"
    if encoder.dims == 2:
        norm = len(encoder.pyramid_channels) == 1
        asked = f"last, maps = model.forward_intermediates(x, indices=[{earlier(encoder)}], norm={norm})"
        return [], [asked, f"return torch.cat([model.forward_head(last, pre_logits=True), maps[0]{mean}], 1)"]
    cls = VOLUMES[encoder.name].place.rpartition(".")[2]
    if cls == "ViT":
        asked = "tokens, blocks = network(x)"
        return [], [asked, f"return torch.cat([tokens.mean(1), blocks[{earlier(encoder)}].mean(1)], 1)"]
    if cls == "ResNet":
        hook = "network.layer3.register_forward_hook(lambda layer, x, made: maps.append(made))"
        return ["maps = []", hook, ""], [f"return torch.cat([{call}, maps.pop(){mean}], 1)"]
    return [], ["maps = network(x)", f"return torch.cat([maps[-1]{mean}, maps[-2]{mean}], 1)"]
