//! A line of `--ndjson`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use socketio_protocol::socket::Args;

use crate::failure::Failure;

/// What it says. What need not be looked into is kept as it stands there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line<'a> {
    #[serde(borrow)]
    event: Option<Text<'a>>,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
    #[serde(borrow)]
    to: Option<&'a RawValue>,
    #[serde(borrow)]
    except: Option<&'a RawValue>,
    #[serde(borrow)]
    nsp: Option<&'a RawValue>,
}

/// Text that is copied only if something in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Whom a line is for, as it stands there. Mostly it is as in the line before.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Whom<'a> {
    to: Option<&'a str>,
    except: Option<&'a str>,
    nsp: Option<&'a str>,
}

impl<'a> Line<'a> {
    /// Reads a line.
    pub(crate) fn read(line: &'a str) -> Result<Line<'a>, Failure> {
        serde_json::from_str(line).map_err(|error| not_an_event().cause(in_line(&error)))
    }

    /// The name of the event, `usual` if it has none.
    pub(crate) fn event(&mut self, usual: Option<&'a str>) -> Result<Cow<'a, str>, Failure> {
        let own = self.event.take().map(|Text(event)| event);
        own.or(usual.map(Cow::Borrowed)).ok_or_else(|| Failure::usage(r#"not an event: "event" is missing"#))
    }

    /// The arguments: a list, or the one that it is.
    pub(crate) fn args(&self) -> Result<Args, Failure> {
        match self.args {
            None => Ok(Args::none()),
            Some(args) => Args::from_json(args.get(), Vec::new()).map_err(|error| not_an_event().cause(error)),
        }
    }

    pub(crate) fn whom(&self) -> Whom<'a> {
        let [to, except, nsp] = [self.to, self.except, self.nsp].map(|raw| raw.map(RawValue::get));
        Whom { to, except, nsp }
    }
}

impl Whom<'_> {
    /// The rooms, if any are named; never none.
    pub(crate) fn to(&self) -> Result<Option<Vec<String>>, Failure> {
        match self.to.map(|names| rooms("to", names)).transpose()? {
            Some(rooms) if rooms.is_empty() => Err(Failure::usage(r#""to" names no room; leave it out for everybody"#)),
            rooms => Ok(rooms),
        }
    }

    /// The exceptions, if any are named.
    pub(crate) fn except(&self) -> Result<Option<Vec<String>>, Failure> {
        self.except.map(|names| rooms("except", names)).transpose()
    }

    /// The namespace, if it is named.
    pub(crate) fn nsp(&self) -> Result<Option<String>, Failure> {
        let read = |nsp| serde_json::from_str(nsp).map_err(|_| not_an_event().cause(r#""nsp" is no text"#));
        self.nsp.map(read).transpose()
    }

    /// The same, to be kept.
    pub(crate) fn into_owned(self) -> [Option<String>; 3] {
        [self.to, self.except, self.nsp].map(|raw| raw.map(str::to_owned))
    }

    /// What [`into_owned`](Whom::into_owned) has kept.
    pub(crate) fn of([to, except, nsp]: &[Option<String>; 3]) -> Whom<'_> {
        Whom { to: to.as_deref(), except: except.as_deref(), nsp: nsp.as_deref() }
    }
}

fn not_an_event() -> Failure {
    Failure::usage("not an event")
}

fn rooms(member: &str, names: &str) -> Result<Vec<String>, Failure> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Names {
        One(String),
        Some(Vec<String>),
    }
    match serde_json::from_str(names) {
        Ok(Names::One(name)) => Ok(vec![name]),
        Ok(Names::Some(names)) => Ok(names),
        Err(_) => Err(not_an_event().cause(format!("{member:?} is neither a room nor a list of rooms"))),
    }
}

/// What is wrong with a line of JSON. That it is line 1 of itself would confuse.
fn in_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(what) => format!("{what} at column {}", error.column()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_to_send_and_to_whom() {
        let mut line = Line::read(r#"{"event":"a\n","args":[1,{"b":[]}],"to":["x","y"],"nsp":"/n"}"#).expect("a line");
        assert_eq!(line.event(Some("usual")).as_deref(), Ok("a\n"));
        assert_eq!(line.args().map(|args| args.to_json().0.to_string()).as_deref(), Ok(r#"[1,{"b":[]}]"#));
        let whom = line.whom();
        assert_eq!(whom.to(), Ok(Some(vec!["x".to_owned(), "y".to_owned()])));
        assert_eq!((whom.except(), whom.nsp()), (Ok(None), Ok(Some("/n".to_owned()))));
        assert!(Whom::of(&whom.into_owned()) == whom);
        let mut line = Line::read(r#"{"args":"one","to":"x","except":["y"]}"#).expect("a line");
        assert_eq!(line.event(Some("usual")).as_deref(), Ok("usual"));
        assert_eq!(line.args().map(|args| args.to_values().expect("one").len()), Ok(1));
        assert_eq!(line.whom().to(), Ok(Some(vec!["x".to_owned()])));
        let line = Line::read(r#"{"event":"e","args":null,"to":null}"#).expect("a line");
        assert!(line.args().is_ok_and(|args| args.is_empty()) && line.whom() == Whom::default());
    }

    #[test]
    fn what_is_no_event_says_where() {
        for (line, reason) in [
            ("{", "not an event: EOF while parsing an object at column 1"),
            ("[]", "not an event: "),
            (r#"{"evnt":"a"}"#, "not an event: unknown field `evnt`"),
            (r#"{"event":1}"#, "not an event: invalid type: integer `1`"),
            (r#"{"args":[1]}"#, r#"not an event: "event" is missing"#),
            (r#"{"event":"a","to":5}"#, r#"not an event: "to" is neither a room nor a list of rooms"#),
            (r#"{"event":"a","to":[]}"#, r#""to" names no room; leave it out for everybody"#),
            (r#"{"event":"a","except":{}}"#, r#"not an event: "except" is neither a room nor a list of rooms"#),
            (r#"{"event":"a","nsp":[]}"#, r#"not an event: "nsp" is no text"#),
        ] {
            let wrong = Line::read(line).and_then(|mut line| {
                line.event(None)?;
                let whom = line.whom();
                whom.to()?;
                whom.except()?;
                whom.nsp()?;
                line.args().map(drop)
            });
            let told = wrong.expect_err(line).in_a_line();
            assert!(told.starts_with(reason), "{line}: {told}");
        }
    }
}
