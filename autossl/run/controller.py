"""A study from beginning to end: open the data, plan the time, run the search, finish."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from autossl.data import Source, smaller_sizes
from autossl.errors import UserError
from autossl.errors.keywords import DURATION
from autossl.errors.printable import one_line
from autossl.finish.finish import NOT_YET, Finish, none_scored, still_needed
from autossl.finish.steps import Steps
from autossl.finish.unverified import end_unverified
from autossl.nn.encoder import dims_of
from autossl.proxies import warm_up
from autossl.record.clock import Clock, in_words, seconds, spent
from autossl.record.config import StudyConfig, read_config, write_config
from autossl.record.entries import Entry
from autossl.record.folder import Folder, existing, machine_faults, only_process, read_json
from autossl.record.journal import entries, mend
from autossl.report import verdict
from autossl.report.display import Display
from autossl.report.leaderboard import noisy, rows
from autossl.report.page import write_report
from autossl.run import begin
from autossl.run.asked import Asked
from autossl.run.forecast import Forecast, foresee, or_smaller
from autossl.run.harm import harm_test, within
from autossl.run.looking import look
from autossl.run.opening import place, ready
from autossl.run.outset import begun, needed
from autossl.run.repeat import adopt_plan
from autossl.run.settings import as_begun
from autossl.targets import Judged
from autossl.trials.context import TEST, Context, open_context
from autossl.trials.costs import Costs
from autossl.trials.deadlines import ensure_time
from autossl.trials.executor import run_workers
from autossl.trials.plan import Plan, extend, make_plan, make_untimed_plan
from autossl.trials.scheduler import enough, search_left
from autossl.trials.segments import requeue_lost
from autossl.trials.worker import Worker
from autossl.views import trilinear

log = logging.getLogger("autossl")


@machine_faults()
def start(
    data: Any,
    asked: Asked,
    *,
    unlabeled: Any = None,
    labels: Any = None,
    patients: Any = None,
    started: float | None = None,
    quiet: bool = False,
    source: Source | None = None,
) -> Folder:
    """Begin a study, or go on with the one in `asked.out` if its settings are the same. Returns its folder.

    `source` is what `opening.ready` made of the data, where that was asked before this room was imported.
    """
    started = time.monotonic() if started is None else started
    if source is None:
        source = ready(data, asked, unlabeled, labels, patients)
    source, config = begin.look(data, asked, unlabeled, labels, source=source)
    folder = place(asked, source)

    def resized(side: int) -> StudyConfig:
        return begin.settled(source, replace(asked, image_size=side), data, unlabeled, labels)

    sides = smaller_sizes(source, config.image_size) if asked.image_size == "auto" else ()
    if folder.has_begun and (side := read_config(folder.config).image_size) in sides:
        config, sides = resized(side), ()  # it was begun so
    config = as_begun(folder, config)
    forecast = None
    if asked.limit is not None and not folder.is_planned:
        used = time.monotonic() - started
        forecast, config = foresee(source, config, asked.limit, used, resized, sides)
    with begin.taken(folder, config), Clocked(folder, asked.limit, started, quiet) as run:
        folder.stop.unlink(missing_ok=True)  # of an earlier run
        if asked.plan is not None:
            adopt_plan(folder, asked.plan)
        _decode(source, folder, config, run)
        write_config(folder.config, config)  # some may change while a study goes on
        _run(folder, run, forecast=forecast)
    return folder


@machine_faults()
def resume(
    path: str | Path,
    time_limit: str | float | timedelta | None = None,
    *,
    started: float | None = None,
    quiet: bool = False,
) -> Folder:
    """Go on with a study that was stopped or killed; `time_limit` "+1h" adds to its limit, "2h" replaces it."""
    time_limit = DURATION.take("--time-limit", time_limit)
    folder, started = existing(path), time.monotonic() if started is None else started
    with only_process(folder):
        config = read_config(folder.config)
        with Clocked(folder, _limit(config.time_limit, time_limit), started, quiet) as run:
            if not folder.has_begun:
                _decode(begin.look_again(folder, config), folder, config, run)
            folder.stop.unlink(missing_ok=True)
            _run(folder, run, extended=time_limit is not None)
    return folder


def _limit(limit: float | None, asked: str | float | timedelta | None) -> float | None:
    """Seconds until which a study may go on: as it was, replaced, or with time added; None for no limit."""
    if asked is None:
        return limit
    text = str(asked)
    given = seconds(text.removeprefix("+"))
    return given if not text.startswith("+") or given is None or limit is None else limit + given


def _decode(source: Source, folder: Folder, config: StudyConfig, run: "Clocked") -> None:
    run.display.say("opening the images")
    with machine_faults():
        begin.decode(source, folder, config, run.display.progress)
    for note in (read_json(folder.data) or {}).get("notes", ()):
        log.info("data: %s", note)


@dataclass
class Clocked:
    """One run of a study: its clock, its display, its folder's log."""

    folder: Folder
    limit: float | None
    started: float
    quiet: bool

    def __enter__(self) -> "Clocked":
        self.clock = Clock(self.folder, self.started)
        self.display = Display(self.folder.log, self.limit, self.clock.now, self.quiet).__enter__()
        self.clock.begin()
        return self

    def __exit__(self, kind: Any, fault: Any, trace: Any) -> None:
        self.display.__exit__(kind, fault, trace)
        with machine_faults():
            self.clock.end(counts=not isinstance(fault, UserError))  # what is refused uses up no time of the study


