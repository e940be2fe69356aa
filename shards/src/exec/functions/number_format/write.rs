//! `to_char`: digits into a template.

use super::digits::Digits;
use super::template::{Anchor, Item, Pattern, Template};
use model::error::{SqlError, SqlState};

/// How wide a Roman number is written.
const ROMAN_WIDTH: usize = 15;

/// Where the writing is.
struct Writer<'d> {
    template: Template,
    digits: &'d [u8],
    sign: char,
    spaces: usize,
    /// Which digit of `digits` comes next.
    at: usize,
    /// How many places of digits and the point have been written.
    place: usize,
    /// The last digit that `FM` leaves; the point where it leaves none behind it.
    last: Option<usize>,
    /// How many places there are, one more for the sign or what stands for it.
    count: usize,
    signed: bool,
    /// Whether the last place was a digit or zero.
    inside: bool,
    out: String,
}

/// # Errors
/// 22P02 where `TH` stands behind what is no number.
pub(super) fn write(mut template: Template, digits: &Digits) -> Result<String, SqlError> {
    if template.exponent {
        return Ok(digits.text.clone());
    }
    if template.roman {
        let (items, fill) = (std::mem::take(&mut template.items), template.fill);
        template = Template { items, fill, roman: true, ..Template::default() };
    }
    let items = std::mem::take(&mut template.items);
    let mut writer = Writer::new(template, digits);
    for item in items {
        match item {
            Item::Literal(literal) => writer.out.push(literal),
            Item::Pattern(pattern) => writer.pattern(pattern)?,
        }
    }
    // Digits that were asked for behind the last one that a float keeps end the text.
    let end = writer.out.find('\0').unwrap_or(writer.out.len());
    writer.out.truncate(end);
    Ok(writer.out)
}

