//! The clients: WebSockets that cost little. Who reads looks at the number of each message, and how long it was on its way.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use socketio_benches::web_socket::upgrade;
use socketio_protocol::websocket::{Decoder, Event, Opcode, Role, masked_frame};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::Outcome;
use crate::latencies::Latencies;
use crate::server::now;

/// What clients have found together.
pub(crate) struct Heard {
    /// Messages.
    pub(crate) messages: AtomicU64,
    /// Those that came twice, or after a later one.
    pub(crate) out_of_order: AtomicU64,
    /// Those that should have come before a later one.
    pub(crate) missing: AtomicU64,
    /// Clients that the server has closed.
    pub(crate) ended: AtomicU64,
    /// By phase.
    pub(crate) latencies: Vec<Latencies>,
}

impl Heard {
    pub(crate) fn new(phases: usize) -> Arc<Self> {
        Arc::new(Self {
            messages: AtomicU64::new(0),
            out_of_order: AtomicU64::new(0),
            missing: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            latencies: (0..phases).map(|_| Latencies::new()).collect(),
        })
    }
}

/// A client that has connected.
pub(crate) struct Client {
    stream: TcpStream,
    decoder: Decoder,
    /// What has come of a frame that is not whole.
    rest: Vec<u8>,
    /// Whether it is in.
    entered: bool,
    /// The number of the last message.
    last: u64,
}

/// How many connect at a time.
const AT_ONCE: u64 = 64;

/// What the system keeps for a client that does not read: so little that the rest waits with the server.
const RECEIVE_BUFFER: u32 = 16 << 10;

/// What is read at a time.
const READ: usize = 256 << 10;

thread_local! {
    /// What is read is done with at once, so that one buffer is enough.
    static BUFFER: RefCell<BytesMut> = RefCell::default();
}

/// So many clients, who read until they are in.
pub(crate) async fn enter(addr: SocketAddr, count: u64, small: bool) -> Outcome<Vec<Client>> {
    let mut clients = Vec::new();
    while (clients.len() as u64) < count {
        let newcomers = AT_ONCE.min(count - clients.len() as u64);
        let mut opening: JoinSet<_> = (0..newcomers).map(|_| Client::enter(addr, small)).collect();
        while let Some(opened) = opening.join_next().await {
            clients.push(opened??);
        }
    }
    Ok(clients)
}

impl Client {
    async fn enter(addr: SocketAddr, small: bool) -> Outcome<Self> {
        let socket = TcpSocket::new_v4()?;
        if small {
            socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        }
        let mut stream = socket.connect(addr).await?;
        upgrade(&mut stream, "EIO=4", &masked_frame(Opcode::Text, b"40", [1, 2, 3, 4])).await?;
        let decoder = Decoder::new(Role::Client, READ);
        let mut client = Self { stream, decoder, rest: Vec::new(), entered: false, last: 0 };
        let heard = Heard::new(0);
        while !client.entered {
            client.stream.readable().await?;
            client.read(&heard)?;
        }
        Ok(client)
    }

    /// Reads until the server ends it.
    pub(crate) async fn hear(mut self, heard: Arc<Heard>) {
        while self.stream.readable().await.is_ok() && self.read(&heard).is_ok() {}
        heard.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads what is there.
    fn read(&mut self, heard: &Heard) -> io::Result<()> {
        BUFFER.with_borrow_mut(|buffer| {
            buffer.clear();
            buffer.reserve(READ);
            buffer.extend_from_slice(&self.rest);
            match self.stream.try_read_buf(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
            let now = now();
            while let Some(event) = self.decoder.decode(buffer).map_err(io::Error::other)? {
                match event {
                    Event::Text(text) => self.take(&text, now, heard),
                    Event::Close(_) => return Err(io::ErrorKind::ConnectionReset.into()),
                    _ => {}
                }
            }
            self.rest.clear();
            self.rest.extend_from_slice(buffer);
            Ok(())
        })
    }

    fn take(&mut self, text: &str, now: u64, heard: &Heard) {
        let Some(args) = text.strip_prefix(r#"42["n","#) else {
            self.entered |= text.starts_with("40");
            return;
        };
        let mut numbers = args.splitn(4, ',').map_while(|number| number.parse::<u64>().ok());
        let (Some(phase), Some(number), Some(sent)) = (numbers.next(), numbers.next(), numbers.next()) else { return };
        if number <= self.last {
            heard.out_of_order.fetch_add(1, Ordering::Relaxed);
        } else if self.last > 0 {
            heard.missing.fetch_add(number - self.last - 1, Ordering::Relaxed);
        }
        self.last = self.last.max(number);
        if let Some(latencies) = heard.latencies.get(phase as usize) {
            latencies.add(now.saturating_sub(sent));
        }
        heard.messages.fetch_add(1, Ordering::Relaxed);
    }
}
