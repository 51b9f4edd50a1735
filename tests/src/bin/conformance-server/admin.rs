//! Mode `admin`: a server that the Admin UI may look at, from a page of the origin ADMIN_ORIGIN, as `ana` with the
//! password `changeit`. A client can have its data set (`set-name`), go into a room (`enter`) and talk (`say`).

use std::env::var;
use std::io;

use serde_json::json;
use socketio_server::admin::AdminOptions;
use socketio_server::engine::Cors;
use socketio_server::{Data, Namespace, Server, Socket};
use tokio::net::TcpListener;

use crate::Options;

const HASH: &str = "$2a$04$e7BrVKn63VCWoqvfra.Yd.cmileEISqNSXlkmVlB5.eSpwGt2ZWX6";

pub(crate) async fn serve(options: Options, listener: TcpListener) -> Result<(), io::Error> {
    let origin = var("ADMIN_ORIGIN").unwrap_or_else(|_| "https://admin.socket.io".into());
    let io: Server = options.server("/socket.io").cors(Cors::origins([origin]).credentials(true)).build();
    talk(&io);
    talk(&io.of("/chat"));
    let boards = io.of_matching(|name| name.starts_with("/board-"));
    boards.on_connection(async |_: Socket| {});
    io.instrument(AdminOptions::basic("ana", HASH).server_id("server-1")).map_err(io::Error::other)?;
    io.of("/open").on_connection(async |_: Socket| {});
    io.serve(listener).await;
    Ok(())
}

fn talk(namespace: &Namespace) {
    namespace.on("set-name", async |socket: Socket, Data(name): Data<String>| {
        socket.set_data(json!({ "name": name }));
        true
    });
    namespace.on("enter", async |socket: Socket, Data(room): Data<String>| {
        socket.join(room);
        true
    });
    namespace.on("say", async |socket: Socket, Data(text): Data<String>| {
        let _ = socket.emit("said", (text, 1));
        true
    });
}
