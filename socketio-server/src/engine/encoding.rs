//! In which form a client would have a body: its header `Accept-Encoding`.

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, zlib's format, which HTTP calls deflate.
    Deflate,
    /// RFC 7932.
    Br,
}

impl Encoding {
    /// Its name in HTTP.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Encoding::Gzip => "gzip",
            Encoding::Deflate => "deflate",
            Encoding::Br => "br",
        }
    }

    fn is_named(self, name: &str) -> bool {
        name.eq_ignore_ascii_case(self.as_str()) || (self == Encoding::Gzip && name.eq_ignore_ascii_case("x-gzip"))
    }

    /// The one of `offered` that the client likes best; `None` if it would have none of them.
    ///
    /// Of those with the highest weight it is the first that the client names, and one that it names before one that
    /// `*` stands for: the reference server's order.
    pub(crate) fn preferred(accept: &str, offered: &[Encoding]) -> Option<Encoding> {
        let wishes: smallvec::SmallVec<[(&str, f32); 6]> = accept.split(',').map(wish).collect();
        let rated = offered.iter().filter_map(|encoding| {
            let named = wishes.iter().position(|(name, _)| encoding.is_named(name));
            let at = named.or_else(|| wishes.iter().position(|(name, _)| *name == "*"))?;
            let (_, weight) = wishes.get(at)?;
            (*weight > 0.0).then_some((*encoding, *weight, named.unwrap_or(usize::MAX)))
        });
        let better = |best: (Encoding, f32, usize), other: (Encoding, f32, usize)| {
            if other.1 > best.1 || (other.1 == best.1 && other.2 < best.2) { other } else { best }
        };
        rated.reduce(better).map(|(encoding, ..)| encoding)
    }
}

/// A name and its weight.
fn wish(coding: &str) -> (&str, f32) {
    let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
    let weight = parameters.split(';').find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse().unwrap_or(0.0))
    });
    (name.trim(), weight.unwrap_or(1.0))
}

/// What zlib's format has in front of the bare stream: a window of 32 KiB, no dictionary.
pub(crate) const ZLIB_HEADER: [u8; 2] = [0x78, 0x5e];

/// What it has behind: the checksum of RFC 1950, section 8.2.
pub(crate) fn zlib_trailer(bytes: &[u8]) -> [u8; 4] {
    const PRIME: u32 = 65_521;
    let (mut a, mut b) = (1_u32, 0_u32);
    // So many can be added before the sums have to be brought back below the prime.
    for run in bytes.chunks(5552) {
        for &byte in run {
            a += u32::from(byte);
            b += a;
        }
        a %= PRIME;
        b %= PRIME;
    }
    ((b << 16) | a).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_chooses_by_weight_and_then_by_order() {
        use Encoding::*;
        for (accept, chosen) in [
            ("gzip, deflate, br, zstd", Some(Gzip)),
            ("br, gzip, deflate", Some(Br)),
            ("deflate, gzip", Some(Deflate)),
            ("GZIP", Some(Gzip)),
            ("x-gzip", Some(Gzip)),
            ("gzip;q=0.2, br;q=1.0", Some(Br)),
            ("gzip;q=0.5, deflate; q=0.9, br;q=0.1", Some(Deflate)),
            ("br;q=0, *", Some(Gzip)),
            ("*", Some(Gzip)),
            ("*, br", Some(Br)),
            ("*;q=0.5, deflate;q=0.5", Some(Deflate)),
            ("gzip;q=0, *;q=0.1", Some(Deflate)),
            ("identity;q=1, *;q=0.5", Some(Gzip)),
            ("identity", None),
            ("zstd", None),
            ("", None),
            ("gzip;q=0, deflate;q=0.000, br; q=0", None),
            ("*;q=0", None),
            ("gzip;q=much", None),
            ("gzip;q=NaN", None),
            ("gzipped", None),
        ] {
            assert_eq!(Encoding::preferred(accept, &[Gzip, Deflate, Br]), chosen, "{accept:?}");
        }
        assert_eq!(Encoding::preferred("*", &[Br, Gzip]), Some(Br));
        assert_eq!(Encoding::preferred("br", &[Gzip, Deflate]), None);
    }
}
