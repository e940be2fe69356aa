//! What a template says.

use model::error::{SqlError, SqlState};

/// Patterns as they are written, those first that begin with another. Those in small letters mean
/// the same, but for how `RN` and `TH` are written.
const PATTERNS: [(&str, Pattern); 20] = [
    (",", Pattern::Comma),
    (".", Pattern::Point),
    ("0", Pattern::Zero),
    ("9", Pattern::Nine),
    ("B", Pattern::Blank),
    ("C", Pattern::Nothing),
    ("D", Pattern::Point),
    ("EEEE", Pattern::Exponent),
    ("FM", Pattern::Fill),
    ("G", Pattern::Group),
    ("L", Pattern::Currency),
    ("MI", Pattern::Minus),
    ("PL", Pattern::Plus),
    ("PR", Pattern::Brackets),
    ("RN", Pattern::Roman { small: false }),
    ("SG", Pattern::Sign),
    ("SP", Pattern::Nothing),
    ("S", Pattern::Anchored),
    ("TH", Pattern::Ordinal { small: false }),
    ("V", Pattern::Shift),
];

/// One pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    /// `9`: a digit.
    Nine,
    /// `0`: a digit, also where the number has none.
    Zero,
    /// `.` and `D`
    Point,
    /// `,`
    Comma,
    /// `G`
    Group,
    /// `L`
    Currency,
    /// `MI`: a minus, or nothing.
    Minus,
    /// `PL`: a plus, or nothing.
    Plus,
    /// `SG`: the sign.
    Sign,
    /// `S`: the sign beside the number.
    Anchored,
    /// `PR`: negative numbers in angle brackets.
    Brackets,
    /// `RN`
    Roman {
        /// In small letters.
        small: bool,
    },
    /// `TH`
    Ordinal {
        /// In small letters.
        small: bool,
    },
    /// `EEEE`
    Exponent,
    /// `V`: the number times ten for each digit that follows.
    Shift,
    /// `FM`: without blanks and zeros that only fill.
    Fill,
    /// `B`: understood, and without an effect.
    Blank,
    /// What is understood and neither writes nor reads anything.
    Nothing,
}

/// What stands in a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    Pattern(Pattern),
    /// Any other character, or one in quotes.
    Literal(char),
}

/// On which side of the number its sign stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Before,
    Behind,
}

/// A template that has been read.
#[derive(Debug, Default)]
pub(super) struct Template {
    pub(super) items: Vec<Item>,
    /// Digits before the point.
    pub(super) before: usize,
    /// Digits behind the point.
    pub(super) behind: usize,
    /// Whether there is a `V`, and how many `9` follow it.
    pub(super) shifted: bool,
    pub(super) shift: usize,
    /// The place of the first `0` among the digits, where one stands before the point.
    pub(super) zero_start: Option<usize>,
    /// Digits up to the last `0`.
    pub(super) zero_end: usize,
    pub(super) anchor: Option<Anchor>,
    /// How many digits stand before an `S` that is before the number.
    pub(super) before_anchor: usize,
    pub(super) point: bool,
    pub(super) fill: bool,
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) brackets: bool,
    pub(super) roman: bool,
    pub(super) exponent: bool,
    pub(super) blank: bool,
}

