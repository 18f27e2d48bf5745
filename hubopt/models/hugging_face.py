"""TensorFlow models of the Hugging Face hub: ``hf://owner/name[@revision][/path]``.

The hub's public HTTP interface lists a repository's files at one commit. Only the files of one
model are fetched, by the bounded downloader; no token is sent, because the hub redirects to other
hosts.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from hubopt._util.escaping import printable
from hubopt.errors import HandleError
from hubopt.models.download import Patience, download
from hubopt.models.formats import KERAS_SUFFIXES, MODEL_FILES
from hubopt.models.limits import Limits
from hubopt.models.watch import Watch

_HANDLE = re.compile(
    r"hf://(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?(?:/(?P<path>.+?))?/?",
    re.ASCII,
)
_ENDPOINT = "https://huggingface.co"
_ENDPOINT_VARIABLE = "HF_ENDPOINT"
"""The variable of huggingface_hub for another host of the same interface."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_MOST_LISTING_BYTES = 32 << 20
_MOST_FILES = 10_000
_PARTS = (*MODEL_FILES, "fingerprint.pb", "keras_metadata.pb")
_FOLDERS = ("variables", "assets", "assets.extra")
"""What a SavedModel consists of; a repository has other files beside it."""
_ONLY_WEIGHTS = "tf_model.h5"
"""What the transformers library calls a file of weights, which is no model without its class."""
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Repository:
    """A place on the hub.

    Attributes:
        name: ``owner/name``.
        revision: A branch, a tag or a commit.
        path: The folder or file of the model; empty for the only model.
    """

    name: str
    revision: str
    path: str

    @classmethod
    def parse(cls, handle: str) -> Repository:
        """Read a handle.

        Raises:
            HandleError: It is none of the hub's.
        """
        found = _HANDLE.fullmatch(handle)
        if found is None or not _is_plain(found["path"] or "x"):
            raise HandleError(
                f"handle {handle}",
                "no place on the Hugging Face hub",
                "hf://owner/name, hf://owner/name@revision or hf://owner/name/path/in/it",
                "correct the address",
            )
        return cls(found["repository"], found["revision"] or "main", found["path"] or "")


def fetch_repository(
    handle: str, folder: Path, patience: Patience, watch: Watch, limits: Limits
) -> None:
    """Make ``folder`` from the model in a repository of the hub.

    Args:
        handle: The handle.
        folder: Where to; it does not exist yet.
        patience: How often to try.
        watch: How long all files may take together.
        limits: How much may come, of all files together, and how slowly.

    Raises:
        HandleError: The hub refuses, or there is not exactly one model.
        LimitError: It is too large, too slow, or takes too long.
    """
    place = Repository.parse(handle)
    endpoint = os.environ.get(_ENDPOINT_VARIABLE, _ENDPOINT).rstrip("/")
    folder.mkdir()
    listing = folder.with_name("listing")
    url = f"{endpoint}/api/models/{place.name}/revision/{quote(place.revision, safe='')}"
    _get(handle, url, listing, patience, watch, replace(limits, download_bytes=_MOST_LISTING_BYTES))
    commit, files = _read_listing(handle, listing)
    listing.unlink()
    model = _choose(handle, place, files)
    left = limits.download_bytes
    for name in _files_of(model, files):
        target = folder / PurePosixPath(name).relative_to(PurePosixPath(model).parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        url = f"{endpoint}/{place.name}/resolve/{commit}/{quote(name)}"
        _get(handle, url, target, patience, watch, replace(limits, download_bytes=max(left, 1)))
        left -= target.stat().st_size


def _get(
    handle: str, url: str, file: Path, patience: Patience, watch: Watch, limits: Limits
) -> None:
    watch.check()
    one = Watch(f"handle {handle}", replace(limits, download_s=max(watch.left_s, 1e-3)))
    try:
        download(url, file, patience, one, limits)
    except HandleError as error:
        refused = any(code in error.found for code in ("401 ", "403 ", "404 "))
        if not refused:
            raise
        raise HandleError(
            f"handle {handle}",
            error.found,
            "a public repository with a TensorFlow model",
            "check the address; download a private or gated model with the hub's own client "
            "(hf download) and pass its folder",
        ) from error


def _read_listing(handle: str, listing: Path) -> tuple[str, list[str]]:
    """Return the commit and the files of a repository, from the hub's answer."""
    try:
        raw = json.loads(listing.read_bytes())
        commit, files = raw["sha"], [entry["rfilename"] for entry in raw["siblings"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _odd(handle, f"the hub's answer is no listing: {error}") from error
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise _odd(handle, f"the hub's answer names no commit: {commit!r}")
    if len(files) > _MOST_FILES:
        raise _odd(handle, f"it has more than {_MOST_FILES:,} files")
    strange = [name for name in files if not isinstance(name, str) or not _is_plain(name)]
    if strange:
        raise _odd(handle, f"it has files outside of it: {_listed(list(map(str, strange)))}")
    return commit, sorted(files)


def _is_plain(name: str) -> bool:
    """Whether a name is a path inside a folder, on every system."""
    return bool(name) and not any(
        part in ("", ".", "..") or "\\" in part or ":" in part or "\0" in part
        for part in name.split("/")
    )


def _choose(handle: str, place: Repository, files: Sequence[str]) -> str:
    """Return the file by which the model is recognized: ``saved_model.pb`` or the Keras file."""
    models = [name for name in files if _is_model(name)]
    if place.path:
        # The folder or the file itself, else what lies below the folder.
        exact = [
            name
            for name in models
            if name == place.path or str(PurePosixPath(name).parent) == place.path
        ]
        models = exact or [name for name in models if name.startswith(f"{place.path}/")]
    if len(models) == 1:
        return models[0]
    weights = _ONLY_WEIGHTS in {PurePosixPath(name).name for name in files}
    hint = (
        f"; {_ONLY_WEIGHTS} holds the weights of a class of the transformers library only"
        if weights and not models
        else ""
    )
    places = [
        str(PurePosixPath(name).parent) if PurePosixPath(name).name in MODEL_FILES else name
        for name in models
    ]
    found = (
        f"{len(models)} TensorFlow models are in it: {_listed(places)}"
        if models
        else f"no TensorFlow model is in it; it holds {_listed(files)}{hint}"
    )
    inner = next((name for name in places if name != "."), "path")
    raise HandleError(
        f"handle {handle}",
        found,
        "exactly one SavedModel folder or Keras file",
        f"name it: hf://{place.name}/{inner}"
        if models
        else "load it with its own library, save it by model.export, and pass that folder",
    )


def _is_model(name: str) -> bool:
    last = PurePosixPath(name).name
    return last in MODEL_FILES or (last.lower().endswith(KERAS_SUFFIXES) and last != _ONLY_WEIGHTS)


def _files_of(model: str, files: Sequence[str]) -> list[str]:
    """Return the files of a model: all parts of a SavedModel, or the one Keras file."""
    if PurePosixPath(model).name not in MODEL_FILES:
        return [model]
    parent = PurePosixPath(model).parent
    prefix = "" if str(parent) == "." else f"{parent}/"
    inside = [name.removeprefix(prefix) for name in files if name.startswith(prefix)]
    return [
        f"{prefix}{name}"
        for name in inside
        if name in _PARTS or ("/" in name and name.partition("/")[0] in _FOLDERS)
    ]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(printable, names[:_SHOWN])) or "nothing"
    more = len(names) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _odd(handle: str, found: str) -> HandleError:
    return HandleError(
        f"handle {handle}",
        found,
        "the listing of a model's repository",
        "check the address, or download the model and pass its path",
    )
