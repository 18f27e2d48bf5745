"""Models that are elsewhere: HTTP, Kaggle, Hugging Face, whatever ``tf.io.gfile`` reads."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from hubopt._util.digest import size_bytes
from hubopt.errors import HandleError, LimitError
from hubopt.models.archives import is_archive, unpack
from hubopt.models.bounded import check_sizes
from hubopt.models.cache import Cached, obtain
from hubopt.models.download import Patience, download, storage_location, with_format
from hubopt.models.formats import KERAS_SUFFIXES, keras_suffix
from hubopt.models.limits import DEFAULT_LIMITS, Limits
from hubopt.models.remote_files import copy_files
from hubopt.models.watch import Watch

_KAGGLE = re.compile(
    r"https?://(?:www\.)?kaggle\.com/models/(?P<owner>[^/]+)/(?P<model>[^/]+)"
    r"/(?:frameworks/)?(?P<framework>[^/]+)/(?:variations/)?(?P<variation>[^/]+)"
    r"(?:/(?:versions/)?(?P<version>\d+))?/?"
)
_KAGGLE_SHORT = re.compile(
    r"[\w-]+/[\w-]+/(?i:tensorflow1|tensorflow2|keras)/[\w.-]+(/\d+)?", re.ASCII
)
_BEGINNING_BYTES = 40
_LOG = logging.getLogger(__name__)


def fetch(
    url: str,
    offline: bool = False,
    patience: Patience | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Cached:
    """Return the model at ``url``, from the cache if it was fetched before.

    Args:
        url: ``https://``, ``http://``, ``hf://`` (see `hubopt.models.hugging_face`), or a scheme
            of ``tf.io.gfile`` such as ``gs://``.
        offline: Take the model from the cache only.
        patience: The number and timing of the attempts.
        limits: The size limits of the model, and the limits on the time and rate of the download.

    Raises:
        HandleError: The model cannot be fetched, is not a model, or ``offline`` is true and it is
            not in the cache.
        LimitError: The model is larger or slower than ``limits`` allow; nothing of it is kept.
        RuntimeMissingError: A package needed to fetch models is missing.
    """
    try:
        urlsplit(url)
    except ValueError as error:
        raise HandleError(
            f"handle {url}", f"not a URL: {error}", "scheme://host/path", "correct the address"
        ) from error
    return obtain(
        url,
        lambda folder: _Fetching(url, patience or Patience(), limits).make(folder),
        offline,
    )


def kaggle_url(short: str) -> str | None:
    """Return the URL of ``owner/model/framework/variation[/version]``; None if it is none."""
    return f"https://www.kaggle.com/models/{short}" if _KAGGLE_SHORT.fullmatch(short) else None


def kaggle_name(url: str) -> str | None:
    """Return ``owner/model/framework/variation[/version]`` for a Kaggle model's URL."""
    match = _KAGGLE.fullmatch(url.partition("?")[0])
    return "/".join(part for part in match.groups() if part) if match else None


class _Fetching:
    """Fetches one model; all methods that are tried share one time limit."""

    def __init__(self, url: str, patience: Patience, limits: Limits) -> None:
        self._url = url
        self._thing = f"handle {url}"
        self._patience = patience
        self._limits = limits
        self._watch = Watch(self._thing, limits)

    def make(self, folder: Path) -> None:
        """Fetch the model at the URL to ``folder``."""
        scheme = urlsplit(self._url).scheme
        if scheme == "hf":
            from hubopt.models.hugging_face import fetch_repository

            fetch_repository(self._url, folder, self._patience, self._watch, self._limits)
        elif scheme not in ("http", "https"):
            self._copy(self._url, folder)
        elif name := kaggle_name(self._url):
            self._from_kaggle(name, folder)
        else:
            self._from_http(folder)

    def _from_http(self, folder: Path) -> None:
        url = self._url
        if os.environ.get("TFHUB_MODEL_LOAD_FORMAT") == "UNCOMPRESSED":
            self._copy(storage_location(url, self._patience, self._watch), folder)
            return
        # A plain file needs no format query, and signed URLs do not allow further parameters.
        asked = url if _name(url).endswith(KERAS_SUFFIXES) else with_format(url, "compressed")
        with tempfile.TemporaryDirectory(dir=folder.parent) as work:
            file = Path(work) / "download"
            content_type = download(asked, file, self._patience, self._watch, self._limits)
            self._open_up(file, folder, f"the server answers with {content_type}")

    def _from_kaggle(self, name: str, folder: Path) -> None:
        """Try kagglehub, which has the user's consent and keys, and then plain HTTP.

        kagglehub downloads to a folder of its own and unpacks there, so only its time and the
        size of the result are bounded.
        """
        try:
            import kagglehub

            made = Path(self._watch.run(lambda: kagglehub.model_download(name)))
            check_sizes(self._thing, map(size_bytes, made.iterdir()), self._limits)
            shutil.copytree(made, folder)
        except LimitError:
            raise
        except Exception as error:  # kagglehub passes on the exceptions of its libraries
            first = f"{type(error).__name__}: {error}"
            _LOG.info("%s: kagglehub: %s; trying plain HTTP", self._url, first)
        else:
            return
        shutil.rmtree(folder, ignore_errors=True)
        try:
            self._from_http(folder)
        except LimitError:
            raise
        except HandleError as error:
            raise HandleError(
                self._thing,
                f"cannot be fetched\n  - by kagglehub: {first}\n  - by plain HTTP: {error.found}",
                "a model on Kaggle that you may download",
                "check the address and the network; if Kaggle asks for consent or a login, give it "
                "there and see https://github.com/Kaggle/kagglehub#authenticate",
            ) from error

    def _copy(self, location: str, folder: Path) -> None:
        """Copy a folder, an archive or a Keras file that ``tf.io.gfile`` reads."""
        import tensorflow as tf

        location = location.rstrip("/")
        file = folder.with_name("copy")
        try:
            is_folder = self._watch.run(lambda: copy_files(location, folder, file, self._watch))
            if not is_folder:
                self._open_up(file, folder, "it leads to a file")
        except tf.errors.OpError as error:
            raise HandleError(
                self._thing,
                f"cannot be fetched: {location}: {type(error).__name__}: {error.message}",
                "a SavedModel folder, an archive or a Keras file that TensorFlow can read",
                "check the address, the network and your credentials; schemes other than gs:// may "
                "need a package, such as tensorflow-io for s3://",
            ) from error

    def _open_up(self, file: Path, folder: Path, what: str) -> None:
        """Make ``folder`` from a fetched file: a Keras file or an archive."""
        suffix = keras_suffix(file)
        if suffix:
            folder.mkdir()
            name = _name(self._url)
            file.rename(folder / (name if name.endswith(KERAS_SUFFIXES) else f"model{suffix}"))
        elif is_archive(file):
            unpack(file, folder, self._thing, self._limits)
        else:
            with file.open("rb") as stream:
                beginning = stream.read(_BEGINNING_BYTES)
            raise HandleError(
                self._thing,
                f"{what}: {file.stat().st_size:,} bytes that begin with {beginning!r}",
                "a tar or zip archive of a SavedModel, or a Keras file",
                "check the address: a page about a model is not the model",
            )


def _name(url: str) -> str:
    return PurePosixPath(unquote(urlsplit(url).path)).name
