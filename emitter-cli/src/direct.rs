//! Without Redis: one server, reached as a client reaches it (`--server`).
//!
//! A client has no rooms to choose from: what the server does with an event is its own affair. So `emit` says that the
//! server has it, `request` prints what the server answers, `watch` what it sends, `bench` how long it takes.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use socketio_client::{Builder, Client, ClientError, News, TlsOptions, TransportKind, without_secrets};
use socketio_protocol::socket::{Args, Value};
use tokio::task::JoinSet;

use crate::{
    args::{Command, Settings, Target},
    bench::{Bench, Measured},
    failure::{Failure, code},
    output,
    payload::Payload,
    request::Request,
    show,
    told::Told,
    watch::{self, Watch},
};

mod emit;

/// Carries out a command at the server `url`.
pub(crate) async fn run(settings: &Settings, url: &str, command: &Command) -> Result<u8, Failure> {
    match command {
        Command::Emit(command) => emit::run(settings, url, command).await,
        Command::Request(command) => request(settings, url, command).await,
        Command::Watch(command) => watch(settings, url, command).await,
        Command::Bench(command) => bench(settings, url, command).await,
        Command::Doctor => doctor(settings, url).await,
        _ => Err(Failure::usage("this goes through Redis, not to one server")
            .tip("leave --server out; with it there are emit, request, watch, bench and doctor")),
    }
}

