"""`bundled_reference`: the reference set of a bundle."""

from __future__ import annotations

from hubopt.bundles.bundle import Bundle
from hubopt.reference.reference_set import ReferenceSet


def bundled_reference(bundle: Bundle) -> ReferenceSet:
    """Check the files of a bundle's reference set and return it.

    Raises:
        BundleError: The files are damaged, see `Bundle.check_samples`.
    """
    bundle.check_samples()
    manifest = bundle.manifest
    return ReferenceSet(
        spec=manifest.spec,
        inputs=bundle.inputs,
        outputs=bundle.reference,
        kept=tuple(range(len(manifest.samples))),
        float64=bundle.float64,
        ties=bundle.ties,
        quality=manifest.reference,
        kinds=manifest.samples,
        left_out=manifest.left_out,
    )
