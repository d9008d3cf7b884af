//! Licence expressions as packages state them (SPDX), judged against a list. Knows no package and no list.

use std::iter::Peekable;
use std::slice::Iter;

/// Whether a package under `expression` may be used when the licences in `allowed` are the acceptable ones. A licence with
/// an exception is one entry: `Apache-2.0 WITH LLVM-exception`.
///
/// # Errors
/// When it is not an expression, with what is wrong.
pub fn licence_allows(expression: &str, allowed: &[&str]) -> Result<bool, String> {
    // `MIT/Apache-2.0` is how it was written before cargo took SPDX.
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut expression = Expression { words: words.iter().peekable(), allowed };
    let verdict = expression.or()?;
    match expression.words.next() {
        None => Ok(verdict),
        Some(rest) => Err(format!("`{rest}` is unexpected")),
    }
}

/// The rest of an expression: `or := and (OR and)*`, `and := one (AND one)*`.
struct Expression<'a> {
    words: Peekable<Iter<'a, &'a str>>,
    allowed: &'a [&'a str],
}

impl Expression<'_> {
    fn or(&mut self) -> Result<bool, String> {
        let mut allowed = self.and()?;
        while self.words.next_if(|word| **word == "OR").is_some() {
            allowed |= self.and()?;
        }
        Ok(allowed)
    }

    fn and(&mut self) -> Result<bool, String> {
        let mut allowed = self.one()?;
        while self.words.next_if(|word| **word == "AND").is_some() {
            allowed &= self.one()?;
        }
        Ok(allowed)
    }

    fn one(&mut self) -> Result<bool, String> {
        let word = *self.words.next().ok_or("it ends too early")?;
        if word == "(" {
            let allowed = self.or()?;
            return self
                .words
                .next_if(|word| **word == ")")
                .map(|_| allowed)
                .ok_or_else(|| "no `)`".to_owned());
        }
        if ["AND", "OR", "WITH", ")"].contains(&word) {
            return Err(format!("`{word}` is unexpected"));
        }
        let mut licence = word.to_owned();
        if self.words.next_if(|word| **word == "WITH").is_some() {
            licence = format!("{licence} WITH {}", self.words.next().ok_or("no exception after WITH")?);
        }
        Ok(self.allowed.contains(&&*licence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: [&str; 5] = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "ISC", "Unicode-3.0"];

    #[test]
    fn licence_expressions_are_evaluated() {
        for (expression, allowed) in [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("MIT OR GPL-3.0-only", true),
            ("GPL-3.0-only AND MIT", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("MIT AND (GPL-2.0-only OR LGPL-3.0-only)", false),
            ("GPL-2.0-only AND MIT OR ISC", true),
            ("MIT/Apache-2.0", true),
            ("Apache-2.0 WITH LLVM-exception OR GPL-2.0-only", true),
            ("GPL-2.0-only WITH Classpath-exception-2.0", false),
        ] {
            assert_eq!(licence_allows(expression, &ALLOWED), Ok(allowed), "{expression}");
        }
        for broken in ["", "MIT OR", "(MIT", "MIT)", "MIT MIT", "OR"] {
            assert!(licence_allows(broken, &ALLOWED).is_err(), "{broken:?}");
        }
    }
}
