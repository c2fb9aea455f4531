"""Trains on the labels of a finished study, fine-tuned and from scratch, for as many passes: recipes are compared so.

    python -m studies.on_labels RUN --passes 60 --seeds 3

The network is the study's `encoder/`; scores are on its test part, which is not counted: for sets that are known.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from autossl.finish.baselines import Setting, fit, untrained
from autossl.finish.written import read_again
from autossl.nn.encoder import Encoder
from autossl.record.folder import existing
from autossl.train.resumable import Terms
from autossl.trials.context import PROBE, SELECTION, TEST, Context, open_context

SETTING = Setting(6e-4, 0.7, 0.1)
AMPLE = Terms(1e6)  # the passes end a training


def scores(context: Context, passes: float, seeds: int) -> Iterator[tuple[str, float]]:
    """Way and score of each training."""
    rows, tested = context.rows(PROBE, SELECTION, labelled=True), context.rows(TEST, labelled=True)
    seen = context.see(encoder_of(context), rows)
    head = context.judged.probe(seen, context.truth(rows), context.groups(rows))
    for seed in range(seeds):
        seeded = replace(context, config=replace(context.config, seed=seed))
        for way, encoder, start in (
            ("fine-tuned", encoder_of(context), head),
            ("supervised", untrained(context), None),
        ):
            found = fit(seeded, rows, encoder, SETTING, AMPLE, start, passes)
            assert found is not None, "not one step"
            outcomes = context.outcomes(context.see(found.encoder, tested), found.head, tested)
            yield way, outcomes.value(context.target.metric)


def encoder_of(context: Context) -> Encoder:
    """The study's encoder, which has seen no label, to be trained on."""
    return read_again(context, context.folder.encoder)[0]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--passes", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    for way, score in scores(open_context(existing(asked.run)), asked.passes, asked.seeds):
        print(f"{way} {score:.4f}", flush=True)


if __name__ == "__main__":
    main()
