//! What HTTP requests are answered, over real sockets: who is refused and who is told, ids, headers, origins, paths.

mod support;

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::{HeaderValue, Request, Response};
use socketio_server::engine::{Cors, HandshakeError, Message, Origins, TransportKind};
use socketio_server::{Builder, Server, bind, serve};
use tower_layer::Layer;
use tower_service::Service;

use support::{read_more, request, start, upgrade};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEB_SOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// A server that keeps what `on_connection_error` says.
fn listening(builder: Builder) -> (Server, Arc<Mutex<Vec<String>>>) {
    let io = builder.build();
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    io.on_connection_error({
        let heard = heard.clone();
        move |error| {
            let text = format!("{} {} {}", error.code(), error.message(), error.error.context());
            heard.lock().unwrap().push(text);
        }
    });
    (io, heard)
}

#[tokio::test]
async fn each_refusal_is_told_with_the_code_message_and_context_of_the_reference() {
    let builder = Server::builder().allow_eio3(false).allow_request(async |request| match request.header("x-deny") {
        Some("panic") => panic!("as if by mistake"),
        Some(why) => Err(why.to_owned()),
        None => Ok(()),
    });
    let (io, heard) = listening(builder);
    let addr = start(&io).await;
    let sid = request(addr, &format!("GET {POLLING}"), "", "").await.sid().to_owned();
    let of_sid = |target: &str| format!("{target}&sid={sid}");
    for (line, headers, told) in [
        ("GET /socket.io/?EIO=4", "", "0 Transport unknown {}"),
        ("GET /socket.io/?EIO=4&transport=tftp", "", r#"0 Transport unknown {"transport":"tftp"}"#),
        ("GET /socket.io/?EIO=4&transport=constructor", "", r#"0 Transport unknown {"transport":"constructor"}"#),
        (&format!("GET {POLLING}&sid=nobody"), "", r#"1 Session ID unknown {"sid":"nobody"}"#),
        (&format!("POST {POLLING}"), "", r#"2 Bad handshake method {"method":"POST"}"#),
        (&format!("OPTIONS {POLLING}"), "", r#"2 Bad handshake method {"method":"OPTIONS"}"#),
        (&format!("GET {WEB_SOCKET}"), "", r#"3 Bad request {"name":"TRANSPORT_HANDSHAKE_ERROR"}"#),
        (
            &format!("GET {}", of_sid(WEB_SOCKET)),
            "",
            r#"3 Bad request {"name":"TRANSPORT_MISMATCH","previousTransport":"polling","transport":"websocket"}"#,
        ),
        (
            &format!("GET {}", of_sid("/socket.io/?EIO=3&transport=polling")),
            "",
            r#"3 Bad request {"name":"PROTOCOL_MISMATCH","previousProtocol":4,"protocol":3}"#,
        ),
        (&format!("GET {POLLING}"), "Origin: http://\u{e4}.test\r\n", r#"3 Bad request {"name":"INVALID_ORIGIN"}"#),
        (&format!("GET {POLLING}"), "X-Deny: panic\r\n", r#"3 Bad request {"name":"MIDDLEWARE_FAILURE"}"#),
        (&format!("GET {POLLING}"), "X-Deny: not you\r\n", r#"4 not you {"message":"not you"}"#),
        (&format!("GET {POLLING}"), "Origin: http://evil.test\r\n", r#"4 Forbidden {"message":"Forbidden"}"#),
        ("GET /socket.io/?EIO=3&transport=polling", "", r#"5 Unsupported protocol version {"protocol":3}"#),
        ("GET /socket.io/?transport=polling", "", r#"5 Unsupported protocol version {"protocol":3}"#),
    ] {
        let answer = request(addr, line, headers, "").await;
        assert_eq!(heard.lock().unwrap().drain(..).collect::<Vec<_>>(), [told], "{line} {headers}");
        let status = if told.starts_with('4') { 403 } else { 400 };
        assert_eq!(answer.status, status, "{line}");
        let (code, rest) = told.split_once(' ').unwrap();
        let message = rest.rsplit_once(" {").unwrap().0;
        assert_eq!(answer.body(), format!(r#"{{"code":{code},"message":"{message}"}}"#), "{line}");
    }
    // A WebSocket is told in plain text.
    let (_, answer) = upgrade(addr, &format!("{WEB_SOCKET}&sid=nobody"), "").await;
    assert_eq!((answer.status, answer.header("content-type").as_deref()), (400, Some("text/html")));
    assert_eq!(*heard.lock().unwrap(), [r#"1 Session ID unknown {"sid":"nobody"}"#]);
    // The session was not touched by any of it.
    assert_eq!(request(addr, &format!("POST {}", of_sid(POLLING)), "", "40").await.status, 200);
}

#[tokio::test]
async fn a_refusal_comes_with_its_request() {
    let io = Server::new();
    let (sender, receiver) = std::sync::mpsc::channel();
    io.on_connection_error(move |error| sender.send(error.clone()).unwrap());
    let addr = start(&io).await;
    request(addr, "GET /socket.io/?EIO=4&transport=x&who=ana", "X-Who: ben\r\n", "").await;
    let error = receiver.try_recv().unwrap();
    assert_eq!(error.error, HandshakeError::UnknownTransport { transport: Some("x".into()) });
    assert_eq!(error.request.query("who").as_deref(), Some("ana"));
    assert_eq!(error.request.header("x-who"), Some("ben"));
    assert!(error.request.remote().is_some_and(|remote| remote.ip().is_loopback()));
}

#[tokio::test]
async fn the_application_names_sessions() {
    let builder = Server::builder().generate_id(async |request| match request.query("id") {
        Some(id) if id == "panic" => panic!("as if by mistake"),
        Some(id) if id == "none" => Err("the database is away".into()),
        Some(id) => Ok(id),
        None => Ok("default".into()),
    });
    let (io, heard) = listening(builder);
    let addr = start(&io).await;
    let handshake = async |id: &str| request(addr, &format!("GET {POLLING}&id={id}"), "", "").await;

    assert_eq!(handshake("first").await.sid(), "first");
    let (mut stream, mut answer) = upgrade(addr, &format!("{WEB_SOCKET}&id=second"), "").await;
    assert_eq!(answer.status, 101);
    while !answer.bytes.windows(15).any(|part| part == br#"{"sid":"second""#) {
        read_more(&mut stream, &mut answer.bytes).await;
    }
    for id in ["first", "second", "", "a%20b", "a%2Fb", "%C3%A9", "none", "panic"] {
        let answer = handshake(id).await;
        assert_eq!((answer.status, answer.body()), (400, r#"{"code":3,"message":"Bad request"}"#), "{id}");
        let (_, answer) = upgrade(addr, &format!("{WEB_SOCKET}&id={id}"), "").await;
        assert_eq!((answer.status, answer.body()), (400, "Bad request"), "{id}");
    }
    let told = r#"3 Bad request {"name":"ID_GENERATION_ERROR"}"#;
    assert_eq!(*heard.lock().unwrap(), vec![told; 16]);

    // An id is free again when its session has ended, and the failed attempts did not keep any.
    request(addr, &format!("POST {POLLING}&sid=first"), "", "1").await;
    assert_eq!(handshake("first").await.sid(), "first");
}

#[tokio::test]
async fn headers_are_added_to_the_first_answer_and_to_every_answer() {
    let io = Server::builder()
        .initial_headers(|headers, request| {
            headers.insert("x-first", HeaderValue::from_str(&request.query("who").unwrap()).unwrap());
            headers.insert("x-both", HeaderValue::from_static("first"));
        })
        .headers(|headers, _| {
            assert_ne!(headers.get("x-both"), Some(&HeaderValue::from_static("every")), "it runs once an answer");
            headers.insert("x-both", HeaderValue::from_static("every"));
        })
        .build();
    let addr = start(&io).await;
    let added = |answer: &support::Answer| (answer.header("x-first"), answer.header("x-both"));
    let some = |text: &str| Some(text.to_owned());

    let answer = request(addr, &format!("GET {POLLING}&who=ana"), "", "").await;
    assert_eq!(added(&answer), (some("ana"), some("every")));
    let session = format!("{POLLING}&sid={}", answer.sid());
    let post = request(addr, &format!("POST {session}"), "", "40").await;
    assert_eq!((post.status, added(&post)), (200, (None, some("every"))));
    let poll = request(addr, &format!("GET {session}"), "", "").await;
    assert_eq!((poll.status, added(&poll)), (200, (None, some("every"))));
    let (_stream, probe) = upgrade(addr, &session.replace("polling", "websocket"), "").await;
    assert_eq!((probe.status, added(&probe)), (101, (None, some("every"))));
    let (_stream, opened) = upgrade(addr, &format!("{WEB_SOCKET}&who=ben"), "").await;
    assert_eq!((opened.status, added(&opened)), (101, (some("ben"), some("every"))));
    let refused = request(addr, &format!("GET {POLLING}&sid=nobody"), "", "").await;
    assert_eq!((refused.status, added(&refused)), (400, (None, None)));
}

#[tokio::test]
async fn a_message_can_follow_the_open_packet() {
    let io = Server::builder().initial_packet(Message::Text("hello".into())).build();
    let addr = start(&io).await;
    let answer = request(addr, &format!("GET {POLLING}"), "", "").await;
    assert!(answer.body().starts_with("0{") && answer.body().ends_with("}\u{1e}4hello"), "{}", answer.body());
    let answer = request(addr, "GET /socket.io/?EIO=3&transport=polling", "", "").await;
    assert!(answer.body().ends_with("}6:4hello"), "{}", answer.body());
    let (mut stream, mut answer) = upgrade(addr, WEB_SOCKET, "").await;
    while !answer.bytes.ends_with(b"}\x81\x064hello") {
        read_more(&mut stream, &mut answer.bytes).await;
    }
}

#[tokio::test]
async fn the_path_ends_with_a_slash_unless_told_otherwise() {
    for (slash, target, ours) in [
        (true, "/socket.io/?", true),
        (true, "/socket.io/deeper?", true),
        (true, "/socket.io?", false),
        (true, "/socket.ioX?", false),
        (false, "/socket.io?", true),
        (false, "/socket.io/?", true),
        (false, "/socket.ioX?", true),
        (false, "/socket.i?", false),
    ] {
        let addr = start(&Server::builder().add_trailing_slash(slash).build()).await;
        let answer = request(addr, &format!("GET {target}EIO=4&transport=polling"), "", "").await;
        assert_eq!(answer.status, if ours { 200 } else { 404 }, "{target} with add_trailing_slash({slash})");
    }
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_on_each_transport_and_each_request() {
    let listed = || Server::builder().allowed_origins(["http://a.test", "http://b.test:8080"]);
    for (builder, origin, allowed) in [
        (listed(), "http://a.test", true),
        (listed(), "http://b.test:8080", true),
        (listed(), "http://b.test", false),
        (listed(), "null", false),
        (Server::builder(), "http://a.test", false),
        (Server::builder().cors(Cors::origins(["http://a.test"])), "http://a.test", true),
        (Server::builder().cors(Cors::origins(["http://a.test"])), "http://b.test", false),
        (Server::builder().cors(Cors::any()), "http://a.test", true),
        (Server::builder().allowed_origins(Origins::any()), "http://a.test", true),
        (
            Server::builder().allowed_origins(Origins::matching(|origin| origin.ends_with(".test"))),
            "http://a.test",
            true,
        ),
    ] {
        let (io, heard) = listening(builder);
        let addr = start(&io).await;
        let origin = format!("Origin: {origin}\r\n");
        let session = format!("{POLLING}&sid={}", request(addr, &format!("GET {POLLING}"), "", "").await.sid());
        request(addr, &format!("POST {session}"), "", "40").await;
        let statuses = [
            request(addr, &format!("GET {POLLING}"), &origin, "").await.status,
            request(addr, &format!("POST {session}"), &origin, "40").await.status,
            request(addr, &format!("GET {session}"), if allowed { &origin } else { "" }, "").await.status,
            upgrade(addr, WEB_SOCKET, &origin).await.1.status,
            upgrade(addr, &session.replace("polling", "websocket"), &origin).await.1.status,
        ];
        match allowed {
            true => assert_eq!(statuses, [200, 200, 200, 101, 101], "{origin}"),
            false => {
                // The session that was spoken for without leave goes on.
                assert_eq!(statuses[..2], [403, 403], "{origin}");
                assert_eq!(statuses[3..], [403, 403], "{origin}");
                let told = r#"4 Forbidden {"message":"Forbidden"}"#;
                assert_eq!(*heard.lock().unwrap(), vec![told; 4], "{origin}");
            }
        }
    }
}

#[tokio::test]
async fn pages_of_the_server_itself_are_let_in() {
    let addr = start(&Server::new()).await;
    let own = format!("Origin: http://{addr}\r\n");
    assert_eq!(request(addr, &format!("GET {POLLING}"), &own, "").await.status, 200);
    assert_eq!(upgrade(addr, WEB_SOCKET, &own).await.1.status, 101);
}

#[cfg(feature = "compression")]
mod compression {
    use std::io::Read;

    use socketio_server::{Data, Socket};

    use super::*;

    /// The answer to a poll for an event of `len` bytes, which was sent compressible or not.
    async fn poll(builder: Builder, len: usize, compress: bool, more: &str, headers: &str) -> support::Answer {
        let io = builder.build();
        io.on("give", async move |socket: Socket, Data(len): Data<usize>| {
            let _ = socket.compress(false).emit("mine", ());
            let _ = socket.compress(compress).emit("take", "abcd".repeat(len / 4));
        });
        let addr = start(&io).await;
        let session = format!("{POLLING}&sid={}", request(addr, &format!("GET {POLLING}"), "", "").await.sid());
        request(addr, &format!("POST {session}"), "", "40").await;
        request(addr, &format!("GET {session}"), "", "").await;
        request(addr, &format!("POST {session}"), "", &format!(r#"42["give",{len}]"#)).await;
        request(addr, &format!("GET {session}{more}"), headers, "").await
    }

    fn unpack(answer: &support::Answer) -> Vec<u8> {
        let bytes = answer.bytes.as_slice();
        let mut out = Vec::new();
        match answer.header("content-encoding").as_deref() {
            Some("gzip") => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out),
            Some("deflate") => flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut out),
            Some("br") => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out),
            other => panic!("packed as {other:?}"),
        }
        .unwrap();
        out
    }

    #[tokio::test]
    async fn a_poll_is_answered_in_the_form_that_the_client_likes_best() {
        for len in [2000, 900_000] {
            let plain = poll(Server::builder(), len, true, "", "").await;
            assert_eq!(plain.header("content-encoding"), None);
            for (accept, form) in [("gzip, br", "gzip"), ("deflate", "deflate"), ("gzip;q=0.5, br", "br")] {
                let headers = format!("Accept-Encoding: {accept}\r\n");
                let answer = poll(Server::builder(), len, true, "", &headers).await;
                assert_eq!(answer.header("content-encoding").as_deref(), Some(form));
                assert_eq!(answer.header("content-type"), plain.header("content-type"));
                assert!(answer.bytes.len() < len / 10);
                assert!(unpack(&answer) == plain.bytes, "{len} bytes as {form}");
                let answer = poll(Server::builder(), len, true, "&j=0", &headers).await;
                assert!(unpack(&answer).starts_with(b"___eio[0](\""));
            }
        }
    }

    #[tokio::test]
    async fn short_answers_and_those_that_nobody_wants_compressed_are_left_alone() {
        let built = Server::builder;
        for (builder, len, compress, headers, packed) in [
            (built(), 2000, true, "Accept-Encoding: gzip\r\n", true),
            (built(), 2000, true, "Accept-Encoding: zstd\r\n", false),
            (built(), 2000, false, "Accept-Encoding: gzip\r\n", false),
            (built(), 900, true, "Accept-Encoding: gzip\r\n", false),
            (built().http_compression(500), 900, true, "Accept-Encoding: gzip\r\n", true),
            (built().http_compression(None), 2000, true, "Accept-Encoding: gzip\r\n", false),
        ] {
            let answer = poll(builder, len, compress, "", headers).await;
            assert_eq!(answer.header("content-encoding").is_some(), packed, "{len} {compress} {headers}");
        }
    }

    #[tokio::test]
    async fn what_a_client_sends_is_never_unpacked() {
        let addr = start(&Server::new()).await;
        let session = format!("{POLLING}&sid={}", request(addr, &format!("GET {POLLING}"), "", "").await.sid());
        let answer = request(addr, &format!("POST {session}"), "Content-Encoding: gzip\r\n", "40").await;
        assert_eq!((answer.status, answer.body()), (200, "ok"), "the bytes are taken as they are");
        assert!(request(addr, &format!("GET {session}"), "", "").await.body().starts_with("40{\"sid\":"));
    }
}

/// A layer as an application writes it, in the place of the reference's `engine.use`.
#[derive(Clone)]
struct Stamp<S = ()>(S);

impl<S> Layer<S> for Stamp {
    type Service = Stamp<S>;

    fn layer(&self, inner: S) -> Stamp<S> {
        Stamp(inner)
    }
}

impl<S, B, R> Service<Request<B>> for Stamp<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            response.headers_mut().insert("x-layer", HeaderValue::from_static("stamped"));
            Ok(response)
        })
    }
}

#[tokio::test]
async fn a_tower_layer_sees_every_answer_the_change_to_web_socket_included() {
    let io = Server::builder().transports([TransportKind::Polling, TransportKind::WebSocket]).build();
    let listener = bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, Stamp(()).layer(io.service())));
    let first = request(addr, &format!("GET {POLLING}"), "", "").await;
    let session = format!("{POLLING}&sid={}", first.sid());
    let (mut stream, mut opened) = upgrade(addr, WEB_SOCKET, "").await;
    for (answer, status) in [
        (&first, 200),
        (&request(addr, &format!("POST {session}"), "", "40").await, 200),
        (&request(addr, &format!("GET {session}"), "", "").await, 200),
        (&request(addr, "GET /socket.io/?EIO=4", "", "").await, 400),
        (&opened, 101),
    ] {
        assert_eq!((answer.status, answer.header("x-layer").as_deref()), (status, Some("stamped")));
    }
    // And the WebSocket works behind it.
    while !opened.bytes.windows(8).any(|part| part == br#"0{"sid":"#) {
        read_more(&mut stream, &mut opened.bytes).await;
    }
}
