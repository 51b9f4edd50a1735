//! The suites in Node.js against our servers: real clients, real servers beside ours, real emitters.
//!
//! Each test here is one file of `tests/node`, whose own report is shown when it fails. `tests/node/README.md` says how
//! to run one alone, and against another server.

use socketio_tests::{NodeSuite, python_folder, valkey_server, workspace_binary};

const CONFORMANCE_SERVER: &str = env!("CARGO_BIN_EXE_conformance-server");
const CLUSTER_NODE: &str = env!("CARGO_BIN_EXE_cluster-node");

fn conformance(file: &str) {
    NodeSuite::new(file).server("SERVER_CMD", CONFORMANCE_SERVER).run();
}

/// For a suite that measures tenths of a second.
fn conformance_alone(file: &str) {
    NodeSuite::new(file).server("SERVER_CMD", CONFORMANCE_SERVER).run_alone();
}

fn cluster(file: &str) {
    NodeSuite::new(file).server("SERVER_CMD", CLUSTER_NODE).run();
}

fn family(file: &str, family: &str) -> NodeSuite {
    NodeSuite::new(file).env("ADAPTER", family).server("SERVER_CMD", CLUSTER_NODE)
}

fn in_each_family(file: &str) {
    NodeSuite::run_together(["classic", "sharded", "streams"].map(|name| family(file, name)));
}

#[test]
fn both_protocols_on_bare_http_and_websocket() {
    conformance_alone("protocol.test.mjs");
}

#[test]
fn http_as_browsers_and_proxies_see_it() {
    conformance("http.test.mjs");
}

#[test]
fn websocket_frames() {
    conformance("websocket.test.mjs");
}

#[test]
fn byte_for_byte_as_the_reference() {
    NodeSuite::new("compare.test.mjs").server("SERVER_CMD", env!("CARGO_BIN_EXE_compare-server")).run();
}

#[test]
fn permessage_deflate() {
    conformance("deflate.test.mjs");
}

#[test]
fn the_stock_client_on_every_transport() {
    conformance("conformance.test.mjs");
}

#[test]
fn the_stock_client_of_version_3() {
    conformance("client3.test.mjs");
}

#[test]
fn the_stock_client_of_version_2() {
    conformance("legacy.test.mjs");
}

#[test]
fn clients_that_take_text_only() {
    conformance("base64.test.mjs");
}

#[test]
fn webtransport_in_a_browser() {
    conformance_alone("webtransport.test.mjs");
}

#[test]
fn the_stock_admin_ui_in_a_browser() {
    conformance("admin.test.mjs");
}

#[test]
fn the_admin_ui_of_a_cluster() {
    cluster("admin-cluster.test.mjs");
}

#[test]
fn the_msgpack_parser() {
    conformance("msgpack.test.mjs");
}

#[test]
fn parsers_of_an_applications_own() {
    conformance("parsers.test.mjs");
}

#[test]
fn recovery_of_a_connection() {
    conformance("recovery.test.mjs");
}

#[test]
fn a_server_that_is_started_again() {
    conformance("restart.test.mjs");
}

#[test]
fn order_loss_and_isolation() {
    NodeSuite::new("promises.test.mjs")
        .server("SERVER_CMD", CONFORMANCE_SERVER)
        .server("NODE_CMD", CLUSTER_NODE)
        .run_alone();
}

#[test]
fn a_cluster_with_node_js() {
    in_each_family("cluster.test.mjs");
}

#[test]
fn recovery_on_another_node() {
    family("recovery-cluster.test.mjs", "streams").run();
}

#[test]
fn recovery_on_the_same_node_of_a_cluster() {
    in_each_family("recovery-back.test.mjs");
}

#[test]
fn random_faults() {
    let seeds = [("classic", "21"), ("sharded", "22"), ("streams", "23")];
    NodeSuite::run_together(
        seeds.map(|(name, seed)| family("chaos.test.mjs", name).env("SEED", seed).env("FAULT_SECONDS", "8")),
    );
}

#[test]
fn numbered_messages_through_faults() {
    in_each_family("faults.test.mjs");
}

#[test]
fn a_room_without_a_member_costs_nothing() {
    family("idle-rooms.test.mjs", "sharded").run();
}

#[test]
fn on_valkey_over_either_protocol() {
    let suites = [
        ("cluster.test.mjs", "sharded", "?protocol=resp3"),
        ("recovery-cluster.test.mjs", "streams", "?protocol=resp3"),
        ("faults.test.mjs", "classic", ""),
    ];
    NodeSuite::run_together(
        suites.map(|(file, name, query)| {
            family(file, name).env("REDIS_SERVER", valkey_server()).env("REDIS_QUERY", query)
        }),
    );
}

#[test]
fn behind_nginx_and_haproxy() {
    cluster("proxies.test.mjs");
}

#[test]
fn a_cluster_whose_redis_goes_and_comes_back() {
    cluster("outage.test.mjs");
}

#[test]
fn what_our_servers_ask_beyond_node_js() {
    in_each_family("everywhere.test.mjs");
}

#[test]
fn the_program_as_a_gateway() {
    NodeSuite::new("gateway.test.mjs").server("SERVER_CMD", workspace_binary("socketio-server", "lifecycle")).run();
}

#[test]
fn what_the_program_logs_at_most() {
    let file = |name| std::env::temp_dir().join(format!("socketio-secrets-{}-{name}.pem", std::process::id()));
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (cert, key) = (file("cert"), file("key"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    NodeSuite::new("secrets.test.mjs")
        .server("SERVER_CMD", workspace_binary("socketio-server", "lifecycle"))
        .env("CERT", &cert)
        .env("KEY", &key)
        .run();
    std::fs::remove_file(cert).unwrap();
    std::fs::remove_file(key).unwrap();
}

#[test]
fn the_program_and_a_backend_in_python() {
    let python = python_folder().join(".venv/bin/python");
    let backend = serde_json::json!([python, python_folder().join("webhook_backend.py")]);
    NodeSuite::new("gateway-webhooks.test.mjs")
        .server("SERVER_CMD", workspace_binary("socketio-server", "lifecycle"))
        .env("BACKEND_CMD", backend.to_string())
        .run();
}
