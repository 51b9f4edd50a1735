//! Collects the Rust of the pages into one file that `tests/snippets.rs` compiles.
//!
//! A block that has a `main` is a module of its own. Any other is the body of a function that has what the pages speak of:
//! `io`, `socket`, `emitter`, `now`. In the tables of `from-*.md` (`| Node.js | here |`) each row's right side is such a body.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    // Asked for now: what was built for another checkout may be used here.
    let package = env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where the package is");
    let root = Path::new(&package).parent().expect("the package is a folder of the workspace");
    let mut pages = vec![root.join("README.md")];
    let folder = root.join("docs");
    println!("cargo:rerun-if-changed={}", folder.display());
    pages.extend(
        fs::read_dir(folder)
            .expect("docs can be read")
            .map(|entry| entry.expect("an entry of docs can be read").path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "md")),
    );
    pages.sort();
    let mut code = String::new();
    for page in &pages {
        println!("cargo:rerun-if-changed={}", page.display());
        let name =
            page.file_stem().expect("a page has a name").to_string_lossy().to_lowercase().replace(['-', '.'], "_");
        for (line, snippet) in
            snippets(&fs::read_to_string(page).expect("a page can be read"), name.starts_with("from_"))
        {
            wrap(&mut code, &format!("{name}_line_{line}"), &snippet);
        }
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says where to write"));
    fs::write(out.join("snippets.rs"), code).expect("the snippets can be written");
}

/// Blocks and right sides of tables, with the line that they begin in.
fn snippets(page: &str, tables: bool) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let (mut fenced, mut rust, mut compares) = (false, false, false);
    for (number, line) in (1..).zip(page.lines()) {
        if let Some(language) = line.strip_prefix("```") {
            fenced = !fenced;
            rust = fenced && language == "rust";
            if rust {
                found.push((number, String::new()));
            }
        } else if rust {
            let (_, block) = found.last_mut().expect("a block has begun");
            block.push_str(line);
            block.push('\n');
        } else if !fenced && line.starts_with("| ") {
            if line.ends_with("| here |") {
                compares = tables;
            } else if compares && let Some(cell) = line.strip_suffix("` |").and_then(|row| row.rsplit_once("| `")) {
                found.push((number, cell.1.replace("\\|", "|")));
            }
        } else if !line.starts_with('|') {
            compares = false;
        }
    }
    found
}

fn wrap(code: &mut String, name: &str, snippet: &str) {
    let result = if snippet.contains("fn main()") {
        writeln!(code, "mod {name} {{\n{snippet}}}\n")
    } else {
        writeln!(
            code,
            "mod {name} {{ use crate::prelude::*;\npub async fn run(io: Server, socket: Socket, emitter: Emitter, now: u64) -> Tried {{\n\
             {snippet};\nOk(()) }} }}\n"
        )
    };
    result.expect("a text can be written to");
}
