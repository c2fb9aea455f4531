"""Trains the pieces of the table and scores them by every target of their set, at every rung and against the test part.

    python -m studies.table.run DATA_FOLDER WORK_FOLDER [--sets marks pneumonia ...] [--pause FILE]

DATA_FOLDER holds the public sets by name; run from the top of a checkout. A run that is killed goes on where it was:
rows stand in rows/SET.json, one a training, and WORK_FOLDER keeps checkpoints, what encoders make of the labelled
images at every rung (fp16) and the encoders of the last one. While FILE exists nothing new is begun.

A row says for each rung the seconds of training (`busy`: milliseconds of processor time an image, which load on the
machine does not change), and for each target what LABELS labels say of the encoder without the
test part (`proxies`, a column of draws each) and, as truth, the test metric of the aligned score's probe on drawn
labels (`frozen`: number of labels -> draws). What can be fine-tuned is, for the better third of a cell (`tuned`).
"""

import argparse
import hashlib
import math
import platform
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from autossl.data import PROBE, TEST
from autossl.finish.baselines import UNTRAINED_SEED, Setting, fit
from autossl.nn.encoder import Encoder
from autossl.pretext import METHODS
from autossl.record.folder import replace_file
from autossl.targets import Seen
from autossl.train.loop import Diverged, Run
from autossl.train.resumable import Terms, Training
from autossl.trials.context import Context
from autossl.trials.segments import new_run
from studies.opened import first_prior, opened
from studies.rows import Rows
from studies.table import marks
from studies.table.cells import LONG, OWN, RANDOM, RATES, RUNGS, SETS, STRENGTHS, Piece, pieces
from studies.targets.manifests import SETS as MANIFESTS
from studies.targets.manifests import write as write_manifest

ROWS = Path(__file__).parent / "rows"
LABELS, BUDGETS, DRAWS = 250, (100, 250), 3  # of a search, and of the truths, each drawn so often
MOST = 1536  # labelled images that are kept of each side of the test part
SETTING, PASSES = Setting(6e-4, 0.7, 0.1), 40.0  # of fine-tuning
SETTINGS = {"rungs": RUNGS, "labels": LABELS, "draws": DRAWS, "most": MOST, "passes": PASSES}
MARKS = ("marks", "marks_grey")
Ints = NDArray[np.int64]
Row = dict[str, Any]


def place(name: str, data: Path, work: Path) -> str:
    """Where the data of a set are; what is generated, or has no manifest, is written."""
    found = SETS[name].data
    if name in MARKS:
        manifest = work / name / "marks.csv"
        return str(manifest if manifest.is_file() else marks.write(work / name, grey=name == "marks_grey"))
    if name in MANIFESTS:
        write_manifest(name, data / found, work / f"{name}.csv")
        return f"{work / name}.csv::{data / found}"  # the folder that its images lie in
    return found if found.startswith("sample:") else str(data / found)


