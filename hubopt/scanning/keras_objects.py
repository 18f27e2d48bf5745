"""What of Keras's own packages a config may name: an allow-list, from what is installed.

Keras resolves a name in any of its modules, downloads and file readers among them. What belongs
in a model is a class of a few kinds, or a function of the modules that hold functions for layers.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hubopt.scanning.keras_dangers import is_dangerous

_BASES = (
    "layers.Layer",
    "Operation",
    "initializers.Initializer",
    "regularizers.Regularizer",
    "constraints.Constraint",
    "losses.Loss",
    "metrics.Metric",
    "optimizers.Optimizer",
    "optimizers.legacy.Optimizer",
    "optimizers.schedules.LearningRateSchedule",
    "mixed_precision.Policy",
    "dtype_policies.DTypePolicy",
    "dtype_policies.DTypePolicyMap",
    "quantizers.Quantizer",
    "quantizers.QuantizationConfig",
    "random.SeedGenerator",
    "layers.InputSpec",
    "utils.FeatureSpace.Feature",
    "utils.FeatureSpace.Cross",
)
"""The kinds of objects that models are made of; either generation has most of them."""
_FUNCTION_MODULES = (
    "activations",
    "constraints",
    "initializers",
    "losses",
    "metrics",
    "ops",
    "regularizers",
)
_MERGING = ("add", "average", "concatenate", "dot", "maximum", "minimum", "multiply", "subtract")
_RESOLVERS = frozenset({"get", "serialize", "deserialize"})
_OTHER_PURPOSES = frozenset({"export", "saving", "testing", "testing_infra"})
"""Parts of the names of Keras's modules whose classes read and write files, or test Keras."""
_ALIASES = (
    *("Input", "normal", "uniform", "one", "zero", "identity_initializer", "l1l2"),
    *("orthogonal_initializer", "hard_swish", "swish", "silu", "relu6", "leaky_relu"),
    *("log_softmax", "acc", "bce", "kld", "mae", "mape", "mse", "msle", "cosine_proximity"),
    *("max_norm", "non_neg", "unit_norm", "huber_loss"),
)
"""Names that Keras knows beside those that its modules have."""
_COLUMNS = (
    *("BucketizedColumn", "CrossedColumn", "EmbeddingColumn", "HashedCategoricalColumn"),
    *("IdentityCategoricalColumn", "IndicatorColumn", "NumericColumn", "SharedEmbeddingColumn"),
    *("SequenceCategoricalColumn", "SequenceNumericColumn", "VocabularyFileCategoricalColumn"),
    *("VocabularyListCategoricalColumn", "WeightedCategoricalColumn"),
)
"""TensorFlow's feature columns, which ``DenseFeatures`` looks up by itself."""
_VERSION = re.compile(r"v[12]$")


@dataclass(frozen=True, slots=True)
class KerasObjects:
    """What a config may name without being registered.

    Attributes:
        package: The generation of Keras.
        classes: Of the kinds that models are made of.
        functions: What layers take as an activation, a loss and the like, by `id`.
        names: What either is called where Keras looks it up without a module, see `_plain`.
    """

    package: str
    classes: frozenset[type]
    functions: frozenset[int]
    names: frozenset[str]

    def knows(self, name: str) -> bool:
        """Whether Keras finds one of these under a name without a module."""
        return name.isidentifier() and _plain(name) in self.names

    def allows(self, module: str, name: str) -> bool:
        """Whether ``name`` in a module of Keras is one of these, whatever leads to it."""
        found = _resolve(self._here(module), name)
        if isinstance(found, type):
            return found in self.classes
        return id(found) in self.functions

    def holds(self, module: str, name: str) -> bool:
        """Whether ``name`` is anything at all in a module of Keras that is imported."""
        return _resolve(self._here(module), name) is not None

    def _here(self, module: str) -> str:
        """Return the module that this generation takes for the one that a file names."""
        first, dot, rest = module.partition(".")
        return self.package + dot + rest if first in ("keras", "tf_keras") else module


def known_objects(keras: Any) -> KerasObjects:
    """Collect what is known of a generation of Keras, which is imported.

    Args:
        keras: The package, ``keras`` or ``tf_keras``.
    """
    package = keras.__name__
    classes = frozenset(
        found
        for path in _BASES
        if isinstance(base := _attribute(keras, path), type)
        for found in _family(base)
        if _is_part_of_models(found, package)
    )
    functions = list(_functions(keras))
    names = {
        *(each.__name__ for each in classes),
        *_public_names(keras, classes),
        *(name for name, _ in functions),
        *_ALIASES,
        *_COLUMNS,
    }
    return KerasObjects(
        package,
        classes,
        frozenset(id(function) for _, function in functions),
        frozenset(map(_plain, names)),
    )


def _family(base: type) -> Iterator[type]:
    pending, seen = [base], {base}
    while pending:
        each = pending.pop()
        yield each
        new: set[type] = set(type.__subclasses__(each)) - seen
        seen |= new
        pending.extend(new)


def _is_part_of_models(found: type, package: str) -> bool:
    parts = found.__module__.split(".")
    return (
        parts[0] == package
        and _OTHER_PURPOSES.isdisjoint(parts)
        and not any(is_dangerous(each.__name__) for each in found.__mro__)
    )


def _functions(keras: Any) -> Iterator[tuple[str, Any]]:
    for path in _FUNCTION_MODULES:
        module = _attribute(keras, path)
        for name in dir(module):
            value = getattr(module, name)
            if callable(value) and not isinstance(value, type) and name not in _RESOLVERS:
                yield name, value
    for name in _MERGING:
        yield name, getattr(keras.layers, name)


def _public_names(keras: Any, classes: frozenset[type]) -> Iterator[str]:
    """Give the names of classes in public modules: short ones such as ``mse``, old ones."""
    for path in {base.rpartition(".")[0] for base in _BASES} - {""}:
        module = _attribute(keras, path)
        yield from (
            name
            for name in dir(module)
            if isinstance(value := getattr(module, name), type) and value in classes
        )


def _resolve(module: str, name: str) -> Any:
    # Never an import: of what a file names, that alone is found which Keras has imported.
    return _attribute(sys.modules.get(module), name)


def _attribute(value: Any, path: str) -> Any:
    for name in path.split("."):
        # Keras has modules that import another package at the first look at an attribute.
        value = inspect.getattr_static(value, name, None)
    return value


def _plain(name: str) -> str:
    """Return a name as it is compared: Keras writes ``GlorotUniformV2`` and ``glorot_uniform``."""
    return _VERSION.sub("", name.replace("_", "").lower())
