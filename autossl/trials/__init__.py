"""The search, trial by trial: time plan, scheduler, workers and their processes, search spaces."""
