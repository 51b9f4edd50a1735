//! What is done with each input, for libFuzzer (`fuzz_targets`) and for `tests/tests/fuzz.rs` alike.

pub mod cluster_classic;
pub mod cluster_sessions;
pub mod cluster_sharded;
pub mod cluster_streams;
pub mod engine_payload_v3;
pub mod engine_payload_v4;
pub mod engine_webtransport;
pub mod http1_head;
pub mod socket_msgpack;
pub mod socket_sequence;
pub mod socket_text;
pub mod websocket_deflate;
pub mod websocket_frames;
