//! A payload as it came.
//!
//! [`Args`] are JSON text and the attachments that its placeholders stand for. The text has been checked, so that it can
//! be sent on as it is, but nothing has been made of it: an application that routes by the name of an event, forwards or
//! stores never pays for parsing. Whoever wants a type says so with [`Args::to`].
//!
//! # A tuple is the argument list
//!
//! A type that asks serde for a tuple (tuples, arrays `[T; N]`, tuple structs) is given the argument list; arguments
//! that did not come read as `null`, further ones are ignored. `()` fits everything. Any other type is given the first
//! argument, a `Vec` too: it is one argument that is an array. Newtype structs and `Option`s are what they hold.
//! Writing mirrors this.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{self, Serialize, Serializer};

use super::codec::{DecodeError, EncodeError};
use super::de::{Left, ListReader, ValueReader};
use super::json::{self, Number, Reader};
use super::msgpack::MsgpackError;
use super::ser::Writer;
use super::transcode;
use super::value::Value;
use super::{Attachments, handover};

/// A payload as it came: JSON text and its attachments, parsed only when someone asks for a type.
///
/// Cheap to clone. A handler that asks for `Args` receives the arguments as they came; given to an emit, they are
/// written as they are, attachments included. Inside another type they are an array of their values,
/// or the one value that they are.
///
/// ```
/// use socketio_protocol::{Bytes, socket::Args};
///
/// let args = Args::new_event("photo", &("sea", Bytes::from_static(&[1, 2])))?;
/// let (json, attachments) = args.to_json();
/// assert_eq!(json, r#"["photo","sea",{"_placeholder":true,"num":0}]"#);
/// assert_eq!(attachments, [Bytes::from_static(&[1, 2])]);
///
/// let (title, image): (String, Bytes) = args.to()?;
/// assert_eq!((&*title, image.len()), ("sea", 2));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Args {
    /// Checked JSON, from `start` to `end`.
    text: ByteString,
    start: usize,
    end: usize,
    /// Each placeholder in the text has its attachment here. If there are none, there are no placeholders either,
    /// whatever an object looks like.
    attachments: Option<Arc<[Bytes]>>,
    form: Form,
}

/// What the text is. `rest` is where, behind the name, the arguments go on: at a comma or at the closing bracket.
/// `name` is how many bytes the name has if it stands in the text as it is, from byte 2 on; else 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Form {
    /// No payload.
    #[default]
    Nothing,
    /// One value.
    Single,
    /// `[arguments…]`. `first` is where the first ends, 0 if nobody has looked.
    List { first: usize },
    /// `[name, arguments…]`
    Event { rest: usize, name: u16 },
    /// `[name, arguments…]` of which the name does not count.
    Tail { rest: usize },
}

impl Args {
    /// No payload at all.
    pub fn none() -> Self {
        Args::default()
    }

    /// The payload of an event: its name, then the arguments in `args`.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when `args` cannot be written. That `event` is not [reserved](super::is_reserved) is for the
    /// caller to look at.
    ///
    /// ```
    /// let args = socketio_protocol::socket::Args::new_event("move", &(3, "left"))?;
    /// assert_eq!(args.event().as_deref(), Some("move"));
    /// assert_eq!(args.to_json().0, r#"["move",3,"left"]"#);
    /// # Ok::<_, socketio_protocol::socket::EncodeError>(())
    /// ```
    pub fn new_event<T: Serialize + ?Sized>(event: &str, args: &T) -> Result<Self, EncodeError> {
        Args::write(|writer| writer.list(Some(event), args))?.into_event().map_err(|_| EncodeError::NotAnEvent)
    }

    /// A list of arguments, the payload of an ack.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when `args` cannot be written.
    ///
    /// ```
    /// use socketio_protocol::socket::Args;
    ///
    /// assert_eq!(Args::new_list(&("ok", 200))?.to_json().0, r#"["ok",200]"#);
    /// assert_eq!(Args::new_list("ok")?.to_json().0, r#"["ok"]"#);
    /// assert_eq!(Args::new_list(&())?.to_json().0, "[]");
    /// # Ok::<_, socketio_protocol::socket::EncodeError>(())
    /// ```
    pub fn new_list<T: Serialize + ?Sized>(args: &T) -> Result<Self, EncodeError> {
        Args::write(|writer| writer.list(None, args))
    }