async fn connect(settings: &Settings, url: &str) -> Result<Client, Failure> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(100);
    let mut retries = settings.retries;
    loop {
        let left = settings.timeout.saturating_sub(started.elapsed());
        let builder = builder(settings, url)?
            // What passes through everything, where a WebSocket does not.
            .transports(&[TransportKind::WebSocket, TransportKind::Polling])
            .timeout(left);
        match builder.connect().await {
            Ok(client) => {
                if settings.verbose > 0 {
                    let (url, took) = (without_secrets(url), started.elapsed().as_secs_f64() * 1_000.0);
                    output::detail(format!("connected to {url} as {} in {took:.1} ms", client.sid()));
                }
                return Ok(client);
            }
            Err(ClientError::Unreachable { .. }) if retries > 0 && pause < left => {
                tokio::time::sleep(pause).await;
                retries -= 1;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A client as the settings say.
fn builder(settings: &Settings, url: &str) -> Result<Builder, Failure> {
    let mut tls = TlsOptions::default();
    tls.ca.clone_from(&settings.cacert);
    let mut builder = Client::builder(url).tls(tls);
    if settings.sources.contains_key("nsp") {
        builder = builder.namespace(&settings.nsp);
    }
    if let Some(auth) = &settings.auth {
        let auth = serde_json::from_str(auth).map_err(|error| Failure::usage("--auth is not JSON").cause(error))?;
        builder = builder.auth(auth);
    }
    Ok(builder)
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        match error {
            ClientError::Url { url, reason } => Failure::usage(format!("{url:?} is not the URL of a server"))
                .cause(reason)
                .tip("write http://host:3000, with the namespace as its path or as --nsp"),
            ClientError::Unreachable { address, reason } => {
                Failure::new(code::UNREACHABLE, format!("cannot reach the server at {address}"))
                    .cause(reason)
                    .tip("start it, or correct --server")
            }
            ClientError::Timeout { after } => Failure::new(code::UNREACHABLE, "the server did not answer")
                .cause(format!("no answer within {}", output::duration(after)))
                .tip("wait longer with --timeout; is there a handler that answers?"),
            ClientError::Refused { address, reason } => {
                Failure::new(code::FAILED, format!("{address} is no Socket.IO server, or refuses us"))
                    .cause(reason)
                    .tip("is it the right port? It has to speak Socket.IO 3 or newer at /socket.io/")
            }
            ClientError::Denied { nsp, reason } => {
                Failure::new(code::FAILED, format!("the server does not let us into {nsp}"))
                    .cause(reason)
                    .tip("is it the right namespace (--nsp)? A token goes into --auth '{\"token\":\"…\"}'")
            }
            ClientError::Encode { reason } => Failure::usage("the event cannot be sent").cause(reason),
            ClientError::Disconnected { reason } => Failure::new(code::FAILED, "the connection broke")
                .cause(reason)
                .tip("the event may have been delivered: look before you send it again"),
            other => Failure::new(code::FAILED, other),
        }
    }
}

fn args(event: &str, values: Vec<Value>) -> Result<Args, Failure> {
    let all: Vec<Value> = [Value::String(event.to_owned())].into_iter().chain(values).collect();
    let args = Args::from_values(&all)
        .and_then(|args| args.into_event().map_err(|_| socketio_protocol::socket::EncodeError::NotAnEvent));
    args.map_err(|error| Failure::usage("the arguments cannot be sent").cause(error))
}

/// A client names no rooms.
fn no_rooms(target: &Target) -> Result<(), Failure> {
    if target.to.is_empty() && target.except.is_empty() {
        return Ok(());
    }
    Err(Failure::usage("a client cannot say who hears an event")
        .tip("only through Redis: leave --server out, or leave --to and --except out"))
}

/// Emits, and prints what the server answers: a line of JSON, the list of the answer's values.
async fn request(settings: &Settings, url: &str, request: &Request) -> Result<u8, Failure> {
    no_rooms(&request.target)?;
    let event_args = args(&request.event, Payload::read(&request.arguments, false)?.values(None, None)?)?;
    let client = connect(settings, url).await?;
    let answer = client.emit_args_with_ack(event_args, settings.timeout).await?;
    output::line(show::values_json(&answer.to_values().unwrap_or_default()));
    client.close().await;
    Ok(code::DONE)
}

async fn watch(settings: &Settings, url: &str, watch: &Watch) -> Result<u8, Failure> {
    if !watch.rooms.is_empty() || watch.since.is_some() || watch.requests || watch.all_namespaces {
        return Err(Failure::usage("a client sees only what it is sent")
            .tip("--to, --since, --requests and --all-namespaces are for Redis"));
    }
    let mut client = connect(settings, url).await?;
    let place = without_secrets(url);
    if !settings.quiet && !settings.json {
        output::detail(format!("watching {place} as {}", client.sid()));
    }
    let mut shown = 0;
    let ended = tokio::time::sleep(watch.within.unwrap_or(Duration::from_secs(86_400 * 365)));
    tokio::pin!(ended);
    while watch.count.is_none_or(|count| shown < count) {
        let news = tokio::select! {
            news = client.next() => news,
            () = &mut ended => break,
        };
        match news {
            Some(News::Event(event)) => {
                let name = event.name();
                if !watch.events.is_empty() && !watch.events.contains(&name) {
                    continue;
                }
                shown += 1;
                let values = event.args.without_name();
                let bytes =
                    values.to_json().0.len() + values.attachments().iter().map(|part| part.len()).sum::<usize>();
                let more = if event.wants_answer() { vec![("ack", "wanted".to_owned())] } else { Vec::new() };
                let told = Told {
                    kind: "event",
                    nsp: settings.nsp.clone(),
                    event: Some(name),
                    args: values.to_values().ok(),
                    more,
                    bytes,
                    ..Told::default()
                };
                let passed = watch::Passed { at: SystemTime::now(), place: place.clone(), id: None, told: Ok(told) };
                watch::print(settings, &passed);
            }
            Some(News::Disconnected { reason }) => output::warning(&format!("disconnected: {reason}")),
            Some(News::Connected { sid }) => {
                output::warning(&format!("connected again as {sid}; what was sent meanwhile is missing"))
            }
            Some(_) => {}
            None => return Err(Failure::new(code::FAILED, "the server has put us out")),
        }
    }
    watch::ended_with(watch, shown)
}

/// Acknowledgements make the round trip. The server answers an event that it does not know never: it has to have one.
async fn bench(settings: &Settings, url: &str, bench: &Bench) -> Result<u8, Failure> {
    let text = "x".repeat(bench.size);
    let event_args = args(&bench.event, vec![Value::String(text)])?;
    let client = connect(settings, url).await?;
    let mut trips = Vec::new();
    let started = Instant::now();
    while started.elapsed() < bench.within / 3 || trips.is_empty() {
        let sent = Instant::now();
        client.emit_args_with_ack(event_args.clone(), settings.timeout).await.map_err(|error| match error {
            ClientError::Timeout { .. } => Failure::from(error)
                .tip(format!("the server has to acknowledge {:?}: name another event with --event", bench.event)),
            other => other.into(),
        })?;
        trips.push(sent.elapsed());
    }
    let client = Arc::new(client);
    let started = Instant::now();
    let mut asking = JoinSet::new();
    for _ in 0..bench.in_flight {
        let (client, event_args, until, timeout) =
            (client.clone(), event_args.clone(), started + bench.within, settings.timeout);
        asking.spawn(async move {
            let mut answered = 0u64;
            while Instant::now() < until {
                client.emit_args_with_ack(event_args.clone(), timeout).await?;
                answered += 1;
            }
            Ok::<u64, ClientError>(answered)
        });
    }
    let mut sent = 0;
    while let Some(answered) = asking.join_next().await {
        sent += answered.unwrap_or(Ok(0))?;
    }
    let measured = Measured::new(event_args.to_json().0.len(), trips, sent, started.elapsed(), None);
    if let Some(client) = Arc::into_inner(client) {
        client.close().await;
    }
    measured.report(settings, bench);
    Ok(code::DONE)
}

/// Each transport by itself, so that what a proxy does not let pass is seen.
async fn doctor(settings: &Settings, url: &str) -> Result<u8, Failure> {
    let mut worst = code::DONE;
    for transports in [&[TransportKind::Polling][..], &[TransportKind::WebSocket]] {
        let name = transports.iter().map(|transport| transport.to_string()).collect::<String>();
        let builder = builder(settings, url)?.transports(transports).timeout(settings.timeout).reconnect(false);
        let started = Instant::now();
        match builder.connect().await {
            Ok(client) => {
                let took = started.elapsed().as_secs_f64() * 1_000.0;
                crate::doctor::say(
                    settings,
                    true,
                    &name,
                    &format!("let in as {} after {took:.1} ms", client.sid()),
                    None,
                );
                client.close().await;
            }
            Err(error) => {
                let failure = Failure::from(error);
                worst = worst.max(failure.code);
                crate::doctor::say(settings, false, &name, &failure.in_a_line(), failure.tip.as_deref());
            }
        }
    }
    Ok(worst)
}
