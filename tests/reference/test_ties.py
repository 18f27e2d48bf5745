"""Ties in a layer's own order are found, kept with the bundle, and excuse nothing but order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import hubopt
from hubopt.bundles.bundle import read_bundle
from hubopt.errors import BundleError
from hubopt.parity import Parity
from hubopt.reference.ties import read_ties
from hubopt.sampling.arrays import write_samples
from tests.reference.making import measure

VALUES = np.random.default_rng(0).standard_normal((12, 2)).astype("float32")
X = tf.TensorSpec([1, 12], tf.float32, name="x")


def best(x: Any, order: Any = None) -> dict[str, Any]:
    """Return the four best rows of a table by a score that saturates, as sigmoids do."""
    scores = tf.minimum(tf.nn.relu(x), 1.0)
    if order is None:
        order = tf.math.top_k(scores, 4).indices
    return {
        "values": tf.gather(VALUES, order),
        "scores": tf.gather(scores, order, batch_dims=1),
        "indices": order,
    }


layer = tf.function(best, input_signature=[X])


def last_first(x: Any) -> dict[str, Any]:
    """Choose the last of equal scores, where TensorFlow chooses the first."""
    scores = tf.minimum(tf.nn.relu(x), 1.0)
    return best(x, 11 - tf.math.top_k(tf.reverse(scores, [1]), 4).indices)


def verify(artifact: Callable[..., Any]) -> Parity:
    return hubopt.verify(artifact, layer, noise="full")


def test_the_layers_ties_are_found(tmp_path: Path) -> None:
    """Ones are equal, and so are the zeros of negative numbers."""
    known = measure(layer, tmp_path)
    assert known.ties is not None
    assert set(known.quality.ties) == {"values", "indices"}, "equal scores stay what they are"
    tied = set(known.quality.ties["indices"])
    for at, sample in enumerate(known.read_inputs()):
        scores = np.sort(np.clip(sample["x"][0], 0, 1))[::-1]
        assert (at in tied) == bool((scores[:4] == scores[1:5]).any()), scores
    decides = {kind: ties.decides for kind, ties in zip(known.kinds, read_ties(known), strict=True)}
    assert decides.pop("zeros") is False
    assert all(decides.values())


def test_another_order_of_equals_is_verified_and_named() -> None:
    parity = verify(last_first)
    assert parity.status == "verified", parity
    assert str(parity.note).startswith("in another order where the layer's own order is a tie: ")
    assert "values (sample " in str(parity.note)


def index_off_by_one(x: Any) -> dict[str, Any]:
    found = last_first(x)
    return {**found, "indices": (found["indices"] + 1) % 12}


def values_of_the_next(x: Any) -> dict[str, Any]:
    found = last_first(x)
    return {**found, "values": tf.roll(found["values"], 1, axis=1)}


def values_off_by_a_little(x: Any) -> dict[str, Any]:
    found = last_first(x)
    return {**found, "values": found["values"] * 1.001}


def worst_first(x: Any) -> dict[str, Any]:
    return best(x, tf.math.top_k(-tf.minimum(tf.nn.relu(x), 1.0), 4).indices)


def the_same_for_all(x: Any) -> dict[str, Any]:
    found = last_first(x)
    return best(x, found["indices"][:, :1] + tf.zeros([1, 4], tf.int32))


@pytest.mark.parametrize(
    "fault",
    [
        index_off_by_one,
        values_of_the_next,
        values_off_by_a_little,
        worst_first,
        the_same_for_all,
    ],
)
def test_planted_faults_beside_ties_are_caught(fault: Callable[..., Any]) -> None:
    assert verify(fault).status == "failed"


def test_a_layer_without_ties_has_none(tmp_path: Path) -> None:
    @tf.function(input_signature=[X])
    def distinct(x: Any) -> Any:
        return tf.math.top_k(tf.cumsum(tf.abs(x) + 1.0, axis=1), 3).indices

    known = measure(distinct, tmp_path)
    assert (known.ties, known.quality.ties, known.quality.alternatives) == (None, {}, ())
    assert read_ties(known) == []


@tf.function(input_signature=[tf.TensorSpec([1, 12, 4], tf.float32, name="x")])
def suppressed(x: Any) -> Any:
    """Equal scores, of which onnxruntime chooses others than TensorFlow."""
    corners = tf.constant([0.0, 0.0, 0.9, 0.9])
    boxes = tf.tile(tf.range(12.0)[None, :, None, None], [1, 1, 1, 4]) + corners
    scores = tf.nn.relu(tf.minimum(tf.abs(x[..., :2]) * 9, 1.0))
    found = tf.image.combined_non_max_suppression(boxes + x[:, :, None] / 100, scores, 4, 6, 0.5)
    return {"boxes": found[0], "scores": found[1], "classes": found[2], "n": found[3]}


def test_a_bundle_keeps_the_ties_that_its_verdicts_need(tmp_path: Path) -> None:
    options = {"rounds": 0, "noise": "full", "cache": False}
    bundle = hubopt.export(suppressed, ["onnx"], tmp_path / "out", **options)  # type: ignore[arg-type]
    (made,) = bundle.results
    assert made.status == "verified", made.reason
    assert made.parity is not None
    ties = [out.name for out in made.parity.outputs if "tie" in out.bases]
    assert "boxes" in ties, "the case has no tie in onnxruntime's order any more"
    opened = read_bundle(tmp_path / "out")
    assert opened.manifest.reference.ties
    for again in (hubopt.verify_bundle(opened), hubopt.rejudge(opened)):
        assert [result.status for result in again] == ["verified"]
        assert again[0].parity == made.parity
    assert opened.ties is not None
    write_samples(opened.ties, {0: {"boxes": np.zeros(1)}})
    with pytest.raises(BundleError, match="ties.npz"):
        hubopt.verify_bundle(opened)
