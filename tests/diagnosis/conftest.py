import pytest

from hubopt.bundles.bundle import Bundle
from hubopt.exporting.pipeline import export
from tests.diagnosis.planting import write_residual_model


@pytest.fixture(scope="session")
def residual_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The residual network exported to all targets with diagnosis. Treat it as read-only."""
    folder = tmp_path_factory.mktemp("residual")
    model = write_residual_model(folder / "model")
    return export(model, ["onnx", "tflite", "savedmodel"], folder / "bundle", rounds=0)
