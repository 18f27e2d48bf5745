"""Small Hub-style models with known results for the tests of `KerasLayer`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras

FLOAT = tf.float32


def save(function: Any, folder: Path, **attributes: Any) -> Path:
    """Save ``function`` as the call of a SavedModel that has ``attributes``."""
    root = tf.train.Checkpoint()
    root.__call__ = function
    for name, value in attributes.items():
        setattr(root, name, value)
    tf.saved_model.save(root, str(folder))
    return folder


def half_plus_one(folder: Path) -> Path:
    """``y = x * w * k + 1``: w = 0.5 is trainable and regularized, k and the bias are not."""
    w = tf.Variable([[0.5]], name="times_w/kernel")
    k = tf.Variable([[1.0]], name="plus_1/kernel")
    bias = tf.Variable([1.0], name="plus_1/bias")
    call = tf.function(
        lambda x: tf.matmul(tf.matmul(x, w), k) + bias,
        input_signature=[tf.TensorSpec([None, 1], FLOAT)],
    )
    loss = tf.function(lambda: 0.01 * tf.reduce_sum(w**2), input_signature=[])
    return save(
        call,
        folder,
        variables=[w, k, bias],
        trainable_variables=[w],
        regularization_losses=[loss],
    )


def batch_norm(folder: Path) -> Path:
    """Batch normalization with momentum 0.8, traced for training and inference."""
    norm = tf_keras.layers.BatchNormalization(momentum=0.8)
    norm.build((None, 1))

    @tf.function
    def call(x: Any, training: bool = False) -> Any:
        return norm(x, training=training)

    for training in (True, False):
        call.get_concrete_function(tf.TensorSpec([None, 1], FLOAT), training=training)
    return save(
        call,
        folder,
        variables=[norm.beta, norm.gamma, norm.moving_mean, norm.moving_variance],
        trainable_variables=[norm.beta, norm.gamma],
        regularization_losses=[],
    )


def affine(folder: Path) -> Path:
    """``y = a * x + b`` with ``a`` and ``b`` as arguments."""
    scalar = tf.TensorSpec([], FLOAT)

    @tf.function(input_signature=[tf.TensorSpec([None, 1], FLOAT), scalar, scalar])
    def call(x: Any, a: float = 1.0, b: float = 0.0) -> Any:
        return a * x + b

    return save(call, folder)


def text_embedding(folder: Path) -> Path:
    """``[batch] string -> [batch, 20] float32``, where TensorFlow cannot infer the 20.

    The shape passes through a function that hides it, as in published text embeddings.
    """
    table = tf.Variable(tf.random.stateless_normal([8, 20], [1, 2]), name="embeddings")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def call(texts: Any) -> Any:
        rows = tf.gather(table, tf.strings.to_hash_bucket_fast(texts, 8))
        return hide_shape(rows)

    return save(call, folder, variables=[table], trainable_variables=[table])


def hide_shape(tensor: Any) -> Any:
    """Return ``tensor`` with a shape that TensorFlow cannot infer."""
    shape = tf.shape(tensor)
    return tf.reshape(tensor, tf.random.shuffle(shape) * 0 + shape)


def nested(folder: Path) -> Path:
    """Inputs: a dict of two. Outputs: a list of a tensor and a dict. No shape can be inferred."""
    spec = {name: tf.TensorSpec([None, 1], FLOAT, name) for name in ("x", "y")}

    @tf.function(input_signature=[spec])
    def call(inputs: Any) -> Any:
        x, y = inputs["x"], inputs["y"]
        sums = hide_shape(tf.concat([x + y, x + 2 * y], axis=1))
        return [sums, {"difference": hide_shape(x - y)}]

    return save(call, folder)


def signatures_only(folder: Path, *names: str) -> Path:
    """A SavedModel without a call: every signature returns ``sum`` and ``product`` of a and b."""

    @tf.function(
        input_signature=[tf.TensorSpec([None], FLOAT, "a"), tf.TensorSpec([None], FLOAT, "b")]
    )
    def serve(a: Any, b: Any) -> Any:
        return {"sum": a + b, "product": a * b}

    function = serve.get_concrete_function()
    root = tf.train.Checkpoint()
    tf.saved_model.save(root, str(folder), signatures=dict.fromkeys(names, function))
    return folder


def tf1_module(folder: Path, resource: bool = True) -> Path:
    """A TF1 Hub module, ``x @ w + 1``: no tags, signature and output ``default``."""
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(FLOAT, [None, 3], name="x")
        weights = tf.constant([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
        w = v1.get_variable("w", initializer=weights, use_resource=resource)
        outputs = {"default": tf.matmul(x, w) + 1.0, "twice": tf.matmul(x, w) * 2.0}
        session.run(v1.global_variables_initializer())
        signature = v1.saved_model.predict_signature_def({"x": x}, outputs)
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, [], {"default": signature})
        builder.save()
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")
    return folder
