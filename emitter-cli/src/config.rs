//! Settings that come from a file: profiles.
//!
//! A setting is what its flag says, else its environment variable, else the profile, else `[default]` of the file, else
//! what is built in. The file is `emitter-cli/config.toml` in `$XDG_CONFIG_HOME` (`~/.config`):
//!
//! ```toml
//! [default]
//! key = "app"
//!
//! [profile.prod]
//! url = "rediss+cluster://:s3cret@redis-1,redis-2"
//! ```

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;
use socketio_client::without_secrets;
use socketio_redis_client::Address;

use crate::{
    args::{Adapter, Settings, duration},
    connect::whole,
    failure::{Failure, code},
    output,
};

/// `config`
#[derive(Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    what: Option<What>,
}

impl Config {
    /// Whether it is for mending a file that is wrong.
    pub(crate) fn mends(&self) -> bool {
        matches!(self.what, Some(What::Edit | What::Path))
    }
}

#[derive(Subcommand)]
enum What {
    /// Print each setting in use and where it comes from
    Show,
    /// Print the names of the profiles
    List,
    /// Print where the file is
    Path,
    /// Open the file in $VISUAL or $EDITOR, with an example if it is new
    Edit,
}

/// The file.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    default: Profile,
    #[serde(default)]
    profile: BTreeMap<String, Profile>,
}

/// Some settings.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Profile {
    url: Option<String>,
    server: Option<String>,
    adapter: Option<String>,
    key: Option<String>,
    nsp: Option<String>,
    cacert: Option<PathBuf>,
    cert: Option<[PathBuf; 2]>,
    timeout: Option<String>,
    retries: Option<u32>,
}

const EXAMPLE: &str = r#"# Settings of emitter-cli. Flags and environment variables go before them.
# Known: url, server, adapter ("pubsub", "sharded", "streams"), key, nsp, cacert, cert = ["CERT", "KEY"], timeout, retries

[default]
# url = "redis://127.0.0.1:6379"

# Used with -P prod, or EMITTER_PROFILE=prod.
# [profile.prod]
# url = "rediss://:password@redis.example.com"
# key = "app"
"#;

/// Where the file is; `None` without a home.
fn path() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(directory.join("emitter-cli").join("config.toml"))
}

fn read(path: &Path) -> Result<Option<File>, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(Failure::usage(format!("cannot read {}", path.display())).cause(error)),
    };
    let file = toml::from_str(&text).map_err(|error| {
        // Its own way to print an error shows the line, which may hold a password.
        let line = error.span().and_then(|span| text.get(..span.start)).map(|before| before.lines().count().max(1));
        let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
        Failure::usage(format!("{} is not understood", path.display()))
            .cause(format!("{place}{}", error.message()))
            .tip("emitter-cli config edit")
    })?;
    Ok(Some(file))
}

/// Takes what is not set otherwise from the file.
pub(crate) fn apply(settings: &mut Settings) -> Result<(), Failure> {
    let path = path();
    let file = path.as_deref().map(read).transpose()?.flatten();
    let at = path.map(|path| path.display().to_string()).unwrap_or_default();
    let Some(File { default, mut profile }) = file else {
        return match &settings.profile {
            None => Ok(()),
            Some(name) => Err(no_profile(name, &BTreeMap::new(), &at)),
        };
    };
    let chosen = match &settings.profile {
        None => None,
        Some(name) => match profile.remove(name) {
            Some(chosen) => Some((format!("profile {name}"), chosen)),
            None => return Err(no_profile(name, &profile, &at)),
        },
    };
    for (from, profile) in chosen.into_iter().chain([("[default]".to_owned(), default)]) {
        let wrong = |name: &str, why: String| {
            Failure::usage(format!("{name} in {from} of {at} is not understood"))
                .cause(why)
                .tip("emitter-cli config edit")
        };
        let from = &from;
        let Profile { url, server, adapter, key, nsp, cacert, cert, timeout, retries } = profile;
        let adapter = adapter.map(|text| Adapter::from_str(&text, false)).transpose();
        let timeout: Result<Option<Duration>, _> = timeout.map(|text| duration(&text)).transpose();
        let Settings { sources, .. } = settings;
        set(sources, "url", from, url, &mut settings.url);
        set(sources, "server", from, server.map(Some), &mut settings.server);
        set(sources, "adapter", from, adapter.map_err(|why| wrong("adapter", why))?, &mut settings.adapter);
        set(sources, "key", from, key, &mut settings.key);
        set(sources, "nsp", from, nsp, &mut settings.nsp);
        set(sources, "cacert", from, cacert.map(Some), &mut settings.cacert);
        set(sources, "cert", from, cert.map(Vec::from), &mut settings.cert);
        set(sources, "timeout", from, timeout.map_err(|why| wrong("timeout", why))?, &mut settings.timeout);
        set(sources, "retries", from, retries, &mut settings.retries);
    }
    Ok(())
}

