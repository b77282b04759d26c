"""`distail export`: turn a distilled set into ordinary image files."""

from __future__ import annotations

from pathlib import Path

from distail.cli.options import Output


def export(target: Path, /, *, out: Path, format: str = "parquet", output: Output = Output()) -> None:
    """Write a distilled set as ordinary images, and measure what that loses.

    Parameters
    ----------
    target
        A run folder or its distilled.safetensors.
    out
        File or folder to write; must not exist.
    format
        parquet (Hugging Face image format), folder (one folder of PNG per class) or npz.
    """
    from distail.distilled import load_distilled
    from distail.export import export_set

    loss = export_set(load_distilled(target), out, format)
    lines = [f"Wrote {out} ({loss.bytes_written:,} bytes).", loss.describe()]
    output.show({"out": str(out), **loss.to_json()}, *lines)
