//! Placeholder.
use crate::shared::Shared;
pub(crate) fn json(shared: &Shared) -> String {
    format!("{{\"member\":{}}}", shared.member)
}
