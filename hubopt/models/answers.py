"""HTTP responses from `requests`, read piece by piece and only on request."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urljoin

if TYPE_CHECKING:
    import requests

_MOST_REDIRECTS = 30
"""The default limit of requests."""


@contextmanager
def open_answer(
    url: str, headers: Mapping[str, str], timeout_s: float, redirects: int = _MOST_REDIRECTS
) -> Iterator[requests.Response]:
    """Request ``url`` and follow redirects, without reading the body.

    `requests` itself would read and decompress the whole body of a redirect, however long it is.

    Args:
        url: The address.
        headers: Headers to send in addition to the default ones.
        timeout_s: How long the server may send nothing.
        redirects: The largest number of redirects to follow; with 0, the response may be one.

    Raises:
        requests.RequestException: There is no response, or there are too many redirects.
    """
    import requests

    class Session(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> str | None:
            return None

    with Session() as session:
        for _ in range(redirects + 1):
            response = session.get(
                url,
                headers=dict(headers),
                stream=True,
                allow_redirects=False,
                timeout=timeout_s,
                verify=_verify(),
            )
            target = requests.Session.get_redirect_target(session, response)
            if target is None or redirects == 0:
                break
            response.close()
            url = urljoin(response.url, requests.utils.requote_uri(target))
        else:
            raise requests.TooManyRedirects(f"more than {redirects} redirects")
        with response:
            yield response


def read_raw(response: requests.Response, chunk_bytes: int) -> Iterator[bytes]:
    """Yield a body piece by piece as it arrives, without decompressing it.

    Raises:
        requests.ConnectionError: The body is cut off.
    """
    import requests
    import urllib3

    try:
        # read1 returns the bytes that have arrived; read would wait until the chunk is full.
        while chunk := response.raw.read1(chunk_bytes, decode_content=False):
            yield chunk
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(str(error)) from error


def _verify() -> bool:
    """Return whether to check certificates; tensorflow_hub's variable can disable the check."""
    return os.environ.get("TFHUB_DISABLE_CERT_VALIDATION") != "true"
