//! `impl Decode`.

use crate::model::{Field, Missing, Model, Record, Shape};
use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;

pub(crate) fn expand(model: &Model<'_>) -> TokenStream {
    let (data, ident) = (&model.data, model.ident);
    let generics = model.bounded("Decode", true);
    let (params, args, bounds) = generics.split_for_impl();
    let body = match &model.shape {
        Shape::Transparent(record) => transparent(model, record),
        Shape::Struct(record) => {
            let read = read(record, &quote!(Self));
            quote! { #read }
        }
        Shape::Enum(variants) => {
            let arms = variants.iter().map(|variant| {
                let (id, name) = (variant.id, variant.ident);
                let read = read(&variant.record, &quote!(Self::#name));
                quote! { #id => { #read } }
            });
            let other = match variants.iter().find(|variant| variant.other) {
                Some(variant) => {
                    let read = read(&variant.record, &{
                        let name = variant.ident;
                        quote!(Self::#name)
                    });
                    quote! { _ => { #read } }
                }
                None => quote! {
                    _ => ::core::result::Result::Err(fields.unknown_variant()),
                },
            };
            quote! { match fields.variant() { #(#arms)* #other } }
        }
    };
    let open = match &model.shape {
        Shape::Transparent(_) => quote!(),
        _ => {
            let mutable = if model.records().all(|record| record.fields.is_empty()) {
                quote!()
            } else {
                quote!(mut)
            };
            quote! {
                let #mutable fields = #data::RecordReader::open(
                    blob,
                    const { &<Self as #data::Record>::SCHEMA },
                )?;
            }
        }
    };
    let decode_key = match &model.shape {
        Shape::Transparent(record) => transparent_key(model, record),
        _ => quote!(),
    };
    quote! {
        #[automatically_derived]
        impl #params #data::Decode for #ident #args #bounds {
            fn decode(blob: #data::Blob<'_>) -> #data::DataResult<Self> {
                #open
                #body
            }
            #decode_key
        }
    }
}

fn transparent(model: &Model<'_>, record: &Record<'_>) -> TokenStream {
    let data = &model.data;
    let (member, ty) = (&record.fields[0].member, record.fields[0].ty);
    let skipped = skipped(record);
    quote! {
        ::core::result::Result::Ok(Self {
            #member: <#ty as #data::Decode>::decode(blob)?,
            #skipped
        })
    }
}

fn transparent_key(model: &Model<'_>, record: &Record<'_>) -> TokenStream {
    let data = &model.data;
    let (member, ty) = (&record.fields[0].member, record.fields[0].ty);
    let skipped = skipped(record);
    quote! {
        fn decode_key(
            blob: #data::Blob<'_>,
            affinity: ::core::option::Option<::core::primitive::u32>,
        ) -> #data::DataResult<Self> {
            ::core::result::Result::Ok(Self {
                #member: <#ty as #data::Decode>::decode_key(blob, affinity)?,
                #skipped
            })
        }
    }
}

/// Reads the fields in order of ids, then makes `constructor` of them.
fn read(record: &Record<'_>, constructor: &TokenStream) -> TokenStream {
    let lets = record.fields.iter().map(|field| {
        let (id, binding, ty, name) = (field.id, &field.binding, field.ty, field.name());
        match &field.missing {
            Missing::Error => quote! {
                let #binding = fields.required::<#ty>(#id, #name)?;
            },
            _ => {
                let default = default(field);
                quote! { let #binding = fields.or_else::<#ty>(#id, #name, || #default)?; }
            }
        }
    });
    let members = record.fields.iter().map(|field| &field.member);
    let bindings = record.fields.iter().map(|field| &field.binding);
    let skipped = skipped(record);
    quote! {
        #(#lets)*
        fields.finish()?;
        ::core::result::Result::Ok(#constructor { #(#members: #bindings,)* #skipped })
    }
}

fn skipped(record: &Record<'_>) -> TokenStream {
    let fields = record.skipped.iter().map(|field| {
        let (member, default) = (&field.member, default(field));
        quote! { #member: #default, }
    });
    quote! { #(#fields)* }
}

fn default(field: &Field<'_>) -> TokenStream {
    let ty = field.ty;
    match &field.missing {
        Missing::Value(value) => quote!(#value),
        _ => quote_spanned! { ty.span() => <#ty as ::core::default::Default>::default() },
    }
}
