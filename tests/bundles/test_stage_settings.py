import pytest

from hubopt.bundles.stage_settings import open_store, read_limit
from hubopt.errors import UsageError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (None, 10_000_000_000),
        ("", 10_000_000_000),
        ("0", 0),
        ("123", 123),
        ("20GB", 20_000_000_000),
        ("20 gb", 20_000_000_000),
        ("1.5kB", 1500),
        ("2GiB", 2 * 1024**3),
        ("7B", 7),
    ],
)
def test_sizes(text: str | None, size: int) -> None:
    assert read_limit(text) == size


@pytest.mark.parametrize("text", ["much", "-1", "GB", "1 XB", "1,5GB"])
def test_a_value_that_is_not_a_size_is_reported(text: str) -> None:
    with pytest.raises(UsageError, match="HUBOPT_CACHE_MAX_BYTES .*: no size"):
        read_limit(text)


def test_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBOPT_CACHE_DIR", "~/somewhere")
    assert open_store().folder.is_absolute()
    assert open_store().folder.name == "somewhere"
    monkeypatch.delenv("HUBOPT_CACHE_DIR")
    assert open_store().folder.name == "stages"
    assert "hubopt" in open_store().folder.parts
