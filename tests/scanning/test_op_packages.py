"""Operations of other packages are named, and provided if their package is installed."""

import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from hubopt._platform.tf_private import is_registered, read_saved_model
from hubopt.errors import LoadError
from hubopt.scanning.op_packages import missing_ops, package_of, provide_ops


def with_op(tiny: Path, folder: Path, *ops: str) -> Path:
    """Write a copy of the tiny model that also holds ``ops``."""
    saved_model = read_saved_model(tiny)
    for op in ops:
        saved_model.meta_graphs[0].graph_def.node.add(name=op.lower().replace(">", "_"), op=op)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "saved_model.pb").write_bytes(saved_model.SerializeToString())
    return folder


def refuse(folder: Path) -> str:
    with pytest.raises(LoadError) as caught:
        provide_ops(folder)
    return str(caught.value)


def test_a_model_of_tensorflows_own_operations_needs_nothing(tiny: Path) -> None:
    assert missing_ops(read_saved_model(tiny).meta_graphs) == {}
    provide_ops(tiny)


@pytest.mark.parametrize(
    ("op", "distribution"),
    [
        ("Addons>Resampler", "tensorflow-addons"),
        ("IO>FileList", "tensorflow-io"),
        ("SimpleMLInferenceOp", "tensorflow-decision-forests"),
        ("TFRA>CuckooHashTableFind", "tensorflow-recommenders-addons"),
    ],
)
def test_the_package_is_named(op: str, distribution: str, tiny: Path, tmp_path: Path) -> None:
    text = refuse(with_op(tiny, tmp_path, op))
    assert f"{op} (of {distribution}, not installed)" in text
    assert f"pip install '{distribution}'" in text


def test_tensorflow_text_is_required_in_the_version_of_tensorflow(
    tiny: Path, tmp_path: Path
) -> None:
    if is_registered("CaseFoldUTF8"):
        pytest.skip("tensorflow_text is imported in this process")
    minor = tf.__version__.rpartition(".")[0]
    package = package_of("CaseFoldUTF8")
    assert package is package_of("TFText>WhitespaceTokenizeWithOffsetsV2")
    assert package is not None
    assert package.requirement() == f"tensorflow-text=={minor}.*"


def test_an_unknown_operation_is_reported_with_the_tensorflow_version(
    tiny: Path, tmp_path: Path
) -> None:
    text = refuse(with_op(tiny, tmp_path, "Mine", "Addons>Resampler"))
    assert "Mine (of no package known here)" in text
    assert f"load the model with TensorFlow {tf.__version__}" in text
    assert "tf.load_op_library" in text
    assert "Addons>Resampler (of tensorflow-addons" in text


def test_a_package_that_does_not_import_is_reported(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorflow_addons.py").write_text("raise ImportError('undefined symbol: x')")
    monkeypatch.syspath_prepend(tmp_path)
    text = refuse(with_op(tiny, tmp_path / "model", "Addons>Resampler"))
    assert "which does not import: ImportError: undefined symbol: x" in text


def test_a_package_too_old_for_an_operation_is_reported(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorflow_io.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorflow_io", raising=False)
    text = refuse(with_op(tiny, tmp_path / "model", "IO>FileList"))
    assert "whose installed version lacks them" in text


ROUND_TRIP = """
import sys
from pathlib import Path
from hubopt.scanning.op_packages import provide_ops
import tensorflow as tf
folder = Path(sys.argv[1])
if sys.argv[2] == "save":
    import tensorflow_text
    root = tf.Module()
    spec = [tf.TensorSpec([None], tf.string)]
    root.f = tf.function(lambda x: tensorflow_text.case_fold_utf8(x), input_signature=spec)
    tf.saved_model.save(root, str(folder), signatures={"serving_default": root.f})
else:
    provide_ops(folder)
    print(tf.saved_model.load(str(folder)).f(tf.constant(["ABC"])).numpy())
"""


def test_an_installed_package_is_imported(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow_text", reason="the test extra's tensorflow-text")
    for step in ("save", "load"):
        done = subprocess.run(
            [sys.executable, "-c", ROUND_TRIP, str(tmp_path), step],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert "abc" in done.stdout
