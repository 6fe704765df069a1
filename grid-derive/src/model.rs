//! The type as the generators see it: checked, its fields in order of ids.

use crate::attrs::{FieldAttrs, Id, TypeAttrs, VariantAttrs};
use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::{
    Data, DeriveInput, Error, Expr, Fields, GenericParam, Generics, Ident, Member, Result, Type,
    TypePath, parse_quote,
};

pub(crate) struct Model<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) generics: &'a Generics,
    pub(crate) name: String,
    /// The path of the `data` module.
    pub(crate) data: TokenStream,
    pub(crate) key: bool,
    pub(crate) affinity: Option<Field<'a>>,
    pub(crate) shape: Shape<'a>,
}

pub(crate) enum Shape<'a> {
    Transparent(Record<'a>),
    Struct(Record<'a>),
    Enum(Vec<Variant<'a>>),
}

/// The fields of a struct or variant.
pub(crate) struct Record<'a> {
    /// Encoded fields in ascending order of ids.
    pub(crate) fields: Vec<Field<'a>>,
    pub(crate) skipped: Vec<Field<'a>>,
}

#[derive(Clone)]
pub(crate) struct Field<'a> {
    /// 0 for a skipped field, or of a transparent struct.
    pub(crate) id: u16,
    pub(crate) member: Member,
    /// The name that generated patterns bind it to.
    pub(crate) binding: Ident,
    pub(crate) ty: &'a Type,
    pub(crate) missing: Missing,
}

/// What becomes of a field that the record does not have.
#[derive(Clone)]
pub(crate) enum Missing {
    Default,
    Value(Expr),
    Error,
}

pub(crate) struct Variant<'a> {
    pub(crate) id: u16,
    pub(crate) ident: &'a Ident,
    pub(crate) other: bool,
    pub(crate) record: Record<'a>,
}

impl<'a> Model<'a> {
    pub(crate) fn of(input: &'a DeriveInput) -> Result<Self> {
        let attrs = TypeAttrs::of(&input.attrs)?;
        let shape = match &input.data {
            Data::Struct(data) => structure(&attrs, &data.fields)?,
            Data::Enum(data) => {
                if let Some(span) = attrs.transparent {
                    return Err(Error::new(span, "only a struct can be transparent"));
                }
                Shape::Enum(variants(&attrs, data, input.ident.span())?)
            }
            Data::Union(data) => {
                return Err(Error::new(data.union_token.span, "a union has no encoding"));
            }
        };
        let krate = attrs.krate.map_or_else(|| quote!(::grid_core), |path| quote!(#path));
        Ok(Model {
            ident: &input.ident,
            generics: &input.generics,
            name: attrs.name.map_or_else(|| input.ident.to_string(), |name| name.value()),
            data: quote!(#krate::data),
            key: attrs.key,
            affinity: match attrs.affinity {
                Some(name) => Some(affinity(&shape, &name, attrs.key)?),
                None => None,
            },
            shape,
        })
    }

    /// The generics with `bound` added for each type parameter, and `Default` for those of which a
    /// field is made when it is missing.
    pub(crate) fn bounded(&self, bound: &str, default: bool) -> Generics {
        let (data, bound) = (&self.data, format_ident!("{bound}"));
        let mut generics = self.generics.clone();
        for param in &mut generics.params {
            if let GenericParam::Type(param) = param {
                param.bounds.push(parse_quote!(#data::#bound));
                if default && self.defaults(&param.ident) {
                    param.bounds.push(parse_quote!(::core::default::Default));
                }
            }
        }
        generics
    }

    fn defaults(&self, param: &Ident) -> bool {
        self.records().flat_map(|record| record.fields.iter().chain(&record.skipped)).any(|field| {
            let Type::Path(TypePath { qself: None, path }) = field.ty else { return false };
            matches!(field.missing, Missing::Default) && path.is_ident(param)
        })
    }

    pub(crate) fn records(&self) -> Box<dyn Iterator<Item = &Record<'a>> + '_> {
        match &self.shape {
            Shape::Transparent(record) | Shape::Struct(record) => Box::new(std::iter::once(record)),
            Shape::Enum(variants) => Box::new(variants.iter().map(|variant| &variant.record)),
        }
    }
}

fn structure<'a>(attrs: &TypeAttrs, fields: &'a Fields) -> Result<Shape<'a>> {
    let Some(span) = attrs.transparent else {
        return record(fields, &attrs.reserved).map(Shape::Struct);
    };
    let mut found = Record { fields: vec![], skipped: vec![] };
    for (at, field) in fields.iter().enumerate() {
        let parsed = FieldAttrs::of(&field.attrs)?;
        if let Some(id) = parsed.id {
            return Err(Error::new(id.span, "the field of a transparent struct has no id"));
        }
        let list = if parsed.skip.is_some() { &mut found.skipped } else { &mut found.fields };
        list.push(Field::new(
            0,
            at,
            field,
            parsed.default.map_or(Missing::Default, Missing::Value),
        ));
    }
    if let ([field], true) = (&mut found.fields[..], attrs.reserved.is_empty()) {
        field.missing = Missing::Error;
        return Ok(Shape::Transparent(found));
    }
    Err(Error::new(span, "a transparent struct has one field and reserves no ids"))
}

fn variants<'a>(
    attrs: &TypeAttrs,
    data: &'a syn::DataEnum,
    span: Span,
) -> Result<Vec<Variant<'a>>> {
    let mut used = Ids::new(&attrs.reserved);
    let mut found = vec![];
    let mut others = 0;
    for variant in &data.variants {
        let parsed = VariantAttrs::of(&variant.attrs)?;
        let id = used.take(parsed.id, None, variant.ident.span(), "variant")?;
        if let Some(span) = parsed.other {
            others += 1;
            if others > 1 || !variant.fields.is_empty() {
                return Err(Error::new(span, "one variant, without data, can be `other`"));
            }
        }
        found.push(Variant {
            id,
            ident: &variant.ident,
            other: parsed.other.is_some(),
            record: record(&variant.fields, &parsed.reserved)?,
        });
    }
    if found.is_empty() {
        return Err(Error::new(span, "an enum without variants has no values to encode"));
    }
    Ok(found)
}

fn record<'a>(fields: &'a Fields, reserved: &[Id]) -> Result<Record<'a>> {
    let mut used = Ids::new(reserved);
    let mut found = Record { fields: vec![], skipped: vec![] };
    for (at, field) in fields.iter().enumerate() {
        let parsed = FieldAttrs::of(&field.attrs)?;
        let missing = match (parsed.default, parsed.required) {
            (Some(value), _) => Missing::Value(value),
            (None, Some(_)) => Missing::Error,
            (None, None) => Missing::Default,
        };
        if parsed.skip.is_some() {
            found.skipped.push(Field::new(0, at, field, missing));
            continue;
        }
        let (position, span) = match &field.ident {
            Some(ident) => (None, ident.span()),
            None => (u16::try_from(at + 1).ok(), syn::spanned::Spanned::span(&field.ty)),
        };
        let id = used.take(parsed.id, position, span, "field")?;
        found.fields.push(Field::new(id, at, field, missing));
    }
    found.fields.sort_by_key(|field| field.id);
    Ok(found)
}

