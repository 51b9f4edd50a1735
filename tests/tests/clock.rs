//! A wall clock that jumps changes nothing in the libraries, since nothing is decided by it: who reads it, and what for; and a
//! server whose clock does jump.

use std::path::Path;

use socketio_tests::{NodeSuite, workspace};

/// Where the wall clock is read, or its values are handled. None of these is compared with another moment.
const SHOWN: [(&str, &str); 6] = [
    ("socketio-server/src/admin/sockets.rs", "the Admin UI shows when"),
    ("socketio-server/src/admin/stats.rs", "the Admin UI shows when"),
    ("socketio-server/src/admin/watch.rs", "the Admin UI shows when"),
    ("socketio-server/src/engine/request.rs", "a handshake tells the application when"),
    ("socketio-server/src/handshake.rs", "a handshake tells the application when"),
    ("socketio-server/src/serve/answer.rs", "the header Date"),
];

/// Names of clocks that jump, in the standard library and in others that could be used.
const WALL_CLOCKS: [&str; 5] = ["SystemTime", "UNIX_EPOCH", "OffsetDateTime", "Utc::now", "Local::now"];

#[test]
fn nothing_is_decided_by_the_wall_clock() {
    let mut found = Vec::new();
    for package in ["protocol", "server", "redis-client", "redis-adapter", "emitter", "client"] {
        look(&workspace().join(format!("socketio-{package}/src")), &mut found);
    }
    found.sort();
    assert_eq!(found, SHOWN.map(|(file, _)| file), "the wall clock is read elsewhere, or no longer there");
}

#[test]
fn the_wall_clock_jumps() {
    let library =
        |folder: std::fs::DirEntry| Some(folder.path().join("faketime/libfaketime.so.1")).filter(|it| it.exists());
    let found = std::fs::read_dir("/usr/lib").expect("Linux has it").flatten().find_map(library);
    NodeSuite::new("clock.test.mjs")
        .env("FAKETIME_LIB", found.expect("scripts/test.sh --setup-only installs faketime"))
        .server("SERVER_CMD", env!("CARGO_BIN_EXE_conformance-server"))
        .run();
}

fn look(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the workspace").flatten() {
        let path = entry.path();
        if path.ends_with("src/bin") {
            continue; // The program's tokens expire by the wall clock, as tokens do.
        } else if path.is_dir() {
            look(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(&path).expect("text");
            let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
            if code.into_iter().any(|line| WALL_CLOCKS.iter().any(|clock| line.contains(clock))) {
                let path = path.strip_prefix(workspace()).expect("it is inside");
                found.push(path.to_str().expect("text").to_owned());
            }
        }
    }
}
