"""Models that are elsewhere: HTTP, Kaggle, and whatever ``tf.io.gfile`` reads."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from hubopt.errors import HandleError
from hubopt.models.archives import is_archive, unpack
from hubopt.models.cache import Cached, obtain
from hubopt.models.download import Patience, download, storage_location, with_format
from hubopt.models.recognition import KERAS_SUFFIXES, keras_suffix

_KAGGLE = re.compile(
    r"https?://(?:www\.)?kaggle\.com/models/(?P<owner>[^/]+)/(?P<model>[^/]+)"
    r"/(?:frameworks/)?(?P<framework>[^/]+)/(?:variations/)?(?P<variation>[^/]+)"
    r"(?:/(?:versions/)?(?P<version>\d+))?/?"
)
_BEGINNING_BYTES = 40
_LOG = logging.getLogger(__name__)


def fetch(url: str, offline: bool = False, patience: Patience | None = None) -> Cached:
    """Return the model behind ``url``, from the cache if it was fetched before.

    Args:
        url: ``https://``, ``http://``, or a scheme of ``tf.io.gfile`` such as ``gs://``.
        offline: Take it from the cache only.
        patience: How long to try.

    Raises:
        HandleError: It cannot be fetched, is no model, or is not in the cache when offline.
        RuntimeMissingError: A package that fetching needs is missing.
    """
    patience = patience or Patience()
    try:
        urlsplit(url)
    except ValueError as error:
        raise HandleError(
            f"handle {url}", f"no URL: {error}", "scheme://host/path", "correct the address"
        ) from error
    return obtain(url, lambda folder: _make(url, folder, patience), offline)


def kaggle_name(url: str) -> str | None:
    """Return ``owner/model/framework/variation[/version]`` for a Kaggle model's URL."""
    match = _KAGGLE.fullmatch(url.partition("?")[0])
    return "/".join(part for part in match.groups() if part) if match else None


def _make(url: str, folder: Path, patience: Patience) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        _copy(url, url, folder)
    elif name := kaggle_name(url):
        _from_kaggle(url, name, folder, patience)
    else:
        _from_http(url, folder, patience)


def _from_http(url: str, folder: Path, patience: Patience) -> None:
    if os.environ.get("TFHUB_MODEL_LOAD_FORMAT") == "UNCOMPRESSED":
        _copy(url, storage_location(url, patience), folder)
        return
    name = _name(url)
    # A plain file need not be asked for in a format, and signed URLs bear no more queries.
    asked = url if name.endswith(KERAS_SUFFIXES) else with_format(url, "compressed")
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        file = Path(work) / "download"
        content_type = download(asked, file, patience)
        _open_up(url, file, folder, f"the server answers with {content_type}")


def _from_kaggle(url: str, name: str, folder: Path, patience: Patience) -> None:
    """Ask kagglehub, which knows the user's consent and keys; then the plain address."""
    try:
        import kagglehub

        shutil.copytree(kagglehub.model_download(name), folder)
    except Exception as error:  # kagglehub lets through what its own libraries raise
        first = f"{type(error).__name__}: {error}"
        _LOG.info("%s: kagglehub: %s; trying plain HTTP", url, first)
    else:
        return
    shutil.rmtree(folder, ignore_errors=True)
    try:
        _from_http(url, folder, patience)
    except HandleError as error:
        raise HandleError(
            f"handle {url}",
            f"cannot be fetched\n  - by kagglehub: {first}\n  - by plain HTTP: {error.found}",
            "a model on Kaggle that you may download",
            "check the address and the network; if Kaggle asks for consent or a login, give it "
            "there and see https://github.com/Kaggle/kagglehub#authenticate",
        ) from error


def _copy(url: str, location: str, folder: Path) -> None:
    """Copy a folder or an archive from wherever ``tf.io.gfile`` reads."""
    import tensorflow as tf

    gfile = tf.io.gfile
    location = location.rstrip("/")
    try:
        if gfile.isdir(location):
            for place, _, names in gfile.walk(location):
                target = folder / place.removeprefix(location).strip("/")
                target.mkdir(parents=True, exist_ok=True)
                for name in filter(None, names):  # stores have nameless entries
                    gfile.copy(f"{place.rstrip('/')}/{name}", str(target / name))
            return
        with tempfile.TemporaryDirectory(dir=folder.parent) as work:
            file = Path(work) / "copy"
            gfile.copy(location, str(file))
            _open_up(url, file, folder, "it leads to a file")
    except tf.errors.OpError as error:
        raise HandleError(
            f"handle {url}",
            f"cannot be fetched: {location}: {type(error).__name__}: {error.message}",
            "a SavedModel folder, an archive or a Keras file that TensorFlow can read",
            "check the address, the network and your credentials; other schemes than gs:// may "
            "need their package, such as tensorflow-io for s3://",
        ) from error


def _open_up(url: str, file: Path, folder: Path, what: str) -> None:
    """Make ``folder`` from a file that was fetched: a Keras file or an archive."""
    suffix = keras_suffix(file)
    if suffix:
        folder.mkdir()
        name = _name(url)
        file.rename(folder / (name if name.endswith(KERAS_SUFFIXES) else f"model{suffix}"))
    elif is_archive(file):
        unpack(file, folder, f"handle {url}")
    else:
        with file.open("rb") as stream:
            beginning = stream.read(_BEGINNING_BYTES)
        raise HandleError(
            f"handle {url}",
            f"{what}: {file.stat().st_size:,} bytes that begin with {beginning!r}",
            "a tar or zip archive of a SavedModel, or a Keras file",
            "check the address: a page about a model is not the model",
        )


def _name(url: str) -> str:
    return PurePosixPath(unquote(urlsplit(url).path)).name
