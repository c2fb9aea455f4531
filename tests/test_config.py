"""The resolved settings of a study: written, read again, and read from files that say more or less."""

from dataclasses import MISSING, Field, fields, replace
from pathlib import Path
from typing import Any

import pytest

from autossl.errors import UserError
from autossl.record.config import StudyConfig, read_config, write_config
from autossl.record.folder import read_toml, write_toml
from tests.toy_config import TOY

FULL = replace(
    TOY, data="sample:cells", labels="labels.csv", max_labels=40, time_limit=None, max_candidates=3,
    left_out={"mae": "the backbone has no patch tokens"}, lacks=("patch tokens",), model_args={"output_stride": 8},
    upsample=2, version="1.0",
)  # fmt: skip


@pytest.mark.parametrize("config", [TOY, FULL])
def test_it_comes_back(config: StudyConfig, tmp_path: Path) -> None:
    write_config(tmp_path / "config.toml", config)
    assert read_config(tmp_path / "config.toml") == config


def test_no_time_limit_is_a_word_in_the_file(tmp_path: Path) -> None:
    write_config(tmp_path / "config.toml", FULL)
    assert read_toml(tmp_path / "config.toml")["time_limit"] == "none"


@pytest.mark.parametrize("setting", fields(StudyConfig), ids=lambda f: f.name)
def test_a_setting_that_is_missing_has_its_default_or_is_named(setting: Field[Any], tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    write_toml(path, {name: value for name, value in FULL.options.items() if name != setting.name}, "a test")
    if setting.default is not MISSING:
        assert getattr(read_config(path), setting.name) == setting.default
    elif setting.default_factory is not MISSING:
        assert getattr(read_config(path), setting.name) == setting.default_factory()
    else:
        with pytest.raises(UserError, match=rf"config\.toml is damaged \(it has no '{setting.name}'\)"):
            read_config(path)


def test_settings_that_nobody_knows_are_passed_over(tmp_path: Path) -> None:
    write_toml(tmp_path / "config.toml", {**FULL.options, "mood": "good"}, "a test")
    assert read_config(tmp_path / "config.toml") == FULL
