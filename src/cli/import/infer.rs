//! Column types from the texts of a file: the narrowest type that takes every one of them.

use config::nearest;

use super::columns::quote;

/// What the texts seen so far could be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Guess {
    seen: bool,
    boolean: bool,
    integer: bool,
    decimal: bool,
    float: bool,
    date: bool,
    timestamp: bool,
    timestamp_with_zone: bool,
}

impl Default for Guess {
    /// Before the first text: anything.
    fn default() -> Self {
        Self {
            seen: false,
            boolean: true,
            integer: true,
            decimal: true,
            float: true,
            date: true,
            timestamp: true,
            timestamp_with_zone: true,
        }
    }
}

impl Guess {
    /// Takes another text of the column into account.
    pub fn see(&mut self, text: &str) {
        self.seen = true;
        self.boolean &= matches!(text.to_ascii_lowercase().as_str(), "true" | "false" | "t" | "f");
        let number = number(text);
        self.integer &= number == Some(Number::Whole) && text.parse::<i64>().is_ok();
        self.decimal &= matches!(number, Some(Number::Whole | Number::Decimal));
        self.float &= number.is_some();
        let moment = moment(text);
        self.date &= moment == Some(Moment::Date);
        self.timestamp &= matches!(moment, Some(Moment::Date | Moment::Timestamp));
        self.timestamp_with_zone &= matches!(moment, Some(Moment::Timestamp | Moment::Zoned));
    }

