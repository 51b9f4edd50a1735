#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| socketio_fuzz::engine_payload_v4::run(input));
