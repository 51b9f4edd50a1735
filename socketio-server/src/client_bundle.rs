//! The JavaScript client, as the server serves it to browsers.
//!
//! The eight files that Node's server serves are embedded, so that a page needs nothing but the server:
//! the plain script, the minified ones, and the source map of each. [`respond`] answers a request for
//! one of them without waiting and without copying; whatever it does not know is left to the engine,
//! which answers "Transport unknown" as it does for any path. The files lie in `client-dist`.

use bytes::Bytes;

/// What is sent for a file of the client. The length is left to who sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BundleResponse {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: Bytes,
}

/// Answers a request for `file_name`, the part of the path behind the server's own.
///
/// `None` when the client has no such file: names are exact. Any method is answered, as Node's server
/// does; `HEAD` without the body. A browser that says with `If-None-Match` that it has this version is
/// told that nothing changed.
pub(crate) fn respond(
    method: &str,
    file_name: &str,
    if_none_match: Option<&str>,
    accept_encoding: Option<&str>,
) -> Option<BundleResponse> {
    let file = FILES.iter().find(|file| file.name == file_name)?;
    if if_none_match.is_some_and(is_current) {
        return Some(BundleResponse { status: 304, headers: Vec::new(), body: Bytes::new() });
    }
    let mut headers = vec![
        ("content-type", file.content_type()),
        ("cache-control", "public, max-age=0"),
        ("etag", CURRENT),
        // Node's server leaves this out; a cache between would give the packed file to one that cannot unpack it.
        ("vary", "accept-encoding"),
    ];
    let gzip = accept_encoding.is_some_and(accepts_gzip);
    if gzip {
        headers.push(("content-encoding", "gzip"));
    }
    let body = match (method, gzip) {
        ("HEAD", _) => &[],
        (_, true) => file.gzip,
        (_, false) => file.plain,
    };
    Some(BundleResponse { status: 200, headers, body: Bytes::from_static(body) })
}

/// Whether a browser has the version we serve, in any of the forms it may say so.
fn is_current(if_none_match: &str) -> bool {
    if_none_match.split(',').map(str::trim).any(|tag| {
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        tag == CURRENT || tag == "*"
    })
}

/// Whether `gzip` is welcome: named with a weight above 0, or not named and covered by `*`.
fn accepts_gzip(accept_encoding: &str) -> bool {
    let weight_of = |wanted: &str| {
        accept_encoding.split(',').find_map(|coding| {
            let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
            let weight = || {
                let (key, value) = parameters.split_once('=')?;
                key.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse().unwrap_or(0.0))
            };
            name.trim().eq_ignore_ascii_case(wanted).then(|| weight().unwrap_or(1.0))
        })
    };
    let weight: Option<f32> = weight_of("gzip").or_else(|| weight_of("x-gzip")).or_else(|| weight_of("*"));
    weight.is_some_and(|weight| weight > 0.0)
}

/// One embedded file.
struct File {
    name: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
}

impl File {
    fn content_type(&self) -> &'static str {
        match self.name.ends_with(".map") {
            true => "application/json; charset=utf-8",
            false => "application/javascript; charset=utf-8",
        }
    }
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(File {
            name: $name,
            plain: include_bytes!(concat!("../client-dist/", $name)),
            gzip: include_bytes!(concat!("../client-dist/", $name, ".gz")),
        }),*]
    };
}

static FILES: &[File] = files![
    "socket.io.js",
    "socket.io.js.map",
    "socket.io.min.js",
    "socket.io.min.js.map",
    "socket.io.esm.min.js",
    "socket.io.esm.min.js.map",
    "socket.io.msgpack.min.js",
    "socket.io.msgpack.min.js.map",
];

/// The version of `socket.io-client`, as the entity tag that goes with every file.
const CURRENT: &str = "\"4.8.4\"";

#[cfg(test)]
mod tests {
    use super::*;

    fn get(file: &str, if_none_match: Option<&str>, accept_encoding: Option<&str>) -> Option<BundleResponse> {
        respond("GET", file, if_none_match, accept_encoding)
    }

