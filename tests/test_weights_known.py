"""The table of known weights keeps its promises: every row has its fields, and names what timm or AutoSSL has."""

import json
import re

import numpy as np
import pytest
import timm
import torch
from click.testing import CliRunner

from autossl.cli.commands import main
from autossl.nn.encoder import dims_of
from autossl.nn.networks import create
from autossl.nn.volume_networks import VOLUMES
from autossl.nn.weights import Known, known
from autossl.nn.weights.hub import place
from autossl.nn.weights.told import pretrained
from autossl.pretext import METHODS
from autossl.trials.fitted import UNKNOWN, _late, late_from

ROWS = list(known().values())
OBJECTIVES = ("supervised", "contrastive", "distillation", "masked", "several")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_is_whole(row: Known) -> None:
    for text in (row.name, row.modality, row.trained_on, row.licence, row.source):
        assert isinstance(text, str)
        assert text.strip() == text != ""
    assert row.objective in OBJECTIVES
    assert isinstance(row.parameters, int | float)
    assert row.parameters > 0
    assert row.dims in (2, 3)
    assert row.channels in (1, 3)
    assert row.size is None or 32 <= row.size <= 1024
    for values in (row.mean, row.sd):
        assert values is None or (len(values) == row.channels and all(0 < value < 1 for value in values))
    assert (row.mean is None) == (row.sd is None)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_can_be_had_or_says_why_not(row: Known) -> None:
    if row.name.startswith("hub:"):
        assert place(row.name).files
    elif row.name.startswith("packaged:"):
        assert row.package
    else:
        assert re.search("give the file|use nnU-Net", row.words)


@pytest.mark.parametrize("row", [row for row in ROWS if row.architecture], ids=lambda row: row.name)
def test_architectures_exist_and_have_so_many_parameters(row: Known) -> None:
    assert row.architecture is not None
    assert row.architecture in VOLUMES or timm.is_model(row.architecture)
    assert dims_of(row.architecture) == row.dims
    with torch.device("cpu" if row.architecture == "swin_unetr" else "meta"):  # MONAI asks for the value of a rate
        network = create(row.architecture, *((3, 224) if row.dims == 2 else (1, 64)), {})
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == row.parameters


@pytest.mark.parametrize("name", ["lite0", "lite2"])
def test_packaged_weights_take_what_timm_says_of_the_same_network(name: str) -> None:
    row, config = known()[f"packaged:{name}"], pretrained(f"tf_efficientnet_{name}.in1k")
    assert (row.channels, row.size, row.size) == config.input_size
    assert (row.mean, row.sd) == (config.mean, config.std)


def test_what_weights_put_last_are_methods_and_their_objectives_those_of_the_table() -> None:
    for objective in (*OBJECTIVES, UNKNOWN):
        assert late_from({"objective": objective}) <= set(METHODS)
    assert {objective for row in _late() for objective in row["from"]} <= {*OBJECTIVES, UNKNOWN}


def test_what_timm_says_of_its_tags_is_not_repeated() -> None:
    row, config = known()["hub:convnext_tiny.dinov3_lvd1689m"], pretrained("convnext_tiny.dinov3_lvd1689m")
    assert (row.licence, row.architecture, row.mean) == (config.license, "convnext_tiny", config.mean)
    assert "shared under this licence" in row.shares_outputs


def test_images_of_other_channels_take_the_averages() -> None:
    row = known()["hub:resnet18.a1_in1k"]
    assert row.statistics(3) == (row.mean, row.sd)
    averages = row.statistics(1)
    assert averages is not None
    assert np.allclose(averages, [[0.449], [0.226]])
    assert known()["nnfoundation_cnn"].statistics(1) is None


def test_the_list_says_what_is_here() -> None:
    listed = CliRunner().invoke(main, ["list", "weights", "--json"])
    rows = {row["name"]: row for row in json.loads(listed.output)}
    assert list(rows) == list(known())
    assert rows["packaged:lite0"]["here"] == "installed"
    assert rows["nnfoundation_cnn"]["licence"] == "CC-BY-SA-4.0"
    head, *lines = CliRunner().invoke(main, ["list", "weights"]).output.splitlines()
    assert head.split() == ["name", "architecture", "modality", "size", "parameters", "licence", "here", "dims"]
    assert len(lines) == len(rows)
    assert next(line for line in lines if line.startswith("nnfoundation_cnn")).split()[1] == "-"