class Bench:
    """A set from one start: a study for each target, of which the first trains for all, and the images that are kept.

    `rows` are images of the store, the `tested` ones last; `drawn` holds for each number of labels places among the
    others, whole patients by lot, and all of them.
    """

    def __init__(self, name: str, start: str, data: Path, work: Path) -> None:
        found, self.name, self.work = SETS[name], name, work / name / start.replace(":", "-")
        weights = {} if start == RANDOM else {"weights": start, "start": "weights"}
        self.studies = {
            target: opened(place(name, data, work), self.work / target, *RUNGS, **found.options, **options, **weights)
            for target, options in found.targets.items()
        }
        self.first = next(iter(self.studies.values()))
        learnt, tested = (self._some(part) for part in (PROBE, TEST))
        assert all(set(tested) <= set(study.rows(TEST)) for study in self.studies.values()), "test parts differ"
        self.rows, self.tested = np.concatenate([learnt, tested]), np.arange(len(learnt), len(learnt) + len(tested))
        sizes = {n: n for n in BUDGETS if n < len(learnt)}
        self.drawn = {n: [self._lot(learnt, n, draw) for draw in range(DRAWS)] for n in sizes}
        self.drawn[len(learnt)] = [np.arange(len(learnt))]

    def _some(self, part: int) -> Ints:
        """Labelled images of a part, by whole patients MOST of them."""
        rows = self.first.rows(part, labelled=True)
        return rows[self._lot(rows, MOST, part)]

    def _lot(self, rows: Ints, most: int, seed: int) -> Ints:
        """Places of whole patients among these rows, by lot until there are so many."""
        _, owner = np.unique(self.first.groups(rows), return_inverse=True)
        sizes = np.bincount(owner)
        drawn = np.random.default_rng([17, seed]).permutation(len(sizes))
        before = np.cumsum(sizes[drawn]) - sizes[drawn]
        return np.flatnonzero(np.isin(owner, drawn[before < most]))

    def told(self, encoder: Encoder) -> tuple[Row, Seen]:
        """What every target says of an encoder, and what was seen."""
        seen = self.first.see(encoder, self.rows)
        return {target: self._target(study, seen) for target, study in self.studies.items()}, seen

    def _target(self, study: Context, seen: Seen) -> Row:
        truth, groups, target = study.truth(self.rows), study.groups(self.rows), study.judged
        labels = min(LABELS, max(self.drawn))
        scores = [target.score(seen[at], truth[at], groups[at]) for at in self.drawn[labels]]
        told = [{"score": s.value, "se": s.se, **s.proxies, "collapsed": bool(s.collapsed)} for s in scores]
        proxies = {name: [_short(one.get(name)) for one in told] for name in told[0]}

        def metric(at: Ints) -> float:
            raw = target.transfer(seen[at], truth[at], groups[at], seen[self.tested])
            return target.judge(raw, truth[self.tested], groups[self.tested]).value(target.metric)

        frozen = {str(n): [_short(metric(at)) for at in draws] for n, draws in self.drawn.items()}
        return {"proxies": proxies, "frozen": frozen}

    def file(self, folder: str, piece: Piece, ending: str) -> Path:
        """Where something of a piece lies."""
        path = self.work / folder / f"{piece.key.replace(':', '-').replace(' ', '_')}{ending}"
        path.parent.mkdir(exist_ok=True)
        return path

    def encoder(self, piece: Piece) -> dict[str, torch.Tensor]:
        """Weights of what a piece came to."""
        return load_file(self.file("encoders", piece, ".safetensors"))

    def keep(self, piece: Piece, images: int, seen: Seen) -> str:
        """Write the embeddings of a rung; a name of what they are."""
        path = self.file("embeddings", piece, f"-{images}.npz")
        z = seen.pooled.astype(np.float16)
        replace_file(path, lambda file: np.savez_compressed(file, z=z, rows=self.rows))
        return hashlib.sha256(z.tobytes()).hexdigest()[:16]


def hyperparameters(context: Context, piece: Piece) -> Row:
    """Those of the first prior, moved to strength and rate of the piece where the method has them."""
    own = first_prior(context, piece.method)
    searched = context.space[piece.method].searched
    moved = {key: value for key, value in STRENGTHS[piece.strength].items() if key in searched}
    return {**own, **moved, "lr": own["lr"] * RATES[piece.rate]}


def varies(context: Context, piece: Piece) -> bool:
    """Whether this is another training than the one at the method's own views."""
    return piece.strength == OWN or "jitter" in context.space[piece.method].searched


def trained(bench: Bench, piece: Piece, rows: Rows, rungs: tuple[int, ...]) -> None:
    """Train a piece from where it is, and add to its row at every rung that is not there."""
    context, chosen = bench.first, hyperparameters(bench.first, piece)
    row = rows.rows.get(piece.key) or _begun(piece, chosen)
    run = new_run(context, 0, piece.method, chosen)
    training = Training(run, bench.file("checkpoints", piece, ".pt"))
    already, busy = run.images, 0.0
    for rung, images in enumerate(rungs):
        training.whole, before = False, time.process_time()  # whole: of the rung below
        try:
            training.to(images, Terms())
        except Diverged as fault:
            row["note"] = str(fault)
            break
        busy += time.process_time() - before
        if rung < len(row["rungs"]):
            continue
        encoder = context.averaged(run)
        told = _scored(bench, piece, run, encoder)
        if run.images > already:  # else a kill came between the last step and the score
            told["busy"] = _short(1e3 * busy / (run.images - already))
        row["rungs"].append(told)
        if rung < len(rungs) - 1:
            rows.add(piece.key, row)
            continue
        half = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in encoder.state_dict().items()}
        save_file(half, bench.file("encoders", piece, ".safetensors"))
    row["whole"] = True
    rows.add(piece.key, row)
    training.forget()


def tuned(bench: Bench, piece: Piece, rows: Rows) -> None:
    """Fine-tune what a piece came to on LABELS labels of each target, and add what that scores."""
    row, found = rows.rows[piece.key], {}
    labels = bench.rows[bench.drawn[min(LABELS, max(bench.drawn))][0]]
    for target, study in bench.studies.items():
        encoder = study.new_candidate(0)
        encoder.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in bench.encoder(piece).items()})
        truth, groups = study.truth(labels), study.groups(labels)
        head = study.judged.probe(study.see(encoder, labels), truth, groups)
        fitted = fit(study, labels, encoder, SETTING, Terms(1e6), head, PASSES)
        assert fitted is not None, "not one step"
        tested = bench.rows[bench.tested]
        outcomes = study.outcomes(study.see(fitted.encoder, tested), fitted.head, tested)
        found[target] = _short(outcomes.value(study.target.metric))
    rows.add(piece.key, {**row, "tuned": found})