    /// One value, the payload of a CONNECT or CONNECT_ERROR. Here a tuple is an array.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when `value` cannot be written.
    ///
    /// ```
    /// let auth = socketio_protocol::socket::Args::new_single(&serde_json::json!({ "token": "abc" }))?;
    /// assert!(auth.is_single());
    /// assert_eq!(auth.to_json().0, r#"{"token":"abc"}"#);
    /// # Ok::<_, socketio_protocol::socket::EncodeError>(())
    /// ```
    pub fn new_single<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        let args = Args::write(|writer| value.serialize(writer))?;
        Ok(Args { form: Form::Single, ..args })
    }

    /// A list of arguments, one for each of `values`.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when `values` cannot be written.
    ///
    /// ```
    /// use socketio_protocol::socket::{Args, Value};
    ///
    /// let args = Args::from_values(&[Value::from("x"), Value::from(1)])?;
    /// assert_eq!(args, Args::new_list(&("x", 1))?);
    /// # Ok::<_, socketio_protocol::socket::EncodeError>(())
    /// ```
    pub fn from_values(values: &[Value]) -> Result<Self, EncodeError> {
        let args = Args::write(|writer| values.serialize(writer))?;
        Ok(Args { form: Form::List { first: 0 }, ..args })
    }

    fn write(write: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>) -> Result<Self, EncodeError> {
        let mut out = Vec::with_capacity(256);
        let mut writer = Writer::new(&mut out);
        write(&mut writer)?;
        let attachments = writer.finish()?;
        Ok(Args::from_written(out, attachments))
    }

    /// What a writer of ours wrote.
    pub(super) fn from_written(json: Vec<u8>, attachments: Attachments) -> Self {
        let json = String::from_utf8(json).expect("JSON is written from str and ASCII");
        Args::from_checked(json.into()).with(attachments)
    }

    /// Text that is one JSON value from its first byte to its last.
    pub(super) fn from_checked(text: ByteString) -> Self {
        let form = if text.starts_with('[') { Form::List { first: 0 } } else { Form::Single };
        Args { start: 0, end: text.len(), text, attachments: None, form }
    }

    /// The same list, of which the first element ends at byte `first` of its text.
    pub(super) fn with_first(mut self, first: usize) -> Self {
        if let Form::List { first: end } = &mut self.form {
            *end = first;
        }
        self
    }

    /// The payload of an event that [`encode_event`](super::encode_event) or another writer of ours has written, which is not
    /// checked again.
    #[doc(hidden)]
    pub fn of_written_event(
        json: ByteString,
        attachments: impl IntoIterator<Item = Bytes>,
    ) -> Result<Self, DecodeError> {
        Args::from_checked(json).with(attachments).into_event()
    }

    /// The same text with these attachments, which its placeholders have been checked against.
    pub(super) fn with(mut self, attachments: impl IntoIterator<Item = Bytes>) -> Self {
        let mut attachments = attachments.into_iter().peekable();
        self.attachments = attachments.peek().is_some().then(|| attachments.collect());
        self
    }

    /// A payload from JSON text and attachments: an array becomes a list of arguments, anything else one value.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when the text is not JSON, or its placeholders do not fit the attachments.
    ///
    /// ```
    /// use socketio_protocol::{Bytes, socket::Args};
    ///
    /// let image = Bytes::from_static(&[1, 2]);
    /// let args = Args::from_json(r#"[{"_placeholder":true,"num":0}]"#, vec![image.clone()])?;
    /// assert_eq!(args.to::<Bytes>()?, image);
    /// assert!(Args::from_json("no JSON", Vec::new()).is_err());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_json(json: impl Into<ByteString>, attachments: Vec<Bytes>) -> Result<Self, DecodeError> {
        Ok(Args::from_json_at(json.into(), 0, attachments.len())?.0.with(attachments))
    }

    /// A payload from the JSON that begins at byte `start` of `text`, for which `count` attachments will come; and how
    /// many elements it has behind its first.
    pub(super) fn from_json_at(text: ByteString, start: usize, count: usize) -> Result<(Self, usize), DecodeError> {
        let json = text.get(start..).unwrap_or_default();
        let (place, shape) = json::check_list(json)?;
        if count > 0 {
            json::check_placeholders(json, count)?;
        }
        let first = shape.first_end.saturating_sub(place.start);
        let (start, end) = (start + place.start, start + place.end);
        let form = if text.as_bytes().get(start) == Some(&b'[') { Form::List { first } } else { Form::Single };
        Ok((Args { text, start, end, attachments: None, form }, shape.commas))
    }

    /// The same payload, its first element understood as the name of an event.
    ///
    /// # Errors
    ///
    /// [`DecodeError::NotAnEvent`] when this is not a list, or does not begin with text or a number.
    ///
    /// ```
    /// use socketio_protocol::socket::Args;
    ///
    /// let args = Args::from_json(r#"["move",3]"#, Vec::new())?;
    /// assert_eq!(args.event(), None);
    /// assert_eq!(args.into_event()?.event().as_deref(), Some("move"));
    /// # Ok::<_, socketio_protocol::socket::DecodeError>(())
    /// ```
    pub fn into_event(mut self) -> Result<Self, DecodeError> {
        self.set_event(|_| true).map(|_| self)
    }

    /// Understands the first element as the name of an event, if it is a name and `allowed`; else gives back the name.
    pub(super) fn set_event(&mut self, allowed: impl FnOnce(&str) -> bool) -> Result<Option<String>, DecodeError> {
        let json = self.json();
        let mut reader = Reader::new(json);
        let plain = match self.form {
            Form::List { first } => plain_name(json, first),
            Form::Event { .. } => None,
            Form::Nothing | Form::Single | Form::Tail { .. } => return Err(DecodeError::NotAnEvent),
        };
        let name = match plain {
            Some(name) => {
                reader = Reader::new_at(json, NAME_AT + name.len() + 1);
                Cow::Borrowed(name)
            }
            None => read_name(&mut reader).ok_or(DecodeError::NotAnEvent)?,
        };
        if !allowed(&name) {
            return Ok(Some(name.into_owned()));
        }
        reader.peek()?;
        let name = plain.map_or(0, |name| u16::try_from(name.len()).unwrap_or(0));
        self.form = Form::Event { rest: reader.at(), name };
        Ok(None)
    }

    /// The name of the event; `None` if this is not the payload of an event.
    ///
    /// A name that came as a number is its text, as JavaScript has it. Nothing is copied unless the name contains an
    /// escape.
    pub fn event(&self) -> Option<Cow<'_, str>> {
        match self.form {
            Form::Event { name: 0, .. } => read_name(&mut Reader::new(self.json())),
            Form::Event { name, .. } => self.json().get(NAME_AT..NAME_AT + usize::from(name)).map(Cow::Borrowed),
            _ => None,
        }
    }

    /// Whether there is no payload at all. An empty list is a payload.
    pub fn is_empty(&self) -> bool {
        self.form == Form::Nothing
    }

    /// Whether this is one value rather than a list.
    pub fn is_single(&self) -> bool {
        self.form == Form::Single
    }

    /// The attachments, in the order in which the placeholders count them.
    pub fn attachments(&self) -> &[Bytes] {
        self.attachments.as_deref().unwrap_or_default()
    }

    /// The arguments as `T`: those after the name for an event, all of them otherwise.
    ///
    /// # Errors
    ///
    /// [`ArgsError`] when an argument is missing or of another type.
    ///
    /// ```
    /// use socketio_protocol::socket::Args;
    ///
    /// let args = Args::new_event("move", &("a2", "a4", 17))?;
    /// assert_eq!(args.to::<(String, String)>()?, ("a2".to_owned(), "a4".to_owned()));
    /// assert_eq!(args.to::<String>()?, "a2");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ArgsError> {
        T::deserialize(self.arguments())
    }

    /// The one value of a CONNECT or CONNECT_ERROR, `None` if there is no payload. Here a tuple is an array.
    ///
    /// # Errors
    ///
    /// [`ArgsError`] when the value is of another type.
    ///
    /// ```
    /// use socketio_protocol::socket::Args;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Auth { token: String }
    ///
    /// let payload = Args::from_json(r#"{"token":"abc"}"#, Vec::new())?;
    /// assert_eq!(payload.value::<Auth>()?.unwrap().token, "abc");
    /// assert!(Args::none().value::<Auth>()?.is_none());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn value<'a, T: Deserialize<'a>>(&'a self) -> Result<Option<T>, ArgsError> {
        if self.is_empty() {
            return Ok(None);
        }
        T::deserialize(&mut ValueReader::new(self)).map(Some)
    }

    /// The arguments as values: those after the name for an event, all of them otherwise. Attachments are shared.
    ///
    /// # Errors
    ///
    /// [`ArgsError`] does not occur for a payload that came through a decoder.
    ///
    /// ```
    /// use socketio_protocol::socket::{Args, Value};
    ///
    /// let args = Args::new_event("move", &(3, "left"))?;
    /// assert_eq!(args.to_values()?, [Value::from(3), Value::from("left")]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_values(&self) -> Result<Vec<Value>, ArgsError> {
        let mut list = self.arguments();
        let mut values = Vec::new();
        while let Some(value) = list.next()? {
            values.push(Value::read(value)?);
        }
        Ok(values)
    }

    /// The first argument alone, as one value.
    pub fn first(&self) -> Option<Args> {
        let mut list = self.arguments();
        let value = list.next().ok()??;
        if self.attachments.is_some() {
            // The attachments of the others stay behind, so they are counted anew.
            return Args::new_single(&Value::read(value).ok()?).ok();
        }
        let json = value.reader.raw_value().ok()?;
        Some(Args { form: Form::Single, ..Args::from_checked(self.text.slice_ref(json)) })
    }

    /// The arguments after the name, as a list of their own. Copies nothing.
    #[must_use]
    pub fn without_name(&self) -> Args {
        let form = match self.form {
            Form::Event { rest, .. } => Form::Tail { rest },
            form => form,
        };
        Args { form, ..self.clone() }
    }

    /// The whole payload as JSON text and attachments, the name included. The text is empty if there is no payload.
    pub fn to_json(&self) -> (ByteString, Vec<Bytes>) {
        let text = match self.form {
            Form::Tail { .. } => {
                let mut out = vec![b'['];
                self.write_arguments(&mut out, true);
                out.push(b']');
                String::from_utf8(out).expect("cut out of text at ASCII characters").into()
            }
            _ if self.json().len() == self.text.len() => self.text.clone(),
            _ => self.text.slice_ref(self.json()),
        };
        (text, self.attachments().to_vec())
    }

    /// How many bytes the whole payload has as JSON text, without attachments.
    ///
    /// ```
    /// let args = socketio_protocol::socket::Args::new_event("move", &3)?;
    /// assert_eq!(args.json_len(), r#"["move",3]"#.len());
    /// # Ok::<_, socketio_protocol::socket::EncodeError>(())
    /// ```
    pub fn json_len(&self) -> usize {
        self.json().len()
    }

    /// The whole payload as MessagePack, see [`Args::write_msgpack`].
    ///
    /// ```
    /// use socketio_protocol::socket::Args;
    ///
    /// let args = Args::new_event("move", &3)?;
    /// let bytes = args.to_msgpack();
    /// assert_eq!(bytes, [0x92, 0xa4, b'm', b'o', b'v', b'e', 3]);
    /// assert_eq!(Args::from_msgpack(&bytes)?.into_event()?, args);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_msgpack(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.json().len());
        self.write_msgpack(&mut out);
        out
    }

    /// Appends the whole payload as MessagePack to `out`, the name included; no payload is nil.
    ///
    /// Bytes are the same as `notepack.io` writes: the shortest integers, whole floats as integers, other floats in 64
    /// bits, attachments as bin.
    pub fn write_msgpack(&self, out: &mut Vec<u8>) {
        match self.form {
            Form::Nothing => transcode::write_nil(out),
            Form::Tail { .. } => transcode::write_list(out, self.arguments()),
            _ => transcode::write_json(out, self.json(), self.attachments()),
        }
    }

    /// Reads a payload that fills `bytes`: an array becomes a list of arguments, anything else one value.
    ///
    /// # Errors
    ///
    /// [`MsgpackError`] when `bytes` are not one value, or not one that a payload can hold.
    pub fn from_msgpack(bytes: &[u8]) -> Result<Args, MsgpackError> {
        match Args::read_msgpack(bytes)? {
            (args, read) if read == bytes.len() => Ok(args),
            (_, read) => Err(MsgpackError::Trailing { bytes: bytes.len() - read }),
        }
    }

    /// Reads the payload at the front of `bytes` and says how many bytes it took.
    ///
    /// # Errors
    ///
    /// As [`Args::from_msgpack`], except that more bytes may follow.
    pub fn read_msgpack(bytes: &[u8]) -> Result<(Args, usize), MsgpackError> {
        transcode::read_args(bytes)
    }

    /// The JSON text, with the name that a [`Form::Tail`] does not count.
    pub(super) fn json(&self) -> &str {
        self.text.get(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn is_event(&self) -> bool {
        matches!(self.form, Form::Event { .. })
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.form, Form::List { .. } | Form::Event { .. } | Form::Tail { .. })
    }

    /// The arguments, one after the other.
    pub(super) fn arguments(&self) -> ListReader<'_> {
        match self.form {
            Form::Nothing => ListReader::new(self, 0, Left::Nothing),
            Form::Single => ListReader::new(self, 0, Left::Single),
            Form::List { .. } => ListReader::new(self, 1, Left::List { first: true }),
            Form::Event { rest, .. } | Form::Tail { rest } => ListReader::new(self, rest, Left::List { first: false }),
        }
    }

    /// Writes the arguments with commas between them, and one before them unless there is `nothing_before`.
    pub(super) fn write_arguments(&self, out: &mut Vec<u8>, nothing_before: bool) {
        let json = self.json();
        // Either the arguments without brackets, or what follows a name: a comma and the arguments.
        let (inner, comma) = match self.form {
            Form::Nothing => ("", false),
            Form::Single => (json, false),
            Form::List { .. } => (json.get(1..json.len() - 1).unwrap_or_default().trim(), false),
            Form::Event { rest, .. } | Form::Tail { rest } => {
                (json.get(rest..json.len() - 1).unwrap_or_default().trim(), true)
            }
        };
        if inner.is_empty() {
            return;
        }
        match (comma, nothing_before) {
            (true, true) => out.extend_from_slice(inner.get(1..).unwrap_or_default().as_bytes()),
            (false, false) => {
                out.push(b',');
                out.extend_from_slice(inner.as_bytes());
            }
            (true, false) | (false, true) => out.extend_from_slice(inner.as_bytes()),
        }
    }
}

