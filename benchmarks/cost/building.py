"""Builds the models of the cost benchmark that are not published as a package.

    python -m benchmarks.cost.building MODEL FOLDER        MODEL: resnet50, ..., or 0.5gb

The weights are random, from a fixed seed, and scaled so that an output depends on its input, as in
a trained model: hubopt calls an output that is the same for every input `vacuous`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

GB = 10**9
# BERT base: https://arxiv.org/abs/1810.04805, section 3.
LAYERS, WIDTH, HEADS, INNER, VOCABULARY, LENGTH = 12, 768, 12, 3072, 30522, 128
GROWTH_TOKENS, GROWTH_LAYERS, GROWTH_ROWS_PER_COLUMN = 16, 8, 3.2


def resnet50(folder: str) -> None:
    """Write ResNet50, "batch 224 224 3" to 1000 logits."""
    import tf_keras as keras

    _save_vision(keras.applications.ResNet50, folder)


def efficientnetb0(folder: str) -> None:
    """Write EfficientNetB0, "batch 224 224 3" to 1000 logits."""
    import tf_keras as keras

    _save_vision(keras.applications.EfficientNetB0, folder)


def encoder(folder: str) -> None:
    """Write an encoder of BERT's size, token ids "1 128" to ``sequence`` and ``pooled``."""
    import tensorflow as tf

    weight, norm = _makers(seed=0)
    words = weight("words", VOCABULARY, WIDTH)
    places = weight("places", LENGTH, WIDTH)
    first = norm("embeddings")

    def dense(name: str, inputs: int, outputs: int) -> Callable[[Any], Any]:
        kernel, bias = weight(f"{name}/kernel", inputs, outputs), weight(f"{name}/bias", outputs)
        return lambda x: tf.matmul(x, kernel) + bias

    def split(x: Any) -> Any:
        return tf.transpose(tf.reshape(x, [LENGTH, HEADS, WIDTH // HEADS]), [1, 0, 2])

    def block(name: str) -> Callable[[Any], Any]:
        query, key, value, out = (
            dense(f"{name}/{part}", WIDTH, WIDTH) for part in ("query", "key", "value", "out")
        )
        up, down = dense(f"{name}/up", WIDTH, INNER), dense(f"{name}/down", INNER, WIDTH)
        attended, fed = norm(f"{name}/attention"), norm(f"{name}/feed_forward")

        def run(x: Any) -> Any:
            scores = tf.matmul(split(query(x)), split(key(x)), transpose_b=True)
            weights = tf.nn.softmax(scores * (WIDTH // HEADS) ** -0.5)
            mixed = tf.transpose(tf.matmul(weights, split(value(x))), [1, 0, 2])
            x = attended(x + out(tf.reshape(mixed, [LENGTH, WIDTH])))
            return fed(x + down(tf.nn.gelu(up(x), approximate=True)))

        return run

    blocks = [block(f"layer_{at}") for at in range(LAYERS)]
    pooler = dense("pooler", WIDTH, WIDTH)

    def call(tokens: Any) -> dict[str, Any]:
        x = first(tf.gather(words, tokens[0]) + places)
        for run_block in blocks:
            x = run_block(x)
        return {"sequence": x[tf.newaxis], "pooled": tf.tanh(pooler(x[:1]))}

    _save_function(call, LENGTH, folder)


def growth(size_gb: float, folder: str) -> None:
    """Write an embedding table and dense layers of ``size_gb`` * 1e9 bytes in float32.

    Token ids "1 16" to ``features``. The graph is the same for every size. Only the matrices are
    wider: the table and the layers by the same factor.
    """
    import numpy as np
    import tensorflow as tf

    per_square = GROWTH_ROWS_PER_COLUMN + GROWTH_LAYERS
    width = round((size_gb * GB / 4 / per_square) ** 0.5)
    random = np.random.default_rng(0)
    # Make one array at a time and free it before the next, to save memory.
    table = tf.Variable(_normal(random, round(GROWTH_ROWS_PER_COLUMN * width), width))
    kernels = []
    for _ in range(GROWTH_LAYERS):
        kernel = _normal(random, width, width)
        # https://arxiv.org/abs/1502.01852: activations keep their size.
        kernel *= (2 / width) ** 0.5

        kernels.append(tf.Variable(kernel))
        del kernel
    biases = [tf.Variable(_normal(random, width) * np.float32(0.1)) for _ in kernels]

    def call(tokens: Any) -> dict[str, Any]:
        x = tf.reduce_mean(tf.gather(table, tokens), axis=1) * GROWTH_TOKENS**0.5
        for kernel, bias in zip(kernels, biases, strict=True):
            x = tf.nn.relu(tf.matmul(x, kernel) + bias)
        return {"features": x}

    _save_function(call, GROWTH_TOKENS, folder)


BUILDERS: dict[str, Callable[[str], None]] = {
    "resnet50": resnet50,
    "efficientnetb0": efficientnetb0,
    "encoder": encoder,
}


def _save_vision(application: Callable[..., Any], folder: str) -> None:
    """Save a Keras application with random weights and fitting statistics."""
    import numpy as np
    import tensorflow as tf
    import tf_keras as keras

    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    model = application(weights=None, classifier_activation=None)
    norms = list(_batch_norms(model))
    for norm in norms:
        width = norm.gamma.shape[0]
        norm.gamma.assign(random.uniform(0.5, 1.5, width).astype(np.float32))
        norm.beta.assign(random.normal(0, 0.3, width).astype(np.float32))
        norm.momentum = 0.0  # after one call, the statistics are those of its batch
    # Pictures, grain and small numbers: an input unlike those in the statistics would grow from
    # one normalization to the next.
    shape = (6, 224, 224, 3)
    coarse = tf.image.resize(random.uniform(0, 255, (6, 7, 7, 3)), shape[1:3], "bicubic")
    pictures = tf.clip_by_value(coarse + random.normal(0, 20, shape), 0, 255)
    images = tf.concat([pictures, random.uniform(0, 255, shape), random.normal(0, 1, shape)], 0)
    model(tf.cast(images, tf.float32), training=True)
    for norm in norms:
        norm.momentum = 0.99
    tf.saved_model.save(model, folder)


def _batch_norms(model: Any) -> Iterator[Any]:
    import tf_keras as keras

    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            yield layer


def _makers(seed: int) -> tuple[Callable[..., Any], Callable[[str], Callable[[Any], Any]]]:
    """Return a function that makes a weight with BERT's spread, and one that makes a layer norm."""
    import numpy as np
    import tensorflow as tf

    random = np.random.default_rng(seed)

    def weight(name: str, *shape: int) -> Any:
        return tf.Variable(_normal(random, *shape) * np.float32(0.02), name=name)

    def norm(name: str) -> Callable[[Any], Any]:
        scale = tf.Variable(
            random.uniform(0.8, 1.2, WIDTH).astype(np.float32), name=f"{name}/scale"
        )
        offset = weight(f"{name}/offset", WIDTH)

        def run(x: Any) -> Any:
            centred = x - tf.reduce_mean(x, -1, keepdims=True)
            variance = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
            return centred * tf.math.rsqrt(variance + 1e-12) * scale + offset

        return run

    return weight, norm


def _normal(random: np.random.Generator, *shape: int) -> np.ndarray:
    """Return standard normal float32 values, without a float64 copy."""
    import numpy as np

    return random.standard_normal(shape, dtype=np.float32)


def _save_function(call: Callable[[Any], Any], length: int, folder: str) -> None:
    """Save ``call`` of token ids "1 length" as a callable and as its only signature."""
    import tensorflow as tf

    module = tf.Module()
    tokens = tf.TensorSpec([1, length], tf.int32, name="tokens")
    module.__call__ = tf.function(call, input_signature=[tokens])
    # A SavedModel contains only variables that are attributes of its objects.
    module.weights = list(module.__call__.get_concrete_function().graph.variables)
    tf.saved_model.save(module, folder, signatures=module.__call__)


def main(name: str, folder: str) -> None:
    """Write the SavedModel called ``name``."""
    if name in BUILDERS:
        BUILDERS[name](folder)
    else:
        growth(float(name.removesuffix("gb")), folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
