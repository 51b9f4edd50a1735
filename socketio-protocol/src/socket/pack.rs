//! From a type to MessagePack, in one walk over the type.
//!
//! Emitters and the classic adapter send events in MessagePack. The sibling of `ser.rs`: it writes what
//! [`Args::new_event`](super::Args::new_event) and [`Args::write_msgpack`](super::Args::write_msgpack) make together, which
//! the tests hold it to, without the JSON between the two. A [`Place`] knows whether it is the argument list, where a
//! tuple is the arguments, or inside one of them.

use serde::ser::{self, Serialize};

use super::codec::EncodeError;
use super::compound::compound;
use super::de::RAW;
use super::handover;
use super::json::{self, MAX_DEPTH, Number, PLACEHOLDER};
use super::plain_text::PlainText;
use super::transcode::{
    append_list, put_array_header, put_map_header, write_bin, write_json, write_nil, write_number, write_str,
    write_uint,
};

/// Appends an event's name and its arguments as an array, by the rules of [`Args::new_event`](super::Args::new_event) and
/// [`Args::write_msgpack`](super::Args::write_msgpack).
///
/// # Errors
///
/// [`EncodeError`] when `args` cannot be written; nothing has been appended then.
///
/// ```
/// use socketio_protocol::socket::{Args, write_event};
///
/// let mut out = Vec::new();
/// write_event("move", &(3, "left"), &mut out)?;
/// assert_eq!(out, Args::new_event("move", &(3, "left"))?.to_msgpack());
/// # Ok::<_, socketio_protocol::socket::EncodeError>(())
/// ```
pub fn write_event<T: Serialize + ?Sized>(event: &str, args: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    let mut packer = Packer { out, depth: 1, binary: false, lookalike: false, elements: 1 };
    packer.out.push(0);
    write_str(packer.out, event);
    let written = args.serialize(Place { packer: &mut packer, is_list: true });
    let ambiguous = packer.binary && packer.lookalike;
    match written.and(if ambiguous { Err(EncodeError::PlaceholderLookalike) } else { Ok(()) }) {
        Ok(()) => put_array_header(packer.out, start, packer.elements),
        Err(error) => {
            packer.out.truncate(start);
            return Err(error);
        }
    }
    Ok(())
}

/// Writes MessagePack behind what `out` holds.
struct Packer<'a> {
    out: &'a mut Vec<u8>,
    /// Containers that are open.
    depth: usize,
    /// Something binary was written.
    binary: bool,
    /// A map was written that a receiver would take for the place of an attachment, if there are any.
    lookalike: bool,
    /// How many elements the list has, the name among them.
    elements: usize,
}

impl Packer<'_> {
    fn enter(&mut self) -> Result<(), EncodeError> {
        if self.depth == MAX_DEPTH {
            return Err(EncodeError::TooDeep);
        }
        self.depth += 1;
        Ok(())
    }

    /// Writes `{variant: ` of which the value is to follow.
    fn variant(&mut self, variant: &str) -> Result<(), EncodeError> {
        self.enter()?;
        self.out.push(0x81);
        write_str(self.out, variant);
        Ok(())
    }

    /// Writes what serde_json has written before.
    fn raw(&mut self, text: &str) -> Result<(), EncodeError> {
        json::check(text).map_err(|_| EncodeError::Serialize("raw value is not JSON".to_owned()))?;
        // No attachments are counted, so that any placeholder is one too many.
        self.lookalike |= json::check_placeholders(text, 0).is_err();
        write_json(self.out, text, &[]);
        Ok(())
    }
}

/// Where the next value goes.
struct Place<'p, 'a> {
    packer: &'p mut Packer<'a>,
    /// It is the argument list: a tuple is the arguments, `()` is none, everything else is one.
    is_list: bool,
}

impl<'p, 'a> Place<'p, 'a> {
    /// The place of one value.
    #[inline]
    fn one(self) -> &'p mut Packer<'a> {
        self.packer.elements += usize::from(self.is_list);
        self.packer
    }

    fn open(self, close: Close) -> Result<Compound<'p, 'a>, EncodeError> {
        let packer = self.one();
        packer.enter()?;
        let start = packer.out.len();
        packer.out.push(0);
        Ok(Compound { packer, start, count: 0, close, mark: None })
    }
}

macro_rules! whole_numbers {
    ($($method:ident($type:ty) $of:ident;)*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<(), EncodeError> {
            write_number(self.one().out, $of(value.into()));
            Ok(())
        }
    )*};
}

/// What has no number of its own in MessagePack is written as its JSON is.
macro_rules! by_their_text {
    ($($method:ident($type:ty))*) => {$(
        fn $method(self, value: $type) -> Result<(), EncodeError> {
            let mut text = Vec::new();
            json::write_plain(&mut text, &value);
            let text = std::str::from_utf8(&text).expect("numbers are written in ASCII");
            write_json(self.one().out, text, &[]);
            Ok(())
        }
    )*};
}

fn signed(number: i64) -> Number {
    u64::try_from(number).map_or(Number::Negative(number), Number::Unsigned)
}

