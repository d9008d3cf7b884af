//! Messages that somebody has in hand, published in order and at least once, for callers that may wait: bounded by the window, sent
//! again over new connections, given up after a while. Knows no journal and no cursor: who calls has to know what to send.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lapin::PublisherConfirm;
use record::{Seq, Time};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;

use crate::letter::Letter;
use crate::link::{Link, LinkError, arrived, try_arrived};
use crate::settings::{Settings, SettingsError};
use crate::window::{Sent, Window};

/// Why it did not go on.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// There is no thread to be had.
    #[error("cannot publish: no thread: {0}")]
    Thread(std::io::Error),
    /// The broker took nothing for too long.
    #[error("the broker {broker} took nothing for {patience:?}: {why}")]
    GaveUp {
        /// Which, without the password.
        broker: String,
        /// For how long it was tried.
        patience: Duration,
        /// What was last heard.
        why: String,
    },
    /// Somebody said so.
    #[error("stopped")]
    Stopped,
}

/// Stops a publisher from another thread.
#[derive(Clone, Default)]
pub struct Stopper(Arc<(AtomicBool, Notify)>);

impl Stopper {
    /// What is under way ends with [`PublishError::Stopped`], and so does all that is begun later.
    pub fn stop(&self) {
        self.0.0.store(true, Ordering::Relaxed);
        self.0.1.notify_one();
    }

    /// Whether somebody said so.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.0.0.load(Ordering::Relaxed)
    }

    async fn said(&self) {
        while !self.stopped() {
            self.0.1.notified().await;
        }
    }
}

/// Publishes what it is given.
pub struct Publisher {
    // Before the threads that it is served by.
    work: Work,
    runtime: Runtime,
}

/// What is told of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Messages that the broker confirmed.
    pub confirmed: u64,
    /// Connections made.
    pub connections: u64,
}

impl Publisher {
    /// Connects. A broker that takes nothing for `patience` is given up, now and later.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn open(
        settings: Settings,
        patience: Duration,
        stopper: &Stopper,
    ) -> Result<Publisher, PublishError> {
        let broker = settings.check()?.to_string();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(PublishError::Thread)?;
        let work = Work {
            window: Window::new(settings.window),
            settings,
            broker,
            patience,
            stopper: stopper.clone(),
            link: None,
            blocked: false,
            why: String::new(),
            moved: Instant::now(),
            told: Published::default(),
        };
        let mut publisher = Publisher { work, runtime };
        publisher.runtime.block_on(publisher.work.connected())?;
        Ok(publisher)
    }

    /// Sends a message; waits where too many are on their way. That it arrived is known when [`Publisher::finish`] says so.
    ///
    /// # Errors
    /// [`PublishError`]. What was sent before may or may not arrive.
    pub fn send(&mut self, letter: Letter) -> Result<(), PublishError> {
        self.runtime.block_on(self.work.send(letter))
    }

    /// Waits until all that was sent has arrived.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn finish(&mut self) -> Result<Published, PublishError> {
        self.runtime.block_on(self.work.finish())?;
        Ok(self.work.told)
    }
}

/// A message, and what tells of its arrival on this connection.
struct OnItsWay {
    letter: Letter,
    confirm: Option<PublisherConfirm>,
}

struct Work {
    settings: Settings,
    broker: String,
    patience: Duration,
    stopper: Stopper,
    link: Option<Link>,
    window: Window<OnItsWay>,
    blocked: bool,
    /// What was last heard of a connection that ended, if nothing arrived since.
    why: String,
    /// When the last message arrived, or the first of those on their way was sent.
    moved: Instant,
    told: Published,
}

