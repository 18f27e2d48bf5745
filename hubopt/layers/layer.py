"""`KerasLayer` for Keras 2: a drop-in replacement for `hub.KerasLayer`.

Importing this module imports TensorFlow: `hubopt.KerasLayer` does so when first used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_hub as hub
import tf_keras

from hubopt._platform.tf_private import is_unconditional
from hubopt.layers.hub_layer import HubLayer
from hubopt.layers.hub_loading import open_hub
from hubopt.models.handles import LoadPolicy
from hubopt.models.limits import DEFAULT_LIMITS, Limits


@tf_keras.saving.register_keras_serializable("hubopt")
class KerasLayer(HubLayer, hub.KerasLayer):  # type: ignore[misc]  # tensorflow_hub is untyped
    """A drop-in replacement for `hub.KerasLayer`, a Keras 2 layer, without its defects.

    It takes the arguments of `hub.KerasLayer`, by position and by name, and every handle that
    `hubopt.models.handles.locate` accepts. `hubopt.keras3.KerasLayer` is the same for Keras 3.
    `hubopt.layers.hub_layer` lists the defects that are fixed.

    Args:
        handle: A string or path that leads to a model, or a callable. Only a string or path
            can go into the config.
        trainable: Whether the model's trainable variables belong to the layer; can be set later.
        arguments: Keyword arguments for the callable; JSON, if the config is to be saved.
        tags: The tags of the graph of a SavedModel to load.
        signature: The signature to call, with ``output_key`` or ``signature_outputs_as_dict``.
        signature_outputs_as_dict: Return all outputs of the signature by name.
        output_key: Return this output only.
        output_shape: The shape or nest of shapes of the model's outputs, without the batch.
        load_options: A ``tf.saved_model.LoadOptions``.
        allow_ops: Operations to allow although `hubopt.scanning` refuses them. Not in the
            config.
        limits: The size limits of the model and the slowest download. Not in the config.
        **kwargs: For the constructor of ``tf_keras.layers.Layer``: ``name``, ``dtype``,
            ``input_shape``, ``activity_regularizer``. ``autocast=False`` leaves the floats of
            a callable that declares no dtypes unchanged.

    Raises:
        HandleError: The handle leads to no model.
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
        self._open(opened, kwargs.get("dtype"), kwargs.pop("autocast", True))
        super(hub.KerasLayer, self).__init__(trainable=trainable, autocast=False, **kwargs)
        for variable, is_trainable in self._variables_of_model():
            self.add_weight(
                name=variable.name,
                shape=variable.shape,
                dtype=variable.dtype,
                trainable=is_trainable,
                experimental_autocast=False,
                getter=lambda *_, __variable=variable, **___: __variable,
            )
        for loss in self._loss_functions():
            self.add_loss(loss)
        self.built = True

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the model.

        Raises:
            ValueError: The model does not take such inputs, or its outputs do not have the
                shape ``output_shape``.
        """
        return super().__call__(self._fit(inputs), *args, **kwargs)

    def call(self, inputs: Any, training: Any = None) -> Any:
        """Call the model on tensors; Keras calls this method."""
        if training is None and self.trainable:
            training = tf_keras.backend.learning_phase()
        return self._answer(self._fit(inputs), training)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return a nest of ``tf.TensorShape``: ``output_shape`` if given, else a trace's."""
        if self._hub.output_shape is not None:
            return self._hinted_shapes(input_shape)
        traced = self._traced_shapes(input_shape)
        return super().compute_output_shape(input_shape) if traced is None else traced

    def get_config(self) -> dict[str, Any]:
        """Return the config that `from_config` takes.

        Raises:
            NotImplementedError: The handle is a callable.
            ValueError: ``arguments`` cannot be written as JSON.
        """
        return {**super(hub.KerasLayer, self).get_config(), **self._hub_config()}

    def apply(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the layer: an alias that current Keras lacks."""
        return self(inputs, *args, **kwargs)

    def get_losses_for(self, inputs: Any) -> list[Any]:
        """Return the losses that depend on inputs; if ``inputs`` is None, those that do not."""
        return [loss for loss in self.losses if is_unconditional(loss) is (inputs is None)]

    def get_updates_for(self, inputs: Any) -> list[Any]:
        """Return an empty list: variables are updated when the layer is called."""
        del inputs
        return []


def as_layer(model: Any) -> Any:
    """Return ``model`` itself if it is a layer, else wrap the callable in a `KerasLayer`."""
    if isinstance(model, hub.KerasLayer | HubLayer):
        return model
    return KerasLayer(model, autocast=False)
