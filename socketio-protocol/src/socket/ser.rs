//! From a type to a payload, in one walk over the type.
//!
//! Two serde serializers over one [`Writer`], the mirror of `de.rs`. [`ListWriter`] is the outer one and knows the rule
//! "a tuple is the argument list"; `&mut Writer` writes one value and turns binary into a placeholder.

use bytes::Bytes;
use serde::ser::{self, Serialize};

use super::codec::EncodeError;
use super::compound::compound;
use super::de::RAW;
use super::json::{self, MAX_DEPTH, PLACEHOLDER, write_escaped, write_placeholder, write_plain, write_string};
use super::plain_text::PlainText;
use super::{Attachments, handover};

/// Writes JSON behind what `out` holds and collects the attachments.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    attachments: Attachments,
    /// Containers that are open.
    depth: usize,
    /// An object was written that a receiver would take for the place of an attachment, if there are any.
    lookalike: bool,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Writer { out, attachments: Attachments::new(), depth: 0, lookalike: false }
    }

    /// Writes `[`, `name` if there is one, and the arguments in `args`.
    pub(super) fn list<T: Serialize + ?Sized>(&mut self, name: Option<&str>, args: &T) -> Result<(), EncodeError> {
        self.open(b'[')?;
        if let Some(name) = name {
            write_string(self.out, name);
        }
        args.serialize(ListWriter { empty: name.is_none(), writer: self })?;
        self.close(b']');
        Ok(())
    }

    /// What has to follow the text.
    pub(super) fn finish(self) -> Result<Attachments, EncodeError> {
        if self.lookalike && !self.attachments.is_empty() {
            return Err(EncodeError::PlaceholderLookalike);
        }
        Ok(self.attachments)
    }

    fn open(&mut self, byte: u8) -> Result<(), EncodeError> {
        if self.depth == MAX_DEPTH {
            return Err(EncodeError::TooDeep);
        }
        self.depth += 1;
        self.out.push(byte);
        Ok(())
    }

    fn close(&mut self, byte: u8) {
        self.depth -= 1;
        self.out.push(byte);
    }

    /// Writes `{"variant":`
    fn open_variant(&mut self, variant: &str) -> Result<(), EncodeError> {
        self.open(b'{')?;
        write_string(self.out, variant);
        self.out.push(b':');
        Ok(())
    }

    /// Writes what serde_json has written before, as it is.
    fn splice(&mut self, text: &str) -> Result<(), EncodeError> {
        let place = json::check(text).map_err(|_| EncodeError::Serialize("raw value is not JSON".to_owned()))?;
        // No attachments are counted, so that any placeholder is one too many.
        self.lookalike |= json::check_placeholders(text, 0).is_err();
        self.out.extend_from_slice(text.get(place).unwrap_or(text).as_bytes());
        Ok(())
    }
}

/// Writes an argument list: the elements of a tuple, nothing for `()`, one argument for everything else.
struct ListWriter<'w, 'a> {
    writer: &'w mut Writer<'a>,
    /// Nothing stands before the first argument.
    empty: bool,
}

impl<'w, 'a> ListWriter<'w, 'a> {
    /// The writer, ready for one argument.
    fn argument(self) -> &'w mut Writer<'a> {
        if !self.empty {
            self.writer.out.push(b',');
        }
        self.writer
    }
}

/// Everything but a tuple is one argument.
macro_rules! one_argument {
    ($($method:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {$(
        #[inline]
        fn $method(self, $($arg: $type),*) -> Result<$result, EncodeError> {
            self.argument().$method($($arg),*)
        }
    )*};
}

impl<'w, 'a> ser::Serializer for ListWriter<'w, 'a> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Compound<'w, 'a>;
    type SerializeTuple = Compound<'w, 'a>;
    type SerializeTupleStruct = Compound<'w, 'a>;
    type SerializeTupleVariant = Compound<'w, 'a>;
    type SerializeMap = Compound<'w, 'a>;
    type SerializeStruct = Compound<'w, 'a>;
    type SerializeStructVariant = Compound<'w, 'a>;

    fn serialize_tuple(self, _len: usize) -> Result<Compound<'w, 'a>, EncodeError> {
        Ok(Compound { writer: self.writer, first: self.empty, close: Close::Nothing, mark: None })
    }

    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<Compound<'w, 'a>, EncodeError> {
        self.serialize_tuple(len)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), EncodeError> {
        if name != handover::NAME {
            return value.serialize(self);
        }
        handover::ask();
        value.serialize(ListWriter { writer: &mut *self.writer, empty: self.empty })?;
        let Some(args) = handover::take() else {
            return Ok(());
        };
        // Nothing but the name has been written, so the placeholders count from zero, as in `args`.
        args.write_arguments(self.writer.out, self.empty);
        self.writer.attachments = args.attachments().iter().cloned().collect();
        Ok(())
    }

    fn serialize_unit(self) -> Result<(), EncodeError> {
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), EncodeError> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.argument().serialize_newtype_variant(name, index, variant, value)
    }

    one_argument! {
        serialize_bool(value: bool) -> ();
        serialize_i8(value: i8) -> ();
        serialize_i16(value: i16) -> ();
        serialize_i32(value: i32) -> ();
        serialize_i64(value: i64) -> ();
        serialize_i128(value: i128) -> ();
        serialize_u8(value: u8) -> ();
        serialize_u16(value: u16) -> ();
        serialize_u32(value: u32) -> ();
        serialize_u64(value: u64) -> ();
        serialize_u128(value: u128) -> ();
        serialize_f32(value: f32) -> ();
        serialize_f64(value: f64) -> ();
        serialize_char(value: char) -> ();
        serialize_str(value: &str) -> ();
        serialize_bytes(value: &[u8]) -> ();
        serialize_none() -> ();
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str) -> ();
        serialize_seq(len: Option<usize>) -> Compound<'w, 'a>;
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize) -> Compound<'w, 'a>;
        serialize_map(len: Option<usize>) -> Compound<'w, 'a>;
        serialize_struct(name: &'static str, len: usize) -> Compound<'w, 'a>;
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize) -> Compound<'w, 'a>;
    }
}

