"""``hubopt cache``, which lists the stage results that exports keep; ``hubopt cache clear``."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone

import typer
from rich.text import Text

from hubopt.bundles.stage_settings import FOLDER_VARIABLE, LIMIT_VARIABLE, open_store
from hubopt.bundles.stage_store import Entry
from hubopt.cli.common import Json, out, report_errors
from hubopt.errors import UsageError
from hubopt.report.document import document
from hubopt.report.documents import CacheCleared, CacheEntry, CacheListing
from hubopt.report.listing import Listing
from hubopt.report.terminal import size_text

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
@report_errors
def cache(context: typer.Context, json: Json = False) -> None:
    """List the stage results that exports have kept; `clear` removes them."""
    if context.invoked_subcommand is not None:
        return
    store = open_store()
    entries = store.entries()
    total = sum(entry.size_bytes for entry, _ in entries)
    if json:
        listed = tuple(_describe(entry, _time(used)) for entry, used in entries)
        listing = CacheListing(str(store.folder), total, store.limit_bytes, listed)
        print(document("cache", listing))
        return
    rows = [
        (
            entry.kind,
            entry.target or "-",
            size_text(entry.size_bytes),
            _short(entry.made),
            _short(_time(used)),
            entry.handle,
        )
        for entry, used in entries
    ]
    out.print(Listing(("kind", "target", "size", "made", "last used", "handle"), rows, name=5))
    count = f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}"
    used_of = f"{size_text(total)} of {size_text(store.limit_bytes)} ({LIMIT_VARIABLE})"
    where = f"{store.folder} ({FOLDER_VARIABLE})"
    out.print(Text(f"{count}, {used_of}, in {where}"))


@app.command("clear")
@report_errors
def cache_clear(json: Json = False) -> None:
    """Remove every stage result. Fetched models are kept."""
    store = open_store()
    try:
        removed = store.clear()
    except OSError as error:
        raise UsageError(
            f"cache {store.folder}",
            f"cannot be cleared: {error}",
            "a folder that you may write to",
            "remove it by hand, or ask its owner",
        ) from error
    total = sum(entry.size_bytes for entry in removed)
    if json:
        gone = tuple(_describe(entry) for entry in removed)
        print(document("cache clear", CacheCleared(str(store.folder), total, gone)))
        return
    for entry in removed:
        named = " ".join(filter(None, (entry.kind, entry.target)))
        out.print(Text(f"removed {named} of {entry.handle}"))
    count = f"{len(removed)} {'entry' if len(removed) == 1 else 'entries'}"
    out.print(Text(f"{count}, {size_text(total)}, from {store.folder}"))


def _describe(entry: Entry, used: str | None = None) -> CacheEntry:
    raw = asdict(entry)
    del raw["digests"]
    return CacheEntry(**raw, used=used)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")


def _short(time: str) -> str:
    return time[:16].replace("T", " ")