impl Template {
    /// # Errors
    /// 42601 for patterns that do not go together.
    pub(super) fn read(text: &str) -> Result<Template, SqlError> {
        let mut template = Template::default();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some((pattern, length)) = pattern_at(rest) {
                template.take(pattern)?;
                template.items.push(Item::Pattern(pattern));
                rest = &rest[length..];
            } else if let Some(quoted) = rest.strip_prefix('"') {
                rest = template.take_quoted(quoted);
            } else {
                // Before a quote a backslash takes its meaning.
                rest = if rest.starts_with("\\\"") { &rest[1..] } else { rest };
                let literal = if first == '\\' && rest.starts_with('"') { '"' } else { first };
                template.items.push(Item::Literal(literal));
                rest = &rest[literal.len_utf8()..];
            }
        }
        Ok(template)
    }

    /// The characters up to the closing quote; what stands behind it is given back.
    fn take_quoted<'t>(&mut self, quoted: &'t str) -> &'t str {
        let mut characters = quoted.chars();
        while let Some(character) = characters.next() {
            let literal = match character {
                '"' => return characters.as_str(),
                '\\' => characters.next().unwrap_or('\\'),
                other => other,
            };
            self.items.push(Item::Literal(literal));
        }
        ""
    }

    /// Notes what a pattern says of the number.
    fn take(&mut self, pattern: Pattern) -> Result<(), SqlError> {
        if self.exponent && pattern != Pattern::Exponent {
            return Err(refused("\"EEEE\" must be the last pattern used"));
        }
        match pattern {
            Pattern::Nine if self.brackets => {
                return Err(refused("\"9\" must be ahead of \"PR\""));
            }
            Pattern::Nine if self.shifted => self.shift += 1,
            Pattern::Nine if self.point => self.behind += 1,
            Pattern::Nine => self.before += 1,
            Pattern::Zero if self.brackets => {
                return Err(refused("\"0\" must be ahead of \"PR\""));
            }
            Pattern::Zero => {
                if self.zero_start.is_none() && !self.point {
                    self.zero_start = Some(self.before);
                }
                if self.point {
                    self.behind += 1;
                } else {
                    self.before += 1;
                }
                self.zero_end = self.before + self.behind;
            }
            Pattern::Blank => {
                self.blank |= self.before == 0 && self.behind == 0 && self.zero_start.is_none();
            }
            Pattern::Point if self.point => return Err(refused("multiple decimal points")),
            Pattern::Point if self.shifted => {
                return Err(refused("cannot use \"V\" and decimal point together"));
            }
            Pattern::Point => self.point = true,
            Pattern::Fill => self.fill = true,
            Pattern::Anchored => self.take_anchor()?,
            Pattern::Minus | Pattern::Plus | Pattern::Sign if self.anchor.is_some() => {
                let name = match pattern {
                    Pattern::Minus => "MI",
                    Pattern::Plus => "PL",
                    _ => "SG",
                };
                return Err(refused(format!("cannot use \"S\" and \"{name}\" together")));
            }
            Pattern::Minus => self.minus = true,
            Pattern::Plus => self.plus = true,
            Pattern::Sign => (self.minus, self.plus) = (true, true),
            Pattern::Brackets if self.anchor.is_some() || self.plus || self.minus => {
                return Err(refused("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together"));
            }
            Pattern::Brackets => self.brackets = true,
            Pattern::Roman { .. } => self.roman = true,
            Pattern::Shift if self.point => {
                return Err(refused("cannot use \"V\" and decimal point together"));
            }
            Pattern::Shift => self.shifted = true,
            Pattern::Exponent => self.take_exponent()?,
            Pattern::Comma
            | Pattern::Group
            | Pattern::Currency
            | Pattern::Ordinal { .. }
            | Pattern::Nothing => {}
        }
        Ok(())
    }

    fn take_anchor(&mut self) -> Result<(), SqlError> {
        if self.anchor.is_some() {
            return Err(refused("cannot use \"S\" twice"));
        }
        if self.plus || self.minus || self.brackets {
            return Err(refused("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together"));
        }
        if self.point {
            self.anchor = Some(Anchor::Behind);
        } else {
            self.anchor = Some(Anchor::Before);
            self.before_anchor = self.before;
        }
        Ok(())
    }

    fn take_exponent(&mut self) -> Result<(), SqlError> {
        if self.exponent {
            return Err(refused("cannot use \"EEEE\" twice"));
        }
        let others = self.blank
            || self.fill
            || self.anchor.is_some()
            || self.brackets
            || self.minus
            || self.plus
            || self.roman
            || self.shifted;
        if others {
            return Err(refused("\"EEEE\" is incompatible with other formats").detail(
                "\"EEEE\" may only be used together with digit and decimal point patterns.",
            ));
        }
        self.exponent = true;
        Ok(())
    }
}

fn refused(message: impl Into<std::borrow::Cow<'static, str>>) -> SqlError {
    SqlError::new(SqlState::SYNTAX_ERROR, message)
}

/// The pattern at the beginning of a text, and its length.
fn pattern_at(text: &str) -> Option<(Pattern, usize)> {
    PATTERNS.into_iter().find_map(|(word, pattern)| {
        if text.starts_with(word) {
            return Some((pattern, word.len()));
        }
        let small = text.starts_with(&word.to_lowercase());
        let pattern = match pattern {
            Pattern::Roman { .. } => Pattern::Roman { small },
            Pattern::Ordinal { .. } => Pattern::Ordinal { small },
            other => other,
        };
        small.then_some((pattern, word.len()))
    })
}
