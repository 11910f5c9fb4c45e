//! Clients that never come to the end of their request.
//!
//! Not here: what is done about them (`e2e_door`, `e2e_limits`). Invariant: nothing blocks, so that
//! thousands of them take one thread.

use super::broker::Broker;
use super::raw::upgrade;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

/// One who sends a head without end, byte by byte.
#[derive(Debug)]
pub(crate) struct Dripper {
    stream: TcpStream,
    /// What is sent over and over: a whole request but for its end, then more fields.
    head: Vec<u8>,
    sent: usize,
    /// What it was told.
    pub(crate) got: Vec<u8>,
}

impl Dripper {
    pub(crate) fn new(broker: &Broker) -> Self {
        let stream = TcpStream::connect(broker.address()).expect("the broker accepts");
        stream.set_nonblocking(true).expect("not blocking");
        let mut head = upgrade("/raw/lobby", "test", &[]);
        head.truncate(head.len() - 2);
        Self { stream, head, sent: 0, got: Vec::new() }
    }

    /// Sends one more byte. False: the broker has hung up.
    pub(crate) fn drip(&mut self) -> bool {
        let byte = self.head[self.sent % self.head.len()];
        self.sent += 1;
        self.stream.write_all(&[byte]).expect("who lingers still reads");
        self.is_served()
    }

    /// Reads what there is. False: the broker has hung up.
    pub(crate) fn is_served(&mut self) -> bool {
        let mut bytes = [0; 1_024];
        match self.stream.read(&mut bytes) {
            Ok(count) => {
                self.got.extend(&bytes[..count]);
                count > 0
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                true
            }
        }
    }
}
