//! What was published and is not confirmed: bounded, in order. The cursor may stand where everything before is confirmed.

use std::collections::VecDeque;

use record::{Seq, Time};

/// Bytes of bodies on their way, at most, but for one that is larger by itself.
pub(crate) const MOST_BYTES: usize = 16 << 20;

/// A message on its way, and whatever tells of its arrival.
pub(crate) struct Sent<C> {
    pub(crate) seq: Seq,
    pub(crate) seen: Time,
    pub(crate) bytes: usize,
    pub(crate) confirm: C,
}

/// All of them, oldest first.
pub(crate) struct Window<C> {
    sent: VecDeque<Sent<C>>,
    bytes: usize,
    most: usize,
}

impl<C> Window<C> {
    pub(crate) fn new(most: usize) -> Window<C> {
        Window { sent: VecDeque::new(), bytes: 0, most: most.max(1) }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.sent.len() >= self.most || self.bytes >= MOST_BYTES
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    pub(crate) fn push(&mut self, sent: Sent<C>) {
        self.bytes += sent.bytes;
        self.sent.push_back(sent);
    }

    /// The oldest.
    pub(crate) fn first(&mut self) -> Option<&mut Sent<C>> {
        self.sent.front_mut()
    }

    /// All, oldest first.
    pub(crate) fn each(&mut self) -> impl Iterator<Item = &mut Sent<C>> {
        self.sent.iter_mut()
    }

    /// The oldest has arrived.
    pub(crate) fn pop(&mut self) -> Option<Seq> {
        let sent = self.sent.pop_front()?;
        self.bytes -= sent.bytes;
        Some(sent.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_full_by_messages_and_by_bytes_and_empties_in_order() {
        let sent = |seq, bytes| Sent { seq: Seq(seq), seen: Time(0), bytes, confirm: () };
        let mut window = Window::new(3);
        window.push(sent(1, 1));
        window.push(sent(2, MOST_BYTES));
        assert!(window.is_full(), "by bytes");
        assert_eq!((window.pop(), window.first().map(|sent| sent.seq)), (Some(Seq(1)), Some(Seq(2))));
        assert_eq!(window.pop(), Some(Seq(2)));
        assert!(window.is_empty() && !window.is_full());
        (3..6).for_each(|seq| window.push(sent(seq, 1)));
        assert!(window.is_full(), "by messages");
    }
}