macro_rules! plain {
    ($($method:ident($type:ty))*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<(), EncodeError> {
            write_plain(self.out, &value);
            Ok(())
        }
    )*};
}

impl<'w, 'a> ser::Serializer for &'w mut Writer<'a> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Compound<'w, 'a>;
    type SerializeTuple = Compound<'w, 'a>;
    type SerializeTupleStruct = Compound<'w, 'a>;
    type SerializeTupleVariant = Compound<'w, 'a>;
    type SerializeMap = Compound<'w, 'a>;
    type SerializeStruct = Compound<'w, 'a>;
    type SerializeStructVariant = Compound<'w, 'a>;

    // NaN and the infinities become null, as `JSON.stringify` has it.
    plain! {
        serialize_bool(bool)
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64) serialize_i128(i128)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64) serialize_u128(u128)
        serialize_f32(f32) serialize_f64(f64)
    }

    fn serialize_char(self, value: char) -> Result<(), EncodeError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), EncodeError> {
        write_string(self.out, value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), EncodeError> {
        write_placeholder(self.out, self.attachments.len());
        self.attachments.push(Bytes::copy_from_slice(value));
        Ok(())
    }

    fn serialize_none(self) -> Result<(), EncodeError> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), EncodeError> {
        self.out.extend_from_slice(b"null");
        Ok(())
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

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.open_variant(variant)?;
        value.serialize(&mut *self)?;
        self.close(b'}');
        Ok(())
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Compound<'w, 'a>, EncodeError> {
        self.open(b'[')?;
        Ok(Compound { writer: self, first: true, close: Close::Array, mark: None })
    }

    fn serialize_tuple(self, len: usize) -> Result<Compound<'w, 'a>, EncodeError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<Compound<'w, 'a>, EncodeError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Compound<'w, 'a>, EncodeError> {
        self.open_variant(variant)?;
        self.open(b'[')?;
        Ok(Compound { writer: self, first: true, close: Close::VariantArray, mark: None })
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Compound<'w, 'a>, EncodeError> {
        self.open(b'{')?;
        Ok(Compound { writer: self, first: true, close: Close::Object, mark: None })
    }

    fn serialize_struct(self, name: &'static str, _len: usize) -> Result<Compound<'w, 'a>, EncodeError> {
        if name.starts_with(RAW) {
            return Ok(Compound { writer: self, first: true, close: Close::Raw, mark: None });
        }
        self.serialize_map(None)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Compound<'w, 'a>, EncodeError> {
        self.open_variant(variant)?;
        self.open(b'{')?;
        Ok(Compound { writer: self, first: true, close: Close::VariantObject, mark: None })
    }
}

/// An array, object or argument list of which the elements are being written.
pub(super) struct Compound<'w, 'a> {
    writer: &'w mut Writer<'a>,
    first: bool,
    close: Close,
    /// Where the value of a member called `_placeholder` begins.
    mark: Option<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum Close {
    Nothing,
    Array,
    Object,
    VariantArray,
    VariantObject,
    Raw,
}

impl Compound<'_, '_> {
    fn separate(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.writer.out.push(b',');
        }
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.separate();
        value.serialize(&mut *self.writer)
    }

    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        self.separate();
        self.writer.out.push(b'"');
        let start = self.writer.out.len();
        let out = &mut *self.writer.out;
        key.serialize(PlainText(|text: &str| {
            write_escaped(out, text);
            Ok(())
        }))?;
        let marked = self.writer.out.get(start..) == Some(PLACEHOLDER.as_bytes());
        self.writer.out.extend_from_slice(b"\":");
        self.mark = marked.then_some(self.writer.out.len());
        Ok(())
    }

    fn member<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        value.serialize(&mut *self.writer)?;
        if let Some(start) = self.mark.take() {
            self.writer.lookalike |= self.writer.out.get(start..) == Some(b"true");
        }
        Ok(())
    }

    #[inline]
    fn field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), EncodeError> {
        if self.close == Close::Raw {
            return value.serialize(PlainText(|text: &str| self.writer.splice(text)));
        }
        self.separate();
        write_string(self.writer.out, key);
        self.writer.out.push(b':');
        self.mark = (key == PLACEHOLDER).then_some(self.writer.out.len());
        self.member(value)
    }

    fn finish(self) {
        match self.close {
            Close::Nothing | Close::Raw => {}
            Close::Array => self.writer.close(b']'),
            Close::Object => self.writer.close(b'}'),
            Close::VariantArray => {
                self.writer.close(b']');
                self.writer.close(b'}');
            }
            Close::VariantObject => {
                self.writer.close(b'}');
                self.writer.close(b'}');
            }
        }
    }
}

compound!(Compound<'_, '_>);

impl ser::Error for EncodeError {
    fn custom<T: std::fmt::Display>(reason: T) -> Self {
        EncodeError::Serialize(reason.to_string())
    }
}
