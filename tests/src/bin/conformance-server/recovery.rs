//! A server whose clients come back to where they were.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socketio_server::{Builder, Recovery, Server, Socket};

use crate::events::{Ended, everything};

/// The server at `/recovery/`.
pub(crate) fn serve(builder: Builder, ended: &Ended) -> Server {
    let recovery = Recovery::default().max_disconnection_duration(Duration::from_secs(3));
    let io = builder.connection_state_recovery(recovery).build();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    io.middleware(async move |_: Socket| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    for name in ["/", "/custom"] {
        let namespace = io.of(name);
        everything(&io, &namespace, ended);
        let runs = runs.clone();
        namespace.on("middleware-runs", async move || runs.load(Ordering::Relaxed));
    }
    io
}
