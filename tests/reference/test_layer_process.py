from pathlib import Path
from typing import Any

import pytest
from hubopt.reference.on_demand import LayerOnDemand, find_here

from hubopt.errors import HandleError
from hubopt.models.handles import Access, Handle

HERE = Handle("model", "saved_model", Path("/model"), "digest")


def test_a_layer_is_opened_once_and_only_if_asked_for() -> None:
    opened: list[str] = []

    def open_layer() -> Any:
        opened.append("once")
        return "/model", "digest", "the layer"

    layer = LayerOnDemand(open_layer, HERE)
    assert (layer.handle, layer.digest) == ("/model", "digest")
    assert opened == []
    assert layer.get() == layer.get() == "the layer"
    assert opened == ["once"]


def test_what_is_not_known_to_be_here_is_opened_at_once() -> None:
    layer = LayerOnDemand(lambda: ("https://model", "digest", "the layer"), None)
    assert (layer.handle, layer.digest) == ("https://model", "digest")


def test_a_model_that_changes_during_the_export_is_told() -> None:
    layer = LayerOnDemand(lambda: ("/model", "other", "the layer"), HERE)
    with pytest.raises(HandleError, match="it changed during the export: sha256:other"):
        layer.get()


def test_models_are_found_without_a_network_and_without_loading(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_here(tiny, Access())
    assert found is not None
    assert found.digest
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    nothing_listens = "http://127.0.0.1:9/model.tar.gz"
    for model in (nothing_listens, tmp_path / "nothing", "json:loads", lambda x: x):
        assert find_here(model, Access()) is None
    assert find_here(tiny, Access(pin="0" * 64)) is None
