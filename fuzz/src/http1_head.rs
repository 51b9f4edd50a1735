//! The head of a request: what is taken for plain is so by a second, slower reading too, and is partial until its last
//! byte has come.

use socketio_protocol::http1::{Head, Verdict};

/// Panics on a finding.
pub fn run(input: &[u8]) {
    let Verdict::Plain(head) = Head::read(input) else { return };
    let bytes = &input[..head.len];
    assert_eq!(Head::read(bytes), Verdict::Plain(head.clone()), "what follows says nothing about it");
    for len in [head.len / 2, head.len - 2, head.len - 1] {
        assert_eq!(Head::read(&input[..len]), Verdict::Partial, "it is whole with its last byte");
    }

    let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
    let mut lines = text.trim_start_matches("\r\n").split("\r\n");
    let target: String = input[head.target.clone()].iter().map(|&byte| char::from(byte)).collect();
    let method = if head.post { "POST" } else { "GET" };
    assert_eq!(lines.next(), Some(format!("{method} {target} HTTP/1.1").as_str()));
    assert!(target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));

    let mut lengths = Vec::new();
    let mut read = head.lines(input);
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').expect("a line has a colon");
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        assert!(!name.is_empty() && name.bytes().all(token), "{name:?}");
        assert!(!value.contains(['\r', '\n', '\0']), "{value:?}");
        let value = value.trim_matches([' ', '\t']);
        let value_bytes: Vec<u8> = value.chars().map(|char| char as u8).collect();
        assert_eq!(read.next(), Some((name.as_bytes(), value_bytes.as_slice())));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => lengths.push(value.parse::<usize>().expect("a length is a number")),
            "transfer-encoding" | "expect" | "trailer" => panic!("{name} is not plain"),
            _ => {}
        }
    }
    assert_eq!(read.next(), None);
    assert_eq!(lines.collect::<Vec<_>>(), [""], "the empty line is the last");
    assert_eq!(lengths.first().copied().unwrap_or(0), head.body);
    assert!(lengths.len() < 2 && head.post <= (lengths.len() == 1));
    assert!(head.post || head.body == 0);
}
