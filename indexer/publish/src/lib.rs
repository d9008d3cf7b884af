//! The relay: publishes the journal to an AMQP broker, and moves its cursor over what the broker confirmed. Knows no index:
//! whoever has records implements [`consumer::Feed`]. Without a broker nothing of it runs.

mod asyncapi;
mod headers;
mod link;
mod relay;
mod report;
mod settings;
mod tls;
mod topology;
mod window;

pub use asyncapi::asyncapi;
pub use relay::Relay;
pub use report::Report;
pub use settings::{Address, DEFAULT_EXCHANGE, Settings, SettingsError};
pub use tls::Tls;
