//! `to_number`: a text by a template.

use super::template::{Item, Pattern, Template};
use crate::exec::decimal;
use model::error::{SqlError, SqlState};
use model::numeric::Numeric;
use model::types::NumericLimits;

/// The digits that were found, behind a sign or a blank.
pub(super) struct Read {
    pub(super) digits: String,
    /// How many of them stand behind the point.
    behind: usize,
}

impl Read {
    /// The number with no more digits than the template has.
    pub(super) fn fit(&self, template: &Template, number: Numeric) -> Result<Numeric, SqlError> {
        let precision = template.before + template.shift + self.behind;
        let (precision, scale) = (u16::try_from(precision), u16::try_from(self.behind));
        match (precision, scale) {
            (Ok(precision), Ok(scale)) => {
                decimal::limit(&number, NumericLimits { precision, scale })
            }
            _ => Ok(number),
        }
    }
}

/// # Errors
/// 0A000 for patterns that only write.
pub(super) fn read(template: &Template, text: &str) -> Result<Read, SqlError> {
    for (given, name) in [(template.exponent, "EEEE"), (template.roman, "RN")] {
        if given {
            return Err(SqlError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("\"{name}\" not supported for input"),
            ));
        }
    }
    let mut reader = Reader {
        template,
        text,
        at: 0,
        sign: None,
        digits: String::new(),
        before: 0,
        behind: 0,
        pointed: false,
    };
    for item in &template.items {
        if reader.rest().is_empty() {
            break;
        }
        match item {
            Item::Literal(_) => reader.skip(),
            Item::Pattern(pattern) => reader.pattern(*pattern),
        }
    }
    let Reader { sign, mut digits, behind, .. } = reader;
    if digits.ends_with('.') {
        digits.pop();
    }
    digits.insert(0, sign.unwrap_or(' '));
    Ok(Read { digits, behind })
}

struct Reader<'t> {
    template: &'t Template,
    text: &'t str,
    at: usize,
    sign: Option<char>,
    digits: String,
    before: usize,
    behind: usize,
    pointed: bool,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn next(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip(&mut self) {
        self.at += self.next().map_or(0, char::len_utf8);
    }

    /// Passes over so many characters that are no part of a number.
    fn skip_foreign(&mut self, count: usize) {
        for _ in 0..count {
            match self.next() {
                Some(next) if !"0123456789.,+-".contains(next) => self.skip(),
                _ => return,
            }
        }
    }

    fn pattern(&mut self, pattern: Pattern) {
        match pattern {
            Pattern::Nine | Pattern::Zero | Pattern::Point => {
                self.digit(pattern);
                self.skip();
            }
            // Without a digit before it, `FM` has no group.
            Pattern::Comma | Pattern::Group if !self.template.fill && self.next() == Some(',') => {
                self.skip();
            }
            Pattern::Currency => self.skip_foreign(1),
            Pattern::Ordinal { .. } => self.skip_foreign(2),
            Pattern::Minus => self.sign_or_skip(&['-']),
            Pattern::Plus => self.sign_or_skip(&['+']),
            Pattern::Sign => self.sign_or_skip(&['-', '+']),
            _ => {}
        }
    }

    fn sign_or_skip(&mut self, signs: &[char]) {
        match self.next().filter(|next| signs.contains(next)) {
            Some(sign) => {
                self.sign = Some(sign);
                self.skip();
            }
            None => self.skip_foreign(1),
        }
    }

    /// Reads what a place for a digit or the point finds; its last character is passed over by
    /// whoever calls.
    fn digit(&mut self, pattern: Pattern) {
        if self.next() == Some(' ') {
            self.skip();
        }
        if self.rest().is_empty() {
            return;
        }
        let begun = self.before + self.behind > 0;
        if self.sign.is_none() && pattern != Pattern::Point && !begun {
            self.sign_before();
        }
        let Some(next) = self.next() else { return };
        let mut found = false;
        if next.is_ascii_digit() {
            if self.pointed && self.behind == self.template.behind {
                return;
            }
            self.digits.push(next);
            if self.pointed {
                self.behind += 1;
            } else {
                self.before += 1;
            }
            found = true;
        } else if self.template.point && !self.pointed && next == '.' {
            self.digits.push('.');
            self.pointed = true;
            found = true;
        }
        if self.sign.is_none() && self.before + self.behind > 0 {
            self.sign_behind(found);
        }
    }

    fn sign_before(&mut self) {
        let Some(next) = self.next() else { return };
        let sign = match next {
            '-' | '+' => next,
            '<' if self.template.brackets => '-',
            _ => return,
        };
        self.sign = Some(sign);
        self.skip();
    }

    fn sign_behind(&mut self, found: bool) {
        let Some(next) = self.next() else { return };
        if self.template.anchor.is_some() {
            let behind = self.rest()[next.len_utf8()..].chars().next();
            if found && let Some(sign @ ('-' | '+')) = behind {
                self.skip();
                self.sign = Some(sign);
            }
        } else if !found && (self.template.plus || self.template.minus) && matches!(next, '-' | '+')
        {
            self.sign = Some(next);
        }
    }
}
