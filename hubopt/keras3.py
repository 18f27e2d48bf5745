"""`KerasLayer` for Keras 3 on its TensorFlow backend.

    from hubopt.keras3 import KerasLayer

    model = keras.Sequential([keras.Input((), dtype="string"), KerasLayer(handle), ...])

It keeps everything that `hub.KerasLayer` documents, including the members that Keras 3 dropped.
Importing this module imports TensorFlow and Keras.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from hubopt._platform.tf_private import keras_mask, keras_nodes
from hubopt.layers.calling import declared_inputs
from hubopt.layers.hub_layer import HubLayer
from hubopt.layers.hub_loading import open_hub
from hubopt.layers.shape_hint import from_shapes
from hubopt.models.handles import LoadPolicy
from hubopt.models.limits import DEFAULT_LIMITS, Limits

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"Keras runs on {keras.backend.backend()} here, and a TensorFlow model needs TensorFlow: "
        "set KERAS_BACKEND=tensorflow before Keras is imported"
    )


@keras.saving.register_keras_serializable("hubopt")
class KerasLayer(HubLayer, keras.Layer):  # type: ignore[misc]  # mypy does not follow Keras
    """`hubopt.KerasLayer` as a Keras 3 layer; the arguments are the same.

    Raises:
        HandleError: The handle leads to nothing.
        LoadError: The model cannot be loaded, or is not safe to load.
        ValueError: The arguments contradict each other or the model.
    """

    def __init__(
        self,
        handle: Any,
        trainable: bool = False,
        arguments: Mapping[str, Any] | None = None,
        _sentinel: None = None,
        tags: Sequence[str] | None = None,
        signature: str | None = None,
        signature_outputs_as_dict: bool | None = None,
        output_key: str | None = None,
        output_shape: Any = None,
        load_options: Any = None,
        *,
        allow_ops: Sequence[str] = (),
        limits: Limits = DEFAULT_LIMITS,
        **kwargs: Any,
    ) -> None:
        casts_undeclared = kwargs.pop("autocast", True)
        dtype = kwargs.get("dtype")
        if isinstance(dtype, tf.DType):
            kwargs["dtype"] = dtype.name
        with warnings.catch_warnings():
            # hub.KerasLayer documents input_shape, which Keras 3 accepts with a warning.
            warnings.filterwarnings("ignore", "Do not pass an `input_shape`")
            super().__init__(trainable=True, autocast=False, **kwargs)
        opened = open_hub(
            handle,
            arguments,
            tags,
            signature,
            signature_outputs_as_dict,
            output_key,
            output_shape,
            load_options,
            LoadPolicy(allow_ops=tuple(allow_ops), limits=limits),
        )
        self._open(opened, dtype, casts_undeclared)
        if not isinstance(self._func, keras.Layer):  # Keras tracks a layer's variables itself
            self._adopted = [_adopt(*pair) for pair in self._variables_of_model()]
        # Keras 3 models look at the variables, and only a change of the attribute reaches those.
        self.trainable = bool(trainable)
        self._keep_input_shape()
        self._model_losses = tuple(self._loss_functions())
        self.supports_masking = False
        self.supports_jit = False  # Keras would compile by default, and not every model compiles
        self.built = True

    def _keep_input_shape(self) -> None:
        """Hide ``input_shape`` from ``keras.Sequential``, which assumes floats, for other dtypes.

        Sequential then builds itself at the first call, or from a `keras.Input`.
        """
        shape = getattr(self, "_input_shape_arg", None)
        declared = {
            spec.dtype.name
            for trace in declared_inputs(self._callable, self._hub.arguments)
            for spec in tf.nest.flatten(trace)
            if isinstance(spec, tf.TypeSpec)
        }
        if shape is not None and {self._dtype_hint, *declared} - {None, keras.config.floatx()}:
            self._input_shape_hint = (None, *shape)
            del self._input_shape_arg

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the model.

        Raises:
            ValueError: It does not accept these inputs, or its outputs differ from
                ``output_shape``.
        """
        return super().__call__(self._fit(inputs), *args, **kwargs)

    def call(self, inputs: Any, training: Any = None) -> Any:
        """Call the model on tensors; Keras calls this."""
        return self._answer(self._fit(inputs), training)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Return the symbolic outputs of a trace; shapes and dtypes are the model's own."""
        return keras.Operation.compute_output_spec(self, *args, **kwargs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return a nest of shape tuples: ``output_shape`` if given, else the traced shapes."""
        if self._hub.output_shape is not None:
            return from_shapes(self._hinted_shapes(input_shape))
        traced = self._traced_shapes(input_shape)
        if traced is None:
            symbolic = keras.tree.map_shape_structure(
                lambda shape: keras.KerasTensor(shape, self._dtype_hint or self.variable_dtype),
                input_shape,
            )
            outputs = self.compute_output_spec(symbolic)
            return keras.tree.map_structure(lambda tensor: tuple(tensor.shape), outputs)
        return from_shapes(traced)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Return None: a model passes no mask on.

        Raises:
            TypeError: A mask is given.
        """
        del inputs
        if any(leaf is not None for leaf in keras.tree.flatten(mask)):
            raise TypeError(
                f"Layer {self.name} does not support masking, but was passed an input_mask: {mask}"
            )

    def get_config(self) -> dict[str, Any]:
        """Return the configuration from which `from_config` makes the layer.

        Raises:
            NotImplementedError: The handle is a callable.
            ValueError: ``arguments`` are not JSON.
        """
        return {**super().get_config(), **self._hub_config()}

    def _get_own_losses(self) -> list[Any]:
        return [*super()._get_own_losses(), *self.get_losses_for(None)]

    # hub.KerasLayer documents the members below, which Keras 3 no longer has.

    @property
    def dynamic(self) -> bool:
        """Whether the layer can run eagerly only: never."""
        return False

    @property
    def updates(self) -> list[Any]:
        """No update operations: variables are updated when the layer is called."""
        return []

    def get_updates_for(self, inputs: Any) -> list[Any]:
        """Return no update operations, see `updates`."""
        del inputs
        return []

    def get_losses_for(self, inputs: Any) -> list[Any]:
        """Return the losses that depend on ``inputs``; for None, those of the model's weights."""
        if inputs is None:
            return [tf.convert_to_tensor(loss()) for loss in self._model_losses]
        return list(super()._get_own_losses())

    def apply(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the layer: an alias."""
        return self(inputs, *args, **kwargs)

    def get_input_at(self, node_index: int) -> Any:
        """Return the symbolic input, or list of inputs, of one of the layer's calls."""
        return _alone(self._node(node_index, "input").input_tensors)

    def get_output_at(self, node_index: int) -> Any:
        """Return the symbolic output, or list of outputs, of one of the layer's calls."""
        return _alone(self._node(node_index, "output").output_tensors)

    def get_input_shape_at(self, node_index: int) -> Any:
        """Return the shape tuple, or list of them, that one of the layer's calls was given."""
        return _alone(_shapes(self._node(node_index, "input_shape").input_tensors))

    def get_output_shape_at(self, node_index: int) -> Any:
        """Return the shape tuple, or list of them, that one of the layer's calls gave."""
        return _alone(_shapes(self._node(node_index, "output_shape").output_tensors))

    def get_input_mask_at(self, node_index: int) -> Any:
        """Return the mask, or list of masks, that one of the layer's calls was given."""
        return _alone(
            [keras_mask(tensor) for tensor in self._node(node_index, "input_mask").input_tensors]
        )

    def get_output_mask_at(self, node_index: int) -> Any:
        """Return the mask, or list of masks, that one of the layer's calls gave."""
        return _alone(
            [keras_mask(tensor) for tensor in self._node(node_index, "output_mask").output_tensors]
        )

    @property
    def input_mask(self) -> Any:
        """The mask of the layer's input, in its first symbolic call."""
        return self.get_input_mask_at(0)

    @property
    def output_mask(self) -> Any:
        """The mask of the layer's output, in its first symbolic call."""
        return self.get_output_mask_at(0)

    @property
    def input_shape(self) -> Any:
        """The shape of the layer's input, if it is the same in each call."""
        return self._same("input_shape", self.get_input_shape_at)

    @property
    def output_shape(self) -> Any:
        """The shape of the layer's output, if it is the same in each call."""
        return self._same("output_shape", self.get_output_shape_at)

    def _node(self, index: int, attribute: str) -> Any:
        nodes = keras_nodes(self)
        if not nodes:
            raise AttributeError(
                f"The layer {self.name} has never been called "
                f"and thus has no defined {attribute.replace('_', ' ')}."
            )
        if not -len(nodes) <= index < len(nodes):
            raise ValueError(
                f"Asked to get {attribute.replace('_', ' ')} at node {index}, "
                f"but the layer has only {len(nodes)} inbound nodes."
            )
        return nodes[index]

    def _same(self, attribute: str, get: Callable[[int], Any]) -> Any:
        shapes = [get(index) for index in range(max(1, len(keras_nodes(self))))]
        if any(shape != shapes[0] for shape in shapes):
            raise AttributeError(
                f"The layer {self.name} has multiple inbound nodes with different "
                f"{attribute.replace('_', ' ')}s. Use `get_{attribute}_at(node_index)` instead."
            )
        return shapes[0]


def _adopt(variable: Any, trainable: bool) -> Any:
    """Return a Keras variable that wraps the model's own, so that both share one value."""
    adopted = keras.Variable(
        variable,
        dtype=variable.dtype.name,
        trainable=trainable,
        autocast=False,
        # Keras refuses slashes.
        name=variable.name.partition(":")[0].replace("/", "_"),
    )
    assert adopted.value is variable, "Keras copied a variable of the model"
    return adopted


def _alone(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def _shapes(tensors: Sequence[Any]) -> list[Any]:
    return [tuple(tensor.shape) for tensor in tensors]
