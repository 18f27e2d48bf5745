"""`explain` and `first_line`: the cause of a failure of TensorFlow or a converter, in short."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hubopt._platform.resources import resource_error

_KERAS_HEADING = "Exception encountered when calling"
_AUTOGRAPH_HEADING = "in user code:"
_GRAPH_HEADING = "Graph execution error:"
_GRAPH_NOTES = ("Detected at node ", "<stack traces unavailable>", 'File "', "Node: ")
_ROOTS = re.compile(r"^\d+ root error\(s\) found\.$")

_PREFIXES = (
    re.compile(r"^\{\{\w+ [^}]*\}\} ?"),  # TensorFlow: {{function_node __inference_f_12}}
    re.compile(r"^\(\d+\) [A-Z_]+: +"),  # TensorFlow, one of several roots: (0) INVALID_ARGUMENT:
    re.compile(r"^.*?(?:^|:\d+: |\)\): |\]\): )error: (?=\S)"),  # MLIR: the place in the source
    re.compile(r"^loc\(.*?\)[\])]*: "),  # MLIR, the other way round
    re.compile(r"^make_sure failure: "),  # tf2onnx
    re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : "),
    re.compile(r"^/\S+\.(?:cc|h):\d+ .*?\) (?=[A-Z])"),  # onnxruntime: file, line and C++ function
    re.compile(r"^\[(?:Shape|Type)InferenceError\] (?:Inference error\(s\): )?"),  # onnx
)
_NODE_SUFFIX = re.compile(r"(?: *\[\[\{\{node [^}]*\}\}\]\])? *(?:\[Op:\w+\])?$")
_ONNX_NODE = re.compile(
    r".*\(op_type:(?P<op>[^,]+), node name: (?P<node>[^)]*)\): (?:\[\w+InferenceError\] )?"
)
_MOST_CHARACTERS = 300
"""The longest cause that is shown; the log has all of it."""

_SAVE_AGAIN = "fetch or save the model again; every file must be present and complete"


@dataclass(frozen=True, slots=True)
class Cause:
    """A failure that TensorFlow reports only in the text of an error.

    Attributes:
        pattern: Matches the text; its groups are inserted into ``found``.
        found: What the text means.
        way_out: What to do about it.
    """

    pattern: re.Pattern[str]
    found: str
    way_out: str


CAUSES = tuple(
    Cause(re.compile(pattern, re.DOTALL), found, way_out)
    for pattern, found, way_out in (
        (
            r"Op type not registered '(?P<op>[^']+)'",
            "operation {op} is not part of this TensorFlow",
            "import the package that registers it, or load its library with tf.load_op_library, "
            "before loading the model",
        ),
        (
            r"Failed to find any matching files for (?P<file>\S+)",
            "the files of the variables are missing: {file}.*",
            _SAVE_AGAIN,
        ),
        (
            r"(?P<file>\S+\.data-\d+-of-\d+); No such file or directory",
            "a file of the variables is missing: {file}",
            _SAVE_AGAIN,
        ),
        (
            r"(?P<file>\S*/assets/\S+); No such file or directory",
            "a file that the model reads is missing: {file}",
            "fetch or save the model again, with its folder assets/",
        ),
        (
            r"InitializeTableFromTextFile.*(?P<why>HashTable has different value for same key"
            r"[^\n]*|Read less bytes than requested|Invalid (?:line|number)[^\n]*)",
            "a vocabulary in assets/ is damaged: {why}",
            "fetch or save the model again, with its folder assets/",
        ),
        (
            r"TensorBundle at (?P<file>\S+) shard .*Checksum does not match",
            "the values of a variable are damaged in {file}.data-*: the checksum does not match",
            _SAVE_AGAIN,
        ),
        (
            r"Unable to read file \((?P<file>[^)]*)\)",
            "{file} is damaged",
            _SAVE_AGAIN,
        ),
        (
            r"file is too short to be an sstable",
            "variables/variables.index is cut short",
            _SAVE_AGAIN,
        ),
        (
            r"^Read less bytes than requested",
            "a file of the variables is cut short",
            _SAVE_AGAIN,
        ),
        (
            r"Error parsing message|Cannot parse file",
            "saved_model.pb is damaged or cut short",
            _SAVE_AGAIN,
        ),
        (
            r"variables which have been deleted",
            "the function was kept, but the object with its variables was not",
            "keep a reference to the loaded model, not only to its function",
        ),
        (
            r"Value for attr '\w+' of (?P<dtype>\w+) is not in the list of allowed values: "
            r"(?P<allowed>[^\n]*).*\bOp<name=(?P<op>\w+)",
            "operation {op} does not take {dtype}, only {allowed}",
            "cast the inputs, or save the model again with another dtype",
        ),
    )
)

_NO_KERNEL = re.compile(
    r"No OpKernel was registered to support Op '(?P<op>[^']+)'.*?"
    r"with these attrs: \[(?P<attributes>[^\n]*)\]\n"
    r"Registered devices: \[(?P<devices>[^\]]*)\]",
    re.DOTALL,
)
_NO_DEVICE = re.compile(
    r"Could not find device for node: \{\{node [^}]*\}\} = (?P<op>[\w>]+)"
    r"(?:\[(?P<attributes>[^\n]*)\]\n)?"
)
_KERNEL = re.compile(r"device='(?P<device>\w+)'(?:; (?P<limits>[^\n]*))?")


def explain(error: BaseException) -> tuple[str, str] | None:
    """Explain a failure of TensorFlow.

    Args:
        error: The error that was raised.

    Returns:
        What was found and the way out; None for an unknown failure.
    """
    shortage = resource_error(error)
    if shortage is not None:
        return shortage.found, shortage.way_out
    text = str(error).strip()
    for pattern in (_NO_KERNEL, _NO_DEVICE):
        match = pattern.search(text)
        if match:
            return _explain_missing_kernel(match, text)
    for cause in CAUSES:
        match = cause.pattern.search(text)
        if match:
            return cause.found.format(**match.groupdict()), cause.way_out
    return None


def _explain_missing_kernel(match: re.Match[str], text: str) -> tuple[str, str]:
    op, attributes = match["op"], match["attributes"] or ""
    present = set((match.groupdict().get("devices") or "CPU").replace(" ", "").split(","))
    kernels = {
        kernel["device"] for kernel in _KERNEL.finditer(text) if "XLA" not in kernel["device"]
    }
    if kernels & present:
        dtypes = ", ".join(re.findall(r"\w+=DT_\w+", attributes)) or "these attributes"
        return (
            f"operation {op} has no kernel for {dtypes} on {', '.join(sorted(present))}",
            "save the model again with another dtype, or use a machine with a device that has one",
        )
    if kernels:
        needed = ", ".join(sorted(kernels))
        return (
            f"operation {op} runs on {needed} only, and this machine has none for TensorFlow",
            f"use a machine with a {needed}, or save the model again for the CPU",
        )
    return (
        f"operation {op} has no kernel in this TensorFlow",
        "save the model again without it, or install the package that provides its kernel",
    )


def first_line(error: BaseException | str) -> str:
    """Return the first cause that an error names, on one line, without headings and places.

    Converters and TensorFlow begin with headings, and give the place of an operation in their own
    source. What follows the first cause is for the log.

    Args:
        error: The error, or its text.
    """
    text = str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    body = list(_without_headings(lines))
    if not body:
        kind = "unknown error" if isinstance(error, str) else type(error).__name__
        return _without_reason(text) or kind
    if body[0] == _AUTOGRAPH_HEADING:  # a traceback follows and ends with the error
        body = [line for line in body if re.match(r"\w*(Error|Exception): ", line)] or body
    line = _NODE_SUFFIX.sub("", _of_inner_node(body[0]))
    for prefix in _PREFIXES:
        line = prefix.sub("", line)
    line = line.rstrip(" ;,")
    return line if len(line) <= _MOST_CHARACTERS else f"{line[: _MOST_CHARACTERS - 3]}..."


def _without_headings(lines: list[str]) -> Iterator[str]:
    is_graph_error = lines[:1] == [_GRAPH_HEADING]
    for line in lines:
        if line.startswith(_KERAS_HEADING) or line == _GRAPH_HEADING or _ROOTS.match(line):
            continue
        if is_graph_error and line.startswith(_GRAPH_NOTES):
            continue
        yield line


def _without_reason(text: str) -> str | None:
    """Return a sentence for an error of TensorFlow that has headings only."""
    found = re.search(r"Detected at node (\S+)", text)
    if found:
        return f"node {found[1]} fails, and TensorFlow gives no reason"
    return "TensorFlow gives no reason" if _GRAPH_HEADING in text else None


def _of_inner_node(line: str) -> str:
    """Name the innermost node of an error of onnx, which nests those of loops and branches."""
    found = _ONNX_NODE.match(line)
    return line if found is None else f"{found['op']} {found['node']}: {line[found.end() :]}"
