"""Snippets that run a TensorRT engine."""

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
    type_of,
    variables,
)


def _python(artifact: Artifact) -> str:
    outputs = ", ".join(literal(tensor.name) for tensor in artifact.spec.outputs)
    builder = artifact.details["builder"]
    package = "tensorrt-rtx-cu13" if builder == "tensorrt_rtx" else builder
    return f"""\
# pip install {package} cuda-bindings
{python_imports(artifact, f"import {builder} as trt", "from cuda.bindings import runtime as cuda")}

runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))
with open({literal(artifact.path)}, "rb") as file:
    engine = runtime.deserialize_cuda_engine(file.read())
context = engine.create_execution_context()
{python_inputs(artifact.spec.inputs, lambda tensor: tensor.name)}
_, stream = cuda.cudaStreamCreate()
addresses = {{}}
for name, array in inputs.items():
    _, addresses[name] = cuda.cudaMalloc(max(array.nbytes, 1))
    kind = cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
    cuda.cudaMemcpy(addresses[name], array.ctypes.data, array.nbytes, kind)
    context.set_input_shape(name, array.shape)
    context.set_tensor_address(name, addresses[name])
outputs = {{}}
for name in [{outputs}]:
    dtype = trt.nptype(engine.get_tensor_dtype(name))
    outputs[name] = np.empty(tuple(context.get_tensor_shape(name)), dtype)
    _, addresses[name] = cuda.cudaMalloc(max(outputs[name].nbytes, 1))
    context.set_tensor_address(name, addresses[name])
context.execute_async_v3(int(stream))
cuda.cudaStreamSynchronize(stream)
for name, array in outputs.items():
    kind = cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
    cuda.cudaMemcpy(array.ctypes.data, addresses[name], array.nbytes, kind)
    print(name, array.dtype, array.shape)
"""


def _cpp(artifact: Artifact) -> str:
    made = "".join(
        f"""
  void* {name} = nullptr;  // {described(tensor)}
  cudaMalloc(&{name}, {count(tensor)} * sizeof({type_of(tensor, CPP, "C++")}));
  cudaMemset({name}, 0, {count(tensor)} * sizeof({CPP[tensor.dtype]}));
  context->setInputShape({literal(tensor.name)}, nvinfer1::Dims{{{len(tensor.shape)}, \
{{{sizes(tensor)}}}}});
  context->setTensorAddress({literal(tensor.name)}, {name});
"""
        for name, tensor in variables(artifact.spec.inputs)
    )
    outputs = variables(artifact.spec.outputs)
    room = "".join(
        f"""
  void* out_{name} = nullptr;  // {described(tensor)}
  cudaMalloc(&out_{name}, {count(tensor)} * sizeof({type_of(tensor, CPP, "C++")}));
  context->setTensorAddress({literal(tensor.name)}, out_{name});
"""
        for name, tensor in outputs
    )
    return f"""\
// {artifact.details["builder"]} {artifact.details["version"]}; link with CUDA's runtime
#include <NvInfer.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <vector>

struct Logger : nvinfer1::ILogger {{
  void log(Severity severity, const char* text) noexcept override {{
    if (severity <= Severity::kWARNING) std::cerr << text << "\\n";
  }}
}} logger;

int main() {{
  std::ifstream file({literal(artifact.path)}, std::ios::binary);
  std::vector<char> bytes(std::istreambuf_iterator<char>(file), {{}});
  std::unique_ptr<nvinfer1::IRuntime> runtime(nvinfer1::createInferRuntime(logger));
  std::unique_ptr<nvinfer1::ICudaEngine> engine(
      runtime->deserializeCudaEngine(bytes.data(), bytes.size()));
  std::unique_ptr<nvinfer1::IExecutionContext> context(engine->createExecutionContext());
{made}{room}
  cudaStream_t stream;
  cudaStreamCreate(&stream);
  context->enqueueV3(stream);
  cudaStreamSynchronize(stream);
}}
"""


SNIPPETS: dict[str, Snippet] = {"python": _python, "cpp": _cpp}
