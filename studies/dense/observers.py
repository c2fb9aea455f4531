"""How far a second observer agrees with the masks of a study, beside its networks: what can be asked of these at most.

    python -m studies.dense.observers RUN mask_observer2

RUN is a finished study of `--task segmentation` on a table; the column names the masks of the second observer. These
are judged as answers to the test part, by the metrics of the study, with intervals over patients.
"""

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from autossl.data import TEST, cut_or_whole, open_data, windowed
from autossl.data.frame import frame_of
from autossl.data.truth import NEVER, Masks
from autossl.data.truth.structures import IGNORED
from autossl.proxies import Outcomes
from autossl.record.folder import Folder
from autossl.trials.context import Context, open_context


def masks_of(context: Context, column: str) -> NDArray[np.uint8]:
    """The second observer's masks (n, *space) of all images, as those of the study are kept."""
    config, data = context.config, context.data
    source = open_data(config.data, form=Masks, label_column=column, patient_column=config.patient_column)
    source = windowed(cut_or_whole(source, config.windows or NEVER, config.image_size), config.image_size)
    assert source.n == len(data.images), "other images than those of the study"
    with TemporaryDirectory() as folder:
        truth = source.truth.decoded(frame_of(source, Path(folder), data.images, data.scale))
        assert truth.about["structures"] == data.truth.about["structures"], "other structures than those of the study"
        return np.asarray(truth.array)


def judged(context: Context, masks: NDArray[np.uint8]) -> Outcomes:
    """What they come to as answers to the test part."""
    rows = context.rows(TEST, labelled=True)
    own = masks[rows]
    own[own == IGNORED] = 0
    raw = np.moveaxis(np.eye(len(context.judged.parts) + 1, dtype=np.uint8)[own], -1, 1)
    return context.judged.judge(raw, context.truth(rows), context.groups(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("column")
    asked = parser.parse_args()
    context = open_context(Folder(asked.run))
    outcomes, metrics = judged(context, masks_of(context, asked.column)), context.judged.reported
    groups = context.groups(context.rows(TEST, labelled=True))
    intervals = outcomes.intervals(metrics, groups)
    told = {metric: [round(outcomes.value(metric), 4), *np.round(intervals[metric], 4).tolist()] for metric in metrics}
    print(json.dumps({asked.column: told}))
    for name, found in context.state("result")["test"]["entrants"].items():
        print(json.dumps({name: {metric: found[metric] for metric in metrics}}))


if __name__ == "__main__":
    main()