    fn header(response: &BundleResponse, name: &str) -> Option<&'static str> {
        response.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    #[test]
    fn the_eight_files_are_served_under_their_exact_names() {
        for (file, content_type) in [
            ("socket.io.js", "application/javascript; charset=utf-8"),
            ("socket.io.min.js", "application/javascript; charset=utf-8"),
            ("socket.io.esm.min.js", "application/javascript; charset=utf-8"),
            ("socket.io.msgpack.min.js", "application/javascript; charset=utf-8"),
            ("socket.io.js.map", "application/json; charset=utf-8"),
            ("socket.io.min.js.map", "application/json; charset=utf-8"),
            ("socket.io.esm.min.js.map", "application/json; charset=utf-8"),
            ("socket.io.msgpack.min.js.map", "application/json; charset=utf-8"),
        ] {
            let response = get(file, None, None).expect(file);
            assert_eq!(response.status, 200, "{file}");
            assert_eq!(header(&response, "content-type"), Some(content_type), "{file}");
            assert_eq!(header(&response, "cache-control"), Some("public, max-age=0"), "{file}");
            assert_eq!(header(&response, "etag"), Some("\"4.8.4\""), "{file}");
            assert_eq!(header(&response, "content-encoding"), None, "{file}");
        }
        for file in ["", "socket.io", "socket.io.js.gz", "Socket.io.js", "socket.io.js/", "../README.md", "LICENSE"] {
            assert!(get(file, None, None).is_none(), "{file} is not one of them");
        }
    }

    #[test]
    fn every_script_says_the_version_we_announce() {
        for file in FILES.iter().filter(|file| !file.name.ends_with(".map")) {
            let text = std::str::from_utf8(file.plain).expect("scripts are text");
            let version = format!("Socket.IO v{}\n", CURRENT.trim_matches('"'));
            assert!(text.contains(&version), "{}", file.name);
        }
    }

    #[test]
    fn every_packed_file_is_made_of_the_plain_one() {
        for file in FILES {
            assert!(file.gzip.starts_with(&[0x1f, 0x8b, 8]), "{} is gzip", file.name);
            // A gzip file ends with the checksum and the length of what was packed.
            let mut end = crc32(file.plain).to_le_bytes().to_vec();
            end.extend(u32::try_from(file.plain.len()).expect("small files").to_le_bytes());
            assert!(file.gzip.ends_with(&end), "{} was packed from another file", file.name);
        }
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| match crc & 1 {
                0 => crc >> 1,
                _ => (crc >> 1) ^ 0xedb8_8320,
            })
        })
    }

    #[test]
    fn who_accepts_gzip_gets_gzip() {
        for (accept_encoding, gzip) in [
            ("gzip, deflate, br, zstd", true),
            ("GZIP", true),
            ("x-gzip", true),
            ("br;q=1.0, gzip;q=0.2", true),
            ("*", true),
            ("identity;q=1, *;q=0.5", true),
            ("", false),
            ("br", false),
            ("identity", false),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("gzip;q=0, *", false),
            ("*;q=0", false),
            ("gzip;q=much", false),
            ("gzipped", false),
        ] {
            let response = get("socket.io.js", None, Some(accept_encoding)).expect("a known file");
            let encoding = header(&response, "content-encoding");
            assert_eq!(encoding, gzip.then_some("gzip"), "{accept_encoding:?}");
            assert_eq!(response.body.starts_with(&[0x1f, 0x8b]), gzip, "{accept_encoding:?}");
            assert_eq!(header(&response, "vary"), Some("accept-encoding"));
        }
    }

    #[test]
    fn a_browser_that_has_this_version_is_sent_nothing() {
        for (if_none_match, current) in [
            ("\"4.8.4\"", true),
            ("W/\"4.8.4\"", true),
            ("\"4.7.0\", W/\"4.8.4\"", true),
            ("*", true),
            ("4.8.4", false),
            ("\"4.8.3\"", false),
            ("", false),
        ] {
            let response = get("socket.io.js", Some(if_none_match), Some("gzip")).expect("a known file");
            let expected = if current { 304 } else { 200 };
            assert_eq!(response.status, expected, "{if_none_match:?}");
            assert_eq!(response.body.is_empty(), current, "{if_none_match:?}");
            assert_eq!(response.headers.is_empty(), current, "{if_none_match:?}");
        }
    }

    #[test]
    fn every_method_is_answered_and_head_without_the_body() {
        for method in ["GET", "POST", "OPTIONS", "DELETE"] {
            let response = respond(method, "socket.io.js", None, None).expect("a known file");
            assert!(!response.body.is_empty(), "{method}");
        }
        let head = respond("HEAD", "socket.io.js", None, None).expect("a known file");
        let get = respond("GET", "socket.io.js", None, None).expect("a known file");
        assert!(head.body.is_empty());
        assert_eq!(head.headers, get.headers);
    }
}
