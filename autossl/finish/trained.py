"""Arms that are trained on labels: from scratch, or from an encoder and its probe; and the mean of their weights."""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from autossl.finish.arms import Arm
from autossl.finish.baselines import Effort, Fitted
from autossl.finish.fits import OWN, PROBE, Fits, OneFold
from autossl.finish.folds import Folds
from autossl.finish.soup import soup
from autossl.model.entrants import SOUPS, TUNED, WEIGHTS_TUNED
from autossl.nn.encoder import Encoder
from autossl.proxies import Outcomes
from autossl.train.resumable import Terms
from autossl.trials.context import Context

Way = int | str  # the number of a setting, or MIXED
MIXED = "soup"
COST = {TUNED: "tuned", WEIGHTS_TUNED: "given"}  # of an image, by arm


def trained(
    context: Context, name: str, start: Callable[[], Encoder], folds: Folds, terms: Terms, probed: bool
) -> list[Arm]:
    """Encoders that `start` makes and a readout, both trained on labels; `probed`: from the probe on the frozen one.

    Where there is time, the mean of the weights of such fits at several settings is an arm too. After a kill no fit is
    repeated that was whole. Empty where not one fit was: what was cut short would flatter what it is compared with.
    """
    fits = Fits(context, start, folds, terms, probed, COST.get(name, "supervised"))
    if not fits.scheme.settings:
        return _made(name, fits.last(0), fits, 0)
    tried = fits.compared()
    if not tried:
        return []
    best = max(tried, key=lambda number: tried[number].outcomes.worth(context.target.metric))
    numbers = [best, *(number for number in tried if number != best)] if fits.scheme.averaged else [best]
    answers = _answers(fits, tried, numbers)
    last = [fits.last(number) for number in numbers]
    # where time is over or a stop came, the network of the first fold stands, fitted to fewer labels
    made = _made(name, last[0] or tried[best].fitted, fits, best, answers, len(tried))
    whole = [found for found in last if found is not None]
    if len(whole) == len(numbers) > 1 and any(way == MIXED for way, _ in answers):
        made += _made(SOUPS[name], soup(context, whole), fits, MIXED, answers, len(whole))
    return made


def _answers(fits: Fits, tried: dict[int, OneFold], numbers: list[int]) -> dict[tuple[Way, str], Outcomes]:
    """What each way comes to on all judged folds, by readout: the settings of these numbers, and their mean."""
    folds, raws = fits.folds, dict[tuple[Way, str], list[NDArray[Any]]]()
    for fold in folds.judged:
        first = fold == folds.judged[0]
        found: dict[Way, OneFold | None] = {n: tried[n] if first else fits.judged(n, fold) for n in numbers}
        whole = [one.fitted for one in found.values() if one is not None]
        if len(whole) == len(numbers) > 1:
            found[MIXED] = fits.on_fold(soup(fits.context, whole), fold)
        for way, one in found.items():
            for readout, raw in ({} if one is None else one.raws).items():
                raws.setdefault((way, readout), []).append(raw)
    outcomes = {key: folds.outcomes(iter(each)) for key, each in raws.items() if len(each) == len(folds.judged)}
    return {key: found for key, found in outcomes.items() if found is not None}


def _made(
    name: str,
    final: Fitted | None,
    fits: Fits,
    way: Way,
    answers: dict[tuple[Way, str], Outcomes] | None = None,
    tried: int = 0,
) -> list[Arm]:
    """The arm of a way with the better of its readouts; none where its last fit was none."""
    if final is None:
        return []
    own = {readout: found for (of, readout), found in (answers or {}).items() if of == way}
    metric = fits.context.target.metric
    readout = max(own, key=lambda key: (own[key].worth(metric), key == OWN), default=OWN)
    head = fits.probe(final, fits.folds.everything) if readout == PROBE else final.head
    settings = {"tried": float(tried)}
    if isinstance(way, int):
        settings |= dict(zip(("lr", "crop_min", "jitter"), fits.settings[way], strict=True))
    effort = Effort(settings, round(fits.spent, 2), final.passes, fits.images, readout)
    return [Arm(name, final.encoder, head, own.get(readout), effort)]
