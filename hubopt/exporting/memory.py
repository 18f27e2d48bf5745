"""What an export may take from the store of stage results and put there; often nothing."""

from __future__ import annotations

from dataclasses import dataclass

from hubopt.bundles.stage_settings import open_store
from hubopt.bundles.stage_store import StageStore
from hubopt.exporting.request import ExportRequest
from hubopt.exporting.stage_keys import StageKeys, describe_items, digest_of, surroundings


@dataclass(frozen=True, slots=True)
class Memory:
    """What an export may remember.

    Attributes:
        store: Where results stand.
        keys: What they depend on.
        handle: What a person calls the model.
    """

    store: StageStore
    keys: StageKeys
    handle: str


def remember(handle: str, digest: str | None, request: ExportRequest) -> Memory | None:
    """Return what the export of a model may remember.

    Data that have no digest are not remembered, nor what they led to.

    Args:
        handle: What a person calls the model.
        digest: Its digest; without one nothing is remembered.
        request: What was asked for.

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
        rounds=request.rounds,
    )
    return Memory(store, keys, handle)
