//! Polling for browsers that can load a script but make no cross-origin request.
//!
//! A GET is answered with a script that calls `___eio[<j>]` with the payload as a string, `j` being the number of the
//! client's callback. A POST is a form whose field `d` holds the payload. Forms turn line ends into CR LF, so the
//! client writes a newline as `\n`, and what was `\n` before as `\\n`.

use std::borrow::Cow;

use super::Query;

/// The script that hands `payload` to callback `j`, of which only the digits count.
pub fn wrap(j: &str, payload: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + payload.len() / 8 + 32);
    out.extend_from_slice(b"___eio[");
    out.extend(j.bytes().filter(u8::is_ascii_digit));
    out.extend_from_slice(b"](");
    // JSON allows these two unescaped in a string, JavaScript before 2019 does not.
    if payload.contains(['\u{2028}', '\u{2029}']) {
        let json = serde_json::to_string(payload).expect("a string is always JSON");
        let json = json
            .replace('\u{2028}', "\\u2028")
            .replace('\u{2029}', "\\u2029");
        out.extend_from_slice(json.as_bytes());
    } else {
        serde_json::to_writer(&mut out, payload)
            .expect("a string is always JSON, a vector takes every write");
    }
    out.extend_from_slice(b");");
    out
}

/// The payload in the body of a form, or `None` if it has no field `d`.
///
/// A body that is not UTF-8 is read with replacement characters, as a form is.
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
