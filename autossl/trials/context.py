"""What every worker of a study shares, opened from the study folder alone."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from numpy.typing import NDArray

from autossl.data import PROBE, SELECTION, TEST, Data
from autossl.data import load as load_data
from autossl.data.truth import Truth
from autossl.errors import UserError
from autossl.model.card import Preprocessing
from autossl.nn.encoder import Encoder, Features, channels_last, check_device, dims_of
from autossl.nn.sight import PLAIN, Sight, looked
from autossl.nn.weights import load_weights
from autossl.proxies import Outcomes
from autossl.record.config import StudyConfig, read_config
from autossl.record.folder import Folder, change_json, read_json
from autossl.record.journal import open_study
from autossl.targets import Judged, Readout, Score, Seen, Target, target_class
from autossl.train.loop import settle_norms
from autossl.train.pool import Pool, at_a_time
from autossl.trials.plan import Plan
from autossl.trials.space import Space, at_jitter, read_space, served, shipped_spaces
from autossl.views.images import Views
from autossl.views.presets import Preset, preset
from autossl.views.volumes import views_for

SCORED = 2048  # labelled images that the aligned score looks at; more buy little and cost an embedding each
FEW_PATIENTS = 10  # of a class: they are all among those, for its score stands on each of them
EMBED_BATCH = 512
LIMITS: tuple[str, ...] = (
    "One training seed stands behind these weights unless replicates are listed.",
    "Found for the data set named here; other scanners, stains or populations need a new evaluation.",
    "For research; not a medical device.",
)
STARTED = (
    "What the given weights were trained on is not known here; if images of the test part were, its scores flatter."
)


@dataclass
class Context:
    """A study that is open: its settings, its data, its Optuna study."""

    folder: Folder
    config: StudyConfig
    data: Data
    device: torch.device

    @cached_property
    def study(self) -> optuna.Study:
        return open_study(self.folder, self.config.study_name)

    @cached_property
    def target(self) -> Target:
        return target_class(self.config.task)(self.data.truth.about, self.config.metric)

    @property
    def judged(self) -> Judged:
        """The target of a study whose steps are those with labels."""
        assert isinstance(self.target, Judged), f"the target {self.target.task} has no labels"
        return self.target

    @cached_property
    def space(self) -> Space:
        """The search space without what this data set cannot serve; a shipped one begins at the modality's jitter."""
        name = self.config.space
        whole, _ = served(read_space(name), frozenset(self.config.lacks))
        if name == "auto" or name in shipped_spaces():
            whole = at_jitter(whole, self.preset.first_jitter)
        return {name: table for name, table in whole.items() if name in self.config.methods}

    @cached_property
    def preset(self) -> Preset:
        return preset(self.config.modality, self.channels)

    @property
    def channels(self) -> int:
        return int(self.data.images.shape[-1])

    @property
    def seed(self) -> int:
        return self.config.seed

    @cached_property
    def plan(self) -> Plan:
        stored = self.state("plan")
        assert stored is not None, "no plan yet"
        return Plan.from_dict(stored)

    def state(self, key: str) -> Any:
        """What the controller wrote down under this name, or None."""
        return (read_json(self.folder.state) or {}).get(key)

    def remember(self, **values: Any) -> None:
        """Write results of the controller down, so that a resumed run need not repeat them."""
        change_json(self.folder.state, lambda _: values)
        if "plan" in values:
            self.__dict__.pop("plan", None)

    def new_encoder(self, seed: int) -> Encoder:
        """An untrained encoder of the study's architecture; the same seed gives the same weights."""
        return new_encoder(self.config, self.channels, self.device, seed, self.folder.config)

    @property
    def starts_from_weights(self) -> bool:
        """Whether candidates start from the user's weights."""
        return self.config.start == "weights"

    def new_candidate(self, seed: int) -> Encoder:
        """The encoder of a candidate before its first step: an untrained one, or with the user's weights."""
        encoder = self.new_encoder(seed)
        return self.given(encoder) if self.starts_from_weights else encoder

    def given(self, encoder: Encoder) -> Encoder:
        """This encoder with the user's weights, from their copy in the study folder."""
        return load_weights(encoder, str(self.folder.weights))

    def groups(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Patients of these images (duplicates share one); without ids each image is its own."""
        return self.data.groups[rows]

    @property
    def unit(self) -> str:
        """The word for what `groups` are."""
        return self.data.unit

    def truth(self, rows: NDArray[np.int64]) -> Truth:
        """What is known of these images."""
        return self.data.truth[rows]

    @property
    def preprocessing(self) -> Preprocessing:
        """From stored pixels to the encoder's input."""
        data, size = self.data, self.config.image_size
        window, floats, depth = data.record["window"], data.record["floats"], data.images.dtype.name
        return Preprocessing(size, data.scale, data.mean, data.std, data.dims, window, depth, floats)

    def card_facts(self, result: Mapping[str, Any], given: bool | None = None) -> dict[str, Any]:
        """What a model card and metrics.json say of a result; `given`: it began with the user's weights.

        None: so did candidates, where they do in this study; a baseline has started from random ones.
        """
        given = self.starts_from_weights and "candidate" in result if given is None else given
        record = self.data.record
        limits, start = list(LIMITS), {"weights": "random"}
        if given:
            limits.append(STARTED)
            start = {"weights": Path(str(self.config.weights)).name, "sha256": str(self.config.weights_sha256)}
            if self.config.weights_licence:
                start["licence"] = self.config.weights_licence
        return {
            **result,
            "start": start,
            "data": {"name": self.data.name, "fingerprint": record["fingerprint"], "notes": list(self.data.notes)},
            "seeds": {"study": self.seed},
            "limits": limits,
        }

    def rows(self, *parts: int, labelled: bool = False) -> NDArray[np.int64]:
        """Which images are in these parts."""
        return self.data.rows(*parts, labelled=labelled)

    def pool(self, rows: NDArray[np.int64]) -> Pool:
        """These images as batches, with their patients.

        Without ids an image is its own patient, so that it is no negative of itself; exact duplicates share one.
        """
        return Pool(self.data.images, rows, self.data.scale, self.device, **self.data.columns)

    @cached_property
    def probe_pool(self) -> Pool:
        """What the search pretrains on."""
        return self.pool(self.rows(PROBE))

    @cached_property
    def final_pool(self) -> Pool:
        """What the final training may see: every image outside the test part."""
        return self.pool(self.rows(PROBE, SELECTION))

    @cached_property
    def scored_rows(self) -> NDArray[np.int64]:
        """The images that are scored, labelled ones where labels are looked at: whole patients, drawn once for all.

        Of rare classes all.
        """
        rows = self.rows(PROBE, labelled=self.data.truth.looked_at)
        if len(rows) <= SCORED:
            return rows
        groups = self.data.groups[rows]
        _, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        drawn = np.random.default_rng([self.seed, 7]).permutation(len(sizes))
        held = np.zeros((len(sizes), len(self.data.truth.names)), bool)
        held[inverse, self.data.truth.strata[rows]] = True
        rare = np.asarray(held[:, held.sum(0) <= FEW_PATIENTS].any(axis=1))
        drawn = np.concatenate([drawn[rare[drawn]], drawn[~rare[drawn]]])
        before = np.cumsum(sizes[drawn]) - sizes[drawn]
        return rows[np.isin(inverse, drawn[before < SCORED])]

    @cached_property
    def plain(self) -> Views:
        """Views that are used to standardise only."""
        return views_for(dims_of(self.config.backbone))(self.preset, self.data.mean, self.data.std)

    def see(self, encoder: Encoder, rows: NDArray[np.int64]) -> Seen:
        """These images as an encoder sees them."""
        look, pass_over = partial(self.embed, encoder, rows), partial(self._passed_over, encoder, rows)
        return Seen(len(rows), encoder.dim, look, pass_over)

    def embed(self, encoder: Encoder, rows: NDArray[np.int64], sight: Sight = PLAIN) -> NDArray[np.float32]:
        """What a readout with this sight is given of these images (n, width)."""
        encoder.eval()
        with torch.inference_mode():
            batches = (images for _, images in self._batches(rows, np.arange(len(rows))))
            return np.concatenate([looked(encoder, images, sight).float().cpu().numpy() for images in batches])

    def _passed_over(
        self, encoder: Encoder, rows: NDArray[np.int64], at: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], Features]]:
        encoder.eval()
        with torch.inference_mode():
            for taken, images in self._batches(rows, at):
                yield taken, encoder.features(images)

    def _batches(
        self, rows: NDArray[np.int64], at: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], torch.Tensor]]:
        """Standardised images of the rows at these places, and the places."""
        pool, size = self.pool(rows), at_a_time(self.data.images, EMBED_BATCH)
        for first in range(0, len(at), size):
            taken = at[first : first + size]
            yield taken, self.plain.standardise(pool.images_at(taken))

    def outcomes(self, seen: Seen, readout: Readout, rows: NDArray[np.int64]) -> Outcomes:
        """What a readout's answers to these images, as its encoder sees them, come to."""
        return self.judged.judge(readout.answers(seen.at(readout.sight)), self.truth(rows))

    def averaged(self, weights: Mapping[str, torch.Tensor], pool: Pool | None = None) -> Encoder:
        """An encoder with averaged weights, its batch norms settled on the pool."""
        encoder = self.new_encoder(0)
        encoder.low_precision = False  # what is scored and exported is settled in fp32
        encoder.load_state_dict(dict(weights))
        settle_norms(encoder, pool or self.probe_pool, self.plain.standardise)
        return encoder

    def score(self, encoder: Encoder) -> Score:
        """The aligned score of an encoder on the probe part."""
        rows = self.scored_rows
        seen = self.see(encoder, rows)
        assert seen.pooled.size, "no image to score"
        started = time.perf_counter()
        score = self.target.score(seen, self.truth(rows), self.groups(rows))
        return replace(score, seconds=time.perf_counter() - started)


def new_encoder(config: StudyConfig, channels: int, device: torch.device, seed: int, where: str | Path = "") -> Encoder:
    """An untrained encoder as the settings of a study, which stand in the file `where`, want it."""
    torch.manual_seed(seed)
    encoder = Encoder(
        config.backbone,
        channels,
        config.image_size,
        model_args=config.model_args,
        upsample=config.upsample,
        where=where,
    )
    encoder.low_precision = config.precision == "bf16"
    channels_last(encoder, encoder.dims)
    return encoder.to(device)


def open_context(folder: Folder, device: str | None = None) -> Context:
    """Open a study from its folder; the images come from its cache."""
    config = read_config(folder.config)
    name = device or config.device
    check_device(name)
    return Context(folder, config, _decoded(folder), torch.device(name))


def _decoded(folder: Folder) -> Data:
    try:
        return load_data(folder.cache)
    except UserError:
        raise
    except Exception as fault:  # of NumPy, zipfile and json, on files that are cut or changed
        raise UserError(
            f"decoded images were wanted, but those in {folder.cache} are damaged ({type(fault).__name__}); "
            "remove that folder and give the same autossl search again"
        ) from None


__all__ = ["PROBE", "SELECTION", "TEST", "Context", "new_encoder", "open_context"]
