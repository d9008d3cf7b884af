//! The first SIGINT or SIGTERM asks a command to end what it does, the second ends the process as it stands. Knows no command.

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// Calls `stop` at the first, from a thread of its own, for as long as the process lives.
///
/// # Errors
/// When signals cannot be waited for.
pub(crate) fn at_first(stop: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::doing("start the runtime", error))?;
    let entered = runtime.enter();
    let signal = |kind| signal(kind).map_err(|error| Failure::doing("wait for signals", error));
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    drop(entered);
    let wait = move || {
        runtime.block_on(async {
            let mut next = async || {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            };
            next().await;
            stop();
            next().await;
            std::process::exit(130);
        });
    };
    let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(wait);
    thread.map(drop).map_err(|error| Failure::doing("start a thread", error))
}
