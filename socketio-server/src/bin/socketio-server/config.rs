//! The configuration file, and what is in force of flags, environment and file.
//!
//! Each option of the command line may stand in the file, under its name without dashes; there are no tables:
//!
//! ```toml
//! listen = ["0.0.0.0:3000", "[::]:3000"]
//! redis = "redis://redis:6379"
//! drain = 30
//! ```
//!
//! A flag goes before its environment variable, that before the file. What the file says and nobody else does is handed to
//! the parser of the command line as if it stood there, so that both are understood in the same way. A name that is none is
//! an error, with its line and the name that was meant.

use std::collections::{BTreeMap, btree_map};
use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, ArgMatches, CommandFactory, FromArgMatches};
use toml::de::{DeTable, DeValue};

use crate::options::Options;
use crate::reach::without_password;

/// What is in force.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) options: Options,
    matches: ArgMatches,
    /// Where each comes from that is not the default, by the name of its option.
    origins: BTreeMap<String, Origin>,
    file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Flag,
    Env(OsString),
    /// The line.
    File(usize),
}

/// Why nothing is in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Wrong {
    #[error("{path}: {error}", path = .path.display())]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("{path}:{line}: {what}", path = .path.display())]
    File { path: PathBuf, line: usize, what: String },
    /// Said by the parser of the command line, which has its own way to show it.
    #[error("{0}")]
    CommandLine(Box<clap::Error>),
}

/// Reads the command line, the environment and the file that either names.
pub(crate) fn read(args: Vec<OsString>) -> Result<Settings, Wrong> {
    let given = given(&args);
    let mut origins = BTreeMap::new();
    let command = Options::command();
    for option in options(&command) {
        if given.contains_key(name(option)) {
            origins.insert(name(option).to_owned(), Origin::Flag);
        } else if let Some(variable) = option.get_env().filter(|variable| std::env::var_os(variable).is_some()) {
            origins.insert(name(option).to_owned(), Origin::Env(variable.to_owned()));
        }
    }
    let file = given.get("config").cloned().flatten().or_else(|| std::env::var_os("SOCKETIO_CONFIG"));
    let file = file.map(PathBuf::from);
    let mut all: Vec<OsString> = args.first().cloned().into_iter().collect();
    if let Some(path) = &file {
        let text = std::fs::read_to_string(path).map_err(|error| Wrong::Unreadable { path: path.clone(), error })?;
        for Entry { name, line, args } in
            entries(&text).map_err(|(line, what)| Wrong::File { path: path.clone(), line, what })?
        {
            // Whether it is right is looked at even if it is not what counts.
            parse(command.clone(), ["".into()].into_iter().chain(args.iter().cloned()).collect(), path, &|found| {
                (found == name).then_some(line)
            })
            .or_else(|wrong| if matches!(wrong, Wrong::File { .. }) { Err(wrong) } else { Ok(Default::default()) })?;
            if let btree_map::Entry::Vacant(unsaid) = origins.entry(name) {
                all.extend(args);
                unsaid.insert(Origin::File(line));
            }
        }
    }
    all.extend(args.into_iter().skip(1));
    let line = |name: &str| match origins.get(name) {
        Some(Origin::File(line)) => Some(*line),
        _ => None,
    };
    let matches = parse(command, all, file.as_deref().unwrap_or(Path::new("")), &line)?;
    let options = Options::from_arg_matches(&matches).map_err(|error| Wrong::CommandLine(Box::new(error)))?;
    Ok(Settings { options, matches, origins, file })
}

impl Settings {
    /// What is in force, as a file of its own, each with where it comes from. Secrets are not shown.
    pub(crate) fn describe(&self) -> String {
        let command = Options::command();
        let mut text = String::new();
        for option in options(&command) {
            let values: Vec<_> = self.matches.get_raw(option.get_id().as_str()).into_iter().flatten().collect();
            let shown = values.iter().map(|value| match (name(option), option.is_hide_env_values_set()) {
                ("redis", _) => without_password(&value.to_string_lossy()),
                (_, true) => "***".to_owned(),
                _ => value.to_string_lossy().into_owned(),
            });
            let shown: Vec<_> = shown.collect();
            let Some(value) = written(option, &shown) else { continue };
            let origin = match self.origins.get(name(option)) {
                Some(Origin::Flag) => "flag".to_owned(),
                Some(Origin::Env(variable)) => variable.to_string_lossy().into_owned(),
                Some(Origin::File(line)) => {
                    format!("{}:{line}", self.file.as_deref().unwrap_or(Path::new("")).display())
                }
                None => "default".to_owned(),
            };
            let setting = format!("{} = {value}", name(option));
            let _ = writeln!(text, "{setting:<50} # {origin}");
        }
        text
    }
}

