//! `tests/REFERENCE.md` names tests that exist, and as many cases as the reference has.

use std::collections::HashMap;

use socketio_tests::{has_test, workspace};

#[test]
fn every_row_of_the_table_names_a_test_or_a_reason() {
    let table = std::fs::read_to_string(workspace().join("tests/REFERENCE.md")).expect("the table is there");
    let (mut files, mut sections, mut wrong) = (HashMap::new(), Vec::new(), Vec::new());
    for line in table.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            sections.push((heading, 0));
            continue;
        }
        let Some(row) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) else { continue };
        let Some((left, right)) = row.split_once(" | ") else { continue };
        if left.starts_with("---") || ["file", "shown by"].contains(&right) {
            continue;
        }
        if let Some(path) = right.strip_prefix("file: ") {
            let source = std::fs::read_to_string(workspace().join(path.trim_matches('`')));
            files.insert(left.trim_matches('`'), source.unwrap_or_else(|error| panic!("{path}: {error}")));
            continue;
        }
        let (_, rows) = sections.last_mut().expect("the first row stands below a heading");
        *rows += 1;
        if right.strip_prefix("none: ").is_some_and(|reason| reason.split(' ').count() > 3) {
            continue;
        }
        for test in right.split("<br>") {
            let named = test.strip_prefix('`').and_then(|test| test.split_once("` "));
            let Some((file, name)) = named else {
                wrong.push(format!("{left}: {test:?} is no file and test"));
                continue;
            };
            match files.get(file) {
                None => wrong.push(format!("{left}: no file is called {file}")),
                Some(source) if !has_test(source, name) => wrong.push(format!("{left}: no test {name:?} in {file}")),
                Some(_) => {}
            }
        }
    }
    let mut all = 0;
    for (heading, rows) in sections.into_iter().filter(|section| section.1 > 0) {
        all += rows;
        if !heading.ends_with(&format!(": {rows} cases")) {
            wrong.push(format!("{heading}: there are {rows} rows"));
        }
    }
    assert_eq!(all, 216 + 48, "cases of socket.io and of socket.io-adapter");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
