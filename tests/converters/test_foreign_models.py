"""SavedModels and Keras files come in as models: run in TensorFlow, they are their own reference."""

from __future__ import annotations

import contextlib
import importlib
from pathlib import Path

import numpy as np
import pytest

# torch.export imports triton, which crashes the process when TensorFlow is there already.
with contextlib.suppress(ImportError):
    importlib.import_module("triton")
tf = pytest.importorskip("tensorflow")

import edgeconv as ec
from edgeconv.errors import InvalidInputError, NoRouteError, UnsafeInputError, UsageError
from edgeconv.formats import load_handler

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.xdist_group("tensorflow"),
]


def _make_savedmodel(folder: Path, scale: float = 1.0) -> Path:
    """Embeddings of token ids, averaged and joined with a float input; both batches are free."""
    draw = np.random.default_rng(3)
    table = tf.Variable(draw.standard_normal((10, 4)).astype("float32"))
    weights = tf.Variable((scale * draw.standard_normal((4, 3))).astype("float32"))

    def serve(ids: object, x: object) -> dict[str, object]:
        scores = tf.matmul(tf.nn.relu(tf.reduce_mean(tf.gather(table, ids), 1) + x), weights)
        return {"logits": scores, "probabilities": tf.nn.softmax(scores)}

    module = tf.Module()
    module.variables_ = [table, weights]
    function = tf.function(serve).get_concrete_function(
        ids=tf.TensorSpec([None, None], tf.int64, name="ids"),
        x=tf.TensorSpec([None, 4], tf.float32, name="x"),
    )
    tf.saved_model.save(module, str(folder), signatures={"serving_default": function})
    return folder


def _assert_close(got: object, wanted: object) -> None:
    difference = np.abs(np.asarray(got, np.float64) - np.asarray(wanted, np.float64))
    assert difference.max() < 1e-5


@pytest.fixture(scope="module")
def savedmodel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _make_savedmodel(tmp_path_factory.mktemp("foreign") / "ranker")


@pytest.fixture(scope="module")
def lite(savedmodel: Path, tmp_path_factory: pytest.TempPathFactory) -> ec.Artifact:
    out = tmp_path_factory.mktemp("foreign-out")
    return ec.convert(savedmodel, to=["tflite"], out=out, use_cache=False)["tflite"]


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tf.keras.utils.set_random_seed(0)
    image = tf.keras.Input((8, 8, 3), name="image")
    meta = tf.keras.Input((4,), name="meta")
    x = tf.keras.layers.Conv2D(4, 3, activation="relu")(image)
    x = tf.keras.layers.GlobalAveragePooling2D()(x)
    x = tf.keras.layers.Concatenate()([x, meta])
    outputs = [
        tf.keras.layers.Dense(3, activation="softmax", name="probabilities")(x),
        tf.keras.layers.Dense(1, name="score")(x),
    ]
    path = tmp_path_factory.mktemp("keras") / "two.keras"
    tf.keras.Model([image, meta], outputs).save(path)
    return path


def test_a_savedmodel_becomes_tflite_with_its_names_and_free_dims(
    savedmodel: Path, lite: ec.Artifact
) -> None:
    assert [str(spec) for spec in lite.signature.inputs] == ["ids:int64[N,ids_1]", "x:float32[N,4]"]
    assert [spec.name for spec in lite.signature.outputs] == ["logits", "probabilities"]
    ids, x = np.arange(6).reshape(3, 2), np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4)
    serve = tf.saved_model.load(str(savedmodel)).signatures["serving_default"]
    wanted = serve(ids=tf.constant(ids), x=tf.constant(x))
    got = lite.run({"ids": ids, "x": x})
    for name in ("logits", "probabilities"):
        _assert_close(got[name], wanted[name].numpy())


def test_the_savedmodel_is_the_reference_of_what_was_made_of_it(
    savedmodel: Path, lite: ec.Artifact
) -> None:
    verdict = ec.validate(lite, reference=savedmodel)
    assert verdict.passed
    assert verdict.reference == "TensorFlow SavedModel"
    assert any(sizes["N"] > 1 for sizes in verdict.sizes)


def test_another_model_is_told_apart(lite: ec.Artifact, tmp_path: Path) -> None:
    other = _make_savedmodel(tmp_path / "other", scale=1.001)
    verdict = ec.validate(lite, reference=other)
    assert not verdict.passed
    assert "logits" in verdict.summary()


def test_a_format_that_no_route_reaches_is_named(lite: ec.Artifact, tmp_path: Path) -> None:
    with pytest.raises(NoRouteError, match="'tflite' to 'onnx'"):
        ec.convert(lite.path, to=["onnx"], out=tmp_path)


def test_a_file_is_not_converted_to_its_own_format(lite: ec.Artifact, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="already"):
        ec.convert(lite.path, to=["tflite"], out=tmp_path)


def test_an_input_that_does_not_fit_is_refused(savedmodel: Path, tmp_path: Path) -> None:
    wrong = ec.load(savedmodel, inputs=["ids:float32[N=1,4]"])
    with pytest.raises(InvalidInputError, match="does not fit"):
        ec.convert(wrong, to=["tflite"], out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_keras_file_becomes_a_savedmodel_and_tflite(keras_file: Path, tmp_path: Path) -> None:
    made = ec.convert(keras_file, to=["savedmodel", "tflite"], out=tmp_path, use_cache=False)
    draw = np.random.default_rng(0)
    inputs = {
        "image": draw.standard_normal((2, 8, 8, 3)).astype("float32"),
        "meta": draw.standard_normal((2, 4)).astype("float32"),
    }
    wanted = tf.keras.models.load_model(keras_file)([inputs["image"], inputs["meta"]])
    for artifact in made.values():
        got = artifact.run(inputs)
        _assert_close(got["probabilities"], wanted[0].numpy())
        _assert_close(got["score"], wanted[1].numpy())


def test_code_inside_a_keras_file_is_refused(tmp_path: Path) -> None:
    layers = [tf.keras.Input((5,)), tf.keras.layers.Lambda(lambda x: x * 2)]
    path = tmp_path / "code.keras"
    tf.keras.Sequential(layers).save(path)
    with pytest.raises(UnsafeInputError, match="would run code"):
        load_handler("keras").read_signature(path)
