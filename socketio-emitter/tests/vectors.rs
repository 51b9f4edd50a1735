//! Byte for byte what `@socket.io/redis-emitter` 5.1 sends.
//!
//! The captured messages are those of `socketio-protocol/tests/vectors`. What can be said in Rust is said here as a
//! user would, and has to give the same channel and the same bytes; all others are read and said again.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value as Json, json};
use socketio_emitter::{EmitError, Emitter, Plan};
use socketio_protocol::{
    cluster::{
        Message,
        classic::{self, Channels},
    },
    socket::Args,
};

#[test]
fn each_call_gives_the_bytes_of_its_counterpart() {
    let io = Emitter::lazy("localhost").unwrap();
    let ev = |args: &dyn Fn(&Emitter) -> Result<Plan, EmitError>| args(&io).unwrap();
    let bin = |bytes: &'static [u8]| Bytes::from_static(bytes);
    let to = |plan: Result<Option<Plan>, EmitError>| plan.unwrap().unwrap();
    let cases: Vec<(&str, Plan)> = vec![
        ("emit/no-args", ev(&|io| io.plan_emit("ev", ()))),
        ("emit/string", ev(&|io| io.plan_emit("ev", "hello"))),
        ("emit/string-empty", ev(&|io| io.plan_emit("ev", ""))),
        ("emit/string-255", ev(&|io| io.plan_emit("ev", "x".repeat(255)))),
        ("emit/string-256", ev(&|io| io.plan_emit("ev", "x".repeat(256)))),
        ("emit/event-unicode", ev(&|io| io.plan_emit("événement", 1))),
        ("emit/bools", ev(&|io| io.plan_emit("ev", (true, false)))),
        ("emit/null", ev(&|io| io.plan_emit("ev", (None::<u8>,)))),
        ("emit/undefined-between", ev(&|io| io.plan_emit("ev", (1, (), 2)))),
        ("emit/ints-positive", ev(&|io| io.plan_emit("ev", INTS))),
        ("emit/float-integral", ev(&|io| io.plan_emit("ev", (1.0, -0.0)))),
        ("emit/object-nested", ev(&|io| io.plan_emit("ev", Nested::example()))),
        ("emit/array-16", ev(&|io| io.plan_emit("ev", (0..16).collect::<Vec<_>>()))),
        ("emit/buffer", ev(&|io| io.plan_emit("ev", bin(&[1, 2, 3])))),
        ("emit/buffer-empty", ev(&|io| io.plan_emit("ev", Bytes::new()))),
        ("emit/buffer-300", ev(&|io| io.plan_emit("ev", Bytes::from(vec![0xab; 300])))),
        ("emit/buffer-then-string", ev(&|io| io.plan_emit("ev", (bin(&[1]), "after")))),
        ("rooms/one", to(io.to("room1").plan_emit("ev", "x"))),
        ("rooms/two", to(io.to("room1").to("room2").plan_emit("ev", "x"))),
        ("rooms/same-twice", to(io.to("room1").within("room1").plan_emit("ev", "x"))),
        ("rooms/array", to(io.to(["room1", "room2"]).plan_emit("ev", "x"))),
        ("rooms/array-of-one", to(io.within(vec!["room1".to_owned()]).plan_emit("ev", "x"))),
        ("rooms/empty-string", to(io.to("").plan_emit("ev", "x"))),
        ("rooms/with-hash", to(io.to("r#m").plan_emit("ev", "x"))),
        ("rooms/unicode", to(io.to("salón").plan_emit("ev", "x"))),
        ("except/one", to(io.except("room2").plan_emit("ev", "x"))),
        ("except/with-room", to(io.to("room1").except(["room2", "room3"]).plan_emit("ev", "x"))),
        ("flags/volatile", to(io.volatile().plan_emit("ev", "x"))),
        ("flags/compress-true", to(io.compress(true).plan_emit("ev", "x"))),
        ("flags/compress-false", to(io.compress(false).plan_emit("ev", "x"))),
        ("flags/volatile-compress", to(io.volatile().compress(false).to("room1").plan_emit("ev", "x"))),
        ("nsp/admin", io.of("/admin").plan_emit("ev", "x").unwrap()),
        ("nsp/without-slash", io.of("admin").plan_emit("ev", "x").unwrap()),
        ("nsp/admin-room", to(io.of("/admin").to("room1").plan_emit("ev", "x"))),
        ("join/all", to(io.compress(true).plan_sockets_join("room9"))),
        ("join/rooms-except", to(io.within("room1").except("room2").plan_sockets_join(["r1", "r2"]))),
        ("leave/rooms-except", to(io.within("room1").except("room2").plan_sockets_leave(["r1", "r2"]))),
        ("disconnect/none-matching", to(io.within("nobody").plan_disconnect_sockets(false))),
        ("disconnect/close", to(io.within("room1").plan_disconnect_sockets(true))),
        ("disconnect/namespace", to(io.of("/admin").volatile().plan_disconnect_sockets(false))),
        ("serverSideEmit/no-args", io.plan_server_side_emit("sse", ()).unwrap()),
        ("serverSideEmit/values", io.plan_server_side_emit("sse", ("x", 1, (), json!({"a": [1]}))).unwrap()),
        ("serverSideEmit/buffer", io.plan_server_side_emit("sse", bin(&[1, 2])).unwrap()),
        ("serverSideEmit/nsp", io.of("/admin").plan_server_side_emit("sse", 1).unwrap()),
        ("option/names", {
            let io = Emitter::builder("localhost").key("myapp").lazy().unwrap();
            to(io.to("r").plan_emit("ev", 1))
        }),
    ];
    let vectors = vectors();
    for (name, plan) in cases {
        let (channel, payload) = &vectors[name];
        assert_eq!(plan.channel, *channel, "{name}");
        assert_eq!(show(&plan.payload), show(payload), "{name}");
    }
}