def _run(folder: Folder, run: Clocked, extended: bool = False, forecast: Forecast | None = None) -> None:
    """Go through the stages that are not done yet."""
    mend(folder)
    context = open_context(folder)
    task = context.target.task
    run.display.facts = lambda: rows(context.study.get_trials(deepcopy=False), read_json(folder.state), task)
    run.display.scored = context.target.scored
    say = _sayer(context, run)
    if context.state("finished") and not extended:
        log.info("this study is finished; autossl resume %s --time-limit +1h extends it", folder.root)
        if context.state("stage") != "done":  # it was killed while its report was written
            _report(context, say)
        return
    requeue_lost(context.study, everything=True)
    warm_up(everything=False)
    if dims_of(context.config.backbone) == 3:
        trilinear.warm_up()
    _plan(context, run, say, extended, forecast)
    _search(context, run, say)
    if not any(e.state == "scored" for e in _entries(context)):
        write_report(folder, folder.report)
        raise none_scored(context)
    steps = Steps(context, run.clock.now, say, run.display.tick)
    if isinstance(context.target, Judged):
        Finish(steps).run()
    else:
        end_unverified(steps)
    _report(context, say)


def _report(context: Context, say: Callable[[str], None]) -> None:
    folder = context.folder
    say("writing the report")
    write_report(folder, folder.report)
    if used := spent((read_json(folder.clock) or {})["runs"], context.config.gpus):
        log.info("used so far: %s", used)
    say("done")


def _sayer(context: Context, run: Clocked) -> Callable[[str], None]:
    def say(stage: str) -> None:
        run.display.say(stage)
        begun = {"stage": stage, "at": round(run.clock.now(), 1)}
        context.remember(stage=stage, stages=[*(context.state("stages") or ()), begun])
        run.clock.stamp()

    return say