impl<'d> Writer<'d> {
    fn new(mut template: Template, digits: &'d Digits) -> Writer<'d> {
        let negative = digits.negative;
        let signed = if template.plus || template.minus {
            // `MI` writes a minus, and leaves a plus to the number unless `PL` is there.
            !template.plus || template.minus
        } else {
            if !negative && template.fill {
                template.brackets = false;
            }
            !negative && template.fill && template.anchor.is_none()
        };
        if !(template.plus || template.minus)
            && template.anchor == Some(Anchor::Before)
            && template.before == template.before_anchor
        {
            template.anchor = Some(Anchor::Behind);
        }
        let spaces = digits.spaces;
        let bytes = digits.text.as_bytes();
        let last = (template.fill && template.point)
            .then(|| last_relevant(bytes, &template, spaces))
            .flatten();
        let places = template.before + template.behind + usize::from(template.point);
        let count = places + usize::from(!signed || spaces > 0);
        let sign = match negative {
            // A Roman number has none.
            _ if template.roman => '\0',
            true => '-',
            false => '+',
        };
        Writer {
            template,
            digits: bytes,
            sign,
            spaces,
            at: 0,
            place: 0,
            last,
            count,
            signed,
            inside: false,
            out: String::new(),
        }
    }

    fn pattern(&mut self, pattern: Pattern) -> Result<(), SqlError> {
        let fill = self.template.fill;
        match pattern {
            Pattern::Nine | Pattern::Zero | Pattern::Point => self.digit(pattern),
            Pattern::Comma | Pattern::Group if self.inside => self.out.push(','),
            Pattern::Comma | Pattern::Group if !fill => self.out.push(' '),
            Pattern::Currency => self.out.push(' '),
            Pattern::Minus if self.sign == '-' => self.out.push('-'),
            Pattern::Plus if self.sign == '+' => self.out.push('+'),
            Pattern::Minus | Pattern::Plus if !fill => self.out.push(' '),
            Pattern::Sign => self.out.push(self.sign),
            Pattern::Roman { small } => {
                let text = String::from_utf8_lossy(&self.digits[self.at..]);
                let text = if small { text.to_lowercase() } else { text.into_owned() };
                let width = if fill { 0 } else { ROMAN_WIDTH };
                self.out.push_str(&format!("{text:>width$}"));
            }
            Pattern::Ordinal { small } => {
                let silent = self.template.roman
                    || self.digits.first() == Some(&b'#')
                    || self.sign == '-'
                    || self.template.point;
                if !silent {
                    let ending = ordinal(self.digits)?;
                    self.out.push_str(&if small { ending.to_lowercase() } else { ending.into() });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The byte that comes next; 0 behind the last one.
    fn next(&self) -> u8 {
        self.digits.get(self.at).copied().unwrap_or(0)
    }

    /// Whether the zero before the point comes next, which only a `0` writes.
    fn at_lone_zero(&self) -> bool {
        self.template.zero_start.is_none()
            && self.at == 0
            && self.digits.first() == Some(&b'0')
            && self.template.behind != 0
    }

    /// Whether `FM` leaves nothing behind the point.
    fn ends_with_point(&self) -> bool {
        self.last.is_some_and(|last| self.digits[last] == b'.')
    }

    /// A place for a digit or the point.
    fn digit(&mut self, pattern: Pattern) {
        if self.template.roman {
            return;
        }
        self.inside = false;
        let zeros = self.template.zero_start.is_some_and(|start| self.place >= start);
        if !self.signed
            && (self.place >= self.spaces || self.template.zero_start == Some(self.place))
            && (!self.at_lone_zero() || self.ends_with_point())
        {
            self.sign_before();
        }
        if self.place < self.spaces {
            if zeros {
                self.out.push('0');
                self.inside = true;
            } else if !self.template.fill {
                self.out.push(' ');
            }
        } else {
            self.real_digit(pattern);
            if self.at < self.digits.len() {
                self.at += 1;
            }
        }
        if self.place + 2 == self.count && self.last != Some(self.at) {
            self.sign_behind();
        }
        self.place += 1;
    }

    fn sign_before(&mut self) {
        let negative = self.sign == '-';
        if let Some(anchor) = self.template.anchor {
            if anchor == Anchor::Before {
                self.out.push(self.sign);
                self.signed = true;
            }
            return;
        }
        if self.template.brackets {
            self.out.push(if negative { '<' } else { ' ' });
        } else if negative {
            self.out.push('-');
        } else if !self.template.fill {
            self.out.push(' ');
        }
        self.signed = true;
    }

    fn sign_behind(&mut self) {
        if self.signed && self.template.brackets {
            self.out.push(if self.sign == '-' { '>' } else { ' ' });
        } else if self.template.anchor == Some(Anchor::Behind) {
            self.out.push(self.sign);
        }
    }

    fn real_digit(&mut self, pattern: Pattern) {
        if self.next() == b'.' {
            self.out.push('.');
        } else if self.last.is_some_and(|last| self.at > last) && pattern != Pattern::Zero {
            // `FM` leaves it out.
        } else if self.at_lone_zero() {
            if !self.template.fill {
                self.out.push(' ');
            } else if self.ends_with_point() {
                self.out.push('0');
            }
        } else {
            self.out.push(char::from(self.next()));
            self.inside = true;
        }
    }
}

/// The last digit behind the point that is no zero, or that a `0` keeps; the point where there is
/// none.
fn last_relevant(digits: &[u8], template: &Template, spaces: usize) -> Option<usize> {
    let point = digits.iter().position(|byte| *byte == b'.')?;
    let significant = digits.iter().rposition(|byte| *byte != b'0').unwrap_or(point);
    let last = significant.max(point);
    if template.zero_end <= spaces {
        return Some(last);
    }
    Some(last.max((digits.len() - 1).min(template.zero_end - spaces)))
}

fn ordinal(digits: &[u8]) -> Result<&'static str, SqlError> {
    let Some((last, before)) = digits.split_last().filter(|(last, _)| last.is_ascii_digit()) else {
        let text = String::from_utf8_lossy(digits);
        return Err(SqlError::new(
            SqlState::INVALID_TEXT_REPRESENTATION,
            format!("\"{text}\" is not a number"),
        ));
    };
    Ok(match (before.last(), last) {
        (Some(b'1'), _) => "TH",
        (_, b'1') => "ST",
        (_, b'2') => "ND",
        (_, b'3') => "RD",
        _ => "TH",
    })
}
