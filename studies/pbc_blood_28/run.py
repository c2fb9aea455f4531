"""Repeat the searches on pbc_blood_28 that the README quotes: `python -m studies.pbc_blood_28.run DATA.npz`."""

import json
import sys
from pathlib import Path

import autossl

HERE = Path(__file__).parent
LABELS = {"250-labels": 250, "all-labels": None}


def main(data: str, minutes: str = "10") -> None:
    """Search with 250 labels and with all, and write what came out beside this file."""
    for name, labels in LABELS.items():
        out = f"runs/pbc-{name}-{minutes}m"
        study = autossl.search(
            data, modality="microscopy", max_labels=labels, adaptation="frozen", time_limit=f"{minutes}m", out=out
        )
        assert study.result is not None
        found = {"result": study.result, "leaderboard": study.leaderboard(), "status": study.status()}
        (HERE / f"{name}-{minutes}m.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
