//! The `GridData` derive macro.
#![forbid(unsafe_code)]
