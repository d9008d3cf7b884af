#!/usr/bin/env python3
"""How much of its rate live indexing loses while `indexer snapshot` runs over and over on the same processors.

    beside.py --indexer PATH --tree FOLDER --work FOLDER [--files N] [--rounds N] [--results FILE]

A daemon watches the tree, and a folder in a new tmpfs below `work` (so that no round pays for files that an earlier one removed; it takes root).
A round writes N small files there, and ends when all are in the index; in turn, alone and beside exports of the tree. The rate is files by the time from
the first to the end of `settle`.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import threading
import time

arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
arguments.add_argument("--indexer", required=True)
arguments.add_argument("--tree", required=True)
arguments.add_argument("--work", required=True)
arguments.add_argument("--files", type=int, default=150_000)
arguments.add_argument("--rounds", type=int, default=5)
arguments.add_argument("--results")
given = arguments.parse_args()

state, ground = os.path.join(given.work, "state"), os.path.join(given.work, "ground")
os.makedirs(ground, exist_ok=True)
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12g,nr_inodes=0", "tmpfs", ground], check=True)
command = [given.indexer, "-q", "--state", state]

PRODUCE = """
import os, sys
folder, count = sys.argv[1], int(sys.argv[2])
for at in range(count):
    if at % 1000 == 0:
        below = os.path.join(folder, str(at // 1000))
        os.makedirs(below)
    file = os.open(os.path.join(below, str(at)), os.O_WRONLY | os.O_CREAT)
    os.write(file, b"x" * 100)
    os.close(file)
"""


def produce(name):
    """Files a second, until all of them are in the index."""
    folder = os.path.join(ground, name)
    os.mkdir(folder)
    begin = time.perf_counter()
    subprocess.run(["python3", "-S", "-c", PRODUCE, folder, str(given.files)], check=True)
    subprocess.run([*command, "settle"], check=True, stdout=subprocess.DEVNULL)
    return given.files / (time.perf_counter() - begin)


def beside(name):
    """The same while exports run, and how many ended."""
    stop, ended = threading.Event(), []
    output = os.path.join(given.work, "beside.parquet")

    def export():
        while not stop.is_set():
            child = subprocess.Popen(
                [*command, "snapshot", "--force", "--root", given.tree, "--output", output], stdout=subprocess.DEVNULL
            )
            while child.poll() is None and not stop.wait(0.02):
                pass
            if child.poll() is None:
                child.terminate()
                child.wait()
            else:
                ended.append(child.returncode)

    thread = threading.Thread(target=export)
    thread.start()
    try:
        return produce(name), len(ended)
    finally:
        stop.set()
        thread.join()


daemon = subprocess.Popen(
    [given.indexer, "-q", "--state", state, "watch", given.tree, ground, "--hash", "none"], stdout=subprocess.PIPE, text=True
)
try:
    print(daemon.stdout.readline().strip(), flush=True)
    alone, loaded = [], []
    for turn in range(given.rounds + 1):
        pair = produce(f"alone {turn}"), beside(f"beside {turn}")
        print(f"alone {pair[0]:,.0f}/s, beside {pair[1][0]:,.0f}/s with {pair[1][1]} whole exports", flush=True)
        # One round warms up, and is not counted.
        if turn:
            alone.append(pair[0])
            loaded.append(pair[1][0])
finally:
    daemon.terminate()
    daemon.wait()
    subprocess.run(["umount", ground], check=True)

median = statistics.median
print(f"live indexing alone {median(alone):,.0f} files/s, beside exports {median(loaded):,.0f} files/s: lost {1 - median(loaded) / median(alone):.3f}")
if given.results:
    line = {
        "scenario": "beside",
        "unix_time": int(time.time()),
        "machine": f"{platform.system()} {platform.release()}, {os.cpu_count()} cores",
        "files a round": given.files,
        "alone, files/s": [round(rate) for rate in alone],
        "beside exports, files/s": [round(rate) for rate in loaded],
    }
    with open(given.results, "a") as results:
        results.write(json.dumps(line) + "\n")
