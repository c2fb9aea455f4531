"""Search spaces: TOML tables whose keys are keyword arguments, checked against the signatures they name."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import optuna

from autossl.errors import UserError
from autossl.errors.keywords import Kind
from autossl.nn.encoder import Encoder
from autossl.pretext import METHODS
from autossl.pretext.base import Pretext
from autossl.record.entries import METHOD
from autossl.record.offered import shipped, shipped_spaces
from autossl.train.loop import Settings
from autossl.train.partial import restrict
from autossl.trials.bounds import keywords, kinds
from autossl.views.presets import Preset
from autossl.views.volumes import views_for

T = TypeVar("T")
VOLUMES_FOR, LEAST_BATCH = 4, 16  # a batch holds a quarter as many volumes: sets are smaller, and each costs more


@dataclass(frozen=True)
class Range:
    """A number between `low` and `high`, on a log scale if `log`; whole if both ends are."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def holds(self, value: object) -> bool:
        """Whether a value may be sampled from this range."""
        number = int if self.whole else int | float
        return isinstance(value, number) and self.low <= value <= self.high


Choice = tuple[Any, ...]


@dataclass(frozen=True)
class MethodSpace:
    """What may vary in one method, what is fixed, and the configurations that are tried first.

    What a configuration does not give is drawn. Where none is given there is one that draws everything.
    """

    searched: dict[str, Range | Choice]
    fixed: dict[str, Any]
    priors: tuple[dict[str, Any], ...]

    def __post_init__(self) -> None:
        if not self.priors:
            object.__setattr__(self, "priors", ({},))


Space = dict[str, MethodSpace]


def read_space(space: str = "auto") -> Space:
    """The search space in a TOML file, or one that comes with AutoSSL by its name; UserError if it is wrong.

    "auto" is "default".
    """
    name = "default" if space == "auto" else space
    if name in shipped_spaces():
        where, text = f"the {name} space", shipped(name)
    else:
        path = Path(space)
        if not path.is_file():
            raise UserError(f"a search space (TOML file) was wanted, found nothing at {space}; give a path or auto")
        where, text = str(path), _bytes(path)
    try:
        tables = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as fault:  # of TOML, of UTF-8, of dates
        raise UserError(f"a search space in TOML was wanted, but {where} cannot be read ({fault}); mend it") from None
    if not tables:
        raise UserError(f"a search space with a table for each method was wanted, found none in {where}; add [simclr]")
    return {name: _method_space(where, name, table) for name, table in tables.items()}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as fault:
        raise UserError(
            f"a search space (TOML file) was wanted, but {path} cannot be read ({fault.strerror}); mend that"
        ) from None


def _method_space(where: str, name: str, table: object) -> MethodSpace:
    if not isinstance(table, dict):
        raise UserError(
            f"a table for each method was wanted, found {name} = {table!r} in {where}; write it below [METHOD]"
        )
    if name not in METHODS:
        raise UserError(f"a method was wanted, found [{name}] in {where}; known methods: {', '.join(METHODS)}")
    allowed = kinds(name)
    unknown = sorted(set(table) - set(allowed) - {"prior"})
    if unknown:
        raise UserError(
            f"keyword arguments of {name} were wanted, found {unknown[0]!r} in [{name}] of {where}; "
            f"it takes {', '.join(sorted(allowed))}"
        )
    searched: dict[str, Range | Choice] = {}
    fixed: dict[str, Any] = {}
    for key, value in table.items():
        if key == "prior":
            continue
        if isinstance(value, dict):
            searched[key] = _range(where, f"{name}.{key}", value, allowed[key])
        elif isinstance(value, list):
            searched[key] = _choice(where, f"{name}.{key}", value, allowed[key])
        else:
            allowed[key].take(f"{name}.{key} =", value, f" in {where}")
            fixed[key] = value
    priors = table.get("prior", [])
    if not isinstance(priors, list) or not all(isinstance(prior, dict) for prior in priors):
        raise UserError(
            f"a list of tables was wanted, found {name}.prior = {priors!r} in {where}; write [{{ lr = 1e-3 }}]"
        )
    for prior in priors:
        _check_prior(where, name, prior, searched)
    return MethodSpace(searched, fixed, tuple(priors))


