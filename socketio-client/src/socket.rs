//! The task of a client: one socket over one session after the other.
//!
//! It owns the session, keeps account of the acknowledgements that are due, and connects again.

use std::{collections::HashMap, time::Duration};

use socketio_protocol::{
    ByteString,
    engine::{Message, Packet as EnginePacket},
    socket::{Args, Decoder, Kind, Limits, Packet, Value, codec},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    ClientError,
    client::{Event, News},
    engine::{self, Engine, Options},
};

/// What the application wants of the socket.
pub(crate) enum Command {
    Emit {
        args: Args,
        ack: Option<oneshot::Sender<Result<Args, ClientError>>>,
    },
    Answer {
        id: u64,
        args: Args,
        session: u64,
    },
    /// Ends the client; answered when the server has read all that was sent before.
    Close {
        done: oneshot::Sender<()>,
    },
}

/// How to connect.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) engine: Options,
    pub(crate) auth: Option<Value>,
    /// For each attempt.
    pub(crate) timeout: Duration,
    pub(crate) reconnect: bool,
}

/// A session in which the server has let us into the namespace.
pub(crate) struct Session {
    engine: Engine,
    decoder: Decoder,
    pub(crate) sid: String,
    /// Sessions are counted, so that an answer does not go to another than asked.
    number: u64,
}

impl Session {
    pub(crate) async fn open(settings: &Settings, number: u64) -> Result<Session, ClientError> {
        let opened = tokio::time::timeout(settings.timeout, Session::enter(settings, number)).await;
        opened.unwrap_or(Err(ClientError::Timeout { after: settings.timeout }))
    }

    async fn enter(settings: &Settings, number: u64) -> Result<Session, ClientError> {
        let nsp = &settings.engine.address.nsp;
        let mut engine = Engine::open(&settings.engine).await?;
        let mut connect = Vec::new();
        codec::encode_connect(&mut connect, nsp, settings.auth.as_ref())
            .map_err(|error| ClientError::Encode { reason: error.to_string() })?;
        engine.send(vec![engine::text(utf8(connect))]);
        let mut decoder = decoder(&settings.engine);
        loop {
            let Some(packet) = decode(&mut decoder, engine.next().await?)? else { continue };
            if packet.nsp != *nsp {
                continue;
            }
            let value = || packet.data.value::<Value>().ok().flatten().unwrap_or_default();
            match packet.kind {
                Kind::Connect => {
                    let sid = value().get("sid").and_then(Value::as_str).unwrap_or_default().to_owned();
                    return Ok(Session { engine, decoder, sid, number });
                }
                Kind::ConnectError => {
                    let value = value();
                    let reason = value.get("message").and_then(Value::as_str).or(value.as_str());
                    let reason = reason.unwrap_or("it does not say why").to_owned();
                    return Err(ClientError::Denied { nsp: nsp.clone(), reason });
                }
                _ => {}
            }
        }
    }
}

fn decoder(options: &Options) -> Decoder {
    Decoder::new(Limits { max_attachments: 1_000, max_bytes: options.max_message, max_args: 100_000 })
}

fn decode(decoder: &mut Decoder, message: Message) -> Result<Option<Packet>, ClientError> {
    let packet = match message {
        Message::Text(text) => decoder.text(text),
        Message::Binary(data) => decoder.binary(data),
    };
    packet.map_err(|error| ClientError::Disconnected {
        reason: format!("the server sent what is not Socket.IO: {error}"),
    })
}

fn utf8(text: Vec<u8>) -> ByteString {
    ByteString::try_from(text).expect("packets are written as text")
}

/// The acknowledgements that are due.
#[derive(Default)]
struct Due {
    next: u64,
    waiting: HashMap<u64, oneshot::Sender<Result<Args, ClientError>>>,
}

/// Why a session is over.
enum Over {
    Broken(ClientError),
    /// The server has put us out of the namespace: it does not want us back at once.
    PutOut,
    Closed(oneshot::Sender<()>),
    /// Nobody holds the client any more.
    Abandoned,
}

/// Runs until the client is closed, or may not connect again.
pub(crate) async fn run(
    settings: Settings,
    mut session: Session,
    mut commands: mpsc::Receiver<Command>,
    news: mpsc::Sender<News>,
) {
    loop {
        let number = session.number;
        let mut due = Due::default();
        let over = serve(&settings, &mut session, &mut commands, &news, &mut due).await;
        let reason = match &over {
            Over::Broken(error) => error.to_string(),
            Over::PutOut => "the server has disconnected this socket".to_owned(),
            Over::Closed(_) | Over::Abandoned => "the client was closed".to_owned(),
        };
        for (_, ack) in due.waiting.drain() {
            let _ = ack.send(Err(ClientError::Disconnected { reason: reason.clone() }));
        }
        match over {
            Over::Closed(done) => {
                session.engine.close().await;
                let _ = done.send(());
                return;
            }
            Over::Abandoned => return session.engine.close().await,
            Over::PutOut | Over::Broken(_) => {
                let put_out = matches!(over, Over::PutOut);
                let told = news.send(News::Disconnected { reason }).await;
                if told.is_err() || put_out || !settings.reconnect {
                    return;
                }
            }
        }
        session = match again(&settings, number + 1, &mut commands, &news).await {
            Some(session) => session,
            None => return,
        };
        if news.send(News::Connected { sid: session.sid.clone() }).await.is_err() {
            return;
        }
    }
}

