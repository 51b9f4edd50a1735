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

#[test]
fn each_server_of_its_own_and_the_pages_that_talk_to_it() {
    let names =
        ["chat", "cluster", "jwt", "microservice", "presence", "private", "questions", "upload", "webtransport"];
    let examples = names.map(workspace_example);
    let folder = examples[0].parent().expect("examples are in a folder");
    NodeSuite::new("each-example.test.mjs").env("EXAMPLES", folder).run();
}
