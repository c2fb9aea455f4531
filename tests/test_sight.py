"""What readouts look at: stages and views against their definitions, and exports that answer as before."""

import json
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

import autossl
from autossl.errors import UserError
from autossl.model import export
from autossl.model.card import Preprocessing
from autossl.model.model import Meaning, Model
from autossl.nn.encoder import Encoder
from autossl.nn.sight import EARLIER, PLAIN, VIEWS, Sight, looked, views, width
from autossl.targets import Seen
from autossl.targets.readout import Readout
from autossl.targets.readouts import Classifier, Labeller, Regressor
from autossl.views.presets import modalities

SIGHTS = [Sight(stages, turned) for stages, turned in product((1, 2), (False, True))]
NETWORKS: dict[str, tuple[str, int, int, dict[str, Any]]] = {
    "cnn": ("test_resnet", 3, 28, {}),
    "vit": ("test_vit", 1, 28, {"img_size": 28, "patch_size": 7}),
    "volumes": ("resnet10_half_3d", 1, 16, {"no_max_pool": True}),
    "segres": ("segresnet_3d", 1, 16, {"blocks_down": [1, 2, 2]}),
    "volume vit": ("vit_tiny_3d", 1, 16, {"img_size": 16, "patch_size": 4}),
}
READOUTS: dict[str, tuple[Callable[[int], Readout], Meaning]] = {
    "Classifier": (lambda d: Classifier(d, 3), Meaning("classification", "classes", {"classes": ["a", "b", "c"]})),
    "Regressor": (lambda d: Regressor(d, 2), Meaning("regression", "values", {"columns": ["a", "b"]})),
    "Labeller": (lambda d: Labeller(d, 2), Meaning("multilabel", "labels", {"columns": ["a", "b"]})),
}


@pytest.fixture(scope="module")
def encoders() -> dict[str, Encoder]:
    torch.manual_seed(0)
    return {
        kind: Encoder(name, channels, size, model_args=args).eval()
        for kind, (name, channels, size, args) in NETWORKS.items()
    }


def noise(encoder: Encoder, n: int = 2) -> Tensor:
    return torch.randn(n, encoder.channels, *encoder.size, generator=torch.Generator().manual_seed(1))


def made(kind: str, encoder: Encoder, sight: Sight, words: str = "a ridge probe") -> tuple[Readout, Meaning]:
    torch.manual_seed(2)
    make, meaning = READOUTS[kind]
    readout = make(width(encoder, sight))
    readout.sight, readout.words = sight, words
    if isinstance(readout, Regressor):
        readout.standardise(np.random.default_rng(0).normal(5, 3, (20, 2)))
    return readout.eval(), meaning


@pytest.mark.parametrize("kind", NETWORKS)
@torch.inference_mode()
def test_a_sight_is_what_it_says(encoders: dict[str, Encoder], kind: str) -> None:
    encoder = encoders[kind]
    x = noise(encoder)
    pooled, both = encoder(x), looked(encoder, x, Sight(2))
    assert torch.equal(looked(encoder, x), pooled)
    assert both.shape == (2, width(encoder, Sight(2)))
    torch.testing.assert_close(both[:, : encoder.dim], pooled, atol=1e-5, rtol=1e-5)
    turned = [view for side in ([x, x.transpose(2, 3)] if encoder.dims == 2 else [x]) for view in flipped(side)]
    assert len(turned) == VIEWS
    torch.testing.assert_close(
        looked(encoder, x, Sight(2, True)), torch.stack([looked(encoder, t, Sight(2)) for t in turned]).mean(0),
        atol=1e-5, rtol=1e-5,
    )  # fmt: skip
    for view in turned[1:]:
        torch.testing.assert_close(
            looked(encoder, view, Sight(1, True)), looked(encoder, x, Sight(1, True)), atol=1e-4, rtol=1e-4
        )


def flipped(x: Tensor) -> list[Tensor]:
    """All subsets of the axes of space, reversed by indexing."""
    found = [x]
    for axis in range(2, x.ndim):
        found += [view.index_select(axis, torch.arange(x.shape[axis] - 1, -1, -1)) for view in found]
    return found


@torch.inference_mode()
def test_the_second_stage_is_the_one_before_the_last(encoders: dict[str, Encoder]) -> None:
    for kind in ("cnn", "volumes", "segres"):
        x = noise(encoders[kind])
        stage = encoders[kind].pyramid(x)[-2].flatten(2).mean(2)
        torch.testing.assert_close(looked(encoders[kind], x, Sight(2))[:, encoders[kind].dim :], stage)
    vit = cast(Any, encoders["vit"].backbone)
    tokens = vit.norm(
        vit.blocks[: len(vit.blocks) - EARLIER](vit.norm_pre(vit._pos_embed(vit.patch_embed(noise(encoders["vit"])))))
    )
    found = looked(encoders["vit"], noise(encoders["vit"]), Sight(2))[:, encoders["vit"].dim :]
    torch.testing.assert_close(found, tokens[:, 1:].mean(1), atol=1e-4, rtol=1e-4)


def test_views_are_all_flips_and_turns() -> None:
    square = torch.arange(4.0).view(1, 1, 2, 2)
    group = {
        tuple(np.rot90(side, k).ravel()) for side in (square[0, 0].numpy(), square[0, 0].numpy().T) for k in range(4)
    }
    assert {tuple(view.ravel().tolist()) for view in views(square)} == group
    assert len({tuple(view.ravel().tolist()) for view in views(torch.arange(8.0).view(1, 1, 2, 2, 2))}) == VIEWS


