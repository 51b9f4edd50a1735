//! What the pages say about the repository is so: links and anchors lead somewhere, and tests that are named exist.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use socketio_tests::{has_test, workspace};

/// The crates whose documentation people read.
const LIBRARIES: [&str; 6] = [
    "socketio-client",
    "socketio-emitter",
    "socketio-protocol",
    "socketio-redis-adapter",
    "socketio-redis-client",
    "socketio-server",
];

/// Modules that are hidden in the documentation: only our other crates use them.
const HIDDEN: [&str; 3] = [
    "socketio-redis-client/src/backoff.rs",
    "socketio-redis-client/src/random.rs",
    "socketio-redis-client/src/resp.rs",
];

/// The pages whose every promise names the tests that show it.
const PROMISES: [&str; 2] = ["docs/reliability.md", "docs/threat-model.md"];

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    let mut anchors = HashMap::new();
    for page in pages() {
        for link in links(&read(&page)) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').map_or((&*link, None), |(path, anchor)| (path, Some(anchor)));
            let target = if path.is_empty() { page.clone() } else { beside(&page, path) };
            if !workspace().join(&target).exists() {
                wrong.push(format!("{}: there is no {link}", page.display()));
            } else if let Some(anchor) = anchor.filter(|_| target.extension().is_some_and(|ending| ending == "md")) {
                let known = anchors.entry(target.clone()).or_insert_with(|| headings(&read(&target)));
                if !known.contains(anchor) {
                    wrong.push(format!("{}: there is no heading for {link}", page.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_page_of_the_documentation_is_reached_from_the_readme() {
    let mut reached = HashSet::new();
    let mut next = vec![PathBuf::from("README.md")];
    while let Some(page) = next.pop() {
        if page.extension().is_none_or(|ending| ending != "md") || !workspace().join(&page).exists() {
            continue;
        }
        if reached.insert(page.clone()) {
            let links = links(&read(&page));
            next.extend(links.iter().filter(|link| !link.contains("://")).map(|link| {
                let path = link.split('#').next().unwrap_or(link);
                beside(&page, path)
            }));
        }
    }
    let lost: Vec<_> = pages()
        .into_iter()
        .filter(|page| page.starts_with("docs") || page.components().count() == 1)
        .filter(|page| !reached.contains(page))
        .collect();
    assert!(lost.is_empty(), "no way leads from README.md to {lost:?}");
}

#[test]
fn every_promise_names_tests_that_exist() {
    let mut wrong = Vec::new();
    for page in PROMISES {
        for item in promises(&read(Path::new(page))) {
            let tests: Vec<_> = item.split('`').skip(1).step_by(2).filter_map(|code| code.split_once("::")).collect();
            let named = tests.iter().filter(|(file, _)| is_source(file));
            if named.clone().next().is_none() && !item.contains("| not tested: ") {
                wrong.push(format!("{page}: no test is named for {item:?}"));
            }
            for (file, name) in named {
                match fs::read_to_string(workspace().join(file)) {
                    Err(error) => wrong.push(format!("{page}: {file}: {error}")),
                    Ok(source) if !has_test(&source, name) => wrong.push(format!("{page}: no test {name:?} in {file}")),
                    Ok(_) => {}
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// That is what rustdoc counts, which does it only in a nightly: see CONTRIBUTING.md. What is `pub` can be reached, or the
/// compiler warns.
#[test]
fn every_public_item_is_shown_by_an_example() {
    let mut bare = Vec::new();
    for source in LIBRARIES.iter().flat_map(|library| sources(&Path::new(library).join("src"))) {
        if HIDDEN.iter().any(|hidden| source == Path::new(hidden)) {
            continue;
        }
        let mut shown = false;
        for line in read(&source).lines() {
            if let Some(item) = line.strip_prefix("pub ") {
                let words: Vec<_> =
                    item.split(' ').filter(|word| !["async", "const", "unsafe"].contains(word)).collect();
                if ["enum", "fn", "macro", "struct", "trait", "union"].contains(&words[0]) && !shown {
                    bare.push(format!("{}: {line}", source.display()));
                }
            }
            let is_about_next = ["///", "#[", " ", ")"].iter().any(|start| line.starts_with(start));
            shown = is_about_next && (shown || line.starts_with("/// ```") || line == "#[doc(hidden)]");
        }
    }
    assert!(bare.is_empty(), "no example shows\n{}", bare.join("\n"));
}

#[test]
fn every_crate_says_what_a_registry_wants_to_know() {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let output = cargo.output().expect("cargo can be started");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    let mut published = 0;
    for package in packages.iter().filter(|package| package["publish"].is_null()) {
        let name = package["name"].as_str().expect("a package has a name");
        published += 1;
        for known in ["description", "license", "repository", "readme", "rust_version"] {
            assert!(package[known].as_str().is_some_and(|text| !text.is_empty()), "{name}: {known}");
        }
        for list in ["keywords", "categories"] {
            let length = package[list].as_array().map_or(0, Vec::len);
            assert!((1..=5).contains(&length), "{name}: {length} {list}");
        }
        assert_eq!(package["metadata"]["docs"]["rs"]["all-features"], true, "{name}: all of it on docs.rs");
        for file in ["README.md", "LICENSE"] {
            let text = read(&Path::new(name).join(file));
            assert!(text.len() > 100, "{name}: {file}");
        }
    }
    assert!(published >= 7, "{published} crates can be published");
}

fn is_source(file: &str) -> bool {
    file.ends_with(".rs") || file.ends_with(".mjs")
}

/// The list items, or in a page with a table of tests its rows, each as one text, up to the section "Not tested".
fn promises(page: &str) -> Vec<String> {
    if let Some((_, table)) = page.split_once("| test |\n") {
        return table.lines().skip(1).take_while(|line| line.starts_with("| ")).map(str::to_owned).collect();
    }
    let mut items: Vec<String> = Vec::new();
    let mut inside = false;
    for line in page.lines().take_while(|line| *line != "## Not tested") {
        if let Some(item) = line.strip_prefix("- ") {
            items.push(item.to_owned());
            inside = true;
        } else if let Some(more) = line.strip_prefix("  ").filter(|_| inside) {
            let item = items.last_mut().expect("a line that goes on follows one that begins");
            item.push(' ');
            item.push_str(more);
        } else {
            inside = false;
        }
    }
    items
}

/// Every page in Markdown of the repository, from its root; not those of packages that were installed.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(workspace().join(&folder)).expect("a folder of the repository can be read") {
            let entry = entry.expect("an entry of a folder can be read");
            let name = entry.file_name().into_string().expect("names in the repository are text");
            let path = folder.join(&name);
            if entry.file_type().expect("an entry has a type").is_dir() {
                if !["target", "node_modules", ".git", ".venv", ".ci-cache", "__pycache__"].contains(&&*name) {
                    folders.push(path);
                }
            } else if name.ends_with(".md") {
                pages.push(path);
            }
        }
    }
    pages
}

fn read(page: &Path) -> String {
    fs::read_to_string(workspace().join(page)).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
}

/// The Rust files below a folder, programs aside.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(workspace().join(folder)).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let (mut found, mut folders) = (Vec::new(), Vec::new());
    for entry in entries.map(|entry| entry.expect("the folder can be listed")) {
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() && entry.file_name() != "bin" {
            folders.push(path);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found.extend(folders.iter().flat_map(|folder| sources(folder)));
    found
}

/// The path that `link` means on `page`, without dots.
fn beside(page: &Path, link: &str) -> PathBuf {
    let mut path = page.parent().map(Path::to_owned).unwrap_or_default();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => assert!(path.pop(), "{}: {link} leaves the repository", page.display()),
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path
}

/// What is linked to, outside of code.
fn links(page: &str) -> Vec<String> {
    let prose = prose(page);
    let mut found = Vec::new();
    let mut rest = &*prose;
    while let Some((_, after)) = rest.split_once("](") {
        let Some((link, more)) = after.split_once(')') else { break };
        found.push(link.split(' ').next().unwrap_or(link).to_owned());
        rest = more;
    }
    found
}

/// The text of a page without fenced code and without code in a line.
fn prose(page: &str) -> String {
    let mut fenced = false;
    let mut prose = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            prose.extend(line.split('`').step_by(2));
            prose.push('\n');
        }
    }
    prose
}

/// The anchors of a page's headings, as GitHub makes them.
fn headings(page: &str) -> HashSet<String> {
    let mut fenced = false;
    let mut anchors = HashSet::new();
    for line in page.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        }
        let Some(heading) = line.strip_prefix('#').filter(|_| !fenced) else { continue };
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let anchor: String = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let mut unique = anchor.clone();
        let mut again = 0;
        while !anchors.insert(unique.clone()) {
            again += 1;
            unique = format!("{anchor}-{again}");
        }
    }
    anchors
}
