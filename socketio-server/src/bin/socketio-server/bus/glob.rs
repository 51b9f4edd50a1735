//! Which channel names a pattern means, as in Redis.
//!
//! `*` is any run of bytes, `?` is one byte, `[abc]`, `[a-z]` and `[^a]` are one byte out of a set,
//! and `\` takes the next byte as it is. Names are bytes, not text.

/// Whether `pattern` means `name`. Takes time in proportion to the two lengths multiplied, at most.
pub(super) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut rest, mut name) = (pattern, name);
    // Where to go on when what follows the last `*` does not fit: that star takes one byte more.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        let fits = match (rest.split_first(), name.split_first()) {
            (Some((b'*', after)), _) => {
                rest = after;
                retry = Some((after, name));
                continue;
            }
            (None, None) => return true,
            (Some(_), Some((&byte, after))) => match one(rest, byte) {
                Some(next) => {
                    rest = next;
                    name = after;
                    true
                }
                None => false,
            },
            (None, Some(_)) => false,
            (Some(_), None) => return false,
        };
        if !fits {
            let Some((after_star, [_, shorter @ ..])) = retry else {
                return false;
            };
            retry = Some((after_star, shorter));
            (rest, name) = (after_star, shorter);
        }
    }
}

/// The pattern behind its first element, if that element (which is not `*`) takes `byte`.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let (takes, rest) = match pattern {
        [b'?', rest @ ..] => (true, rest),
        [b'[', rest @ ..] => set(rest, byte),
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == byte, rest),
        [] => return None,
    };
    takes.then_some(rest)
}

/// Whether the set that `pattern` starts with, behind its `[`, takes `byte`; and what follows the set.
/// A set that nothing closes goes on to the end of the pattern.
fn set(pattern: &[u8], byte: u8) -> (bool, &[u8]) {
    let (negated, mut rest) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, pattern),
    };
    let mut found = false;
    loop {
        rest = match rest {
            [] => return (found != negated, rest),
            [b'\\', literal, rest @ ..] => {
                found |= *literal == byte;
                rest
            }
            [b']', rest @ ..] => return (found != negated, rest),
            [from, b'-', to, rest @ ..] => {
                found |= (*from.min(to)..=*from.max(to)).contains(&byte);
                rest
            }
            [literal, rest @ ..] => {
                found |= *literal == byte;
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_mean_what_they_mean_in_redis() {
        for (pattern, yes, no) in [
            ("", &[""][..], &["a"][..]),
            ("a", &["a"], &["", "b", "aa", "A"]),
            ("*", &["", "a", "a.b"], &[]),
            ("**", &["", "a"], &[]),
            ("a*", &["a", "ab", "abc"], &["", "ba"]),
            ("*a", &["a", "ba", "aaa"], &["", "ab"]),
            ("a*b*c", &["abc", "axbxc", "abbcc", "abcbc"], &["ac", "acb", "abcd"]),
            ("h?llo", &["hello", "h\tllo"], &["hllo", "heello"]),
            ("h[ae]llo", &["hello", "hallo"], &["hillo", "hllo"]),
            ("h[^e]llo", &["hallo", "hbllo"], &["hello", "hllo"]),
            ("h[a-c]llo", &["hallo", "hbllo", "hcllo"], &["hdllo", "h-llo"]),
            ("h[c-a]llo", &["hallo", "hbllo"], &["hdllo"]),
            ("[a-]", &["a", "]", "_"], &["-", "b"]),
            (r"[\]]", &["]"], &[r"\", "a"]),
            (r"[\^a]", &["^", "a"], &["b"]),
            ("[]a]", &[], &["]a]", "a", "]"]),
            ("[^]", &["a", "]"], &["", "ab"]),
            ("[ab", &["a", "b"], &["", "[ab", "ab"]),
            (r"a\*b", &["a*b"], &["axb", r"a\*b"]),
            (r"\?", &["?"], &["a"]),
            (r"\[a]", &["[a]"], &["a"]),
            (r"a\", &[r"a\"], &["a", "ab"]),
            ("socket.io#/#*", &["socket.io#/#", "socket.io#/#room#"], &["socket.io#/admin#"]),
            (r"socket.io#/\[x\]#*", &["socket.io#/[x]#"], &["socket.io#/x#"]),
        ] {
            for name in yes {
                assert!(matches(pattern.as_bytes(), name.as_bytes()), "{pattern} means {name:?}");
            }
            for name in no {
                assert!(!matches(pattern.as_bytes(), name.as_bytes()), "{pattern} does not mean {name:?}");
            }
        }
    }

    #[test]
    fn a_pattern_of_many_stars_is_answered_at_once() {
        let pattern = "a*".repeat(2_000) + "b";
        let name = "a".repeat(20_000);
        assert!(!matches(pattern.as_bytes(), name.as_bytes()));
    }
}
