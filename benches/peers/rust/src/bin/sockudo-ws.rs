//! A raw room on sockudo-ws, with the rooms of its own publish-subscribe module.
//!
//! What waits for a member is fed into the crate's write buffer and flushed once.

use fanfare_peers::{BATCH_MAX, room_of, serve};
use futures_util::{SinkExt, StreamExt};
use sockudo_ws::error::Result;
use sockudo_ws::handshake::server_handshake;
use sockudo_ws::pubsub::PubSub;
use sockudo_ws::{Config, Message, Role, WebSocketStream};
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

fn main() -> io::Result<()> {
    let rooms = Arc::new(PubSub::new());
    serve(|stream| {
        let rooms = Arc::clone(&rooms);
        async move {
            attend(stream, &rooms).await.ok(); // However a connection ends, it has ended.
        }
    })
}

async fn attend(mut stream: TcpStream, rooms: &PubSub) -> Result<()> {
    let handshake = server_handshake(&mut stream).await?;
    let mut socket = WebSocketStream::from_raw_with_leftover(
        stream,
        Role::Server,
        Config::default(),
        handshake.leftover,
    );
    let Some(room) = room_of(&handshake.path) else {
        return socket.close(1008, "no such room").await;
    };
    let (sender, mut inbox) = mpsc::unbounded_channel();
    let seat = rooms.create_subscriber(sender);
    rooms.subscribe(seat, room);
    let mut batch = Vec::new();
    let ended = loop {
        // Reading first: what came together goes out together.
        tokio::select! {
            biased;
            message = socket.next() => match message {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    rooms.publish(room, message);
                }
                Some(Ok(_)) => {} // Pings and closes are answered by the crate.
                Some(Err(error)) => break Err(error),
                None => break Ok(()),
            },
            _ = inbox.recv_many(&mut batch, BATCH_MAX) => {
                let mut sent = Ok(());
                for message in batch.drain(..) {
                    sent = sent.and(socket.feed(message).await);
                }
                if let Err(error) = sent.and(socket.flush().await) {
                    break Err(error);
                }
            }
        }
    };
    rooms.remove_subscriber(seat);
    ended
}
