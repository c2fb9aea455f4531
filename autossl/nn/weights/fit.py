"""Given weights fitted to a backbone: other names, channels, patches and dimensions, or a refusal that says why not."""

import re
from collections.abc import Mapping

from torch import Tensor

from autossl.errors import UserError
from autossl.nn.encoder import Encoder
from autossl.nn.weights.names import STEM, forms
from autossl.nn.weights.read import tensors
from autossl.nn.weights.where import Weights

BIASED = re.compile(r"\.(?P<joint>qkv\.bias)$|\.(q_bias|v_bias|q_proj\.bias|v_proj\.bias)$")  # of an attention
COUNTER = "num_batches_tracked"  # of batch norms: older files lack it, and nothing depends on it


def load_weights(encoder: Encoder, given: str | Weights) -> Encoder:
    """The encoder with weights from a file (safetensors, or a state dict that torch loads safely), its folder, a start.

    Filters made for another number of channels answer to the sum of what they have learnt: colour weights see grey.
    Patches and positions of a transformer are resampled to its own. Filters for images become filters for volumes that
    see the mean over depth, if the rest of the network is the same.

    Raises UserError if the file is missing, unreadable, or made for another network.
    """
    path, called, architecture = _told(given)
    state = tensors(path)
    wanted = encoder.backbone.state_dict()
    adapted = (_adapted(form, wanted, encoder.channels) for form in forms(state, encoder.backbone))
    best = max(adapted, key=lambda form: _agreement(form, wanted))
    missing = [name for name in wanted if not _fits(best, wanted, name) and not name.endswith(COUNTER)]
    if missing:
        raise _refusal(encoder, called, architecture, best, missing)
    _check_biases(encoder, called, state)
    if architecture.startswith("tf_") or any(name.endswith(STEM) for name in state):
        _check_padding(encoder, called)
    encoder.backbone.load_state_dict({name: best[name] for name in wanted if _fits(best, wanted, name)}, strict=False)
    return encoder


def _told(given: str | Weights) -> tuple[str, str, str]:
    """Where the weights are, what the user calls them, and for which architecture they were made, if that is known."""
    if isinstance(given, Weights):
        return str(given.file), given.name, given.architecture or ""
    return given, given, ""


def _fits(form: Mapping[str, Tensor], wanted: Mapping[str, Tensor], name: str) -> bool:
    return name in form and form[name].shape == wanted[name].shape


def _agreement(form: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> tuple[int, int]:
    """How many tensors fit, and how many names agree."""
    return sum(_fits(form, wanted, name) for name in wanted), sum(name in form for name in wanted)


def _adapted(form: dict[str, Tensor], wanted: Mapping[str, Tensor], channels: int) -> dict[str, Tensor]:
    """Tensors with the channels and dimensions of those that are wanted, where nothing else differs."""
    inside = {name.partition(".")[0] for name in wanted}
    whole = all(name in wanted for name in form if name.partition(".")[0] in inside)
    found = {
        name: _for_depth(value, wanted[name]) if whole and name in wanted else value for name, value in form.items()
    }
    return {name: _for_channels(v, wanted[name], channels) if name in wanted else v for name, v in found.items()}


def _for_depth(given: Tensor, wanted: Tensor) -> Tensor:
    """Filters for images (out, in, h, w) that see the mean over the depth of theirs for volumes (out, in, d, h, w)."""
    if given.ndim != 4 or wanted.ndim != 5 or given.shape[2:] != wanted.shape[3:]:
        return given
    depth = wanted.shape[2]
    return given[:, :, None].expand(-1, -1, depth, -1, -1) / depth


def _for_channels(given: Tensor, wanted: Tensor, channels: int) -> Tensor:
    """Filters (out, in, *space) spread evenly over so many input channels, where only their number differs."""
    alike = given.ndim == wanted.ndim >= 4 and given.shape[2:] == wanted.shape[2:]
    if not alike or wanted.shape[1] != channels or given.shape[1] == channels:
        return given
    return given.sum(1, keepdim=True).expand(-1, channels, *given.shape[2:]) / channels


def _check_padding(encoder: Encoder, called: str) -> None:
    """UserError where only the padding differs, which no tensor tells: such weights would fit and mean nothing."""
    if not encoder.name.startswith("tf_"):
        raise UserError(
            f"weights for {encoder.name} were wanted, but --weights {called} were trained with TensorFlow's padding; "
            f"give --backbone tf_{encoder.name}"
        )


def _check_biases(encoder: Encoder, called: str, state: Mapping[str, Tensor]) -> None:
    """UserError where queries or values have biases for which there is no place: timm leaves them out in silence.

    In DINOv3's files most of them are zero, and its networks come in two forms.
    """
    wanted = encoder.backbone.state_dict()
    if not any(name.endswith(".attn.qkv.weight") for name in wanted) or any(map(BIASED.search, wanted)):
        return
    for name, value in state.items():
        found = BIASED.search(name)
        # the middle third of a joint bias is that of the keys, which changes nothing
        if found and any(bool(part.any()) for part in (value.chunk(3)[::2] if found["joint"] else [value])):
            raise UserError(
                f"weights for {encoder.name} were wanted, but --weights {called} have biases of queries and values "
                f"({name}), which it has not; give --backbone {encoder.name}_qkvb"
            )


def _refusal(
    encoder: Encoder, called: str, architecture: str, found: Mapping[str, Tensor], missing: list[str]
) -> UserError:
    """Why these weights do not fit: other names, other shapes, or tensors that are not there."""
    wanted = encoder.backbone.state_dict()
    head = f"weights for {encoder.name} were wanted, but --weights {called}"
    remedy = (
        f"give --backbone {architecture}"
        if architecture not in ("", encoder.name)
        else ("give --backbone as it was when they were trained")
    )
    if found and not any(name in wanted for name in found):
        return UserError(
            f"{head} knows none of its names ({_two(found)} there, {_two(wanted)} here): they follow another naming "
            f"scheme or are of another network; {remedy}, or rename them as timm or MONAI does"
        )
    name = missing[0]
    if all(name in found for name in missing):
        return UserError(
            f"{head} has other shapes ({name} is {tuple(found[name].shape)} there, {tuple(wanted[name].shape)} here; "
            f"{len(missing)} of {len(wanted)} tensors differ): another size of the same family, or another image size; "
            f"{remedy}"
        )
    return UserError(f"{head} lacks {len(missing)} of {len(wanted)} tensors (for example {name}); {remedy}")


def _two(names: Mapping[str, Tensor]) -> str:
    return " and ".join(list(names)[:2])
