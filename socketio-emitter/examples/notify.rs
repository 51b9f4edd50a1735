//! Tells the clients of a cluster something, from a program that is no server.
//!
//!     cargo run -p socketio-server                                  # a server with a page, on port 3000
//!     cargo run -p socketio-emitter --example notify -- "Lunch!"    # the page shows it
//!
//! `REDIS_URL` says where Redis is, if not on this machine.
#![allow(clippy::print_stdout)]

use serde::Serialize;
use socketio_emitter::{EmitError, Emitter};

#[derive(Serialize)]
struct Notice {
    text: String,
    urgent: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), EmitError> {
    let text = std::env::args().nth(1).unwrap_or_else(|| "Hello".to_owned());
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://localhost:6379".to_owned());

    let io = Emitter::connect(&url).await?;
    let receipt = io.except("muted").emit("notice", Notice { text, urgent: false }).await?;
    println!("{} servers have it", receipt.receivers());
    Ok(())
}
