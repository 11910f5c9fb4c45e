//! Receive buffers, lent to whoever still has to send from them.
//!
//! Invariant: a buffer that is read into is nobody else's.

use crate::limits::RECV_BUFFER_BYTES;
use std::rc::Rc;

/// A buffer and what sends from it.
pub(super) type Buffer = Rc<[u8]>;

/// Buffers kept at most, those that are lent out among them.
const KEPT_MAX: usize = 16;

/// The buffers that are not being read into.
#[derive(Default, Debug)]
pub(super) struct Buffers {
    kept: Vec<Buffer>,
}

impl Buffers {
    /// A buffer that nobody sends from, the one used last if it can be, with room for more than
    /// the `carried` bytes of a frame that has begun.
    pub(super) fn take(&mut self, carried: usize) -> Buffer {
        let fits = |buffer: &Buffer| Rc::strong_count(buffer) == 1 && buffer.len() > carried;
        match self.kept.iter().rposition(fits) {
            Some(place) => self.kept.remove(place),
            None => vec![0; RECV_BUFFER_BYTES.max(2 * carried)].into(),
        }
    }

    /// Takes a buffer back; while somebody sends from it, it is not lent again.
    pub(super) fn put(&mut self, buffer: Buffer) {
        if self.kept.len() == KEPT_MAX {
            self.kept.remove(0);
        }
        self.kept.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_lent_again_once_nobody_sends_from_it() {
        let mut buffers = Buffers::default();
        let first = buffers.take(0);
        let place = first.as_ptr();
        let sender = Rc::clone(&first);
        buffers.put(first);
        let second = buffers.take(0);
        assert_ne!(second.as_ptr(), place);
        drop(sender);
        assert_eq!(buffers.take(0).as_ptr(), place);
        assert!(buffers.take(RECV_BUFFER_BYTES).len() > RECV_BUFFER_BYTES);
    }
}
