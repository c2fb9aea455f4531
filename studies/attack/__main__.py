"""Attack AutoSSL: `python -m studies.attack`. It writes result.md and result.json here, or where --result says."""

import argparse
import importlib
import json
import os
import shutil
import signal
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from studies.attack.acts import die_with_parent
from studies.attack.case import Case, Outcome
from studies.attack.table import write_result

CAMPAIGNS = {  # module, cases at a time
    "npz": 2, "tables": 2, "folders": 2, "options": 2, "commands": 2, "calls": 2, "methods": 2, "values": 2, "fuzz": 2,
    "hostile": 2, "privacy": 1, "kills": 2, "clock": 2, "disk": 2, "limits": 1,
}  # fmt: skip
HERE = Path(__file__).parent


def main() -> int:
    """Run the campaigns that were asked for; 1 if anything is not as expected."""
    asked = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended too
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
    work = Path(asked.work).resolve()
    if not asked.resume:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    os.environ.update(OMP_NUM_THREADS="1", MPLCONFIGDIR=str(work / "matplotlib"), COLUMNS="120")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(work / "matplotlib")  # both are caches, which any program may have
    load()
    outcomes = {}
    for name, share in asked.campaign or [(name, asked.share) for name in CAMPAIGNS]:
        started = time.monotonic()
        outcomes[name] = run(name, asked, share or asked.share, work)
        print(f"{name}: {sum(o.tried for o in outcomes[name])} tried, {time.monotonic() - started:.0f} s", flush=True)
    text, bad = write_result(outcomes, Path(asked.result) if asked.result else HERE, save=not asked.only)
    print(text)
    return 1 if bad else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m studies.attack", description="Attack AutoSSL, and count.")
    parser.add_argument(
        "--campaign", action="append", type=campaign, help="only NAME, or a share: NAME=0.1; may be repeated"
    )
    parser.add_argument("--only", action="append", help="cases whose name is, or begins with, this")
    parser.add_argument("--share", type=float, default=1.0, help="this share of the cases, evenly taken")
    parser.add_argument("--seed", type=int, default=0, help="of what is random in the cases")
    parser.add_argument(
        "--resume", action="store_true", help="keep the outcomes of an earlier call that was broken off"
    )
    parser.add_argument("--work", default="runs/attack", help="folder for what comes and goes")
    parser.add_argument("--result", help="folder for result.md and result.json")
    parser.add_argument("--lanes", type=int, default=2, help="cases at a time, at most")
    return parser.parse_args()


def campaign(text: str) -> tuple[str, float]:
    """NAME or NAME=SHARE; a share of 0 is that of --share."""
    name, _, share = text.partition("=")
    if name not in CAMPAIGNS:
        raise argparse.ArgumentTypeError(f"one of {', '.join(CAMPAIGNS)} was wanted, found {name!r}")
    return name, float(share or 0)


def load() -> None:
    """Import AutoSSL once, for all forks; one thread, because forks take no other threads along."""
    for module in (
        "autossl.cli.commands",
        "autossl.api",
        "autossl.run.controller",
        "autossl.cli.doctor",
        "autossl.run.jobs",
        "optuna",
    ):
        importlib.import_module(module)
    import torch

    torch.set_num_threads(1)


def run(name: str, asked: argparse.Namespace, share: float, work: Path) -> list[Outcome]:
    """All cases of a campaign; what an earlier call has done is not done again."""
    path = work / f"{name}.jsonl"
    done = [Outcome(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []
    known = {outcome.name for outcome in done}
    cases: Sequence[Case] = importlib.import_module(f"studies.attack.{name}").cases(asked.seed)
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), f"a name twice in {name}: {max(names, key=names.count)}"
    step = max(1, round(1 / share))
    wanted = [case for at, case in enumerate(cases) if at % step == 0] if not asked.only else list(cases)
    if asked.only:
        wanted = [case for case in wanted if any(case.name.startswith(only) for only in asked.only)]
    left = [case for case in wanted if case.name not in known]
    if left:
        prepare = getattr(importlib.import_module(f"studies.attack.{name}"), "prepare", None)
        if prepare is not None:
            prepare(work)
        in_lanes(left, min(CAMPAIGNS[name], asked.lanes), work / "cases", path)
    every = [Outcome(**json.loads(line)) for line in path.read_text().splitlines()]
    return [outcome for outcome in every if any(case.name == outcome.name for case in wanted)]


def in_lanes(cases: Sequence[Case], lanes: int, folder: Path, path: Path) -> None:
    """Each case in a process of its own, so many at a time; an outcome is a line of `path` as soon as it is there."""
    from studies.attack.sandbox import run_case

    running: dict[int, Case] = {}
    waiting = list(reversed(cases))
    try:
        while waiting or running:
            while waiting and len(running) < lanes:
                case = waiting.pop()
                running[forked(lambda case=case: append(path, run_case(case, folder / safe(case.name))))] = case
            child, status = os.wait()
            case = running.pop(child)
            if status:
                append(path, Outcome(case.name, [("other", f"the attack itself ended with {status}")]))
    finally:
        for child in running:
            os.killpg(child, signal.SIGKILL)


def forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent()
    try:
        work()
        os._exit(0)
    except BaseException as fault:
        print(repr(fault), file=sys.stderr)
        os._exit(1)


def append(path: Path, outcome: Outcome) -> None:
    with open(path, "a") as file:
        file.write(json.dumps(outcome.to_dict()) + "\n")


def safe(name: str) -> str:
    digest = zlib.crc32(name.encode("utf-8", "surrogateescape"))
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name)[:60] + f"-{digest}"


if __name__ == "__main__":
    sys.exit(main())
