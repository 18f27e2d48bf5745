"""What an export may take from the store of stage results and put there; often nothing."""

from __future__ import annotations

from dataclasses import dataclass

from hubopt.asking import Question
from hubopt.exporter import Options
from hubopt.handles import Access, LayerOptions
from hubopt.hints import Hints
from hubopt.parity import Overrides
from hubopt.stage_keys import StageKeys, describe_items, digest_of, surroundings
from hubopt.stage_settings import open_store
from hubopt.stage_store import StageStore


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


def remember(
    handle: str,
    digest: str | None,
    layer: LayerOptions,
    access: Access,
    hints: Hints,
    question: Question,
    options: Options,
    overrides: Overrides,
    rounds: int,
) -> Memory | None:
    """Return what the export of a model may remember.

    Args:
        handle: What a person calls the model.
        digest: Its digest; without one nothing is remembered.
        layer: Which part of the model is the layer.
        access: What was allowed.
        hints: What the user said about shapes.
        question: What is asked; data that have no digest are not remembered, nor what they led to.
        options: What the exporters may be asked.
        overrides: Tolerances that the user set.
        rounds: How many rounds of timing.

    Raises:
        UsageError: The size of the store cannot be meant.
    """
    store = open_store()
    if digest is None or not store.limit_bytes:
        return None
    try:
        items = describe_items(question.items)
    except TypeError:
        return None
    keys = StageKeys(
        around=digest_of(surroundings()),
        model=digest,
        layer=layer,
        allow_ops=access.allow_ops,
        hints=hints,
        items=items,
        count=question.count,
        seed=question.seed,
        noise=question.noise,
        options=options,
        overrides=overrides,
        rounds=rounds,
    )
    return Memory(store, keys, handle)
