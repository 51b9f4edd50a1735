//! A wrong handler is refused in words that a newcomer understands, and that name the part that is wrong.
//!
//! Each file in `wrong_handlers/` is compiled with the library that this test was built with. The lines that begin with
//! `//~` are words that the compiler is to say; how it says the rest is left to it, so that a new compiler does no harm.

use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn each_wrong_handler_is_refused_in_our_words() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrong_handlers");
    let mut wrong = Vec::new();
    for case in std::fs::read_dir(folder).expect("the cases are there").map(|entry| entry.expect("readable").path()) {
        let name = case.file_stem().and_then(|name| name.to_str()).expect("a name in ASCII").to_owned();
        let source = std::fs::read_to_string(&case).expect("a case is text");
        let words: Vec<_> = source.lines().filter_map(|line| line.strip_prefix("//~ ")).collect();
        let said = compile(&case);
        match (said, words.as_slice()) {
            (Ok(()), []) => assert_eq!(name, "right", "a case says what it expects"),
            (Ok(()), _) => wrong.push(format!("{name} was compiled")),
            (Err(said), []) => wrong.push(format!("{name} was not compiled:\n{said}")),
            (Err(said), words) => {
                let unsaid: Vec<_> = words.iter().filter(|words| !said.contains(**words)).collect();
                if !unsaid.is_empty() {
                    wrong.push(format!("{name} is refused without the words {unsaid:#?}:\n{said}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// What the compiler says of a file that it refuses.
fn compile(source: &Path) -> Result<(), String> {
    let deps = std::env::current_exe().expect("this program is a file").parent().expect("in a folder").to_owned();
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--crate-name=case", "-o"])
        .arg(deps.join("wrong-handler.rmeta"))
        .arg("--extern")
        .arg(format!("socketio_server={}", library(&deps).display()))
        .arg("-L")
        .arg(format!("dependency={}", deps.display()))
        .arg(source)
        .output()
        .expect("rustc runs");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// The library that was built last: with this test, or after it from newer files.
fn library(deps: &Path) -> PathBuf {
    let files = std::fs::read_dir(deps).expect("what the test was built with is beside it");
    let files = files.filter_map(|entry| entry.ok()).filter(|entry| {
        let name = entry.file_name().into_string().unwrap_or_default();
        name.starts_with("libsocketio_server-") && name.ends_with(".rlib")
    });
    files.max_by_key(|file| file.metadata().and_then(|file| file.modified()).ok()).expect("it was built").path()
}
