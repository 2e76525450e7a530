"""The options that several verbs share."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

DEFAULT = "trivium"

Output = Annotated[
    Path | None,
    Parameter(name=["--output", "-o"], help="Write a table there (.tsv, .csv, .parquet, .jsonl)."),
]
Required = Annotated[Path, Parameter(name=["--output", "-o"])]
Force = Annotated[bool, Parameter(help="Overwrite what stands where an output goes.")]
Count = Annotated[int, Parameter(name=["-k", "--k"])]
Strict = Annotated[bool, Parameter(help="Stop at an unknown name in the file, instead of skipping its line.")]
Checkpoint = Annotated[str, Parameter(help="A shipped checkpoint's name, or a file.")]
CalibrationFile = Annotated[
    Path | None, Parameter(help="From `trivium calibrate`: a confidence stands beside each score.")
]
Columns = Annotated[
    str | None, Parameter(help="The graph's columns, where CSV or Parquet call them otherwise: HEAD,RELATION,TAIL.")
]
DataDir = Annotated[
    Path | None, Parameter(help="A folder that holds the data sets; downloaded into a cache by default.")
]
Conditioning = Annotated[
    Literal["own", "forward"] | None,
    Parameter(
        help="What inverse queries are conditioned on: themselves, or the forward relation; the checkpoint knows."
    ),
]
Disable = Annotated[list[str] | None, Parameter(help="Switch a part off (repeatable): text, similarity, prompt.")]
Resume = Annotated[Path | None, Parameter(help="Continue what stands in this folder instead.")]
