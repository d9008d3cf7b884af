//! Connections: how many there are at once and how long they may take. Knows no request.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;

/// What connections may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// At once; one more waits in the kernel until one of them ends.
    connections: usize,
    /// From the first byte of a request's head to its last.
    head: Duration,
    /// Bytes of a request's head.
    head_bytes: usize,
    /// Several requests one after the other.
    keep_alive: bool,
    /// From the start to the end, whatever happens on it.
    whole: Option<Duration>,
}

/// On the socket, which only the owner of the state folder reaches, and where records are followed for days.
pub(super) const SOCKET: Limits = Limits {
    connections: 512,
    head: Duration::from_secs(30),
    head_bytes: 64 << 10,
    keep_alive: true,
    whole: None,
};

/// On the port, which everybody on this host reaches: one small answer a connection.
pub(super) const PORT: Limits = Limits {
    connections: 16,
    head: Duration::from_secs(5),
    head_bytes: 16 << 10,
    keep_alive: false,
    whole: Some(Duration::from_secs(20)),
};

/// Answers by `router` until dropped.
pub(super) async fn serve<L: Listener>(mut listener: L, router: Router, limits: &'static Limits) {
    let permits = Arc::new(Semaphore::new(limits.connections));
    // The semaphore is never closed.
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        let (io, _) = listener.accept().await;
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.head)
                .max_buf_size(limits.head_bytes)
                .keep_alive(limits.keep_alive)
                .serve_connection(TokioIo::new(io), service);
            // Whatever goes wrong on a connection is its peer's affair, and the peer has seen it.
            match limits.whole {
                Some(whole) => drop(tokio::time::timeout(whole, connection).await),
                None => drop(connection.await),
            }
        });
    }
}
