#!/usr/bin/env python3
"""Prints what changes, from batches of columns: for an indexer that publishes with --amqp-format arrow.

    pip install pika pyarrow
    AMQP_URL=amqp://guest:guest@localhost/%2f python3 batches.py [QUEUE [KEY]]

A message is an Arrow IPC stream of some hundred records. The queue is durable, and a batch is acknowledged when it was handled, so it comes
again after a crash, perhaps cut otherwise: what came before is told by the numbers of the records. KEY is fs.v1.*.any.batch.# for
all roots, fs.v1.r1.any.batch.# for one.
"""

import os
import sys

import pika
import pyarrow as pa
import pyarrow.compute as pc

queue = sys.argv[1] if len(sys.argv) > 1 else "batches"
key = sys.argv[2] if len(sys.argv) > 2 else "fs.v1.*.any.batch.#"
exchange = os.environ.get("INDEXER_EXCHANGE", "indexer")
url = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost/%2f")

last_seen = {}


def handle(table):
    """What is done with records; here they are printed. A table goes into Parquet, DuckDB or Polars as it is."""
    columns = table.select(["seq", "verb", "path"]).to_pydict()
    for seq, verb, path in zip(columns["seq"], columns["verb"], columns["path"]):
        print(seq, verb, path)
    sys.stdout.flush()


def on_message(channel, method, properties, body):
    if properties.content_type == "application/vnd.apache.arrow.stream":
        table = pa.ipc.open_stream(body).read_all()
        # One batch is of one journal; its numbers grow from batch to batch.
        stream = (table["source"][0].as_py(), table["epoch"][0].as_py())
        new = pc.greater(table["seq"], pa.scalar(last_seen.get(stream, 0), pa.uint64()))
        # What tells of lost records has the number of the last of them.
        handle(table.filter(pc.or_(new, table["lost"])))
        last_seen[stream] = max(last_seen.get(stream, 0), table["seq"][-1].as_py())
    else:
        print("no batch:", properties.content_type, file=sys.stderr)
    channel.basic_ack(method.delivery_tag)


channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
channel.queue_bind(queue, exchange, key)
# Each is up to a MiB.
channel.basic_qos(prefetch_count=20)
channel.basic_consume(queue, on_message)
print("listening", flush=True)
try:
    channel.start_consuming()
except KeyboardInterrupt:
    pass
