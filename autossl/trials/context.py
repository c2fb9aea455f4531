"""What every worker of a study shares, opened from the study folder alone."""

import copy
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import optuna
import torch
from numpy.typing import NDArray

from autossl.data import PROBE, SELECTION, TEST, Data
from autossl.data import load as load_data
from autossl.data.truth import Truth
from autossl.errors import UserError
from autossl.model.card import LIMITS, STARTED, Preprocessing
from autossl.nn.encoder import Encoder, check_device, dims_of
from autossl.nn.sight import PLAIN, Maps, Sight, looked, mapped
from autossl.nn.weights import load_weights
from autossl.proxies import Outcomes
from autossl.record.config import StudyConfig, read_config
from autossl.record.folder import Folder, change_json, read_json
from autossl.record.journal import open_study
from autossl.targets import Judged, Readout, Score, Seen, Target, target_class
from autossl.train.loop import Run, settle_norms
from autossl.train.partial import whole
from autossl.train.pool import Pool, at_a_time
from autossl.trials.fitted import fitted
from autossl.trials.plan import Plan
from autossl.trials.space import Space
from autossl.trials.starts import RANDOM, Start, at_random, new_encoder, plainest, rescaled
from autossl.trials.tolerance import Tolerance
from autossl.views.images import Views
from autossl.views.presets import Preset, preset
from autossl.views.volumes import views_for

SCORED = 2048  # labelled images that the aligned score looks at; more buy little and cost an embedding each
FEW_PATIENTS = 10  # of a class: they are all among those, for its score stands on each of them
EMBED_BATCH = 512


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
        """The search space without what this data set cannot serve; a shipped one suits modality and start."""
        return fitted(self.config, self.preset, self.begins, self.tolerance)

    @cached_property
    def preset(self) -> Preset:
        return self.tolerance.allowed(preset(self.config.modality, self.channels))

    @cached_property
    def tolerance(self) -> Tolerance:
        return Tolerance.from_dict(self.state("tolerance") or {})

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
        for name in ("plan", "space", "tolerance", "preset"):  # they follow from what is written down
            self.__dict__.pop(name, None)

    def new_encoder(self, seed: int) -> Encoder:
        """An untrained encoder of the study's architecture; the same seed gives the same weights."""
        return self.encoder(at_random(self.config), seed)

    def encoder(self, start: Start, seed: int) -> Encoder:
        """One that starts so; given weights are read from their copy in the study folder."""
        encoder = new_encoder(self.config, self.channels, self.device, seed, start, self.folder.config)
        encoder.rescale(start.rescaled(self.data.mean, self.data.std))
        return encoder if start.place is None else load_weights(encoder, str(self.folder.weights(start.place)))

    @property
    def given(self) -> Start | None:
        """The given weights that suit the data best, fed in the way that suits best; None without any."""
        return self._start("given")

    @property
    def trains(self) -> Start | None:
        """The same weights as they are trained, with labels or without: perhaps on smaller images, which is faster."""
        return self._start("trains") or self.given

    @property
    def begins(self) -> Start:
        """What candidates start from."""
        config, known, given = self.config, self.state("starts"), self.trains
        begins = config.start == "weights" if known is None else known["begins"]
        return given if given is not None and begins else at_random(config)

    def _start(self, name: str) -> Start | None:
        known = self.state("starts")
        if known is None:  # of a study in which they were not looked at
            return plainest(self.config, 0) if self.config.given else None
        return Start.from_dict(known[name]) if known.get(name) else None

    def new_candidate(self, seed: int) -> Encoder:
        """The encoder of a candidate before its first step."""
        return self.encoder(self.begins, seed)

    def groups(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Patients of these images (duplicates share one); without ids each image is its own."""
        return self.data.groups[rows]

    def truth(self, rows: NDArray[np.int64]) -> Truth:
        """What is known of these images."""
        return self.data.truth[rows]

    def preprocessing(self, encoder: Encoder) -> Preprocessing:
        """From stored pixels to what the backbone of this encoder takes, but for its enlargement."""
        data, size = self.data, self.config.image_size
        window, floats, depth = data.record["window"], data.record["floats"], data.images.dtype.name
        mean, std = rescaled(data.mean, data.std, encoder.rescaled)
        return Preprocessing(size, data.scale, mean, std, data.dims, window, depth, floats, data.truth.cropped)

    def card_facts(self, result: Mapping[str, Any], start: Start | None = None) -> dict[str, Any]:
        """What a model card and metrics.json say of a result; `start`: what its network began with.

        None: what candidates did; a baseline has started from random weights.
        """
        if start is None:
            start = self.begins if "candidate" in result else at_random(self.config)
        record = self.data.record
        limits, began = list(LIMITS), {"weights": RANDOM}
        if start.place is not None:
            limits.append(STARTED)
            began = {"weights": start.words(self.config.image_size), "sha256": self.config.weights_sha256[start.place]}
            began |= {"licence": licence} if (licence := self.config.given[start.place].get("licence")) else {}
        return {
            **result,
            "start": began,
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
        data = self.data
        return Pool(data.images, rows, data.scale, self.device, places=data.places, **data.columns)

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
        return Seen(
            len(rows), encoder.dim, partial(self.embed, encoder, rows), partial(self._passed_over, encoder, rows)
        )

    def embed(self, encoder: Encoder, rows: NDArray[np.int64], sight: Sight = PLAIN) -> NDArray[np.float32]:
        """What a readout with this sight is given of these images (n, width)."""
        encoder.eval()
        with torch.inference_mode():
            batches = (images for _, images in self._batches(encoder, rows, np.arange(len(rows))))
            return np.concatenate([looked(encoder, images, sight).float().cpu().numpy() for images in batches])

    def _passed_over(
        self, encoder: Encoder, rows: NDArray[np.int64], at: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], Maps]]:
        encoder.eval()
        with torch.inference_mode():
            for taken, images in self._batches(encoder, rows, at):
                yield taken, mapped(encoder, images)

    def _batches(
        self, encoder: Encoder, rows: NDArray[np.int64], at: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], torch.Tensor]]:
        """Standardised images of the rows at these places, and the places."""
        pool, size = self.pool(rows), at_a_time(self.data.images, EMBED_BATCH, encoder.upsample)
        for first in range(0, len(at), size):
            taken = at[first : first + size]
            yield taken, self.plain.standardise(pool.images_at(taken))

    def outcomes(self, seen: Seen, readout: Readout, rows: NDArray[np.int64]) -> Outcomes:
        """What a readout's answers to these images, as its encoder sees them, come to."""
        return self.judged.judge(seen.answers(readout), self.truth(rows), self.groups(rows))

    def averaged(self, run: Run, pool: Pool | None = None) -> Encoder:
        """The encoder of a run with averaged weights, its batch norms settled on the pool, adapters merged."""
        encoder = copy.deepcopy(run.method.encoder)
        encoder.load_state_dict(run.average)
        settle_norms(encoder, pool or self.probe_pool, self.plain.standardise)
        return whole(encoder)

    def score(self, encoder: Encoder) -> Score:
        """The aligned score of an encoder on the probe part."""
        rows = self.scored_rows
        seen = self.see(encoder, rows)
        assert seen.pooled.size, "no image to score"
        started = time.perf_counter()
        score = self.target.score(seen, self.truth(rows), self.groups(rows))
        return replace(score, seconds=time.perf_counter() - started)


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


__all__ = ["PROBE", "SELECTION", "TEST", "Context", "open_context"]