impl Work {
    async fn send(&mut self, letter: Letter) -> Result<(), PublishError> {
        if self.stopper.stopped() {
            return Err(PublishError::Stopped);
        }
        self.take_arrived();
        if self.window.is_empty() {
            // The caller had nothing to send for however long.
            self.moved = Instant::now();
        }
        while self.window.is_full() || self.blocked {
            self.turn().await?;
        }
        self.connected().await?;
        let sent = match &self.link {
            Some(link) => link.publish(&letter).await.map(Some),
            None => Ok(None),
        };
        let (confirm, lost) = match sent {
            Ok(confirm) => (confirm, None),
            Err(error) => (None, Some(error)),
        };
        let bytes = letter.body.len();
        // In its place in any case: what could not be sent goes with all others over the next connection.
        self.window.push(Sent { seq: Seq(0), seen: Time(0), bytes, confirm: OnItsWay { letter, confirm } });
        if let Some(error) = lost {
            self.lost(&error);
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), PublishError> {
        while !self.window.is_empty() {
            self.turn().await?;
        }
        Ok(())
    }

    /// Waits for something to happen.
    async fn turn(&mut self) -> Result<(), PublishError> {
        self.connected().await?;
        let until = self.moved + self.patience;
        let Some(link) = &mut self.link else { return Ok(()) };
        let first = self.window.first().and_then(|sent| sent.confirm.confirm.as_mut());
        tokio::select! {
            biased;
            () = self.stopper.said() => return Err(PublishError::Stopped),
            confirmation = answer(first) => match arrived(confirmation) {
                Ok(()) => {
                    self.arrived();
                    self.take_arrived();
                }
                Err(error) => self.lost(&error),
            },
            blocked = link.blocked() => match blocked {
                Ok(blocked) => self.blocked = blocked,
                Err(error) => self.lost(&error),
            },
            () = sleep_until(until) => {
                let why = match self.why.as_str() {
                    _ if self.blocked => "it takes no messages for now",
                    "" => "it confirms nothing",
                    why => why,
                };
                return Err(self.gave_up(why));
            }
        }
        Ok(())
    }

    fn take_arrived(&mut self) {
        while let Some(answer) =
            self.window.first().and_then(|sent| sent.confirm.confirm.as_mut()).and_then(try_arrived)
        {
            match answer {
                Ok(()) => self.arrived(),
                Err(error) => return self.lost(&error),
            }
        }
    }

    fn arrived(&mut self) {
        self.window.pop();
        self.moved = Instant::now();
        self.why.clear();
        self.told.confirmed += 1;
    }

    fn lost(&mut self, error: &LinkError) {
        self.why = error.to_string();
        warn!(broker = %self.broker, why = self.why, "the connection ended; what did not arrive is sent again");
        self.link = None;
        self.blocked = false;
        for sent in self.window.each() {
            sent.confirm.confirm = None;
        }
    }

    fn gave_up(&self, why: &str) -> PublishError {
        PublishError::GaveUp { broker: self.broker.clone(), patience: self.patience, why: why.to_owned() }
    }

    /// Connects where there is no connection, and sends again what did not arrive, in order.
    async fn connected(&mut self) -> Result<(), PublishError> {
        let (mut pause, most) = self.settings.pause;
        let mut first = self.told.connections == 0;
        while self.link.is_none() {
            if !std::mem::take(&mut first) {
                let left = (self.moved + self.patience).saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(self.gave_up(&self.why));
                }
                tokio::select! {
                    () = self.stopper.said() => return Err(PublishError::Stopped),
                    () = sleep(pause.min(left)) => {}
                }
                pause = (pause * 2).min(most);
            }
            let opened = tokio::select! {
                () = self.stopper.said() => return Err(PublishError::Stopped),
                opened = Link::open(&self.settings, "indexer replay") => opened,
            };
            match opened {
                Ok(link) => {
                    self.told.connections += 1;
                    match again(&link, &mut self.window).await {
                        Ok(()) => self.link = Some(link),
                        Err(error) => self.lost(&error),
                    }
                }
                Err(LinkError::Settings(error)) => return Err(error.into()),
                Err(error) => self.why = error.to_string(),
            }
        }
        Ok(())
    }
}

async fn again(link: &Link, window: &mut Window<OnItsWay>) -> Result<(), LinkError> {
    for sent in window.each() {
        sent.confirm.confirm = Some(link.publish(&sent.confirm.letter).await?);
    }
    Ok(())
}

async fn answer(confirm: Option<&mut PublisherConfirm>) -> lapin::Result<lapin::Confirmation> {
    match confirm {
        Some(confirm) => confirm.await,
        None => std::future::pending().await,
    }
}
