//! From a payload to a type, in one walk over the text.
//!
//! Two serde deserializers. [`ListReader`] is the outer one and knows the rule "a tuple is the argument list";
//! [`ValueReader`] reads one value in it and knows that binary is where a placeholder is. Text and attachments are
//! borrowed from the payload, nothing is built in between.

use bytes::Bytes;
use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

use super::args::ArgsError;
use super::handover;
use super::json::{Fault, Number, Reader};
use super::{Args, DecodeError};

/// The arguments of a payload, one after the other.
#[derive(Clone, Copy)]
pub(super) struct ListReader<'de> {
    args: &'de Args,
    value: ValueReader<'de>,
    left: Left,
    /// How many arguments have been read.
    index: usize,
}

/// What has not been read yet.
#[derive(Clone, Copy)]
pub(super) enum Left {
    /// No arguments any more.
    Nothing,
    /// One value that is not in a list.
    Single,
    /// The rest of a list; `first` if nothing stands before it.
    List { first: bool },
}

impl<'de> ListReader<'de> {
    /// The arguments of `args`, which begin at byte `at` of its JSON.
    pub(super) fn new(args: &'de Args, at: usize, left: Left) -> Self {
        let mut value = ValueReader::new(args);
        value.reader = Reader::new_at(args.json(), at);
        ListReader { args, value, left, index: 0 }
    }

    /// The next argument, if there is one. It has to be read before the next call.
    pub(super) fn next(&mut self) -> Result<Option<&mut ValueReader<'de>>, ArgsError> {
        let more = match &mut self.left {
            Left::Nothing => false,
            Left::Single => {
                self.left = Left::Nothing;
                true
            }
            Left::List { first } => {
                let more = self.value.reader.advance(first, b']')?;
                if !more {
                    self.left = Left::Nothing;
                }
                more
            }
        };
        self.index += usize::from(more);
        Ok(more.then_some(&mut self.value))
    }

    /// Hands the next argument to `read`, or `null` if there is none, and marks an error with which argument it was.
    fn read<T>(&mut self, read: impl FnOnce(&mut ValueReader<'de>) -> Result<T, ArgsError>) -> Result<T, ArgsError> {
        let index = self.index;
        match self.next()? {
            Some(value) => read(value).map_err(|error| error.in_argument(index, value.reader.at())),
            None => read(&mut ValueReader::missing()).map_err(|error| error.for_missing(index)),
        }
    }
}

/// Everything but a tuple asks the first argument.
macro_rules! first_argument {
    ($($method:ident($($arg:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(mut self, $($arg: $type,)* visitor: V) -> Result<V::Value, ArgsError> {
            self.read(|value| value.$method($($arg,)* visitor))
        }
    )*};
}

impl<'de> de::Deserializer<'de> for ListReader<'de> {
    type Error = ArgsError;

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, ArgsError> {
        visitor.visit_seq(Tuple { list: self, len })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        if name == handover::NAME {
            handover::put(self.args.without_name());
            let value = visitor.visit_newtype_struct(self);
            handover::take();
            return value;
        }
        if name.starts_with(RAW) {
            return self.read(|value| value.deserialize_newtype_struct(name, visitor));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        let nothing = match { self }.next()? {
            Some(value) => value.reader.peek()? == b'n',
            None => true,
        };
        if nothing { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, ArgsError> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        visitor.visit_unit()
    }

    first_argument! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_seq();
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
    }
}

/// The first `len` arguments; those that did not come read as `null`.
struct Tuple<'de> {
    list: ListReader<'de>,
    len: usize,
}

impl<'de> de::SeqAccess<'de> for Tuple<'de> {
    type Error = ArgsError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ArgsError> {
        if self.len == 0 {
            return Ok(None);
        }
        self.len -= 1;
        self.list.read(|value| seed.deserialize(value)).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.len)
    }
}

/// One value in JSON text, binary in place of its placeholders.
#[derive(Debug, Clone, Copy)]
pub(super) struct ValueReader<'de> {
    pub(super) reader: Reader<'de>,
    pub(super) attachments: &'de [Bytes],
}

/// How serde_json's own raw types (`RawValue`, `Number` with `arbitrary_precision`) announce themselves.
pub(super) const RAW: &str = "$serde_json::private::";

impl<'de> ValueReader<'de> {
    /// The whole JSON of `args`.
    pub(super) fn new(args: &'de Args) -> Self {
        ValueReader { reader: Reader::new(args.json()), attachments: args.attachments() }
    }

    /// What stands for an argument that did not come.
    fn missing() -> Self {
        ValueReader { reader: Reader::new("null"), attachments: &[] }
    }

    fn sequence<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, ArgsError> {
        self.reader.expect(b'[')?;
        let mut elements = Members { value: self, first: true, ended: false };
        let value = visitor.visit_seq(&mut elements)?;
        elements.end(b']')?;
        Ok(value)
    }

    fn object<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, ArgsError> {
        self.reader.expect(b'{')?;
        let mut members = Members { value: self, first: true, ended: false };
        let value = visitor.visit_map(&mut members)?;
        members.end(b'}')?;
        Ok(value)
    }

    fn wide<V: Visitor<'de>, N: std::str::FromStr>(
        &mut self,
        visit: impl FnOnce(V, N) -> Result<V::Value, ArgsError>,
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        let mut reader = self.reader;
        if matches!(reader.peek()?, b'-' | b'0'..=b'9')
            && let Ok(number) = reader.number()?.parse()
        {
            self.reader = reader;
            return visit(visitor, number);
        }
        de::Deserializer::deserialize_any(self, visitor)
    }
}

