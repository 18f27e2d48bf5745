"""What a bundle's manifest asks for that only its user may allow."""

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
    """What the user vouches for of a bundle, which may come from anywhere; nothing by default.

    Attributes:
        code: The bundle's handle ``module:attribute``, if it may be imported. It is said by name,
            so that nobody imports another one than is meant.
        download: Whether the bundle's model may be fetched. What was fetched before is in the
            cache and needs no leave.
        allow_ops: Operations that its model and its artifacts may have although they reach
            outside.
        limits: How large the model may be, and how slowly it may come, as for `LoadPolicy`.
    """

    code: str | None = None
    download: bool = False
    allow_ops: tuple[str, ...] = ()
    limits: Limits = DEFAULT_LIMITS


NO_TRUST = Trust()


def open_bundled_layer(
    bundle: Path, manifest: Manifest, trust: Trust, worker: Worker
) -> LayerSession:
    """Load the layer that a bundle was made from, as far as the user trusts it.

    Operations that were allowed at the export are not allowed by that.

    Args:
        bundle: The bundle's folder.
        manifest: Its manifest, whose handle is not a callable's name.
        trust: What the user allows.
        worker: The child process to load it in.

    Raises:
        BundleError: It takes a flag of the user's, which the error names.
        HuboptError: As `open_layer_session`.
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
