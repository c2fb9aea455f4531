"""Workers as processes of this machine: started, watched, and replaced when one dies."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import torch
from optuna.exceptions import UpdateFinishedTrialError

from autossl.errors.faults import account
from autossl.errors.printable import OneLine
from autossl.record.folder import Folder
from autossl.record.journal import entries
from autossl.trials.context import Context, open_context
from autossl.trials.lifeline import orphaned
from autossl.trials.scheduler import search_end
from autossl.trials.segments import give_up
from autossl.trials.worker import Worker

log = logging.getLogger("autossl")

RESTARTS = 2  # of each worker
GRACE = 10.0  # seconds that workers get to end by themselves after the search should


def run_workers(context: Context, count: int, now: Callable[[], float], tick: Callable[[], None]) -> None:
    """Run `count` workers on the study until they end, or until the search is over by `now` (study clock)."""
    zero = time.monotonic() - now()
    processes = {n: _start(context.folder, n, count, zero) for n in range(count)}
    restarts = dict.fromkeys(processes, 0)
    try:
        while processes:
            time.sleep(0.5)
            tick()
            late = _late(context, now())
            for number, process in list(processes.items()):
                code = process.poll()
                if code is None and late > GRACE:
                    process.kill()
                    code = process.wait()
                if code is None:
                    continue
                del processes[number]
                if code == 0:
                    continue
                log.warning("worker %d ended with code %d; see its lines above in autossl.log", number, code)
                give_up(context.study, lambda t, n=number: t.user_attrs.get("worker") == n)  # type: ignore[misc]
                if restarts[number] < RESTARTS and late < 0:
                    restarts[number] += 1
                    processes[number] = _start(context.folder, number, count, zero)
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


def _late(context: Context, now: float) -> float:
    """Seconds since the search should have been over; below zero before that."""
    if context.plan.search_until is None or now < context.plan.search_until:
        return -1.0
    end = search_end(entries(context.study.get_trials(deepcopy=False)), context.plan)
    assert end is not None
    return now - end


def _start(folder: Folder, number: int, count: int, zero: float) -> subprocess.Popen[bytes]:
    # -P: else Python imports from the current folder first, which may be a study of somebody else's
    command = [sys.executable, "-P", "-m", "autossl.trials.lifeline", "autossl.trials.executor", str(os.getpid())]
    command += [str(folder.root.resolve()), str(number), str(count), str(zero)]
    with open(folder.log, "ab") as stream:
        return subprocess.Popen(command, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL)


def main(parent: str, root: str, number: str, count: str, zero: str) -> None:
    """One worker process; the study's clock was at 0 at `zero` (by `time.monotonic`, which all processes share).

    It ends when its parent, the process that started it, is gone.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger().handlers[0].addFilter(OneLine())
    torch.set_num_threads(max(1, torch.get_num_threads() // int(count)))  # of the cores that this process may use
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = Folder(Path(root))
    devices = torch.cuda.device_count()
    context = open_context(folder, f"cuda:{int(number) % devices}" if devices else None)

    def stopped() -> bool:
        return folder.stop.exists() or orphaned(int(parent))

    try:
        Worker(context, int(number), now=lambda: time.monotonic() - float(zero), stopped=stopped).work()
    except UpdateFinishedTrialError:
        if not orphaned(int(parent)):  # whoever took the study up has declared an orphan's trial lost
            raise


def guarded(*arguments: str) -> None:
    """One worker process, whose faults are told in the study's log without names of files."""
    try:
        main(*arguments)
    except Exception as fault:
        log.error("a fault of this worker: %s", account(fault))
        sys.exit(1)


if __name__ == "__main__":
    guarded(*sys.argv[1:])
