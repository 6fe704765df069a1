//! The `GridData` derive macro.
#![forbid(unsafe_code)]

mod attrs;
mod decode;
mod encode;
mod key;
mod model;

use proc_macro::TokenStream;
use quote::quote;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct or enum a value, and with `#[grid(key)]` a key, of the grid.
///
/// ```
/// use grid_core::{GridData, data::BlobBuf};
///
/// #[derive(GridData, Debug, PartialEq)]
/// struct Order {
///     #[grid(id = 1)]
///     customer: u64,
///     #[grid(id = 2)]
///     lines: Vec<Line>,
///     #[grid(id = 4, default = "EUR".into())]
///     currency: String,
/// }
///
/// #[derive(GridData, Debug, PartialEq)]
/// enum Line {
///     #[grid(id = 1)]
///     Discount,
///     #[grid(id = 2)]
///     Article(u32, f64),
/// }
///
/// let order = Order { customer: 7, lines: vec![Line::Article(3, 9.5)], currency: "CHF".into() };
/// assert_eq!(BlobBuf::of(&order)?.decode::<Order>()?, order);
/// # Ok::<(), grid_core::data::DataError>(())
/// ```
///
/// # Attributes of the type
///
/// - `#[grid(name = "Order")]`: the name whose fingerprint marks the payload, if not the
///   identifier. Give it when two types share an identifier, or to rename a type.
/// - `#[grid(reserved(3, 5))]`: ids (of a struct's fields or an enum's variants) that were used once
///   and must not be used again.
/// - `#[grid(transparent)]`: a struct of one field that encodes as that field.
/// - `#[grid(key)]`: implements `Key`; all fields must be keys themselves.
/// - `#[grid(key, affinity = "field")]`: the key lives in the partition of that field's value.
/// - `#[grid(crate = path)]`: where `grid_core` is to be found, if not at `::grid_core`.
///
/// # Attributes of fields
///
/// - `#[grid(id = 3)]`: the id, 1 to 65535. Named fields must have one, because ids that follow
///   from the order would change meaning when fields are moved; the fields of tuple structs have
///   their position from 1 unless told otherwise.
/// - `#[grid(default = expression)]`: what a missing field becomes, if not `Default::default()`.
/// - `#[grid(required)]`: a missing field is an error.
/// - `#[grid(skip)]`: not encoded; decoded as `Default::default()` or the `default` given.
///
/// # Attributes of variants
///
/// - `#[grid(id = 3)]`: the id, mandatory.
/// - `#[grid(other)]`: a variant without data that stands for all ids that this version of the
///   type does not know. Without it they are an error.
/// - `#[grid(reserved(3, 5))]`: field ids not to be used again.
///
/// # What is refused
///
/// ```compile_fail
/// #[derive(grid_core::GridData)]
/// struct NoId { field: u8 }
/// ```
/// ```compile_fail
/// #[derive(grid_core::GridData)]
/// struct SameId { #[grid(id = 1)] a: u8, #[grid(id = 1)] b: u8 }
/// ```
/// ```compile_fail
/// #[derive(grid_core::GridData)]
/// #[grid(reserved(1))]
/// struct ReservedId { #[grid(id = 1)] a: u8 }
/// ```
/// ```compile_fail
/// #[derive(grid_core::GridData)]
/// enum NoVariantId { A }
/// ```
/// ```compile_fail,E0277
/// #[derive(grid_core::GridData)]
/// #[grid(key)]
/// struct FloatKey { #[grid(id = 1)] a: f64 }
/// ```
/// ```compile_fail,E0277
/// struct NoDefault(u8);
/// impl grid_core::data::Encode for NoDefault {
///     fn tag(&self) -> grid_core::data::TypeTag { self.0.tag() }
///     fn encode(&self, out: &mut Vec<u8>) -> grid_core::data::DataResult<()> { self.0.encode(out) }
/// }
/// impl grid_core::data::Decode for NoDefault {
///     fn decode(blob: grid_core::data::Blob<'_>) -> grid_core::data::DataResult<Self> {
///         blob.decode().map(NoDefault)
///     }
/// }
/// #[derive(grid_core::GridData)]
/// struct Holder { #[grid(id = 1)] a: NoDefault }
/// ```
#[proc_macro_derive(GridData, attributes(grid))]
pub fn grid_data(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    match model::Model::of(&input) {
        Ok(model) => {
            let (encode, decode, key) =
                (encode::expand(&model), decode::expand(&model), key::expand(&model));
            quote! { #encode #decode #key }.into()
        }
        Err(error) => error.to_compile_error().into(),
    }
}
