"""Snippets that run an ONNX model with onnxruntime."""

from __future__ import annotations

from hubopt.exporter import Artifact
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

_KOTLIN = {
    "float32": "FloatBuffer",
    "float64": "DoubleBuffer",
    "int16": "ShortBuffer",
    "int32": "IntBuffer",
    "int64": "LongBuffer",
}
_SWIFT = {
    "float32": ".float",
    "int8": ".int8",
    "uint8": ".uInt8",
    "int32": ".int32",
    "uint32": ".uInt32",
    "int64": ".int64",
    "uint64": ".uInt64",
}
_JS = {
    "float32": "Float32Array",
    "float64": "Float64Array",
    "int8": "Int8Array",
    "int16": "Int16Array",
    "int32": "Int32Array",
    "int64": "BigInt64Array",
    "uint8": "Uint8Array",
    "uint16": "Uint16Array",
    "uint32": "Uint32Array",
    "uint64": "BigUint64Array",
    "bool": "Uint8Array",
}


def _python(artifact: Artifact) -> str:
    return f"""\
# pip install onnxruntime
{python_imports(artifact, "import onnxruntime")}

session = onnxruntime.InferenceSession(
    {literal(artifact.path)}, providers=["CPUExecutionProvider"]
)
{python_inputs(artifact.spec.inputs, lambda tensor: tensor.name)}
names = [output.name for output in session.get_outputs()]
outputs = dict(zip(names, session.run(names, inputs)))
for name, array in outputs.items():
    print(name, array.dtype, array.shape)
"""


def _cpp(artifact: Artifact) -> str:
    inputs, outputs = variables(artifact.spec.inputs), variables(artifact.spec.outputs)
    made = "".join(
        f"""
  auto {name} = std::make_unique<{type_of(tensor, CPP, "C++")}[]>({count(tensor)});  \
// {described(tensor)}
  const std::vector<int64_t> {name}_shape{{{sizes(tensor)}}};
  inputs.push_back(Ort::Value::CreateTensor<{CPP[tensor.dtype]}>(
      memory, {name}.get(), {count(tensor)}, {name}_shape.data(), {name}_shape.size()));
"""
        for name, tensor in inputs
    )
    read = "".join(
        f"  const {type_of(tensor, CPP, 'C++')}* out_{name} = "
        f"outputs[{at}].GetTensorData<{CPP[tensor.dtype]}>();  // {described(tensor)}\n"
        for at, (name, tensor) in enumerate(outputs)
    )
    return f"""\
// onnxruntime: https://github.com/microsoft/onnxruntime/releases; link with -lonnxruntime
#include <onnxruntime_cxx_api.h>

#include <cstdint>
#include <memory>
#include <vector>

int main() {{
  Ort::Env env(ORT_LOGGING_LEVEL_WARNING, "hubopt");
  Ort::Session session(env, ORT_TSTR({literal(artifact.path)}), Ort::SessionOptions{{}});
  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  std::vector<Ort::Value> inputs;
{made}
  const char* input_names[] = {{{", ".join(literal(tensor.name) for _, tensor in inputs)}}};
  const char* output_names[] = {{{", ".join(literal(tensor.name) for _, tensor in outputs)}}};
  auto outputs = session.Run(Ort::RunOptions{{nullptr}}, input_names, inputs.data(), inputs.size(),
                             output_names, {len(outputs)});
{read}}}
"""


def _kotlin(artifact: Artifact) -> str:
    inputs = variables(artifact.spec.inputs)
    made = "\n".join(
        f"val {name} = OnnxTensor.createTensor(environment, "
        f"{type_of(tensor, _KOTLIN, 'Kotlin')}.allocate({count(tensor)}), "
        f"longArrayOf({sizes(tensor)}))  // {described(tensor)}"
        for name, tensor in inputs
    )
    passed = ", ".join(f"{literal(tensor.name)} to {name}" for name, tensor in inputs)
    read = "\n".join(
        f"    val out_{name} = results[{literal(tensor.name)}].get().value  // {described(tensor)}"
        for name, tensor in variables(artifact.spec.outputs)
    )
    return f"""\
// com.microsoft.onnxruntime:onnxruntime, or onnxruntime-android
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import java.nio.*

val environment = OrtEnvironment.getEnvironment()
val session = environment.createSession({literal(artifact.path)})
{made}
session.run(mapOf({passed})).use {{ results ->
{read}
}}
"""


def _swift(artifact: Artifact) -> str:
    inputs, outputs = variables(artifact.spec.inputs), variables(artifact.spec.outputs)
    made = "\n".join(
        f"let {name} = try ORTValue(  // {described(tensor)}\n"
        f"  tensorData: NSMutableData(length: {tensor.size_bytes})!, "
        f"elementType: {type_of(tensor, _SWIFT, 'Swift')}, shape: [{sizes(tensor)}])"
        for name, tensor in inputs
    )
    passed = ", ".join(f"{swift_literal(tensor.name)}: {name}" for name, tensor in inputs)
    names = ", ".join(swift_literal(tensor.name) for _, tensor in outputs)
    read = "\n".join(
        f"let out_{name} = try results[{swift_literal(tensor.name)}]!.tensorData() as Data"
        f"  // {described(tensor)}"
        for name, tensor in outputs
    )
    return f"""\
// https://github.com/microsoft/onnxruntime-swift-package-manager
import Foundation
import OnnxRuntimeBindings

let environment = try ORTEnv(loggingLevel: .warning)
let session = try ORTSession(
  env: environment, modelPath: {swift_literal(artifact.path)}, sessionOptions: nil)
{made}
let results = try session.run(
  withInputs: [{passed}], outputNames: [{names}], runOptions: nil)
{read}
"""


def _js(artifact: Artifact) -> str:
    def tensor_of(tensor: object, dtype: str, size: int, shape: str) -> str:
        if dtype == "string":
            return f'new ort.Tensor("string", Array({size}).fill(""), [{shape}])'
        return f'new ort.Tensor("{dtype}", new {tensor}({size}), [{shape}])'

    made = "\n".join(
        f"  {literal(tensor.name)}: "
        + tensor_of(
            type_of(tensor, {**_JS, "string": ""}, "JavaScript"),
            tensor.dtype,
            count(tensor),
            sizes(tensor),
        )
        + ","
        for tensor in artifact.spec.inputs
    )
    read = "\n".join(
        f"const {name} = results[{literal(tensor.name)}].data; // {described(tensor)}"
        for name, tensor in variables(artifact.spec.outputs)
    )
    return f"""\
// npm install onnxruntime-node; in a browser, onnxruntime-web
import * as ort from "onnxruntime-node";

const session = await ort.InferenceSession.create({literal(artifact.path)});
const results = await session.run({{
{made}
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
