"""Settings that every test shares."""

import os
from collections.abc import Iterator
from pathlib import Path

# before NumPy is imported, and for processes that tests start: threads of small products only wait for each other, and
# with two workers on two cores that took more than half of some tests' time
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch
from hypothesis import settings

from autossl.run import given
from tests.processes import BRIEF, SHORT, patched

settings.register_profile("autossl", deadline=None, max_examples=15, derandomize=True)
settings.load_profile("autossl")
SUITABLE = given._suitable
torch.set_num_threads(1)


# files of a minute and more: begun last, one of them would keep one core at work while the other has nothing left
DEAR = (
    "test_kill_in_the_end", "test_kill_and_resume", "test_arms", "test_pretext_contract", "test_proxies_device",
    "test_fits", "test_short_limits", "test_study", "test_segmentation", "test_pretext_learns_generative",
    "test_pretext_learns_joint", "test_methods_smoke", "test_clock_jumps", "test_proxies_chance", "test_security",
    "test_start", "test_pretext_learns_volumes", "test_pretext_learns_contrastive", "test_pretext_volumes",
    "test_encoder_volumes", "test_attack", "test_distilled", "test_data_cells", "test_orphans",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Dear files first."""
    place = {name: number for number, name in enumerate(DEAR)}
    items.sort(key=lambda item: place.get(item.path.stem, len(DEAR)))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Some tests leave torch with two threads; two workers of pytest would then share two cores among four."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def no_weights_unasked() -> Iterator[pytest.MonkeyPatch]:
    """Weights that happen to be installed here would be in every study of a test, and cost seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autossl.run.given._suitable", lambda *_: [])
        yield patch


@pytest.fixture(scope="session", autouse=True)
def labels_asked_briefly() -> Iterator[None]:
    """Few views of each kind, in every study of a test."""
    with pytest.MonkeyPatch.context() as patch:
        patched(BRIEF, patch.setattr)
        yield


@pytest.fixture
def installed_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this test studies that do not say which weights they want take those that are installed here."""
    monkeypatch.setattr("autossl.run.given._suitable", SUITABLE)


SHARED = Path(__file__).parents[1] / ".." / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images that may stand beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("real images (../shared/data) are not here")
    return SHARED.resolve()


@pytest.fixture(scope="module")
def short_runs_on_labels() -> Iterator[None]:
    """Few passes over the labels, as in `tests.processes`."""
    with pytest.MonkeyPatch.context() as patch:
        patched(SHORT, patch.setattr)
        yield
