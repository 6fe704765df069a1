//! The member.
#![forbid(unsafe_code)]
