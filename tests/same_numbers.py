"""The numbers of two small studies, kept so that a change that should change nothing can show it.

`python -m tests.same_numbers` runs them (some two minutes) and says what differs, to the last digit, from
tests/fixtures/same_numbers.json, which holds for one kind of machine. With --write it writes that file anew; a
commit that does so says why.
"""

import json
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import autossl
from autossl.study import Study
from tests.pretext_toys import blobs

FIXTURE = Path(__file__).parent / "fixtures" / "same_numbers.json"
SETTINGS = {
    "time_limit": None, "max_candidates": 4, "workers": 1, "seed": 3, "device": "cpu", "weights": "none"
}  # fmt: skip
TIMES = (
    "second",
    "lease",
    "headway",
    "heartbeat",
    "started",
    "checkpoint",
    "worker",
    "sha",
    "fingerprint",
    "versions",
    "time",
)
PARTS = ("plan", "supervised", "final", "result")  # of state.json


def machine() -> str:
    """What the last digit of a float hangs on."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    instructions = torch.backends.cpu.get_cpu_capability()
    return f"{names[0].partition(':')[2].strip()}, {instructions}, torch {torch.__version__}, {platform.machine()}"


def textures() -> dict[str, Any]:
    """180 noisy waves of three directions, 16 px, of 60 patients; a sixth without a label."""
    rng = np.random.default_rng(1)
    y = np.repeat(np.arange(60) % 3, 3)
    angle, (row, column) = y * np.pi / 3, np.mgrid[:16, :16]
    along = row * np.cos(angle)[:, None, None] + column * np.sin(angle)[:, None, None]
    x = 127 + 40 * np.sin(along + rng.uniform(0, 6, (180, 1, 1))) + rng.normal(0, 60, (180, 16, 16))
    labels = np.where(np.arange(180) % 6 == 5, -1, y)
    return {"images": np.clip(x, 0, 255).astype(np.uint8), "labels": labels, "patients": np.repeat(np.arange(60), 3)}


def waves() -> dict[str, Any]:
    """72 volumes of noisy waves in six directions, 12 voxels a side."""
    volumes, y = blobs(72, 0, side=12)
    return {"images": (255 * volumes[:, 0].numpy()).astype(np.uint8), "labels": y.numpy() % 2}


STUDIES = {
    "images": (textures, {"methods": "vicreg,denoising", "backbone": "test_resnet", "adaptation": "frozen"}),
    "volumes": (
        waves,
        {"methods": "denoising,rotation", "backbone": "resnet10_half_3d", "adaptation": "finetune", "modality": "ct"},
    ),
}


def searched(name: str, out: Path) -> Study:
    """The study of this name, done."""
    data, settings = STUDIES[name]
    given = data()
    return autossl.search(given.pop("images"), out=out, **given, **SETTINGS, **settings)  # type: ignore[arg-type]


def without_times(found: Any) -> Any:
    """The same without what no two runs have in common."""
    if isinstance(found, dict):
        kept = {key: value for key, value in found.items() if not any(word in str(key) for word in TIMES)}
        return {str(key): without_times(value) for key, value in kept.items()}
    return [without_times(value) for value in found] if isinstance(found, list | tuple) else found


def numbers(study: Study) -> dict[str, Any]:
    """Candidates, their scores by rung, and what the end of the study chose and measured."""
    trials = [
        {"params": t.params, "value": t.value, "state": t.state.name, **t.user_attrs} for t in study.optuna.trials
    ]
    state = json.loads(study.folder.state.read_text())
    found = {"trials": trials, "baselines": study.optuna.user_attrs, **{name: state.get(name) for name in PARTS}}
    return dict(json.loads(json.dumps(without_times(found))))


def differences(before: Any, now: Any, where: str = "") -> Iterator[str]:
    """Places where two records differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            yield from differences(before.get(key), now.get(key), f"{where}.{key}")
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for at, pair in enumerate(zip(before, now, strict=True)):
            yield from differences(*pair, f"{where}[{at}]")
    elif before != now:
        yield f"{where[1:]}: {before} -> {now}"


def main() -> None:
    """Compare, or write the fixture."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as here:
        now = {"machine": machine(), **{name: numbers(searched(name, Path(here) / name)) for name in STUDIES}}
    if "--write" in sys.argv:
        FIXTURE.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n")
        return
    found = list(differences(json.loads(FIXTURE.read_text()), now))
    print("\n".join(found) or "the same to the last digit")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
