//! One table both ways, one of what is refused, and the coming together of texts and attachments.

use serde_json::json;

use super::super::Value;
use super::*;

fn json(text: &str) -> Args {
    Args::from_json(text, vec![]).unwrap()
}

fn event(text: &str) -> Args {
    json(text).into_event().unwrap()
}

fn packet(kind: Kind, nsp: &'static str, id: Option<u64>, data: Args) -> Packet {
    Packet { kind, nsp: ByteString::from_static(nsp), id, data }
}

/// Reads a text with limits of 10 attachments and 1,000 bytes.
fn decode(text: &str) -> Result<Option<Packet>, DecodeError> {
    Decoder::new(Limits { max_bytes: 1_000, ..Limits::default() }).text(text.to_owned().into())
}

#[test]
fn every_packet_reads_and_writes_the_same_text() {
    for (text, packet) in [
        // Handshakes of both sides.
        ("0", packet(Kind::Connect, "/", None, Args::none())),
        (r#"0{"token":"x"}"#, packet(Kind::Connect, "/", None, json(r#"{"token":"x"}"#))),
        (r#"0{"sid":"wZX3"}"#, packet(Kind::Connect, "/", None, json(r#"{"sid":"wZX3"}"#))),
        (r#"0{"pid":"p","offset":"o"}"#, packet(Kind::Connect, "/", None, json(r#"{"pid":"p","offset":"o"}"#))),
        ("0/admin,", packet(Kind::Connect, "/admin", None, Args::none())),
        (r#"0/admin,{"a":1}"#, packet(Kind::Connect, "/admin", None, json(r#"{"a":1}"#))),
        ("0/admin?tok=1,", packet(Kind::Connect, "/admin?tok=1", None, Args::none())),
        (
            r#"4{"message":"Not authorized","data":{"code":1}}"#,
            packet(Kind::ConnectError, "/", None, json(r#"{"message":"Not authorized","data":{"code":1}}"#)),
        ),
        (
            r#"4/admin,{"message":"Invalid namespace"}"#,
            packet(Kind::ConnectError, "/admin", None, json(r#"{"message":"Invalid namespace"}"#)),
        ),
        (r#"4/deny,"msg""#, packet(Kind::ConnectError, "/deny", None, json(r#""msg""#))),
        ("1", packet(Kind::Disconnect, "/", None, Args::none())),
        ("1/admin,", packet(Kind::Disconnect, "/admin", None, Args::none())),
        // Events and acks.
        (r#"2["foo",1]"#, packet(Kind::Event, "/", None, event(r#"["foo",1]"#))),
        (r#"2/admin,["bar"]"#, packet(Kind::Event, "/admin", None, event(r#"["bar"]"#))),
        (r#"212["foo"]"#, packet(Kind::Event, "/", Some(12), event(r#"["foo"]"#))),
        (r#"2/admin,13["foo"]"#, packet(Kind::Event, "/admin", Some(13), event(r#"["foo"]"#))),
        (r#"20["foo"]"#, packet(Kind::Event, "/", Some(0), event(r#"["foo"]"#))),
        (r#"218446744073709551615["a"]"#, packet(Kind::Event, "/", Some(u64::MAX), event(r#"["a"]"#))),
        (r#"2[1,2]"#, packet(Kind::Event, "/", None, event("[1,2]"))),
        (r#"312["bar"]"#, packet(Kind::Ack, "/", Some(12), json(r#"["bar"]"#))),
        ("3/admin,13[]", packet(Kind::Ack, "/admin", Some(13), json("[]"))),
        ("2[\"\u{2028}é😀\"]", packet(Kind::Event, "/", None, event("[\"\u{2028}é😀\"]"))),
        // Accepted without data, as the stock decoder does.
        ("2", packet(Kind::Event, "/", None, Args::none())),
        ("212", packet(Kind::Event, "/", Some(12), Args::none())),
        ("3", packet(Kind::Ack, "/", None, Args::none())),
        ("31", packet(Kind::Ack, "/", Some(1), Args::none())),
        ("4", packet(Kind::ConnectError, "/", None, Args::none())),
        ("2/a,", packet(Kind::Event, "/a", None, Args::none())),
        ("2/a,1", packet(Kind::Event, "/a", Some(1), Args::none())),
    ] {
        assert_eq!(decode(text), Ok(Some(packet.clone())), "reading {text}");
        let mut out = b"..".to_vec();
        assert_eq!(encode_packet(&mut out, &packet), Ok(Attachments::new()));
        assert_eq!(String::from_utf8(out).unwrap(), format!("..{text}"), "writing {packet:?}");
    }
}

#[test]
fn some_packets_have_several_texts() {
    for (text, same) in
        [("0/admin", "0/admin,"), ("1/admin", "1/admin,"), ("2/a", "2/a,"), ("0/,", "0"), ("2[\"a\"] \n", r#"2["a"]"#)]
    {
        assert_eq!(decode(text), decode(same), "{text}");
        assert!(matches!(decode(text), Ok(Some(_))), "{text}");
    }
    assert_eq!(decode(r#"2[ "a" , 1 ]"#).unwrap().unwrap().data.event().as_deref(), Some("a"));
}

#[test]
fn text_that_is_no_packet_is_refused() {
    let invalid = |at| DecodeError::InvalidJson { at };
    let wrong = |kind| DecodeError::WrongPayload { kind };
    for (text, error) in [
        ("", DecodeError::Empty),
        ("7", DecodeError::UnknownType { found: '7' }),
        ("a", DecodeError::UnknownType { found: 'a' }),
        ("€", DecodeError::UnknownType { found: '€' }),
        (r#"["a"]"#, DecodeError::UnknownType { found: '[' }),
        // Payloads of the wrong shape.
        ("2{}", wrong(Kind::Event)),
        (r#"2"a""#, wrong(Kind::Event)),
        ("2[]", DecodeError::NotAnEvent),
        ("2[null]", DecodeError::NotAnEvent),
        ("2[{}]", DecodeError::NotAnEvent),
        (r#"2[["a"]]"#, DecodeError::NotAnEvent),
        ("2[true]", DecodeError::NotAnEvent),
        ("2[1e999]", DecodeError::NotAnEvent),
        ("2[-1e999,1]", DecodeError::NotAnEvent),
        ("3{}", wrong(Kind::Ack)),
        (r#"31"a""#, wrong(Kind::Ack)),
        ("4[1]", wrong(Kind::ConnectError)),
        ("0[]", wrong(Kind::Connect)),
        (r#"0"x""#, wrong(Kind::Connect)),
        ("0/a,b", wrong(Kind::Connect)),
        ("1{}", wrong(Kind::Disconnect)),
        ("1/admin,{}", wrong(Kind::Disconnect)),
        ("2null", wrong(Kind::Event)),
        (r#"2-1["a"]"#, wrong(Kind::Event)),
        ("2admin", wrong(Kind::Event)),
        // Not JSON.
        (r#"2["a"]x"#, invalid(5)),
        (r#"2["a""#, invalid(4)),
        (r#"2["a",]"#, invalid(5)),
        (r#"2["a" 1]"#, invalid(5)),
        (r#"2["a",01]"#, invalid(6)),
        (r#"2["a",.5]"#, invalid(5)),
        (r#"2["a",1.]"#, invalid(7)),
        (r#"2["a",+1]"#, invalid(5)),
        (r#"2["a",NaN]"#, invalid(5)),
        (r#"2["a",nul]"#, invalid(5)),
        (r#"2["a",'b']"#, invalid(5)),
        (r#"2["a",{b:1}]"#, invalid(6)),
        (r#"2["a",{"b"}]"#, invalid(9)),
        (r#"2["a",{"b":1,}]"#, invalid(12)),
        (r#"2["a",[1}]"#, invalid(7)),
        (r#"2["\x"]"#, invalid(2)),
        (r#"2["\u12g4"]"#, invalid(2)),
        ("2[\"a\nb\"]", invalid(3)),
        ("2[\"a\",\u{a0}1]", invalid(5)),
        ("2[", invalid(1)),
        (r#"0{"a":1"#, invalid(6)),
        // Reserved names, however they are spelled.
        (r#"2["connect"]"#, DecodeError::ReservedEvent { event: "connect".to_owned() }),
        (r#"2["disconnecting",1]"#, DecodeError::ReservedEvent { event: "disconnecting".to_owned() }),
        (r#"2["\u0064isconnect"]"#, DecodeError::ReservedEvent { event: "disconnect".to_owned() }),
        (
            r#"51-["newListener",{"_placeholder":true,"num":0}]"#,
            DecodeError::ReservedEvent { event: "newListener".to_owned() },
        ),
        // Attachments.
        ("5", DecodeError::IllegalAttachments),
        ("50-", DecodeError::IllegalAttachments),
        (r#"50-["a"]"#, DecodeError::IllegalAttachments),
        (r#"5["a"]"#, DecodeError::IllegalAttachments),
        ("51-", wrong(Kind::Event)),
        ("62-/a,7", wrong(Kind::Ack)),
        (r#"5-["a"]"#, DecodeError::IllegalAttachments),
        (r#"5-1-["a"]"#, DecodeError::IllegalAttachments),
        ("51", DecodeError::IllegalAttachments),
        ("511-", DecodeError::TooManyAttachments { announced: 11, max: 10 }),
        (r#"510000000-["a"]"#, DecodeError::TooManyAttachments { announced: 10_000_000, max: 10 }),
        (r#"599999999999999999999999-["a"]"#, DecodeError::TooManyAttachments { announced: usize::MAX, max: 10 }),
        // Ack ids.
        (r#"218446744073709551616["a"]"#, DecodeError::InvalidId),
        (r#"2007["a"]"#, DecodeError::InvalidId),
    ] {
        assert_eq!(decode(text), Err(error), "{text}");
    }
}

/// What the stock decoder takes because JavaScript turns one thing into another, and this one refuses.
#[test]
fn coercions_of_javascript_are_refused() {
    for (text, stock) in [
        (r#"2 ["a"]"#, "ack id 0"),
        (" ", "CONNECT"),
        ("51e1-", "10 attachments"),
        (r#"501-["a"]"#, "1 attachment"),
        (r#"5 1-["a"]"#, "1 attachment"),
        (r#"2007["a"]"#, "ack id 7"),
        (r#"299999999999999999999["a"]"#, "ack id 1e20"),
        (r#"2/a, ["a"]"#, "ack id 0"),
        ("2[1e999]", "the event Infinity"),
        // Not coerced, but more than an encoder ever writes: see `check_placeholders`.
        (r#"51-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#, "one attachment twice"),
        (r#"51-["a",{"_placeholder":true,"num":0,"more":1}]"#, "the attachment"),
        ("51-", "an event without a name, and an attachment that is lost"),
    ] {
        assert!(decode(text).is_err(), "{text}: the stock decoder sees {stock}");
    }
}

#[test]
fn attachments_are_found_by_number() {
    let text = r#"53-/admin,7["x",{"_placeholder":true,"num":2},{"a":[{"num":0,"_placeholder":true}]},1]"#;
    let mut decoder = Decoder::new(Limits::default());
    assert_eq!(decoder.text(text.into()), Ok(None));
    assert!(decoder.waiting());
    assert_eq!(decoder.binary(Bytes::from_static(b"zero")), Ok(None));
    assert_eq!(decoder.binary(Bytes::new()), Ok(None));
    let packet = decoder.binary(Bytes::from_static(b"two")).unwrap().unwrap();
    assert!(!decoder.waiting());
    assert_eq!((packet.kind, packet.nsp.as_ref(), packet.id), (Kind::Event, "/admin", Some(7)));
    let binary = |text: &'static str| Value::Binary(Bytes::from_static(text.as_bytes()));
    let object = Value::Object(vec![("a".to_owned(), Value::Array(vec![binary("zero")]))]);
    assert_eq!(packet.data.to_values(), Ok(vec![binary("two"), object, Value::from(1)]));

    // The one that has no placeholder goes on as well.
    let mut out = Vec::new();
    let attachments = encode_packet(&mut out, &packet).unwrap();
    assert_eq!((String::from_utf8(out).unwrap().as_str(), attachments.len()), (text, 3));
    // And the decoder is ready for more.
    assert!(decoder.text(r#"2["y"]"#.into()).unwrap().is_some());
}

#[test]
fn placeholders_that_name_no_attachment_are_refused() {
    for (json, error) in [
        (r#"{"_placeholder":true,"num":1}"#, DecodeError::IllegalPlaceholder),
        (r#"{"_placeholder":true,"num":-1}"#, DecodeError::IllegalPlaceholder),
        (r#"{"_placeholder":true,"num":0.5}"#, DecodeError::IllegalPlaceholder),
        (r#"{"_placeholder":true,"num":1e99}"#, DecodeError::IllegalPlaceholder),
        (r#"{"_placeholder":true,"num":99999999999999999999999}"#, DecodeError::IllegalPlaceholder),
        (r#"{"_placeholder":true,"num":"0"}"#, DecodeError::IllegalPlaceholder),
        (r#"{"_placeholder":true,"num":"splice"}"#, DecodeError::IllegalPlaceholder),
        (r#"{"_placeholder":true,"num":"__proto__"}"#, DecodeError::IllegalPlaceholder),
        (r#"{"_placeholder":true,"num":null}"#, DecodeError::IllegalPlaceholder),
        (r#"{"_placeholder":true}"#, DecodeError::IllegalPlaceholder),
        (r#"{"_placeholder":true,"num":0,"num":0}"#, DecodeError::IllegalPlaceholder),
        (r#"{"a":1,"_placeholder":true,"num":0}"#, DecodeError::IllegalPlaceholder),
        (r#"{"\u005fplaceholder":true,"num":7}"#, DecodeError::IllegalPlaceholder),
        (r#"{"a":[[{"_placeholder":true,"num":7}]]}"#, DecodeError::IllegalPlaceholder),
        (
            r#"[{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#,
            DecodeError::RepeatedPlaceholder { num: 0 },
        ),
    ] {
        assert_eq!(decode(&format!(r#"51-["x",{json}]"#)), Err(error), "{json}");
        // In a text packet it is an object like any other.
        assert!(matches!(decode(&format!(r#"2["x",{json}]"#)), Ok(Some(_))), "{json}");
    }
    for json in [
        r#"{"\u005fplaceholder":true,"num":0}"#,
        r#"{ "num" : 0 , "_placeholder" : true }"#,
        r#"{"_placeholder":false,"num":7}"#,
        r#"{"_placeholder":"true"}"#,
        r#""_placeholder""#,
    ] {
        assert_eq!(decode(&format!(r#"51-["x",{json}]"#)), Ok(None), "{json}");
    }
}

#[test]
fn texts_and_attachments_out_of_turn_are_refused() {
    let mut decoder = Decoder::new(Limits::default());
    assert_eq!(decoder.binary(Bytes::new()), Err(DecodeError::UnexpectedBinary));
    assert_eq!(decoder.text(r#"62-1[{"_placeholder":true,"num":0}]"#.into()), Ok(None));
    assert_eq!(decoder.binary(Bytes::new()), Ok(None));
    assert_eq!(decoder.text(r#"2["a"]"#.into()), Err(DecodeError::TextInsteadOfAttachment { missing: 1 }));
}

#[test]
fn text_and_attachments_share_one_limit_of_bytes() {
    let too_large = DecodeError::TooLarge { max: 60 };
    let text = r#"52-["x",{"_placeholder":true,"num":0}]"#; // 38 bytes
    let limits = Limits { max_bytes: 60, ..Limits::default() };
    let mut decoder = Decoder::new(limits);
    assert_eq!(decoder.text(text.into()), Ok(None));
    assert_eq!(decoder.binary(vec![0; 11].into()), Ok(None));
    assert_eq!(decoder.binary(vec![0; 12].into()), Err(too_large.clone()));
    let mut decoder = Decoder::new(limits);
    assert_eq!(decoder.text(text.into()), Ok(None));
    assert_eq!(decoder.binary(vec![0; 23].into()), Err(too_large.clone()));
    let mut decoder = Decoder::new(limits);
    assert_eq!(decoder.text(format!(r#"2["{}"]"#, "x".repeat(56)).into()), Err(too_large));
    assert!(decoder.text(format!(r#"2["{}"]"#, "x".repeat(55)).into()).is_ok());
}

#[test]
fn arguments_are_counted_without_the_name_and_without_what_is_inside_them() {
    let limits = Limits { max_args: 3, ..Limits::default() };
    for (text, ok) in [
        (r#"2["x",1,2,3]"#, true),
        (r#"2["x",1,2,3,4]"#, false),
        (r#"2["x",[1,2,3,4,5],{"a":1,"b":2,"c":3,"d":4},"1,2,3,4"]"#, true),
        (r#"51-["x",1,2,{"_placeholder":true,"num":0}]"#, true),
        (r#"51-["x",1,2,3,{"_placeholder":true,"num":0}]"#, false),
        ("31[1,2,3]", true),
        ("31[1,2,3,4]", false),
        ("31[]", true),
        (r#"0{"a":1,"b":2,"c":3,"d":4,"e":5}"#, true),
    ] {
        let expected = if ok { None } else { Some(DecodeError::TooManyArguments { max: 3 }) };
        assert_eq!(Decoder::new(limits).text(text.into()).err(), expected, "{text}");
    }
}

#[test]
fn the_number_of_attachments_is_known_after_writing_them() {
    let bytes = Bytes::from_static(b"b");
    let mut out = b"....4".to_vec();
    let attachments = encode_event(&mut out, "/admin", Some(7), "x", &(1, &bytes)).unwrap();
    assert_eq!(out, br#"....451-/admin,7["x",1,{"_placeholder":true,"num":0}]"#);
    assert_eq!(attachments.as_slice(), std::slice::from_ref(&bytes));
    out.clear();
    encode_ack(&mut out, "/", 15, &("bar", &bytes)).unwrap();
    assert_eq!(out, br#"61-15["bar",{"_placeholder":true,"num":0}]"#);
    out.clear();
    encode_ack(&mut out, "/", 15, &()).unwrap();
    assert_eq!(out, b"315[]");
    out.clear();
    assert_eq!(encode_event(&mut out, "/", None, "x", &vec![bytes; 12]).unwrap().len(), 12);
    assert!(out.starts_with(br#"512-["x",[{"_placeholder":true,"num":0},{"#));
}

#[test]
fn each_function_writes_its_kind_of_packet() {
    let written = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    };
    let sid = json!({"sid": "a"});
    assert_eq!(written(&|out| encode_connect(out, "/", Some(&sid)).unwrap()), r#"0{"sid":"a"}"#);
    assert_eq!(written(&|out| encode_connect(out, "/admin", Some(&sid)).unwrap()), r#"0/admin,{"sid":"a"}"#);
    assert_eq!(written(&|out| encode_connect(out, "/admin", None::<&()>).unwrap()), "0/admin,");
    assert_eq!(
        written(&|out| encode_connect_error(out, "/b?x=1", &json!({"message": "Invalid namespace"})).unwrap()),
        r#"4/b?x=1,{"message":"Invalid namespace"}"#
    );
    assert_eq!(written(&|out| encode_disconnect(out, "/")), "1");
    assert_eq!(written(&|out| encode_disconnect(out, "/admin")), "1/admin,");
    assert_eq!(
        written(&|out| drop(encode_args_event(out, "/", Some(1), &event(r#"["a", 1]"#)).unwrap())),
        r#"21["a", 1]"#
    );
    assert_eq!(written(&|out| drop(encode_args_ack(out, "/", 1, &event(r#"["a",1]"#)))), "31[1]");
    assert_eq!(written(&|out| drop(encode_args_ack(out, "/", 1, &Args::none()))), "31[]");
    assert_eq!(written(&|out| drop(encode_event(out, "/", None, "a\"\n", "b").unwrap())), r#"2["a\"\n","b"]"#);
}

#[test]
fn nothing_is_left_behind_when_writing_fails() {
    let bytes = Bytes::from_static(b"b");
    let lookalike = json!({"_placeholder": true});
    let mut out = b"kept".to_vec();
    let refused = encode_event(&mut out, "/a", Some(1), "x", &(&bytes, lookalike));
    assert_eq!(refused, Err(EncodeError::PlaceholderLookalike));
    assert_eq!(encode_connect(&mut out, "/", Some(&bytes)), Err(EncodeError::BinaryNotAllowed));
    assert_eq!(encode_connect_error(&mut out, "/", &bytes), Err(EncodeError::BinaryNotAllowed));
    assert_eq!(encode_args_event(&mut out, "/", None, &json(r#"["a"]"#)), Err(EncodeError::NotAnEvent));
    let connect = packet(Kind::Connect, "/", None, Args::new_single(&bytes).unwrap());
    assert_eq!(encode_packet(&mut out, &connect), Err(EncodeError::BinaryNotAllowed));
    assert_eq!(out, b"kept");
}

#[test]
fn protocol_v4_splits_the_query_from_the_namespace() {
    assert_eq!(split_query("/admin?tok=1&a=b?c"), ("/admin", Some("tok=1&a=b?c")));
    assert_eq!(split_query("/admin?"), ("/admin", Some("")));
    assert_eq!(split_query("/admin"), ("/admin", None));
}
