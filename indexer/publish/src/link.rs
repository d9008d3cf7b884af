//! One connection to the broker: made, used and dropped. Any error ends it; what was not confirmed is published again by the
//! next. Knows no journal.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::uri::AMQPScheme;
use lapin::{
    AsyncTcpStream, Channel, Confirmation, Connection, ConnectionProperties, ErrorKind, Event,
    PublisherConfirm,
};
use tokio_stream::{Stream, StreamExt as _};

use crate::headers::properties;
use crate::letter::Letter;
use crate::settings::{Settings, SettingsError};
use crate::{tls, topology};

/// To connect, to log in and to declare.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("{0}")]
    Broker(String),
    #[error("the broker did not answer within {} seconds", PATIENCE.as_secs())]
    Silent,
    #[error(
        "the broker took back a message of the key {key}: nothing is bound that takes it, and the exchange has no alternate ({text})"
    )]
    Unroutable { key: String, text: String },
    #[error("the broker refused a message: a queue is full or cannot write")]
    Refused,
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

impl LinkError {
    /// The broker was there and did not take a message.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, LinkError::Unroutable { .. } | LinkError::Refused)
    }
}

impl From<lapin::Error> for LinkError {
    fn from(error: lapin::Error) -> LinkError {
        let said = match error.kind() {
            ErrorKind::IOError(why) => {
                why.get_ref().and_then(|inner| inner.downcast_ref()).and_then(tls::hint)
            }
            _ => None,
        };
        LinkError::Broker(match said {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        })
    }
}

/// A connection with one channel in confirm mode.
pub(crate) struct Link {
    // Dropping it closes the connection.
    _connection: Connection,
    channel: Channel,
    events: Pin<Box<dyn Stream<Item = Event> + Send>>,
    exchange: String,
}

impl Link {
    /// Connects, as `name` to those who look at the broker.
    pub(crate) async fn open(settings: &Settings, name: &str) -> Result<Link, LinkError> {
        tokio::time::timeout(PATIENCE, Link::connect(settings, name)).await.map_err(|_| LinkError::Silent)?
    }

    async fn connect(settings: &Settings, name: &str) -> Result<Link, LinkError> {
        let connection = connection(settings, name).await?;
        let events = Box::pin(connection.events_listener());
        let channel = connection.create_channel().await?;
        if settings.declare {
            topology::declare(&channel, settings).await?;
        }
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Link { _connection: connection, channel, events, exchange: settings.exchange.clone() })
    }

    /// Sends a message; that it arrived is told by the answer.
    pub(crate) async fn publish(&self, letter: &Letter) -> Result<PublisherConfirm, LinkError> {
        let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let (exchange, key) = (self.exchange.as_str().into(), letter.key.as_str().into());
        Ok(self.channel.basic_publish(exchange, key, mandatory, &letter.body, properties(letter)).await?)
    }

    /// Whether the broker takes messages, when that changes. Pending for ever otherwise.
    pub(crate) async fn blocked(&mut self) -> Result<bool, LinkError> {
        while let Some(event) = self.events.next().await {
            match event {
                Event::ConnectionBlocked(why) => {
                    tracing::warn!(%why, "the broker takes no messages for now");
                    return Ok(true);
                }
                Event::ConnectionUnblocked => return Ok(false),
                Event::Error(error) => return Err(error.into()),
                _ => {}
            }
        }
        Err(LinkError::Broker("the connection ended".to_owned()))
    }
}

/// A connection as the settings say, under a name for those who look at the broker.
pub(crate) async fn connection(settings: &Settings, name: &str) -> Result<Connection, LinkError> {
    let uri = settings.uri()?;
    let connector = match uri.scheme {
        AMQPScheme::AMQPS => Some(settings.tls.read()?.connector().map_err(lapin::Error::from)?),
        AMQPScheme::AMQP => None,
    };
    let named = ConnectionProperties::default().with_connection_name(name.into());
    let runtime = lapin::runtime::default_runtime().map_err(|error| LinkError::Broker(error.to_string()))?;
    // As the library would, but that it takes no system without trusted authorities.
    let connection = Connection::connector(
        uri,
        runtime,
        async move |uri, runtime| {
            let host = &uri.authority.host;
            let addresses = runtime.to_socket_addrs((host.clone(), uri.authority.port));
            let stream = AsyncTcpStream::connect(&runtime, addresses).await?;
            Ok(match &connector {
                Some(connector) => stream.into_rustls(connector, host).await?,
                None => stream,
            })
        },
        named,
    );
    Ok(connection.await?)
}

/// What the broker said of a message.
pub(crate) fn arrived(confirmation: lapin::Result<Confirmation>) -> Result<(), LinkError> {
    match confirmation? {
        Confirmation::Ack(None) => Ok(()),
        // Acknowledged, and in no queue.
        Confirmation::Ack(Some(back)) | Confirmation::Nack(Some(back)) => Err(LinkError::Unroutable {
            key: back.delivery.routing_key.to_string(),
            text: back.reply_text.to_string(),
        }),
        Confirmation::Nack(None) => Err(LinkError::Refused),
        Confirmation::NotRequested => Err(LinkError::Broker("the channel is not in confirm mode".to_owned())),
    }
}

/// The answer, if it is there.
pub(crate) fn try_arrived(confirm: &mut PublisherConfirm) -> Option<Result<(), LinkError>> {
    match Pin::new(confirm).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(confirmation) => Some(arrived(confirmation)),
        Poll::Pending => None,
    }
}