/// A file with every option, as it is without one.
pub(crate) fn defaults() -> String {
    let mut text = String::from(
        "# The configuration of socketio-server: --config FILE, or the variable SOCKETIO_CONFIG.\n\
         # A flag goes before its environment variable, and that before this file.\n\
         # What is commented out is not set; `socketio-server check --config FILE` says what is in force.\n",
    );
    let command = Options::command();
    let mut heading = None;
    for option in options(&command) {
        if option.get_help_heading() != heading {
            heading = option.get_help_heading();
            let _ = write!(text, "\n# ==== {} ====\n", heading.unwrap_or("Options"));
        }
        text.push('\n');
        let help = option.get_long_help().or(option.get_help()).map(ToString::to_string).unwrap_or_default();
        for line in help.lines().flat_map(|line| wrapped(line, 110)) {
            let _ = writeln!(text, "{}", format!("# {line}").trim_end());
        }
        if let Some(variable) = option.get_env() {
            let _ = writeln!(text, "# {}", variable.to_string_lossy());
        }
        let defaults: Vec<_> =
            option.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
        match written(option, &defaults) {
            Some(value) => {
                let _ = writeln!(text, "{} = {value}", name(option));
            }
            None => {
                let placeholder = option.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
                let placeholder = [placeholder.unwrap_or_default()];
                let value = written(option, &placeholder).unwrap_or_default();
                let _ = writeln!(text, "# {} = {value}", name(option));
            }
        }
    }
    text
}

/// The options that a file may have.
fn options(command: &clap::Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|option| {
        option.get_long().is_some_and(|name| !["config", "help", "version"].contains(&name)) && !option.is_hide_set()
    })
}

fn name(option: &Arg) -> &str {
    option.get_long().unwrap_or_default()
}

fn takes_several(option: &Arg) -> bool {
    matches!(option.get_action(), ArgAction::Append) || option.get_value_delimiter().is_some()
}

/// Values of an option as the file has them; `None` if it is not set.
fn written(option: &Arg, values: &[String]) -> Option<String> {
    if matches!(option.get_action(), ArgAction::SetTrue) {
        return Some(values.first().is_some_and(|value| value == "true").to_string());
    }
    let one = |value: &String| match value.parse::<u64>() {
        Ok(number) if number.to_string() == *value => value.clone(),
        _ => toml_string(value),
    };
    match values {
        [] => None,
        values if takes_several(option) => {
            Some(format!("[{}]", values.iter().map(|value| toml_string(value)).collect::<Vec<_>>().join(", ")))
        }
        [value, ..] => Some(one(value)),
    }
}

/// A basic string of TOML, whose escapes are those of JSON.
fn toml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// The names of the options on a command line, with the value of those that have one. All our options are long ones, and
/// no value begins with dashes.
fn given(args: &[OsString]) -> BTreeMap<String, Option<OsString>> {
    let mut given = BTreeMap::new();
    for (place, arg) in args.iter().enumerate().skip(1) {
        let Some(option) = arg.to_str().and_then(|arg| arg.strip_prefix("--")) else { continue };
        match option.split_once('=') {
            Some((name, value)) => given.insert(name.to_owned(), Some(value.into())),
            None => given.insert(option.to_owned(), args.get(place + 1).cloned()),
        };
    }
    given
}

/// One key of the file.
#[derive(Debug)]
struct Entry {
    name: String,
    line: usize,
    /// How the command line says the same.
    args: Vec<OsString>,
}

