//! `impl Key`, if asked for.

use crate::encode::pattern;
use crate::model::{Model, Shape};
use proc_macro2::TokenStream;
use quote::quote;

pub(crate) fn expand(model: &Model<'_>) -> TokenStream {
    if !model.key {
        return quote!();
    }
    let (data, ident) = (&model.data, model.ident);
    let generics = model.bounded("Key", false);
    let (params, args, bounds) = generics.split_for_impl();
    let checks = match &model.shape {
        Shape::Transparent(record) | Shape::Struct(record) => {
            let pattern = pattern(record);
            let bindings = record.fields.iter().map(|field| &field.binding);
            quote! { let Self #pattern = self; #( canonical(#bindings); )* }
        }
        Shape::Enum(variants) => {
            let arms = variants.iter().map(|variant| {
                let (name, pattern) = (variant.ident, pattern(&variant.record));
                let bindings = variant.record.fields.iter().map(|field| &field.binding);
                quote! { Self::#name #pattern => { #( canonical(#bindings); )* } }
            });
            quote! { match self { #(#arms)* } }
        }
    };
    let affinity = match (&model.shape, &model.affinity) {
        (Shape::Transparent(record), _) => {
            let member = &record.fields[0].member;
            quote! { #data::Key::affinity(&self.#member) }
        }
        (_, Some(field)) => {
            let member = &field.member;
            quote! { #data::key_hash(&self.#member).ok() }
        }
        (_, None) => quote! { ::core::option::Option::None },
    };
    quote! {
        #[automatically_derived]
        impl #params #data::Key for #ident #args #bounds {
            #[inline]
            fn affinity(&self) -> ::core::option::Option<::core::primitive::u32> {
                fn canonical<T: #data::Key + ?::core::marker::Sized>(_: &T) {}
                #checks
                #affinity
            }
        }
    }
}
