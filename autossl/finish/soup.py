"""The mean of the weights of several fits that began alike, as one network (Wortsman et al. 2022, arXiv 2203.05482)."""

import copy
from collections.abc import Sequence
from typing import Any

import torch

from autossl.finish.baselines import Fitted
from autossl.train.loop import settle_norms
from autossl.trials.context import Context


def soup(context: Context, fits: Sequence[Fitted]) -> Fitted:
    """One network from fits to the same labels; its batch norms are settled anew."""
    encoder = _mean([found.encoder for found in fits])
    settle_norms(encoder, context.final_pool, context.plain.standardise)
    images, seconds = sum(found.images for found in fits), sum(found.seconds for found in fits)
    return Fitted(encoder, _mean([found.head for found in fits]), images, seconds, fits[0].labels)


def _mean(modules: Sequence[Any]) -> Any:
    made = copy.deepcopy(modules[0])
    states = [module.state_dict() for module in modules]
    mean = {
        # in float64, so that the order of the fits changes nothing
        name: torch.stack([state[name].double() for state in states]).mean(0) if value.is_floating_point() else value
        for name, value in states[0].items()
    }
    made.load_state_dict(mean)
    return made
