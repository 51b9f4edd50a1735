//! The examples of `socketio-server/examples`, driven by real clients.

use socketio_tests::{NodeSuite, Server};

fn drive(example: &str) {
    let server = Server::spawn(example, []);
    NodeSuite::new("examples.test.mjs").env("URL", server.url()).run();
}

#[test]
fn inside_axum_with_its_extractors() {
    drive(env!("CARGO_BIN_EXE_example-axum"));
}

#[test]
fn inside_plain_hyper() {
    drive(env!("CARGO_BIN_EXE_example-hyper"));
}