def _range(where: str, name: str, value: Mapping[str, Any], kind: Kind) -> Range:
    low, high, log = value.get("low"), value.get("high"), value.get("log", False)
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
    ends = numbers and low <= high  # type: ignore[operator]
    if not ends or set(value) - {"low", "high", "log"} or not isinstance(log, bool) or (log and low <= 0):  # type: ignore[operator]
        raise UserError(
            f"a range was wanted (low <= high, above zero with log = true), found {name} = {dict(value)} in {where}; "
            "write { low = 1e-4, high = 1e-2, log = true }"
        )
    for end in (low, high):
        kind.take(f"{name} =", end, f" in {where}")
    return Range(low, high, log)  # type: ignore[arg-type]


def _choice(where: str, name: str, values: list[Any], kind: Kind) -> Choice:
    if not values or not all(isinstance(value, str | int | float) for value in values):
        raise UserError(
            f"a choice between numbers or words was wanted, found {name} = {values} in {where}; write [128, 256]"
        )
    for value in values:
        kind.take(f"{name} =", value, f" in {where}")
    return tuple(values)


def _check_prior(where: str, name: str, prior: Mapping[str, Any], searched: Mapping[str, Range | Choice]) -> None:
    """Optuna takes values outside a range with a warning, so they are refused here."""
    if set(prior) != set(searched):
        odd = sorted(set(prior) ^ set(searched))
        raise UserError(
            f"a prior of [{name}] in {where} must give every searched key and no other; see {', '.join(odd)}"
        )
    for key, value in prior.items():
        kinds(name)[key].take(f"{name}.{key} =", value, f" in a prior of {where}")
        domain = searched[key]
        inside = domain.holds(value) if isinstance(domain, Range) else value in domain
        if not inside:
            raise UserError(
                f"a prior value inside its range was wanted, found {name}.{key} = {value} in {where}; mend it"
            )


def suggest(trial: optuna.Trial | optuna.trial.FixedTrial, space: Space) -> tuple[str, dict[str, Any]]:
    """Draw a method and its searched hyperparameters; fixed ones are added."""
    method = trial.suggest_categorical(METHOD, list(space))
    assert isinstance(method, str)
    drawn: dict[str, Any] = {}
    for key, domain in space[method].searched.items():
        name = f"{method}.{key}"
        if not isinstance(domain, Range):
            drawn[key] = trial.suggest_categorical(name, domain)
        elif domain.whole:
            drawn[key] = trial.suggest_int(name, int(domain.low), int(domain.high), log=domain.log)
        else:
            drawn[key] = trial.suggest_float(name, domain.low, domain.high, log=domain.log)
    return method, {**space[method].fixed, **drawn}


def as_trial(method: str, searched: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters under the names that Optuna stores."""
    return {METHOD: method, **{f"{method}.{key}": value for key, value in searched.items()}}


def build(
    method: str,
    hyperparameters: Mapping[str, Any],
    encoder: Encoder,
    preset: Preset,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> tuple[Pretext, Settings]:
    """The method with its views around an encoder, and how to train it; batch sizes are for images, see VOLUMES_FOR."""
    parts: dict[str, dict[str, Any]] = {
        target: {key: value for key, value in hyperparameters.items() if key in keys}
        for target, keys in keywords(method).items()
    }
    views = views_for(encoder.dims)(preset, mean, std, **parts["views"])
    settings = Settings(**parts["train"])
    restrict(encoder, settings.trained)
    if encoder.dims == 3:
        settings = replace(settings, batch_size=max(LEAST_BATCH, settings.batch_size // VOLUMES_FOR))
    return METHODS[method](encoder, views, **parts["method"]), settings
