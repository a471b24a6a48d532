from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.artifact import Artifact
from edgeconv.errors import MissingDependencyError, NoRouteError, UsageError
from edgeconv.plan import Planner, Rejected, Search, explain, explain_text
from edgeconv.plan.explain import ignored_via
from edgeconv.plugin import ConverterSpec, Cost, EnvironmentSpec, Rejection
from edgeconv.signature import Signature

FORMATS = ("torch", "torch-export", "edge-graph", "onnx", "savedmodel", "tflite")


def edge(text: str, **changes: object) -> ConverterSpec:
    """`id source target fidelity install seconds`, the last three optional."""
    converter, source, target, *cost = text.split()
    fidelity, install, seconds = (int(number) for number in (*cost, *"000"[len(cost) :]))
    spec = ConverterSpec(
        id=converter,
        version="1",
        kind="convert",
        source=source,
        target=target,
        summary="",
        entry="m:f",
        lane="l",
        cost=Cost(fidelity=fidelity, install_bytes=install, seconds=seconds),
    )
    return replace(spec, **changes)  # type: ignore[arg-type]


GRAPH = (
    edge("capture torch torch-export 0 0 2"),
    edge("lower torch-export edge-graph 0 0 1"),
    edge("write-tflite edge-graph tflite 0 0 1"),
    edge("write-savedmodel edge-graph savedmodel 0 0 2"),
    edge("litert torch-export tflite 1 0 10"),
    edge("tf savedmodel tflite 1 0 4"),
)


def routes(specs: tuple[ConverterSpec, ...], goal: str, **search: object) -> list[tuple[str, ...]]:
    found = Planner(specs).routes("torch", goal, Search(**search))  # type: ignore[arg-type]
    return [plan.route for plan in found]


def test_routes_come_in_the_order_of_fidelity_then_hops() -> None:
    assert routes(GRAPH, "tflite") == [
        ("capture", "lower", "write-tflite"),
        ("capture", "litert"),
        ("capture", "lower", "write-savedmodel", "tf"),
    ]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("b torch onnx 0 9 9", "a torch onnx 1 0 0"),
        ("b torch onnx 0 1 9", "a torch onnx 0 2 0"),
        ("b torch onnx 0 1 1", "a torch onnx 0 1 2"),
        ("a torch onnx 0 1 1", "b torch onnx 0 1 1"),
    ],
)
def test_costs_are_compared_field_by_field(better: str, worse: str) -> None:
    first, second = edge(better), edge(worse)
    assert routes((second, first), "onnx") == [(first.id,), (second.id,)]


def test_costs_add_up_along_a_route() -> None:
    lossy_first = (edge("a torch torch-export 1"), edge("b torch-export onnx 0"))
    assert routes((*lossy_first, edge("x torch onnx 1")), "onnx") == [("x",), ("a", "b")]
    assert routes((*lossy_first, edge("x torch onnx 2")), "onnx") == [("a", "b"), ("x",)]


def test_fewer_hops_win_over_a_smaller_install() -> None:
    specs = (edge("a torch onnx 0 9 9"), edge("b torch torch-export"), edge("c torch-export onnx"))
    assert routes(specs, "onnx") == [("a",), ("b", "c")]


def test_a_route_passes_no_format_twice() -> None:
    specs = (edge("a torch onnx"), edge("b onnx torch"), edge("c onnx tflite"))
    assert routes(specs, "tflite") == [("a", "c")]


def test_the_source_is_reached_without_a_step() -> None:
    assert routes(GRAPH, "torch") == [()]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(FORMATS[:3]),
            st.sampled_from((*FORMATS[1:3], "tflite")),
            st.integers(0, 2),
            st.integers(0, 2),
            st.integers(0, 3),
        ),
        max_size=7,
    )
)
def test_it_finds_what_trying_everything_finds(edges: list[tuple[str, str, int, int, int]]) -> None:
    specs = tuple(
        edge(f"c{n} {source} {target} {fidelity} {install} {seconds}")
        for n, (source, target, fidelity, install, seconds) in enumerate(edges)
    )
    found = [p.route for p in Planner(specs).routes("torch", "tflite", count=10_000)]
    assert found == _all_routes(specs)


def _all_routes(specs: tuple[ConverterSpec, ...]) -> list[tuple[str, ...]]:
    """Every loop-free chain, by trying all orders of all edges."""
    found = []
    for length in range(1, len(specs) + 1):
        for chain in permutations(specs, length):
            formats = ["torch", *(spec.target for spec in chain)]
            joins = all(s.source == f for s, f in zip(chain, formats, strict=False))
            if joins and len(set(formats)) == len(formats) and formats[-1] == "tflite":
                found.append(chain)

    def cost(chain: tuple[ConverterSpec, ...]) -> tuple[object, ...]:
        fidelity = sum(s.cost.fidelity for s in chain)
        install = sum(s.cost.install_bytes for s in chain)
        seconds = sum(s.cost.seconds for s in chain)
        return fidelity, len(chain), install, seconds, tuple(s.id for s in chain)

    return [tuple(s.id for s in chain) for chain in sorted(found, key=cost)]


def test_via_a_converter_or_a_format() -> None:
    assert routes(GRAPH, "tflite", via=("litert",)) == [("capture", "litert")]
    assert routes(GRAPH, "tflite", via=("savedmodel",))[0][-1] == "tf"
    assert routes(GRAPH, "tflite", via=("savedmodel", "litert")) == []


def test_avoid_a_converter_or_a_format() -> None:
    assert routes(GRAPH, "tflite", avoid=("lower",)) == [("capture", "litert")]
    assert routes(GRAPH, "tflite", avoid=("edge-graph",)) == [("capture", "litert")]


