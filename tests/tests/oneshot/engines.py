"""Reads the file of a one-shot scan, and the chunks that a manifest names as one table, with every engine there is. Prints for each how
many rows the file has, and whether the chunks have the same rows, in whatever order."""

import json
import re
import sys

import chdb
import duckdb
import polars
import pyarrow.parquet


def by_duckdb(files):
    # As text: times of a zone would ask for one more package.
    return duckdb.connect().execute("SELECT COLUMNS(*)::VARCHAR FROM read_parquet(?)", [files]).fetchall()


def by_polars(files):
    return polars.read_parquet(files, hive_partitioning=False).rows()


def by_pyarrow(files):
    tables = [pyarrow.parquet.ParquetFile(file).read() for file in files]
    return [tuple(row.values()) for row in pyarrow.concat_tables(tables).to_pylist()]


def by_clickhouse(files):
    # It takes no list: a pattern finds the same ones.
    names = re.sub(r"_\d+\.parquet$", "_*.parquet", files[0])
    # As text: bytes that are no text are compared as such.
    said = chdb.query(f"SELECT hex(toString(tuple(*))) FROM file('{names}', Parquet)", "TSVRaw")
    return str(said).split()


def main(one, manifest):
    with open(manifest) as file:
        told = json.load(file)
    assert told["completed"] and len(told["chunks"]) > 2, told
    chunks = [chunk["file_path"] for chunk in told["chunks"]]
    said = {}
    engines = {"duckdb": by_duckdb, "polars": by_polars, "pyarrow": by_pyarrow, "clickhouse": by_clickhouse}
    for name, engine in engines.items():
        rows = engine([one])
        said[name] = [len(rows), sorted(map(repr, rows)) == sorted(map(repr, engine(chunks)))]
    print(json.dumps(said))


main(*sys.argv[1:])
