"""Permissions that a bundle needs and only the user can give."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hubopt.bundles.manifest import Manifest
from hubopt.errors import BundleError, HandleError, PinError
from hubopt.models.handles import LoadPolicy, is_python, is_remote
from hubopt.models.limits import DEFAULT_LIMITS, Limits
from hubopt.reference.layer_session import LayerSession, open_layer_session
from hubopt.workers.worker import Worker


@dataclass(frozen=True, slots=True)
class Trust:
    """What the user permits an untrusted bundle to do; nothing by default.

    Attributes:
        code: The bundle's handle ``module:attribute`` if it may be imported. It is given by name,
            so that only the intended module is imported.
        download: Whether the bundle's model may be downloaded. A model in the cache needs no
            permission.
        allow_ops: Operations that its model and artifacts may contain although they have side
            effects.
        limits: Limits of the size of the model and of its download, as for `LoadPolicy`.
    """

    code: str | None = None
    download: bool = False
    allow_ops: tuple[str, ...] = ()
    limits: Limits = DEFAULT_LIMITS


NO_TRUST = Trust()


def open_bundled_layer(
    bundle: Path, manifest: Manifest, trust: Trust, worker: Worker
) -> LayerSession:
    """Load the layer that a bundle was made from, within the permissions of the user.

    Operations allowed at the export need a new permission here.

    Args:
        bundle: The bundle's folder.
        manifest: Its manifest, whose handle is not the name of a callable.
        trust: The permissions of the user.
        worker: The child process that loads the layer.

    Raises:
        BundleError: A permission is missing; the error names the flag that gives it.
        HuboptError: See `open_layer_session`.
    """
    handle = manifest.handle
    if is_python(handle) and trust.code != handle:
        raise BundleError(
            f"bundle {bundle}",
            f"its layer is Python code, {handle}, which would be imported here",
            "the user's word that this may run" + (f"; found {trust.code}" if trust.code else ""),
            f"pass --allow-code {handle} (trust=Trust(code={handle!r})) if you trust it",
        )
    is_cached_only = is_remote(handle) and not trust.download
    load_policy = LoadPolicy(manifest.digest, is_cached_only, trust.allow_ops, trust.limits)
    try:
        return worker.create(open_layer_session, handle, manifest.layer, load_policy)
    except PinError:
        raise
    except HandleError as error:
        if not is_cached_only:
            raise
        raise BundleError(
            f"bundle {bundle}",
            f"its model is elsewhere, {handle}, and is not in the cache",
            "the user's word that it may be fetched",
            "pass --allow-download (trust=Trust(download=True)) if you trust it",
        ) from error
