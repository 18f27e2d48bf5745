"""One file over HTTP, with patience: cut connections are taken up again."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from hubopt.errors import HandleError

R = TypeVar("R")

_CHUNK_BYTES = 1 << 16
_LONGEST_WAIT_S = 8.0
_BUSY = (408, 429)
"""Answers below 500 that ask to come again: Request Timeout, Too Many Requests."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to try.

    Attributes:
        attempts: How often, from 1.
        first_wait_s: The pause before the second attempt; each later one is twice as long.
        timeout_s: How long a server may be silent.
    """

    attempts: int = 4
    first_wait_s: float = 0.5
    timeout_s: float = 30.0


def download(url: str, file: Path, patience: Patience) -> str:
    """Write what ``url`` answers to ``file`` and return its content type.

    Raises:
        HandleError: The server refuses, or the connection fails again and again.
    """
    attempt = _Download(url, file, patience.timeout_s)
    _patiently(attempt, url, patience)
    return attempt.content_type


def storage_location(url: str, patience: Patience) -> str:
    """Ask a hub where the unpacked model lies: the ``uncompressed`` protocol of TF Hub.

    Raises:
        HandleError: The answer is not a 303 with a ``gs://`` location.
    """
    import requests

    def ask() -> requests.Response:
        asked = with_format(url, "uncompressed")
        answer = requests.get(
            asked, allow_redirects=False, timeout=patience.timeout_s, verify=_verify()
        )
        answer.raise_for_status()
        return answer

    answer = _patiently(ask, url, patience)
    location = answer.text.strip()
    if answer.status_code != requests.codes.see_other or not location.startswith("gs://"):
        raise HandleError(
            f"handle {url}",
            f"the server answers {answer.status_code} {answer.reason} and no storage location",
            "303 See Other with a gs:// location, as TFHUB_MODEL_LOAD_FORMAT=UNCOMPRESSED asks",
            "unset TFHUB_MODEL_LOAD_FORMAT",
        )
    return location


def with_format(url: str, value: str) -> str:
    """Return ``url`` with TF Hub's query that asks for one format."""
    parts = urlsplit(url)
    query = [*parse_qsl(parts.query, keep_blank_values=True), ("tf-hub-format", value)]
    return urlunsplit(parts._replace(query=urlencode(query)))


class _Download:
    """Attempts at one download; a later one goes on where the one before was cut off."""

    def __init__(self, url: str, file: Path, timeout_s: float) -> None:
        self.content_type = ""
        self._url = url
        self._file = file
        self._timeout_s = timeout_s
        self._etag: str | None = None
        """Set while the server can be asked for the rest of the very same content."""

    def __call__(self) -> None:
        import requests

        # "identity": bytes as they are stored, so that their count is Content-Length.
        headers = {"Accept-Encoding": "identity"}
        start = self._file.stat().st_size if self._etag and self._file.exists() else 0
        if self._etag and start:
            headers |= {"Range": f"bytes={start}-", "If-Range": self._etag}
        self._etag = None
        with requests.get(
            self._url, headers=headers, stream=True, timeout=self._timeout_s, verify=_verify()
        ) as response:
            response.raise_for_status()
            self.content_type = response.headers.get("Content-Type", "no type")
            resumed = response.status_code == requests.codes.partial_content
            if resumed and not response.headers.get("Content-Range", "").startswith(
                f"bytes {start}-"
            ):
                raise requests.ConnectionError("the server answers with another range")
            self._etag = _resumable(response.headers.get)
            with self._file.open("ab" if resumed else "wb") as stream:
                for chunk in response.iter_content(_CHUNK_BYTES):
                    stream.write(chunk)
            received, declared = response.raw.tell(), response.headers.get("Content-Length")
            if declared is not None and received < int(declared):
                raise requests.ConnectionError(f"cut off after {received} of {declared} bytes")


def _resumable(header: Callable[[str], str | None]) -> str | None:
    """Return the tag by which the rest of an answer can be asked for."""
    tag = header("ETag")
    if header("Accept-Ranges") != "bytes" or header("Content-Encoding") or not tag:
        return None
    return None if tag.startswith("W/") else tag


def _patiently(attempt: Callable[[], R], url: str, patience: Patience) -> R:
    import requests
    import tenacity

    try:
        return tenacity.Retrying(
            stop=tenacity.stop_after_attempt(patience.attempts),
            wait=tenacity.wait_exponential(patience.first_wait_s, max=_LONGEST_WAIT_S),
            retry=tenacity.retry_if_exception(_may_pass),
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


def _may_pass(error: BaseException) -> bool:
    """Return whether another attempt may succeed."""
    import requests

    if isinstance(error, requests.HTTPError):
        return error.response.status_code >= 500 or error.response.status_code in _BUSY
    cut = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, cut) and not isinstance(error, requests.exceptions.SSLError)


def _verify() -> bool:
    """Return whether certificates are checked; tensorflow_hub's variable switches it off."""
    return os.environ.get("TFHUB_DISABLE_CERT_VALIDATION") != "true"
