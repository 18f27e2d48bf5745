"""Snippets that run a TFLite flatbuffer with LiteRT, by the names of its signature."""

from __future__ import annotations

from hubopt.exporter import Artifact
from hubopt.programs.serving import SIGNATURE
from hubopt_exporters.snippets.filling import (
    CPP,
    Snippet,
    count,
    described,
    literal,
    python_imports,
    python_inputs,
    sizes,
    swift_literal,
    type_of,
    variables,
)

_JS = {"float32": "Float32Array", "int32": "Int32Array"}


def _python(artifact: Artifact) -> str:
    return f"""\
# pip install ai-edge-litert
{python_imports(artifact, "from ai_edge_litert.interpreter import Interpreter")}

interpreter = Interpreter(model_path={literal(artifact.path)})
run = interpreter.get_signature_runner({literal(SIGNATURE)})
{python_inputs(artifact.spec.inputs, lambda tensor: tensor.argument)}
outputs = run(**inputs)
for name, array in outputs.items():
    print(name, array.dtype, array.shape)
"""


def _cpp(artifact: Artifact) -> str:
    filled = "".join(
        f"""
  auto* {name} = reinterpret_cast<{type_of(tensor, CPP, "C++")}*>(  // {described(tensor)}
      runner->input_tensor({literal(tensor.argument)})->data.raw);
  std::fill_n({name}, {count(tensor)}, {CPP[tensor.dtype]}{{}});
"""
        for name, tensor in variables(artifact.spec.inputs)
    )
    read = "".join(
        f"""\
  const auto* out_{name} = reinterpret_cast<const {type_of(tensor, CPP, "C++")}*>(
      runner->output_tensor({literal(tensor.name)})->data.raw);  // {described(tensor)}
"""
        for name, tensor in variables(artifact.spec.outputs)
    )
    return f"""\
// https://ai.google.dev/edge/litert
#include <algorithm>
#include <cstdint>
#include <memory>

#include "tensorflow/lite/interpreter.h"
#include "tensorflow/lite/kernels/register.h"
#include "tensorflow/lite/model_builder.h"
#include "tensorflow/lite/signature_runner.h"

int main() {{
  auto model = tflite::FlatBufferModel::BuildFromFile({literal(artifact.path)});
  tflite::ops::builtin::BuiltinOpResolver resolver;
  std::unique_ptr<tflite::Interpreter> interpreter;
  tflite::InterpreterBuilder(*model, resolver)(&interpreter);
  tflite::SignatureRunner* runner = interpreter->GetSignatureRunner({literal(SIGNATURE)});
  if (runner->AllocateTensors() != kTfLiteOk) return 1;
{filled}
  if (runner->Invoke() != kTfLiteOk) return 1;
{read}}}
"""


def _refuse_texts(artifact: Artifact, language: str) -> None:
    """Refuse tensors that are not plain bytes."""
    for tensor in (*artifact.spec.inputs, *artifact.spec.outputs):
        type_of(tensor, CPP, language)


def _kotlin(artifact: Artifact) -> str:
    _refuse_texts(artifact, "Kotlin")

    def buffers(names: list[tuple[str, int, str]]) -> str:
        return "\n".join(
            f"    {literal(name)} to buffer({size}),  // {text}" for name, size, text in names
        )

    inputs = [(each.argument, each.size_bytes, described(each)) for each in artifact.spec.inputs]
    outputs = [(each.name, each.size_bytes, described(each)) for each in artifact.spec.outputs]
    return f"""\
// com.google.ai.edge.litert:litert
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.Interpreter

fun buffer(bytes: Int) = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder())

val interpreter = Interpreter(File({literal(artifact.path)}))
val inputs = mapOf<String, Any>(
{buffers(inputs)}
)
val outputs = mutableMapOf<String, Any>(
{buffers(outputs)}
)
interpreter.runSignature(inputs, outputs, {literal(SIGNATURE)})
"""


def _swift(artifact: Artifact) -> str:
    _refuse_texts(artifact, "Swift")
    passed = "\n".join(
        f"  {swift_literal(tensor.argument)}: Data(count: {tensor.size_bytes}),  "
        f"// {described(tensor)}"
        for tensor in artifact.spec.inputs
    )
    read = "\n".join(
        f"let {name} = try runner.output(named: {swift_literal(tensor.name)}).data  "
        f"// {described(tensor)}"
        for name, tensor in variables(artifact.spec.outputs)
    )
    return f"""\
// CocoaPods: TensorFlowLiteSwift
import Foundation
import TensorFlowLite

let interpreter = try Interpreter(modelPath: {swift_literal(artifact.path)})
let runner = try interpreter.signatureRunner(with: {swift_literal(SIGNATURE)})
try runner.invoke(with: [
{passed}
])
{read}
"""


def _js(artifact: Artifact) -> str:
    passed = "\n".join(
        f"  {literal(tensor.argument)}: "
        f"new Tensor(new {type_of(tensor, _JS, 'JavaScript')}({count(tensor)}), "
        f"[{sizes(tensor)}]), // {described(tensor)}"
        for tensor in artifact.spec.inputs
    )
    read = "\n".join(
        f"const {name} = results[{literal(tensor.name)}].toTypedArray(); // {described(tensor)}"
        for name, tensor in variables(artifact.spec.outputs)
    )
    return f"""\
// npm install @litertjs/core; in a browser, which must be able to fetch these paths
import {{ loadAndCompile, loadLiteRt, Tensor }} from "@litertjs/core";

await loadLiteRt("node_modules/@litertjs/core/wasm/");
const model = await loadAndCompile({literal(artifact.path)}, {{ accelerator: "wasm" }});
const results = model.run({{
{passed}
}});
{read}
"""


SNIPPETS: dict[str, Snippet] = {
    "python": _python,
    "cpp": _cpp,
    "kotlin": _kotlin,
    "swift": _swift,
    "js": _js,
}