def test_a_lost_converter_is_out_with_its_reason() -> None:
    lost = (Rejected(converter="write-tflite", reason="crashed"),)
    plan = Planner(GRAPH).best("torch", "tflite", Search(lost=lost))
    assert plan.route == ("capture", "litert")
    assert plan.rejected == lost


def test_quantizers_are_out_unless_asked_for() -> None:
    specs = (edge("a torch onnx"), edge("q onnx tflite", kind="quantize"))
    assert routes(specs, "tflite") == []
    assert routes(specs, "tflite", kinds=("convert", "quantize")) == [("a", "q")]


def test_an_environment_must_exist() -> None:
    environment = EnvironmentSpec(id="onnx-tf", python="3.11", requirements=("onnx-tf",))
    specs = (edge("a torch onnx", environment=environment, requires=("no_such_module",)),)
    assert routes(specs, "onnx") == []
    assert routes(specs, "onnx", environments=("onnx-tf",)) == [("a",)]


def test_a_converter_is_asked_about_what_is_at_the_source() -> None:
    def refuse(artifact: Artifact) -> Rejection | None:
        return Rejection(reason="too large") if artifact.name == "big" else None

    specs = (edge("a torch onnx", accepts=refuse), edge("b torch onnx 2"))
    planner = Planner(specs)
    for name, expected in (("big", ["b"]), ("small", ["a", "b"])):
        artifact = Artifact(
            name=name,
            format="torch",
            path=Path(),
            digest="",
            signature=Signature(inputs=(), outputs=()),
        )
        found = planner.routes("torch", "onnx", artifact=artifact)
        assert [plan.route[0] for plan in found] == expected


def test_no_route_tells_the_nearest_reasons_first() -> None:
    lost = (Rejected(converter="write-tflite", reason="crashed with SIGSEGV"),)
    search = Search(avoid=("litert", "tf", "lower"), lost=lost)
    with pytest.raises(NoRouteError) as caught:
        Planner(GRAPH).best("torch", "tflite", search)
    details = caught.value.details
    assert details[:3] == (
        "'litert': 'litert' is to be avoided",
        "'tf': 'tf' is to be avoided",
        "'write-tflite': crashed with SIGSEGV",
    )


def test_missing_packages_are_the_answer_only_if_nothing_else_is_in_the_way() -> None:
    needy = edge("a torch onnx", requires=("no_such_a", "sys"), extra="onnx")
    next_needy = edge("b onnx tflite", requires=("no_such_b",), extra="tflite")
    planner = Planner((needy, next_needy))
    with pytest.raises(MissingDependencyError) as caught:
        planner.best("torch", "tflite")
    assert caught.value.hint == "pip install 'edgeconv[onnx,tflite]'"
    assert caught.value.why == "missing: 'no_such_a', 'no_such_b'"
    with pytest.raises(NoRouteError) as out:
        planner.best("torch", "tflite", Search(avoid=("b",)))
    assert any("edgeconv[onnx]" in line for line in out.value.details)


@pytest.mark.parametrize("search", [Search(via=("mp3",)), Search(avoid=("mp3",))])
def test_unknown_ids_are_refused_with_what_there_is(search: Search) -> None:
    with pytest.raises(UsageError, match="litert"):
        Planner(GRAPH).routes("torch", "tflite", search)


def test_via_speaks_of_the_goals_it_can_lead_to() -> None:
    planner = Planner((*GRAPH, edge("export torch-export onnx")))
    found = planner.restrict("torch", ["tflite", "onnx"], Search(via=("litert",), avoid=("tf",)))
    assert found["tflite"] == Search(via=("litert",), avoid=("tf",))
    assert found["onnx"] == Search(avoid=("tf",))
    told = "--via litert says nothing of 'onnx': it does not lead there"
    assert ignored_via(["litert", "litert"], found) == [told]
    assert ignored_via(["litert"], {"tflite": found["tflite"]}) == []
    with pytest.raises(UsageError, match="no route passes 'tf'"):
        planner.restrict("torch", ["onnx"], Search(via=("tf",)))


def test_plans_are_explained() -> None:
    planner = Planner(GRAPH)
    search = Search(avoid=("tf",))
    plans = planner.routes("torch", "tflite", search)
    text = explain_text(plans, planner.rejected(search))
    assert text == (
        "1. torch → torch-export → edge-graph → tflite\n"
        "   by capture, lower, write-tflite (direct, 3 steps, about 4.0 s)\n"
        "2. torch → torch-export → tflite\n"
        "   by capture, litert (through another tool, 2 steps, about 12.0 s)\n"
        "out:\n"
        "  tf: 'tf' is to be avoided"
    )
    data = explain(plans, planner.rejected(search))
    assert data["rejected"] == [{"converter": "tf", "reason": "'tf' is to be avoided"}]
    assert [route["cost"]["hops"] for route in json.loads(json.dumps(data))["routes"]] == [3, 2]
    assert explain_text((), ()) == "no route"


def test_plans_do_not_depend_on_the_order_of_plugins() -> None:
    assert len({tuple(routes(order, "tflite")) for order in permutations(GRAPH, 6)}) == 1


def test_large_graphs_are_searched_lazily() -> None:
    names = [f"{a}{b}" for a, b in product("abcdefgh", "xy")]
    specs = tuple(edge(f"{n} {s} {t} 0 0 1") for n, (s, t) in zip(names, _pairs(), strict=False))
    assert Planner(specs).best("torch", "tflite").route


def _pairs() -> list[tuple[str, str]]:
    return [(s, t) for s, t in product(FORMATS, FORMATS) if s != t]