#[test]
fn whatever_the_library_says_is_said_alike() {
    let mut said = 0;
    for (name, (channel, payload)) in vectors() {
        // Dates, numbers above 2^64, rooms that are numbers: no Rust value is written like these.
        if ["date", "emit/ints-above-u64", "emit/floats", "emit/nan", "rooms/number", "parser-json"]
            .iter()
            .any(|no| name.contains(no))
            && name != "rooms/number-as-string"
        {
            continue;
        }
        let (key, nsp) = channel.split_once("#").map(|(key, rest)| (key, rest.split('#').next().unwrap())).unwrap();
        if key.ends_with("-request") {
            continue;
        }
        let channels = Channels::new(key, nsp);
        let read = classic::decode_broadcast(&channels, "other", &payload).unwrap().expect(&name);
        let Message::Broadcast { args, options, .. } = read.message else { panic!("{name}") };
        let mut target = Emitter::builder("localhost").key(key).lazy().unwrap().of(nsp).except(&options.except);
        if !options.rooms.is_empty() {
            target = target.to(&options.rooms);
        }
        if options.flags.volatile {
            target = target.volatile();
        }
        if let Some(compress) = options.flags.compress {
            target = target.compress(compress);
        }
        let event = args.event().unwrap().into_owned();
        let args: Args = args.without_name();
        let plan = target.plan_emit(&event, &args).unwrap().unwrap();
        assert_eq!(plan.channel, channel, "{name}");
        // A name that is a number becomes text.
        if name != "emit/event-number" {
            assert_eq!(show(&plan.payload), show(&payload), "{name}");
        }
        said += 1;
    }
    assert!(said > 60, "only {said} were found");
}

const INTS: (u8, u8, u8, u8, u8, u16, u16, u32, u32, u64) =
    (0, 1, 127, 128, 255, 256, 65_535, 65_536, 4_294_967_295, 4_294_967_296);

#[derive(Serialize)]
struct Nested {
    a: Inner,
    f: Option<()>,
}

#[derive(Serialize)]
struct Inner {
    b: (u8, BTreeMap<&'static str, &'static str>, [u8; 0]),
    e: BTreeMap<(), ()>,
}

impl Nested {
    fn example() -> Nested {
        Nested { a: Inner { b: (1, [("c", "d")].into(), []), e: BTreeMap::new() }, f: None }
    }
}

/// Channel and payload by name.
fn vectors() -> BTreeMap<String, (String, Vec<u8>)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../socketio-protocol/tests/vectors/redis-emitter-5.1.0.json");
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let file: Json = serde_json::from_str(&text).unwrap();
    let vectors = file["vectors"].as_array().unwrap().iter();
    let text = |vector: &Json, key: &str| vector[key].as_str().unwrap().to_owned();
    let with_payload = vectors.filter(|vector| vector["payload_hex"].is_string());
    with_payload
        .map(|vector| (text(vector, "name"), (text(vector, "channel"), unhex(&text(vector, "payload_hex")))))
        .collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
