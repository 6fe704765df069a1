//! Patterns of structure names: `orders`, `orders*`, `*-eu`, `orders*-eu`.

use grid_core::control::check_name;

/// A name, or a name with one `*` that stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    prefix: String,
    /// What follows the `*`; none: the pattern is a plain name.
    suffix: Option<String>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        check_name(text).map_err(|e| e.detail().unwrap_or("impossible").to_owned())?;
        match text.split_once('*') {
            None => Ok(Pattern { prefix: text.to_owned(), suffix: None }),
            Some((_, rest)) if rest.contains('*') => {
                Err(format!("the name {text:?} holds `*` more than once"))
            }
            Some((prefix, suffix)) => {
                Ok(Pattern { prefix: prefix.to_owned(), suffix: Some(suffix.to_owned()) })
            }
        }
    }

    /// Whether the name fits.
    pub(super) fn fits(&self, name: &str) -> bool {
        match &self.suffix {
            None => self.prefix == name,
            Some(suffix) => {
                name.strip_prefix(&*self.prefix).is_some_and(|rest| rest.ends_with(suffix))
            }
        }
    }

    /// Of patterns that lie within each other, the inner one has the higher rank.
    pub(super) fn rank(&self) -> (bool, usize) {
        let suffix = self.suffix.as_ref().map_or(0, String::len);
        (self.suffix.is_none(), self.prefix.len() + suffix)
    }

    /// Whether all names that fit `self` fit `other`.
    fn within(&self, other: &Pattern) -> bool {
        match (&self.suffix, &other.suffix) {
            (None, _) => other.fits(&self.prefix),
            (Some(_), None) => false,
            (Some(a), Some(b)) => self.prefix.starts_with(&other.prefix) && a.ends_with(b),
        }
    }

    /// Whether some names fit both, and neither lies within the other.
    pub(super) fn ambiguous_with(&self, other: &Pattern) -> bool {
        let (Some(a), Some(b)) = (&self.suffix, &other.suffix) else { return false };
        let (p, q) = (&self.prefix, &other.prefix);
        let overlap = (p.starts_with(q) || q.starts_with(p)) && (a.ends_with(b) || b.ends_with(a));
        overlap && !self.within(other) && !other.within(self)
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.prefix)?;
        self.suffix.as_ref().map_or(Ok(()), |suffix| write!(f, "*{suffix}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        for (p, yes, no) in [
            ("a", vec!["a"], vec!["", "aa", "*"]),
            ("a*", vec!["a", "ab", "a*"], vec!["", "ba"]),
            ("*a", vec!["a", "ba"], vec!["ab"]),
            ("ab*bc", vec!["abbc", "abxbc"], vec!["abc", "ab", "bc"]),
            ("*", vec!["", "x"], vec![]),
        ] {
            for name in yes {
                assert!(pattern(p).fits(name), "{p} {name}");
            }
            for name in no {
                assert!(!pattern(p).fits(name), "{p} {name}");
            }
        }
        assert!(Pattern::parse("a*b*").is_err() && Pattern::parse("").is_err());
    }

    #[test]
    fn patterns_that_cross_are_ambiguous_and_those_within_each_other_are_not() {
        assert!(pattern("a*").ambiguous_with(&pattern("*b")));
        assert!(pattern("a*x").ambiguous_with(&pattern("ab*")));
        for (a, b) in
            [("*", "a*"), ("a*", "ab*"), ("a*", "b*"), ("a*", "a*b"), ("abc", "a*"), ("a", "b")]
        {
            assert!(!pattern(a).ambiguous_with(&pattern(b)), "{a} {b}");
            assert!(!pattern(b).ambiguous_with(&pattern(a)), "{a} {b}");
        }
    }

    proptest! {
        /// So the rank decides: no two fitting patterns of equal rank are left.
        #[test]
        fn two_that_fit_one_name_have_different_ranks_or_are_ambiguous(
            a in "[ab]{0,3}\\*?[ab]{0,3}", b in "[ab]{0,3}\\*?[ab]{0,3}", name in "[ab]{1,6}",
        ) {
            let (Ok(a), Ok(b)) = (Pattern::parse(&a), Pattern::parse(&b)) else { return Ok(()) };
            if a != b && a.fits(&name) && b.fits(&name) && !a.ambiguous_with(&b) {
                prop_assert_ne!(a.rank(), b.rank());
                let (inner, outer) = if a.rank() > b.rank() { (a, b) } else { (b, a) };
                prop_assert!(inner.within(&outer));
            }
        }
    }
}