/// The keys of a file; or what is wrong with which line.
fn entries(text: &str) -> Result<Vec<Entry>, (usize, String)> {
    let line = |at: usize| text.get(..at).unwrap_or(text).matches('\n').count() + 1;
    // Its own way to print an error shows the line, which may hold a password.
    let table = DeTable::parse(text)
        .map_err(|error| (error.span().map_or(1, |span| line(span.start)), error.message().to_owned()))?;
    let command = Options::command();
    let mut entries = Vec::new();
    for (key, value) in table.get_ref() {
        let (key, at) = (key.get_ref().as_ref(), line(key.span().start));
        let Some(option) = options(&command).find(|option| name(option) == key) else {
            return Err((at, unknown(&command, key)));
        };
        let args = args_of(option, value.get_ref()).map_err(|expected| (at, format!("{key}: {expected}")))?;
        entries.push(Entry { name: key.to_owned(), line: at, args });
    }
    entries.sort_by_key(|entry| entry.line);
    Ok(entries)
}

fn unknown(command: &clap::Command, key: &str) -> String {
    let asked = key.replace('_', "-");
    let nearest = options(command)
        .map(|option| (strsim::jaro_winkler(&asked, name(option)), name(option)))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    match nearest {
        Some((_, name)) => format!("there is no option {key:?}; perhaps {name:?} is meant"),
        None => format!("there is no option {key:?}; `socketio-server defaults` prints them all"),
    }
}

/// How the command line says that an option has this value.
fn args_of(option: &Arg, value: &DeValue<'_>) -> Result<Vec<OsString>, String> {
    let one = |value: &DeValue<'_>| match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        _ => None,
    };
    let arg = |value: String| OsString::from(format!("--{}={value}", name(option)));
    match value {
        _ if matches!(option.get_action(), ArgAction::SetTrue) => match value {
            DeValue::Boolean(true) => Ok(vec![format!("--{}", name(option)).into()]),
            DeValue::Boolean(false) => Ok(Vec::new()),
            _ => Err("expected true or false".to_owned()),
        },
        DeValue::Array(values) if takes_several(option) => {
            let values: Option<Vec<_>> = values.iter().map(|value| one(value.get_ref()).map(arg)).collect();
            values.ok_or_else(|| "expected a list of strings".to_owned())
        }
        DeValue::Array(_) => Err("expected one value, not a list".to_owned()),
        value => one(value).map(|value| vec![arg(value)]).ok_or_else(|| "expected a string or a number".to_owned()),
    }
}

/// Parses a command line of which some options stand in the file at `line`.
fn parse(
    command: clap::Command,
    args: Vec<OsString>,
    path: &Path,
    line: &dyn Fn(&str) -> Option<usize>,
) -> Result<ArgMatches, Wrong> {
    command.try_get_matches_from(args).map_err(|error| {
        let named = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(option)) => Some(option),
            Some(ContextValue::Strings(options)) => options.first(),
            _ => None,
        };
        let named = named.and_then(|option| option.strip_prefix("--")?.split([' ', '=']).next());
        match named.and_then(|name| Some((name, line(name)?))) {
            Some((name, line)) => {
                let value = match error.get(ContextKind::InvalidValue) {
                    Some(ContextValue::String(value)) => value,
                    _ => "",
                };
                // The rest repeats the option in the words of the command line.
                let why = match std::error::Error::source(&error) {
                    Some(why) => why.to_string(),
                    None => error.to_string().lines().next().unwrap_or_default().replace("error: ", ""),
                };
                let what = if value.is_empty() || is_secret(name) {
                    format!("{name}: {why}")
                } else {
                    format!("{name}: {value:?}: {why}")
                };
                Wrong::File { path: path.to_owned(), line, what }
            }
            None => Wrong::CommandLine(Box::new(error)),
        }
    })
}

fn is_secret(name: &str) -> bool {
    Options::command().get_arguments().any(|option| option.get_long() == Some(name) && option.is_hide_env_values_set())
}

