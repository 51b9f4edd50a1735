//! The examples of `socketio-server/examples`, driven by real clients.

use socketio_tests::{NodeSuite, Server, workspace_example};

fn drive(example: &str) {
    let server = Server::spawn(workspace_example(example), []);
    NodeSuite::new("examples.test.mjs").env("URL", server.url()).run();
}

#[test]
fn inside_axum_with_its_extractors() {
    drive("axum");
}

#[test]
fn inside_plain_hyper() {
    drive("hyper");
}

#[test]
fn inside_salvo_by_a_handler() {
    drive("salvo");
}
