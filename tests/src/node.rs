//! The suites of `tests/node`, each run as one test.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{PoisonError, RwLock};

use crate::paths::node_folder;

/// How to get what a suite needs.
const SETUP: &str = "scripts/test.sh --setup-only installs Node.js and the packages of tests/node.";

/// Suites that run beside others read, the others write.
static TURNS: RwLock<()> = RwLock::new(());

/// One file of `tests/node` and the settings it is run with.
///
/// Most suites wait most of the time, and run beside others, as many as there are tests at once. Those that measure short
/// times have their turn [alone](NodeSuite::run_alone).
#[derive(Debug)]
pub struct NodeSuite {
    file: String,
    env: Vec<(String, OsString)>,
}

impl NodeSuite {
    /// The suite in `file`, such as `cluster.test.mjs`, asked for everything we promise beyond the reference.
    pub fn new(file: &str) -> Self {
        let env = vec![("BETTER".to_owned(), "1".into())];
        Self { file: file.to_owned(), env }
    }

    /// Sets an environment variable of the suite, which hands it on to the servers it starts.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Names a program that the suite starts, as `SERVER_CMD` for the server under test.
    pub fn server(self, name: &str, binary: impl AsRef<Path>) -> Self {
        let binary = binary.as_ref().to_str().expect("the path of a built binary is text");
        let command = serde_json::to_string(&[binary]).expect("a list of text is JSON");
        self.env(name, command)
    }

    /// Runs it, beside others that may be running.
    ///
    /// # Panics
    ///
    /// With the suite's report, when a case fails, is skipped, or none is run; when Node.js or the packages are missing.
    pub fn run(self) {
        let _beside_others = TURNS.read().unwrap_or_else(PoisonError::into_inner);
        require_packages();
        self.run_now();
    }

    /// Runs it while no other suite runs.
    ///
    /// # Panics
    ///
    /// As [`run`](NodeSuite::run).
    pub fn run_alone(self) {
        Self::run_together([self]);
    }

    /// Runs several at once, which do not mind each other, while no other suite runs.
    ///
    /// # Panics
    ///
    /// As [`run`](NodeSuite::run).
    pub fn run_together(suites: impl IntoIterator<Item = Self>) {
        let _alone = TURNS.write().unwrap_or_else(PoisonError::into_inner);
        require_packages();
        std::thread::scope(|scope| {
            let running: Vec<_> = suites.into_iter().map(|suite| scope.spawn(|| suite.run_now())).collect();
            for suite in running {
                suite.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            }
        });
    }

    fn run_now(self) {
        let output = Command::new("node")
            .args(["--test", "--test-reporter=spec", &self.file])
            .envs(self.env)
            // Set by cargo for tests and by node:test for files it runs; a suite is a run of its own.
            .env_remove("NODE_TEST_CONTEXT")
            .current_dir(node_folder())
            .output()
            .unwrap_or_else(|error| panic!("could not start node: {error}. {SETUP}"));
        let report = report(&output);
        assert!(output.status.success(), "{} failed:\n{report}", self.file);
        assert!(count(&report, "tests") > 0, "{} ran no test:\n{report}", self.file);
        for never in ["skipped", "todo", "cancelled"] {
            assert_eq!(count(&report, never), 0, "{}: {never} cases:\n{report}", self.file);
        }
    }
}

/// What the suite said: all of it, errors last.
fn report(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// A number of node:test's summary, whose lines are like `ℹ pass 12`.
fn count(report: &str, what: &str) -> u64 {
    let number = |line: &str| -> Option<u64> {
        let mut words = line.split_whitespace().rev();
        let number = words.next()?.parse().ok()?;
        (words.next()? == what && words.next()? == "ℹ").then_some(number)
    };
    report.lines().rev().find_map(number).unwrap_or_else(|| panic!("no line `ℹ {what}` in the report:\n{report}"))
}

fn require_packages() {
    let version = Command::new("node").arg("--version").output();
    let version = version.unwrap_or_else(|error| panic!("could not start node: {error}. {SETUP}"));
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let major = version.trim_start_matches('v').split('.').next().unwrap_or_default();
    assert!(major.parse::<u32>().is_ok_and(|major| major >= 18), "Node.js {version} is too old: 18 is needed");
    let client = node_folder().join("node_modules/socket.io-client");
    assert!(client.exists(), "{} is missing. {SETUP}", client.display());
}
