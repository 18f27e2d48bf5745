"""`bundled_kit`: what the artifacts of a bundle are judged on."""

from __future__ import annotations

from hubopt.bundles.bundle import Bundle
from hubopt.reference.kit import Kit


def bundled_kit(bundle: Bundle) -> Kit:
    """Return what a bundle's artifacts are judged on, once its files were checked.

    Raises:
        BundleError: As for `Bundle.check_samples`.
    """
    bundle.check_samples()
    manifest = bundle.manifest
    return Kit(
        manifest.spec,
        bundle.inputs,
        bundle.reference,
        bundle.float64,
        manifest.reference,
        manifest.tolerances,
        manifest.samples,
        left_out=manifest.left_out,
    )
