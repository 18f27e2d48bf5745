"""The JSON Schema of every document that ``--json`` prints, made from the classes themselves."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hubopt.report.document import RAW, SCHEMA_VERSION
from hubopt.report.documents import (
    CacheCleared,
    CacheListing,
    Failure,
    FileVerdict,
    Results,
    RunOutputs,
    Targets,
    Tolerances,
)

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_PLAIN: Mapping[type, Mapping[str, str]] = {
    str: {"type": "string"},
    Path: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"$ref": "#/$defs/float"},
    type(None): {"type": "null"},
}
_FLOAT = {"anyOf": [{"type": "number"}, {"enum": ["inf", "-inf", "nan"]}]}
"""JSON has no infinity; hubopt writes it as text."""


def documents() -> Mapping[str, tuple[type, ...]]:
    """Return the classes of each verb's documents; one that fails prints a `Failure` instead."""
    from hubopt.diagnosis import Diagnosis
    from hubopt.programs.inspection import Inspection
    from hubopt.verification.compare import BundleComparison

    return {
        "export": (Results,),
        "verify": (Results, FileVerdict),
        "bench": (Results,),
        "run": (RunOutputs,),
        "compare": (BundleComparison,),
        "inspect": (Inspection,),
        "diagnose": (Diagnosis,),
        "targets": (Targets,),
        "tolerances": (Tolerances,),
        "cache": (CacheListing,),
        "cache clear": (CacheCleared,),
    }


def verb_schema(verb: str) -> dict[str, Any]:
    """Return the JSON Schema of what a verb prints with ``--json``.

    Raises:
        KeyError: No verb of this name prints JSON.
    """
    writer = _Writer()
    kinds = (*documents()[verb], Failure)
    return {
        "$schema": _DRAFT,
        "title": f"hubopt {verb} --json",
        "description": f"Version {SCHEMA_VERSION}. Keys may be added without another version.",
        "anyOf": [writer.document(verb, kind) for kind in kinds],
        "$defs": {"float": _FLOAT, **writer.definitions},
    }


class _Writer:
    """Collects the definitions that a schema refers to."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}

    def document(self, verb: str, kind: type) -> dict[str, Any]:
        """Return the schema of a document: its class with the keys of every document."""
        body = self._object(kind)
        head = {"schema_version": {"const": SCHEMA_VERSION}, "verb": {"const": verb}}
        body["properties"] = {**head, **body["properties"]}
        body["required"] = [*head, *body["required"]]
        return body

    def _object(self, kind: type) -> dict[str, Any]:
        hints = get_type_hints(kind)
        documented = _attributes(kind.__doc__ or "")
        names = [field.name for field in fields(kind)]
        raw = RAW.get(kind.__name__, frozenset())
        properties = {}
        for name in names:
            text = documented.get(name)
            properties[name] = self._kind(hints[name]) | ({"description": text} if text else {})
        return {
            "type": "object",
            "description": " ".join((kind.__doc__ or "").partition("\n\n")[0].split()),
            "properties": properties,
            "required": [name for name in names if name not in raw],
        }

    def _kind(self, kind: Any) -> dict[str, Any]:
        """Return the schema of a type annotation."""
        if isinstance(kind, type) and kind in _PLAIN:
            return dict(_PLAIN[kind])
        if kind is Any:
            return {}
        if is_dataclass(kind) and isinstance(kind, type):
            if kind.__name__ not in self.definitions:
                self.definitions[kind.__name__] = {}  # a class may refer to itself
                self.definitions[kind.__name__] = self._object(kind)
            return {"$ref": f"#/$defs/{kind.__name__}"}
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin in (Union, types.UnionType):
            return {"anyOf": [self._kind(one) for one in arguments]}
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self._kind(arguments[1])}
        if isinstance(origin, type) and issubclass(origin, Sequence):
            return self._sequence(origin, arguments)
        raise TypeError(f"{kind} has no JSON Schema")

    def _sequence(self, origin: type, arguments: tuple[Any, ...]) -> dict[str, Any]:
        if origin is tuple and arguments[-1] is not Ellipsis:
            parts = [self._kind(one) for one in arguments]
            return {"type": "array", "prefixItems": parts, "items": False}
        return {"type": "array", "items": self._kind(arguments[0])}


def _attributes(docstring: str) -> dict[str, str]:
    """Return the texts of a class's attributes from its docstring."""
    section = docstring.partition("Attributes:\n")[2]
    found = re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}
