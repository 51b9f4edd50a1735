//! What a handler's return value means: an answer, an error, or nothing.
//!
//! `()` answers nothing, as in Node.js. A value answers the client if it asked. A `Result` does the one or the other:
//! its error goes to the error hook, and to the client as `{"error": ...}` if it asked.

use std::any::Any;

use serde::ser::{Impossible, Serialize, Serializer};

use crate::error::EventError;

/// To whom a handler's return value goes: the client or the server whose event it was.
///
/// An answer of an application's own:
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// struct Verdict(Result<u32, u8>);
/// struct OfVerdict;
///
/// impl Reply<OfVerdict> for Verdict {
///     fn reply(self, to: &impl ReplyTo) {
///         match self.0 {
///             Ok(points) => to.answer(&points),
///             Err(code) => to.fail_with(&format!("code {code}")), // `on_error` hears of it
///         }
///     }
/// }
///
/// io.on("judge", async |Data(points): Data<u32>| Verdict(if points < 10 { Ok(points) } else { Err(7) }));
///
/// let client = TestClient::connect(&io).await;
/// assert_eq!(client.emit_with_ack::<u32>("judge", 3).await, 3);
/// let failed: serde_json::Value = client.emit_with_ack("judge", 30).await;
/// assert_eq!(failed["error"], "code 7");
/// # }
/// ```
pub trait ReplyTo {
    /// Answers, if an answer is wanted and none was given.
    fn answer<T: Serialize + ?Sized>(&self, value: &T);

    /// Answers with an error in the same way, and reports it.
    fn fail_with<T: Serialize + ?Sized>(&self, error: &T);

    /// As [`fail_with`](ReplyTo::fail_with), with the error's data beside its message.
    fn refuse(&self, error: &EventError) {
        self.fail_with(&error.to_string());
    }
}

/// What an answer has where something failed.
#[derive(serde::Serialize)]
pub(crate) struct Failure<'a, T: ?Sized> {
    pub(crate) error: &'a T,
}

/// What the error hook is told of an error that a handler returned.
pub(crate) fn text_of_error<T: Serialize + ?Sized>(error: &T) -> String {
    match serde_json::to_value(error) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(value) => value.to_string(),
        Err(error) => error.to_string(),
    }
}

/// What an event handler may return: anything that serde can write, or a `Result` of it whose error is an
/// [`Error`](std::error::Error), can be written, or is a boxed error; an [`EventError`] may carry data. What is returned is
/// one argument of the answer, a tuple an array; [`Ack::send`](crate::Ack::send) answers with several. The parameter of this
/// trait only tells these apart.
///
/// ```
/// # use socketio_server::*;
/// # use socketio_server::testing::TestClient;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let io = Server::new();
/// io.on("nothing", async || {}); // is not answered
/// io.on("value", async || [1, 2]);
/// io.on("parse", async |Data(text): Data<String>| text.parse::<u32>()); // a `Result`
///
/// let client = TestClient::connect(&io).await;
/// assert_eq!(client.emit_with_ack::<Vec<u32>>("value", ()).await, [1, 2]);
/// assert_eq!(client.emit_with_ack::<u32>("parse", "7").await, 7);
/// let error: serde_json::Value = client.emit_with_ack("parse", "x").await;
/// assert_eq!(error["error"], "invalid digit found in string");
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "an event handler cannot return `{Self}`",
    note = "return `()`, anything that implements `serde::Serialize` (it answers the acknowledgement), or a `Result` of it",
    note = "the error of a `Result` is an `std::error::Error`, a `Box<dyn Error + Send + Sync>`, or implements `Serialize`"
)]
pub trait Reply<Kind>: Send {
    /// Answers the client, if it asked, or reports the error.
    fn reply(self, to: &impl ReplyTo);
}