impl<'p, 'a> ser::Serializer for Place<'p, 'a> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Compound<'p, 'a>;
    type SerializeTuple = Compound<'p, 'a>;
    type SerializeTupleStruct = Compound<'p, 'a>;
    type SerializeTupleVariant = Compound<'p, 'a>;
    type SerializeMap = Compound<'p, 'a>;
    type SerializeStruct = Compound<'p, 'a>;
    type SerializeStructVariant = Compound<'p, 'a>;

    whole_numbers! {
        serialize_i8(i8) signed; serialize_i16(i16) signed; serialize_i32(i32) signed; serialize_i64(i64) signed;
    }

    by_their_text! { serialize_i128(i128) serialize_u128(u128) serialize_f32(f32) }

    fn serialize_u8(self, value: u8) -> Result<(), EncodeError> {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), EncodeError> {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), EncodeError> {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<(), EncodeError> {
        write_uint(self.one().out, value);
        Ok(())
    }

    fn serialize_bool(self, value: bool) -> Result<(), EncodeError> {
        self.one().out.push(if value { 0xc3 } else { 0xc2 });
        Ok(())
    }

    fn serialize_f64(self, value: f64) -> Result<(), EncodeError> {
        let packer = self.one();
        match value.is_finite() {
            true => write_number(packer.out, Number::Float(value)),
            // As `JSON.stringify` has it.
            false => write_nil(packer.out),
        }
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), EncodeError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), EncodeError> {
        write_str(self.one().out, value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), EncodeError> {
        let packer = self.one();
        packer.binary = true;
        write_bin(packer.out, value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), EncodeError> {
        write_nil(self.one().out);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), EncodeError> {
        if self.is_list { Ok(()) } else { self.serialize_none() }
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), EncodeError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), EncodeError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), EncodeError> {
        if !self.is_list || name != handover::NAME {
            return value.serialize(self);
        }
        let Place { packer, is_list } = self;
        handover::ask();
        value.serialize(Place { packer: &mut *packer, is_list })?;
        if let Some(args) = handover::take() {
            packer.binary = !args.attachments().is_empty();
            packer.elements +=
                append_list(packer.out, args.arguments()).map_err(|error| EncodeError::Serialize(error.to_string()))?;
        }
        Ok(())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        let packer = self.one();
        packer.variant(variant)?;
        value.serialize(Place { packer: &mut *packer, is_list: false })?;
        packer.depth -= 1;
        Ok(())
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Compound<'p, 'a>, EncodeError> {
        self.open(Close::Array)
    }

    fn serialize_tuple(self, _len: usize) -> Result<Compound<'p, 'a>, EncodeError> {
        match self {
            Place { packer, is_list: true } => {
                Ok(Compound { packer, start: 0, count: 0, close: Close::List, mark: None })
            }
            inside => inside.open(Close::Array),
        }
    }

    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<Compound<'p, 'a>, EncodeError> {
        self.serialize_tuple(len)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Compound<'p, 'a>, EncodeError> {
        let packer = self.one();
        packer.variant(variant)?;
        Place { packer, is_list: false }.open(Close::VariantArray)
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Compound<'p, 'a>, EncodeError> {
        self.open(Close::Map)
    }

    fn serialize_struct(self, name: &'static str, _len: usize) -> Result<Compound<'p, 'a>, EncodeError> {
        match name.starts_with(RAW) {
            true => Ok(Compound { packer: self.one(), start: 0, count: 0, close: Close::Raw, mark: None }),
            false => self.open(Close::Map),
        }
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Compound<'p, 'a>, EncodeError> {
        let packer = self.one();
        packer.variant(variant)?;
        Place { packer, is_list: false }.open(Close::VariantMap)
    }
}

/// An array, map or argument list of which the elements are being written. Its header follows when it ends: then
/// its elements have been counted.
struct Compound<'p, 'a> {
    packer: &'p mut Packer<'a>,
    /// Where its header goes.
    start: usize,
    count: usize,
    close: Close,
    /// Where the value of a member called `_placeholder` begins.
    mark: Option<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum Close {
    List,
    Array,
    Map,
    VariantArray,
    VariantMap,
    Raw,
}

impl Compound<'_, '_> {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.count += 1;
        value.serialize(Place { packer: &mut *self.packer, is_list: false })
    }

    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        let Packer { out, .. } = &mut *self.packer;
        let mut marked = false;
        key.serialize(PlainText(|text: &str| {
            marked = text == PLACEHOLDER;
            write_str(out, text);
            Ok(())
        }))?;
        self.mark = marked.then_some(out.len());
        Ok(())
    }

    fn member<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.element(value)?;
        if let Some(start) = self.mark.take() {
            self.packer.lookalike |= self.packer.out.get(start..) == Some(&[0xc3]);
        }
        Ok(())
    }

    fn field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), EncodeError> {
        if self.close == Close::Raw {
            return value.serialize(PlainText(|text: &str| self.packer.raw(text)));
        }
        write_str(self.packer.out, key);
        self.mark = (key == PLACEHOLDER).then_some(self.packer.out.len());
        self.member(value)
    }

    fn finish(self) {
        let Compound { packer, start, count, close, .. } = self;
        match close {
            Close::List => return packer.elements += count,
            Close::Raw => return,
            Close::Array | Close::VariantArray => put_array_header(packer.out, start, count),
            Close::Map | Close::VariantMap => put_map_header(packer.out, start, count),
        }
        packer.depth -= if matches!(close, Close::VariantArray | Close::VariantMap) { 2 } else { 1 };
    }
}

compound!(Compound<'_, '_>);

#[cfg(test)]
mod tests;
