//! What `#[derive(GridData)]` knows of a type: names and ids, at compile time.

/// A type that encodes as a record. Implemented by `#[derive(GridData)]`.
///
/// ```
/// use grid_core::{GridData, data::Record};
///
/// #[derive(GridData)]
/// struct Person {
///     #[grid(id = 1)]
///     name: String,
///     #[grid(id = 2)]
///     age: u8,
/// }
/// assert_eq!(Person::SCHEMA.field_id("age"), Some(2));
/// ```
pub trait Record {
    /// The names and ids of the type.
    const SCHEMA: Schema;
}

/// Names and ids of a derived type. Payloads carry the fingerprint and the ids only; who wants to
/// address fields by name looks them up here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    /// Name of the type: its identifier, or `#[grid(name = "…")]`.
    pub name: &'static str,
    /// [`fingerprint`] of the name: the first 8 bytes of each payload.
    pub fingerprint: u64,
    /// The fields of a struct; none for an enum.
    pub fields: &'static [Field],
    /// The variants of an enum; none for a struct.
    pub variants: &'static [Variant],
}

/// A field of a [`Schema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The id in payloads.
    pub id: u16,
    /// The name in the source; the position for fields of tuple structs.
    pub name: &'static str,
}

/// A variant of a [`Schema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// The id in payloads.
    pub id: u16,
    /// The name in the source.
    pub name: &'static str,
    /// The fields of the variant.
    pub fields: &'static [Field],
}

impl Schema {
    #[doc(hidden)]
    #[must_use]
    pub const fn new(
        name: &'static str,
        fields: &'static [Field],
        variants: &'static [Variant],
    ) -> Self {
        Schema { name, fingerprint: fingerprint(name.as_bytes()), fields, variants }
    }

    /// The id of the struct field with this name.
    #[must_use]
    pub fn field_id(&self, name: &str) -> Option<u16> {
        self.fields.iter().find(|field| field.name == name).map(|field| field.id)
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a, 64 bits: what stands for a type's name in payloads.
#[must_use]
pub const fn fingerprint(name: &[u8]) -> u64 {
    fingerprint_more(FNV_OFFSET, name)
}

/// The fingerprint of what had the fingerprint `hash`, followed by `bytes`.
pub(crate) const fn fingerprint_more(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(FNV_PRIME);
        at += 1;
    }
    hash
}
