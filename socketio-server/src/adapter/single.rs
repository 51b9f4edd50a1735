//! A server that is alone: what its own sockets hear is all there is.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytestring::ByteString;
use socketio_protocol::cluster::{BusError, RemoteSocket};
use socketio_protocol::socket::{Args, Value};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::acks::forward;
use super::{AckSource, AckTally, Adapter, Answers, Emitted, Fields, MemoryAdapter, Outgoing, Target};

/// The adapter of a server that is alone.
#[derive(Debug)]
pub(super) struct Single(pub(super) Arc<MemoryAdapter>);

#[async_trait]
impl Adapter for Single {
    fn local(&self) -> &Arc<MemoryAdapter> {
        &self.0
    }

    fn broadcast(&self, packet: &Outgoing, target: &Target) -> Result<Emitted, BusError> {
        self.0.deliver(packet, target);
        Ok(Emitted::here())
    }

    fn broadcast_with_ack(&self, args: Args, target: Target) -> AckSource {
        let tally = Arc::new(Mutex::new(AckTally::default()));
        let (sink, items) = mpsc::unbounded_channel();
        if let Ok(acks) = self.0.ask(&args, &target) {
            let deadline = Instant::now() + target.ack_timeout();
            tokio::spawn(forward(acks, deadline, sink, tally.clone()));
        }
        AckSource::new(items, tally)
    }

    fn sockets_join(&self, target: &Target, rooms: &[ByteString]) -> Result<Emitted, BusError> {
        self.0.join_all(target, rooms);
        Ok(Emitted::here())
    }

    fn sockets_leave(&self, target: &Target, rooms: &[ByteString]) -> Result<Emitted, BusError> {
        self.0.leave_all(target, rooms);
        Ok(Emitted::here())
    }

    fn disconnect_sockets(&self, target: &Target, close: bool) -> Result<Emitted, BusError> {
        self.0.disconnect(target, close);
        Ok(Emitted::here())
    }

    async fn fetch_sockets(&self, target: &Target, fields: Fields) -> Result<Answers<RemoteSocket>, BusError> {
        Ok(Answers { received: self.0.describe(target, fields), asked: 1, missing: 0 })
    }

    async fn count(&self, target: &Target) -> Result<Answers<u64>, BusError> {
        Ok(Answers { received: vec![self.0.count(target)], asked: 1, missing: 0 })
    }

    async fn room_sizes(&self, target: &Target) -> Result<Answers<(String, u64)>, BusError> {
        Ok(Answers { received: self.0.room_sizes(target).into_iter().collect(), asked: 1, missing: 0 })
    }

    fn patch_data(&self, target: &Target, patch: &Value) -> Result<Emitted, BusError> {
        self.0.patch_data(target, patch);
        Ok(Emitted::here())
    }

    async fn all_rooms(&self, _timeout: Option<Duration>) -> Result<Answers<String>, BusError> {
        let rooms = self.0.all_rooms().iter().map(ToString::to_string).collect();
        Ok(Answers { received: rooms, asked: 1, missing: 0 })
    }

    fn server_side_emit(&self, _args: Args) -> Result<Emitted, BusError> {
        Ok(Emitted::here())
    }

    async fn server_side_emit_with_ack(&self, _: Args, _: Option<Duration>) -> Result<Answers<Args>, BusError> {
        Ok(Answers { received: Vec::new(), asked: 0, missing: 0 })
    }

    async fn server_count(&self) -> Result<usize, BusError> {
        Ok(1)
    }

    async fn ready(&self) -> Result<(), BusError> {
        Ok(())
    }

    fn close(&self) {}
}