/// What the next byte already says.
macro_rules! any {
    ($($method:ident($($arg:ident: $type:ty),*);)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, ArgsError> {
            self.deserialize_any(visitor)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for &mut ValueReader<'de> {
    type Error = ArgsError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        match self.reader.peek()? {
            b'"' => match self.reader.string()? {
                std::borrow::Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
                std::borrow::Cow::Owned(text) => visitor.visit_string(text),
            },
            b'-' | b'0'..=b'9' => match Number::parse(self.reader.number()?) {
                Number::Unsigned(number) => visitor.visit_u64(number),
                Number::Negative(number) => visitor.visit_i64(number),
                Number::Float(number) => visitor.visit_f64(number),
            },
            b'[' => self.sequence(visitor),
            b'{' => match self.reader.attachment(self.attachments) {
                Some(bytes) => visitor.visit_borrowed_bytes(bytes),
                None => self.object(visitor),
            },
            b't' => {
                self.reader.word("true")?;
                visitor.visit_bool(true)
            }
            b'f' => {
                self.reader.word("false")?;
                visitor.visit_bool(false)
            }
            _ => {
                self.reader.word("null")?;
                visitor.visit_unit()
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        if self.reader.peek()? == b'n' {
            self.reader.word("null")?;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        match self.reader.peek()? {
            b'"' => match self.reader.string()? {
                std::borrow::Cow::Borrowed(text) => visitor.visit_borrowed_bytes(text.as_bytes()),
                std::borrow::Cow::Owned(text) => visitor.visit_byte_buf(text.into_bytes()),
            },
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        self.wide(V::visit_i128, visitor)
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        self.wide(V::visit_u128, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        if name == handover::NAME && self.attachments.is_empty() {
            handover::put(Args::from_checked(self.reader.raw_value()?.into()));
            let value = visitor.visit_newtype_struct(self);
            handover::take();
            return value;
        }
        if name.starts_with(RAW) {
            let mut raw = serde_json::Deserializer::from_str(self.reader.raw_value()?);
            return raw.deserialize_newtype_struct(name, visitor).map_err(de::Error::custom);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        match self.reader.peek()? {
            b'"' => visitor.visit_enum(self.reader.string()?.into_deserializer()),
            b'{' => {
                self.reader.expect(b'{')?;
                let value = visitor.visit_enum(Variant(self))?;
                self.reader.expect(b'}')?;
                Ok(value)
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        self.reader.skip_value()?;
        visitor.visit_unit()
    }

    any! {
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_unit();
        deserialize_unit_struct(_name: &'static str);
        deserialize_seq();
        deserialize_tuple(_len: usize);
        deserialize_tuple_struct(_name: &'static str, _len: usize);
        deserialize_map();
        deserialize_struct(_name: &'static str, _fields: &'static [&'static str]);
        deserialize_identifier();
    }
}

/// The elements of an array or the members of an object.
struct Members<'a, 'de> {
    value: &'a mut ValueReader<'de>,
    first: bool,
    ended: bool,
}

impl Members<'_, '_> {
    fn next(&mut self, close: u8) -> Result<bool, ArgsError> {
        self.ended = self.ended || !self.value.reader.advance(&mut self.first, close)?;
        Ok(!self.ended)
    }

    /// Says no to elements that a type has no place for.
    fn end(mut self, close: u8) -> Result<(), ArgsError> {
        if self.next(close)? {
            return Err(de::Error::custom("more elements than expected"));
        }
        Ok(())
    }
}

impl<'de> de::SeqAccess<'de> for &mut Members<'_, 'de> {
    type Error = ArgsError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ArgsError> {
        if !self.next(b']')? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.value).map(Some)
    }
}

impl<'de> de::MapAccess<'de> for &mut Members<'_, 'de> {
    type Error = ArgsError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ArgsError> {
        if !self.next(b'}')? {
            return Ok(None);
        }
        seed.deserialize(Key(self.value.reader.key()?)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, ArgsError> {
        seed.deserialize(&mut *self.value)
    }
}

/// A key of an object; types that are not text are read from its text.
struct Key<'de>(std::borrow::Cow<'de, str>);

macro_rules! key_from_text {
    ($($method:ident $visit:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
            match self.0.parse() {
                Ok(value) => visitor.$visit(value),
                Err(_) => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Key<'de> {
    type Error = ArgsError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        match self.0 {
            std::borrow::Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            std::borrow::Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    key_from_text! {
        deserialize_bool visit_bool
        deserialize_i8 visit_i8
        deserialize_i16 visit_i16
        deserialize_i32 visit_i32
        deserialize_i64 visit_i64
        deserialize_i128 visit_i128
        deserialize_u8 visit_u8
        deserialize_u16 visit_u16
        deserialize_u32 visit_u32
        deserialize_u64 visit_u64
        deserialize_u128 visit_u128
        deserialize_f32 visit_f32
        deserialize_f64 visit_f64
    }

    serde::forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// `{"variant": content}`
struct Variant<'a, 'de>(&'a mut ValueReader<'de>);

impl<'a, 'de> de::EnumAccess<'de> for Variant<'a, 'de> {
    type Error = ArgsError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), ArgsError> {
        let variant = seed.deserialize(Key(self.0.reader.key()?))?;
        Ok((variant, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, 'de> {
    type Error = ArgsError;

    fn unit_variant(self) -> Result<(), ArgsError> {
        de::Deserialize::deserialize(self.0)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ArgsError> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, ArgsError> {
        de::Deserializer::deserialize_seq(self.0, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        de::Deserializer::deserialize_any(self.0, visitor)
    }
}

impl From<Fault> for ArgsError {
    fn from(fault: Fault) -> Self {
        de::Error::custom(DecodeError::from(fault))
    }
}
