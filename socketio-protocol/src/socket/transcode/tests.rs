//! Values in MessagePack, the odd forms of notepack, hostile lengths, and what the libraries were heard to send.

use serde_json::json;

use super::*;

fn written(json: &str) -> Vec<u8> {
    Args::from_json(json, vec![]).unwrap().to_msgpack()
}

/// The JSON that `bytes` become, and the attachments.
fn read(bytes: &[u8]) -> Result<(String, Vec<Bytes>), MsgpackError> {
    let (json, attachments) = Args::from_msgpack(bytes)?.to_json();
    Ok((json.to_string(), attachments))
}

#[test]
fn every_value_reads_and_writes_the_same_bytes() {
    let text = |len: usize| json!("x".repeat(len)).to_string();
    let zeros = |len: usize| json!(vec![0; len]).to_string();
    for (json, head) in [
        ("null".to_owned(), b"\xc0".as_slice()),
        ("true".to_owned(), b"\xc3"),
        ("false".to_owned(), b"\xc2"),
        ("0".to_owned(), b"\x00"),
        ("127".to_owned(), b"\x7f"),
        ("128".to_owned(), b"\xcc\x80"),
        ("255".to_owned(), b"\xcc\xff"),
        ("256".to_owned(), b"\xcd\x01\x00"),
        ("65535".to_owned(), b"\xcd\xff\xff"),
        ("65536".to_owned(), b"\xce\x00\x01\x00\x00"),
        ("4294967295".to_owned(), b"\xce\xff\xff\xff\xff"),
        ("4294967296".to_owned(), b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00"),
        ("18446744073709551615".to_owned(), b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("-1".to_owned(), b"\xff"),
        ("-32".to_owned(), b"\xe0"),
        ("-33".to_owned(), b"\xd0\xdf"),
        ("-128".to_owned(), b"\xd0\x80"),
        ("-129".to_owned(), b"\xd1\xff\x7f"),
        ("-32768".to_owned(), b"\xd1\x80\x00"),
        ("-32769".to_owned(), b"\xd2\xff\xff\x7f\xff"),
        ("-2147483648".to_owned(), b"\xd2\x80\x00\x00\x00"),
        ("-2147483649".to_owned(), b"\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"),
        ("-9223372036854775808".to_owned(), b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00"),
        ("1.5".to_owned(), b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"),
        (r#""""#.to_owned(), b"\xa0"),
        (text(31), b"\xbfxxx"),
        (text(32), b"\xd9\x20xxx"),
        (text(255), b"\xd9\xffxxx"),
        (text(256), b"\xda\x01\x00xxx"),
        (text(65536), b"\xdb\x00\x01\x00\x00xxx"),
        (r#""é😀\n""#.to_owned(), b"\xa7\xc3\xa9\xf0\x9f\x98\x80\n"),
        ("[]".to_owned(), b"\x90"),
        (zeros(15), b"\x9f\x00\x00"),
        (zeros(16), b"\xdc\x00\x10\x00\x00"),
        (zeros(65536), b"\xdd\x00\x01\x00\x00\x00\x00"),
        ("{}".to_owned(), b"\x80"),
        (r#"{"a":1,"b":[{}]}"#.to_owned(), b"\x82\xa1a\x01\xa1b\x91\x80"),
    ] {
        let bytes = written(&json);
        assert!(
            bytes.starts_with(head),
            "writing {}: {:02x?}",
            &json[..20.min(json.len())],
            &bytes[..10.min(bytes.len())]
        );
        assert_eq!(read(&bytes), Ok((json, vec![])));
    }
    let members: Vec<_> = (0..16).map(|key| (key.to_string(), Value::Null)).collect();
    let mut bytes = Vec::new();
    Value::Object(members.clone()).write_msgpack(&mut bytes);
    assert!(bytes.starts_with(b"\xde\x00\x10\xa10\xc0\xa11"), "{bytes:02x?}");
    assert_eq!(Value::read_msgpack(&bytes), Ok((Value::Object(members), bytes.len())));
}

#[test]
fn numbers_are_written_as_notepack_writes_them() {
    for (json, bytes) in [
        ("1.0", b"\x01".as_slice()),
        ("-0", b"\x00"),
        ("-0.0", b"\x00"),
        ("-1e2", b"\xd0\x9c"),
        ("9007199254740992.0", b"\xcf\x00\x20\x00\x00\x00\x00\x00\x00"),
        ("1e20", b"\xcb\x44\x15\xaf\x1d\x78\xb5\x8c\x40"),
        ("18446744073709551616", b"\xcb\x43\xf0\x00\x00\x00\x00\x00\x00"),
        ("5e-324", b"\xcb\x00\x00\x00\x00\x00\x00\x00\x01"),
        ("1e999", b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"),
    ] {
        assert_eq!(written(json), bytes, "{json}");
    }
}

#[test]
fn binary_is_bin_both_ways() {
    for (len, head) in
        [(0, b"\xc4\x00".as_slice()), (255, b"\xc4\xff"), (256, b"\xc5\x01\x00"), (65536, b"\xc6\x00\x01\x00\x00")]
    {
        let bytes = Bytes::from(vec![7; len]);
        let mut out = Vec::new();
        Value::Binary(bytes.clone()).write_msgpack(&mut out);
        assert!(out.starts_with(head) && out.len() == head.len() + len);
        assert_eq!(Args::new_single(&bytes).unwrap().to_msgpack(), out);
        assert_eq!(read(&out), Ok((r#"{"_placeholder":true,"num":0}"#.to_owned(), vec![bytes])));
    }
    // By number, in whatever order.
    let args = Args::from_json(
        r#"["x",{"_placeholder":true,"num":1},{"num":0,"_placeholder":true}]"#,
        vec![Bytes::from_static(b"zero"), Bytes::from_static(b"one")],
    )
    .unwrap();
    assert_eq!(args.to_msgpack(), b"\x93\xa1x\xc4\x03one\xc4\x04zero");
    assert_eq!(args.into_event().unwrap().without_name().to_msgpack(), b"\x92\xc4\x03one\xc4\x04zero");
}

#[test]
fn what_notepack_writes_for_dates_and_undefined_is_understood() {
    for (bytes, json) in [
        // notepack 2
        (b"\xd7\x00\x00\x00\x01\x8c\xc8\x20\xdb\x2e".as_slice(), r#""2024-01-02T03:04:05.678Z""#),
        (b"\xd7\x00\xff\xff\xff\xff\xff\xff\xfa\x24", r#""1969-12-31T23:59:58.500Z""#),
        (b"\xd7\x00\x80\x00\x00\x00\x00\x00\x00\x00", "null"),
        (b"\xd4\x00\x00", "null"),
        (b"\x92\xd4\x00\x00\x01", "[null,1]"),
        (b"\x83\xa1a\xd4\x00\x00\xa1b\x01\xa1c\xd4\x00\x00", r#"{"b":1}"#),
        (b"\x82\xa1a\x01\xa1b\xd4\x00\x00", r#"{"a":1}"#),
        (b"\x81\xa1a\xd4\x00\x00", "{}"),
        // notepack 3 and @msgpack/msgpack
        (b"\xd6\xff\x65\x93\x7d\x25", r#""2024-01-02T03:04:05.000Z""#),
        (b"\xd6\xff\xff\xff\xff\xff", r#""2106-02-07T06:28:15.000Z""#),
        (b"\xd7\xff\xa1\xa5\xd6\x00\x65\x93\x7d\x25", r#""2024-01-02T03:04:05.678Z""#),
        (b"\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff", r#""2514-05-30T01:53:04.073Z""#),
        (b"\xc7\x0c\xff\x1d\xcd\x65\x00\xff\xff\xff\xff\xff\xff\xff\xfe", r#""1969-12-31T23:59:58.500Z""#),
        (b"\xc7\x0c\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", r#""1970-01-01T00:00:00.000Z""#),
        (b"\xc7\x0c\xff\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", "null"),
        // NaN, infinity, and a float of 32 bits
        (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "null"),
        (b"\xcb\xff\xf0\x00\x00\x00\x00\x00\x00", "null"),
        (b"\xca\x3f\xc0\x00\x00", "1.5"),
        // Text that is not UTF-8
        (b"\xa3a\xff\xc3", "\"a\u{fffd}\u{fffd}\""),
        // Keys that are not text
        (b"\x84\x01\x02\xff\x03\xc0\x04\xc3\x05", r#"{"1":2,"-1":3,"null":4,"true":5}"#),
        (b"\x81\xd6\xff\x00\x00\x00\x00\x01", r#"{"1970-01-01T00:00:00.000Z":1}"#),
        (b"\x81\xc4\x01k\x01", r#"{"k":1}"#),
    ] {
        assert_eq!(read(bytes), Ok((json.to_owned(), vec![])), "{bytes:02x?}");
    }
}

#[test]
fn what_notepack_writes_for_typed_arrays_is_binary() {
    let placeholder = r#"{"_placeholder":true,"num":0}"#;
    for (bytes, content) in [
        (b"\xc7\x03\x00\x01\x02\x03".as_slice(), b"\x01\x02\x03".as_slice()),
        (b"\xc7\x01\x00\x07", b"\x07"),
        (b"\xc7\x08\x00\x00\x01\x02\x03\x04\x05\x06\x07", b"\x00\x01\x02\x03\x04\x05\x06\x07"),
        (b"\xc7\x00\x00", b""),
        (b"\xc8\x00\x02\x00\x01\x02", b"\x01\x02"),
        (b"\xc9\x00\x00\x00\x02\x00\x01\x02", b"\x01\x02"),
        (b"\xc7\x02\x02\x01\x02", b"\x01\x02"),
        (b"\xd5\x02\x01\x02", b"\x01\x02"),
    ] {
        assert_eq!(read(bytes), Ok((placeholder.to_owned(), vec![Bytes::copy_from_slice(content)])), "{bytes:02x?}");
    }
    // An extension nobody knows is what notepack makes of it: its number and its content.
    assert_eq!(read(b"\xd4\x2a\x01"), Ok((format!("[42,{placeholder}]"), vec![Bytes::from_static(b"\x01")])));
}

#[test]
fn dates_are_written_as_javascript_writes_them() {
    for (millis, text) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
        (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
        (-62_167_219_200_001, "-000001-12-31T23:59:59.999Z"),
        (253_402_300_800_000, "+010000-01-01T00:00:00.000Z"),
        (8_640_000_000_000_000, "+275760-09-13T00:00:00.000Z"),
        (-8_640_000_000_000_000, "-271821-04-20T00:00:00.000Z"),
    ] {
        assert_eq!(iso_8601(millis).as_deref(), Some(text));
    }
    for millis in [8_640_000_000_000_001, -8_640_000_000_000_001, i64::MIN, i64::MAX] {
        assert_eq!(iso_8601(millis), None);
    }
}

#[test]
fn hostile_messages_are_refused_without_reserving_memory() {
    let nested = |levels: usize, open: &[u8]| [open.repeat(levels), vec![0xc0]].concat();
    assert!(read(&nested(128, b"\x91")).is_ok());
    assert_eq!(read(&nested(129, b"\x91")), Err(MsgpackError::TooDeep));
    assert_eq!(read(&nested(129, b"\x81\xa1a")), Err(MsgpackError::TooDeep));
    assert_eq!(read(&nested(200_000, b"\x91")), Err(MsgpackError::TooDeep));
    assert_eq!(read(&nested(200_000, b"\x81")), Err(MsgpackError::KeyNotText));
    for (bytes, error) in [
        (b"".as_slice(), MsgpackError::Truncated),
        (b"\xdd\xff\xff\xff\xff", MsgpackError::Truncated),
        (b"\xdf\xff\xff\xff\xff\xa1a\x01", MsgpackError::Truncated),
        (b"\xdb\xff\xff\xff\xffabc", MsgpackError::Truncated),
        (b"\xc6\xff\xff\xff\xffabc", MsgpackError::Truncated),
        (b"\xc9\xff\xff\xff\xff\x00abc", MsgpackError::Truncated),
        (b"\xc9\xff\xff\xff\xff", MsgpackError::Truncated),
        (b"\xa5abc", MsgpackError::Truncated),
        (b"\xcf\x00\x00", MsgpackError::Truncated),
        (b"\xcb\x00\x00", MsgpackError::Truncated),
        (b"\x92\x01", MsgpackError::Truncated),
        (b"\x81\xa1a", MsgpackError::Truncated),
        (b"\x81\xa1a\xd4\x00", MsgpackError::Truncated),
        (b"\xc1", MsgpackError::UnknownType { byte: 0xc1 }),
        (b"\x01\x02\x03", MsgpackError::Trailing { bytes: 2 }),
        (b"\x81\x90\x01", MsgpackError::KeyNotText),
        (b"\x81\xc7\x01\x02a\x01", MsgpackError::KeyNotText),
        (b"\x81\xd4\x2a\x01\x01", MsgpackError::KeyNotText),
        (b"\x92\xc4\x00\x81\xac_placeholder\xc3", MsgpackError::PlaceholderLookalike),
        (b"\x92\x81\xc4\x0c_placeholder\xc3\xc4\x00", MsgpackError::PlaceholderLookalike),
    ] {
        assert_eq!(read(bytes), Err(error), "{bytes:02x?}");
    }
    // Without binary it is a map like any other.
    assert_eq!(read(b"\x81\xac_placeholder\xc3"), Ok((r#"{"_placeholder":true}"#.to_owned(), vec![])));
}

#[test]
fn one_value_is_read_from_the_front() {
    let (args, read) = Args::read_msgpack(b"\x92\xa1x\x01rest").unwrap();
    assert_eq!((args.into_event().unwrap().to::<u8>(), read), (Ok(1), 4));
    assert_eq!(Value::read_msgpack(b"\xc4\x01arest"), Ok((Value::Binary(Bytes::from_static(b"a")), 3)));
    assert_eq!(Args::none().to_msgpack(), b"\xc0");
}

/// Each MessagePack message in `tests/vectors`, against what it says about its content.
#[test]
fn every_captured_message_is_understood_and_written_back_alike() {
    let (mut messages, mut written_back) = (0, 0);
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let file: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for vector in file["vectors"].as_array().unwrap() {
            let (Some(hex), Some("msgpack")) = (vector["payload_hex"].as_str(), vector["encoding"].as_str()) else {
                continue;
            };
            let (bytes, name) = (unhex(hex), format!("{} in {}", vector["name"], path.display()));
            // Numbers above 2^64 have lost their value on the way out, and with it the shortest form.
            let mut lossless = vector["name"] != "emit/ints-above-u64" && vector["name"] != "emit/floats";
            let expected = content(&vector["decoded"], &mut lossless).unwrap();
            let (value, read) = Value::read_msgpack(&bytes).unwrap();
            assert_eq!((sorted(value), read), (sorted(expected), bytes.len()), "{name}");
            messages += 1;
            if lossless {
                assert_eq!(Args::from_msgpack(&bytes).unwrap().to_msgpack(), bytes, "{name}");
                let mut out = Vec::new();
                Value::read_msgpack(&bytes).unwrap().0.write_msgpack(&mut out);
                assert_eq!(out, bytes, "{name}");
                written_back += 1;
            }
        }
    }
    assert!(messages > 700 && written_back > 500, "{messages} messages, {written_back} written back");
}

fn unhex(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// What a client sees of the content as the vectors note it; `None` for undefined.
fn content(noted: &serde_json::Value, lossless: &mut bool) -> Option<Value> {
    Some(match noted {
        serde_json::Value::Array(values) => {
            Value::Array(values.iter().map(|value| content(value, lossless).unwrap_or_default()).collect())
        }
        serde_json::Value::Object(map) => {
            let text = |key: &str| map.get(key).and_then(|value| value.as_str());
            if let Some(hex) = text("$bin") {
                return Some(Value::Binary(unhex(hex).into()));
            }
            if let Some(digits) = text("$int") {
                return Some(Value::Number(digits.parse().unwrap()));
            }
            if let Some(number) = map.get("$f64") {
                *lossless &= number.is_number();
                return Some(Value::from(number.as_f64().unwrap_or(f64::NAN)));
            }
            if let Some(extension) = map.get("$ext") {
                *lossless = false;
                return match text("$date") {
                    Some(date) => Some(Value::from(date)),
                    None if map.contains_key("$undefined") => None,
                    None => Some(Value::Binary(unhex(extension[1].as_str().unwrap()).into())),
                };
            }
            let members = map.iter().filter_map(|(key, value)| Some((key.clone(), content(value, lossless)?)));
            Value::Object(members.collect())
        }
        plain => Value::from(plain.clone()),
    })
}

/// The notes as serde_json reads them have lost the order of keys. It is looked at when a message is written back.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        Value::Object(mut members) => {
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            Value::Object(members.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        plain => plain,
    }
}
