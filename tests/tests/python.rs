//! python-socketio, both of its clients on every transport, against the conformance server.

use std::process::Command;

use socketio_tests::{Server, python_folder};

const SETUP: &str = "scripts/test.sh --setup-only installs Python's packages into tests/python/.venv.";

#[test]
fn the_python_clients_on_every_transport() {
    let server = Server::spawn(env!("CARGO_BIN_EXE_conformance-server"), [("MODE", "clients")]);
    let python = python_folder().join(".venv/bin/python");
    let output = Command::new(&python)
        .args(["-m", "unittest"])
        .env("SERVER_URL", server.url())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(python_folder())
        .output()
        .unwrap_or_else(|error| panic!("could not start {}: {error}. {SETUP}", python.display()));
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}");
    let ran = report.lines().find_map(|line| line.strip_prefix("Ran ")?.split(' ').next()?.parse::<u32>().ok());
    assert!(ran.is_some_and(|ran| ran > 0), "no test was run:\n{report}");
    assert!(!report.contains("skipped"), "{report}");
}
