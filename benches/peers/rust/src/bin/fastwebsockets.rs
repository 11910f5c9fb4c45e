//! A raw room on fastwebsockets, over hyper as its documentation shows.
//!
//! The crate has no write buffer and its reads can't be abandoned halfway: so there is a task that
//! reads and one that writes, through a `BufWriter` that is flushed when nothing more waits.

use bytes::Bytes;
use fanfare_peers::{BATCH_MAX, Rooms, room_of, serve};
use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{
    FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError, WebSocketWrite,
};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncWrite, BufWriter};
use tokio::sync::mpsc::UnboundedReceiver;

/// Holds 64 messages of 128 bytes; what is larger than this passes it by.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;

/// What a member's task writes.
type Item = (OpCode, Bytes);

fn main() -> io::Result<()> {
    let rooms = Arc::new(Rooms::default());
    serve(|stream| {
        let rooms = Arc::clone(&rooms);
        async move {
            let service = service_fn(|request| {
                let rooms = Arc::clone(&rooms);
                async move { answer(request, rooms) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            connection.with_upgrades().await.ok(); // However a connection ends, it has ended.
        }
    })
}

fn answer(
    mut request: Request<Incoming>,
    rooms: Arc<Rooms<Item>>,
) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let Some(room) = room_of(request.uri().path()).map(str::to_owned) else {
        let mut refusal = Response::new(Empty::new());
        *refusal.status_mut() = StatusCode::NOT_FOUND;
        return Ok(refusal);
    };
    let (response, socket) = upgrade(&mut request)?;
    tokio::spawn(async move {
        attend(socket, &room, &rooms).await.ok();
    });
    Ok(response)
}

async fn attend(
    socket: UpgradeFut,
    room: &str,
    rooms: &Arc<Rooms<Item>>,
) -> Result<(), WebSocketError> {
    let (reader, writer) = socket.await?.split(|stream| {
        let (reader, writer) = tokio::io::split(stream);
        (reader, BufWriter::with_capacity(WRITE_BUFFER_BYTES, writer))
    });
    let mut reader = FragmentCollectorRead::new(reader);
    let (seat, own, inbox) = rooms.join(room);
    tokio::spawn(async move {
        write(writer, inbox).await.ok();
    });
    loop {
        let mut oblige = |frame: Frame<'_>| {
            let sent = own.send((frame.opcode, shared(frame.payload)));
            async move { sent }
        };
        let frame = reader.read_frame(&mut oblige).await?;
        match frame.opcode {
            OpCode::Text | OpCode::Binary => seat.publish(&(frame.opcode, shared(frame.payload))),
            OpCode::Close => return Ok(()),
            OpCode::Continuation | OpCode::Ping | OpCode::Pong => {}
        }
    }
}

/// Ends when the member has left its room and all that waited is written.
async fn write(
    mut writer: WebSocketWrite<impl AsyncWrite + Unpin>,
    mut inbox: UnboundedReceiver<Item>,
) -> Result<(), WebSocketError> {
    let mut batch = Vec::new();
    while inbox.recv_many(&mut batch, BATCH_MAX).await > 0 {
        for (opcode, payload) in batch.drain(..) {
            let frame = Frame::new(true, opcode, None, Payload::Borrowed(&payload));
            writer.write_frame(frame).await?;
        }
        writer.flush().await?;
    }
    Ok(())
}

fn shared(payload: Payload<'_>) -> Bytes {
    match payload {
        Payload::Bytes(bytes) => bytes.freeze(),
        Payload::Owned(bytes) => bytes.into(),
        Payload::Borrowed(_) | Payload::BorrowedMut(_) => Bytes::copy_from_slice(&payload),
    }
}
