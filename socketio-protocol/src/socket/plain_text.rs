//! The text of what is plain: keys of maps, and what serde_json wrote before.
//!
//! [`PlainText`] is a serializer that passes text on as it is, other plain types as their text, and refuses the rest.

use serde::ser::{self, Serialize};

use super::codec::EncodeError;
use super::json::write_plain;

/// Calls the function with the text of what is serialised.
pub(super) struct PlainText<F>(pub(super) F);

macro_rules! plain {
    ($($method:ident($type:ty))*) => {$(
        fn $method(self, value: $type) -> Result<(), EncodeError> {
            let mut text = Vec::with_capacity(24);
            write_plain(&mut text, &value);
            self.serialize_str(std::str::from_utf8(&text).expect("numbers are written in ASCII"))
        }
    )*};
}

macro_rules! not_plain {
    ($($method:ident($($type:ty),*) $result:ident;)*) => {$(
        fn $method(self, $(_: $type),*) -> Result<Self::$result, EncodeError> {
            Err(EncodeError::KeyNotText)
        }
    )*};
}

impl<F: FnOnce(&str) -> Result<(), EncodeError>> ser::Serializer for PlainText<F> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = ser::Impossible<(), EncodeError>;
    type SerializeTuple = ser::Impossible<(), EncodeError>;
    type SerializeTupleStruct = ser::Impossible<(), EncodeError>;
    type SerializeTupleVariant = ser::Impossible<(), EncodeError>;
    type SerializeMap = ser::Impossible<(), EncodeError>;
    type SerializeStruct = ser::Impossible<(), EncodeError>;
    type SerializeStructVariant = ser::Impossible<(), EncodeError>;

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
        (self.0)(value)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), EncodeError> {
        self.serialize_str(variant)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        value.serialize(self)
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
        _variant: &'static str,
        _value: &T,
    ) -> Result<(), EncodeError> {
        Err(EncodeError::KeyNotText)
    }

    not_plain! {
        serialize_bytes(&[u8]) Ok;
        serialize_none() Ok;
        serialize_unit() Ok;
        serialize_unit_struct(&'static str) Ok;
        serialize_seq(Option<usize>) SerializeSeq;
        serialize_tuple(usize) SerializeTuple;
        serialize_tuple_struct(&'static str, usize) SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) SerializeTupleVariant;
        serialize_map(Option<usize>) SerializeMap;
        serialize_struct(&'static str, usize) SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) SerializeStructVariant;
    }
}
