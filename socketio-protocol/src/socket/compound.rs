//! What serde wants of an array, map or struct that is being written: eight traits, which all come to the same.

/// Implements them for a type with the methods `element`, `field`, `key`, `member` and `finish`.
macro_rules! compound {
    ($compound:ty) => {
        compound! { @lists $compound:
            SerializeSeq serialize_element() element;
            SerializeTuple serialize_element() element;
            SerializeTupleStruct serialize_field() element;
            SerializeTupleVariant serialize_field() element;
            SerializeStruct serialize_field(key: &'static str) field;
            SerializeStructVariant serialize_field(key: &'static str) field;
        }

        impl ser::SerializeMap for $compound {
            type Ok = ();
            type Error = EncodeError;

            fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
                self.key(key)
            }

            fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
                self.member(value)
            }

            fn end(self) -> Result<(), EncodeError> {
                self.finish();
                Ok(())
            }
        }
    };
    (@lists $compound:ty: $($trait:ident $method:ident($($key:ident: $type:ty)?) $to:ident;)*) => {$(
        impl ser::$trait for $compound {
            type Ok = ();
            type Error = EncodeError;

            fn $method<T: Serialize + ?Sized>(&mut self, $($key: $type,)? value: &T) -> Result<(), EncodeError> {
                self.$to($($key,)? value)
            }

            fn end(self) -> Result<(), EncodeError> {
                self.finish();
                Ok(())
            }
        }
    )*};
}

pub(super) use compound;