impl<'a> Field<'a> {
    fn new(id: u16, at: usize, field: &'a syn::Field, missing: Missing) -> Self {
        let member = field.ident.clone().map_or_else(|| Member::from(at), Member::from);
        Field { id, member, binding: format_ident!("field_{at}"), ty: &field.ty, missing }
    }

    /// The name for people and schemas.
    pub(crate) fn name(&self) -> String {
        match &self.member {
            Member::Named(ident) => syn::ext::IdentExt::unraw(ident).to_string(),
            Member::Unnamed(index) => index.index.to_string(),
        }
    }
}

/// The field that `affinity = "…"` names.
fn affinity<'a>(shape: &Shape<'a>, name: &syn::LitStr, key: bool) -> Result<Field<'a>> {
    let (Shape::Struct(record), true) = (shape, key) else {
        return Err(Error::new(name.span(), "`affinity` is for structs with `key`"));
    };
    let wanted = name.value();
    let field = record.fields.iter().find(|field| field.name() == wanted);
    field.cloned().ok_or_else(|| Error::new(name.span(), "there is no such encoded field"))
}

/// The ids given out so far.
struct Ids {
    used: Vec<u16>,
    reserved: Vec<u16>,
}

impl Ids {
    fn new(reserved: &[Id]) -> Self {
        Ids { used: vec![], reserved: reserved.iter().map(|id| id.value).collect() }
    }

    fn take(&mut self, id: Option<Id>, position: Option<u16>, at: Span, of: &str) -> Result<u16> {
        let (value, span) = match (id, position) {
            (Some(id), _) => (id.value, id.span),
            (None, Some(position)) => (position, at),
            (None, None) => {
                let message = format!(
                    "give this {of} an id that no other one has or had: `#[grid(id = {})]` is the \
                     lowest that is free so far",
                    self.lowest_free()
                );
                return Err(Error::new(at, message));
            }
        };
        if self.reserved.contains(&value) {
            return Err(Error::new(span, format!("the id {value} is reserved")));
        }
        if self.used.contains(&value) {
            return Err(Error::new(span, format!("the id {value} is used twice")));
        }
        self.used.push(value);
        Ok(value)
    }

    fn lowest_free(&self) -> u16 {
        let last = self.used.iter().chain(&self.reserved).max();
        last.map_or(1, |last| last.saturating_add(1))
    }
}
