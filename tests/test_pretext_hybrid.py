"""The hybrid: sizes fixed after the warm-up, weights, any pair of methods, and what its parts share."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from autossl.errors import UserError
from autossl.pretext import METHODS
from autossl.pretext.batch import Batch
from autossl.pretext.hybrid import SMALLEST, WARMUP, Hybrid
from autossl.trials.fitted import served
from autossl.trials.space import read_space
from autossl.views.images import Views
from autossl.views.presets import preset
from tests.pretext_toys import encoder, fitting, still, uniform

IMAGE = torch.zeros(1, 1, 16, 16)


class Part(torch.nn.Module):
    """A part of a hybrid whose loss is as set, with a gradient of one."""

    value: float = 1.0
    accuracy: Tensor | None = None
    generator = torch.Generator()

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def loss(self, batch: Batch) -> Tensor:
        return self.weight + self.value


def hybrid(weight: float = 0.25) -> tuple[Hybrid, Part, Part]:
    method = Hybrid(encoder(), still(), weight=weight)
    one, other = Part(), Part()
    method.first, method.second = one, other  # type: ignore[assignment]
    return method, one, other


def test_a_hybrid_divides_by_the_mean_of_the_warm_up_and_then_no_more() -> None:
    method, one, other = hybrid()
    for step in range(WARMUP):
        one.value, other.value = 4.0 + step, 100.0
        method.loss(Batch(IMAGE))
    size = 4.0 + (WARMUP - 1) / 2
    for one.value, other.value in ((size, 100.0), (1.0, 50.0), (1e4, 0.0)):
        expected = 0.75 * one.value / size + 0.25 * other.value / 100
        assert float(method.loss(Batch(IMAGE)).detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("steps", [5, WARMUP])
def test_the_sizes_survive_a_checkpoint(steps: int) -> None:
    method, one, other = hybrid()
    for step in range(steps):
        one.value, other.value = 4.0 + step, 100.0
        method.loss(Batch(IMAGE))
    again, same, likewise = hybrid()
    again.load_state_dict(copy.deepcopy(method.state_dict()))
    for value in (1.0, 7.0):
        one.value = same.value = other.value = likewise.value = value
        assert torch.equal(again.loss(Batch(IMAGE)), method.loss(Batch(IMAGE)))


def test_a_part_of_a_hybrid_that_goes_to_zero_does_not_blow_up() -> None:
    """With a running size the gradient of a loss L would be 1 / L."""
    method, one, other = hybrid()
    one.value, other.value = 2.0, 5.0
    for _ in range(WARMUP):
        method.loss(Batch(IMAGE))
    for other.value in (1.0, 1e-3, 1e-9, 0.0):
        method.zero_grad()
        method.loss(Batch(IMAGE)).backward()  # type: ignore[no-untyped-call]
        assert other.weight.grad is not None
        assert float(other.weight.grad) == pytest.approx(0.25 / 5.0)


def test_a_loss_that_begins_at_zero_or_below_keeps_its_sign_and_a_bounded_gradient() -> None:
    method, one, other = hybrid()
    one.value, other.value = -2.0, 0.0
    for _ in range(WARMUP):
        method.zero_grad()
        method.loss(Batch(IMAGE)).backward()  # type: ignore[no-untyped-call]
    assert one.weight.grad is not None
    assert other.weight.grad is not None
    assert float(one.weight.grad) == pytest.approx(0.75 / 2.0)
    assert float(other.weight.grad) == pytest.approx(0.25 / SMALLEST)


def test_a_hybrid_of_weight_zero_or_one_is_one_of_its_parts() -> None:
    x = uniform(6, 1, 16, 16)
    for weight, silent in ((0.0, "second"), (1.0, "first")):
        method = Hybrid(encoder(), Views(preset("grey", 1), (0.5,), (0.25,)), weight=weight)
        method.loss(Batch(x)).backward()  # type: ignore[no-untyped-call]
        grads = [p.grad for p in getattr(method, silent).parameters() if p.grad is not None]
        assert all(not g.any() for g in grads)


@pytest.mark.parametrize("wrong", [{"weight": 1.5}, {"first": "hybrid"}, {"second": "simclear"}])
def test_a_hybrid_of_unknown_parts_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="was wanted"):
        Hybrid(encoder(), still(), **wrong)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "hybrid"])
def test_any_method_can_be_a_part_and_holds_the_encoder_no_second_time(name: str) -> None:
    channels = 3 if "colour" in METHODS[name].needs else 1
    network = fitting(name, channels, 16)
    method = Hybrid(network, still(channels, network.dims), first=name, second="rotation", weight=0.5)
    method.population = 40
    batch = Batch(uniform(6, channels, *network.size), torch.arange(6) // 2, torch.rand(6))
    method.loss(batch).backward()  # type: ignore[no-untyped-call]
    method.after_step(0.1)
    assert method.first.encoder is method.encoder
    assert method.first.population == 40
    assert method.paired == method.first.paired
    stem = next(method.encoder.parameters())
    assert sum(p is stem for _, p in method.named_parameters(remove_duplicate=False)) == 1
    assert not any(key.startswith(("first.encoder.", "second.encoder.")) for key in method.state_dict())


def test_parts_draw_one_after_the_other_from_one_generator() -> None:
    method = Hybrid(encoder(), Views(preset("grey", 1), (0.5,), (0.25,)), first="vicreg", second="denoising")
    x = uniform(6, 1, 16, 16)
    method.generator.manual_seed(3)
    one, other = method.first.generator, method.second.generator
    method.loss(Batch(x))
    assert method.first.generator is method.second.generator is method.generator
    assert one is not method.generator
    assert other is not method.generator


def test_the_accuracy_is_the_better_one_of_the_parts() -> None:
    method, one, other = hybrid()
    for one.accuracy, other.accuracy, expected in (
        (None, None, None),
        (torch.tensor(0.25), None, 0.25),
        (None, torch.tensor(0.5), 0.5),
        (torch.tensor(1.0), torch.tensor(0.5), 1.0),
    ):
        method.loss(Batch(IMAGE))
        assert expected == (None if method.accuracy is None else float(method.accuracy))
    real = Hybrid(encoder(), still(), second="rotation")
    real.loss(Batch(uniform(8, 1, 16, 16)))
    assert real.first.accuracy is None
    assert real.accuracy is not None
    assert real.accuracy == real.second.accuracy


def test_the_shipped_pairs_need_nothing_that_is_lacking_and_cost_about_what_the_default_does() -> None:
    whole = read_space()
    for lacks in ({"orientation"}, {"colour", "patients"}, set()):
        pairs: dict[str, Any] = dict(served(whole, frozenset(lacks))[0]["hybrid"].searched)
        for key in Hybrid.parts:
            assert all(not METHODS[name].needs & lacks for name in pairs[key])
            assert len(pairs[key]) >= 2
    every: dict[str, Any] = dict(whole["hybrid"].searched)
    costs = [METHODS[one].passes + METHODS[other].passes for one in every["first"] for other in every["second"]]
    assert 0.7 * Hybrid.passes < min(costs)
    assert max(costs) < 1.3 * Hybrid.passes
    assert METHODS["simclr"].passes + METHODS["cnn_mae"].passes == pytest.approx(Hybrid.passes)
