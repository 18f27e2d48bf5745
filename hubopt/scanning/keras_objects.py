"""The objects of Keras's own packages that a config may name: an allow-list of installed objects.

Keras resolves a name in any of its modules, and some of these download or read files. A model
needs only classes of a few kinds, and functions from the modules with functions for layers.
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
"""The kinds of objects that models consist of; both generations of Keras have most of them."""
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
"""Name parts of the Keras modules whose classes read or write files, or test Keras."""
_ALIASES = (
    *("Input", "normal", "uniform", "one", "zero", "identity_initializer", "l1l2"),
    *("orthogonal_initializer", "hard_swish", "swish", "silu", "relu6", "leaky_relu"),
    *("log_softmax", "acc", "bce", "kld", "mae", "mape", "mse", "msle", "cosine_proximity"),
    *("max_norm", "non_neg", "unit_norm", "huber_loss"),
)
"""Names that Keras resolves although its modules do not define them."""
_COLUMNS = (
    *("BucketizedColumn", "CrossedColumn", "EmbeddingColumn", "HashedCategoricalColumn"),
    *("IdentityCategoricalColumn", "IndicatorColumn", "NumericColumn", "SharedEmbeddingColumn"),
    *("SequenceCategoricalColumn", "SequenceNumericColumn", "VocabularyFileCategoricalColumn"),
    *("VocabularyListCategoricalColumn", "WeightedCategoricalColumn"),
)
"""TensorFlow's feature columns, which ``DenseFeatures`` looks up itself."""
_VERSION = re.compile(r"v[12]$")


@dataclass(frozen=True, slots=True)
class KerasObjects:
    """The objects that a config may name without registering them.

    Attributes:
        package: The generation of Keras.
        classes: Classes of the kinds that models consist of.
        functions: The `id` of every function that layers accept as an activation, loss or the like.
        names: The names under which Keras looks up these classes and functions if the config
            states no module, normalized by `_normalized`.
    """

    package: str
    classes: frozenset[type]
    functions: frozenset[int]
    names: frozenset[str]

    def knows(self, name: str) -> bool:
        """Whether Keras finds one of these objects under a name without a module."""
        return name.isidentifier() and _normalized(name) in self.names

    def allows(self, module: str, name: str) -> bool:
        """Whether ``name`` in a module of Keras is one of these objects, even as a re-export."""
        value = _resolve(self._own_module(module), name)
        if isinstance(value, type):
            return value in self.classes
        return id(value) in self.functions

    def holds(self, module: str, name: str) -> bool:
        """Whether an imported module of Keras has any object called ``name``."""
        return _resolve(self._own_module(module), name) is not None

    def _own_module(self, module: str) -> str:
        """Return this generation's module for the module that a file names."""
        first, dot, rest = module.partition(".")
        return self.package + dot + rest if first in ("keras", "tf_keras") else module


def known_objects(keras: Any) -> KerasObjects:
    """Collect the known objects of an imported generation of Keras.

    Args:
        keras: The package, ``keras`` or ``tf_keras``.
    """
    package = keras.__name__
    classes = frozenset(
        kind
        for path in _BASES
        if isinstance(base := _attribute(keras, path), type)
        for kind in _with_subclasses(base)
        if _is_part_of_models(kind, package)
    )
    functions = list(_functions(keras))
    names = {
        *(kind.__name__ for kind in classes),
        *_public_names(keras, classes),
        *(name for name, _ in functions),
        *_ALIASES,
        *_COLUMNS,
    }
    return KerasObjects(
        package,
        classes,
        frozenset(id(function) for _, function in functions),
        frozenset(map(_normalized, names)),
    )


def _with_subclasses(base: type) -> Iterator[type]:
    pending, seen = [base], {base}
    while pending:
        kind = pending.pop()
        yield kind
        new: set[type] = set(type.__subclasses__(kind)) - seen
        seen |= new
        pending.extend(new)


def _is_part_of_models(found: type, package: str) -> bool:
    parts = found.__module__.split(".")
    return (
        parts[0] == package
        and _OTHER_PURPOSES.isdisjoint(parts)
        and not any(is_dangerous(ancestor.__name__) for ancestor in found.__mro__)
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
    """Yield the names of classes in public modules: also short and old ones, such as ``mse``."""
    for path in {base.rpartition(".")[0] for base in _BASES} - {""}:
        module = _attribute(keras, path)
        yield from (
            name
            for name in dir(module)
            if isinstance(value := getattr(module, name), type) and value in classes
        )


def _resolve(module: str, name: str) -> Any:
    # Never import a module that a file names: look only in modules that Keras has imported.
    return _attribute(sys.modules.get(module), name)


def _attribute(value: Any, path: str) -> Any:
    for name in path.split("."):
        # getattr is unsafe: some modules of Keras import a package when an attribute is read.
        value = inspect.getattr_static(value, name, None)
    return value


def _normalized(name: str) -> str:
    """Normalize a name: ``GlorotUniformV2`` and ``glorot_uniform`` name the same class."""
    return _VERSION.sub("", name.replace("_", "").lower())