def better(rows: Rows, done: Iterable[Piece]) -> list[Piece]:
    """The better third of these by the mean of their ranks over targets, frozen, at the most drawn labels."""
    left = [p for p in done if rows.rows.get(p.key, {}).get("whole") and "note" not in rows.rows[p.key]]
    if not left:
        return []
    told = [[t["frozen"] for t in rows.rows[p.key]["rungs"][-1]["targets"].values()] for p in left]
    values = np.array([[np.mean(list(frozen.values())[-2]) for frozen in row] for row in told])
    ranks = values.argsort(0).argsort(0).mean(1)
    return [left[at] for at in np.argsort(-ranks, kind="stable")[: math.ceil(len(left) / 3)]]


def _begun(piece: Piece, chosen: Row) -> Row:
    facts = {"start": piece.start, "method": piece.method, "strength": piece.strength, "rate": piece.rate}
    paradigm = METHODS[piece.method].paradigm
    return {**facts, "paradigm": paradigm, "hyperparameters": chosen, "machine": machine(), "rungs": [], "whole": False}


def _scored(bench: Bench, piece: Piece, run: Run, encoder: Encoder) -> Row:
    """What a rung adds to a row."""
    began = time.process_time()
    targets, seen = bench.told(encoder)
    spent = time.process_time() - began
    kept = bench.keep(piece, run.images, seen)
    losses = [loss for _, loss in run.losses[-8:]]
    facts = {"images": run.images, "steps": run.step, "seconds": round(run.seconds, 2), "scoring": round(spent, 2)}
    return {**facts, "loss": _short(float(np.mean(losses))), "embeddings": kept, "targets": targets}


def machine() -> str:
    """Processor, threads and versions, in words."""
    cpu = next((line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine())
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{cpu}, {torch.get_num_threads()} threads"
    versions = {"python": platform.python_version(), "torch": torch.__version__, "autossl": version("autossl-imaging")}
    return "; ".join([where, *(f"{name} {number}" for name, number in versions.items())])


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []


def _short(value: float | bool | None) -> float | bool | None:
    return value if value is None or isinstance(value, bool) else round(float(value), 4)


class Table:
    """The rows of every set, and the benches that were opened for them."""

    def __init__(self, data: Path, work: Path) -> None:
        self.data, self.work = data, work
        ROWS.mkdir(exist_ok=True)
        self.benches: dict[tuple[str, str], Bench] = {}
        self.rows: dict[str, Rows] = {}

    def step(self, stage: str, piece: Piece) -> float | None:
        """Do one step of the work; its seconds, None where there is nothing to do."""
        rows = self.rows.setdefault(piece.set, Rows(ROWS / f"{piece.set}.json", SETTINGS))
        row = rows.rows.get(piece.key, {})
        began = time.monotonic()
        if stage in ("tuned", "long"):
            own = [other for of, other in pieces((piece.set,)) if of == "own"]
            done = "tuned" in row if stage == "tuned" else len(row.get("rungs", ())) > len(RUNGS)
            if done or piece not in better(rows, own):
                return None
            if stage == "tuned":
                tuned(self.bench(piece), piece, rows)
            else:
                trained(self.bench(piece), piece, rows, (*RUNGS, LONG))
        elif row.get("whole"):
            return None
        else:
            bench = self.bench(piece)
            if not varies(bench.first, piece):
                return None
            trained(bench, piece, rows, RUNGS)
        return time.monotonic() - began

    def bench(self, piece: Piece) -> Bench:
        """The bench of a piece, opened when it is first needed; the row of its untrained encoder."""
        at = (piece.set, piece.start)
        if at not in self.benches:
            bench = self.benches[at] = Bench(*at, self.data, self.work)
            if (key := f"{piece.start} untrained") not in self.rows[piece.set]:
                targets, _ = bench.told(bench.first.new_candidate(UNTRAINED_SEED))
                self.rows[piece.set].add(key, {"start": piece.start, "rungs": [{"images": 0, "targets": targets}]})
        return self.benches[at]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--pause", type=Path, help="while this file exists nothing new is begun")
    asked = parser.parse_args()
    table = Table(asked.data, asked.work)
    for stage, piece in pieces(tuple(asked.sets)):
        while asked.pause is not None and asked.pause.exists():
            time.sleep(5)
        if (seconds := table.step(stage, piece)) is not None:
            print(f"{piece.set} {piece.key} {stage}: {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
