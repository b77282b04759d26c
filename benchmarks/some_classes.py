"""Writes the first classes of a folder of parquet files, for measurements with fewer classes.

    python benchmarks/some_classes.py $DISTAIL_DATA/tiny_imagenet_32 100 tiny100

The folder is a source like the one it is taken from: the same files, with fewer rows and names.
"""

import argparse
import json
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq


def main() -> None:
    """Writes every file of the source again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder of parquet files in Hugging Face's image format")
    parser.add_argument("classes", type=int, help="how many; those with the lowest labels are kept")
    parser.add_argument("out", type=Path, help="folder to write")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True)
    for file in sorted(asked.source.glob("*.parquet")):
        rows = pq.read_table(file)
        features = json.loads(rows.schema.metadata[b"huggingface"])
        label = features["info"]["features"]["label"]
        label["names"] = label["names"][: asked.classes]
        kept = rows.filter(pc.less(rows["label"], asked.classes))
        pq.write_table(kept.replace_schema_metadata({"huggingface": json.dumps(features)}), asked.out / file.name)


if __name__ == "__main__":
    main()