def _plan(
    context: Context, run: Clocked, say: Callable[[str], None], extended: bool, forecast: Forecast | None = None
) -> None:
    """Score the baselines that need no training, measure costs, and plan the time; each once per study."""
    if context.state("baselines") is None or (context.state("costs") is None and context.state("starts") is None):
        say("looking at the encoders to start from" if context.config.given else "scoring the untrained encoder")
        found = look(context, run.limit, None if forecast is None else forecast.spare(run.limit, run.clock.now()))
        context.remember(**{**found, "starts": context.state("starts") or found["starts"]})  # of what is repeated
    if context.state("costs") is None:
        say("measuring what things cost here")
        context.remember(**begun(context, run.limit, run.clock.now(), forecast))
    if context.state("detectable") is None:
        context.remember(detectable=_detectable(context))
    if context.state("tolerance") is None and context.state("plan") is None:
        say("asking what the labels tolerate")
        spare = None if forecast is None else forecast.spare(run.limit, run.clock.now())
        context.remember(tolerance=harm_test(context, within(run.limit, spare)).to_dict())
    try:
        plan = _planned(context, run, extended)
        if forecast is not None:
            plan = replace(plan, planned_away=(*forecast.planned_away, *plan.planned_away))
    except UserError as refusal:
        if context.state("plan") is None:
            context.remember(stage=f"refused: {refusal}")  # said by status and report where the folder stays
        raise
    context.remember(plan=plan.to_dict(), planned=plan.words(run.clock.now()))
    if extended:  # now that the plan has accepted it
        write_config(context.folder.config, replace(context.config, time_limit=run.limit))
    _tell_plan(context, plan, run.clock.now())


def _planned(context: Context, run: Clocked, extended: bool) -> Plan:
    """The plan of this run; UserError where its time limit is too short."""
    limit, now = run.limit, run.clock.now()
    wanted = needed(context, Costs(**context.state("costs")))
    if context.state("plan") is None:
        return make_untimed_plan(wanted) if limit is None else make_plan(limit, now, wanted, or_smaller(context.config))
    if not extended:
        plan = context.plan
        ensure_time(plan, now, still_needed(context))
        return plan
    plan = extend(context.plan, limit, now, wanted, answered=enough(_entries(context), context.plan))
    context.remember(finished=False, extended_after_test=bool(context.state("tests")), **NOT_YET)
    return plan


def _detectable(context: Context) -> float | None:
    """What difference the labelled patients of the test part can show at all, in the study's metric."""
    rows = context.rows(TEST, labelled=True)
    found = context.target.detectable(context.truth(rows), context.groups(rows))
    if found is None:
        return None
    unit = "images" if context.data.dims == 2 else "volumes"
    log.info("%s", verdict.detectable(len(rows), unit, found, context.target.measure))
    return round(found, 4)


def _tell_plan(context: Context, plan: Plan, now: float) -> None:
    rungs = ", ".join(f"{images:,}" for images in plan.rungs)
    until = "no time limit" if plan.search_until is None else f"search until {in_words(plan.search_until)}"
    log.info("plan: rungs at %s images; %s; first %s", rungs, until, ", ".join(plan.methods))
    if told := plan.words(now):
        log.info("plan: %s", told)
    for each in context.config.given:
        log.info("plan: the licence of %s: %s", one_line(each["name"]), one_line(each.get("licence", "not known")))
    if context.begins.given:
        told = one_line(context.begins.words(context.config.image_size))
        log.info("plan: candidates start from %s, training on the labels alone from scratch", told)
    for sentence in (*plan.planned_away, context.tolerance.words()):
        log.info("plan: %s", sentence)
    if caution := noisy(len(context.scored_rows)):
        log.info("plan: %s", caution)
    study = context.study
    facts = {
        "1 dataset": context.data.name,
        "2 target": context.config.task,
        "3 backbone": context.config.backbone,
    }
    for name, value in facts.items():
        if study.user_attrs.get(name) != value:
            study.set_user_attr(name, value)


def _search(context: Context, run: Clocked, say: Callable[[str], None]) -> None:
    if search_left(_entries(context), context.plan, run.clock.now()) == 0:
        return
    say("searching")
    if context.config.workers > 1:
        run_workers(context, context.config.workers, run.clock.now, run.display.tick)
        return
    Worker(context, now=run.clock.now, stopped=context.folder.stop.exists, tick=run.display.tick).work()


def _entries(context: Context) -> list[Entry]:
    return entries(context.study.get_trials(deepcopy=False))
