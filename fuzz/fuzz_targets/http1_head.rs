#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| socketio_fuzz::http1_head::run(input));
