// Prints what changes, from the message broker that an indexer publishes to.
//
//     npm install amqplib
//     AMQP_URL=amqp://guest:guest@localhost/%2f node subscribe.mjs [QUEUE [KEY]]
//
// The queue is durable: what changes while nobody reads waits in it. A message is acknowledged when it was handled, so it
// comes again after a crash, and what came before is told by its number. KEY is one as of docs/amqp.md.

import amqp from "amqplib";

const [queue = "subscriber", key = "fs.v1.#"] = process.argv.slice(2);
const exchange = process.env.INDEXER_EXCHANGE ?? "indexer";
const url = process.env.AMQP_URL ?? "amqp://guest:guest@localhost/%2f";

const lastSeen = new Map();

// What is done with a message; here it is printed.
function handle({ before, after, change, source }) {
  const path = (after ?? before)?.path ?? change.path ?? "";
  console.log(source.seq, change.verb, path);
}

const connection = await amqp.connect(url);
const channel = await connection.createChannel();
await channel.assertQueue(queue, { durable: true, arguments: { "x-queue-type": "quorum" } });
await channel.bindQueue(queue, exchange, key);
await channel.prefetch(200);
await channel.consume(queue, (delivery) => {
  const message = JSON.parse(delivery.content);
  const { name, epoch, seq } = message.source;
  // Numbers grow within one partition of one journal. (All fit into a double: 2^53 changes are a long life.)
  const stream = [name, epoch, delivery.fields.routingKey.split(".").at(-1)].join(" ");
  if (seq > (lastSeen.get(stream) ?? 0)) {
    handle(message);
    lastSeen.set(stream, seq);
  }
  channel.ack(delivery);
});
console.log("listening");
