//! The Rust of README.md and docs/ compiles: `build.rs` collects it here. What it does is shown by the other tests.

#![allow(unused, redundant_semicolons, unreachable_pub, clippy::all, clippy::print_stdout)]

/// What snippets without a `main` need not import.
mod prelude {
    pub use std::sync::Arc;
    pub use std::time::Duration;

    pub use bytes::Bytes;
    pub use serde::{Deserialize, Serialize};
    pub use serde_json::json;
    pub use socketio_emitter::Emitter;
    pub use socketio_redis_adapter::RedisAdapter;
    pub use socketio_server::admin::AdminOptions;
    pub use socketio_server::engine::{Cors, TransportKind};
    pub use socketio_server::webtransport::Certificate;
    pub use socketio_server::{
        Ack, AckError, ConnectError, Data, DisconnectReason, EmitError, Event, EventError, HandlerError, Limits,
        Listener, Recovery, Server, Socket, State, TlsConfig,
    };

    pub type Tried = Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

include!(concat!(env!("OUT_DIR"), "/snippets.rs"));

#[test]
fn the_pages_have_code() {
    let code = include_str!(concat!(env!("OUT_DIR"), "/snippets.rs"));
    assert!(code.matches("\nmod ").count() > 50, "where has it gone?");
}
