//! Files as binary arguments, in pieces: each piece is acknowledged, so that the client sends no faster than the server
//! takes, and knows how far it is. Others are told of each file, and can fetch it.
//!
//!     PORT=3000 cargo run --example upload

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use socketio_server::{Data, EventError, Server, Socket, State};

/// A real server writes to a disk.
type Files = Arc<Mutex<HashMap<String, Bytes>>>;

/// The file that a client is sending.
struct Upload {
    name: String,
    size: usize,
    bytes: BytesMut,
}

#[derive(Deserialize)]
struct Begin {
    name: String,
    size: usize,
}

#[derive(Serialize)]
struct Stored<'a> {
    name: &'a str,
    size: usize,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    // `max_http_buffer_size` bounds a piece; a file may be larger.
    let io = Server::builder().state(Files::default()).max_http_buffer_size(256 * 1024).build();
    io.on("begin", begin);
    io.on("fetch", async |files: State<Files>, Data(name): Data<String>| {
        lock(&files.0).get(&name).cloned().ok_or(EventError::new("there is no such file"))
    });
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into());
    io.listen(&format!("127.0.0.1:{port}")).await
}

/// Has this socket, and no other, take the pieces of one file.
async fn begin(
    socket: Socket,
    files: State<Files>,
    Data(Begin { name, size }): Data<Begin>,
) -> Result<usize, EventError> {
    if size > MAX_FILE {
        return Err(EventError::new("at most 16 MB"));
    }
    let upload = Arc::new(Mutex::new(Upload { name, size, bytes: BytesMut::new() }));
    socket.off("piece"); // Of a file that was given up.
    socket.on("piece", async move |socket: Socket, Data(piece): Data<Bytes>| {
        take(&socket, &files.0, &mut lock(&upload), &piece)
    });
    Ok(0)
}

/// Answers how many bytes are here.
fn take(socket: &Socket, files: &Files, upload: &mut Upload, piece: &[u8]) -> Result<usize, EventError> {
    if upload.bytes.len() + piece.len() > upload.size {
        return Err(EventError::new("that is more than was announced"));
    }
    upload.bytes.extend_from_slice(piece);
    if upload.bytes.len() < upload.size {
        return Ok(upload.bytes.len());
    }
    lock(files).insert(upload.name.clone(), upload.bytes.split().freeze());
    socket.off("piece");
    socket.broadcast().emit("stored", Stored { name: &upload.name, size: upload.size })?;
    Ok(upload.size)
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

const MAX_FILE: usize = 16_000_000;
