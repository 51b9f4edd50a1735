//! The same bytes as over JSON, whatever is serialised.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{json, value::RawValue};

use super::write_event;
use crate::socket::{Args, Value};

/// Holds what is written to what [`Args`] write.
#[track_caller]
fn agrees<T: Serialize + ?Sized>(args: &T) {
    let expected = Args::new_event("event", args).map(|args| args.to_msgpack());
    let mut written = b"before".to_vec();
    let result = write_event("event", args, &mut written);
    let shown = serde_json::to_string(args).unwrap_or_else(|_| "this".to_owned());
    assert_eq!(result, expected.as_ref().map(|_| ()).map_err(Clone::clone), "{shown}");
    let expected = [b"before", expected.unwrap_or_default().as_slice()].concat();
    assert_eq!(written.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{shown}");
}

#[derive(Serialize)]
struct Unit;

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct One<T>(T);

#[derive(Serialize)]
struct Two<T>(T, T);

#[derive(Serialize)]
struct Named<T> {
    _placeholder: bool,
    num: u8,
    inner: T,
}

#[derive(Serialize)]
enum Variants {
    Plain,
    Newtype(u8),
    Tuple(u8, &'static str),
    Struct { a: u8, b: Vec<Unit> },
}

#[test]
fn every_shape_is_written_as_over_json() {
    agrees(&());
    agrees(&Unit);
    agrees(&None::<()>);
    agrees(&Some(((), Unit, None::<u8>)));
    agrees(&(1, "two", [3, 4], (5, (6,))));
    agrees(&[1, 2, 3]);
    agrees(&vec![1, 2, 3]);
    agrees(&vec![(); 16]);
    agrees(&(vec!["x"; 70_000], "behind"));
    agrees(&"x".repeat(70_000));
    agrees(&One(One((1, 2))));
    agrees(&(One(One((1, 2))), Two('é', '\u{1F600}'), Two('"', '\\')));
    agrees(&Two(vec![1], vec![]));
    agrees(&Variants::Plain);
    agrees(&Variants::Newtype(7));
    agrees(&Variants::Tuple(7, "x"));
    agrees(&Variants::Struct { a: 1, b: vec![Unit, Unit] });
    agrees(&(Variants::Plain, Variants::Newtype(7), Variants::Tuple(7, "\n"), Variants::Struct { a: 1, b: vec![] }));
    agrees(&Named { _placeholder: false, num: 1, inner: Named { _placeholder: true, num: 2, inner: () } });
    agrees(&(0..40).map(|key| (key, Unit)).collect::<BTreeMap<i32, Unit>>());
    agrees(&BTreeMap::from([(true, 1), (false, 2)]));
    agrees(&BTreeMap::from([('x', 1), ('\n', 2)]));
    agrees(&BTreeMap::from([(Some(One("long".repeat(20))), 1)]));
    agrees(&BTreeMap::from([([1_u8], 1)]));
    agrees(&BTreeMap::from([((), 1)]));
}

#[test]
fn every_number_is_written_as_over_json() {
    agrees(&(true, false));
    let edges = [0, 1, 31, 32, 33, 127, 128, 129, 255, 256, 32_767, 32_768, 65_535, 65_536, 1 << 31, 1 << 32, 1 << 53];
    for number in edges.into_iter().chain([i64::MAX, i64::MAX - 1]) {
        for number in [number, -number, number - 1, -number - 1] {
            agrees(&(number, number as u64, number as i32, number as i16, number as i8, number as u32, number as u8));
            agrees(&(number as f64, number as f64 / 3.0, number as f32, number as f32 / 3.0));
            agrees(&(i128::from(number), i128::from(number) << 60, u128::from(number.unsigned_abs()) << 60));
        }
    }
    agrees(&(f64::NAN, f64::INFINITY, -f64::INFINITY, f32::NAN, f32::NEG_INFINITY));
    agrees(&(-0.0_f64, -0.0_f32, f64::MIN_POSITIVE, f64::MAX, f32::MAX, 1e19, -9_223_372_036_854_775_808_f64));
    agrees(&(u64::MAX, i64::MIN, u128::MAX, i128::MIN, u16::MAX));
}

#[test]
fn binary_is_told_from_what_looks_like_its_place() {
    let bytes = || Value::Binary(Bytes::from_static(b"\x01\x02"));
    let lookalike = || Value::from(json!({ "_placeholder": true, "num": 0 }));
    let harmless = || Value::from(json!({ "_placeholder": 1, "num": 0 }));
    agrees(&bytes());
    agrees(&vec![bytes(), Value::Binary(vec![7; 300].into()), harmless()]);
    agrees(&lookalike());
    agrees(&vec![lookalike(), harmless()]);
    agrees(&(lookalike(), bytes()));
    agrees(&(bytes(), vec![lookalike()]));
    agrees(&(Bytes::from_static(b"x"), Named { _placeholder: true, num: 0, inner: () }));
    let raw = |text: &str| RawValue::from_string(text.to_owned()).expect("it is JSON");
    agrees(&(raw(r#"{"_placeholder":true,"num":0}"#), 1));
    agrees(&(raw(r#"{"_placeholder":true,"num":0}"#), bytes()));
}

#[test]
fn what_was_json_before_is_written_as_it_is() {
    let raw = |text: &str| RawValue::from_string(text.to_owned()).expect("it is JSON");
    let text = r#" {"b":[1,2.50,-0,1e3,"\u00e9\ud83d\ude00\n",null,true,{}],"a":18446744073709551616} "#;
    agrees(&raw(text));
    agrees(&(raw(text), vec![raw("1"), raw("[]")], Some(raw("null"))));
    agrees(&json!({ "b": [1, 2.5, -0.0, "é", null, { "": {} }], "a": u64::MAX }));
    let deep = |levels: usize| raw(&("[".repeat(levels) + &"]".repeat(levels)));
    agrees(&deep(100));
}

#[test]
fn a_payload_that_came_is_sent_on() {
    let attachments = vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")];
    let placeholders = r#"[{"_placeholder":true,"num":1},"x",[{"num":0,"_placeholder":true}]]"#;
    let with_binary = Args::from_json(placeholders, attachments.clone()).expect("they fit");
    let event = Args::from_json(r#"["name", {"a":1}, [2] , "x"]"#, vec![]).expect("it is JSON");
    let event = event.into_event().expect("it has a name");
    let lookalike = Args::from_json(r#"[{"_placeholder":true,"num":1}]"#, vec![]).expect("it is JSON");
    for args in [
        Args::none(),
        Args::from_json("[]", vec![]).expect("it is JSON"),
        Args::from_json(r#"{"a":1}"#, vec![]).expect("it is JSON"),
        Args::from_json(r#"["only"]"#, vec![]).expect("it is JSON").into_event().expect("it has a name"),
        event.without_name(),
        event,
        with_binary,
        lookalike,
    ] {
        agrees(&args);
        agrees(&One(Some(&args)));
        agrees(&(1, &args));
        agrees(&vec![&args]);
        agrees(&(&args, Bytes::from_static(b"three")));
    }
}

#[test]
fn what_is_too_deep_is_refused() {
    fn nested(levels: usize) -> Value {
        (0..levels).fold(Value::Null, |inner, _| Value::Array(vec![inner]))
    }
    fn tagged(levels: usize) -> Value {
        (0..levels).fold(Value::Null, |inner, _| Value::Object(vec![("k".to_owned(), inner)]))
    }
    for levels in [126, 127, 128] {
        agrees(&nested(levels));
        agrees(&tagged(levels));
        // Closed levels no longer count.
        agrees(&(nested(levels - 20), tagged(levels - 20), Variants::Tuple(1, "")));
    }
}
