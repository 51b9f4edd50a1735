//! What handlers receive for what was sent, and what is sent for what they give.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;
use crate::socket::{EncodeError, encode_event};

/// An event called `x` whose arguments are the JSON in `args`.
fn event(args: &str) -> Args {
    let comma = if args.is_empty() { "" } else { "," };
    Args::from_json(format!(r#"["x"{comma}{args}]"#), vec![]).and_then(Args::into_event).unwrap()
}

/// The text that an emit of `args` puts on the wire, and its attachments.
fn sent<T: Serialize + ?Sized>(args: &T) -> (String, Vec<Bytes>) {
    let mut out = Vec::new();
    let attachments = encode_event(&mut out, "/", None, "x", args).unwrap();
    (String::from_utf8(out).unwrap(), attachments.into_vec())
}

/// Asserts that `args` is written as the arguments `text`, and that these are read as `args`.
#[track_caller]
fn both_ways<T>(args: T, text: &str)
where
    T: Serialize + for<'de> Deserialize<'de> + PartialEq + fmt::Debug,
{
    let payload = event(text);
    assert_eq!(sent(&args), (format!("2{}", payload.to_json().0), vec![]), "writing");
    assert_eq!(payload.to::<T>(), Ok(args), "reading {text}");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Move {
    from: String,
    to: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Wrapped<T>(T);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pair(u8, String);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Marker;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(u8),
    Line(u8, u8),
    Box { side: u8 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Text { text: String },
    Blob { data: Bytes },
}

#[test]
fn a_tuple_is_the_argument_list_and_everything_else_one_argument() {
    both_ways((), "");
    both_ways(Marker, "");
    both_ways("a".to_owned(), r#""a""#);
    both_ways(("a".to_owned(),), r#""a""#);
    both_ways(("a".to_owned(), 1, true), r#""a",1,true"#);
    both_ways(Pair(1, "b".to_owned()), r#"1,"b""#);
    both_ways([1, 2, 3], "1,2,3");
    both_ways(vec![1, 2, 3], "[1,2,3]");
    both_ways((vec![1, 2, 3],), "[1,2,3]");
    both_ways((vec![1], [2, 3], (4, 5)), "[1],[2,3],[4,5]");
    both_ways(Some(1), "1");
    both_ways(None::<u8>, "null");
    both_ways(Some((1, 2)), "1,2");
    both_ways((Some(1), None::<u8>), "1,null");
    both_ways(Wrapped("a".to_owned()), r#""a""#);
    both_ways(Wrapped((1, 2)), "1,2");
    both_ways(Wrapped(Wrapped(vec![1])), "[1]");
    both_ways(Move { from: "a".to_owned(), to: None }, r#"{"from":"a","to":null}"#);
    both_ways(BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]), r#"{"a":1,"b":2}"#);
    both_ways(BTreeMap::from([(1, true), (-2, false)]), r#"{"-2":false,"1":true}"#);
    both_ways(BTreeMap::from([(Shape::Point, 'é')]), r#"{"Point":"é"}"#);
    both_ways(Shape::Point, r#""Point""#);
    both_ways(Shape::Circle(3), r#"{"Circle":3}"#);
    both_ways(Shape::Line(3, 4), r#"{"Line":[3,4]}"#);
    both_ways(Shape::Box { side: 3 }, r#"{"Box":{"side":3}}"#);
    both_ways((Shape::Line(3, 4), Shape::Point), r#"{"Line":[3,4]},"Point""#);
    both_ways(Tagged::Text { text: "a".to_owned() }, r#"{"kind":"Text","text":"a"}"#);
    both_ways((-1_i64, u64::MAX, i64::MIN, 1.5, 'c'), "-1,18446744073709551615,-9223372036854775808,1.5,\"c\"");
    both_ways(
        (u128::MAX, i128::MIN),
        "340282366920938463463374607431768211455,-170141183460469231731687303715884105728",
    );
    both_ways(json!({"a": [1, {"b": null}], "c": "d"}), r#"{"a":[1,{"b":null}],"c":"d"}"#);
    both_ways(json!([1, 2]), "[1,2]");
    both_ways(Value::from(vec![1, 2]), "[1,2]");
}

#[test]
fn arguments_that_did_not_come_are_null_and_further_ones_are_ignored() {
    assert_eq!(event("1").to::<(u8, Option<u8>)>(), Ok((1, None)));
    assert_eq!(event("").to::<Option<u8>>(), Ok(None));
    assert_eq!(event("").to::<(Option<u8>, Value, Wrapped<Option<u8>>)>(), Ok((None, Value::Null, Wrapped(None))));
    assert_eq!(event("").to::<()>(), Ok(()));
    assert_eq!(event("1,2,3").to::<u8>(), Ok(1));
    assert_eq!(event("1,2,3").to::<(u8, u8)>(), Ok((1, 2)));
    assert_eq!(event("1,2,3").to::<[u8; 2]>(), Ok([1, 2]));
    assert_eq!(event("1,2,3").to::<()>(), Ok(()));
}

#[test]
fn an_error_says_which_argument_it_is_about() {
    for (args, error) in [
        (r#"1,"a""#, r#"argument 2 does not fit, near byte 10: invalid type: string "a", expected u8"#),
        ("300,1", "argument 1 does not fit, near byte 8: invalid value: integer `300`, expected u8"),
        ("-1,1", "argument 1 does not fit, near byte 7: invalid value: integer `-1`, expected u8"),
        ("1.5,1", "argument 1 does not fit, near byte 8: invalid type: floating point `1.5`, expected u8"),
        ("1", "argument 2 is missing (invalid type: unit value, expected u8)"),
        ("", "argument 1 is missing (invalid type: unit value, expected u8)"),
    ] {
        let payload = event(args);
        assert_eq!(payload.to::<(u8, u8)>().unwrap_err().to_string(), error, "for {args}");
    }
    let error = event("1").to::<(u8, String)>().unwrap_err();
    assert!(error.is_missing() && error.argument() == Some(1), "{error:?}");
    let error = event("[1,2,3]").to::<((u8, u8),)>().unwrap_err();
    assert_eq!(error.to_string(), "argument 1 does not fit, near byte 10: more elements than expected");
    let error = event("{}").to::<Move>().unwrap_err();
    assert!(!error.is_missing() && error.to_string().contains("missing field `from`"), "{error}");
}

#[test]
fn text_is_borrowed_from_the_payload_unless_it_is_escaped() {
    assert_eq!(event(r#""plain","text""#).to::<(&str, &str)>(), Ok(("plain", "text")));
    assert!(event(r#""\n""#).to::<&str>().is_err());
    assert_eq!(event(r#""\n""#).to::<String>().as_deref(), Ok("\n"));
}

#[test]
fn escapes_in_text_and_names_are_those_of_javascript() {
    for (json, text) in [
        (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
        (r#""\u0041\u00e9\u20AC""#, "Aé€"),
        (r#""\ud83d\ude00""#, "😀"),
        (r#""😀é€""#, "😀é€"),
        ("\"\u{2028}\u{2029}\u{7f}\"", "\u{2028}\u{2029}\u{7f}"),
        // Half a pair is a string in JavaScript, and none in Rust.
        (r#""\ud83d""#, "\u{fffd}"),
        (r#""\ud83dx""#, "\u{fffd}x"),
        (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
        (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
        (r#""\ud83d\n""#, "\u{fffd}\n"),
        (r#""\ud83d\u0041""#, "\u{fffd}A"),
    ] {
        assert_eq!(event(json).to::<String>().as_deref(), Ok(text), "as an argument: {json}");
        let named = Args::from_json(format!("[{json},1]"), vec![]).and_then(Args::into_event).unwrap();
        assert_eq!(named.event().as_deref(), Some(text), "as a name: {json}");
        assert_eq!(named.to::<u8>(), Ok(1));
    }
    let text = "\0\u{1f}\"\\/\u{8}\u{c}\n\r\t\u{7f}\u{2028}é😀";
    let written = r#"2["x","\u0000\u001f\"\\/\b\f\n\r\t"#.to_owned() + "\u{7f}\u{2028}é😀\"]";
    assert_eq!(sent(text).0, written);
}

#[test]
fn a_number_can_be_the_name_of_an_event() {
    for (json, name) in
        [("[1]", "1"), ("[-7,2]", "-7"), ("[1.0]", "1"), ("[-0]", "0"), ("[1.5,2]", "1.5"), ("[1e3]", "1000")]
    {
        let named = Args::from_json(json, vec![]).and_then(Args::into_event).unwrap();
        assert_eq!(named.event().as_deref(), Some(name), "for {json}");
    }
    for json in ["[]", "[null]", "[true]", "[{}]", r#"[["x"]]"#, r#"{"0":"x"}"#, r#""x""#, "1"] {
        let args = Args::from_json(json, vec![]).unwrap();
        assert_eq!(args.into_event(), Err(DecodeError::NotAnEvent), "for {json}");
    }
}

#[test]
fn binary_anywhere_inside_becomes_attachments_and_comes_back() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct File {
        name: String,
        data: Bytes,
        parts: Vec<Bytes>,
        thumb: Option<Bytes>,
        tagged: Tagged,
        #[serde(flatten)]
        more: BTreeMap<String, Value>,
    }
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    let file = File {
        name: "n".to_owned(),
        data: bytes("zero"),
        parts: vec![bytes(""), bytes("two")],
        thumb: Some(bytes("three")),
        tagged: Tagged::Blob { data: bytes("four") },
        more: BTreeMap::from([("z".to_owned(), Value::from(vec![bytes("five")]))]),
    };
    let args = (file, bytes("six"), Wrapped(bytes("seven")));
    let (text, attachments) = sent(&args);
    let placeholder = |num| format!(r#"{{"_placeholder":true,"num":{num}}}"#);
    assert_eq!(
        text,
        format!(
            r#"58-["x",{{"name":"n","data":{},"parts":[{},{}],"thumb":{},"tagged":{{"kind":"Blob","data":{}}},"z":[{}]}},{},{}]"#,
            placeholder(0),
            placeholder(1),
            placeholder(2),
            placeholder(3),
            placeholder(4),
            placeholder(5),
            placeholder(6),
            placeholder(7),
        )
    );
    assert_eq!(attachments, ["zero", "", "two", "three", "four", "five", "six", "seven"].map(bytes));
    let payload = Args::from_json(&text[3..], attachments).and_then(Args::into_event).unwrap();
    assert_eq!(payload.to::<(File, Bytes, Wrapped<Bytes>)>(), Ok(args));
}

#[test]
fn borrowed_bytes_are_the_attachment_itself_and_so_are_values() {
    let attachment = Bytes::from_static(b"abc");
    let payload = Args::from_json(r#"[{"_placeholder":true,"num":0},1]"#, vec![attachment.clone()]).unwrap();
    assert_eq!(payload.to::<(&[u8], u8)>().unwrap().0.as_ptr(), attachment.as_ptr());
    match payload.to_values().unwrap().as_slice() {
        [Value::Binary(bytes), Value::Number(_)] => assert_eq!(bytes.as_ptr(), attachment.as_ptr()),
        other => panic!("unexpected {other:?}"),
    }
    assert!(payload.to::<u8>().unwrap_err().to_string().contains("byte array"));
    assert!(payload.to::<serde_json::Value>().is_err(), "serde_json has no word for binary");
}

#[test]
fn a_payload_as_a_whole_goes_out_as_it_came() {
    let text = r#"["old",1.0, {"_placeholder":true,"num":1} ,[{"num":0,"_placeholder":true}],"\u0041"]"#;
    let attachments = vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")];
    let payload = Args::from_json(text, attachments.clone()).and_then(Args::into_event).unwrap();
    let tail = r#"1.0, {"_placeholder":true,"num":1} ,[{"num":0,"_placeholder":true}],"\u0041"]"#;

    let whole: Args = payload.to().unwrap();
    assert_eq!(whole.event(), None);
    assert_eq!(whole.to_json(), (format!("[{tail}").into(), attachments.clone()));
    assert_eq!(sent(&whole), (format!(r#"52-["x",{tail}"#), attachments.clone()));
    assert_eq!(sent(&Some(Wrapped(whole.clone()))), (format!(r#"52-["x",{tail}"#), attachments.clone()));
    assert_eq!(sent(&payload), sent(&whole), "the arguments are those after the name");
    assert_eq!(payload.without_name(), whole);
    assert_eq!(payload.to::<Wrapped<Option<Args>>>(), Ok(Wrapped(Some(whole))));
}

#[test]
fn every_form_of_payload_can_be_emitted_under_a_name() {
    let list = |json: &str| Args::from_json(json, vec![]).unwrap();
    for (args, text) in [
        (Args::none(), r#"2["x"]"#),
        (list("[]"), r#"2["x"]"#),
        (list("[ ]"), r#"2["x"]"#),
        (list(" [ 1 ] "), r#"2["x",1]"#),
        (list("[1,2]"), r#"2["x",1,2]"#),
        (list("7"), r#"2["x",7]"#),
        (list(r#"{"a":1}"#), r#"2["x",{"a":1}]"#),
        (event(""), r#"2["x"]"#),
        (event("1"), r#"2["x",1]"#),
        (event("1").without_name(), r#"2["x",1]"#),
        (event("1").without_name().without_name(), r#"2["x",1]"#),
    ] {
        assert_eq!(sent(&args).0, text, "for {args:?}");
    }
}

#[test]
fn a_payload_inside_another_is_an_array_with_its_attachments_counted_on() {
    let inner = Args::from_json(r#"[{"_placeholder":true,"num":0},1]"#, vec![Bytes::from_static(b"in")]).unwrap();
    let (text, attachments) = sent(&(Bytes::from_static(b"first"), inner));
    assert_eq!(text, r#"52-["x",{"_placeholder":true,"num":0},[{"_placeholder":true,"num":1},1]]"#);
    assert_eq!(attachments, ["first", "in"].map(Bytes::from));

    let outer = Args::from_json(&text[3..], attachments).and_then(Args::into_event).unwrap();
    let (first, inner): (Bytes, Args) = outer.to().unwrap();
    assert_eq!((first.as_ref(), inner.to()), (b"first".as_slice(), Ok((Bytes::from_static(b"in"), 1))));

    let (one, list): (Args, Args) = event(r#"{"a":1},[1,2]"#).to().unwrap();
    assert_eq!((one.is_single(), list.to()), (true, Ok((1, 2))));
    assert_eq!(sent(&(one, list)).0, r#"2["x",{"a":1},[1,2]]"#);
}

#[test]
fn other_formats_see_a_payload_as_its_values() {
    let args = event(r#""a",{"b":[1]}"#);
    let json = serde_json::to_string(&args).unwrap();
    assert_eq!(json, r#"["a",{"b":[1]}]"#);
    assert_eq!(serde_json::from_str::<Args>(&json).unwrap(), args.without_name());
    assert_eq!(serde_json::from_str::<Args>("5").unwrap(), Args::new_single(&5).unwrap());
}

#[test]
fn the_first_argument_alone_keeps_only_its_attachments() {
    let attachments = vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")];
    let args =
        Args::from_json(r#"[{"x":{"_placeholder":true,"num":1}},{"_placeholder":true,"num":0}]"#, attachments).unwrap();
    let first = args.first().unwrap();
    assert_eq!(first.to_json(), (r#"{"x":{"_placeholder":true,"num":0}}"#.into(), vec![Bytes::from_static(b"b")]));
    assert_eq!(event(r#"[1,2],3"#).first().unwrap().to_json().0, "[1,2]");
    assert!(event("[1,2],3").first().unwrap().is_single());
    assert_eq!(event("").first(), None);
}

#[test]
fn an_object_that_looks_like_a_placeholder_stays_an_object_without_attachments() {
    let args = event(r#"{"_placeholder":true,"num":0}"#);
    let lookalike = json!({"_placeholder": true, "num": 0});
    assert_eq!(args.to::<serde_json::Value>().as_ref(), Ok(&lookalike));
    assert_eq!(args.to_values().unwrap(), [Value::from(lookalike.clone())]);
    assert!(args.to::<Bytes>().is_err());
    assert_eq!(sent(&lookalike).0, r#"2["x",{"_placeholder":true,"num":0}]"#);
    assert_eq!(sent(&args).0, r#"2["x",{"_placeholder":true,"num":0}]"#);
}

#[test]
fn an_object_that_looks_like_a_placeholder_is_refused_beside_binary() {
    #[derive(Serialize)]
    struct Lookalike {
        _placeholder: bool,
    }
    let binary = Bytes::from_static(b"b");
    let refused = Err(EncodeError::PlaceholderLookalike);
    let raw = serde_json::value::to_raw_value(&json!([{"_placeholder": true}])).unwrap();
    assert_eq!(Args::new_list(&(&binary, Lookalike { _placeholder: true })), refused);
    assert_eq!(Args::new_list(&(json!([{"_placeholder": true}]), &binary)), refused);
    assert_eq!(Args::new_list(&(raw, &binary)), refused);
    assert_eq!(Args::new_list(&(event(r#"{"\u005fplaceholder":true}"#), &binary)), refused);
    assert!(Args::new_list(&(&binary, Lookalike { _placeholder: false })).is_ok());
    assert!(Args::new_list(&(&binary, json!({"_placeholder": [true]}))).is_ok());
}

#[test]
fn what_json_cannot_say_is_null_or_an_error() {
    assert_eq!(sent(&(f64::NAN, f64::INFINITY, f32::NEG_INFINITY, -0.0)).0, r#"2["x",null,null,null,-0.0]"#);
    assert_eq!(Args::new_list(&BTreeMap::from([(vec![1], 1)])), Err(EncodeError::KeyNotText));
    assert_eq!(Args::new_list(&BTreeMap::from([((), 1)])), Err(EncodeError::KeyNotText));

    struct Refuses;
    impl Serialize for Refuses {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(ser::Error::custom("no"))
        }
    }
    assert_eq!(Args::new_list(&Refuses), Err(EncodeError::Serialize("no".to_owned())));
}

#[test]
fn depth_is_limited_both_ways() {
    let nested = |levels: usize| (1..levels).fold(json!([]), |inner, _| json!([inner]));
    // The argument list is the first level.
    assert!(Args::new_list(&nested(127)).is_ok());
    assert_eq!(Args::new_list(&nested(128)), Err(EncodeError::TooDeep));
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}"), (r#"{"a":["#, "]}")] {
        let json = |levels: usize| {
            let times = levels / open.matches(['[', '{']).count();
            format!("{}1{}", open.repeat(times), close.repeat(times))
        };
        let args = Args::from_json(json(128), vec![]).unwrap();
        assert!(args.value::<Value>().is_ok());
        assert!(Args::from_msgpack(&args.to_msgpack()).is_ok());
        assert_eq!(Args::from_json(json(130), vec![]), Err(DecodeError::TooDeep));
        assert_eq!(Args::from_json(json(2_000_000), vec![]), Err(DecodeError::TooDeep));
    }
}

#[test]
fn raw_values_of_serde_json_pass_through() {
    use serde_json::value::RawValue;
    let args = event(r#"{"a": 1.50},2"#);
    let (raw, two): (Box<RawValue>, u8) = args.to().unwrap();
    assert_eq!((raw.get(), two), (r#"{"a": 1.50}"#, 2));
    assert_eq!(args.to::<&RawValue>().unwrap().get(), r#"{"a": 1.50}"#);
    assert_eq!(sent(&(raw, two)).0, r#"2["x",{"a": 1.50},2]"#);
}

#[test]
fn one_value_is_not_a_list() {
    let pair = Args::from_json("[1,2]", vec![]).unwrap();
    assert_eq!(pair.value::<(u8, u8)>(), Ok(Some((1, 2))));
    assert_eq!(pair.value::<Vec<u8>>(), Ok(Some(vec![1, 2])));
    assert_eq!(Args::none().value::<u8>(), Ok(None));
    assert_eq!(Args::new_single(&(1, 2)).unwrap().to::<Vec<u8>>(), Ok(vec![1, 2]));
    assert_eq!(Args::new_single(&json!({"sid": "a"})).unwrap().to_json().0, r#"{"sid":"a"}"#);
}

#[test]
fn the_last_of_equal_keys_counts() {
    let value: Value = event(r#"{"a":1,"__proto__":2,"a":3}"#).to().unwrap();
    assert_eq!(value.get("a"), Some(&Value::from(3)));
    assert_eq!(value.get("__proto__"), Some(&Value::from(2)));
    assert_eq!(value.get("b"), None);
}
