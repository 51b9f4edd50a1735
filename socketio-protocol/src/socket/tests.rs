//! Random values there and back, random bytes into everything that reads, and serde_json as the judge of our JSON.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// Values as a user may build them, with odd text, numbers at the edges and binary.
fn value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-40_i64..300).prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no NaN", |number| number.is_finite()).prop_map(Value::from),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number,
        text().prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| Value::Binary(bytes.into())),
    ];
    leaf.prop_recursive(6, 40, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::Array),
            prop::collection::vec((text(), inner), 0..20).prop_map(Value::Object),
        ]
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{0,12}", "[ -~\u{0}-\u{1f}\"\\\\\u{2028}é😀]{0,40}", "[a-z]{250,300}"]
}

/// Text that is JSON, or nearly.
fn json_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just(",".to_owned()),
        Just(":".to_owned()),
        Just("\"".to_owned()),
        Just("\"a\"".to_owned()),
        Just("\"a\":".to_owned()),
        Just("[\"x\",".to_owned()),
        Just("{\"_placeholder\":true,\"num\":0}".to_owned()),
        "[-+0-9.eE]{1,5}",
        Just("null".to_owned()),
        Just("true".to_owned()),
        "[ \n\t\r]",
        "\"(\\\\[\"\\\\/bfnrtu0]|\\\\u[0-9a-fD]{4}|[a-z€😀]){0,6}\"",
        "\\PC",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// The value with whole floats as integers, as MessagePack carries them, and `-0.0` as 0.
fn whole(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().unwrap_or_default();
            if float.fract() == 0.0 && float.abs() < 9_223_372_036_854_775_808.0 {
                Value::from(float as i64)
            } else {
                Value::Number(number)
            }
        }
        Value::Array(values) => Value::Array(values.into_iter().map(whole).collect()),
        Value::Object(members) => Value::Object(members.into_iter().map(|(key, value)| (key, whole(value))).collect()),
        plain => plain,
    }
}

/// Reads whatever came in every way, for nothing but the absence of panics.
fn use_up(packet: &Packet) {
    let args = &packet.data;
    let values = args.to_values().expect("what a decoder lets through can be read");
    let _ = (args.event(), args.to::<(String, Option<u8>, Bytes)>(), args.to::<serde_json::Value>(), args.first());
    let _ = args.value::<Value>();
    let mut text = Vec::new();
    if let Ok(attachments) = encode_packet(&mut text, packet) {
        let mut decoder = Decoder::new(Limits { max_attachments: usize::MAX, ..Limits::default() });
        let mut again = decoder.text(String::from_utf8(text).unwrap().into()).expect("we read what we write");
        for attachment in attachments {
            again = decoder.binary(attachment).expect("we read what we write");
        }
        assert_eq!(again.expect("all attachments are there").data.to_values(), Ok(values));
    }
    if packet.kind == Kind::Event || packet.kind == Kind::Ack {
        let again = Args::from_msgpack(&args.to_msgpack());
        assert!(again.is_ok(), "{again:?} for {args:?}");
    }
}

