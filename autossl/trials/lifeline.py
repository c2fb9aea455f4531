"""Runs a module for as long as the process that started it lives: python -m autossl.trials.lifeline MODULE PARENT ...

The watch begins before anything heavy is imported: the parent may be killed, alone, while its workers still import.
"""

import os
import runpy
import sys
import threading
import time

EVERY = 0.5  # seconds between looks
LINGER = 3.0  # seconds that an orphan gets to end by itself: it may have a checkpoint to write


def orphaned(parent: int) -> bool:
    """Whether the process that started this one is gone.

    Its number tells: whoever adopts an orphan lived beside the parent and has another one.
    """
    return os.getppid() != parent


def _watch(parent: int) -> None:
    while not orphaned(parent):
        time.sleep(EVERY)
    time.sleep(LINGER)
    os._exit(1)


def main() -> None:
    """Watch, and run the module as if it had been started itself, with PARENT and what follows as its arguments."""
    module, parent = sys.argv[1], int(sys.argv[2])
    threading.Thread(target=_watch, args=(parent,), daemon=True, name="lifeline").start()
    sys.argv = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
