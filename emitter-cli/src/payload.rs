//! What the arguments of an event are.
//!
//! A text that is valid JSON is that value, any other is a string. So `42` is a number, `0042` and `2026-01-01` are
//! strings. Only `--str` is never looked into, and nothing in a text ever names a file.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use socketio_protocol::{Bytes, socket::Value};

use crate::{
    args::{Arguments, Source},
    failure::{Failure, code},
    template::Template,
};

/// The arguments of one event or of many, read from where they come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Payload {
    pieces: Vec<Piece>,
    strict: bool,
}

#[derive(Debug, Clone)]
enum Piece {
    /// JSON or a string.
    Either(String),
    Text(String),
    Binary(Bytes),
}

impl Payload {
    /// Reads files, and standard input for `-`.
    pub(crate) fn read(arguments: &Arguments, stdin_is_taken: bool) -> Result<Payload, Failure> {
        let mut stdin = (!stdin_is_taken).then(io::stdin);
        let mut pieces = Vec::with_capacity(arguments.in_order.len());
        for source in &arguments.in_order {
            pieces.push(match source {
                Source::Arg(dash) if dash == "-" => {
                    let Some(mut stdin) = stdin.take() else {
                        return Err(Failure::usage("stdin can be read only once")
                            .tip("`-` is one argument; with --lines or --ndjson stdin is taken"));
                    };
                    let mut bytes = Vec::new();
                    let read = (&mut stdin).take(MOST_BYTES + 1).read_to_end(&mut bytes);
                    read.map_err(|error| Failure::new(code::FAILED, "cannot read stdin").cause(error))?;
                    small_enough(bytes.len() as u64, "stdin")?;
                    Piece::Either(text(bytes, "stdin")?)
                }
                Source::Arg(text) => Piece::Either(text.clone()),
                Source::Text(text) => Piece::Text(text.clone()),
                Source::File(path) => Piece::Either(text(file(path)?, &path.display().to_string())?),
                Source::Binary(path) => Piece::Binary(file(path)?.into()),
            });
        }
        Ok(Payload { pieces, strict: arguments.strict })
    }

    /// The values of one event, with `last` behind all others.
    pub(crate) fn values(&self, template: Option<&Template>, last: Option<&str>) -> Result<Vec<Value>, Failure> {
        let fill = |text: &str| template.map_or_else(|| text.to_owned(), |template| template.fill(text));
        let own = self.pieces.iter().map(|piece| match piece {
            Piece::Either(text) => value(&fill(text), self.strict),
            Piece::Text(text) => Ok(Value::String(fill(text))),
            Piece::Binary(bytes) => Ok(Value::Binary(bytes.clone())),
        });
        own.chain(last.map(|line| value(&fill(line), self.strict))).collect()
    }
}