proptest! {
    #[test]
    fn an_event_in_messagepack_needs_no_json_in_between(values in prop::collection::vec(value(), 0..3)) {
        for args in [Value::Array(values.clone()), Value::from(vec![values])] {
            let expected = Args::new_event("event", &args).map(|args| args.to_msgpack());
            let mut written = Vec::new();
            prop_assert_eq!(write_event("event", &args, &mut written).map(|()| written), expected);
        }
    }

    #[test]
    fn values_go_through_text_unchanged(values in prop::collection::vec(value(), 0..4), name in text()) {
        prop_assume!(!is_reserved(&name));
        let args = Args::from_values(&values).unwrap();
        let mut text = Vec::new();
        let attachments = encode_event(&mut text, "/admin", Some(7), &name, &args).unwrap();
        let mut decoder = Decoder::new(Limits { max_attachments: 100_000, max_bytes: usize::MAX, max_args: usize::MAX });
        let mut packet = decoder.text(String::from_utf8(text).unwrap().into()).unwrap();
        for attachment in attachments {
            packet = decoder.binary(attachment).unwrap();
        }
        let packet = packet.unwrap();
        prop_assert_eq!(packet.data.event(), Some(name.into()));
        prop_assert_eq!(packet.data.to_values().unwrap(), values.clone());
        // The same by way of serde.
        if let Some(first) = values.first() {
            prop_assert_eq!(&packet.data.to::<Value>().unwrap(), first);
        }
    }

    #[test]
    fn values_go_through_messagepack_unchanged(value in value()) {
        let mut direct = Vec::new();
        value.write_msgpack(&mut direct);
        prop_assert_eq!(&Args::new_single(&value).unwrap().to_msgpack(), &direct);
        let (read, len) = Value::read_msgpack(&direct).unwrap();
        prop_assert_eq!((whole(read), len), (whole(value), direct.len()));
        // All of it is needed.
        for len in 0..direct.len().min(50) {
            prop_assert!(Args::from_msgpack(&direct[..len]).is_err());
        }
    }

    #[test]
    fn serde_json_agrees_about_what_we_write(value in value()) {
        let args = Args::new_single(&value).unwrap();
        let (json, _) = args.to_json();
        prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{}", json);
        if args.attachments().is_empty() {
            prop_assert_eq!(json.as_ref() as &str, serde_json::to_string(&value).unwrap());
        }
    }

    #[test]
    fn serde_json_agrees_about_what_is_json(text in json_like()) {
        // `IgnoredAny` accepts what JSON.parse accepts, `Value` refuses halves of surrogate pairs and 1e999.
        let judge = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        prop_assert_eq!(Args::from_json(text.as_str(), vec![]).is_ok(), judge, "{}", text);
        if let (Ok(args), Ok(value)) =
            (Args::from_json(text.as_str(), vec![]), serde_json::from_str::<serde_json::Value>(&text))
        {
            prop_assert_eq!(args.value::<serde_json::Value>().unwrap(), Some(value));
        }
    }

    #[test]
    fn strings_are_scanned_alike_at_every_length(long in "[a-zé]{0,200}", end in "[a-z\"\\\\\u{0}\u{1f}\u{7f}é]{0,40}") {
        let text = long + &end;
        let plain = text.bytes().take_while(|&byte| byte >= 0x20 && byte != b'"' && byte != b'\\').count();
        prop_assert_eq!(json::plain_run(text.as_bytes()), plain);
    }

    #[test]
    fn no_text_makes_the_decoder_panic(
        head in "[0-7]([0-9]{1,2}-)?(/[a-z?=]{0,5},?)?[0-9]{0,21}",
        json in json_like(),
        attachments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..4),
    ) {
        let mut decoder = Decoder::new(Limits { max_attachments: 3, max_bytes: 1_000, ..Limits::default() });
        let mut result = decoder.text((head + &json).into());
        for attachment in attachments {
            if let Ok(None) = result {
                result = decoder.binary(attachment.into());
            }
        }
        if let Ok(Some(packet)) = result {
            use_up(&packet);
        }
    }

    #[test]
    fn no_characters_make_the_decoder_panic(text in "\\PC{0,30}") {
        if let Ok(Some(packet)) = Decoder::new(Limits::default()).text(text.into()) {
            use_up(&packet);
        }
    }

    #[test]
    fn no_bytes_make_the_messagepack_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok((args, read)) = Args::read_msgpack(&bytes) {
            prop_assert!(read <= bytes.len());
            let values = args.to_values().unwrap();
            prop_assert_eq!(Args::from_msgpack(&args.to_msgpack()).unwrap().to_values().unwrap().len(), values.len());
        }
    }

    #[test]
    fn no_messagepack_makes_the_parser_panic(
        value in value(),
        kind in 0..6_u64,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut bytes = Vec::new();
        Value::Object(vec![
            ("type".to_owned(), kind.into()),
            ("data".to_owned(), Value::Array(vec!["x".into(), value])),
            ("nsp".to_owned(), "/".into()),
        ])
        .write_msgpack(&mut bytes);
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(packet) = msgpack::decode(&bytes, Limits::default()) {
            use_up(&packet);
        }
    }
}
