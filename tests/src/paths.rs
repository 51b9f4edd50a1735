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

/// The binary `name` of the workspace member `package`, built by the cargo that built this test.
///
/// For binaries of the tests' own package `env!("CARGO_BIN_EXE_name")` is enough; cargo does not promise that those of
/// other members are there when a test runs.
pub fn workspace_binary(package: &str, name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let folder = test.ancestors().nth(2).expect("cargo keeps tests in TARGET/PROFILE/deps");
    let target = folder.parent().expect("a profile's folder is in the target folder");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(workspace())
        .args(["build", "--quiet", "--package", package, "--bin", name, "--target-dir"])
        .arg(target);
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    let built = cargo.output().expect("cargo can be started");
    assert!(built.status.success(), "building {name} of {package}:\n{}", String::from_utf8_lossy(&built.stderr));
    folder.join(name)
}