/// What a text is: the value that it is in JSON, or itself.
pub(crate) fn value(text: &str, strict: bool) -> Result<Value, Failure> {
    let may_be_json =
        text.trim_ascii_start().starts_with(|first: char| "{[\"-tfn".contains(first) || first.is_ascii_digit());
    if !may_be_json && !strict {
        return Ok(Value::String(text.to_owned()));
    }
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        // How an error is called is looked at only where it can be this one: most texts are no JSON at all.
        Err(error) if text.trim_start().starts_with(['[', '{']) && error.to_string().starts_with("recursion limit") => {
            Err(Failure::usage("an argument is nested deeper than 128 levels").tip("send it as text with --str"))
        }
        Err(error) if strict => Err(Failure::usage(format!("{} is not valid JSON", short(text)))
            .cause(error)
            .tip(r#"a string needs quotes of its own: '"hello"', or --str hello"#)),
        Err(_) => Ok(Value::String(text.to_owned())),
    }
}

fn file(path: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable = |error| Failure::usage(format!("cannot read {}", path.display())).cause(error);
    let file = File::open(path).map_err(unreadable)?;
    // What would be refused at the end is not read first; a pipe tells its size only then.
    small_enough(file.metadata().map_err(unreadable)?.len(), &path.display().to_string())?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    small_enough(bytes.len() as u64, &path.display().to_string())?;
    Ok(bytes)
}

/// No message may be larger (`Builder::max_message` of the emitter).
const MOST_BYTES: u64 = 16 << 20;

fn small_enough(bytes: u64, from: &str) -> Result<(), Failure> {
    match bytes {
        ..=MOST_BYTES => Ok(()),
        _ => Err(Failure::new(
            code::FAILED,
            format!("{from} is larger than the {MOST_BYTES} bytes that a message may have"),
        )
        .tip("send less, or a link to it: servers would be cut off by Redis")),
    }
}

/// Bytes that have to be text, without the newline that editors and `echo` put at the end.
fn text(bytes: Vec<u8>, from: &str) -> Result<String, Failure> {
    let mut text = String::from_utf8(bytes).map_err(|error| {
        Failure::usage(format!("{from} is not text"))
            .cause(error.utf8_error())
            .tip("send it as it is with --binary FILE")
    })?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// The beginning of a text, in quotes.
fn short(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a text is, told in JSON.
    fn is(text: &str) -> String {
        let value = value(text, false).unwrap_or_else(|failure| panic!("{text}: {failure:?}"));
        serde_json::to_string(&value).expect("it has no binary")
    }

    #[test]
    fn json_is_its_value() {
        for text in [
            "42",
            "-5",
            "0.5",
            "18446744073709551615",
            "true",
            "null",
            r#""42""#,
            r#""""#,
            "[]",
            r#"{"b":1,"a":[null,{"c":"d"}]}"#,
            r#""\u00e9\n""#,
        ] {
            let normal = serde_json::from_str::<serde_json::Value>(text).expect(text);
            assert_eq!(serde_json::from_str::<serde_json::Value>(&is(text)).expect(text), normal, "{text}");
        }
        assert_eq!(is(r#"{"b":1,"a":2}"#), r#"{"b":1,"a":2}"#, "keys stay in their order");
        assert_eq!(is(" 42\n"), "42", "blanks around JSON are JSON");
        assert_eq!(is("1e3"), "1000.0");
    }

    #[test]
    fn everything_else_is_a_string() {
        for text in [
            "hello",
            "",
            " ",
            "0042",
            "2026-11-25T01:00:00+00:00",
            "NaN",
            "Infinity",
            "1_000",
            "1,5",
            "0x1f",
            "+1",
            ".5",
            "True",
            "undefined",
            "'42'",
            "{a:1}",
            "[1,]",
            r#"{"a":1} {"b":2}"#,
            r#"{"a":1"#,
            "1e400",
            r#""\ud800""#,
            "@/etc/passwd",
            "$(ls)",
            "-",
            "é\u{1F600}\u{0}",
        ] {
            assert_eq!(value(text, false), Ok(Value::String(text.to_owned())), "{text}");
            assert!(value(text, true).is_err_and(|failure| failure.code == code::USAGE), "strict {text}");
        }
    }

    #[test]
    fn what_is_too_deep_is_neither() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        assert!(value(&deep, false).is_err());
    }

    #[test]
    fn files_lose_one_newline_and_binary_files_nothing() {
        for (bytes, is) in [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("\n", ""), ("", ""), ("a\r", "a\r")] {
            assert_eq!(text(bytes.into(), "it").as_deref(), Ok(is));
        }
        let failure = text(vec![0xff], "it").expect_err("not UTF-8");
        assert!(failure.tip.is_some_and(|tip| tip.contains("--binary")));
    }

    #[test]
    fn templates_are_filled_before_json_is_looked_for() {
        let payload = Payload {
            pieces: vec![
                Piece::Either(r#"{"n":{{count}}}"#.into()),
                Piece::Text("{{count}}".into()),
                Piece::Binary(Bytes::from_static(b"{{count}}")),
            ],
            strict: true,
        };
        let template = Template { count: 3, now: std::time::SystemTime::now() };
        let values = payload.values(Some(&template), Some("[{{count}}]")).expect("JSON");
        let expected = [
            Value::Object(vec![("n".into(), Value::Number(3.into()))]),
            Value::String("3".into()),
            Value::Binary(Bytes::from_static(b"{{count}}")),
            Value::Array(vec![Value::Number(3.into())]),
        ];
        assert_eq!(values, expected);
        assert!(payload.values(None, None).is_err(), "without a template it is not JSON");
    }
}
