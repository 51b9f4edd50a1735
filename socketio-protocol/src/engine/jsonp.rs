//! Polling for browsers that can load a script but make no cross-origin request.
//!
//! A GET is answered with a script that calls `___eio[<j>]` with the payload as a string, `j` being the number of the
//! client's callback. A POST is a form whose field `d` holds the payload. Forms turn line ends into CR LF, so the
//! client writes a newline as `\n`, and what was `\n` before as `\\n`. A backslash before a newline would be lost; no
//! JSON text has one.

use std::borrow::Cow;

use super::Query;

/// The script that hands `payload` to callback `j`, of which only the digits count.
///
/// ```
/// let script = socketio_protocol::engine::jsonp::wrap("0", "2");
/// assert_eq!(script, br#"___eio[0]("2");"#);
/// ```
pub fn wrap(j: &str, payload: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + payload.len() / 8 + 32);
    out.extend_from_slice(b"___eio[");
    out.extend(j.bytes().filter(u8::is_ascii_digit));
    out.extend_from_slice(b"](");
    // JSON allows these two unescaped in a string, JavaScript before 2019 does not.
    if payload.contains(['\u{2028}', '\u{2029}']) {
        let json = serde_json::to_string(payload).expect("a string is always JSON");
        let json = json.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
        out.extend_from_slice(json.as_bytes());
    } else {
        serde_json::to_writer(&mut out, payload).expect("a string is always JSON, a vector takes every write");
    }
    out.extend_from_slice(b");");
    out
}

/// The payload in the body of a form, or `None` if it has no field `d`.
///
/// A body that is not UTF-8 is read with replacement characters, as a form is.
///
/// ```
/// use socketio_protocol::engine::jsonp::unwrap;
///
/// assert_eq!(unwrap(b"d=4hello+you").as_deref(), Some("4hello you"));
/// assert_eq!(unwrap(b"x=1"), None);
/// ```
pub fn unwrap(form: &[u8]) -> Option<String> {
    let form = String::from_utf8_lossy(form);
    let query = Query::parse(&form);
    query.get("d").map(|escaped| unescape(escaped).into_owned())
}

/// `\n` becomes a newline, `\\n` becomes `\n`; other backslashes stay.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains("\\n") {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let mut pieces = text.split("\\n");
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        // Nothing written so far ends in a backslash by our doing, so one at the end was the client's escape.
        out.push_str(if out.ends_with('\\') { "n" } else { "\n" });
        out.push_str(piece);
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_payload_becomes_a_script() {
        for (j, payload, script) in [
            ("0", "4hello", r#"___eio[0]("4hello");"#),
            ("12", r#"42["a"]"#, r#"___eio[12]("42[\"a\"]");"#),
            ("3", "4a\x1e4b\n\\", r#"___eio[3]("4a\u001e4b\n\\");"#),
            ("3", "4€😀\u{7f}", "___eio[3](\"4€😀\u{7f}\");"),
            ("3", "4\u{2028}\u{2029}", r#"___eio[3]("4\u2028\u2029");"#),
            ("", "", r#"___eio[]("");"#),
            ("1](alert(1));x2", "4", r#"___eio[112]("4");"#),
        ] {
            assert_eq!(String::from_utf8(wrap(j, payload)).unwrap(), script);
        }
    }

    #[test]
    fn a_form_becomes_a_payload() {
        for (form, payload) in [
            ("d=4hello", Some("4hello")),
            ("d=4a%20b+c%E2%82%AC", Some("4a b c€")),
            ("d=4%1E4", Some("4\x1e4")),
            (r"d=4a\nb", Some("4a\nb")),
            (r"d=4a\\nb", Some(r"4a\nb")),
            (r"d=4a\\\nb", Some(r"4a\\nb")),
            (r"d=\n\n\\n\n", Some("\n\n\\n\n")),
            (r"d=4\\ \t \", Some(r"4\\ \t \")),
            ("d=4%5Cn%5C%5Cn", Some("4\n\\n")),
            ("d=", Some("")),
            ("d=1&d=2", Some("2")),
            ("x=4", None),
            ("", None),
        ] {
            assert_eq!(unwrap(form.as_bytes()).as_deref(), payload, "{form}");
        }
        assert_eq!(unwrap(b"d=4\xff").as_deref(), Some("4\u{fffd}"));
    }

    proptest! {
        #[test]
        fn the_script_holds_the_payload(payload: String) {
            let script = String::from_utf8(wrap("7", &payload)).unwrap();
            let json = script.strip_prefix("___eio[7](").and_then(|rest| rest.strip_suffix(");")).unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(json).unwrap(), payload);
            let breaks = json.contains(['\n', '\u{2028}', '\u{2029}']);
            prop_assert!(!breaks);
        }

        /// The client first puts a backslash and a newline for each `\n`, then `\n` for each newline.
        #[test]
        fn what_the_client_escapes_is_undone(payload in r"[a\\n\n]{0,12}") {
            prop_assume!(!payload.contains("\\\n"));
            let escaped = payload.replace("\\n", "\\\n").replace('\n', "\\n");
            prop_assert_eq!(unescape(&escaped), payload);
        }

        #[test]
        fn no_form_makes_it_panic(form: Vec<u8>) {
            unwrap(&[b"d=", &form[..]].concat());
            unwrap(&form);
        }
    }
}
