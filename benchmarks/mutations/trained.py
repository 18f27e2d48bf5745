"""Small models, trained in seconds, for faults that have no site in the published models.

A text classifier has a lookup table. A segmentation network has resizes, a layer normalization, a
batch normalization that no convolution can absorb, and two outputs of the same shape.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.models import CACHE
from hubopt._platform.staging import staging

ROWS, LENGTH, SIDE = 500, 24, 32
"""Rows of the lookup table, tokens in a text, pixels along an image's side."""

_TRAIN = """
import sys
import numpy as np, tensorflow as tf, tf_keras as keras

keras.utils.set_random_seed(0)
random = np.random.default_rng(0)
"""
_TEXT = f"""
# A text is of the class whose words, every third of the table, it has most of.
words = random.integers(0, {ROWS}, (2000, {LENGTH})).astype(np.int32)
labels = np.stack([(words % 3 == at).sum(1) for at in range(3)], 1).argmax(1)
tokens = keras.Input(({LENGTH},), dtype=tf.int32, name="tokens")
x = keras.layers.Embedding({ROWS}, 16, name="embedding")(tokens)
x = keras.layers.Conv1D(24, 3, padding="same", activation="relu", name="conv")(x)
x = keras.layers.LayerNormalization(name="norm")(x)
x = keras.layers.GlobalAveragePooling1D(name="pool")(x)
x = keras.layers.Dense(16, activation="relu", name="hidden")(x)
x = keras.layers.Dense(3, activation="softmax", name="classes")(x)
model = keras.Model(tokens, x)
model.compile(keras.optimizers.legacy.Adam(5e-3), "sparse_categorical_crossentropy")
model.fit(words, labels, epochs=8, verbose=0)
"""
_SEGMENTS = f"""
# Bright discs on grain, and their edges.
rows, columns = np.mgrid[:{SIDE}, :{SIDE}]
centres = random.uniform(8, {SIDE} - 8, (600, 2, 1, 1))
radii = random.uniform(3, 8, (600, 1, 1))
distance = np.hypot(rows - centres[:, 0], columns - centres[:, 1]) - radii
inside = (distance < 0)[..., None].astype(np.float32)
edges = (np.abs(distance) < 1)[..., None].astype(np.float32)
colours = random.uniform(0.3, 1, (600, 1, 1, 3))
pictures = (inside * colours + random.normal(0, 0.1, (600, {SIDE}, {SIDE}, 3))).astype(np.float32)
image = keras.Input(({SIDE}, {SIDE}, 3), name="image")
x = keras.layers.Conv2D(12, 3, 2, "same", activation="relu", name="down")(image)
# After the activation, so that no convolution absorbs it.
x = keras.layers.BatchNormalization(name="batch_norm")(x)
x = keras.layers.Conv2D(16, 3, 2, "same", activation="relu", name="down_again")(x)
x = keras.layers.LayerNormalization(name="layer_norm")(x)
x = keras.layers.Conv2D(16, 3, padding="same", activation="relu", name="middle")(x)
x = keras.layers.UpSampling2D(2, interpolation="bilinear", name="up")(x)
x = keras.layers.Conv2D(12, 3, padding="same", activation="relu", name="after")(x)
x = keras.layers.UpSampling2D(2, interpolation="bilinear", name="up_again")(x)
outputs = {{
    name: keras.layers.Conv2D(1, 3, padding="same", name=name)(x)
    for name in ("inside", "edge")
}}
model = keras.Model(image, outputs)
model.compile(keras.optimizers.legacy.Adam(5e-3), keras.losses.BinaryCrossentropy(True))
model.fit(pictures, {{"inside": inside, "edge": edges}}, epochs=5, verbose=0)
"""
_SAVE = """
tf.saved_model.save(model, sys.argv[1])
"""


def text_classifier() -> Path:
    """Token ids "1 24" below 500 to three classes; `Embedding`, `Conv1D`, `Dense`."""
    return _trained("trained-text-classifier", _TEXT)


def segmenter() -> Path:
    """An image "1 32 32 3" to two logit maps of the same shape, ``inside`` and ``edge``."""
    return _trained("trained-segmenter", _SEGMENTS)


TRAINED: dict[str, Callable[[], Path]] = {
    "text-classifier": text_classifier,
    "segmenter": segmenter,
}


def _trained(name: str, script: str) -> Path:
    """Train the model, unless the cache has it; return its SavedModel."""
    model = CACHE / name
    if not model.is_dir():
        with staging(model) as folder:
            # A child process does this, so that this one does not import TensorFlow.
            command = [sys.executable, "-c", _TRAIN + script + _SAVE, str(folder)]
            subprocess.run(command, check=True, stdout=sys.stderr)
    return model
