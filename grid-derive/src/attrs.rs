//! The `#[grid(…)]` attributes.

use proc_macro2::Span;
use syn::meta::ParseNestedMeta;
use syn::punctuated::Punctuated;
use syn::{Attribute, Error, Expr, LitInt, LitStr, Path, Result, Token, parenthesized};

/// An id and where it was given.
pub(crate) struct Id {
    pub(crate) value: u16,
    pub(crate) span: Span,
}

#[derive(Default)]
pub(crate) struct TypeAttrs {
    pub(crate) name: Option<LitStr>,
    pub(crate) reserved: Vec<Id>,
    pub(crate) transparent: Option<Span>,
    pub(crate) key: bool,
    pub(crate) affinity: Option<LitStr>,
    pub(crate) krate: Option<Path>,
}

#[derive(Default)]
pub(crate) struct VariantAttrs {
    pub(crate) id: Option<Id>,
    pub(crate) other: Option<Span>,
    pub(crate) reserved: Vec<Id>,
}

#[derive(Default)]
pub(crate) struct FieldAttrs {
    pub(crate) id: Option<Id>,
    pub(crate) default: Option<Expr>,
    pub(crate) required: Option<Span>,
    pub(crate) skip: Option<Span>,
}

/// Calls `take` with each entry of each `#[grid(…)]`; it says whether it knew the entry.
fn entries(
    attrs: &[Attribute],
    known: &str,
    mut take: impl FnMut(&ParseNestedMeta<'_>) -> Result<bool>,
) -> Result<()> {
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("grid")) {
        attr.parse_nested_meta(|meta| {
            if take(&meta)? { Ok(()) } else { Err(meta.error(format!("expected {known}"))) }
        })?;
    }
    Ok(())
}

fn id(literal: &LitInt) -> Result<Id> {
    let span = literal.span();
    match literal.base10_parse::<u16>() {
        Ok(value) if value > 0 => Ok(Id { value, span }),
        _ => Err(Error::new(span, "an id is a number from 1 to 65535")),
    }
}

fn set<T>(slot: &mut Option<T>, value: T, meta: &ParseNestedMeta<'_>) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(meta.error("given twice"));
    }
    Ok(())
}

fn reserved(meta: &ParseNestedMeta<'_>, into: &mut Vec<Id>) -> Result<()> {
    let content;
    parenthesized!(content in meta.input);
    for literal in Punctuated::<LitInt, Token![,]>::parse_terminated(&content)? {
        into.push(id(&literal)?);
    }
    Ok(())
}

impl TypeAttrs {
    pub(crate) fn of(attrs: &[Attribute]) -> Result<Self> {
        let mut found = Self::default();
        let known = "`name`, `reserved`, `transparent`, `key`, `affinity` or `crate`";
        entries(attrs, known, |meta| {
            let span = meta.path.segments[0].ident.span();
            if meta.path.is_ident("name") {
                set(&mut found.name, meta.value()?.parse()?, meta)?;
            } else if meta.path.is_ident("affinity") {
                set(&mut found.affinity, meta.value()?.parse()?, meta)?;
            } else if meta.path.is_ident("crate") {
                set(&mut found.krate, meta.value()?.parse()?, meta)?;
            } else if meta.path.is_ident("transparent") {
                set(&mut found.transparent, span, meta)?;
            } else if meta.path.is_ident("key") {
                found.key = true;
            } else if meta.path.is_ident("reserved") {
                reserved(meta, &mut found.reserved)?;
            } else {
                return Ok(false);
            }
            Ok(true)
        })?;
        Ok(found)
    }
}

impl VariantAttrs {
    pub(crate) fn of(attrs: &[Attribute]) -> Result<Self> {
        let mut found = Self::default();
        entries(attrs, "`id`, `other` or `reserved`", |meta| {
            if meta.path.is_ident("id") {
                set(&mut found.id, id(&meta.value()?.parse()?)?, meta)?;
            } else if meta.path.is_ident("other") {
                set(&mut found.other, meta.path.segments[0].ident.span(), meta)?;
            } else if meta.path.is_ident("reserved") {
                reserved(meta, &mut found.reserved)?;
            } else {
                return Ok(false);
            }
            Ok(true)
        })?;
        Ok(found)
    }
}

impl FieldAttrs {
    pub(crate) fn of(attrs: &[Attribute]) -> Result<Self> {
        let mut found = Self::default();
        entries(attrs, "`id`, `default`, `required` or `skip`", |meta| {
            let span = meta.path.segments[0].ident.span();
            if meta.path.is_ident("id") {
                set(&mut found.id, id(&meta.value()?.parse()?)?, meta)?;
            } else if meta.path.is_ident("default") {
                set(&mut found.default, meta.value()?.parse()?, meta)?;
            } else if meta.path.is_ident("required") {
                set(&mut found.required, span, meta)?;
            } else if meta.path.is_ident("skip") {
                set(&mut found.skip, span, meta)?;
            } else {
                return Ok(false);
            }
            Ok(true)
        })?;
        if let (Some(span), true) = (found.skip, found.id.is_some() || found.required.is_some()) {
            return Err(Error::new(span, "a skipped field has no id and cannot be required"));
        }
        if let (Some(span), true) = (found.required, found.default.is_some()) {
            return Err(Error::new(span, "a required field has no default"));
        }
        Ok(found)
    }
}
