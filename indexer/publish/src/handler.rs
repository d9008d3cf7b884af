//! Who handles the messages of a subscription: where they come from, what became of each, and what is to be said of one's own
//! accord. Knows no connection.

use std::time::Duration;

/// What is read, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The queue; what cannot be used goes to `<queue>.dead`.
    pub queue: String,
    /// Where it has its messages from.
    pub from: Origins,
    /// Messages that are here and not acknowledged, at most.
    pub prefetch: u16,
    /// One reader at a time, the others wait: for those who need the order.
    pub one_reader: bool,
}

/// Where a queue has its messages from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Records: the exchange of the settings, by these routing keys.
    Records(Vec<String>),
    /// Jobs for workers, which name the queue.
    Jobs,
    /// Answers of workers to an index. The queue goes a week after nobody reads it any more.
    Answers {
        /// The epoch of its journal.
        epoch: String,
        /// The queue that its workers read.
        jobs: String,
    },
}

/// Something to say to others at the same broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// To whom.
    pub to: To,
    /// What: JSON.
    pub body: Vec<u8>,
}

/// Whom something is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// Workers that read this queue.
    Jobs(String),
    /// The index whose journal has this epoch. Where there is none any more, nobody.
    Answers(String),
}

/// What a handler has to say of its own accord.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Say {
    /// In order.
    pub now: Vec<Outgoing>,
    /// When it is to be asked again, if nothing arrives or wakes it before.
    pub again: Option<Duration>,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// What tells it apart, as its sender says; empty where it does not.
    pub id: String,
    /// Its routing key.
    pub key: String,
    /// What its body is, as its sender says; empty where it does not.
    pub content_type: String,
    /// Its body.
    pub body: Vec<u8>,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its effect is durable.
    Done,
    /// It has to be answered; it is done when the broker has the answer.
    Answer(Outgoing),
    /// Not now: it is to come again.
    Again(String),
    /// It says nothing that can be used, and never will.
    Unusable(String),
}

/// Why a handler cannot go on at all.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fatal(pub String);

/// Who handles messages.
pub trait Handler {
    /// Handles a batch; a verdict a message, and the effect of those that are done is durable. What was handled before may come
    /// again.
    ///
    /// # Errors
    /// When there is no use in going on; nothing of the batch is acknowledged.
    fn handle(&mut self, messages: &[Arrived]) -> Result<Vec<Verdict>, Fatal>;

    /// Whether there is room for more. Where there is none the subscription leaves its queue, so that what is here goes back and is not
    /// counted as delivered again and again, and asks once a second.
    ///
    /// # Errors
    /// When there is no use in going on.
    fn has_room(&mut self) -> Result<bool, Fatal> {
        Ok(true)
    }

    /// There is a new connection: what was said over the last may not have arrived.
    fn connected(&mut self) {}

    /// What is to be said now: asked at the begin of a connection, after each batch, and when it is woken.
    ///
    /// # Errors
    /// When there is no use in going on.
    fn say(&mut self) -> Result<Say, Fatal> {
        Ok(Say::default())
    }
}
