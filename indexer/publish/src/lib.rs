//! The relay: publishes the journal to an AMQP broker, and moves its cursor over what the broker confirmed. Knows no index:
//! whoever has records implements [`consumer::Feed`]. Without a broker nothing of it runs. Beside it a publisher of whatever else
//! somebody has to send, over the same kind of connection; and the other end, a subscription, which hands messages to a
//! [`Handler`] and acknowledges them after it.

mod asyncapi;
mod batch;
mod handler;
mod headers;
mod letter;
mod link;
mod publisher;
mod relay;
mod report;
mod settings;
mod subscribe;
mod tls;
mod topology;
mod window;

pub use asyncapi::asyncapi;
pub use handler::{Arrived, Fatal, Handler, Origins, Outgoing, Say, Subscription, To, Verdict};
pub use letter::{Batch, Letter};
pub use publisher::{PublishError, Published, Publisher, Stopper};
pub use relay::Relay;
pub use report::Report;
pub use settings::{Address, DEFAULT_EXCHANGE, Format, Settings, SettingsError};
pub use subscribe::{MOST_BYTES, Stop, SubscribeError, subscribe};
pub use tls::Tls;
pub use topology::jobs;
