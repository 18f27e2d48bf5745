"""``hubopt run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from hubopt.cli.common import AllowOp, Json, out, progress, report_errors, talk
from hubopt.registry.targets import canonical

Source = Annotated[
    str,
    typer.Argument(
        metavar="BUNDLE|FILE",
        help="A bundle, or an artifact of anyone: .onnx, .tflite, a SavedModel folder.",
        show_default=False,
    ),
]
Input = Annotated[
    list[str],
    typer.Option(
        "--input",
        "-i",
        metavar="[NAME=]FILE",
        help="Arrays (.npz, .npy), lines (.txt), a picture or a sound; repeatable for more inputs.",
        show_default=False,
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target", "-t", help="The bundle's target; by default the first that can run here."
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE.npz", help="Write the outputs to this file."),
]
Pixels = Annotated[
    str | None,
    typer.Option(
        metavar="LOW:HIGH", help="What black and white are, for pictures into floats: 0:1, -1:1."
    ),
]
Resize = Annotated[
    bool, typer.Option("--resize", help="Scale pictures to the size that the model takes.")
]


@report_errors
def run(
    source: Source,
    input: Input,  # noqa: A002  # the flag's name
    target: Target = None,
    output: Output = None,
    pixels: Pixels = None,
    resize: Resize = False,
    allow_op: AllowOp = None,
    json: Json = False,
) -> None:
    """Run an artifact on files of your own and show or write its outputs.

    Arrays, sounds (-1 to 1) and texts go in as they are; a longer sound in windows.
    """
    # Imported only here: no other verb needs it.
    from hubopt.report.answers import answers_table, answers_values
    from hubopt.report.document import document
    from hubopt.sampling.picture_files import parse_pixels
    from hubopt.verification.answer_files import write_answers
    from hubopt.verification.inputs import InputFiles
    from hubopt.verification.running import run_artifact

    def note(text: str) -> None:
        talk.print(Text(text), soft_wrap=True)

    name = canonical(target) if target else None
    given = InputFiles(tuple(input), parse_pixels(pixels), resize, note)
    answers = run_artifact(source, given, name, tuple(allow_op or ()), progress)
    note(f"{answers.target}: {answers.artifact} on {answers.device}")
    if output is not None:
        write_answers(output, answers.samples)
    if json:
        print(document("run", answers_values(answers, str(output) if output else None)))
    else:
        out.print(answers_table(answers))
    if output is not None:
        note(f"outputs: {output}")