/// Where a name begins that follows the bracket without white space.
const NAME_AT: usize = 2;

/// The first element of a list, which ends at byte `end`, if it is text without escapes that follows the bracket.
fn plain_name(json: &str, end: usize) -> Option<&str> {
    let name = json.get(NAME_AT..end.checked_sub(1)?)?;
    (json.as_bytes().get(1) == Some(&b'"') && !name.as_bytes().contains(&b'\\')).then_some(name)
}

/// Reads the first element of a list as a name.
fn read_name<'a>(reader: &mut Reader<'a>) -> Option<Cow<'a, str>> {
    reader.expect(b'[').ok()?;
    match reader.peek().ok()? {
        b'"' => reader.string().ok(),
        b'-' | b'0'..=b'9' => {
            let text = reader.number().ok()?;
            Some(match Number::parse(text) {
                // Beyond a double: in MessagePack it would come back as no name at all.
                Number::Float(number) if !number.is_finite() => return None,
                Number::Float(number) => Cow::Owned(number.to_string()),
                Number::Unsigned(0) => Cow::Borrowed("0"),
                _ => Cow::Borrowed(text),
            })
        }
        _ => None,
    }
}

impl PartialEq for Args {
    /// Whether both would be written alike; `1.0` and `1` are different here.
    fn eq(&self, other: &Self) -> bool {
        (self.is_empty(), self.is_single(), self.is_event()) == (other.is_empty(), other.is_single(), other.is_event())
            && self.attachments() == other.attachments()
            && self.to_json().0 == other.to_json().0
    }
}

impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Args({}", self.to_json().0)?;
        match self.attachments().len() {
            0 => write!(f, ")"),
            count => write!(f, " + {count} attachments)"),
        }
    }
}

impl Serialize for Args {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(handover::NAME, &Inside(self))
    }
}

/// What is behind the name of [`handover`].
struct Inside<'a>(&'a Args);

impl Serialize for Inside<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if handover::asked() {
            handover::put(self.0.clone());
            return serializer.serialize_unit();
        }
        let values = self.0.to_values().map_err(ser::Error::custom)?;
        match values.first() {
            Some(value) if self.0.is_single() => value.serialize(serializer),
            _ => values.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Args {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(handover::NAME, ArgsVisitor)
    }
}

struct ArgsVisitor;

impl<'de> Visitor<'de> for ArgsVisitor {
    type Value = Args;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of arguments")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Args, D::Error> {
        if let Some(args) = handover::take() {
            return Ok(args);
        }
        match Value::deserialize(deserializer)? {
            Value::Array(values) => Args::from_values(&values),
            value => Args::new_single(&value),
        }
        .map_err(de::Error::custom)
    }
}

/// Why arguments are not of the type asked for.
///
/// The sender and the handler disagree about what an event carries; the connection is fine.
///
/// ```
/// use socketio_protocol::socket::Args;
///
/// let args = Args::new_event("move", &(3, "left"))?;
/// let error = args.to::<(u8, u8)>().unwrap_err();
/// assert_eq!((error.argument(), error.is_missing()), (Some(1), false));
/// assert!(args.to::<(u8, String, bool)>().unwrap_err().is_missing());
/// # Ok::<_, socketio_protocol::socket::EncodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgsError {
    reason: String,
    argument: Option<usize>,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Unknown,
    Missing,
    Byte(usize),
}