fn no_profile(name: &str, profiles: &BTreeMap<String, Profile>, at: &str) -> Failure {
    let known: Vec<_> = profiles.keys().map(String::as_str).collect();
    let tip = if known.is_empty() {
        "add it: emitter-cli config edit".to_owned()
    } else {
        format!("there are {}", known.join(", "))
    };
    Failure::usage(format!("there is no profile {name:?} in {at}")).tip(tip)
}

/// Where settings come from, by name; what is not here is built in.
pub(crate) type Sources = BTreeMap<&'static str, String>;

fn set<T>(sources: &mut Sources, name: &'static str, from: &str, value: Option<T>, setting: &mut T) {
    if let Some(value) = value
        && !sources.contains_key(name)
    {
        *setting = value;
        sources.insert(name, from.to_owned());
    }
}

/// The settings that a file may have.
pub(crate) const NAMES: [&str; 9] = ["url", "server", "adapter", "key", "nsp", "cacert", "cert", "timeout", "retries"];

/// The value of a setting, without secrets.
fn shown(settings: &Settings, name: &str) -> String {
    match name {
        "url" => url(settings),
        "server" => settings.server.as_deref().map_or_else(|| "-".to_owned(), without_secrets),
        "adapter" => settings.adapter.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default(),
        "key" => settings.key.clone(),
        "nsp" => settings.nsp.clone(),
        "cacert" => settings.cacert.as_ref().map_or("-".to_owned(), |file| file.display().to_string()),
        "cert" => match &settings.cert[..] {
            [] => "-".to_owned(),
            files => files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" "),
        },
        "timeout" => output::duration(settings.timeout),
        _ => settings.retries.to_string(),
    }
}

/// The URL of Redis, without its password.
pub(crate) fn url(settings: &Settings) -> String {
    let address = whole(&settings.url).parse::<Address>();
    address.map_or_else(|_| "(not understood)".to_owned(), |address| address.to_string())
}

pub(crate) fn run(settings: &Settings, config: &Config) -> Result<u8, Failure> {
    let path = || {
        path().ok_or_else(|| {
            Failure::new(code::FAILED, "there is no place for settings").tip("set XDG_CONFIG_HOME or HOME")
        })
    };
    match config.what.as_ref().unwrap_or(&What::Show) {
        What::Show => {
            for name in NAMES {
                let value = shown(settings, name);
                let from = settings.sources.get(name).map_or("built in", String::as_str);
                if settings.json {
                    let text = |text: &str| serde_json::Value::from(text).to_string();
                    output::line(format!(
                        r#"{{"name":{},"value":{},"from":{}}}"#,
                        text(name),
                        text(&value),
                        text(from)
                    ));
                } else {
                    output::line(format!("{name:<8} {value:<40} {from}"));
                }
            }
        }
        What::List => {
            let file = read(&path()?)?.unwrap_or_default();
            file.profile.keys().for_each(output::line);
        }
        What::Path => output::line(path()?.display()),
        What::Edit => edit(&path()?)?,
    }
    Ok(code::DONE)
}

fn edit(path: &Path) -> Result<(), Failure> {
    let cannot = |what: &str, error: io::Error| {
        Failure::new(code::FAILED, format!("cannot {what} {}", path.display())).cause(error)
    };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(|error| cannot("make the directory of", error))?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    // It may hold passwords.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(mut file) => file.write_all(EXAMPLE.as_bytes()).map_err(|error| cannot("write", error))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(cannot("write", error)),
    }
    let editor =
        ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok().filter(|editor| !editor.is_empty()));
    let editor = editor.unwrap_or_else(|| "vi".to_owned());
    // As shells read it: a name and perhaps options.
    let mut words = editor.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or("vi"));
    let status = command.args(words).arg(path).status().map_err(|error| {
        Failure::new(code::FAILED, format!("cannot start {editor}"))
            .cause(error)
            .tip(format!("set EDITOR, or write {} yourself", path.display()))
    })?;
    if !status.success() {
        return Err(Failure::new(code::FAILED, format!("{editor} failed")).cause(status));
    }
    read(path).map(drop)
}
