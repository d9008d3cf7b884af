//! A way to a server that breaks: connections through it are cut, held up, given out byte by byte, and end in the middle of a
//! message.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Pieces that a connection has before its cut at most, and where each is delayed: otherwise a way that gives out byte by byte
/// would take minutes to break once.
const PIECES: (u64, u64) = (1_500, 100);

/// What happens to a connection.
#[derive(Clone, Copy, Debug)]
struct Fault {
    /// Bytes after which it is cut, of both directions together.
    cut_after: u64,
    /// Bytes of the last piece before the cut that still go out.
    torn: usize,
    /// Bytes that go out at once.
    piece: usize,
    /// Before each piece.
    delay: Duration,
    /// Before the cut, with the connection open and nothing going through.
    stall: Duration,
}

impl Fault {
    /// `below` gives a number below another, at random.
    fn new(below: &mut impl FnMut(u64) -> u64) -> Fault {
        let mut some = |one_in: u64, most: u64| if below(one_in) == 0 { below(most) } else { 0 };
        let (delay, stall) = (some(4, 300), some(6, 200));
        let piece = if below(4) == 0 { 1 + below(7) } else { 64 << below(8) };
        let pieces = if delay == 0 { PIECES.0 } else { PIECES.1 };
        Fault {
            // Some are cut before a word was said, most while messages are on their way.
            cut_after: (1 << below(24)).min(piece * pieces),
            torn: below(64) as usize,
            piece: piece as usize,
            delay: Duration::from_micros(delay),
            stall: Duration::from_millis(stall),
        }
    }
}

/// A way to a server on this machine.
pub struct FaultyWay {
    port: u16,
    healed: Arc<AtomicBool>,
    faults: Arc<AtomicU64>,
}

impl FaultyWay {
    /// Leads to `port`, and breaks each connection until it is healed, as `below` says: it gives a number below another, at
    /// random.
    ///
    /// # Panics
    /// When there is no port to listen on.
    #[must_use]
    pub fn to(port: u16, mut below: impl FnMut(u64) -> u64 + Send + 'static) -> FaultyWay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let way = FaultyWay {
            port: listener.local_addr().expect("an address").port(),
            healed: Arc::default(),
            faults: Arc::default(),
        };
        let (healed, faults) = (Arc::clone(&way.healed), Arc::clone(&way.faults));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let fault = (!healed.load(Ordering::Relaxed)).then(|| Fault::new(&mut below));
                connect(client, server, fault, &faults);
            }
        });
        way
    }

    /// Where it begins.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// New connections are whole from now on.
    pub fn heal(&self) {
        self.healed.store(true, Ordering::Relaxed);
    }

    /// Connections that were broken.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }
}

fn connect(client: TcpStream, server: TcpStream, fault: Option<Fault>, faults: &Arc<AtomicU64>) {
    let passed = Arc::new(AtomicU64::new(0));
    let broken = Arc::new(AtomicBool::new(false));
    for (from, to) in [(&client, &server), (&server, &client)] {
        let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
        let (passed, broken, faults) = (Arc::clone(&passed), Arc::clone(&broken), Arc::clone(faults));
        std::thread::spawn(move || {
            if pass(&from, &to, fault, &passed).is_none() && !broken.swap(true, Ordering::Relaxed) {
                faults.fetch_add(1, Ordering::Relaxed);
            }
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}

/// Passes one direction on; `None` when it was broken, which both directions are at once.
fn pass(mut from: &TcpStream, mut to: &TcpStream, fault: Option<Fault>, passed: &AtomicU64) -> Option<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(read) = from.read(&mut buffer) else { return Some(()) };
        if read == 0 {
            return Some(());
        }
        let Some(fault) = fault else {
            if to.write_all(&buffer[..read]).is_err() {
                return Some(());
            }
            continue;
        };
        for piece in buffer[..read].chunks(fault.piece) {
            if passed.fetch_add(piece.len() as u64, Ordering::Relaxed) >= fault.cut_after {
                let _ = to.write_all(&piece[..piece.len().min(fault.torn)]);
                std::thread::park_timeout(fault.stall);
                return None;
            }
            if !fault.delay.is_zero() {
                std::thread::park_timeout(fault.delay);
            }
            if to.write_all(piece).is_err() {
                return Some(());
            }
        }
    }
}
