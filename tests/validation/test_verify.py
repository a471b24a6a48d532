"""The verification step on stored references: what it reads, what it calls wrong, and what it refuses to judge."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from edgeconv.dims import DimExpr
from edgeconv.errors import InvalidInputError
from edgeconv.formats.handler import Array
from edgeconv.plugin.job import Job, JobResult
from edgeconv.signature import Dim, DType, Signature, TensorSpec
from edgeconv.validation.reference import Case, Reference, read_reference, write_case
from edgeconv.validation.verdict import Verdict
from edgeconv.validation.worker import compare_signatures, verify, verify_artifact

pytestmark = [pytest.mark.integration]

Field: TypeAlias = Any  # a field of a TensorSpec
N = DimExpr.symbol("N")
DOUBLE = """
<ir_version: 8, opset_import: ["": 17]>
net (float[N, 3] x) => (float[N, 3] y, int64[1] n)
{
  y = Add (x, x)
  s = Shape <end = 1> (x)
  n = Identity (s)
}
"""


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    onnx.save(onnx.parser.parse_model(DOUBLE), path)
    return path


def _signature() -> Signature:
    return Signature(
        inputs=(TensorSpec(name="x", dtype=DType.FLOAT32, shape=(N, 3)),),
        outputs=(
            TensorSpec(name="y", dtype=DType.FLOAT32, shape=(N, 3)),
            TensorSpec(name="n", dtype=DType.INT64, shape=(1,)),
        ),
        dims=(Dim(name="N", example=2),),
    )


def _case(folder: Path, batch: int) -> Case:
    x = np.random.default_rng(batch).normal(size=(batch, 3)).astype(np.float32)
    outputs = {"y": x + x, "n": np.array([batch])}
    sizes = {"N": batch}
    return write_case(folder, f"batch_{batch}", "sizes", sizes, inputs={"x": x}, outputs=outputs)


@pytest.fixture
def reference(tmp_path: Path) -> Reference:
    folder = tmp_path / "reference"
    folder.mkdir()
    written = Reference(
        signature=_signature(),
        cases=tuple(_case(folder, batch) for batch in (2, 1, 5)),
        noise_floor={"y": 1e-7, "n": 0.0},
        noise_source="float64",
        ranges={"y": (-3.0, 3.0), "n": (1.0, 5.0)},
        seed=7,
        notes=("a note",),
    )
    written.write(folder)
    return written


def test_a_reference_is_read_as_it_was_written(reference: Reference, tmp_path: Path) -> None:
    found = read_reference(tmp_path / "reference")
    assert found == reference
    for case, original in zip(found.cases, reference.cases, strict=True):
        assert np.array_equal(case.inputs()["x"], original.inputs()["x"])
        assert case.outputs()["n"].dtype == np.int64
    assert [dict(sizes) for sizes, _ in found.groups()] == [{"N": 2}, {"N": 1}, {"N": 5}]


def test_the_step_judges_an_artifact(artifact: Path, reference: Reference, tmp_path: Path) -> None:
    job = Job(
        name="net",
        inputs={"artifact": artifact, "reference": tmp_path / "reference"},
        output=tmp_path / "unused",
        options={"format": "onnx"},
    )
    result = JobResult.from_json(verify(job.to_json(), {}))
    verdict = Verdict.from_json(result.details["verdict"])  # type: ignore[arg-type]
    assert verdict.passed, verdict.summary()
    assert verdict.samples == 3
    assert verdict.sizes == ({"N": 2}, {"N": 1}, {"N": 5})
    assert [output.name for output in verdict.outputs] == ["y", "n"]
    assert json.loads(json.dumps(verdict.to_json())) == verdict.to_json()


def _change(reference: Reference, output: str, change: Callable[[Array], Array]) -> Reference:
    """The reference with other outputs in its last case."""
    case = reference.cases[-1]
    outputs = case.outputs()
    outputs[output] = change(outputs[output])
    other = write_case(
        case.path.parent, "other", "sizes", case.sizes, inputs=case.inputs(), outputs=outputs
    )
    return replace(reference, cases=(*reference.cases[:-1], other))


def _add_little(array: Array) -> Array:
    return np.add(array, np.float32(1e-3), dtype=np.float32)


def _add_one(array: Array) -> Array:
    return np.add(array, 1, dtype=np.int64)


def test_one_wrong_case_is_enough(artifact: Path, reference: Reference) -> None:
    verdict = verify_artifact(artifact, "onnx", _change(reference, "y", _add_little))
    assert not verdict.passed
    assert [output.passed for output in verdict.outputs] == [False, True]
    assert verdict.summary().startswith("'y' is off by 1.00e-03")


def test_a_wrong_integer_is_named(artifact: Path, reference: Reference) -> None:
    verdict = verify_artifact(artifact, "onnx", _change(reference, "n", _add_one))
    assert verdict.summary() == "'n' differs in 1 of 3 values"


def test_no_case_is_no_proof(artifact: Path, reference: Reference) -> None:
    verdict = verify_artifact(artifact, "onnx", replace(reference, cases=()))
    assert not verdict.passed
    assert verdict.problems == ("there is no case to compare",)


def test_a_case_that_does_not_run_is_a_problem(artifact: Path, reference: Reference) -> None:
    model = onnx.load(artifact)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(model, artifact)
    verdict = verify_artifact(artifact, "onnx", reference)
    assert not verdict.passed
    assert "'x' is fixed to 2 on axis 0, not N" in verdict.problems
    assert any(p.startswith("case 'batch_5' {'N': 5} does not run") for p in verdict.problems)


def test_one_cause_that_fails_many_cases_is_told_once(artifact: Path, reference: Reference) -> None:
    model = onnx.load(artifact)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 9
    onnx.save(model, artifact)
    verdict = verify_artifact(artifact, "onnx", reference)
    assert len(verdict.problems) == 3
    assert verdict.problems[0] == "'x' is fixed to 9 on axis 0, not N"
    assert verdict.problems[1].startswith("case 'batch_2' {'N': 2} does not run")
    assert verdict.problems[2] == "2 more problems like this"


def test_what_its_runtime_refuses_has_failed(artifact: Path, reference: Reference) -> None:
    model = onnx.load(artifact)
    model.graph.node[0].op_type = "Nothing"
    onnx.save(model, artifact)
    verdict = verify_artifact(artifact, "onnx", reference)
    assert not verdict.passed
    assert "ONNX Runtime refuses" in verdict.problems[0]


def test_a_damaged_file_is_not_judged(artifact: Path, reference: Reference) -> None:
    artifact.write_bytes(b"\x08\x08nothing")
    with pytest.raises(InvalidInputError):
        verify_artifact(artifact, "onnx", reference)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": "edgeconv.reference/0"}'])
def test_a_damaged_reference_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "reference.json").write_text(content)
    with pytest.raises(InvalidInputError, match="not a reference") as caught:
        read_reference(tmp_path)
    assert "edgeconv cache clear" in caught.value.hint


def test_a_case_whose_file_is_damaged_is_told(reference: Reference) -> None:
    reference.cases[0].path.write_bytes(b"PK\x03\x04")
    with pytest.raises(InvalidInputError, match="not a reference"):
        reference.cases[0].inputs()


def test_a_case_with_pickled_objects_is_not_read(reference: Reference) -> None:
    with reference.cases[0].path.open("wb") as stream:
        np.savez(stream, **{"input/x": np.array([print], dtype=object)})  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="not a reference"):
        reference.cases[0].inputs()


def _spec(**changes: Field) -> TensorSpec:
    return replace(TensorSpec(name="x", dtype=DType.FLOAT32, shape=(N, 3)), **changes)


def _problems(spec: TensorSpec, *, is_input: bool = True) -> list[str]:
    wanted = Signature(inputs=(_spec(),), outputs=(_spec(),), dims=(Dim(name="N", example=1),))
    dims = (Dim(name="N", example=1), Dim(name="M", example=1))
    got = (
        Signature(inputs=(spec,), outputs=(_spec(),), dims=dims)
        if is_input
        else Signature(inputs=(_spec(),), outputs=(spec,), dims=dims)
    )
    return compare_signatures(wanted, got)


@pytest.mark.parametrize("is_input", [True, False])
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": "y"}, "are named ['y'], not ['x']"),
        ({"dtype": DType.FLOAT16}, "'x' is float16, not float32"),
        ({"shape": (N,)}, "'x' has rank 1, not 2"),
        ({"shape": (N, 4)}, "'x' has size 4 on axis 1, not 3"),
    ],
)
def test_differences_of_signatures_are_told(
    changes: dict[str, Field], problem: str, *, is_input: bool
) -> None:
    (found,) = _problems(_spec(**changes), is_input=is_input)
    assert problem in found


def test_names_of_dims_and_what_is_more_dynamic_are_no_problem() -> None:
    other = DimExpr.symbol("M")
    assert _problems(_spec(shape=(other, 3))) == []
    assert _problems(_spec(shape=(N, other))) == []
    assert _problems(_spec(shape=(2, 3)), is_input=False) == []


def test_the_order_counts() -> None:
    first, second = _spec(name="a"), _spec(name="b")
    dims = (Dim(name="N", example=1),)
    wanted = Signature(inputs=(first, second), outputs=(), dims=dims)
    got = Signature(inputs=(second, first), outputs=(), dims=dims)
    assert compare_signatures(wanted, got) == ["inputs are named ['b', 'a'], not ['a', 'b']"]
