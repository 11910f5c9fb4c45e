//! A raw room on tokio-tungstenite.
//!
//! What waits for a member is fed into the crate's write buffer and flushed once. The read buffer
//! is of the size that the crate's documentation advises where there are many connections.

use fanfare_peers::{BATCH_MAX, Rooms, room_of, serve};
use futures_util::{SinkExt, StreamExt};
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

fn main() -> io::Result<()> {
    let rooms = Arc::new(Rooms::default());
    serve(|stream| {
        let rooms = Arc::clone(&rooms);
        async move {
            attend(stream, &rooms).await.ok(); // However a connection ends, it has ended.
        }
    })
}

async fn attend(stream: TcpStream, rooms: &Arc<Rooms<Message>>) -> Result<(), Error> {
    let mut name = None;
    #[expect(clippy::result_large_err, reason = "the crate's callback")]
    let look = |request: &Request, response: Response| {
        name = room_of(request.uri().path()).map(str::to_owned);
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = StatusCode::NOT_FOUND;
        if name.is_some() { Ok(response) } else { Err(refusal) }
    };
    let config = WebSocketConfig::default().read_buffer_size(4 * 1024);
    let mut socket = accept_hdr_async_with_config(stream, look, Some(config)).await?;
    let (seat, _, mut inbox) = rooms.join(&name.unwrap_or_default());
    let mut batch = Vec::new();
    loop {
        // Reading first: what came together goes out together.
        tokio::select! {
            biased;
            message = socket.next() => match message.transpose()? {
                Some(message @ (Message::Text(_) | Message::Binary(_))) => seat.publish(&message),
                Some(_) => {} // Pings and closes are answered by the crate.
                None => return Ok(()),
            },
            _ = inbox.recv_many(&mut batch, BATCH_MAX) => {
                for message in batch.drain(..) {
                    socket.feed(message).await?;
                }
                socket.flush().await?;
            }
        }
    }
}
