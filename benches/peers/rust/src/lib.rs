//! What the Rust peers have in common: rooms of queues, and a loop that accepts on one thread.
//!
//! Not here: what is sent on the wire, each peer's own. As tokio servers are commonly written: a
//! task and an unbounded queue per connection, a publisher pushes a handle into each member's
//! queue, and each member's task writes what waits. No limits and no heartbeat.

use std::collections::HashMap;
use std::future::Future;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// Messages that a member's task takes out of its queue at once.
pub const BATCH_MAX: usize = 64;

/// All rooms; a room is there while it has members.
#[derive(Debug)]
pub struct Rooms<M> {
    rooms: Mutex<HashMap<String, Arc<Room<M>>>>,
    next_id: AtomicU64,
}

#[derive(Debug)]
struct Room<M> {
    name: String,
    members: Mutex<Vec<(u64, UnboundedSender<M>)>>,
}

/// A membership, which ends with this value.
#[derive(Debug)]
pub struct Seat<M> {
    rooms: Arc<Rooms<M>>,
    room: Arc<Room<M>>,
    id: u64,
}

impl<M> Default for Rooms<M> {
    fn default() -> Self {
        Self { rooms: Mutex::default(), next_id: AtomicU64::new(0) }
    }
}

impl<M: Clone> Rooms<M> {
    /// Makes a member of the room, which gets its messages from the queue, and its own sender.
    pub fn join(
        self: &Arc<Self>,
        name: &str,
    ) -> (Seat<M>, UnboundedSender<M>, UnboundedReceiver<M>) {
        let (sender, inbox) = mpsc::unbounded_channel();
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut rooms = lock(&self.rooms);
        let fresh = || Arc::new(Room { name: name.to_owned(), members: Mutex::default() });
        let room = Arc::clone(rooms.entry(name.to_owned()).or_insert_with(fresh));
        lock(&room.members).push((id, sender.clone()));
        drop(rooms);
        (Seat { rooms: Arc::clone(self), room, id }, sender, inbox)
    }
}

impl<M: Clone> Seat<M> {
    /// Gives `message` to every member, this one included.
    pub fn publish(&self, message: &M) {
        for (_, member) in lock(&self.room.members).iter() {
            member.send(message.clone()).ok(); // One whose task has ended is about to leave.
        }
    }
}

impl<M> Drop for Seat<M> {
    fn drop(&mut self) {
        let mut rooms = lock(&self.rooms.rooms);
        let mut members = lock(&self.room.members);
        members.retain(|(id, _)| *id != self.id);
        if members.is_empty() {
            rooms.remove(&self.room.name);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The room that a request target names.
#[must_use]
pub fn room_of(target: &str) -> Option<&str> {
    target.strip_prefix("/raw/").filter(|name| !name.is_empty())
}

/// Listens on the address in the first argument, says so, and gives each connection to a task of
/// its own. All tasks run on this thread.
///
/// # Errors
///
/// When there is no such address, or it can't be listened on.
pub fn serve<F>(task: impl Fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = listen()?;
        writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(task(stream));
        }
    })
}

fn listen() -> io::Result<TcpListener> {
    let address = std::env::args().nth(1).unwrap_or_default();
    let address = address.parse().map_err(|_| io::Error::other("usage: PEER ADDRESS:PORT"))?;
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4096)
}