/// A value, or a `Result` that serde can write.
///
/// ```
/// fn kind<Kind>(_: impl socketio_server::Reply<Kind>) -> &'static str {
///     std::any::type_name::<Kind>()
/// }
///
/// assert!(kind("text").ends_with("Plain"));
/// assert!(kind(Ok::<u32, String>(7)).ends_with("Plain"), "text can be written");
/// ```
#[derive(Debug)]
pub struct Plain;

/// A `Result` with an error type.
///
/// ```
/// fn kind<Kind>(_: impl socketio_server::Reply<Kind>) -> &'static str {
///     std::any::type_name::<Kind>()
/// }
///
/// assert!(kind("7".parse::<u32>()).ends_with("Fallible"));
/// ```
#[derive(Debug)]
pub struct Fallible;

/// A `Result` with a boxed error, such as `Box<dyn Error + Send + Sync>` or `anyhow::Error`.
///
/// ```
/// use std::error::Error;
///
/// fn kind<Kind>(_: impl socketio_server::Reply<Kind>) -> &'static str {
///     std::any::type_name::<Kind>()
/// }
///
/// fn load() -> Result<u32, Box<dyn Error + Send + Sync>> {
///     Ok("7".parse()?)
/// }
///
/// assert!(kind(load()).ends_with("Boxed"));
/// ```
#[derive(Debug)]
pub struct Boxed;

impl<T: Serialize + Send> Reply<Plain> for T {
    fn reply(self, to: &impl ReplyTo) {
        match shape(&self) {
            Shape::Unit => {}
            Shape::Value => to.answer(&self),
            Shape::Ok => to.answer(&Inner(&self)),
            Shape::Err => to.fail_with(&Inner(&self)),
        }
    }
}

impl<T, E> Reply<Fallible> for Result<T, E>
where
    T: Serialize + Send,
    E: std::error::Error + Send + Sync + 'static,
{
    fn reply(self, to: &impl ReplyTo) {
        match self {
            Ok(value) => value.reply(to),
            Err(error) => match (&error as &dyn Any).downcast_ref() {
                Some(refusal) => to.refuse(refusal),
                None => to.fail_with(&error.to_string()),
            },
        }
    }
}

impl<T, E> Reply<Boxed> for Result<T, E>
where
    T: Serialize + Send,
    E: AsRef<dyn std::error::Error + Send + Sync> + Send,
{
    fn reply(self, to: &impl ReplyTo) {
        match self {
            Ok(value) => value.reply(to),
            Err(error) => to.fail_with(&error.as_ref().to_string()),
        }
    }
}

/// What kind of value serde is asked to write. `()` and `Ok(())` are a unit; a JSON null is a value, though serde writes
/// it in the same way: it is told from them by its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Unit,
    Value,
    Ok,
    Err,
}

fn shape<T: Serialize + ?Sized>(value: &T) -> Shape {
    match value.serialize(Probe) {
        Ok(()) if size_of_val(value) == 0 => Shape::Unit,
        Ok(()) => Shape::Value,
        Err(Found(shape)) => shape,
    }
}

/// The value inside a `Result` that serde can write.
struct Inner<'a, T>(&'a T);

impl<T: Serialize> Serialize for Inner<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(Unwrap(serializer))
    }
}

/// Carries out of the serialiser what was found.
#[derive(Debug)]
struct Found(Shape);

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Found {}

impl serde::ser::Error for Found {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        Found(Shape::Value)
    }
}

/// Stops at the first thing it is asked to write.
struct Probe;

/// Writes the value inside of `Ok` or `Err` with another serialiser.
struct Unwrap<S>(S);

macro_rules! scalars {
    ($($name:ident: $type:ty),* $(,)?) => {
        $(fn $name(self, _: $type) -> Result<Self::Ok, Self::Error> { Self::other() })*
    };
}

