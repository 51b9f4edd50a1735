//! What an application writes, call by call, driven by the stock client.
//!
//! The server is here, in the test's own process; the client's side, case by case, is `tests/node/api.test.mjs`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use socketio_server::{
    Ack, AckError, ConnectError, Data, DisconnectReason, EmitError, Event, HandlerError, Server, Socket, State, Value,
};
use socketio_tests::NodeSuite;

/// An event with a name for each field, and binary data inside.
#[derive(Debug, Serialize, Deserialize)]
struct MyEvent {
    name: String,
    photo: Bytes,
}

/// What handlers share.
#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<String>>,
}

/// What is kept with a socket and travels to whoever asks for it.
#[derive(Debug, Serialize, Deserialize)]
struct User {
    name: String,
}

fn application() -> Server {
    let io = Server::builder().state(Shared::default()).build();
    let errors: Arc<Mutex<Vec<String>>> = Arc::default();
    let hook = errors.clone();
    io.on_error(move |error: HandlerError| {
        hook.lock().unwrap().push(format!("{} {}: {}", error.nsp, error.event, error.kind));
    });

    io.on_connection(async |socket: Socket| {
        let _ = socket.emit("news", json!({ "hello": "world" }));
        socket.on("my event", async |socket: Socket, Data(event): Data<MyEvent>| {
            let answer = MyEvent { name: event.name.to_uppercase(), photo: event.photo.slice(1..) };
            socket.emit("my event", answer).map(drop)
        });
        socket.once("once", async |socket: Socket| socket.emit("once", ()).map(drop));
        socket.on_disconnect(async |socket: Socket, reason: DisconnectReason| {
            let rooms = socket.rooms().len();
            let _ = socket.broadcast().emit("user disconnected", (socket.id(), reason.as_str(), rooms));
        });
    });
    receiving(&io);
    sending(&io);
    rooms(&io);

    let reported = errors.clone();
    io.on("errors", async move || std::mem::take(&mut *reported.lock().unwrap()));
    io.on("panics", async || -> () { panic!("on purpose") });
    io.on("fails", async || -> Result<(), std::io::Error> { Err(std::io::Error::other("no luck")) });
    io.on("refuses", async || -> Result<i32, String> { Err("not today".into()) });

    let admin = io.of("admin");
    admin.middleware(async |socket: Socket| {
        #[derive(Deserialize)]
        struct Auth {
            token: String,
        }
        match socket.handshake().auth::<Auth>() {
            Ok(auth) if auth.token == "secret" => {
                socket.join("early");
                Ok(())
            }
            _ => Err(ConnectError::new("not authorized").data(json!({ "code": 401 }))),
        }
    });
    admin.on("rooms", async |socket: Socket| socket.rooms().len());
    io
}

fn receiving(io: &Server) {
    io.on("private message", async |socket: Socket, Data((from, text)): Data<(String, String)>| {
        socket.emit("private message", format!("{from}: {text}")).map(drop)
    });
    io.on("ferret", async |Data((name, word)): Data<(String, String)>| format!("{name} says {word}"));
    io.on("ferret by hand", async |Data((name, word)): Data<(String, String)>, ack: Ack| {
        ack.send((&name, &word)).and_then(|()| ack.send("only the first answer leaves"))
    });
    io.on("sum", async |Data((a, b)): Data<(i64, i64)>| a + b);
    io.on("later", async |Data(ms): Data<u64>| {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        ms
    });
    io.on("optional", async |Data((a, b)): Data<(i64, Option<i64>)>| (a, b.is_none()));
    io.on("any", async |event: Event| event.args());
    io.on("seen", async |shared: State<Shared>, Data(what): Data<String>| {
        let mut seen = shared.seen.lock().unwrap();
        seen.push(what);
        seen.len()
    });
    io.on("message", async |socket: Socket, Data(text): Data<String>| {
        socket.send(format!("you said {text}")).map(drop)
    });
}

fn sending(io: &Server) {
    io.on("hello", async |socket: Socket| socket.emit("hello", ("can you hear me?", 1, 2, "abc")).map(drop));
    io.on("question", async |socket: Socket| -> Result<Value, AckError> {
        let answer: String =
            socket.timeout(Duration::from_secs(5)).emit_with_ack("question", "do you think so?").await?;
        let both: (String, i32) = socket.emit_with_ack("two answers", ()).await?;
        let late = socket.timeout(Duration::from_millis(50)).emit_with_ack::<String>("silence", ()).await;
        assert!(matches!(late, Err(AckError::Timeout)), "{late:?}");
        Ok(Value::Array(vec![answer.as_str().into(), both.0.as_str().into(), Value::from(both.1)]))
    });
    io.on("flags", async |socket: Socket| -> Result<(), EmitError> {
        socket.volatile().emit("maybe", "do you really need it?")?;
        socket.volatile().emit("maybe", "one too many")?;
        socket.compress(false).emit("uncompressed", "that's rough")?;
        socket.binary(false).emit("what", "I have no binaries!")?;
        let Err(EmitError::Reserved(name)) = socket.emit("connect", ()) else { panic!("a reserved name was taken") };
        socket.emit("refused", name).map(drop)
    });
    io.on("nested", async |socket: Socket| {
        let part = |n: u8| Bytes::from(vec![n; usize::from(n)]);
        socket.emit("nested", (json!({ "a": 1 }), [part(1), part(2)], Some(part(0)))).map(drop)
    });
    let server = io.clone();
    io.on("leave me alone", async move |socket: Socket, Data(close): Data<bool>| {
        let _ = server.to("bystanders").emit("left", socket.id());
        socket.disconnect(close);
    });
    io.on("data", async |socket: Socket, Data(name): Data<String>| {
        socket.set_data(User { name });
        socket.data::<User>().map(|user| user.name.len())
    });
    let server = io.clone();
    io.on("data of", async move |Data(id): Data<String>| -> Result<String, String> {
        let sockets = server.to(&id).fetch_sockets().await.map_err(|error| error.to_string())?;
        let user: User = sockets[0].data().map_err(|error| error.to_string())?;
        Ok(user.name)
    });
}

