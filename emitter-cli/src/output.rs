//! What is printed: results on stdout, everything else on stderr.

use std::{
    fmt::Display,
    io::{self, BufRead, Write},
    time::Duration,
};

use anstyle::{AnsiColor, Style};

use crate::failure::code;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const TIP: Style = AnsiColor::Cyan.on_default().bold();

pub(crate) fn set_color(choice: clap::ColorChoice) {
    match choice {
        clap::ColorChoice::Auto => anstream::ColorChoice::Auto,
        clap::ColorChoice::Always => anstream::ColorChoice::Always,
        clap::ColorChoice::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

/// A line on stdout. When nobody reads it any more, the program ends quietly, as others do.
pub(crate) fn line(text: impl Display) {
    let mut out = anstream::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        if error.kind() != io::ErrorKind::BrokenPipe {
            self::error(&format!("cannot write to stdout: {error}"));
        }
        std::process::exit(i32::from(code::NOBODY_READS));
    }
}

pub(crate) fn error(text: &str) {
    aside(ERROR, "error:", text);
}

pub(crate) fn cause(text: &str) {
    aside(Style::new(), "cause:", text);
}

pub(crate) fn tip(text: &str) {
    aside(TIP, "tip:  ", text);
}

pub(crate) fn warning(text: &str) {
    aside(WARNING, "warning:", text);
}

/// A detail, asked for with `-v`.
pub(crate) fn detail(text: impl Display) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

fn aside(style: Style, label: &str, text: &str) {
    // When stderr is closed, there is nobody to tell.
    let _ = writeln!(anstream::stderr(), "{style}{label}{style:#} {text}");
}

/// A question that is answered with yes or no on the terminal.
pub(crate) fn ask(question: &str) -> bool {
    let _ = write!(anstream::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).is_ok_and(|_| matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Says that a password on the command line is no secret.
pub(crate) fn warn_of_password(url: &str) {
    let password =
        url.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).is_some_and(|(who, _)| who.contains(':'));
    if password && others_see_our_arguments() {
        warning("other users of this machine can read the password in --url (ps); set REDIS_URL instead");
    }
}

/// Unless `/proc` is mounted so that it hides them.
fn others_see_our_arguments() -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let proc = mounts.lines().find(|mount| mount.split(' ').nth(1) == Some("/proc"));
    !proc.is_some_and(|proc| proc.contains("hidepid=") && !proc.contains("hidepid=0") && !proc.contains("hidepid=off"))
}

/// `1 server`, `2 servers`
pub(crate) fn servers(count: u64) -> String {
    format!("{count} {}", if count == 1 { "server" } else { "servers" })
}

/// `1 server listens`, `2 servers listen`
pub(crate) fn listen(count: u64) -> String {
    format!("{} {}", servers(count), if count == 1 { "listens" } else { "listen" })
}

/// `1 client`, `2 clients`
pub(crate) fn clients(count: u64) -> String {
    format!("{count} {}", if count == 1 { "client" } else { "clients" })
}

/// `57 B`, `1.2 kB`, `3.4 MB`
pub(crate) fn size(bytes: usize) -> String {
    match bytes as f64 {
        small if small < 1_000.0 => format!("{bytes} B"),
        middle if middle < 1_000_000.0 => format!("{:.1} kB", middle / 1_000.0),
        large => format!("{:.1} MB", large / 1_000_000.0),
    }
}

/// `85 ms`, `5 s`, `1.5 s`
pub(crate) fn duration(time: Duration) -> String {
    match time {
        short if short < Duration::from_secs(1) => format!("{} ms", short.as_millis()),
        long if long.subsec_millis() < 100 => format!("{} s", long.as_secs()),
        long => format!("{:.1} s", long.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([57, 999, 1_000, 1_249, 1_500_000].map(size), ["57 B", "999 B", "1.0 kB", "1.2 kB", "1.5 MB"]);
        assert_eq!([0, 1, 2].map(servers), ["0 servers", "1 server", "2 servers"]);
        assert_eq!(
            [85, 1_000, 1_500, 5_020].map(|ms| duration(Duration::from_millis(ms))),
            ["85 ms", "1 s", "1.5 s", "5 s"]
        );
    }
}
