#!/usr/bin/env python3
"""Prints what changes, from the message broker that an indexer publishes to.

    pip install pika
    AMQP_URL=amqp://guest:guest@localhost/%2f python3 subscribe.py [QUEUE [KEY]]

The queue is durable: what changes while nobody reads waits in it. A message is acknowledged when it was handled, so it
comes again after a crash, and what came before is told by its number. KEY is one as of docs/amqp.md: fs.v1.*.file.# for
files alone, fs.v1.#.p03 for a sixteenth of all entries.
"""

import json
import os
import sys

import pika

queue = sys.argv[1] if len(sys.argv) > 1 else "subscriber"
key = sys.argv[2] if len(sys.argv) > 2 else "fs.v1.#"
exchange = os.environ.get("INDEXER_EXCHANGE", "indexer")
url = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost/%2f")

last_seen = {}


def handle(message):
    """What is done with a message; here it is printed."""
    entry = message["after"] or message["before"]
    path = entry["path"] if entry else message["change"].get("path", "")
    print(message["source"]["seq"], message["change"]["verb"], path, flush=True)


def on_message(channel, method, _properties, body):
    message = json.loads(body)
    source = message["source"]
    # Numbers grow within one partition of one journal.
    stream = (source["name"], source["epoch"], method.routing_key.rsplit(".", 1)[-1])
    if source["seq"] > last_seen.get(stream, 0):
        handle(message)
        last_seen[stream] = source["seq"]
    channel.basic_ack(method.delivery_tag)


channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
channel.queue_bind(queue, exchange, key)
channel.basic_qos(prefetch_count=200)
channel.basic_consume(queue, on_message)
print("listening", flush=True)
try:
    channel.start_consuming()
except KeyboardInterrupt:
    pass
