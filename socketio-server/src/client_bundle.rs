//! The JavaScript client, as the server serves it to browsers.
//!
//! The eight files that Node's server serves are embedded, so that a page needs nothing but the server:
//! the plain script, the minified ones, and the source map of each. [`respond`] answers a request for
//! one of them without waiting and without copying; whatever it does not know is left to the engine,
//! which answers "Transport unknown" as it does for any path. The files lie in `client-dist`.

use std::sync::OnceLock;

use bytes::Bytes;

use crate::engine::{Encoding, ZLIB_HEADER, zlib_trailer};

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
    let encoding = accept_encoding.and_then(|accepted| Encoding::preferred(accepted, OFFERED));
    if let Some(encoding) = encoding {
        headers.push(("content-encoding", encoding.as_str()));
    }
    let body = if method == "HEAD" { Bytes::new() } else { file.body(encoding) };
    Some(BundleResponse { status: 200, headers, body })
}

/// In the reference server's order, the smallest first.
const OFFERED: &[Encoding] = &[Encoding::Br, Encoding::Gzip, Encoding::Deflate];

/// Whether a browser has the version we serve, in any of the forms it may say so.
fn is_current(if_none_match: &str) -> bool {
    if_none_match.split(',').map(str::trim).any(|tag| {
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        tag == CURRENT || tag == "*"
    })
}

/// One embedded file.
struct File {
    name: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
    br: &'static [u8],
    /// In zlib's format, once somebody has asked for it.
    zlib: OnceLock<Bytes>,
}

impl File {
    fn content_type(&self) -> &'static str {
        match self.name.ends_with(".map") {
            true => "application/json; charset=utf-8",
            false => "application/javascript; charset=utf-8",
        }
    }

    fn body(&self, encoding: Option<Encoding>) -> Bytes {
        match encoding {
            None => Bytes::from_static(self.plain),
            Some(Encoding::Gzip) => Bytes::from_static(self.gzip),
            Some(Encoding::Br) => Bytes::from_static(self.br),
            Some(Encoding::Deflate) => self.zlib.get_or_init(|| self.to_zlib()).clone(),
        }
    }

    /// The stream inside the gzip file, between other words.
    fn to_zlib(&self) -> Bytes {
        let stream = self.gzip.get(GZIP_HEADER..self.gzip.len() - GZIP_TRAILER).unwrap_or_default();
        [&ZLIB_HEADER, stream, &zlib_trailer(self.plain)].concat().into()
    }
}

/// What `gzip -n` writes around the stream: no name, and at the end checksum and length.
const GZIP_HEADER: usize = 10;
const GZIP_TRAILER: usize = 8;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(File {
            name: $name,
            plain: include_bytes!(concat!("../client-dist/", $name)),
            gzip: include_bytes!(concat!("../client-dist/", $name, ".gz")),
            br: include_bytes!(concat!("../client-dist/", $name, ".br")),
            zlib: OnceLock::new(),
        }),*]
    };
}

static FILES: [File; 8] = files![
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
        for file in &FILES {
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
    fn a_file_comes_in_the_form_that_the_client_likes_best() {
        for (accept_encoding, encoding) in [
            ("gzip, deflate, br, zstd", Some("gzip")),
            ("br, gzip", Some("br")),
            ("deflate", Some("deflate")),
            ("br;q=0.1, gzip;q=0.2", Some("gzip")),
            ("*", Some("br")),
            ("", None),
            ("identity", None),
            ("gzip;q=0", None),
        ] {
            let response = get("socket.io.js", None, Some(accept_encoding)).expect("a known file");
            assert_eq!(header(&response, "content-encoding"), encoding, "{accept_encoding:?}");
            assert_eq!(header(&response, "vary"), Some("accept-encoding"));
            assert_eq!(response.body.len() == FILES[0].plain.len(), encoding.is_none(), "{accept_encoding:?}");
        }
    }

    #[cfg(feature = "compression")]
    #[test]
    fn every_form_of_a_file_is_unpacked_to_the_plain_one() {
        use std::io::Read;
        for file in &FILES {
            assert_eq!(file.gzip.get(3), Some(&0), "{}: no field follows the header", file.name);
            let zlib = file.body(Some(Encoding::Deflate));
            let forms: [(_, &mut dyn Read); 3] = [
                ("gzip", &mut flate2::read::GzDecoder::new(file.gzip)),
                ("br", &mut brotli::Decompressor::new(file.br, 4096)),
                ("deflate", &mut flate2::read::ZlibDecoder::new(&*zlib)),
            ];
            for (form, reader) in forms {
                let mut plain = Vec::new();
                reader.read_to_end(&mut plain).expect("it is whole");
                assert!(plain == file.plain, "{} as {form}", file.name);
            }
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