def test_orientation_tells_nothing_only_where_views_are_flipped_and_turned_too() -> None:
    for name, preset in modalities().items():
        if "orientation" in preset.lacks:
            assert preset.hflip, name
            assert preset.vflip, name
            assert preset.turns, name
    assert {name for name, preset in modalities().items() if "orientation" in preset.lacks} >= {"microscopy"}


@pytest.mark.parametrize(("kind", "sight", "readout"), list(product(("cnn", "vit", "volumes"), SIGHTS, READOUTS)))
def test_an_export_answers_as_before_and_so_does_the_code_of_its_card(
    encoders: dict[str, Encoder], kind: str, sight: Sight, readout: str, tmp_path: Path
) -> None:
    encoder = encoders[kind]
    head, meaning = made(readout, encoder, sight)
    mean, std = ((value,) * encoder.channels for value in (0.4, 0.2))
    model = Model(encoder, Preprocessing(encoder.image_size, 255.0, mean, std, encoder.dims), head, meaning)
    export.write(model, tmp_path / "model", {})
    again = autossl.load(tmp_path / "model")
    stored = np.random.default_rng(0).integers(0, 256, (2, *encoder.size, encoder.channels), np.uint8)
    with torch.inference_mode():
        wanted = head(looked(encoder, model.standardise(stored), sight)).numpy()
    np.testing.assert_allclose(again.answers_stored(stored), wanted, atol=1e-5, rtol=1e-5)
    assert again.readout is not None
    assert (again.readout.sight, again.readout.words) == (sight, "a ridge probe")
    assert (json.loads((tmp_path / "model" / "config.json").read_text())["num_classes"] == 3) == (
        sight == PLAIN and readout == "Classifier" and encoder.dims == 2
    )
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"Its answers are those of a ridge probe{sight.words(encoder.dims)}." in card
    names = by_card(card, tmp_path / "model", model.standardise(stored[:1]))
    if sight != PLAIN:
        np.testing.assert_allclose(names["answer"].numpy(), wanted[0], atol=1e-4, rtol=1e-4)


def by_card(card: str, path: Path, x: Tensor) -> dict[str, Any]:
    """What the last code of a card computes from standardised images, as it stands there."""
    lines = re.findall(r"```python\n(.*?)```", card, re.S)[-1].replace("PATH", str(path)).splitlines()
    after = next(at for at, line in enumerate(lines) if line.startswith("with torch.no_grad()"))
    before = next(at for at, line in enumerate(lines) if line.startswith("SIZE, SCALE"))
    names: dict[str, Any] = {"x": x}
    exec("\n".join([*lines[:before], *lines[after:]]), names)
    return names


@pytest.mark.parametrize("kind", ["segres", "volume vit"])
def test_cards_of_other_networks_for_volumes_see_two_stages(
    encoders: dict[str, Encoder], kind: str, tmp_path: Path
) -> None:
    encoder, sight = encoders[kind], Sight(2)
    head, meaning = made("Classifier", encoder, sight)
    export.write(Model(encoder, Preprocessing(16, 255.0, (0.4,), (0.2,), 3), head, meaning), tmp_path / "model", {})
    x = noise(encoder, 1)
    names = by_card((tmp_path / "model" / "README.md").read_text(), tmp_path / "model", x)
    with torch.inference_mode():
        np.testing.assert_allclose(names["embedding"].numpy(), looked(encoder, x, sight)[0].numpy(), atol=1e-4)


def test_exports_of_before_look_at_the_pooled_embedding_and_others_must_fit(
    encoders: dict[str, Encoder], tmp_path: Path
) -> None:
    encoder = encoders["cnn"]
    for sight in (PLAIN, Sight(2)):
        head, meaning = made("Classifier", encoder, sight)
        model = Model(encoder, Preprocessing(28, 255.0, (0.4,) * 3, (0.2,) * 3), head, meaning)
        export.write(model, tmp_path / "model", {})
        path = tmp_path / "model" / "config.json"
        config = json.loads(path.read_text())
        del config["autossl"]["sight"], config["autossl"]["words"]
        path.write_text(json.dumps(config))
        if sight == PLAIN:
            readout = autossl.load(tmp_path / "model").readout
            assert readout is not None
            assert (readout.sight, readout.words) == (PLAIN, "")
        else:
            with pytest.raises(UserError, match="damaged"):
                autossl.load(tmp_path / "model")


def test_seen_images_are_looked_at_once_for_each_sight_and_one_stage_comes_with_two() -> None:
    asked = []
    z = np.arange(12, dtype=np.float32).reshape(3, 4)

    def look(sight: Sight) -> Any:
        asked.append(sight)
        return z if sight.stages == 2 else z[:, :3]

    seen = Seen(3, 3, look, lambda at: iter(()))
    np.testing.assert_array_equal(seen.at(Sight(2)), z)
    np.testing.assert_array_equal(seen[np.array([2, 0])].at(PLAIN), z[[2, 0], :3])
    seen.at(Sight(1, True))
    assert asked == [Sight(2), Sight(1, True)]


def test_words_say_what_is_looked_at() -> None:
    head = Classifier(3, 2)
    head.words = "a ridge probe"
    told = []
    for sight in SIGHTS:
        head.sight = sight
        told.append(head.told(2))
    assert told == [
        "a ridge probe", "a ridge probe on the mean over eight flips and turns",
        "a ridge probe on the last two stages", "a ridge probe on the last two stages, mean over eight flips and turns",
    ]  # fmt: skip
    assert head.told(3) == "a ridge probe on the last two stages, mean over eight flips"
