"""Float64 runs beside the float32 runs: where they run, and that nothing of them is left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from edgeconv.formats.handler import Array
from edgeconv.signature import DType, Signature, TensorSpec
from edgeconv.validation.samples import Sample, Samples
from edgeconv_converters.torch_export import exact
from edgeconv_converters.torch_export.evaluate import run, run_in_float64
from edgeconv_converters.torch_export.exact import exact_runs
from edgeconv_converters.torch_export.trial import Trial

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

_THREADS: list[int] = []
_MAY_GO_ON = threading.Event()


@torch.library.custom_op("edgeconv_tests::whereabouts", mutates_args=())  # type: ignore[untyped-decorator]
def _whereabouts(x: Tensor) -> Tensor:
    """Takes down which thread runs it in float64; another one than the test's may be kept waiting."""
    if x.dtype == torch.float64:
        _THREADS.append(threading.get_ident())
        if threading.current_thread() is not threading.main_thread():
            _MAY_GO_ON.wait(60)
    return x.clone()


@_whereabouts.register_fake  # type: ignore[untyped-decorator]
def _(x: Tensor) -> Tensor:
    fake: Tensor = torch.empty_like(x)
    return fake


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (_whereabouts(self.mix(x)),)


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    _THREADS.clear()
    _MAY_GO_ON.set()
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def _trial(*, has_program: bool = True) -> Trial:
    torch.manual_seed(0)
    net, x = Net().eval(), torch.randn(2, 6)
    return Trial(
        module=net,
        program=torch.export.export(net, (x,)).module() if has_program else None,
        signature=Signature(
            inputs=(TensorSpec(name="x", dtype=DType.FLOAT32, shape=(2, 6)),), outputs=()
        ),
        output_names=("output",),
        bounded=frozenset(),
        seed=0,
    )


def _run(trial: Trial) -> None:
    x = torch.randn(2, 6)
    trial.run_example((x,), run(trial.module, (x,)), lambda: None)
    trial.run_noise()


def _wait_for(count: int) -> None:
    """Wait until so many runs in float64 began."""
    ended = time.monotonic() + 60
    while len(_THREADS) < count:
        assert time.monotonic() < ended, "nothing runs in float64"
        time.sleep(0.01)


def test_a_case_runs_in_float64_elsewhere_before_anybody_asks() -> None:
    trial = _trial()
    with exact_runs(trial, is_own_process=True) as runs:
        _run(trial)
        _wait_for(3)
        found = list(runs.results())
    assert len(set(_THREADS)) == 1
    assert threading.get_ident() not in _THREADS
    assert {ran.drawn.name for ran, _ in found} == {"example", "noise_0", "noise_1"}
    for ran, outputs in found:
        wanted = run_in_float64(trial.program, trial.module, ran.inputs)
        assert outputs is not None
        assert wanted is not None
        assert torch.equal(outputs[0], wanted[0])


@pytest.mark.parametrize("why", ["one thread", "no program", "a large weight", "a large value"])
def test_what_may_not_run_beside_waits_until_it_is_asked_for(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = _trial(has_program=why != "no program")
    if why == "one thread":
        torch.set_num_threads(1)
    if why == "a large weight":
        monkeypatch.setattr(exact, "_MOST_BYTES_SIDE_BY_SIDE", 4 * 6 * 4 - 1)
    if why == "a large value":
        monkeypatch.setattr(exact, "_MOST_VALUE_BYTES_SIDE_BY_SIDE", 2 * 6 * 4 - 1)
    with exact_runs(trial, is_own_process=True) as runs:
        _run(trial)
        assert _THREADS == []
        found = list(runs.results())
    assert all(outputs is not None for _, outputs in found)
    assert set(_THREADS) == {threading.get_ident()}


def test_who_asks_takes_a_share() -> None:
    trial = _trial()
    _MAY_GO_ON.clear()
    with exact_runs(trial, is_own_process=True) as runs:
        _run(trial)
        _wait_for(1)
        results = runs.results()
        mine = [next(results), next(results)]
        _MAY_GO_ON.set()
        (other,) = results
    assert [ran.drawn.name for ran, _ in (*mine, other)] == ["noise_1", "noise_0", "example"]
    assert _THREADS.count(threading.get_ident()) == 2


def test_samples_beyond_the_first_do_not_run_in_float64() -> None:
    trial = _trial()
    inputs: list[dict[str, Array]] = [
        {"x": np.full((2, 6), number, np.float32)} for number in range(3)
    ]
    with exact_runs(trial, is_own_process=True) as runs:
        _run(trial)
        trial.run_samples(Samples(items=tuple(Sample(inputs=i, sizes={}) for i in inputs)))
        names = {ran.drawn.name for ran, _ in runs.results()}
    assert names == {"example", "noise_0", "noise_1", "sample_0"}


def _break_off(trial: Trial) -> None:
    with exact_runs(trial, is_own_process=True):
        _run(trial)
        _wait_for(1)
        threading.Timer(0.5, _MAY_GO_ON.set).start()
        raise KeyError


def test_an_error_ends_what_has_not_begun() -> None:
    trial = _trial()
    _MAY_GO_ON.clear()
    with pytest.raises(KeyError):
        _break_off(trial)
    assert len(_THREADS) == 1