/// Connects again, with pauses that grow; `None` when the client was closed meanwhile or is not wanted any more.
async fn again(
    settings: &Settings,
    number: u64,
    commands: &mut mpsc::Receiver<Command>,
    news: &mpsc::Sender<News>,
) -> Option<Session> {
    let mut pause = FIRST_PAUSE;
    loop {
        // Half of it is left to chance, so that the clients of a server that comes back do not come all at once.
        let mut random = [0; 1];
        let _ = getrandom::fill(&mut random);
        let waited = pause.mul_f64(0.5 + f64::from(random[0]) / 256.0);
        let pausing = tokio::time::sleep(waited);
        tokio::pin!(pausing);
        tokio::select! {
            () = &mut pausing => {}
            () = news.closed() => return None,
        }
        let opened = tokio::select! {
            opened = Session::open(settings, number) => opened,
            () = news.closed() => return None,
        };
        match opened {
            Ok(session) => return Some(session),
            Err(ClientError::Denied { reason, .. }) => {
                let _ = news.send(News::Disconnected { reason }).await;
                return None;
            }
            Err(_) if commands.is_closed() && commands.is_empty() => return None,
            Err(_) => pause = (pause * 2).min(LONGEST_PAUSE),
        }
    }
}

async fn serve(
    settings: &Settings,
    session: &mut Session,
    commands: &mut mpsc::Receiver<Command>,
    news: &mpsc::Sender<News>,
    due: &mut Due,
) -> Over {
    let nsp = &settings.engine.address.nsp;
    let number = session.number;
    loop {
        let full = session.engine.is_full();
        tokio::select! {
            command = commands.recv(), if !full => match command {
                // Its time was over while there was no connection.
                Some(Command::Emit { ack: Some(ack), .. }) if ack.is_closed() => {}
                Some(Command::Emit { args, ack }) => {
                    let id = ack.map(|ack| {
                        let id = due.next;
                        due.next += 1;
                        due.waiting.insert(id, ack);
                        id
                    });
                    // Who does not wait any more is forgotten now and then.
                    if due.next % 1_024 == 1_023 {
                        due.waiting.retain(|_, ack| !ack.is_closed());
                    }
                    let mut text = Vec::new();
                    if let Ok(attachments) = codec::encode_args_event(&mut text, nsp, id, &args) {
                        send(&mut session.engine, text, attachments);
                    }
                }
                Some(Command::Answer { id, args, session: of }) if of == number => {
                    let mut text = Vec::new();
                    let attachments = codec::encode_args_ack(&mut text, nsp, id, &args);
                    send(&mut session.engine, text, attachments);
                }
                // Nobody waits for it any more.
                Some(Command::Answer { .. }) => {}
                Some(Command::Close { done }) => {
                    let mut text = Vec::new();
                    codec::encode_disconnect(&mut text, nsp);
                    session.engine.send(vec![engine::text(utf8(text))]);
                    return Over::Closed(done);
                }
                None => return Over::Abandoned,
            },
            message = session.engine.next() => {
                let packet = match message.and_then(|message| decode(&mut session.decoder, message)) {
                    Ok(Some(packet)) if packet.nsp == *nsp => packet,
                    Ok(_) => continue,
                    Err(error) => return Over::Broken(error),
                };
                match packet.kind {
                    Kind::Event => {
                        let transport = session.engine.transport();
                        let event = Event { args: packet.data, ack: packet.id.map(|id| (id, number)), transport };
                        // The server waits, as it would for any client that does not read.
                        if news.send(News::Event(event)).await.is_err() && commands.is_closed() {
                            return Over::Abandoned;
                        }
                    }
                    Kind::Ack => {
                        if let Some(ack) = packet.id.and_then(|id| due.waiting.remove(&id)) {
                            let _ = ack.send(Ok(packet.data));
                        }
                    }
                    Kind::Disconnect => return Over::PutOut,
                    Kind::Connect | Kind::ConnectError => {}
                }
            }
        }
    }
}

fn send(engine: &mut Engine, text: Vec<u8>, attachments: impl IntoIterator<Item = bytes::Bytes>) {
    let attachments = attachments.into_iter().map(|data| EnginePacket::Message(Message::Binary(data)));
    engine.send([engine::text(utf8(text))].into_iter().chain(attachments).collect());
}

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use socketio_protocol::engine::TransportKind;
    use tokio::{net::TcpListener, time::Instant};

    use super::*;
    use crate::{TlsOptions, address::Address};

    #[tokio::test(start_paused = true)]
    async fn who_closes_does_not_wait_for_a_server_that_says_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let address = Address::parse(&url).expect("a URL");
        let transports = vec![TransportKind::WebSocket];
        let engine = Options { address, tls: TlsOptions::default(), transports, max_message: 1_000 };
        let settings = Settings { engine, auth: None, timeout: Duration::from_secs(3_600), reconnect: true };
        let (_commands, mut to_do) = mpsc::channel(1);
        let (tell, news) = mpsc::channel(1);
        let connecting = tokio::spawn(async move { again(&settings, 1, &mut to_do, &tell).await.is_none() });
        let _silent = listener.accept().await.expect("it connects");
        let closed = Instant::now();
        drop(news);
        assert!(connecting.await.expect("it ends"), "it has not connected");
        assert!(closed.elapsed() < Duration::from_secs(60), "{:?}", closed.elapsed());
    }
}
