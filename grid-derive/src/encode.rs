//! `impl Encode` and `impl Record`.

use crate::model::{Model, Record, Shape};
use proc_macro2::TokenStream;
use quote::quote;

pub(crate) fn expand(model: &Model<'_>) -> TokenStream {
    let (data, ident) = (&model.data, model.ident);
    let generics = model.bounded("Encode", false);
    let (params, args, bounds) = generics.split_for_impl();
    if let Shape::Transparent(record) = &model.shape {
        let (member, ty) = (&record.fields[0].member, record.fields[0].ty);
        return quote! {
            #[automatically_derived]
            impl #params #data::Encode for #ident #args #bounds {
                #[inline]
                fn tag(&self) -> #data::TypeTag {
                    #data::Encode::tag(&self.#member)
                }
                #[inline]
                fn encode(
                    &self,
                    out: &mut ::std::vec::Vec<::core::primitive::u8>,
                ) -> #data::DataResult<()> {
                    #data::Encode::encode(&self.#member, out)
                }
                #[inline]
                fn item_tag() -> ::core::option::Option<#data::TypeTag> {
                    <#ty as #data::Encode>::item_tag()
                }
            }
        };
    }
    let body = match &model.shape {
        Shape::Transparent(record) | Shape::Struct(record) => {
            let pattern = pattern(record);
            let write = write(model, record, &quote!(::core::option::Option::None));
            quote! { let Self #pattern = self; #write }
        }
        Shape::Enum(variants) => {
            let arms = variants.iter().map(|variant| {
                let (name, id) = (variant.ident, variant.id);
                let pattern = pattern(&variant.record);
                let write =
                    write(model, &variant.record, &quote!(::core::option::Option::Some(#id)));
                quote! { Self::#name #pattern => { #write } }
            });
            quote! { match self { #(#arms)* } }
        }
    };
    let schema = schema(model);
    quote! {
        #[automatically_derived]
        impl #params #data::Encode for #ident #args #bounds {
            #[inline]
            fn tag(&self) -> #data::TypeTag {
                #data::TypeTag::RECORD
            }
            fn encode(
                &self,
                out: &mut ::std::vec::Vec<::core::primitive::u8>,
            ) -> #data::DataResult<()> {
                #body
            }
            #[inline]
            fn item_tag() -> ::core::option::Option<#data::TypeTag> {
                ::core::option::Option::Some(#data::TypeTag::RECORD)
            }
        }
        #schema
    }
}

/// `{ a: field_0, 1: field_1, .. }`
pub(crate) fn pattern(record: &Record<'_>) -> TokenStream {
    let fields = record.fields.iter().map(|field| {
        let (member, binding) = (&field.member, &field.binding);
        quote!(#member: #binding)
    });
    quote! { { #(#fields,)* .. } }
}

fn write(model: &Model<'_>, record: &Record<'_>, variant: &TokenStream) -> TokenStream {
    let (data, count) = (&model.data, record.fields.len());
    let ids = record.fields.iter().map(|field| field.id);
    let bindings = record.fields.iter().map(|field| &field.binding);
    let fields = if count == 0 { quote!(fields) } else { quote!(mut fields) };
    quote! {
        let #fields = #data::RecordWriter::<'_, #count>::new(
            out,
            const { &<Self as #data::Record>::SCHEMA },
            #variant,
        )?;
        #( fields.put(#ids, #bindings)?; )*
        fields.finish()
    }
}

fn schema(model: &Model<'_>) -> TokenStream {
    let (data, ident, name) = (&model.data, model.ident, &model.name);
    let (params, args, bounds) = model.generics.split_for_impl();
    let (fields, variants) = match &model.shape {
        Shape::Transparent(record) | Shape::Struct(record) => {
            (schema_fields(model, record), quote!())
        }
        Shape::Enum(variants) => {
            let variants = variants.iter().map(|variant| {
                let (id, name) = (variant.id, variant.ident.to_string());
                let fields = schema_fields(model, &variant.record);
                quote! { #data::Variant { id: #id, name: #name, fields: &[#fields] } }
            });
            (quote!(), quote!(#(#variants),*))
        }
    };
    quote! {
        #[automatically_derived]
        impl #params #data::Record for #ident #args #bounds {
            const SCHEMA: #data::Schema = #data::Schema::new(#name, &[#fields], &[#variants]);
        }
    }
}

fn schema_fields(model: &Model<'_>, record: &Record<'_>) -> TokenStream {
    let data = &model.data;
    let fields = record.fields.iter().map(|field| {
        let (id, name) = (field.id, field.name());
        quote! { #data::Field { id: #id, name: #name } }
    });
    quote! { #(#fields),* }
}
