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

from autossl.context import Context, open_context
from autossl.folder import Folder
from autossl.segments import give_up
from autossl.worker import Worker

log = logging.getLogger("autossl")

RESTARTS = 2  # of each worker
GRACE = 10.0  # seconds that workers get to end by themselves after the search should


def run_workers(context: Context, count: int, until: float | None, tick: Callable[[], None]) -> None:
    """Run `count` workers on the study until they end, or until `until` (seconds since the epoch) plus a grace."""
    processes = {n: _start(context.folder, n, count, until) for n in range(count)}
    restarts = dict.fromkeys(processes, 0)
    try:
        while processes:
            time.sleep(0.5)
            tick()
            for number, process in list(processes.items()):
                code = process.poll()
                if code is None and until is not None and time.time() > until + GRACE:
                    process.kill()
                    code = process.wait()
                if code is None:
                    continue
                del processes[number]
                if code == 0:
                    continue
                log.warning("worker %d ended with code %d; see its lines above in autossl.log", number, code)
                give_up(context.study, lambda t, n=number: t.user_attrs.get("worker") == n)  # type: ignore[misc]
                if restarts[number] < RESTARTS and (until is None or time.time() < until):
                    restarts[number] += 1
                    processes[number] = _start(context.folder, number, count, until)
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


def _start(folder: Folder, number: int, count: int, until: float | None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "autossl.executor", str(folder.root.resolve()), str(number), str(count)]
    with open(folder.log, "ab") as stream:
        return subprocess.Popen(
            [*command, str(until or "none")], stdout=stream, stderr=stream, stdin=subprocess.DEVNULL
        )


def main(root: str, number: str, count: str, until: str) -> None:
    """One worker process. It ends when the process that started it is gone."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(count)))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder, parent = Folder(Path(root)), os.getppid()
    devices = torch.cuda.device_count()
    context = open_context(folder, f"cuda:{int(number) % devices}" if devices else None)
    limit = None if until == "none" else float(until)

    def stopped() -> bool:
        return folder.stop.exists() or os.getppid() != parent

    def left() -> float | None:
        return None if limit is None else limit - time.time()

    Worker(context, int(number), time_left=left, stopped=stopped).work()


if __name__ == "__main__":
    main(*sys.argv[1:])