    /// The narrowest type that takes all of them; text when there were none.
    pub fn type_name(self) -> &'static str {
        let candidates = [
            (self.boolean, "BOOLEAN"),
            (self.integer, "BIGINT"),
            (self.decimal, "NUMERIC"),
            (self.float, "DOUBLE PRECISION"),
            (self.date, "DATE"),
            (self.timestamp, "TIMESTAMP"),
            (self.timestamp_with_zone, "TIMESTAMPTZ"),
        ];
        let narrowest = candidates.into_iter().find(|(fits, _)| *fits && self.seen);
        narrowest.map_or("TEXT", |(_, name)| name)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Number {
    Whole,
    Decimal,
    WithExponent,
}

/// Numbers without leading zeros: `007` and `+1` are names that look like numbers.
fn number(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    if !digits(whole) || leading_zero || !fraction.is_none_or(digits) {
        return None;
    }
    match exponent {
        Some(exponent) => {
            let unsigned = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            (digits(unsigned) && unsigned.len() <= 3).then_some(Number::WithExponent)
        }
        None if fraction.is_some() => Some(Number::Decimal),
        None => Some(Number::Whole),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    Date,
    Timestamp,
    Zoned,
}

/// `2024-02-29`, with a time after a space or a `T`, with a zone after that.
fn moment(text: &str) -> Option<Moment> {
    let (date, rest) = text.split_at_checked(10)?;
    if !is_date(date) {
        return None;
    }
    if rest.is_empty() {
        return Some(Moment::Date);
    }
    let rest = rest.strip_prefix([' ', 'T'])?;
    let zone_at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone_at);
    if !is_time(time) {
        return None;
    }
    match zone {
        "" => Some(Moment::Timestamp),
        "Z" => Some(Moment::Zoned),
        zone => {
            let offset = &zone[1..];
            let digits = offset.bytes().filter(u8::is_ascii_digit).count();
            let separators = offset.bytes().filter(|byte| *byte == b':').count();
            let known = digits + separators == offset.len()
                && matches!((digits, separators), (2, 0) | (4, 0 | 1));
            known.then_some(Moment::Zoned)
        }
    }
}

fn is_date(text: &str) -> bool {
    let mut parts = text.split('-').map(|part| {
        if part.bytes().all(|b| b.is_ascii_digit()) { part.parse().ok() } else { None }
    });
    let (Some(Some(year)), Some(Some(month)), Some(Some(day)), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    let year: u32 = year;
    year > 0 && (1..=days).contains(&day)
}

/// `hh:mm`, `hh:mm:ss`, with a fraction of up to six digits.
fn is_time(text: &str) -> bool {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let parts: Vec<Option<u32>> = clock
        .split(':')
        .map(|part| if part.len() == 2 { part.parse().ok() } else { None })
        .collect();
    let within = match parts.as_slice() {
        [Some(hour), Some(minute)] => *hour < 24 && *minute < 60 && !text.contains('.'),
        [Some(hour), Some(minute), Some(second)] => *hour < 24 && *minute < 60 && *second < 60,
        _ => false,
    };
    within
        && (1..=6).contains(&fraction.len())
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
}

/// The names of the columns of a header: lower case, everything but letters and digits as `_`,
/// each name once.
pub(super) fn column_names(header: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(header.len());
    for (position, title) in header.iter().enumerate() {
        let cleaned: String = title
            .to_lowercase()
            .chars()
            .map(|c| if c.is_alphanumeric() { c } else { '_' })
            .collect();
        let cleaned = cleaned.trim_matches('_');
        let base = match cleaned.chars().next() {
            None => format!("column_{}", position + 1),
            Some(first) if first.is_ascii_digit() => format!("_{cleaned}"),
            Some(_) => cleaned.to_owned(),
        };
        let mut name = base.clone();
        let mut number = 2;
        while names.contains(&name) {
            name = format!("{base}_{number}");
            number += 1;
        }
        names.push(name);
    }
    names
}

/// The statement that makes the table.
///
/// # Errors
/// The primary key names a column that there is not.
pub(super) fn create_table(
    table: &str,
    header: &[String],
    guesses: &[Guess],
    primary_key: &[String],
) -> Result<String, String> {
    let names = column_names(header);
    let mut lines: Vec<String> = names
        .iter()
        .zip(guesses)
        .map(|(name, guess)| format!("{} {}", quote(name), guess.type_name()))
        .collect();
    for key in primary_key {
        if !names.contains(key) {
            let hint = nearest(key, names.iter().map(String::as_str))
                .map_or(String::new(), |near| format!("; did you mean {near:?}?"));
            return Err(format!(
                "--primary-key names {key:?}, which is no column of the file{hint}"
            ));
        }
    }
    if !primary_key.is_empty() {
        let keys: Vec<String> = primary_key.iter().map(|key| quote(key)).collect();
        lines.push(format!("PRIMARY KEY ({})", keys.join(", ")));
    }
    Ok(format!("CREATE TABLE {table} ({})", lines.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(texts: &[&str], expected: &str) {
        let mut guess = Guess::default();
        texts.iter().for_each(|text| guess.see(text));
        assert_eq!(guess.type_name(), expected, "{texts:?}");
    }

    #[test]
    fn numbers() {
        check(&[], "TEXT");
        check(&["1", "-20", "0"], "BIGINT");
        check(&["9223372036854775808"], "NUMERIC");
        check(&["1", "0.50"], "NUMERIC");
        check(&["1", "1e5", "2.5E-3"], "DOUBLE PRECISION");
        check(&["007"], "TEXT");
        check(&["1", "x"], "TEXT");
        check(&["1."], "TEXT");
        check(&["+1"], "TEXT");
        check(&[" 1"], "TEXT");
        check(&["-"], "TEXT");
    }

    #[test]
    fn booleans_are_words() {
        check(&["true", "F"], "BOOLEAN");
        check(&["1", "0"], "BIGINT");
        check(&["true", "1"], "TEXT");
    }

    #[test]
    fn moments() {
        check(&["2024-02-29"], "DATE");
        check(&["2023-02-29"], "TEXT");
        check(&["2024-13-01"], "TEXT");
        check(&["2024-02-29", "2024-01-01 12:00:00"], "TIMESTAMP");
        check(&["2024-01-01T12:00", "2024-01-01 23:59:59.123456"], "TIMESTAMP");
        check(&["2024-01-01 12:00:00Z", "2024-01-01 12:00:00"], "TIMESTAMPTZ");
        check(&["2024-01-01 12:00:00+01:30", "2024-01-01 12:00:00-05"], "TIMESTAMPTZ");
        check(&["2024-01-01 25:00"], "TEXT");
        check(&["2024-01-01 12:00:00 CET"], "TEXT");
        check(&["2024-01-01x"], "TEXT");
        check(&["ääääääääää"], "TEXT");
    }

    #[test]
    fn names_are_made_from_titles() {
        let header = ["Customer ID", "", "name", "Name", "2024", "_x_", "Größe"].map(String::from);
        assert_eq!(
            column_names(&header),
            ["customer_id", "column_2", "name", "name_2", "_2024", "x", "größe"]
        );
    }

    #[test]
    fn the_statement() {
        let header = ["Id", "Order"].map(String::from);
        let mut guesses = [Guess::default(); 2];
        guesses[0].see("1");
        let made = create_table("\"t\"", &header, &guesses, &["id".into()]);
        assert_eq!(
            made.as_deref(),
            Ok("CREATE TABLE \"t\" (\"id\" BIGINT, \"order\" TEXT, PRIMARY KEY (\"id\"))")
        );
        let refused = create_table("\"t\"", &header, &guesses, &["ordr".into()]);
        assert!(refused.is_err_and(|said| said.contains("did you mean \"order\"")));
    }
}
