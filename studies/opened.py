"""A data set opened as a study whose methods can be trained and scored one by one, without a search."""

import inspect
from pathlib import Path
from typing import Any

import torch

from autossl.data import prepare
from autossl.nn.encoder import Encoder
from autossl.pretext import METHODS
from autossl.record.config import write_config
from autossl.record.folder import Folder, write_json
from autossl.run.asked import Asked, check
from autossl.run.opening import opened as source_of
from autossl.run.settings import resolve
from autossl.trials.context import Context, open_context
from autossl.trials.costs import Costs
from autossl.trials.plan import make_untimed_plan
from autossl.trials.sizing import Method, Needs

Settings = dict[str, Any]


def opened(data: str, root: Path, *rungs: int, **settings: Any) -> Context:
    """The data set with these rungs (images seen), one or more; `settings` are those of `autossl.search`."""
    asked = Asked(**{"time_limit": None, "max_candidates": 1, "workers": 1, "weights": "none", **settings})
    check(asked)
    source = source_of(data, asked, None, None)
    config = resolve(asked, source, data=Path(data).name)
    folder = Folder(root)
    folder.make()
    found = prepare(source, folder.cache, image_size=config.image_size, max_labels=asked.max_labels, seed=asked.seed)
    write_json(folder.data, found.record)
    write_config(folder.config, config)
    context = open_context(folder)
    methods = tuple(Method(name, METHODS[name].paradigm, 1, METHODS[name].passes) for name in config.methods)
    needs = Needs(Costs(), methods, len(context.probe_pool), len(found.images), 0, max_candidates=1)
    context.remember(plan=make_untimed_plan(needs, rungs).to_dict())
    return context


def facts(context: Context) -> Settings:
    """What rows that belong to one table have in common."""
    kept = ("data", "modality", "backbone", "image_size", "precision", "device", "max_labels", "seed")
    known = {name: context.config.options[name] for name in kept}
    return {**known, "fingerprint": context.data.record["fingerprint"][:16], "threads": torch.get_num_threads()}


def first_prior(context: Context, method: str) -> Settings:
    """The hyperparameters with which a search begins; what the space leaves open is as in the method's signature."""
    table = context.space[method]
    signature = inspect.signature(METHODS[method].__init__).parameters
    own = {name: p.default for name, p in signature.items() if p.default is not inspect.Parameter.empty}
    return {**own, **table.fixed, **table.priors[0]}


def shown(encoder: Encoder) -> list[float]:
    """A list that takes in how many whole images' worth of pixels the encoder is shown, call by call."""
    found: list[float] = []

    def count(layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        x = inputs[0]
        found.append(x.shape[0] * x.shape[2:].numel() / encoder.image_size ** (x.ndim - 2))

    encoder.intake.register_forward_pre_hook(count)  # pooled embeddings and pyramids both begin there
    return found