fn rooms(io: &Server) {
    io.on("join", async |socket: Socket, Data(rooms): Data<Vec<String>>| {
        socket.join(rooms);
        sorted(&socket)
    });
    io.on("leave", async |socket: Socket, Data(room): Data<String>| {
        socket.leave(room);
        sorted(&socket)
    });
    let server = io.clone();
    io.on("shout", async move |socket: Socket, Data(how): Data<String>| -> Result<(), EmitError> {
        let io = &server;
        let sent = match how.as_str() {
            "socket.broadcast" => socket.broadcast().emit("heard", how)?,
            "socket.to" => socket.to("game").emit("heard", how)?,
            "socket.to.to" => socket.to("game1").to("game2").emit("heard", how)?,
            "socket.to self" => socket.to(socket.id()).emit("heard", how)?,
            "io.emit" => io.emit("heard", how)?,
            "io.to" => io.to("game").emit("heard", how)?,
            "io.in" => io.within(["game1", "game2"]).except("game").emit("heard", how)?,
            "io.to id" => io.to(socket.id()).emit("heard", how)?,
            "io.to nobody" => io.to(Vec::<String>::new()).emit("heard", how)?,
            "io.local" => io.local().emit("heard", how)?,
            "io.volatile" => io.volatile().emit("heard", how)?,
            "io.compress" => io.compress(false).emit("heard", how)?,
            "io.send" => io.send(how)?,
            "encoded" => {
                let packet = io.encode("heard", &how)?;
                io.to("game1").emit_encoded(&packet)?;
                io.to("game2").emit_encoded(&packet)?
            }
            "awaited" => return Ok(io.emit("heard", how)?.await?),
            "of" => io.of("myNamespace").emit("heard", how)?,
            "of.to" => io.of("/myNamespace").to("room").emit("heard", how)?,
            other => panic!("no way to shout {other}"),
        };
        drop(sent);
        Ok(())
    });
    io.of("myNamespace").on_connection(async |socket: Socket| {
        if socket.handshake().query("room").is_some() {
            socket.join("room");
        }
    });
    let server = io.clone();
    io.on("survey", async move || -> Result<Value, EmitError> {
        let acks = server.to("game").timeout(Duration::from_millis(300)).emit_with_ack::<i64>("survey", ()).await?;
        let mut answers = acks.answers.clone();
        answers.sort_unstable();
        let answers = answers.into_iter().map(Value::from).collect();
        Ok(Value::Array(vec![Value::Array(answers), Value::from(acks.missing), Value::from(acks.complete().is_ok())]))
    });
    let server = io.clone();
    io.on("manage", async move |Data(what): Data<String>| -> Result<usize, EmitError> {
        match what.as_str() {
            "join" => server.to("game").sockets_join("managed")?,
            "leave" => server.to("game").sockets_leave(["managed"])?,
            "disconnect" => server.to("managed").disconnect_sockets(true)?,
            other => panic!("cannot {other}"),
        }
        .await?;
        Ok(server.to("managed").fetch_sockets().await?.len())
    });
}

fn sorted(socket: &Socket) -> Vec<String> {
    let mut rooms: Vec<_> =
        socket.rooms().iter().filter(|room| *room != socket.id()).map(ToString::to_string).collect();
    rooms.sort();
    rooms
}

async fn run(url: String, file: &'static str) {
    tokio::task::spawn_blocking(move || NodeSuite::new(file).env("URL", url).run()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_of_the_api_table_works_with_the_stock_client() {
    let io = application();
    let listener = socketio_server::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = io.clone();
    let serving = tokio::spawn(async move { server.serve(listener).await });
    run(url, "api.test.mjs").await;
    io.close().await;
    tokio::time::timeout(Duration::from_secs(3), serving)
        .await
        .expect("serving ends when the server is closed")
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_application_works_as_a_layer_of_an_axum_router() {
    let io = application();
    let app = Router::new().route("/hello", get(async || "from axum")).layer(io.layer());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    run(url, "api.test.mjs").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_alone_works_under_plain_hyper() {
    let io = application();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper_util::service::TowerToHyperService::new(io.service());
            tokio::spawn(async move {
                let stream = hyper_util::rt::TokioIo::new(stream);
                hyper::server::conn::http1::Builder::new().serve_connection(stream, service).with_upgrades().await
            });
        }
    });
    run(url, "api.test.mjs").await;
}
