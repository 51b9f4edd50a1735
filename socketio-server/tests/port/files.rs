//! The files of the client under the server's path.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use socketio_server::Server;
use socketio_server::engine::Cors;
use tower_service::Service;

/// The answer to a GET of a page on `https://a.example`: its status, the origin it is for, and its body.
async fn get(io: &Server, target: &str) -> (StatusCode, Option<String>, Bytes) {
    let request = Request::get(target).header("origin", "https://a.example").body(Empty::<Bytes>::new()).unwrap();
    let answer = io.service().call(request).await.unwrap();
    let origin = answer.headers().get("access-control-allow-origin").map(|origin| origin.to_str().unwrap().to_owned());
    (answer.status(), origin, answer.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn files_of_the_client_are_found_whatever_the_query_says() {
    let io = Server::builder().cors(Cors::origins(["https://a.example"])).build();
    let (status, origin, script) = get(&io, "/socket.io/socket.io.js").await;
    assert_eq!((status, origin.as_deref()), (StatusCode::OK, Some("https://a.example")));
    assert!(script.starts_with(b"/*!\n * Socket.IO v4"));
    assert_eq!(get(&io, "/socket.io/socket.io.js?buster=1").await.2, script);
}

#[tokio::test]
async fn no_file_is_served_if_that_is_not_wished_and_no_unknown_one_ever() {
    let io = Server::builder().serve_client(false).build();
    assert_eq!(get(&io, "/socket.io/socket.io.js").await.0, StatusCode::BAD_REQUEST, "it is the engine's to answer");
    let io = Server::new();
    for unknown in
        ["/socket.io/index.html", "/socket.io/socket.io.mjs", "/socket.io/../Cargo.toml", "/socket.io/%73ocket.io.js"]
    {
        let (status, _, body) = get(&io, unknown).await;
        assert!(status.is_client_error() && body.len() < 100, "{unknown}: {status}");
    }
    assert_eq!(get(&io, "/other/socket.io.js").await.0, StatusCode::NOT_FOUND);
}
