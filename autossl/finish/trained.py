"""Arms that are trained on labels: from scratch, or from an encoder and its probe."""

from collections.abc import Callable

from autossl.finish.arms import Arm
from autossl.finish.baselines import Effort, Fitted
from autossl.finish.fits import Fits
from autossl.finish.folds import Folds
from autossl.nn.encoder import Encoder
from autossl.proxies import Outcomes
from autossl.train.resumable import Terms
from autossl.trials.context import Context


def trained(
    context: Context, name: str, start: Callable[[], Encoder], folds: Folds, terms: Terms, probed: bool
) -> Arm | None:
    """Encoders that `start` makes and a readout, both trained on labels; `probed`: from the probe on the frozen one.

    After a kill no fit is repeated that was whole. None where not one fit was: what was cut short would flatter what
    it is compared with.
    """
    fits = Fits(context, start, folds, terms, probed)
    count = fits.affordable()
    if not count:
        return _made(name, fits.last(0), fits, 0)
    tried = fits.compared(count)
    if not tried:
        return None
    best = max(tried, key=lambda number: tried[number].outcomes.worth(context.target.metric))
    others = [fits.judged(best, fold) for fold in folds.judged[1:]]
    raw = [found.raw for found in (tried[best], *others) if found is not None]
    # where time is over or a stop came, the network of the first fold stands, fitted to fewer labels
    final = fits.last(best) or tried[best].fitted
    outcomes = folds.outcomes(iter(raw)) if len(raw) == len(folds.judged) else None
    return _made(name, final, fits, best, outcomes, len(tried))


def _made(
    name: str, final: Fitted | None, fits: Fits, number: int, outcomes: Outcomes | None = None, tried: int = 0
) -> Arm | None:
    if final is None:
        return None
    lr, crop, jitter = fits.settings[number]
    settings = {"lr": lr, "crop_min": crop, "jitter": jitter, "tried": tried}
    effort = Effort(settings, round(fits.spent, 2), final.passes, fits.images)
    return Arm(name, final.encoder, final.head, outcomes, effort)
