//! An answer as HTTP/1.1, byte for byte as hyper writes it.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};

use crate::engine::{Answer, Fixed};

/// Writes the head of an answer. `close` says whether the connection ends with it, as the client or the server wants; the
/// answer may want it, too.
pub(super) fn write(answer: &Answer, close: &mut bool, out: &mut Vec<u8>) {
    let status = answer.status;
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or("<none>").as_bytes());
    out.extend_from_slice(b"\r\n");
    match &answer.fixed {
        Fixed::Nothing => {}
        Fixed::Content(kind) => {
            line(out, b"content-type", kind.as_bytes());
            out.extend_from_slice(b"cache-control: no-store\r\n");
        }
        Fixed::WebSocket(accept) => {
            out.extend_from_slice(b"connection: Upgrade\r\nupgrade: websocket\r\n");
            line(out, b"sec-websocket-accept", accept.as_bytes());
        }
    }
    let mut says_close = false;
    for (name, value) in answer.headers() {
        if name == CONTENT_LENGTH || name == TRANSFER_ENCODING {
            continue; // An application has put it there; the body is as long as it is.
        }
        says_close |= name == CONNECTION && value.as_bytes().eq_ignore_ascii_case(b"close");
        line(out, name.as_str().as_bytes(), value.as_bytes());
    }
    if *close && !says_close && status != StatusCode::SWITCHING_PROTOCOLS {
        out.extend_from_slice(b"connection: close\r\n");
    }
    *close |= says_close;
    if !status.is_informational() && status != StatusCode::NO_CONTENT {
        line(out, b"content-length", itoa::Buffer::new().format(answer.body.len()).as_bytes());
    }
    if !answer.headers().contains_key(DATE) {
        write_date(out);
    }
    out.extend_from_slice(b"\r\n");
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The line `date`, made anew each second.
fn write_date(out: &mut Vec<u8>) {
    LINE.with_borrow_mut(|(line, until)| {
        let now = SystemTime::now();
        if now >= *until || now + Duration::from_secs(1) < *until {
            *line = format!("date: {}\r\n", httpdate::HttpDate::from(now)).into_bytes();
            let past = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().subsec_nanos();
            *until = now + Duration::from_secs(1) - Duration::from_nanos(past.into());
        }
        out.extend_from_slice(line);
    });
}

thread_local! {
    /// And until when it is true.
    static LINE: RefCell<(Vec<u8>, SystemTime)> = const { RefCell::new((Vec::new(), SystemTime::UNIX_EPOCH)) };
}
