"""Downloads one file over HTTP, with retries; interrupted downloads are resumed."""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from hubopt.errors import HandleError
from hubopt.models.answers import open_answer, read_raw
from hubopt.models.bounded import copy_bounded
from hubopt.models.limits import Limits
from hubopt.models.watch import Watch

if TYPE_CHECKING:
    import requests

R = TypeVar("R")

_CHUNK_BYTES = 1 << 16
_LONGEST_WAIT_S = 8.0
_SHORTEST_S = 0.01
"""The shortest timeout, because requests does not accept a timeout of 0."""
_MOST_LOCATION_BYTES = 1 << 12
_BUSY = (408, 429)
"""Status codes below 500 that allow a retry: Request Timeout, Too Many Requests."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """The number and timing of the attempts.

    Attributes:
        attempts: The number of attempts, at least 1.
        first_wait_s: The pause before the second attempt; each later pause is twice as long.
        timeout_s: How long a server may send nothing.
    """

    attempts: int = 4
    first_wait_s: float = 0.5
    timeout_s: float = 30.0


def download(url: str, file: Path, patience: Patience, watch: Watch, limits: Limits) -> str:
    """Download ``url`` to ``file`` and return its content type.

    Args:
        url: The address.
        file: The file to write.
        patience: The number and timing of the attempts.
        watch: The time limit for all attempts together.
        limits: The largest unpacked size.

    Raises:
        HandleError: The server refuses the request, or the connection fails in every attempt.
        LimitError: The download is too large, too slow, or takes too long.
    """
    attempt = _Download(url, file, patience.timeout_s, watch)
    watch.run(lambda: _with_retries(attempt, url, patience))
    _unpack_body(url, file, attempt.encoding, limits)
    return attempt.content_type


def _unpack_body(url: str, file: Path, encoding: str, limits: Limits) -> None:
    """Decompress a body that the server compressed without being asked to."""
    if encoding in ("", "identity"):
        return
    if encoding not in ("gzip", "x-gzip"):
        raise HandleError(
            f"handle {url}",
            f"the server compresses its response with {encoding}",
            "a response without compression or with gzip",
            "download the model with another program and pass its path",
        )
    packed = file.rename(file.with_name(f"{file.name}.packed"))
    try:
        with gzip.open(packed) as source, file.open("wb") as target:
            copy_bounded(source, target, f"handle {url}", limits)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise HandleError(
            f"handle {url}",
            f"the server declares a response compressed with gzip, but it is damaged: {error}",
            "a response without compression or with gzip",
            "download the model with another program and pass its path",
        ) from error
    packed.unlink()


def storage_location(url: str, patience: Patience, watch: Watch) -> str:
    """Return where the unpacked model is stored, by TF Hub's ``uncompressed`` protocol.

    Raises:
        HandleError: The response is not a 303 with a ``gs://`` location.
        LimitError: The request takes too long.
    """
    import requests

    def ask() -> tuple[int, str, str]:
        watch.check()
        asked = with_format(url, "uncompressed")
        timeout = min(patience.timeout_s, max(watch.left_s, _SHORTEST_S))
        with open_answer(asked, {}, timeout, redirects=0) as response:
            response.raise_for_status()
            text = response.raw.read(_MOST_LOCATION_BYTES, decode_content=False)
            return response.status_code, response.reason, text.decode(errors="replace").strip()

    status, reason, location = watch.run(lambda: _with_retries(ask, url, patience))
    if status != requests.codes.see_other or not location.startswith("gs://"):
        raise HandleError(
            f"handle {url}",
            f"the server answers {status} {reason} without a storage location",
            "303 See Other with a gs:// location, as TFHUB_MODEL_LOAD_FORMAT=UNCOMPRESSED requires",
            "unset TFHUB_MODEL_LOAD_FORMAT",
        )
    return location


def with_format(url: str, value: str) -> str:
    """Return ``url`` with TF Hub's query parameter for the format ``value``."""
    parts = urlsplit(url)
    query = [*parse_qsl(parts.query, keep_blank_values=True), ("tf-hub-format", value)]
    return urlunsplit(parts._replace(query=urlencode(query)))


class _Download:
    """Attempts at one download; an attempt resumes where the previous one was cut off."""

    def __init__(self, url: str, file: Path, timeout_s: float, watch: Watch) -> None:
        self.content_type = ""
        self.encoding = ""
        self._url = url
        self._file = file
        self._timeout_s = timeout_s
        self._watch = watch
        self._etag: str | None = None
        """Set while the server can be asked for the rest of the same content."""

    def __call__(self) -> None:
        import requests

        self._watch.check()
        # "identity": the body is sent as stored, so that its length is Content-Length.
        headers = {"Accept-Encoding": "identity"}
        start = self._file.stat().st_size if self._etag and self._file.exists() else 0
        if self._etag and start:
            headers |= {"Range": f"bytes={start}-", "If-Range": self._etag}
        self._etag = None
        timeout = min(self._timeout_s, max(self._watch.left_s, _SHORTEST_S))
        with open_answer(self._url, headers, timeout) as response:
            response.raise_for_status()
            self.content_type = response.headers.get("Content-Type", "no type")
            self.encoding = response.headers.get("Content-Encoding", "").strip().lower()
            resumed = response.status_code == requests.codes.partial_content
            if resumed and not response.headers.get("Content-Range", "").startswith(
                f"bytes {start}-"
            ):
                raise requests.ConnectionError("the server answers with a different range")
            self._etag = _resumable(response.headers.get)
            self._receive(response, start if resumed else 0)

    def _receive(self, response: requests.Response, start: int) -> None:
        import requests

        declared = response.headers.get("Content-Length", "")
        meter = self._watch.meter(start)
        if declared.isdecimal():
            meter.declare(start + int(declared))
        received = 0
        with self._file.open("ab" if start else "wb") as stream:
            for chunk in read_raw(response, _CHUNK_BYTES):
                meter.add(len(chunk))
                stream.write(chunk)
                received += len(chunk)
        if declared.isdecimal() and received < int(declared):
            raise requests.ConnectionError(f"cut off after {received} of {declared} bytes")


def _resumable(header: Callable[[str], str | None]) -> str | None:
    """Return the ETag with which the rest of a response can be requested; None if it cannot."""
    tag = header("ETag")
    if header("Accept-Ranges") != "bytes" or header("Content-Encoding") or not tag:
        return None
    return None if tag.startswith("W/") else tag


def _with_retries(attempt: Callable[[], R], url: str, patience: Patience) -> R:
    import requests
    import tenacity

    try:
        return tenacity.Retrying(
            stop=tenacity.stop_after_attempt(patience.attempts),
            wait=tenacity.wait_exponential(patience.first_wait_s, max=_LONGEST_WAIT_S),
            retry=tenacity.retry_if_exception(_is_transient),
            before_sleep=tenacity.before_sleep_log(_LOG, logging.WARNING),
            reraise=True,
        )(attempt)
    except requests.RequestException as error:
        raise HandleError(
            f"handle {url}",
            f"cannot be fetched: {type(error).__name__}: {error}",
            "a URL that answers with a SavedModel archive or a Keras file",
            "check the address and the network, or download the model and pass its path",
        ) from error


def _is_transient(error: BaseException) -> bool:
    """Return whether another attempt may succeed."""
    import requests

    if isinstance(error, requests.HTTPError):
        return error.response.status_code >= 500 or error.response.status_code in _BUSY
    cut = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, cut) and not isinstance(error, requests.exceptions.SSLError)
