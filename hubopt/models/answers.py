"""Answers over HTTP, taken from `requests` as they come: nothing is read that is not asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urljoin

if TYPE_CHECKING:
    import requests

_MOST_REDIRECTS = 30
"""As many as requests follows by itself."""


@contextmanager
def open_answer(
    url: str, headers: Mapping[str, str], timeout_s: float, redirects: int = _MOST_REDIRECTS
) -> Iterator[requests.Response]:
    """Ask for ``url`` and follow where the server sends us; the body is not read yet.

    `requests` itself reads the body of a redirect to its end, and unpacks it, however long it is.

    Args:
        url: The address.
        headers: What to send beside the usual.
        timeout_s: How long a server may be silent.
        redirects: How many are followed; with 0 the answer may be one.

    Raises:
        requests.RequestException: There is no answer, or there are too many redirects.
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
    """Give a body piece by piece as it arrives, and packed if it is.

    Raises:
        requests.ConnectionError: It is cut off.
    """
    import requests
    import urllib3

    try:
        # read1 returns with what is there; read waits until a chunk is full, however slowly.
        while chunk := response.raw.read1(chunk_bytes, decode_content=False):
            yield chunk
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(str(error)) from error


def _verify() -> bool:
    """Return whether certificates are checked; tensorflow_hub's variable switches it off."""
    return os.environ.get("TFHUB_DISABLE_CERT_VALIDATION") != "true"