impl ArgsError {
    /// Which argument it is about, the first being 0.
    pub fn argument(&self) -> Option<usize> {
        self.argument
    }

    /// Whether the sender gave fewer arguments than needed.
    pub fn is_missing(&self) -> bool {
        self.place == Place::Missing
    }

    /// The same error about argument `index`, found at byte `at` of the JSON text.
    pub(super) fn in_argument(self, index: usize, at: usize) -> Self {
        ArgsError { argument: Some(index), place: Place::Byte(at), ..self }
    }

    /// The same error because argument `index` did not come.
    pub(super) fn for_missing(self, index: usize) -> Self {
        ArgsError { argument: Some(index), place: Place::Missing, ..self }
    }
}

impl fmt::Display for ArgsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // People count from one.
        let argument = self.argument.unwrap_or_default() + 1;
        match self.place {
            Place::Unknown => f.write_str(&self.reason),
            Place::Missing => write!(f, "argument {argument} is missing ({})", self.reason),
            Place::Byte(at) => write!(f, "argument {argument} does not fit, near byte {at}: {}", self.reason),
        }
    }
}

impl std::error::Error for ArgsError {}

impl de::Error for ArgsError {
    #[cold]
    fn custom<T: fmt::Display>(reason: T) -> Self {
        ArgsError { reason: reason.to_string(), argument: None, place: Place::Unknown }
    }
}

#[cfg(test)]
mod tests;
