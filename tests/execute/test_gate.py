from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from edgeconv.execute.gate import Gate
from edgeconv.execute.runner import Lane

A, B, C = (Lane(name=name) for name in "abc")


class Crowd:
    """Threads that go through a gate and note what they see."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.order: list[str] = []
        self.most = 0
        self.inside: list[Lane] = []
        self.clashes = 0
        self._guard = threading.Lock()

    def go(self, name: str, lane: Lane, priority: tuple[bool, float]) -> None:
        self.gate.join()
        with self.gate.turn(lane, priority):
            with self._guard:
                self.order.append(name)
                self.clashes += lane in self.inside
                self.inside.append(lane)
                self.most = max(self.most, len(self.inside))
            threading.Event().wait(0.005)
            with self._guard:
                self.inside.remove(lane)


def send(crowd: Crowd, *people: tuple[str, Lane, tuple[bool, float]]) -> None:
    with ThreadPoolExecutor(len(people)) as threads:
        for future in [threads.submit(crowd.go, *person) for person in people]:
            future.result(timeout=30)


def test_those_expected_go_by_priority_whoever_came_first() -> None:
    crowd = Crowd(Gate(4))
    crowd.gate.expect(4)
    people = [("verify", A, (True, 0.1)), ("long", A, (False, 9.0)), ("short", A, (False, 1.0))]
    send(crowd, *people, ("middle", A, (False, 5.0)))
    assert crowd.order == ["short", "middle", "long", "verify"]


def test_a_lane_does_one_thing_at_a_time_and_jobs_limit_all() -> None:
    crowd = Crowd(Gate(2))
    send(crowd, *[(f"{n}", (A, B, C)[n % 3], (False, 1.0)) for n in range(24)])
    assert crowd.clashes == 0
    assert crowd.most == 2


def test_when_the_run_ends_nobody_waits_for_those_who_never_came() -> None:
    crowd = Crowd(Gate(1))
    crowd.gate.expect(3)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(crowd.go, "first", A, (False, 1.0))
        while not crowd.gate._waiting:
            threading.Event().wait(0.005)
        crowd.gate.give_up()
        second = threads.submit(crowd.go, "second", A, (False, 1.0))
        assert [first.result(timeout=30), second.result(timeout=30)] == [None, None]
    assert sorted(crowd.order) == ["first", "second"]


def test_a_busy_lane_holds_up_no_other() -> None:
    gate = Gate(2)
    done = threading.Event()
    with gate.turn(A, (False, 1.0)):
        waiting = threading.Thread(target=lambda: _pass(gate, (A, (False, 0.0)), threading.Event()))
        waiting.start()
        threading.Thread(target=lambda: _pass(gate, (B, (False, 0.0)), done)).start()
        assert done.wait(timeout=30)
    waiting.join(timeout=30)
    assert not waiting.is_alive()


def _pass(gate: Gate, step: tuple[Lane, tuple[bool, float]], done: threading.Event) -> None:
    with gate.turn(*step):
        done.set()


@pytest.mark.parametrize("step", [(B, (False, 1.0)), (B, (True, 1.0)), (C, (True, 1.0))])
def test_nothing_goes_beside_a_conversion_that_is_to_be_alone(
    step: tuple[Lane, tuple[bool, float]],
) -> None:
    gate = Gate(3)
    gate.convert_alone(A, beside=C)
    for first, second in (((A, (False, 1.0)), step), (step, (A, (False, 1.0)))):
        done = threading.Event()
        with gate.turn(*first):
            thread = threading.Thread(target=_pass, args=(gate, second, done))
            thread.start()
            assert not done.wait(timeout=0.05)
        assert done.wait(timeout=30)
        thread.join(timeout=30)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((A, (False, 1.0)), (C, (False, 1.0))),
        ((A, (True, 1.0)), (B, (False, 1.0))),
        ((B, (False, 1.0)), (C, (True, 1.0))),
    ],
)
def test_what_is_light_or_verifies_elsewhere_goes_beside(
    first: tuple[Lane, tuple[bool, float]], second: tuple[Lane, tuple[bool, float]]
) -> None:
    gate = Gate(3)
    gate.convert_alone(A, beside=C)
    with gate.turn(*first), gate.turn(*second):
        assert list(gate._running) == [first[0], second[0]]


def test_who_is_done_without_a_turn_holds_up_nobody() -> None:
    gate = Gate(1)
    gate.expect(2)
    done = threading.Event()

    def enter() -> None:
        gate.join()
        _pass(gate, (A, (False, 0.0)), done)

    thread = threading.Thread(target=enter)
    thread.start()
    assert not done.wait(timeout=0.05)
    gate.join()
    gate.arrive()
    gate.arrive()  # saying it twice counts once
    assert done.wait(timeout=30)
    thread.join()


def test_an_error_inside_frees_the_lane() -> None:
    gate = Gate(1)
    for _ in range(2):
        with pytest.raises(RuntimeError), gate.turn(A, (False, 1.0)):
            raise RuntimeError