/// Breaks a long line between words.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split(' ') {
        let last = lines.last_mut().expect("there is one always");
        if !last.is_empty() && last.len() + word.len() > width {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(text: &str, args: &[&str]) -> Result<Settings, String> {
        static FILES: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = FILES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("socketio-config-{}-{number}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let config = ["socketio-server", "--config", path.to_str().unwrap()];
        let settings = read(config.iter().chain(args).map(OsString::from).collect());
        std::fs::remove_file(&path).unwrap();
        settings.map_err(|wrong| wrong.to_string().replace(path.to_str().unwrap(), "FILE"))
    }

    #[test]
    fn the_file_says_what_flags_say_and_flags_go_before_it() {
        let file = "listen = ['0.0.0.0:80', \"81\"]\nno-bus = true\n# a comment\ndrain = 0.5\nkey = 'app'\n";
        let options = with_file(file, &["--key", "other"]).unwrap().options;
        let flags = ["socketio-server", "--listen=0.0.0.0:80,81", "--no-bus", "--drain=0.5", "--key=other"];
        let mut expected = read(flags.map(OsString::from).to_vec()).unwrap().options;
        expected.config = options.config.clone();
        assert_eq!(options, expected);
        assert_eq!(with_file(file, &["--listen=82"]).unwrap().options.listen().collect::<Vec<_>>(), ["127.0.0.1:82"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (file, told) in [
            (
                "\nlisten = 'nowhere'",
                "FILE:2: listen: \"nowhere\": expected HOST:PORT, such as 127.0.0.1:3000, or a port",
            ),
            ("redsi = 'redis://a'", "FILE:1: there is no option \"redsi\"; perhaps \"redis\" is meant"),
            ("no_bus = true", "FILE:1: there is no option \"no_bus\"; perhaps \"no-bus\" is meant"),
            ("\n\nx = 1", "FILE:3: there is no option \"x\"; `socketio-server defaults` prints them all"),
            ("config = 'another'", "FILE:1: there is no option \"config\""),
            ("no-bus = 'yes'", "FILE:1: no-bus: expected true or false"),
            ("bus = ['a:1']", "FILE:1: bus: expected one value, not a list"),
            ("bus = { a = 1 }", "FILE:1: bus: expected a string or a number"),
            ("key = ''", "FILE:1: key: "),
            ("key = 'a'\nkey = 'b'", "FILE:2: duplicate key"),
            ("admin = 'ana:secret'", "FILE:1: admin: expected NAME:HASH"),
            ("\nproxy-protocol = true", "the following required arguments were not provided"),
        ] {
            let wrong = with_file(file, &[]).unwrap_err();
            assert!(wrong.contains(told), "{file}: {wrong}");
            assert!(!wrong.contains("secret"), "{wrong}");
        }
        // What does not count is looked at all the same.
        assert!(with_file("bus = 'x'", &["--bus=127.0.0.1:1"]).unwrap_err().starts_with("FILE:1: bus: "));
    }

    #[test]
    fn the_file_of_defaults_has_every_option_and_changes_nothing() {
        let file = defaults();
        let mut options = with_file(&file, &[]).unwrap().options;
        options.config = None;
        assert_eq!(options, read(vec!["socketio-server".into()]).unwrap().options);
        let command = Options::command();
        for option in super::options(&command) {
            let name = name(option);
            assert!(
                file.contains(&format!("\n{name} = ")) || file.contains(&format!("\n# {name} = ")),
                "{name}:\n{file}"
            );
        }
    }

    #[test]
    fn what_is_in_force_is_told_with_its_origin_and_without_secrets() {
        let file = "redis = 'redis://:secret@db'\nadmin = 'ana:$2b$10$secret'\nno-bus = true";
        let told = with_file(file, &["--drain=3"]).unwrap().describe();
        let lines: Vec<_> = told.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for line in [
            "redis = \"redis://:***@db\" # FILE:1",
            "admin = \"***\" # FILE:2",
            "no-bus = true # FILE:3",
            "drain = 3 # flag",
            "key = \"socket.io\" # default",
        ] {
            assert!(
                lines.iter().any(|found| {
                    let (setting, origin) = line.split_once(" # ").unwrap();
                    found.starts_with(setting) && found.ends_with(origin.trim_start_matches("FILE"))
                }),
                "{line}\n{told}"
            );
        }
        assert!(!told.contains("secret"), "{told}");
    }
}
