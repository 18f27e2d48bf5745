"""Snippets that run a SavedModel with TensorFlow."""

from __future__ import annotations

from hubopt.exporter import Artifact
from hubopt.programs.serving import SIGNATURE
from hubopt_exporters.snippets.filling import (
    CPP,
    Snippet,
    described,
    literal,
    python_imports,
    python_inputs,
    sizes,
    type_of,
    variables,
)

_TF = {
    "float32": "DT_FLOAT",
    "float64": "DT_DOUBLE",
    "int8": "DT_INT8",
    "int16": "DT_INT16",
    "int32": "DT_INT32",
    "int64": "DT_INT64",
    "uint8": "DT_UINT8",
    "uint16": "DT_UINT16",
    "uint32": "DT_UINT32",
    "uint64": "DT_UINT64",
    "bool": "DT_BOOL",
}
_JAVA = {
    "float32": "TFloat32",
    "float64": "TFloat64",
    "int32": "TInt32",
    "int64": "TInt64",
    "uint8": "TUint8",
    "bool": "TBool",
}
_JS = {"float32": "float32", "int32": "int32", "bool": "bool", "string": "string"}


def _python(artifact: Artifact) -> str:
    return f"""\
# pip install tensorflow
{python_imports(artifact, "import tensorflow as tf")}

loaded = tf.saved_model.load({literal(artifact.path)})
function = loaded.signatures[{literal(SIGNATURE)}]
{python_inputs(artifact.spec.inputs, lambda tensor: tensor.argument)}
outputs = function(**{{name: tf.constant(array) for name, array in inputs.items()}})
for name, tensor in outputs.items():
    print(name, tensor.dtype.name, tuple(tensor.shape))
"""


def _cpp(artifact: Artifact) -> str:
    inputs, outputs = variables(artifact.spec.inputs), variables(artifact.spec.outputs)
    made = "".join(
        f"  tensorflow::Tensor {name}(tensorflow::{type_of(tensor, _TF, 'C++')}, "
        f"tensorflow::TensorShape({{{sizes(tensor)}}}));\n"
        f"  {name}.flat<{CPP[tensor.dtype]}>().setZero();\n"
        for name, tensor in inputs
    )
    passed = ", ".join(
        f"{{signature.inputs().at({literal(tensor.argument)}).name(), {name}}}"
        for name, tensor in inputs
    )
    names = ", ".join(
        f"signature.outputs().at({literal(tensor.name)}).name()" for _, tensor in outputs
    )
    read = "".join(
        f"  const tensorflow::Tensor& out_{name} = outputs[{at}];  // {described(tensor)}\n"
        for at, (name, tensor) in enumerate(outputs)
    )
    return f"""\
// https://www.tensorflow.org/install/lang_c, or a build of TensorFlow with its C++ headers
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/cc/saved_model/tag_constants.h"

int main() {{
  tensorflow::SavedModelBundle bundle;
  TF_CHECK_OK(tensorflow::LoadSavedModel({{}}, {{}}, {literal(artifact.path)},
                                         {{tensorflow::kSavedModelTagServe}}, &bundle));
  const auto& signature = bundle.GetSignatures().at({literal(SIGNATURE)});
{made}
  std::vector<tensorflow::Tensor> outputs;
  TF_CHECK_OK(bundle.GetSession()->Run({{{passed}}}, {{{names}}}, {{}}, &outputs));
{read}}}
"""


def _kotlin(artifact: Artifact) -> str:
    inputs = variables(artifact.spec.inputs)
    made = "\n".join(
        f"    val {name} = {type_of(tensor, _JAVA, 'Kotlin')}.tensorOf(Shape.of({sizes(tensor)}))"
        for name, tensor in inputs
    )
    passed = ", ".join(f"{literal(tensor.argument)} to {name}" for name, tensor in inputs)
    read = "\n".join(
        f"    val out_{name} = results.get({literal(tensor.name)}).get()  // {described(tensor)}"
        for name, tensor in variables(artifact.spec.outputs)
    )
    return f"""\
// org.tensorflow:tensorflow-core-platform
import org.tensorflow.SavedModelBundle
import org.tensorflow.ndarray.Shape
import org.tensorflow.types.*

SavedModelBundle.load({literal(artifact.path)}, "serve").use {{ model ->
{made}
    val results = model.function({literal(SIGNATURE)}).call(mapOf({passed}))
{read}
}}
"""


def _js(artifact: Artifact) -> str:
    def tensor_of(dtype: str, shape: str) -> str:
        return f'tf.fill([{shape}], "")' if dtype == "string" else f'tf.zeros([{shape}], "{dtype}")'

    passed = "\n".join(
        f"  {literal(tensor.argument)}: "
        f"{tensor_of(type_of(tensor, _JS, 'JavaScript'), sizes(tensor))},"
        for tensor in artifact.spec.inputs
    )
    read = "\n".join(
        f"const {name} = results[{literal(tensor.name)}]; // {described(tensor)}"
        for name, tensor in variables(artifact.spec.outputs)
    )
    return f"""\
// npm install @tensorflow/tfjs-node
import * as tf from "@tensorflow/tfjs-node";

const model = await tf.node.loadSavedModel(
  {literal(artifact.path)}, ["serve"], {literal(SIGNATURE)});
const results = model.predict({{
{passed}
}});
{read}
"""


SNIPPETS: dict[str, Snippet] = {
    "python": _python,
    "cpp": _cpp,
    "kotlin": _kotlin,
    "js": _js,
}
