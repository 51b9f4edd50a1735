//! The pieces of work that are measured: by the clock in `benches/`, by callgrind in `scripts/instructions.sh` (which
//! runs the program `work`), and by counting allocations in `tests/`.
//!
//! The studies in `src/bin` share how they look at a process, make a WebSocket, and draw.

pub mod chart;
pub mod process;
pub mod web_socket;

use bytes::BytesMut;
use socketio_protocol::cluster::{
    Message as ClusterMessage, Options,
    classic::{self, Channels},
};
use socketio_protocol::engine::{Message, Packet, Version};
use socketio_protocol::socket::{self, Args, Limits};
use socketio_protocol::websocket::{Decoder, Event, Opcode, Role, masked_frame};
use socketio_server::Server;
use socketio_server::testing::TestClient;

/// A chat message of 32 bytes as a browser sends it, so many times: WebSocket frames, masked.
pub fn frames(count: usize) -> BytesMut {
    let frame =
        masked_frame(Opcode::Text, br#"42["echo","aaaaaaaabbbbbbbbccccccccdddddddd"]"#, [0x37, 0xfa, 0x21, 0x3d]);
    let mut frames = BytesMut::with_capacity(frame.len() * count);
    (0..count).for_each(|_| frames.extend_from_slice(&frame));
    frames
}

/// Reads all of `frames` as a server does, down to the text inside. Says how many bytes of text there were.
pub fn decode(mut frames: BytesMut) -> usize {
    let mut web_socket = Decoder::new(Role::Server, 1_000_000);
    let mut decoder = socket::Decoder::new(Limits::default());
    let mut bytes = 0;
    while let Ok(Some(Event::Text(text))) = web_socket.decode(&mut frames) {
        let Ok(Packet::Message(Message::Text(text))) = Packet::decode_text(text, Version::V4) else { break };
        let Ok(Some(packet)) = decoder.text(text) else { break };
        assert_eq!(packet.data.event().as_deref(), Some("echo"));
        bytes += packet.data.to::<&str>().map_or(0, str::len);
    }
    bytes
}

/// Writes the same event so many times into one buffer. Says how long it got.
pub fn encode(out: &mut Vec<u8>, count: usize) -> usize {
    for _ in 0..count {
        let written = socket::encode_event(out, "/", None, "echo", &"aaaaaaaabbbbbbbbccccccccdddddddd");
        assert!(written.is_ok_and(|attachments| attachments.is_empty()));
    }
    out.len()
}

/// A broadcast of 64 bytes to all, as servers tell each other through Redis.
pub struct ClusterBroadcast {
    channels: Channels,
    message: ClusterMessage,
}

impl ClusterBroadcast {
    /// In `/`.
    pub fn new() -> Self {
        let args = Args::new_event("news", &"aaaaaaaabbbbbbbbccccccccdddddddd".repeat(2)).unwrap_or_default();
        let message = ClusterMessage::Broadcast { args, options: Options::default(), request: None };
        Self { channels: Channels::new("socket.io", "/"), message }
    }

    /// Writes it so many times into one buffer. Says how long it got.
    pub fn write(&self, out: &mut Vec<u8>, count: usize) -> usize {
        for _ in 0..count {
            assert_eq!(classic::encode(&self.channels, "abcdef", &self.message, out), "socket.io#/#");
        }
        out.len()
    }

    /// Reads it so many times, as another server does. Says how many bytes of JSON came out of it.
    pub fn read(&self, count: usize) -> usize {
        let mut payload = Vec::new();
        self.write(&mut payload, 1);
        let mut bytes = 0;
        for _ in 0..count {
            let Ok(Some(envelope)) = classic::decode_broadcast(&self.channels, "another", &payload) else { break };
            let ClusterMessage::Broadcast { args, .. } = envelope.message else { break };
            bytes += args.json_len();
        }
        bytes
    }
}

impl Default for ClusterBroadcast {
    fn default() -> Self {
        Self::new()
    }
}

/// A server with clients in the same process, who have connected and are idle.
pub struct Audience {
    server: Server,
    clients: Vec<TestClient>,
}

impl Audience {
    /// `count` clients in `/`.
    pub async fn new(count: usize) -> Self {
        let server = Server::new();
        let mut clients = Vec::with_capacity(count);
        for _ in 0..count {
            clients.push(TestClient::connect(&server).await);
        }
        Self { server, clients }
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Sends an event to everyone, which is queued for each when this returns.
    pub fn broadcast(&self) {
        assert!(self.server.emit("news", "aaaaaaaabbbbbbbbccccccccdddddddd").is_ok());
    }

    /// Waits until everyone has one event more.
    pub async fn hear(&mut self) {
        for client in &mut self.clients {
            let _: String = client.expect("news").await;
        }
    }
}
