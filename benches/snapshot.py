#!/usr/bin/env python3
"""`indexer snapshot` against DuckDB and pyarrow, which write the same rows as Parquet with zstd.

    snapshot.py --indexer PATH --state FOLDER --work FOLDER [--runs N] [--threads N] [--results FILE]

The state folder has the index of a tree and no daemon. Wall time of `indexer snapshot` is that of the whole command; of DuckDB's
COPY that of the statement alone, from a table of its own that was read before. In turn, after one round that is not counted.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import time

import duckdb
import pyarrow.parquet

arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
arguments.add_argument("--indexer", required=True)
arguments.add_argument("--state", required=True)
arguments.add_argument("--work", required=True)
arguments.add_argument("--runs", type=int, default=5)
arguments.add_argument("--threads", type=int, default=os.cpu_count())
arguments.add_argument("--results")
given = arguments.parse_args()

os.makedirs(given.work, exist_ok=True)
at = lambda name: os.path.join(given.work, name)


def export(name, *flags):
    """Seconds, and the peak resident set in MiB."""
    command = [given.indexer, "-q", "--state", given.state, "snapshot", "--force", "--output", at(name)]
    command += ["--threads", str(given.threads), *flags]
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    if status != 0:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return wall, usage.ru_maxrss / 1024


def copy(database, table, name):
    begin = time.perf_counter()
    database.execute(f"COPY {table} TO '{at(name)}' (FORMAT parquet, COMPRESSION zstd)")
    return time.perf_counter() - begin


export("ours.parquet")
export("unix.parquet", "--compat", "unix")
database = duckdb.connect(at("rows.duckdb"))
database.execute(f"SET threads = {given.threads}")
for table, name in [("every", "ours.parquet"), ("eleven", "unix.parquet")]:
    database.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM '{at(name)}'")
pyarrow.parquet.write_table(pyarrow.parquet.read_table(at("unix.parquet")), at("pyarrow.parquet"), compression="zstd")

walls = {"indexer snapshot": [], "DuckDB COPY": [], "indexer snapshot --compat unix": [], "DuckDB COPY of the eleven": []}
memory = 0
for turn in range(given.runs + 1):
    ours, peak = export("ours.parquet")
    theirs = copy(database, "every", "duckdb.parquet")
    eleven, _ = export("unix.parquet", "--compat", "unix")
    their_eleven = copy(database, "eleven", "duckdb-eleven.parquet")
    memory = max(memory, peak)
    if turn > 0:
        for name, wall in zip(walls, (ours, theirs, eleven, their_eleven)):
            walls[name].append(round(wall, 3))

median = {name: statistics.median(taken) for name, taken in walls.items()}
size = lambda name: os.path.getsize(at(name))
figures = {
    "rows": database.execute("SELECT count(*) FROM every").fetchone()[0],
    "threads": given.threads,
    "snapshot to COPY": round(median["indexer snapshot"] / median["DuckDB COPY"], 3),
    "eleven columns to COPY": round(median["indexer snapshot --compat unix"] / median["DuckDB COPY of the eleven"], 3),
    "peak RSS of snapshot, MiB": round(memory, 1),
    "bytes, all columns": size("ours.parquet"),
    "bytes, all columns, DuckDB": size("duckdb.parquet"),
    "bytes, eleven columns": size("unix.parquet"),
    "bytes, eleven columns, pyarrow": size("pyarrow.parquet"),
    "eleven columns to pyarrow": round(size("unix.parquet") / size("pyarrow.parquet"), 3),
}
for name, taken in walls.items():
    print(f"{name:32} {median[name]:8.3f} s   {taken}")
for name, figure in figures.items():
    print(f"{name:32} {figure:>12}")
if given.results:
    cpus = {line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")}
    line = {
        "scenario": "snapshot as Parquet",
        "machine": f"{platform.system()} {platform.release()}, {os.cpu_count()} × {' '.join(sorted(cpus))}",
        "unix_time": int(time.time()),
        "wall_s": walls,
        "figures": figures,
        "versions": {"duckdb": duckdb.__version__, "pyarrow": pyarrow.__version__},
    }
    with open(given.results, "a") as results:
        results.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