macro_rules! everything_else {
    () => {
        scalars! {
            serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
            serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
            serialize_u128: u128, serialize_f32: f32, serialize_f64: f64, serialize_char: char,
            serialize_str: &str, serialize_bytes: &[u8], serialize_unit_struct: &'static str,
        }

        fn serialize_none(self) -> Result<Self::Ok, Self::Error> {
            Self::other()
        }

        fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<Self::Ok, Self::Error> {
            Self::other()
        }

        fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<Self::Ok, Self::Error> {
            Self::other()
        }

        fn serialize_newtype_struct<T: Serialize + ?Sized>(
            self,
            _: &'static str,
            _: &T,
        ) -> Result<Self::Ok, Self::Error> {
            Self::other()
        }

        fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Self::Error> {
            Self::other()
        }

        fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Self::Error> {
            Self::other()
        }

        fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Self::Error> {
            Self::other()
        }

        fn serialize_tuple_variant(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeTupleVariant, Self::Error> {
            Self::other()
        }

        fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Self::Error> {
            Self::other()
        }

        fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, Self::Error> {
            Self::other()
        }

        fn serialize_struct_variant(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeStructVariant, Self::Error> {
            Self::other()
        }
    };
}

impl Probe {
    fn other<T>() -> Result<T, Found> {
        Err(Found(Shape::Value))
    }
}

impl Serializer for Probe {
    type Ok = ();
    type Error = Found;
    type SerializeSeq = Impossible<(), Found>;
    type SerializeTuple = Impossible<(), Found>;
    type SerializeTupleStruct = Impossible<(), Found>;
    type SerializeTupleVariant = Impossible<(), Found>;
    type SerializeMap = Impossible<(), Found>;
    type SerializeStruct = Impossible<(), Found>;
    type SerializeStructVariant = Impossible<(), Found>;

    fn serialize_unit(self) -> Result<(), Found> {
        Ok(())
    }

    /// How serde writes a `Result`.
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Found> {
        Err(Found(match (name, variant) {
            ("Result", "Ok") if shape(value) == Shape::Unit => Shape::Unit,
            ("Result", "Ok") => Shape::Ok,
            ("Result", "Err") => Shape::Err,
            _ => Shape::Value,
        }))
    }

    everything_else!();
}

impl<S: Serializer> Unwrap<S> {
    fn other<T>() -> Result<T, S::Error> {
        Err(serde::ser::Error::custom("not a Result"))
    }
}

impl<S: Serializer> Serializer for Unwrap<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Impossible<S::Ok, S::Error>;
    type SerializeTuple = Impossible<S::Ok, S::Error>;
    type SerializeTupleStruct = Impossible<S::Ok, S::Error>;
    type SerializeTupleVariant = Impossible<S::Ok, S::Error>;
    type SerializeMap = Impossible<S::Ok, S::Error>;
    type SerializeStruct = Impossible<S::Ok, S::Error>;
    type SerializeStructVariant = Impossible<S::Ok, S::Error>;

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        Self::other()
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        value.serialize(self.0)
    }

    everything_else!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_told_from_values_by_how_serde_writes_them() {
        assert_eq!(shape(&()), Shape::Unit);
        assert_eq!(shape(&1), Shape::Value);
        assert_eq!(shape(&serde_json::Value::Null), Shape::Value);
        assert_eq!(shape(&Ok::<_, String>(())), Shape::Unit);
        assert_eq!(shape(&Ok::<_, String>(serde_json::Value::Null)), Shape::Ok);
        assert_eq!(shape(&(1, "a")), Shape::Value);
        assert_eq!(shape(&None::<i32>), Shape::Value);
        assert_eq!(shape(&Ok::<_, String>(1)), Shape::Ok);
        assert_eq!(shape(&Err::<(), _>("no")), Shape::Err);
        let ok: Result<i32, String> = Ok(1);
        assert_eq!(serde_json::to_string(&Inner(&ok)).unwrap(), "1");
        let err: Result<i32, String> = Err("no".into());
        assert_eq!(serde_json::to_string(&Inner(&err)).unwrap(), "\"no\"");
    }
}
