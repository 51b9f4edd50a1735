//! What is written in Python: python-socketio, both of its clients on every transport, against the conformance server; and
//! schemathesis, which makes up requests for the HTTP API of the program from its description.

use std::net::TcpStream;
use std::process::Command;

use socketio_tests::{Program, Server, free_port, python_folder, workspace_binary};

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

#[test]
fn the_http_api_is_as_its_description_says() {
    let (port, api) = (free_port(), free_port());
    let mut command = Command::new(workspace_binary("socketio-server", "lifecycle"));
    command.args(["--no-bus", "--listen", &port.to_string(), "--api", &api.to_string(), "--api-key", "the key"]);
    let mut program = Program::start(&mut command, "");
    program.wait_until("the API listens", || TcpStream::connect(("127.0.0.1", api)).is_ok());

    let schemathesis = python_folder().join(".venv/bin/schemathesis");
    let url = format!("http://127.0.0.1:{api}");
    let output = Command::new(&schemathesis)
        .args(["run", &format!("{url}/openapi.json"), "--url", &url, "--header", "Authorization: Bearer the key"])
        .args(["--checks", "all", "--phases", "examples,coverage,fuzzing", "--max-examples", "20", "--seed", "1"])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_COLOR", "1")
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap_or_else(|error| panic!("could not start {}: {error}. {SETUP}", schemathesis.display()));
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && report.contains("7 selected / 7 total"), "{report}");
    assert!(program.stop().success());
}
