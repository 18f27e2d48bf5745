"""`HubLayer`: the behavior of `hub.KerasLayer`, for Keras 2 and Keras 3.

Importing this module imports TensorFlow.

It fixes these defects of `hub.KerasLayer`:

- ``output_shape`` works with an unknown batch size, may be ``()`` or a nest, and is checked
  against the outputs of the model, in a graph as well as eagerly;
- ``training`` is passed to plain Python functions and Keras models too;
- ``tags`` are in the config;
- a lookup table among the model's ``variables``, or None in its place, is not a variable;
- a mixed-precision policy does not change the dtypes of the model, and a float of another
  width is still cast to the dtype that the model takes;
- a wrong dtype, rank or structure gives an error of one line.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from hubopt.errors import LoadError
from hubopt.layers.calling import declared_inputs, fit_inputs, plain_python, takes_training
from hubopt.layers.hub_loading import HubArguments, Opened, dtype_name
from hubopt.layers.shape_hint import check, from_shapes, hold, to_shapes, with_batch

_log = logging.getLogger(__name__)


class HubLayer:
    """A mixin for a Keras layer; it precedes Keras's ``Layer`` among the base classes.

    The attributes `_func` and `_callable` have the same names as in `hub.KerasLayer`, so that
    object-based checkpoints of one class can be restored into the other.
    """

    _func: Any
    _callable: Any
    _hub: HubArguments
    _warned_of_no_weights = False
    name: str  # this attribute and those below come from Keras's Layer
    trainable: bool
    trainable_weights: list[Any]
    variable_dtype: str

    def _open(self, opened: Opened, dtype: Any, casts_undeclared: bool) -> None:
        """Initialize the attributes of this class.

        Args:
            opened: The result of `hubopt.layers.hub_loading.open_hub`.
            dtype: The ``dtype`` given to the constructor. Keras gives every layer a dtype, so
                only the constructor can distinguish a hint from the default.
            casts_undeclared: Whether floats are cast to the dtype of the layer for a callable
                that declares no dtypes.
        """
        self._hub = opened.arguments
        self._func = opened.loaded
        self._callable = opened.function
        self._is_hub_module_v1 = opened.is_tf1
        self._has_training_argument = takes_training(opened.function)
        self._dtype_hint = dtype_name(dtype)
        self._casts_undeclared = casts_undeclared

    @property
    def dtype_hint(self) -> str | None:
        """The ``dtype`` given to the constructor, or None."""
        return self._dtype_hint

    @property
    def _float_dtype(self) -> str | None:
        return self.variable_dtype if self._casts_undeclared else None

    @property
    def resolved_object(self) -> Any:
        """The object that ``handle`` was resolved to."""
        return self._func

    @property
    def _arguments(self) -> Mapping[str, Any]:
        return self._hub.arguments

    @property
    def _signature(self) -> str | None:
        return self._hub.signature

    @property
    def _output_key(self) -> str | None:
        return self._hub.output_key

    @property
    def _output_shape(self) -> Any:
        if self._hub.output_shape is None:
            raise AttributeError("no output_shape was given to the layer")
        return self._hub.output_shape

    @plain_python
    def _fit(self, inputs: Any) -> Any:
        traces = declared_inputs(self._callable, self._hub.arguments)
        return fit_inputs(f"KerasLayer {self.name!r}", traces, inputs, self._float_dtype)

    def infer(self, inputs: Any) -> Any:
        """Call the model in inference mode, without checking the shapes of its outputs.

        hubopt traces this method. `hubopt.resolve` checks ``output_shape`` and reports all
        problems at once, so that an exported graph contains no check.

        Args:
            inputs: Tensors of exactly the dtypes and the structure that the model takes.

        Raises:
            LoadError: The outputs do not have the layer's ``output_key``.
        """
        result = self._run(inputs, False)
        problem = self._key_problem(result)
        if problem is not None:
            raise LoadError(
                f"output {self._hub.output_key}",
                problem,
                "a model that returns its outputs by name, and one of their names",
                "correct output_key (--output-key), or leave it out",
            )
        return self._choose_output(result)

    def _answer(self, inputs: Any, training: Any) -> Any:
        """Call the model; ``training`` is a Python boolean, a tensor of one or None."""
        return self._check_shape(inputs, self._choose_output(self._run(inputs, training)))

    def _run(self, inputs: Any, training: Any) -> Any:
        self._check_trainability()
        args: list[Any] = []
        keywords = dict(self._hub.arguments)
        if self._signature and isinstance(inputs, Mapping):
            keywords.update(inputs)
        elif self._signature:
            keywords[_only_input(self._callable, self._hub.arguments)] = inputs
        else:
            args.append(inputs)
        function = functools.partial(self._callable, *args, **keywords)
        if not self._has_training_argument:
            return function()
        training = self._static_training(training)
        if isinstance(training, bool):
            return function(training=training)
        return tf.cond(training, lambda: function(training=True), lambda: function(training=False))

    @plain_python
    def _static_training(self, training: Any) -> Any:
        """Return a Python boolean if the value is static, else a tensor.

        A layer that is not trainable always gets False.
        """
        if not self.trainable:
            return False
        if not tf.is_tensor(training):
            return bool(training)
        static = tf.get_static_value(training)
        return tf.cast(training, tf.bool) if static is None else bool(static)

    @plain_python
    def _choose_output(self, result: Any) -> Any:
        problem = self._key_problem(result)
        if problem is not None:
            raise ValueError(problem)
        return result[self._hub.output_key] if self._hub.output_key else result

    def _key_problem(self, result: Any) -> str | None:
        """Return why ``output_key`` does not fit the model's result; None if it fits."""
        key = self._hub.output_key
        if not key:
            return None
        if not isinstance(result, Mapping):
            kind = type(result).__name__
            return f"Specifying `output_key` is forbidden if output type {kind} is not a dict."
        if key not in result:
            available = ", ".join(sorted(result))
            return (
                f"KerasLayer output does not contain the output key {key} (available: {available})."
            )
        return None

    @plain_python
    def _check_shape(self, inputs: Any, outputs: Any) -> Any:
        """Check the outputs against ``output_shape``, if it was given."""
        if self._hub.output_shape is None:
            return outputs
        return hold(f"KerasLayer {self.name!r}", self._hub.output_shape, inputs, outputs)

    def _hinted_shapes(self, input_shape: Any) -> Any:
        """Return ``output_shape`` with the batch size of ``input_shape`` in front.

        Raises:
            ValueError: A trace shows that the model returns other shapes.
        """
        hint = self._hub.output_shape
        shapes = tf.nest.flatten(to_shapes(input_shape))
        try:
            traced = self._traced_shapes(input_shape)
        except Exception as error:  # some models cannot be traced with some shapes
            _log.info("output_shape of %s cannot be checked: %s", self.name, error)
            traced = None
        if traced is None:
            return with_batch(hint, shapes)
        return check(f"KerasLayer {self.name!r}", hint, shapes, traced)

    def _traced_shapes(self, input_shape: Any) -> Any:
        """Return the nest of output shapes of a trace; None if no input dtypes are declared."""
        shapes = to_shapes(input_shape)
        for trace in declared_inputs(self._callable, self._hub.arguments):
            if tf.nest.is_nested(trace) and not tf.nest.is_nested(shapes) and len(trace) == 1:
                (trace,) = tf.nest.flatten(trace)
            try:
                specs = tf.nest.map_structure(
                    lambda shape, spec: tf.TensorSpec(shape, spec.dtype), shapes, trace
                )
            except (TypeError, ValueError):
                continue
            function = tf.function(self.infer, autograph=False)
            outputs = function.get_concrete_function(specs).structured_outputs
            return tf.nest.map_structure(lambda tensor: tensor.shape, outputs)
        return None

    @plain_python
    def _check_trainability(self) -> None:
        """Refuse to train a TF1 Hub module or a signature.

        A signature has no train mode, updates or losses.
        """
        if not self.trainable:
            return
        if self._is_hub_module_v1:
            raise ValueError(
                "Setting hub.KerasLayer.trainable = True is unsupported when "
                "loading from the TF1 Hub format."
            )
        if self._signature:
            raise ValueError(
                "Setting hub.KerasLayer.trainable = True is unsupported when "
                "calling a SavedModel signature."
            )
        if not self.trainable_weights and not self._warned_of_no_weights:
            _log.error("hub.KerasLayer is trainable but has zero trainable weights.")
            self._warned_of_no_weights = True

    def _variables_of_model(self) -> Iterator[tuple[Any, bool]]:
        """Yield each variable of the model and whether it is trainable, trainable ones first."""
        trainable = _variables(self._func, "trainable_variables")
        seen = {id(variable) for variable in trainable}
        yield from ((variable, True) for variable in trainable)
        for variable in _variables(self._func, "variables"):
            if id(variable) not in seen:
                yield variable, False

    def _loss_functions(self) -> list[Any]:
        """Return the model's regularization losses, which are zero while the layer is frozen."""
        losses = list(getattr(self._func, "regularization_losses", ()))
        if not all(callable(loss) for loss in losses):
            raise ValueError(
                "hub.KerasLayer(obj) expects obj.regularization_losses to be an "
                "iterable of callables, each returning a scalar loss term."
            )
        return [functools.partial(self._loss_if_trainable, loss) for loss in losses]

    def _loss_if_trainable(self, loss: Any) -> Any:
        return loss() if self.trainable else 0.0

    def _hub_config(self) -> dict[str, Any]:
        """Return the part of the config that Keras does not provide."""
        hub = self._hub
        if not isinstance(hub.handle, str):
            # After this type of error, tf.saved_model.save continues without a config.
            raise NotImplementedError(
                "Can only generate a valid config for `hub.KerasLayer(handle, ...)` "
                f"that uses a string `handle`.\n\nGot `type(handle)`: {type(hub.handle)}"
            )
        for key, value in hub.arguments.items():
            try:
                json.dumps(value)
            except TypeError:
                raise ValueError(
                    "`hub.KerasLayer(..., arguments)` contains non json-serializable "
                    f"values in key: {key}"
                ) from None
        given = {
            "arguments": dict(hub.arguments) or None,
            "tags": hub.tags,
            "signature": hub.signature,
            "signature_outputs_as_dict": hub.as_dict or None,
            "output_key": hub.output_key,
            "output_shape": None if hub.output_shape is None else from_shapes(hub.output_shape),
        }
        return {
            "handle": hub.handle,
            **{key: value for key, value in given.items() if value is not None},
        }


def _variables(model: Any, attribute: str) -> list[Any]:
    """Return the variables in a list of the model, without its lookup tables.

    Keras 2 lists the table of a lookup layer among the variables. A SavedModel has None in its
    place, since tables are not restored as attributes.
    """
    return [entry for entry in getattr(model, attribute, ()) if hasattr(entry, "shape")]


def _only_input(function: Any, arguments: Mapping[str, Any]) -> str:
    names = [name for name in function.structured_input_signature[1] if name not in arguments]
    if len(names) != 1:
        raise ValueError(
            f"The signature takes {len(names)} inputs: pass a dict of {', '.join(sorted(names))}."
        )
    name: str = names[0]
    return name
