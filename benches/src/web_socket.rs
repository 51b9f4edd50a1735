//! How clients that cost little become WebSockets.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Makes of a connection to a server the WebSocket of a new session. `query` is that of the request but for the transport,
/// `frames` are sent with it. What follows the answer is left unread.
///
/// # Errors
///
/// When the connection breaks, or the server does not agree: then with its answer.
pub async fn upgrade(stream: &mut TcpStream, query: &str, frames: &[u8]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let request = format!(
        "GET /socket.io/?{query}&transport=websocket HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        stream.peer_addr()?
    );
    stream.write_all(&[request.as_bytes(), frames].concat()).await?;
    // Byte by byte, so that what follows is left to the decoder.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    match head.starts_with(b"HTTP/1.1 101") {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&head).into_owned())),
    }
}
