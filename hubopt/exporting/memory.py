"""The access of an export to the store of stage results, if it has any."""

from __future__ import annotations

from dataclasses import dataclass

from hubopt.bundles.stage_settings import open_store
from hubopt.bundles.stage_store import StageStore
from hubopt.exporting.request import ExportRequest
from hubopt.exporting.stage_keys import StageKeys, describe_items, digest_of, surroundings


@dataclass(frozen=True, slots=True)
class Memory:
    """The store of stage results and the keys of one export.

    Attributes:
        store: The store.
        keys: The keys of the export's stages.
        handle: The handle as the user wrote it.
    """

    store: StageStore
    keys: StageKeys
    handle: str


def remember(handle: str, digest: str | None, request: ExportRequest) -> Memory | None:
    """Return the store and the keys for one export; None if its stages are not stored.

    Stages that depend on data without a digest are not stored.

    Args:
        handle: The handle as the user wrote it.
        digest: The digest of the model; without a digest, nothing is stored.
        request: The request.

    Raises:
        UsageError: The size of the store is invalid.
    """
    store = open_store()
    if digest is None or not store.limit_bytes:
        return None
    try:
        items = describe_items(request.plan.items)
    except TypeError:
        return None
    keys = StageKeys(
        around=digest_of(surroundings()),
        model=digest,
        layer=request.layer,
        allow_ops=request.load_policy.allow_ops,
        hints=request.hints,
        items=items,
        count=request.plan.count,
        seed=request.plan.seed,
        noise=request.plan.noise,
        effort=request.plan.effort,
        rounds=request.rounds,
    )
    return Memory(store, keys, handle)
