"""`explain`: what TensorFlow's failures mean, in plain words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hubopt._platform.resources import resource_error

_KERAS_HEADING = "Exception encountered when calling"
_AUTOGRAPH_HEADING = "in user code:"
_GRAPH_HEADINGS = ("Graph execution error:", "Detected at node ", "<stack traces unavailable>")

_NODE_PREFIX = re.compile(r"^\{\{\w+ [^}]*\}\} ?")  # {{function_node __inference_f_12}}

_SAVE_AGAIN = "fetch or save the model again; every file must be there and whole"


@dataclass(frozen=True, slots=True)
class Cause:
    """A failure that TensorFlow reports in a text of its own.

    Attributes:
        pattern: Finds the text; its groups go into ``found``.
        found: What it means.
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
            "import the package that brings it, or load its library with tf.load_op_library, "
            "before the model",
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
            "fetch or save the model again; assets/ belongs to it",
        ),
        (
            r"InitializeTableFromTextFile.*(?P<why>HashTable has different value for same key"
            r"[^\n]*|Read less bytes than requested|Invalid (?:line|number)[^\n]*)",
            "a vocabulary in assets/ is damaged: {why}",
            "fetch or save the model again; assets/ belongs to it",
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
            "keep the loaded model, not only its function, in a variable",
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
    """Say what a failure of TensorFlow means.

    Args:
        error: What it raised.

    Returns:
        What was found and the way out; None for a failure that is not known here.
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
        "save the model again without it, or install the package that brings its kernel",
    )


def first_line(error: BaseException) -> str:
    """Return the telling line of an error's text, below what Keras and TensorFlow put above it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = list(_without_headings(lines)) or lines
    if telling and telling[0] == _AUTOGRAPH_HEADING:  # a traceback follows, the error ends it
        telling = [line for line in telling if re.match(r"\w*(Error|Exception): ", line)] or telling
    return _NODE_PREFIX.sub("", telling[0]) if telling else type(error).__name__


def _without_headings(lines: list[str]) -> Iterator[str]:
    is_graph_error = lines[:1] == [_GRAPH_HEADINGS[0]]
    for line in lines:
        if line.startswith(_KERAS_HEADING):
            continue
        if is_graph_error and line.startswith((*_GRAPH_HEADINGS, 'File "')):
            continue
        yield line
